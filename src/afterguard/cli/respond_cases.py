"""`afterguard respond open`, `cases`, `show`, `note`, `merge`, `split`, `revert`, `close`, `export`, `ticket`, `clocks`: the record of an incident."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import Parameter

from afterguard.cli.options import DEFAULT, Common, writing
from afterguard.cli.policy_files import bytes_of
from afterguard.cli.respond_places import Desk, opened, read_alerts, who
from afterguard.errors import UsageError
from afterguard.report.words import count
from afterguard.safe import terminal

if TYPE_CHECKING:
    from afterguard.model import Alert, Case, Entity
    from afterguard.respond.clocks import Found

What = Literal["note", "decision", "evidence", "task"]
Status = Literal["open", "contained", "eradicated", "recovered", "closed"]
System = Literal["jira", "servicenow"]


def open_(alerts: str, /, *, title: str = "", into: str = "", settings: Path | None = None, common: Common = DEFAULT) -> int:  # fmt: skip
    """Open a case from alerts, or put them into one that is open. An alert that is in an open case already is said so.

    Parameters
    ----------
    alerts
        An alert (al-...) or incident (in-...) of `afterguard watch`; or a file of afterguard.alert/1, JSON or JSON Lines; - is standard input.
    title
        Its title; empty: that of the gravest alert.
    into
        A case that takes them.
    settings
        respond.yaml.
    """
    from afterguard.respond import case

    with opened(common, settings) as desk:
        found = _alerts(desk, alerts)
        person = who(desk).name
        for one in found:
            other = desk.cases.with_alert(one.id)
            if other:
                desk.session.say(f"respond: alert {one.id} is in case {other} too; merge them, if they are one")
        if into:
            held = desk.cases.get(into)
            made = case.grown(held.case, found, who=person, now=desk.now)
            rows = {one.id: one for one in (*held.alerts, *found)}
            desk.cases.save([made], {made.id: held.version}, {made.id: tuple(rows.values())}, who=person, what="alerts")
        else:
            made = case.opened(found, id=desk.cases.store.made(), who=person, now=desk.now, title=title)
            desk.cases.save([made], {}, {made.id: found}, who=person, what="open")
        _print(desk, made, tuple(found))
        desk.session.next(f"afterguard respond plan {made.id}")
        return 0


def _alerts(desk: Desk, named: str) -> list[Alert]:
    """From the store, where `afterguard watch` keeps them, or from a file."""
    from afterguard.model import Alert
    from afterguard.store import alerts as stored

    store, tenant = desk.cases.store.connection, desk.session.config.tenant
    if named.startswith(("al-", "in-")) and not Path(named).exists():
        found = stored.of_incident(store, tenant, named) if named.startswith("in-") else stored.one(store, tenant, named)  # fmt: skip
        if not found or (named.startswith("al-") and len(found) > 1):
            raise UsageError(f"{len(found) or 'no'} alerts are called {named}", hint="afterguard watch alerts lists them", slug="no-such-alert")  # fmt: skip
        return found
    try:
        return [msgspec.json.decode(one, type=Alert) for one in read_alerts(named)]
    except msgspec.DecodeError as error:
        raise UsageError(f"{named}: {error}", hint="JSON Lines of afterguard.alert/1", slug="bad-alerts") from None


def cases(*, every: bool = False, settings: Path | None = None, common: Common = DEFAULT) -> int:
    """List cases, the newest first.

    Parameters
    ----------
    every
        Those that are closed or merged too.
    settings
        respond.yaml.
    """
    with opened(common, settings) as desk:
        found = desk.cases.list(common.tenant or "", common.app or "", every=every)
        with writing(common.output) as out:
            if common.format == "json":
                out.write(msgspec.json.format(msgspec.json.encode({"format": "afterguard.cases/1", "cases": found})).decode() + "\n")  # fmt: skip
            else:
                out.writelines(_row(f"{one.id}  {one.status:<10} {one.severity:<8} {_time(one.updated)}  {one.title} ({one.app})") for one in found)  # fmt: skip
        desk.session.next(f"afterguard respond show {found[0].id}" if found else "afterguard respond open ALERT")
        return 0


def show(case: str, /, *, settings: Path | None = None, common: Common = DEFAULT) -> int:
    """Show a case: what it is about, what happened, what waits.

    Parameters
    ----------
    case
        The case, or the end of its id.
    settings
        respond.yaml.
    """
    with opened(common, settings) as desk:
        held = desk.cases.get(case)
        _print(desk, held.case, held.alerts)
        for name, at, person, what, undone in desk.cases.changes(held.case.id, 5):
            desk.session.say(f"change {name}  {_time(at)}  {what} by {person}{'  (taken back)' if undone else ''}")
        desk.session.next(f"afterguard respond run {held.case.id} --dry-run")
        return 0


def note(
    case: str,
    /,
    *,
    text: str,
    what: What = "note",
    done: str = "",
    cost: float = 0.0,
    entity: Annotated[list[str] | None, Parameter(negative=())] = None,
    settings: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """Write something into a case: a note, a decision, a task, evidence, what it cost, whom or what it is about too.

    Parameters
    ----------
    case
        The case.
    text
        What to write.
    what
        note, decision, evidence or task.
    done
        The task that is done.
    cost
        What it cost more than was known; negative corrects.
    entity
        KIND=NAME that the case is about too, as you found out: domain=evil.example. Plans act on it. Repeatable.
    settings
        respond.yaml.
    """
    from afterguard.respond import case as cases_of

    with opened(common, settings) as desk:
        held, person = desk.cases.get(case), who(desk).name
        made = cases_of.about(held.case, [_entity(one) for one in entity or ()])
        if cost:
            made = cases_of.spent(made, cost, who=person, now=desk.now, why=text)
        elif done:
            if done not in cases_of.open_tasks(made):
                raise UsageError(
                    f"no task {done} is open", hint=f"afterguard respond show {made.id}", slug="no-such-act"
                )
            made = cases_of.said(made, "task", f"done: {text}", who=person, now=desk.now, ref=done)
        else:
            ref = f"task-{desk.cases.store.made()[-8:]}" if what == "task" else ""
            made = cases_of.said(made, what, text, who=person, now=desk.now, ref=ref)
        desk.cases.save([made], {made.id: held.version}, {}, who=person, what="note")
        desk.session.next(f"afterguard respond show {made.id}")
        return 0


def _entity(text: str) -> Entity:
    from afterguard.model import ENTITIES, Entity

    kind, _, name = text.partition("=")
    if kind not in ENTITIES or not 0 < len(name) <= 200:
        raise UsageError(f"{text!r} is no KIND=NAME", hint=f"kinds: {', '.join(ENTITIES)}", slug="bad-usage")
    return Entity(kind, name, "means")


def merge(
    case: str, others: list[str], /, *, reason: str, settings: Path | None = None, common: Common = DEFAULT
) -> int:
    """Make one case of two or more. `revert` takes it back.

    Parameters
    ----------
    case
        The case that stays.
    others
        Those that go into it.
    reason
        Why they are one.
    settings
        respond.yaml.
    """
    from afterguard.respond.case import merged

    with opened(common, settings) as desk:
        held = [desk.cases.get(one) for one in (case, *others)]
        person = who(desk).name
        made = merged([one.case for one in held], who=person, now=desk.now, why=reason)
        alerts = {one.id: one for row in held for one in row.alerts}
        change = desk.cases.save(made, {one.case.id: one.version for one in held}, {made[0].id: tuple(alerts.values())}, who=person, what="merge")  # fmt: skip
        desk.session.say(f"respond: {len(others)} cases went into {made[0].id} (change {change})")
        desk.session.next(f"afterguard respond show {made[0].id}   (afterguard respond revert {change} takes it back)")
        return 0


def split(
    case: str, alerts: list[str], /, *, reason: str, settings: Path | None = None, common: Common = DEFAULT
) -> int:
    """Put some alerts of a case into a new one. `revert` takes it back.

    Parameters
    ----------
    case
        The case.
    alerts
        Ids of the alerts that leave.
    reason
        Why they are another incident.
    settings
        respond.yaml.
    """
    from afterguard.respond.case import split as parted

    with opened(common, settings) as desk:
        held, person = desk.cases.get(case), who(desk).name
        go = [one for one in held.alerts if one.id in alerts]
        stay = [one for one in held.alerts if one.id not in alerts]
        kept, new = parted(held.case, go, stay, id=desk.cases.store.made(), who=person, now=desk.now, why=reason)
        change = desk.cases.save([kept, new], {kept.id: held.version}, {kept.id: stay, new.id: go}, who=person, what="split")  # fmt: skip
        desk.session.say(f"respond: {len(go)} alerts are case {new.id} (change {change})")
        desk.session.next(f"afterguard respond show {new.id}")
        return 0


def revert(change: str, /, *, reason: str, settings: Path | None = None, common: Common = DEFAULT) -> int:
    """Take back a change of the record: a merge, a split, an opening. What was said since stays said.

    Parameters
    ----------
    change
        The change, as show lists it.
    reason
        Why.
    settings
        respond.yaml.
    """
    from afterguard.respond.case import said

    with opened(common, settings) as desk:
        person = who(desk).name

        def tell(case: Case) -> Case:
            return said(case, "undo", f"change {change} was taken back: {reason}", who=person, now=desk.now, ref=change)

        found = desk.cases.undo(change, who=person, said=tell)
        desk.session.say(f"respond: taken back in {', '.join(found)}")
        desk.session.next(f"afterguard respond show {found[0]}")
        return 0


def close(case: str, /, *, status: Status = "closed", reason: str, settings: Path | None = None, common: Common = DEFAULT) -> int:  # fmt: skip
    """Move a case on: contained, eradicated, recovered, closed, or open again.

    Parameters
    ----------
    case
        The case.
    status
        What it is now.
    reason
        Why.
    settings
        respond.yaml.
    """
    from afterguard.respond.case import moved

    with opened(common, settings) as desk:
        held, person = desk.cases.get(case), who(desk).name
        made = moved(held.case, status, who=person, now=desk.now, why=reason)
        desk.cases.save([made], {made.id: held.version}, {}, who=person, what=status)
        desk.session.next(f"afterguard respond export {made.id} -f md")
        return 0


def export(case: str, /, *, settings: Path | None = None, common: Common = DEFAULT) -> int:
    """Write a whole case: JSON for machines (-f json), Markdown for people.

    Parameters
    ----------
    case
        The case.
    settings
        respond.yaml.
    """
    from afterguard.jobs import respond as job
    from afterguard.respond import whole

    with opened(common, settings) as desk:
        held = desk.cases.get(case)
        journal = job.read_journal(desk.room, held.case.id)
        told = (held.case, held.alerts, job.planned(journal.lines), journal, desk.now)
        with writing(common.output) as out:
            out.write(whole.as_json(*told).decode() + "\n" if common.format == "json" else whole.as_markdown(*told))
        desk.session.next(
            f"afterguard respond verify {desk.room.journal_file(held.case.id)} --head {journal.head[:64]}"
        )
        return 0


def ticket(
    case: str = "",
    /,
    *,
    system: System,
    project: str = "",
    key: str = "",
    body: Path | None = None,
    header: Annotated[list[str] | None, Parameter(negative=())] = None,
    secret: str = "",
    settings: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """Print the request that opens or updates a case's ticket; or take what a webhook of the ticket system said into the case.

    Parameters
    ----------
    case
        The case, for a request.
    system
        jira or servicenow.
    project
        Project or assignment group, for a new ticket.
    key
        The ticket that is to be updated.
    body
        File with the body of a webhook.
    header
        NAME: VALUE of the webhook. Repeatable.
    secret
        Name of the environment variable with the webhook's secret (Jira) or USER:PASSWORD (ServiceNow).
    settings
        respond.yaml.
    """
    from afterguard.respond import tickets

    with opened(common, settings) as desk:
        if body is not None:
            return _heard(desk, system, body, header or [], os.environ.get(secret, ""))
        held = desk.cases.get(case).case
        made = tickets.update(held, system, key) if key else tickets.create(held, system, project)
        with writing(common.output) as out:
            out.write(msgspec.json.format(msgspec.json.encode(made._asdict())).decode() + "\n")
        desk.session.next(f"send it, or let a hook do so: afterguard respond run {held.id}")
        return 0


def _heard(desk: Desk, system: System, file: Path, headers: list[str], secret: str) -> int:
    from afterguard.respond import case, tickets

    told = {name.strip(): value.strip() for name, _, value in (one.partition(":") for one in headers)}
    found = tickets.received(system, told, bytes_of(file), secret)
    held = desk.cases.get(found.case)
    words = ", ".join(filter(None, (found.status, found.disposition, found.comment)))
    name = f"{system}:{found.who or 'unknown'}"
    made = case.said(
        held.case, "ticket", f"{found.key}: {words or 'nothing new'}", who=name, now=desk.now, ref=found.key
    )
    if found.status and found.status != made.status and made.status != "merged" and not (found.status == "closed" and case.open_tasks(made)):  # fmt: skip
        made = case.moved(made, found.status, who=name, now=desk.now, why=f"ticket {found.key}")
    alerts: list[Alert] = list(held.alerts)
    if found.disposition:
        alerts = [msgspec.structs.replace(one, disposition=found.disposition) for one in alerts]
        _say(desk, alerts, found.disposition, name, f"ticket {found.key}")
    desk.cases.save([made], {made.id: held.version}, {made.id: alerts}, who=name, what="ticket")
    desk.session.next(f"afterguard respond show {made.id}")
    return 0


def _say(desk: Desk, alerts: list[Alert], what: str, who: str, why: str) -> None:
    """What a ticket says of alerts holds for those that come: triage asks for it."""
    from afterguard.store import alerts as stored
    from afterguard.watch.triage import disposed

    store = desk.cases.store
    for one in (alert for alert in alerts if not alert.drill):
        stored.say(store.connection, one.tenant, one.app, "disposition", store.made(), desk.now, disposed(one, what, who, desk.now, why))  # fmt: skip


def clocks(
    case: str,
    /,
    *,
    yes: Annotated[list[str] | None, Parameter(negative=())] = None,
    no: Annotated[list[str] | None, Parameter(negative=())] = None,
    aware: str = "",
    settings: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """Say which duties to report may run, once their questions are answered. Always: possible duty, ask Legal.

    Parameters
    ----------
    case
        The case.
    yes
        CLOCK.QUESTION that is answered with yes. Repeatable; answers stay in the case.
    no
        The same with no.
    aware
        Since when you have known, as 2026-11-30T10:00:00+00:00; empty: since the case was opened.
    settings
        respond.yaml.
    """
    from afterguard.respond import case as cases_of
    from afterguard.respond import clocks as clocks_of

    with opened(common, settings) as desk:
        held, person = desk.cases.get(case), who(desk).name
        made = held.case
        for words, said in ((yes or [], "yes"), (no or [], "no")):
            for one in words:
                made = cases_of.said(made, "clock", said, who=person, now=desk.now, ref=one)
        answers = {one.ref: one.text == "yes" for one in made.timeline if one.what == "clock"}
        known = clocks_of.shipped()
        names = {
            f"{one.id}.{name}"
            for one in known
            for name in (*(row.id for row in one.applies), *(row.id for row in one.deadlines))
        }
        strange = [one for one in answers if one not in names]
        if strange:
            raise UsageError(f"no question is called {strange[0]}", hint=f"known: {', '.join(sorted(names))}", slug="bad-clocks")  # fmt: skip
        if made != held.case:
            desk.cases.save([made], {made.id: held.version}, {}, who=person, what="clocks")
        found = clocks_of.running(known, answers, _since(aware) if aware else made.opened, desk.now)
        with writing(common.output) as out:
            if common.format == "json":
                out.write(msgspec.json.format(msgspec.json.encode({"format": "afterguard.clocks/1", **found._asdict()})).decode() + "\n")  # fmt: skip
            else:
                out.writelines(terminal(one) + "\n" for one in _clock_lines(found))
        desk.session.next(f"afterguard respond clocks {made.id} --yes CLOCK.QUESTION --no CLOCK.QUESTION")
        return 0


def _clock_lines(found: Found) -> list[str]:
    out = [f"{one.label}: {one.what} to {one.to} by {_time(one.due)} UTC ({one.left / 3600:.1f} h left)  [{one.clock}; {one.source}; checked {one.checked}, {one.sure}]" for one in found.running]  # fmt: skip
    out += [f"not answered: {clock}.{name}: {asks}" for clock, name, asks in found.unanswered]
    return out + [f"does not apply, by your answers: {name}" for name in found.not_applicable]


def _since(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(f"{text!r} is no time with a zone", hint="2026-11-30T10:00:00+00:00", slug="bad-usage")
    return moment.timestamp()


def _print(desk: Desk, case: Case, alerts: tuple[Alert, ...]) -> None:
    from afterguard.jobs import respond as job
    from afterguard.respond import case as cases_of

    journal = job.read_journal(desk.room, case.id)
    with writing(desk.session.common.output) as out:
        if desk.session.common.format == "json":
            made = {
                "case": case,
                "alerts": alerts,
                "open_tasks": cases_of.open_tasks(case),
                "plan": job.planned(journal.lines),
            }
            out.write(msgspec.json.format(msgspec.json.encode(made)).decode() + "\n")
            return
        cost = f", can cost {case.money.low:,.0f} to {case.money.high:,.0f} {case.currency}" if case.money else ""
        rows = [f"{case.id}  {case.status}  {case.severity}  {case.title}", f"  {case.app}, {count(len(case.alerts), 'alert')}{cost}, cost so far {case.spent:,.2f}"]  # fmt: skip
        rows += [f"  {one.kind} {one.name} ({one.role})" for one in case.entities[:30]]
        rows += [f"  task {ref}: {text}" for ref, text in cases_of.open_tasks(case).items()]
        rows += [f"  {_time(one.at)}  {one.who}: {one.what}: {one.text}" for one in case.timeline[-30:]]
        out.writelines(_row(row) for row in rows)


def _row(text: str) -> str:
    """A row of a list as one line, whatever stands in a title or a name: a second line would look like ours."""
    return terminal(text).replace("\n", " ") + "\n"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
