"""`afterguard respond plan`, `run`, `approve`, `answer`, `undo`, `expire`: acts, and who agrees to them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from afterguard.cli.options import DEFAULT, Common, writing
from afterguard.cli.respond_places import ACTING, Acting, Desk, acting, opened, who
from afterguard.cli.respond_sinks import outbox
from afterguard.errors import EXIT_GATE, UsageError
from afterguard.report.words import count
from afterguard.safe import line, terminal

if TYPE_CHECKING:
    from afterguard.respond.act import Act
    from afterguard.respond.engine import Ran
    from afterguard.respond.journal import Journal, Line
    from afterguard.respond.plan import Choice, Planned
    from afterguard.respond.roles import Person
    from afterguard.store.cases import Held

Repeated = Annotated[list[str] | None, Parameter(negative=())]
MARKS = {
    "done": "done",
    "partly": "PARTLY",
    "would": "would do",
    "refused": "REFUSED",
    "failed": "FAILED",
    "waiting": "waits",
    "unsure": "UNSURE",
}


def plan(
    case: str,
    /,
    *,
    playbook: str = "",
    with_: Annotated[list[str] | None, Parameter(name="--with", negative=())] = None,
    skip: Repeated = None,
    only: Repeated = None,
    value: Repeated = None,
    settings: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """Say what a playbook would do for a case: every act, with what stands in its way. Nothing is changed.

    Parameters
    ----------
    case
        The case, or the end of its id.
    playbook
        Its id; empty: the one that covers most of the case's alerts.
    with_
        Optional steps that are wanted. Repeatable.
    skip
        Steps to leave out. Repeatable.
    only
        Only these steps, and the evidence before them. Repeatable.
    value
        STEP=VALUE for steps that need one. Repeatable.
    settings
        respond.yaml.
    """
    return run(case, playbook=playbook, with_=with_, skip=skip, only=only, value=value, dry_run=True, by=Acting(settings=settings), common=common)  # fmt: skip


def run(
    case: str,
    /,
    *,
    playbook: str = "",
    with_: Annotated[list[str] | None, Parameter(name="--with", negative=())] = None,
    skip: Repeated = None,
    only: Repeated = None,
    value: Repeated = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    by: Acting = ACTING,
    common: Common = DEFAULT,
) -> int:
    """Do what a plan says, as far as it goes: evidence first, every effect asked of the world again. Run it again after an approval or a crash.

    Exits with 10 where something failed, waits for a person, or is not in effect at every guard.

    Parameters
    ----------
    case
        The case, or the end of its id.
    playbook
        Its id; empty: the plan that was begun, else the playbook that covers most of the case's alerts.
    with_
        Optional steps that are wanted. Repeatable.
    skip
        Steps to leave out; that is written down. Repeatable.
    only
        Only these steps, and the evidence before them. Repeatable.
    value
        STEP=VALUE for steps that need one. Repeatable.
    dry_run
        Ask the same questions of the same guard, hooks and stores, and change nothing.
    """
    from afterguard.jobs import respond as job

    with opened(common, by.settings) as desk:
        out = outbox(desk, by.sinks, is_dry=dry_run)
        held, code = desk.cases.get(case), 0
        person = who(desk, by.token, by.break_glass) if dry_run else acting(desk, by.token, by.break_glass)
        made = _planned(desk, held, playbook, _choice(with_, skip, only, value))
        body = msgspec.json.encode(held)
        if dry_run:
            lines = job.read_journal(desk.room, held.case.id).lines
            acts = job.joined(lines, made.acts) if made else job.planned(lines)
            engine = job.engine(desk.room, held.case, person, acts, job.Written(list(lines)), lambda: body)
            ran = engine.dry()
        else:
            with _journal(desk, held, person) as journal:
                acts = (
                    job.put_plan(journal, made.acts, made.left, person, desk.now)
                    if made
                    else job.planned(journal.lines)
                )
                ran = job.engine(desk.room, held.case, person, acts, journal, lambda: body).run()
                _tell(desk, held, journal.lines, acts)
                code = out.leave(desk, held, acts, journal.lines)
            out.deliver(desk)
        _shown(desk, ran, made.left if made else ())
        desk.session.next(_next(held.case.id, ran, dry_run))
        return code if ran.state == "done" else EXIT_GATE


def _choice(with_: list[str] | None, skip: list[str] | None, only: list[str] | None, value: list[str] | None) -> Choice:  # fmt: skip
    from afterguard.respond.plan import Choice

    return Choice(optional=with_ or (), skip=skip or (), only=only or (), values=values_of(value))


def values_of(value: list[str] | None) -> dict[str, str]:
    """Step -> value, of STEP=VALUE. Raises UsageError."""
    values = dict(one.split("=", 1) for one in value or [] if "=" in one)
    if len(values) != len(value or []):
        raise UsageError("a value is STEP=VALUE", hint="--value pin-model=gpt-agreed", slug="bad-usage")
    return values


def _planned(desk: Desk, held: Held, name: str, choice: Choice) -> Planned | None:
    """The plan that is asked for; None where the one that stands in the journal goes on. Raises UsageError."""
    from afterguard.jobs import respond as job
    from afterguard.respond.plan import plan as planned
    from afterguard.respond.playbook import UNKNOWN, fitting

    is_asked = name or choice.optional or choice.skip or choice.only or choice.values
    before = job.planned(job.read_journal(desk.room, held.case.id).lines)
    if before and not is_asked:
        return None
    if name:
        found = job.playbook_of(desk.room.settings, name)
    else:
        fits, unmapped = fitting(held.alerts, job.playbooks(desk.room.settings))
        named = [one for one in fits if before and one.id == before[-1].playbook] or list(fits)
        if not named:
            raise UsageError("the case holds no alert that a playbook could be for", hint="name one: --playbook ID; afterguard respond playbooks", slug="bad-playbook")  # fmt: skip
        found = named[0]
        if not before:
            for what in unmapped[:5]:
                desk.session.say(terminal(f"respond: no playbook is written for {what}: {UNKNOWN} is the answer to what nobody knows"))  # fmt: skip
            desk.session.say(f"respond: playbook {found.id} ({found.title})" + (f"; also fit: {', '.join(one.id for one in fits[1:4])}" if fits[1:] else ""))  # fmt: skip
    return planned(held.case, found, choice)


def _journal(desk: Desk, held: Held, person: Person) -> closing[Journal]:
    from afterguard.jobs import respond as job

    return closing(job.open_journal(desk.room, held.case.id, person))


def _tell(desk: Desk, held: Held, lines: Sequence[Line], acts: Sequence[Act]) -> None:
    """Write what was done into the case."""
    from afterguard.jobs import respond as job

    desk.cases.change(held.case.id, lambda case: job.told(case, lines, acts, desk.now), who="afterguard", what="run")


def _shown(desk: Desk, ran: Ran, left: Sequence[str]) -> None:
    with writing(desk.session.common.output) as out:
        if desk.session.common.format == "json":
            found = {"format": "afterguard.run/1", "state": ran.state, "acts": [{"act": one.act, "state": one.state, "says": one.says} for one in ran.rows], "left": left}  # fmt: skip
            out.write(msgspec.json.format(msgspec.json.encode(found)).decode() + "\n")
            return
        phase = ""
        for one in ran.rows:
            if one.act.phase != phase:
                phase = one.act.phase
                out.write(f"{phase}\n")
            about = "" if one.act.on == "case" else f" {one.act.on} {line(one.act.target)}"
            out.write(f"  {MARKS.get(one.state, one.state):<8} {one.act.id}  {one.act.step}: {one.act.do}{about}\n")
            out.write(f"           {line(one.says)}\n")
        out.writelines(terminal(f"  not      {one}\n") for one in left)
    refused = sum(one.state == "refused" for one in ran.rows)
    desk.session.say(f"respond: {count(refused, 'act')} would be refused, and a run would stop at the first" if refused else f"respond: {ran.state}")  # fmt: skip


def _next(case: str, ran: Ran, is_dry: bool) -> str:
    if is_dry:
        return f"afterguard respond run {case}"
    waits = next((one for one in ran.rows if one.state == "waiting"), None)
    if waits is not None and waits.act.do == "ask":
        return f"afterguard respond answer {case} {waits.act.id} --text TEXT"
    if waits is not None:
        return f"afterguard respond approve {case} {waits.act.id} --reason TEXT   (another person)"
    if ran.state == "partly":
        return f"afterguard respond run {case}   (asks again; what is missing stands above)"
    if ran.state == "done":
        return f"afterguard respond show {case}"
    return f"afterguard respond run {case}   (goes on once that is mended; afterguard respond undo {case} takes back what was done)"


def approve(
    case: str,
    act: str,
    /,
    *,
    reason: str,
    deny: Annotated[bool, Parameter(negative=())] = False,
    by: Acting = ACTING,
    common: Common = DEFAULT,
) -> int:
    """Agree to an act that waits for you, or say no. Who asked for it cannot.

    Parameters
    ----------
    case
        The case.
    act
        The act's id or step, as run shows it.
    reason
        Why.
    deny
        Say no.
    """
    from afterguard.jobs import respond as job

    with opened(common, by.settings) as desk:
        out = outbox(desk, by.sinks)
        held = desk.cases.get(case)
        person = who(desk, by.token, by.break_glass)
        with _journal(desk, held, person) as journal:
            acts = job.planned(journal.lines)
            line = job.settle(journal, acts, act, person, agrees=not deny, reason=reason, now=desk.now)
            _tell(desk, held, journal.lines, acts)
            code = out.leave(desk, held, acts, journal.lines)
        out.deliver(desk)
        if line.what == "break_glass":
            desk.session.say(f"respond: THE GLASS WAS BROKEN by {person.name}; it stands in the journal and in the case, and has to be reviewed")  # fmt: skip
        else:
            desk.session.say(f"respond: {line.what} by {person.name}")
        desk.session.next(f"afterguard respond run {held.case.id}")
        return code


def answer(
    case: str,
    act: str,
    /,
    *,
    text: str,
    token: Path | None = None,
    settings: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """Answer what a step asks a person.

    Parameters
    ----------
    case
        The case.
    act
        The act's id or step.
    text
        What was done or decided.
    token
        File with your ID token, where roles come from a provider.
    settings
        respond.yaml.
    """
    from afterguard.jobs import respond as job

    with opened(common, settings) as desk:
        held = desk.cases.get(case)
        person = acting(desk, token)
        with _journal(desk, held, person) as journal:
            acts = job.planned(journal.lines)
            job.answer(journal, acts, act, person, text, desk.now)
            _tell(desk, held, journal.lines, acts)
        desk.session.next(f"afterguard respond run {held.case.id}")
        return 0


def undo(
    case: str,
    acts: list[str] | None = None,
    /,
    *,
    by: Acting = ACTING,
    common: Common = DEFAULT,
) -> int:
    """Take back what is in effect, the last first, and ask the world whether it is gone.

    Parameters
    ----------
    case
        The case.
    acts
        Only these; by default all that can be taken back.
    """
    return _back(case, acts or [], by, common, is_due=False)


def expire(case: str, /, *, by: Acting = ACTING, common: Common = DEFAULT) -> int:
    """Take back what was only to hold for a while and is over. The guard lets its measures go by itself; this writes it down, and does the rest.

    Parameters
    ----------
    case
        The case.
    """
    return _back(case, [], by, common, is_due=True)


def _back(case: str, names: list[str], by: Acting, common: Common, *, is_due: bool) -> int:
    from afterguard.jobs import respond as job

    with opened(common, by.settings) as desk:
        out = outbox(desk, by.sinks)
        held = desk.cases.get(case)
        person = acting(desk, by.token, by.break_glass)
        body = msgspec.json.encode(held)
        with _journal(desk, held, person) as journal:
            acts = job.planned(journal.lines)
            ids = [one.id for one in acts if one.id in names or one.step in names]
            if wrong := [name for name in names if not any(name in (one.id, one.step) for one in acts)]:
                raise UsageError(f"no act is called {wrong[0]}", hint=f"afterguard respond show {held.case.id}", slug="no-such-act")  # fmt: skip
            engine = job.engine(desk.room, held.case, person, acts, journal, lambda: body)
            ran = engine.expire() if is_due else engine.undo(ids)
            _tell(desk, held, journal.lines, acts)
            code = out.leave(desk, held, acts, journal.lines)
        out.deliver(desk)
        _shown(desk, ran, ())
        desk.session.next(f"afterguard respond show {held.case.id}")
        return code if ran.state == "done" else EXIT_GATE
