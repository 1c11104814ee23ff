"""`afterguard policy key`, `promote`, `bundle`, `status`: who allowed what, and where it is in force.

In: policies, keys, guards that can be asked. Out: signed files, and how things stand.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import Parameter

from afterguard.cli.options import DEFAULT, Common, Session, open_session, writing
from afterguard.cli.policy_files import bytes_of, policy_of, text_of
from afterguard.errors import EXIT_GATE, UsageError
from afterguard.safe import line, terminal

if TYPE_CHECKING:
    from afterguard.jobs.backtest import Backtest
    from afterguard.jobs.points import Point
    from afterguard.jobs.promote import Promotion
    from afterguard.policy import Policy

Stage = Literal["observe", "shadow", "share", "enforce"]


def key(file: Path, /, *, common: Common = DEFAULT) -> int:
    """Make a signing key for one person: FILE, which only they can read, and FILE.pub, which others check against.

    Parameters
    ----------
    file
        Where to write the private key; it must not exist.
    """
    from afterguard.jobs.promote import new_key, public_key

    session = open_session(common)
    private, public = new_key()
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(private)
        Path(f"{file}.pub").write_bytes(public)
    except OSError as error:
        raise UsageError(
            f"cannot write {file}: {error.strerror}", hint="choose another file", slug="cannot-write"
        ) from None
    session.say(f"policy key: {file}, {file}.pub; for guard.trusted_keys: {public_key(public, str(file))}")
    session.next(f"afterguard policy promote POLICY --key {file} --name NAME --stage shadow --reason TEXT")
    return 0


def promote(
    policy: Path,
    /,
    *,
    key: Path,
    name: str,
    stage: Stage | None = None,
    share: float = 1.0,
    reason: str = "",
    change: str = "",
    backtest: Path | None = None,
    trusted: list[Path] | None = None,
    common: Common = DEFAULT,
) -> int:
    """Sign a policy's way to the next stage. The first person proposes with --stage and a reason, a second person signs.

    Writes POLICY.promoted.json. Refused when the policy's tests fail, in a freeze window, and without a backtest of this revision where
    the stage acts.

    Parameters
    ----------
    policy
        The policy file.
    key
        Your private key, made with policy key.
    name
        Who you are.
    stage
        observe, shadow, share or enforce; left out by the second person.
    share
        Share of conversations, for stage share.
    reason
        Why; or --change.
    change
        Number of the change request.
    backtest
        Result of policy backtest -f json for this revision; gives the expected rate.
    trusted
        Public keys (.pub) that may sign; others are refused.
    """
    from afterguard.jobs import promote as job
    from afterguard.jobs.policy_tests import run

    session = open_session(common)
    loaded = policy_of(str(policy))
    failed = [one.name for one in run(loaded) if one.why]
    if failed:
        raise UsageError(f"the test {failed[0]!r} fails", hint=f"afterguard policy test {policy}", slug="bad-promotion")
    target = Path(f"{policy}{job.SUFFIX}")
    now = datetime.now(UTC)
    if stage is None:
        promotion = _second(loaded, target, now)
    else:
        tried = _tried(backtest) if backtest else None
        promotion = job.propose(loaded, stage, share=share, reason=reason, change=change, tried=tried, today=now.date())
    signed = job.sign(promotion, job.private_key(bytes_of(key), str(key)), name, now)
    wrong = job.problems(signed, loaded, [job.public_key(bytes_of(one), str(one)) for one in trusted or []])
    if any("signed" not in one for one in wrong):
        raise UsageError(wrong[0], hint="remove the promotion and begin again", slug="bad-promotion")
    with writing(str(target)) as out:
        out.write(msgspec.json.format(msgspec.json.encode(signed), indent=2).decode() + "\n")
    if signed.is_complete:
        session.say(f"policy promote: {signed.revision} is promoted to {signed.stage}")
        session.next(f"afterguard policy status {policy}")
    else:
        session.say(f"policy promote: {signed.revision} to {signed.stage} waits for a second person")
        session.next(f"afterguard policy promote {policy} --key THEIR-KEY --name THEIR-NAME")
    return 0


def bundle(
    policy: Path,
    /,
    *,
    out: Path,
    key: Path,
    name: str,
    days: float = 30.0,
    sites: Path | None = None,
    sequence: int | None = None,
    common: Common = DEFAULT,
) -> int:
    """Sign a policy for many sites: one file that guards pull with --policy https://... or --policy FILE.

    POLICY.promoted.json goes along where there is one. Refused when the policy's tests fail. What is at --out is replaced, by a bundle of a higher sequence.

    Parameters
    ----------
    policy
        The policy file.
    out
        Where to write the bundle.
    key
        Your private key, made with policy key.
    name
        Who you are.
    days
        How long it is good. What has expired is not taken any more; what is in force stays, and is stale.
    sites
        YAML with what is different at sites: NAME: {mode: observe}. A guard is at the site that guard.site names.
    sequence
        Its number; it must be higher than that of any bundle before. Without it: the time, or one more than at --out.
    """
    from afterguard.jobs import bundle as job
    from afterguard.jobs import promote
    from afterguard.jobs.policy_tests import run

    session = open_session(common)
    text, loaded = text_of(policy), policy_of(str(policy))
    failed = [one.name for one in run(loaded) if one.why]
    if failed:
        raise UsageError(f"the test {failed[0]!r} fails", hint=f"afterguard policy test {policy}", slug="bad-bundle")
    now = datetime.now(UTC)
    place = Path(f"{policy}{promote.SUFFIX}")
    promotion = promote.read(bytes_of(place), str(place)) if place.exists() else None
    wrong = promote.problems(promotion, loaded) if promotion else []
    if wrong:
        raise UsageError(
            f"{place} does not hold: {wrong[0]}",
            hint="promote this revision, or move that file away",
            slug="bad-bundle",
        )
    before = job.read(bytes_of(out)).sequence if out.exists() else 0
    number = max(before + 1, int(now.timestamp())) if sequence is None else sequence
    if number <= before:
        raise UsageError(
            f"{out} has the sequence {before}", hint=f"give at least {before + 1}, or none", slug="bad-bundle"
        )
    made = job.make(
        text,
        str(policy),
        sequence=number,
        now=now,
        days=days,
        promotion=promotion,
        sites=job.sites_of(text_of(sites), str(sites)) if sites else {},
    )
    signed = job.sign(made, promote.private_key(bytes_of(key), str(key)), name, now)
    with writing(str(out)) as file:
        file.write(job.written(signed).decode())
    session.say(f"policy bundle: {signed.revision} as {signed.sequence}, good until {signed.valid_until}, in {out}")
    session.say(f"signed by {name}; for guard.trusted_keys: {signed.signatures[0].key}")
    session.next(f"put {out} where the sites pull it, then: afterguard policy status --at URL")
    return 0


def status(
    policies: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    at: Annotated[list[str] | None, Parameter(negative=())] = None,
    trusted: list[Path] | None = None,
    acted: int | None = None,
    seen: int | None = None,
    common: Common = DEFAULT,
) -> int:
    """Say of each enforcement point which policy and which measures of responders it has in force, how old, in which modes, and whether they are stale; of each policy file its stage and who promoted it.

    Exits with 10 where a promotion does not hold, or a point is stale, does not answer, or has another policy, or older measures, than the rest.

    Parameters
    ----------
    policies
        Policy files; files with what a guard says at /metrics are enforcement points.
    at
        Address of a guard: http://127.0.0.1:8765. Repeatable.
    trusted
        Public keys (.pub) that may sign.
    acted
        Exchanges the guard blocked or changed since the promotion; with --seen: whether it must go back.
    seen
        Exchanges it saw since.
    """
    from afterguard.jobs import promote as job
    from afterguard.jobs.points import lines, odd
    from afterguard.policy.interval import should_roll_back

    session = open_session(common)
    if not policies and not at:
        raise UsageError("nothing to look at", hint="give a policy file, or --at http://HOST:PORT", slug="bad-usage")
    keys = [job.public_key(bytes_of(one), str(one)) for one in trusted or []]
    points = list(_points(session, policies or [], at or []))
    files = {one.at for one in points}
    rows = []
    for path in [one for one in policies or [] if str(one) not in files]:
        loaded = policy_of(str(path))
        target = Path(f"{path}{job.SUFFIX}")
        promotion = job.read(bytes_of(target), str(target)) if target.exists() else None
        wrong = job.problems(promotion, loaded, keys) if promotion else []
        expected = promotion.expected if promotion else None
        back = bool(
            expected
            and acted is not None
            and seen is not None
            and should_roll_back((expected.low, expected.high), acted, seen)
        )
        rows.append(
            {
                "policy": str(path),
                "revision": loaded.revision,
                "mode": loaded.document.mode,
                "stage": promotion.stage if promotion and not wrong else "",
                "signed_by": [one.name for one in promotion.signatures] if promotion else [],
                "reason": promotion.reason or promotion.change if promotion else "",
                "expected": msgspec.to_builtins(expected) if expected else None,
                "problems": wrong,
                "must_go_back": back,
            }
        )
    with writing(common.output) as out:
        if common.format == "json":
            found = {"format": "afterguard.policy-status/1", "policies": rows, "points": msgspec.to_builtins(points)}
            out.write(json.dumps(found, indent=2) + "\n")
        else:
            for row in rows:
                out.write("\n".join(_status_lines(row)) + "\n")
            for text in lines(points):
                out.write(terminal(text) + "\n")
    session.next("afterguard policy backtest POLICY --logs FILE")
    is_wrong = any(row["problems"] or row["must_go_back"] for row in rows) or bool(odd(points))
    return EXIT_GATE if is_wrong and not common.no_fail else 0


def _points(session: Session, files: list[Path], addresses: list[str]) -> Iterator[Point]:
    """Enforcement points: guards that are asked, and what guards wrote."""
    from afterguard.guard.tls import client_context
    from afterguard.jobs import points
    from afterguard.net import Way

    for path in files:
        data = bytes_of(path)
        if data.startswith(points.IS_PAGE):
            yield points.point(str(path), data.decode("utf-8", "replace"), time.time())
    if addresses:
        if session.common.offline:
            raise UsageError("--at asks guards, and --offline forbids it", hint="leave one out", slug="bad-usage")
        settings = session.config.guard
        context = client_context(ca=settings.upstream_ca, certificate=settings.upstream_certificate)
        yield from points.asked(addresses, settings.token, Way(context), time.time)


def _status_lines(row: dict[str, object]) -> Iterator[str]:
    yield line(f"{row['policy']}: {row['revision']}, mode {row['mode']}")
    people = row["signed_by"]
    if isinstance(people, list) and people:
        stage = f"promoted to {row['stage']}" if row["stage"] else "not promoted"
        yield line(f"  {stage}, signed by {', '.join(people)}: {row['reason']}")
    else:
        yield "  never promoted"
    expected = row["expected"]
    if isinstance(expected, dict):
        yield f"  expected to act on {expected['low']:.2%} to {expected['high']:.2%} of turns ({expected['turns']:,} tried)"
    problems = row["problems"]
    for one in problems if isinstance(problems, list) else []:
        yield line(f"  problem: {one}")
    if row["must_go_back"]:
        yield "  must go back: it acts more often than expected"


def _second(loaded: Policy, target: Path, now: datetime) -> Promotion:
    from afterguard.jobs import promote as job

    if not target.exists():
        raise UsageError("nobody has proposed a promotion", hint="add --stage and --reason", slug="bad-promotion")
    promotion = job.read(bytes_of(target), str(target))
    if promotion.revision != loaded.revision:
        raise UsageError(
            f"{promotion.revision} was proposed, the policy is now {loaded.revision}",
            hint="propose it again with --stage",
            slug="bad-promotion",
        )
    if promotion.is_complete:
        raise UsageError("it is promoted already", hint=f"afterguard policy status {target}", slug="bad-promotion")
    job.not_now(loaded, now.date())
    return promotion


def _tried(path: Path) -> Backtest:
    from afterguard.jobs.backtest import Backtest

    try:
        return msgspec.json.decode(bytes_of(path), type=Backtest)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UsageError(
            f"{path} is no backtest: {error}",
            hint="afterguard policy backtest POLICY --logs FILE -f json -o FILE",
            slug="bad-usage",
        ) from None
