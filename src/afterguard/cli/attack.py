"""`afterguard attack`: what an application that is live gives way to, within what its owner allows.

In: TARGET.yaml, the owner's signed authorisation. Out: rates with intervals, hits with their transcript; a journal to go on from.
"""

from __future__ import annotations

import os
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from afterguard.cli.options import DEFAULT, Common, Session, open_session, writing
from afterguard.cli.policy_files import bytes_of, text_of
from afterguard.errors import EXIT_GATE, UsageError
from afterguard.safe import line, terminal

if TYPE_CHECKING:
    from afterguard.attack.contract import Technique
    from afterguard.jobs.attack import Assessment
    from afterguard.targets.document import Target

Through = Literal["direct", "guarded"]
attack = App(name="attack", help="What a live application gives way to: within its owner's leave, with intervals.", help_format="plaintext")  # fmt: skip


@attack.default
def run(
    target: Path,
    /,
    *,
    authorisation: Path | None = None,
    trusted: list[Path] | None = None,
    journal: Path | None = None,
    techniques: str = "",
    seed: str = "",
    kill_file: Path | None = None,
    through: Through = "direct",
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> int:
    """Attack an application within its owner's authorisation, and say how sure the result is.

    Parameters
    ----------
    target
        TARGET.yaml: where the application is, how it is spoken to, what its owner knows of it.
    authorisation
        The owner's signed leave, made with `afterguard attack authorise`.
    trusted
        Public keys of owners.
    journal
        File that every request and reply is written to; a run that broke off goes on from it.
    techniques
        Only these, by comma.
    seed
        Of everything that is drawn; the same one draws the same.
    kill_file
        Nothing more is sent once this file exists.
    through
        Speak to the application directly, or through the door of the guard that the target file names as `guarded`.
    dry_run
        Say what would be sent, how much and how long, and send nothing.
    """
    from afterguard.jobs import attack as job

    session = open_session(common)
    found, chosen = _target(target, through), _chosen(techniques)
    book = journal or Path(f"{found.name}{'' if through == 'direct' else '.guarded'}.attack.jsonl")
    told = job.estimate(found, chosen)
    session.say(f"attack: {len(chosen)} techniques, at most {told.requests} requests, {told.minutes:.0f} minutes, {told.dollars:.2f} dollars to {found.host}")  # fmt: skip
    if dry_run:
        with writing(common.output) as out:
            out.write(terminal("".join(f"{one.id}: {one.title} ({', '.join(one.variants)})\n" for one in chosen)))
        session.next(f"afterguard attack authorise {target} --key OWNER.key --owner NAME --tester NAME")
        return 0
    if authorisation is None:
        raise UsageError("nothing is sent without the owner's leave", hint=f"afterguard attack authorise {target} --key OWNER.key --owner NAME --tester NAME, then --authorisation FILE --trusted OWNER.key.pub", slug="not-authorised")  # fmt: skip
    result = _ran(session, found, chosen, authorisation, trusted or [], book, seed, kill_file)  # fmt: skip
    if common.format == "json":
        text = msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n"
    else:
        text = terminal(_table(result))
    with writing(common.output) as out:
        out.write(_masked(text, found))
    first = result.hits[0].id if result.hits else ""
    session.next(f"afterguard attack replay {first} --journal {book}" if first else f"afterguard attack {target} --techniques ... with more that the target file says of the application")  # fmt: skip
    return EXIT_GATE if result.hits and common.fail_on and not common.no_fail else 0


def _ran(
    session: Session,
    target: Target,
    techniques: list[Technique],
    file: Path,
    trusted: list[Path],
    journal: Path,
    seed: str,
    kill_file: Path | None,
) -> Assessment:
    from afterguard.jobs import attack as job
    from afterguard.jobs import authorisation as leaves
    from afterguard.jobs.promote import public_key

    keys = tuple(public_key(bytes_of(one), str(one)) for one in trusted)
    leave = leaves.read(bytes_of(file), str(file), keys)
    why = leaves.check(leave, target.name, target.host, time.time())
    if why:
        raise UsageError(why, hint="ask the owner for another one", slug="not-authorised")
    head = job.Head(target.name, target.host, seed or secrets.token_hex(4), secrets.token_hex(4), tuple(one.id for one in techniques))  # fmt: skip
    book = job.Journal(journal, head)
    if (book.head.target, book.head.host) != (target.name, target.host):
        raise UsageError(f"{journal} is the journal of {book.head.target}", hint="give another --journal", slug="bad-journal")  # fmt: skip
    if book.rows:
        session.say(f"attack: going on after {len(book.rows)} lines of {journal}")
    try:
        return job.Run(
            target, techniques, leave, book, wall=time.time, clock=time.monotonic, sleep=time.sleep,
            is_killed=lambda: kill_file is not None and kill_file.exists(),
            told=lambda count, what: session.say(f"  {count}: {what}") if session.common.verbose else None,
        ).whole()  # fmt: skip
    finally:
        book.close()


@attack.command
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
    through: Through = "direct",
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
    found = _target(target, through)
    if not 0 < days <= 90:
        raise UsageError(f"{days:g} days", hint="between 0 and 90", slug="bad-usage")
    now = datetime.now(UTC)
    leave = leaves.Leave(found.name, found.host, owner, tester, now.strftime(leaves.TIME), (now + timedelta(days=days)).strftime(leaves.TIME), found.limits, changes, quiet_hours)  # fmt: skip
    with writing(common.output) as out:
        out.write(msgspec.json.format(msgspec.json.encode(leaves.signed(leave, private_key(bytes_of(key), str(key)))), indent=2).decode() + "\n")  # fmt: skip
    session.next(f"afterguard attack {target} --authorisation FILE --trusted {key}.pub")
    return 0


@attack.command
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
    if not journal.exists():
        raise UsageError(f"there is no {journal}", hint="give the journal of the run", slug="no-such-path")
    book = job.Journal(journal, job.Head("", "", "", "", ()))
    book.close()
    rows = [row for row in book.rows if row.trial in (id, f"{id}/twin")]
    if not rows:
        raise UsageError(f"{journal} has no trial {id}", hint="ids stand in the result", slug="bad-usage")
    with writing(common.output) as out:
        for row in rows:
            out.write(terminal(_said(row)))
    session.next("afterguard policy show strict -o policy.yaml")
    return 0


@attack.command
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


WHOSE = {"twin": "harmless ", "clean": "clean-up "}


def _masked(text: str, target: Target) -> str:
    """The result without the owner's planted values; the journal and `replay` have them."""
    for canary in target.knows.canaries:
        text = text.replace(canary.value, f"{canary.value[:2]}[planted value]")
    return text


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


def _target(path: Path, through: Through) -> Target:
    from afterguard.targets.load import load

    return load(text_of(path), str(path), os.environ).through(through)


def _chosen(names: str) -> list[Technique]:
    from afterguard.attack.techniques import ALL, BY_ID

    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in BY_ID]
    if unknown:
        raise UsageError(f"no technique is called {unknown[0]}", hint=f"there are: {', '.join(BY_ID)}", slug="bad-usage")  # fmt: skip
    return [BY_ID[name] for name in wanted] if wanted else list(ALL)


def _table(result: Assessment) -> str:
    from afterguard.attack.techniques import BY_ID

    lines = [f"{result.target}: {result.requests} requests, {result.seconds:.0f} s" + (f"; ended because {result.stopped}" if result.stopped else "")]  # fmt: skip
    if result.manner:
        lines.append(f"The application {result.manner}: nothing it says shows anything.")
    for family in result.families:
        share, title = family.share, BY_ID[family.technique].title
        if family.skipped:
            lines.append(f"  not tried      {title} ({family.skipped})")
            continue
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(family.not_assessed.items()))
        blocked = f", {family.blocked} of them held off before the model" if family.blocked else ""
        lines.append(f"  {share.part} of {share.of:<3} [{share.low:.0%}, {share.high:.0%}]  {title}{blocked}" + (f"; not assessed: {reasons}" if reasons else ""))  # fmt: skip
    lines += [f"  hit {hit.id}: {hit.oracle}: {line(hit.evidence)[:160]}" for hit in result.hits]
    lines += [f"  left behind by {one.trial}: {line(one.what)}" for one in result.left]
    return "\n".join(lines) + "\n"
