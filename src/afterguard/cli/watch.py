"""`afterguard watch`: from decision logs to alerts a person can work through; what people said of them.

In: logs of guards, the store. Out: alerts, few and each once.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter

from afterguard.cli.options import DEFAULT, Common, Progress, Session, gate, open_session, writing
from afterguard.cli.policy_files import text_of
from afterguard.cli.recording import beside, target
from afterguard.cli.watch_feedback import feedback
from afterguard.cli.watch_hunt import hunt, when
from afterguard.errors import NothingToExamine, UsageError
from afterguard.report import words
from afterguard.safe import line, terminal

if TYPE_CHECKING:
    from afterguard.jobs.outlet import Outlet
    from afterguard.jobs.watch import Routes
    from afterguard.model import Alert
    from afterguard.store.database import Store
    from afterguard.watch.triage import Triage

FORMAT = "afterguard.alerts/1"
PAUSE = 0.5
DRAIN = 10.0
"""Seconds that sinks get at the end for what waits; what is left stays in their spools."""
What = Literal["true_positive", "false_positive", "benign_positive", "duplicate"]
watch = App(name="watch", help="What needs a person: alerts from decision logs, few and each once.", help_format="plaintext")  # fmt: skip
watch.command(hunt)
watch.command(feedback)


@watch.command
def run(
    *logs: Path,
    follow: Annotated[bool, Parameter(negative=())] = False,
    routes: Path | None = None,
    rules: list[Path] | None = None,
    most: int = 50,
    sinks: Path | None = None,
    audit: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> int:
    """Read decision logs, and raise alerts of what needs a person.

    Parameters
    ----------
    logs
        Decision logs of guards; without any, the log of the guard beside the store.
    follow
        Go on reading what is written, until stopped.
    routes
        YAML file: owners of alerts, prices of kinds.
    rules
        Sigma rules of your own, files or folders: what they match is an alert.
    most
        New alerts a day; what comes beyond is counted in one an application.
    sinks
        The sinks file: alerts go to these destinations too.
    audit
        Lines of the logs go there as well: what was held off, approved or lost in the lane audit, the others in the lane telemetry.
    """
    from afterguard.cli.guard_places import log_of
    from afterguard.jobs import watch as job

    session = open_session(common)
    paths = list(logs) or [log_of(session)]
    missing = [one for one in paths if not one.exists()]
    if missing and not follow:
        raise NothingToExamine(f"there is no {missing[0]}", hint="give the decision log of a guard, or --follow to wait for it", slug="no-such-path")  # fmt: skip
    for absent in missing:
        session.say(f"watch: there is no {absent} yet; it is waited for")
    told: list[Alert] = []
    with _store(session) as store, outlet_of(session, sinks, audit) as outlet:
        given = job.routes(text_of(routes), str(routes)) if routes else job.Routes()
        triage = triage_of(session, store, given, most)
        one = job.Watch(paths, triage, store.connection, session.config.tenant, beside(session, "watch") / "triage.state", lambda some: _tell(session, some, told), time.time, outlet, job.rules(rules) if rules else None, lambda: job.said(store.connection, session.config.tenant, given.owners))  # fmt: skip
        progress = Progress(session, "watch: reading")
        try:
            _read(one, follow, progress)
        finally:
            progress.close()
            one.save()
    counts = triage.counts
    session.say(f"watch: {one.read.lines:,} lines, {words.count(one.read.told, 'alert')} told; of {words.count(counts.sightings, 'sighting')} so far {counts.held_off:,} held off by the guard, {sum(counts.noise.values()):,} noise, {counts.suppressed} set aside")  # fmt: skip
    for reason, count in one.read.unread.items():
        session.say(f"watch: {count:,} not read: {reason}")
    if one.read.probes:
        session.say(f"watch: {one.read.probes:,} probes of our own left out")
    if one.read.drilled:
        session.say(f"watch: {one.read.drilled:,} lines of drills left out")
    if forgotten := triage.actors.evicted + triage.causes.evicted:
        session.say(
            f"watch: {forgotten:,} identities, conversations and causes with hits were forgotten for want of room"
        )
    if common.format == "json":
        with writing(common.output) as out:
            out.write(msgspec.json.format(msgspec.json.encode({"format": FORMAT, "alerts": told, "counts": counts, "unread": one.read.unread})).decode() + "\n")  # fmt: skip
    session.next(f"afterguard watch show {told[0].id[:12]}" if told else "afterguard watch alerts")
    return gate(session, [alert.severity.value for alert in told])


def triage_of(session: Session, store: Store, given: Routes, most: int) -> Triage:
    """A triage that has learnt nothing yet, with what people said, owners and prices."""
    from afterguard.jobs import watch as job
    from afterguard.model import Range
    from afterguard.watch.triage import Triage

    prices = job.prices(_loss(store, session)) | {kind: Range(*row) for kind, row in given.prices.items()}
    return Triage(job.said(store.connection, session.config.tenant, given.owners), prices, given.currency, most)


@contextmanager
def outlet_of(session: Session, sinks: Path | None, audit: bool) -> Iterator[Outlet | None]:
    """The sinks, open while the command runs; at the end they get DRAIN seconds, and what waits then is said."""
    if sinks is None:
        if audit:
            raise UsageError("--audit says what sinks get, and there are none", hint="--sinks FILE", slug="bad-usage")
        yield None
        return
    if session.common.offline:
        raise UsageError("sinks need the network", hint="leave out --offline", slug="bad-usage")
    from afterguard.export.exporter import Exporter
    from afterguard.export.settings import load_sinks
    from afterguard.jobs.outlet import Outlet

    found = load_sinks(sinks)
    with Exporter(found.sinks, found.spools(sinks)) as exporter:
        made = Outlet(exporter, has_lines=audit)
        yield made
        exporter.drain(DRAIN)
        _delivered(session, made, sinks)


def _delivered(session: Session, outlet: Outlet, sinks: Path) -> None:
    sent = outlet.sent
    lines = f", {sent.audit:,} lines of audit, {sent.telemetry:,} of telemetry" if outlet.has_lines else ""
    session.say(f"watch: {sent.alerts:,} alerts{lines} handed to the sinks" + (f"; {sent.shed:,} lines found no room in a spool" if sent.shed else ""))  # fmt: skip
    for name, row in outlet.exporter.counts().items():
        delivered, waits = (sum(lane[key] for lane in row["lanes"].values()) for key in ("delivered", "backlog"))
        why = f" ({line(row['why'])}): the next run sends it; afterguard export status --sinks {sinks}" if waits else ""
        session.say(f"watch: {name}: {delivered:,} delivered so far, {waits:,} wait{why}")


def _read(one: Any, follow: bool, progress: Progress) -> None:
    if follow:
        # A service manager ends it with SIGTERM: that is an end like any other.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            count = one.step()
            progress(one.read.lines, "lines")
            if not count:
                if not follow:
                    return
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        return


def _tell(session: Session, some: list[Alert], told: list[Alert]) -> None:
    told += some
    if session.common.format != "json":
        with writing(session.common.output) as out:
            out.writelines(terminal(_line(one)) + "\n" for one in some)
            out.flush()


@watch.command
def alerts(*, limit: int = 30, all: Annotated[bool, Parameter(negative=())] = False, common: Common = DEFAULT) -> int:
    """Alerts that are open, the riskiest first.

    Parameters
    ----------
    limit
        How many.
    all
        Also those that are set aside.
    """
    from afterguard.store import alerts as stored

    session = open_session(common)
    with _store(session) as store:
        found = stored.listed(store.connection, session.config.tenant, common.app or "", limit, all)
    with writing(common.output) as out:
        if common.format == "json":
            out.write(msgspec.json.format(msgspec.json.encode({"format": FORMAT, "alerts": found})).decode() + "\n")
        else:
            out.writelines(terminal(_line(one)) + "\n" for one in found)
    session.next(f"afterguard watch show {found[0].id[:12]}" if found else "afterguard watch run LOG")
    return 0


@watch.command
def show(id: str, /, *, common: Common = DEFAULT) -> int:
    """One alert with everything it touched, and the incident it belongs to.

    Parameters
    ----------
    id
        Of the alert, or its beginning.
    """
    from afterguard.store import alerts as stored

    session = open_session(common)
    with _store(session) as store:
        one = _one(store, session, id)
        others = stored.of_incident(store.connection, session.config.tenant, one.case) if one.case else []
    with writing(common.output) as out:
        if common.format == "json":
            out.write(msgspec.json.format(msgspec.json.encode({"alert": one, "incident": [other.id for other in others]})).decode() + "\n")  # fmt: skip
        else:
            out.write(terminal(_page(one, others)))
    session.next(f"afterguard watch dispose {id} --as true_positive --by NAME --reason TEXT")
    return 0


@watch.command
def dispose(
    id: str,
    /,
    *,
    verdict: Annotated[What, Parameter(name=["--as"])],
    by: str,
    reason: str,
    days: float = 0.0,
    common: Common = DEFAULT,
) -> int:
    """Say what an alert was. One that was right or wrong also teaches how often its detector is.

    Parameters
    ----------
    id
        Of the alert, or its beginning.
    verdict
        What it was.
    by
        Who says so.
    reason
        Why.
    days
        For how long it sets the same aside; 0 until it gets worse.
    """
    from afterguard.store import alerts as stored
    from afterguard.watch.triage import disposed

    session = open_session(common)
    with _store(session) as store:
        one, now = _one(store, session, id), time.time()
        if one.drill:
            raise UsageError(f"{one.id[:12]} is of drill {one.drill}: what is said of it would teach the watch what attackers of our own do", hint="dispose of alerts of real traffic", slug="of-a-drill")  # fmt: skip
        row = disposed(one, verdict, by, now, reason, now + days * 86_400 if days else 0.0)
        stored.say(store.connection, session.config.tenant, one.app, "disposition", store.made(), now, row)
        stored.keep(store.connection, [msgspec.structs.replace(one, disposition=verdict)])
    session.say(f"watch: {one.id[:12]} is {verdict.replace('_', ' ')} for {by}; the same is set aside until it gets worse, grows fourfold or touches other tools" if verdict != "true_positive" else f"watch: {one.id[:12]} is confirmed by {by}")  # fmt: skip
    session.next("afterguard respond open " + one.id[:12] if verdict == "true_positive" else "afterguard watch alerts")
    return 0


@watch.command
def suppress(
    *,
    where: list[str],
    by: str,
    reason: str,
    days: float,
    common: Common = DEFAULT,
) -> int:
    """Set aside alerts that match, until a day. They are counted, and come back by themselves.

    Parameters
    ----------
    where
        FIELD=VALUE of an alert: kind, app, cause, identity, tool... Several must all hold. Modifiers as in policies: cause|startswith=user.
    by
        Who takes it upon themselves.
    reason
        Why.
    days
        For how long, at most 366.
    """
    from afterguard.config import nearest
    from afterguard.model import ENTITIES
    from afterguard.store import alerts as stored
    from afterguard.watch.triage import Said, Suppression
    from afterguard.watch.triage.said import FIELDS

    session = open_session(common)
    pairs = [one.partition("=") for one in where]
    if not pairs or any(not name or not equals for name, equals, _ in pairs):
        raise UsageError("--where takes FIELD=VALUE", hint="--where kind=jailbreak --where app=desk", slug="bad-usage")
    known = [*FIELDS, "taxonomies", *ENTITIES]
    if wrong := [name for name, _, _ in pairs if name.split("|")[0] not in known]:
        raise UsageError(f"an alert has no field {wrong[0]}", hint=nearest(wrong[0], known), slug="bad-suppression")
    with _store(session) as store:
        now = time.time()
        row = Suppression(store.made(), {name: value for name, _, value in pairs}, reason, by, now, now + days * 86_400)
        Said(suppressions=(row,))
        stored.say(store.connection, session.config.tenant, common.app or "", "suppression", row.id, now, row)
    session.say(f"watch: set aside until {when(row.expires)}, for alerts that are raised from now on: a `watch run --follow` hears of it within half a minute")  # fmt: skip
    session.next("afterguard watch alerts --all")
    return 0


def _store(session: Session) -> Store:
    from afterguard.store.database import open_store

    return open_store(target(session))


def _loss(store: Store, session: Session) -> Any:
    """The newest assessment of the application, None where there is none."""
    return store.newest_loss(session.config.tenant, session.common.app or "")


def _one(store: Store, session: Session, beginning: str) -> Alert:
    from afterguard.store import alerts as stored

    found = stored.one(store.connection, session.config.tenant, beginning)
    if len(found) != 1:
        raise UsageError(f"{len(found) or 'no'} alerts begin with {beginning}", hint="afterguard watch alerts lists them", slug="no-such-alert")  # fmt: skip
    return found[0]


def _line(one: Alert) -> str:
    state = {"new": "", "updated": " (again)", "closed": " (over)"}[one.state] + (" (set aside)" if one.suppressed else "")  # fmt: skip
    return f"{one.risk:>3} {one.severity.value:<8} {when(one.last_seen)}  {one.id[:12]}  {line(one.app)}: {line(one.title)}: {line(one.cause)[:80]}, {words.count(one.count, 'exchange')}{state}"


def _page(one: Alert, others: list[Alert]) -> str:
    from afterguard.names import describe

    out = [
        line(f"{one.title} ({one.kind}) in {one.app}"),
        f"  risk {one.risk} of 100: {one.severity.value}, likely true with {one.likelihood:.0%}" + (f", can cost {one.money.low:,.0f} to {one.money.high:,.0f} {one.currency}" if one.money else ", nobody priced it"),
        f"  {when(one.first_seen)} to {when(one.last_seen)}, {words.count(one.count, 'exchange')}, {one.held_off:,} of them held off by the guard; {one.state}, revision {one.revision}",
        f"  what matched: {line(one.rule)}",
        f"  cause: {line(one.cause)}",
    ]  # fmt: skip
    if one.hits:
        out.append(f"  inside: {', '.join(f'{part.count:,} {line(part.kind)} ({part.severity.value}, {part.held_off:,} held off)' for part in one.hits)[:400]}")  # fmt: skip
    if one.excerpt:
        out.append(f"  seen: {line(one.excerpt)}")
    if one.would_change:
        out.append(f"  it would not stand if: {line(one.would_change)}")
    out += [f"  touched: {'at least ' if kind in one.at_least else ''}{count:,} {kind}: {', '.join(line(e.name) for e in one.entities if e.kind == kind)[:200]}" for kind, count in one.touched.items()]  # fmt: skip
    out += [f"  {describe(name)}" for name in one.taxonomies]
    if one.owner:
        out.append(f"  owner: {line(one.owner)}")
    if one.suppressed or one.disposition:
        out.append(f"  {line(one.suppressed or one.disposition.replace('_', ' '))}")
    out += [f"  exchanges: {', '.join(one.exchanges)}"]
    if len(others) > 1:
        out.append(
            f"  incident {one.case[:12]}, {words.count(len(others), 'alert')}"
            + (f", this one joined by {line(one.linked_by)}" if one.linked_by else "")
            + ":"
        )
        out += [f"    {_line(other)}" for other in others]
    return "\n".join(out) + "\n"
