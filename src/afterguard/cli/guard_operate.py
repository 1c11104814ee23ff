"""`afterguard guard prove`, `kill`, `resume`, `approvals`, `approve` and `deny`: what people do to a guard that runs.

In: where it is. Out: proofs, its switch, what waits for a person and what the person says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from afterguard.cli.guard_places import desk_of, folder_of, opened
from afterguard.cli.options import DEFAULT, Common, Progress, Session, writing
from afterguard.errors import UsageError

if TYPE_CHECKING:
    from afterguard.config import GuardConfig
    from afterguard.jobs.prove import Guard, Proof


def prove(
    *,
    listen: str | None = None,
    door: Annotated[list[str] | None, Parameter(negative=())] = None,
    tls: bool = False,
    folder: str | None = None,
    through: str = "",
    observed: Annotated[bool, Parameter(negative=())] = False,
    wait: float = 90.0,
    common: Common = DEFAULT,
) -> int:
    """Send harmless probes through the running guard and say which cells were seen guarded. Exits with 10 where there is a gap.

    Parameters
    ----------
    listen
        Where the guard listens.
    door
        A further door to prove, as the guard was started with it: ext_proc=HOST:PORT, icap=HOST:PORT; of guard.grpc a port: grpc=HOST:PORT. Repeatable.
    tls
        Whether it speaks TLS.
    folder
        The guard's folder, whose key signs the probes.
    through
        URL of what stands in front of one of the guard's doors, to send the probes there: http://127.0.0.1:10000 for an Envoy that waits for the guard.
    observed
        What stands there only shows the guard what passes, so the probes go on to the providers, with a key that opens nothing; then the guard is asked what it saw.
    wait
        Seconds to wait for what is only shown: an Envoy that taps writes the rest of a connection when it ends.
    """
    from afterguard.jobs import judging, prove_observed
    from afterguard.jobs import prove as proving

    if observed:
        _checked(through, door, wait)
    session = opened(common, {"folder": folder, "listen": listen, "door": door})
    settings = session.config.guard
    doors = [] if observed else proving.doors(_doors(settings), settings.token, tls)
    headers = {"x-afterguard-token": settings.token} if settings.token else {}
    address = f"{'https' if tls else 'http'}://{settings.listen}"
    running = proving.Guard(address, judging.key(folder_of(session)), headers, through)
    progress = Progress(session, "guard prove: probing")
    try:
        if observed:
            rows = _observed(session, running, wait, progress)
        else:
            rows = list(proving.proofs(running, lambda count: progress(count, "cells"), doors))
    finally:
        progress.close()
    policy = running.mounts()[1]
    with writing(common.output) as out:
        if common.format == "json":
            found = {"format": "afterguard.proof/1", "policy": policy, "cells": rows}
            out.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
        else:
            out.write(proving.table(rows, policy, observed))
            if observed:
                out.write(prove_observed.replies(rows))
    missed = prove_observed.checks(rows) if observed else ""
    if missed:
        session.say(missed)
        session.next("afterguard guard prove   (whether the guard sees what is sent to itself)")
    elif through and not observed and any(row.gap == proving.UNDECIDED for row in rows):
        session.next(
            f"afterguard guard prove --through {through} --observed   (where the guard is only shown what passes, a provider answers)"
        )
    else:
        session.next("afterguard policy backtest --logs FILE   (what enforcing would have done)")
    return 10 if any(row.gap for row in rows) and not common.no_fail else 0


def _doors(settings: GuardConfig) -> list[str]:
    """Of the settings, those that can be asked."""
    from afterguard.guard.grpc_door import port

    places = [port(text).listen.rpartition(":") for text in settings.grpc]
    ports = [f"grpc={host or 'localhost'}:{number}" for host, _, number in places]
    return list(dict.fromkeys((*settings.door, *ports)))


def _checked(through: str, door: list[str] | None, wait: float) -> None:
    """Raises UsageError."""
    if not through:
        raise UsageError(
            "--observed wants to know where the probes go",
            hint="--through http://127.0.0.1:10000, the URL that applications talk to",
            slug="bad-usage",
        )
    if door:
        raise UsageError(
            "--observed is about what stands before the providers, and --door about the guard's own addresses",
            hint="two commands: guard prove --door ..., guard prove --through URL --observed",
            slug="bad-usage",
        )
    if not 0 < wait <= 3600:
        raise UsageError("--wait takes more than 0 and at most 3600 seconds", hint="--wait 90", slug="bad-usage")


def _observed(session: Session, running: Guard, wait: float, progress: Progress) -> list[Proof]:
    """Ask the providers, and then the guard what it saw."""
    from afterguard.jobs import prove_observed

    mounts = prove_observed.mounts(running)
    session.say("guard prove: the providers are asked, with the key `probe`, for the model `probe`:")
    for one in mounts:
        if not one.cells:
            session.say(f"  {one.name}: not asked, a provider of kind {one.kind} would do what a probe says")
            continue
        session.say(
            f"  {one.name}: {one.upstream}, {len(one.cells)} requests, and {prove_observed.PUSHES} more where an Envoy has to be urged"
        )

    def waits(seen: int, every: int) -> None:
        progress.close()
        session.say(f"guard prove: {seen} of {every} seen by now; waiting for the others, up to {wait:g} seconds")

    return list(
        prove_observed.proofs(running, mounts, wait, lambda seen, every: progress(seen, f"of {every} seen"), waits)
    )


def kill(*, folder: str | None = None, common: Common = DEFAULT) -> int:
    """Kill switch: from now on everything passes unjudged, and is counted. Takes effect within a second.

    Parameters
    ----------
    folder
        The guard's folder.
    """
    from afterguard.jobs.judging import KILL

    session = opened(common, {"folder": folder})
    place = folder_of(session)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    (place / KILL).touch()
    session.say("guard: killed; nothing is judged any more")
    session.next("afterguard guard resume")
    return 0


def resume(*, folder: str | None = None, common: Common = DEFAULT) -> int:
    """Take the kill switch back.

    Parameters
    ----------
    folder
        The guard's folder.
    """
    from afterguard.jobs.judging import KILL

    session = opened(common, {"folder": folder})
    (folder_of(session) / KILL).unlink(missing_ok=True)
    session.say("guard: judging again")
    session.next("afterguard guard prove")
    return 0


def approvals(
    *, folder: str | None = None, redis: str | None = None, log: str | None = None, common: Common = DEFAULT
) -> int:
    """List what the action ask has held: what waits for a person, and what became of the rest.

    Parameters
    ----------
    folder
        The guard's folder.
    redis
        The guard's Redis, where it has one.
    log
        The guard's decision log.
    """
    from afterguard.cli import approving

    session = opened(common, {"folder": folder, "redis": redis, "log": log})
    return approving.listing(session, desk_of(session))


def approve(
    identifier: str,
    /,
    *,
    by: str,
    reason: str,
    minutes: float = 60.0,
    uses: int = 1,
    folder: str | None = None,
    redis: str | None = None,
    log: str | None = None,
    common: Common = DEFAULT,
) -> int:
    """Let exactly what was asked pass, in its conversation, once, for an hour.

    Parameters
    ----------
    identifier
        Of the approval, as the refusal and `guard approvals` say it.
    by
        Who approves it: not who asked for it.
    reason
        Why. Stands in the decision log.
    minutes
        How long it may be used.
    uses
        How often it may be used.
    folder
        The guard's folder.
    redis
        The guard's Redis, where it has one.
    log
        The guard's decision log, in which this is written down.
    """
    from afterguard.cli import approving
    from afterguard.jobs.approvals import Order

    session = opened(common, {"folder": folder, "redis": redis, "log": log})
    return approving.settled(session, desk_of(session), identifier, Order("approved", by, reason, minutes, uses))


def deny(
    identifier: str,
    /,
    *,
    by: str,
    reason: str,
    folder: str | None = None,
    redis: str | None = None,
    log: str | None = None,
    common: Common = DEFAULT,
) -> int:
    """Refuse what was asked, or take an approval back.

    Parameters
    ----------
    identifier
        Of the approval, as the refusal and `guard approvals` say it.
    by
        Who denies it.
    reason
        Why. Stands in the decision log.
    folder
        The guard's folder.
    redis
        The guard's Redis, where it has one.
    log
        The guard's decision log, in which this is written down.
    """
    from afterguard.cli import approving
    from afterguard.jobs.approvals import Order

    session = opened(common, {"folder": folder, "redis": redis, "log": log})
    return approving.settled(session, desk_of(session), identifier, Order("denied", by, reason))
