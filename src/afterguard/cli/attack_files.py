"""`afterguard attack authorise`, `replay` and `template`: the files round an attack.

In: a target, the owner's key; a journal; a pasted request. Out: a signed leave, one trial word for word, a TARGET.yaml. Nothing is sent.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from afterguard.cli import attack_parts as parts
from afterguard.cli.options import DEFAULT, Common, open_session, writing
from afterguard.cli.policy_files import bytes_of
from afterguard.errors import UsageError
from afterguard.safe import terminal


def authorise(
    target: Path,
    /,
    *,
    key: Path,
    owner: str,
    tester: str,
    days: float = 7.0,
    changes: Annotated[bool, Parameter(negative=())] = False,
    quiet_hours: str = "",
    through: parts.Through = "direct",
    common: Common = DEFAULT,
) -> int:
    """Sign the leave to attack one application: who, what, until when, how far. For the application's owner.

    Parameters
    ----------
    target
        TARGET.yaml; its limits become those of the leave.
    key
        The owner's private key, made with `afterguard policy key`.
    owner
        Who allows it.
    tester
        Whom.
    days
        For how long.
    changes
        Allow techniques that leave something behind, or make tools act.
    quiet_hours
        UTC, as 08:00-18:00: nothing is sent then.
    through
        Allow it directly, or through the door of the guard: each host has a leave of its own.
    """
    from afterguard.jobs import authorisation as leaves
    from afterguard.jobs.promote import private_key

    session = open_session(common)
    found = parts.target(target, through)
    if not 0 < days <= 90:
        raise UsageError(f"{days:g} days", hint="between 0 and 90", slug="bad-usage")
    now = datetime.now(UTC)
    leave = leaves.Leave(found.name, found.host, owner, tester, now.strftime(leaves.TIME), (now + timedelta(days=days)).strftime(leaves.TIME), found.limits, changes, quiet_hours)  # fmt: skip
    with writing(common.output) as out:
        out.write(parts.pretty(leaves.signed(leave, private_key(bytes_of(key), str(key)))))  # fmt: skip
    session.next(f"afterguard attack {target} --authorisation FILE --trusted {key}.pub")
    return 0


def replay(id: str, /, *, journal: Path, common: Common = DEFAULT) -> int:
    """Show one trial again, word for word: what was sent, what came back, what shows that it worked.

    Parameters
    ----------
    id
        Of a hit, as the result names it.
    journal
        The run's journal.
    """
    from afterguard.jobs import attack as job

    session = open_session(common)
    _, every, _ = job.parse(bytes_of(journal, CAP), str(journal))
    rows = [row for row in every if row.trial in (id, f"{id}/twin")]
    if not rows:
        raise UsageError(f"{journal} has no trial {id}", hint="ids stand in the result", slug="bad-usage")
    with writing(common.output) as out:
        for row in rows:
            out.write(terminal(_said(row)))
    session.next("afterguard policy show strict -o policy.yaml")
    return 0


def template(
    file: Path,
    /,
    *,
    prompt: str,
    reply: str = "",
    name: str = "application",
    common: Common = DEFAULT,
) -> int:
    """Make a TARGET.yaml from a request: raw HTTP text as an intercepting proxy copies it, a HAR, or one entry of a HAR.

    Parameters
    ----------
    file
        The pasted request. Keys, cookies and tokens in it become ${NAME} and are not written down.
    prompt
        The text in the request that every attack takes the place of.
    reply
        A part of the application's answer, to find its path in the HAR's response.
    name
        What the target is called.
    """
    from afterguard.targets import draft, load, pasted

    session = open_session(common)
    found = pasted.read(bytes_of(file, pasted.CAP).decode("utf-8", "replace"), str(file), prompt)
    made = draft.draft(found, prompt, reply, name, str(file))
    load.load(made.text, str(file), dict.fromkeys(made.variables, "x"))  # What is written here can be read.
    with writing(common.output) as out:
        out.write(made.text)
    for note in made.notes:
        session.say(f"attack: {note}")
    exports = "".join(f"export {variable}=...; " for variable in made.variables)
    session.next(f"{exports}afterguard attack TARGET.yaml --dry-run")
    return 0


CAP = 512 << 20
WHOSE = {"twin": "harmless ", "clean": "clean-up "}


def _said(row: object) -> str:
    from afterguard.jobs.attack import Row

    assert isinstance(row, Row)
    if row.result is not None:
        claim = f": {row.result.claim.oracle}: {row.result.claim.evidence}" if row.result.claim else ""
        return f"=> {row.result.verdict} {row.result.reason}{claim}\n"
    prompt, reply = row.prompt, row.reply
    if prompt is None:
        return ""
    if reply is None:
        return f"! about to leave behind {prompt.leaves}\n"
    planted = "".join(f"  [{plant.surface} {plant.name}] {plant.content}\n" for plant in prompt.plants)
    calls = "".join(f"  call {call.name} {call.arguments}\n" for call in reply.calls)
    return f"{WHOSE.get(row.kind, '')}> {prompt.text}\n{planted}< {reply.error or reply.text}\n{calls}"
