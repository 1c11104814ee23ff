"""From decision logs to the SOC: read what guards write, triage it, keep the alerts, hand them on.

In: paths of decision logs, a store, the SOC's sinks, whoever is told (`tell`). Out: alerts in the store and in the sinks' spools, and what `tell` was given. How far each log was read and what triage knows are written together, after what they led to was kept and handed over: after a crash, or a step that was cut off, lines are read again, alerts keep their ids, nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from afterguard import files
from afterguard.errors import UsageError
from afterguard.jobs.outlet import Outlet
from afterguard.model import Alert, Confidence, Drill, Entity, Loss, Range, Severity
from afterguard.names import of_tag
from afterguard.policy.misfit import fitted
from afterguard.risk.scenario import proves, scenarios
from afterguard.store import alerts as stored
from afterguard.store.connection import Connection
from afterguard.tap.tail import Cursor, Tail
from afterguard.watch.kinds import OWN_RULE
from afterguard.watch.merge import TITLES
from afterguard.watch.sigma import Engine, Match
from afterguard.watch.sigma import load as load_rules
from afterguard.watch.triage import (  # fmt: skip
    Disposition,
    Owner,
    Place,
    Said,
    Sighting,
    Suppression,
    Traffic,
    Triage,
    is_probe,
    of_drill,
    sightings,
    traffic,
)
from afterguard.watch.triage.kept import restore, state_of

AHEAD = 3_600.0
"""Seconds that a line may be ahead of this machine's clock; later times are taken for now."""
SAVE = 30.0
TICK = 60.0
BATCH = 5_000
DRILL = "drill"
"""What is said in the store of a drill, at its beginning and at its end."""
BESIDE = ("afterguard.lost/1", "afterguard.approval/1")
"""Lines of the decision log that are no exchange."""
Tell = Callable[[list[Alert]], None]
LEVELS = {"informational": Severity.info, "low": Severity.low, "medium": Severity.medium, "high": Severity.high, "critical": Severity.critical}  # fmt: skip


class Read(msgspec.Struct):
    """What was read so far. What could not be is counted by reason."""

    lines: int = 0
    probes: int = 0
    """Of them, probes of our own: nobody's exchanges."""
    drilled: int = 0
    """Of them, those of drills: they have a watch of their own, and teach this one nothing."""
    unread: dict[str, int] = {}
    alerts: int = 0
    told: int = 0


class Routes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom alerts belong to, and what a kind of alert can cost: a YAML file of the SOC."""

    owners: tuple[Owner, ...] = ()
    prices: dict[str, tuple[float, float, float]] = {}
    currency: str = "USD"


def routes(text: str, name: str) -> Routes:
    """The file, or UsageError that says what is wrong in it."""
    found = fitted(text, name, Routes, see="owners: [{owner: NAME, detection: {app: NAME}}], prices: {KIND: [LOW, MID, HIGH]}", slug="bad-routes")  # fmt: skip
    for kind, (low, mid, high) in found.prices.items():
        if kind not in TITLES or not 0 <= low <= mid <= high < 1e13:
            raise UsageError(f"{name}: the price of {kind} does not fit", hint="a kind of alert (afterguard rules), and three amounts from low to high", slug="bad-routes")  # fmt: skip
    return found


def prices(loss: Loss | None) -> dict[str, Range]:
    """What one event of each kind costs, by the scenarios of the newest assessment that such an event proves."""
    found: dict[str, Range] = {}
    if loss is None:
        return found
    known = {one.id: one.severity for one in loss.scenarios}
    for scenario in scenarios():
        severity = known.get(scenario.id)
        if severity is None:
            continue
        for kind in TITLES:
            if any(proves(seen, kind) for seen in scenario.seen) and (kind not in found or severity.mid > found[kind].mid):  # fmt: skip
                found[kind] = severity
    return found


def said(connection: Connection, tenant: str, owners: tuple[Owner, ...] = ()) -> Said:
    """Everything people said of alerts."""
    return Said(
        stored.said(connection, tenant, "suppression", Suppression),
        stored.said(connection, tenant, "disposition", Disposition),
        owners,
    )


def drills(connection: Connection, tenant: str) -> tuple[Drill, ...]:
    """Every drill, as it was said last."""
    return tuple({one.run: one for one in stored.said(connection, tenant, DRILL, Drill)}.values())


def rules(paths: Iterable[Path]) -> Engine:
    """The SOC's own Sigma rules, of files and folders. Raises UsageError for one that cannot be run as it is written."""
    files = [file for path in paths for file in (sorted(path.rglob("*.y*ml")) if path.is_dir() else [path])]
    try:
        found = [rule for file in files for rule in load_rules(file.read_text(encoding="utf-8"), str(file))]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"a rule cannot be read: {error}", hint="give Sigma rules in UTF-8", slug="bad-rule") from None
    if not found:
        raise UsageError("there is no rule in it", hint="afterguard rules sigma DIR writes ours", slug="bad-rule")
    return Engine(found)


def matched(one: Match, about: Traffic | None, place: Place) -> Sighting:
    """What a rule of the SOC says, as an alarm: whoever wrote the rule has weighed it."""
    entities = [Entity("identity", about.identity)] if about and about.identity else []
    if about and about.conversation:
        entities.append(Entity("conversation", about.conversation, "means"))
    whom = " ".join(f"{name} {value}" for name, value in one.group.items())
    return Sighting(
        one.time, about.app if about else "", OWN_RULE, LEVELS.get(one.level, Severity.medium), Confidence.medium, exchange=one.events[-1] if one.events else "", detector=f"sigma {one.rule}",
        cause=f"{one.title} {whom}".strip()[:200], rule=one.title, taxonomies=tuple(dict.fromkeys(name for tag in one.tags for name in of_tag(tag)))[:20], is_alarm=True, exchanges=one.events, count=max(1, one.count),
        entities=tuple(entities), place=place,
    )  # fmt: skip


class Watch:
    """Logs being read. `step` reads what is there now; `save` makes it durable."""

    def __init__(self, logs: Iterable[Path], triage: Triage, connection: Connection, tenant: str, state: Path, tell: Tell, wall: Callable[[], float], outlet: Outlet | None = None, rules: Engine | None = None, hear: Callable[[], Said] | None = None) -> None:  # fmt: skip
        self.rules, self.hear = rules, hear
        self.triage, self.connection, self.tenant, self.state, self.tell, self.wall = triage, connection, tenant, state, tell, wall  # fmt: skip
        self.outlet = outlet
        self.read = Read()
        self._is_whole = True
        """Whether everything that was read has been handed over: a step may be cut off by a full spool or an interrupt."""
        self.now = 0.0
        """The newest time of any line: time passes as the logs tell it."""
        self._ticked = self._saved = 0.0
        self._drills: tuple[Drill, ...] = ()
        self._newest = (0, 0.0)
        """Of what was said of drills."""
        places = self._restored()
        self.tails = [Tail(path, msgspec.convert(places[str(path.resolve())], Cursor) if str(path.resolve()) in places else None) for path in logs]  # fmt: skip

    def step(self) -> int:
        """Read what is there, at most BATCH lines of each log. How many lines. Raises AfterguardError where an alert found no room in a sink's spool."""
        before, self._is_whole = self.read.lines, False
        if (newest := stored.newest(self.connection, self.tenant, DRILL)) != self._newest:
            self._newest, self._drills = newest, drills(self.connection, self.tenant)
        out: list[Alert] = []
        for tail in self.tails:
            for line in tail.lines(BATCH):
                if line.gap:
                    self._unread(line.gap)
                else:
                    out += self._line(line.data, Place(line.file, line.at))
        if self.now - self._ticked >= TICK:
            self._ticked = self.now
            out += self.triage.tick(self.now)
        self._hand_over(out)
        self._is_whole = True
        if self.wall() - self._saved >= SAVE:
            self.save()
            if self.hear is not None:
                # What people said meanwhile: of a watch that never ends, too.
                self.triage.said = self.hear()
        return self.read.lines - before

    def save(self) -> None:
        """Write down what is known and how far it was read, whole or not at all. After a step that was cut off nothing is written: its lines are read again next time."""
        if not self._is_whole:
            return
        if self.outlet is not None:
            self.outlet.sync()
        places = {str(tail.path.resolve()): msgspec.to_builtins(tail.cursor) for tail in self.tails}
        data = state_of(self.triage, {"now": self.now, "logs": places})
        self.state.parent.mkdir(parents=True, exist_ok=True)
        files.put(self.state, data)
        self._saved = self.wall()

    def _line(self, data: bytes, place: Place) -> Iterator[Alert]:
        self.read.lines += 1
        try:
            line = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            self._unread("no JSON")
            return
        if not isinstance(line, dict):
            self._unread("no decision")
            return
        if self.outlet is not None:
            self.outlet.line(data, line, of_drill(line, self._drills))
        if line.get("format") in BESIDE:
            lost = line.get("lost", 0)
            if isinstance(lost, int) and lost > 0:
                self._unread("lost by the guard: its disk was full", lost)
            return
        if not self._is_mine(line):
            return
        about, found = traffic(line), sightings(line, place)
        if about is None and not found:
            self._unread("another class of event")
            return
        self._heard(line, found)
        time = about.time if about is not None else found[0].time
        self.now = max(self.now, min(time, self.wall() + AHEAD))
        for match in self.rules.feed(line) if self.rules is not None else ():
            found.append(matched(match, about, place))
        for one in found:
            yield from self.triage.feed(one, self.now)
        if about is not None:
            self.triage.ask(about)

    def _is_mine(self, line: dict[str, Any]) -> bool:
        """Whether a line is judged here; of others it is counted that they were there."""
        if is_probe(line):
            self.read.probes += 1
            return False
        if of_drill(line, self._drills):
            self.read.drilled += 1
            return False
        return True

    def _heard(self, line: dict[str, Any], found: list[Sighting]) -> None:
        """A line that is judged here, before it is."""

    def _marked(self, alert: Alert) -> Alert:
        """An alert as it is kept and told."""
        return alert

    def _hand_over(self, alerts: list[Alert]) -> None:
        if alerts:
            wall = self.wall()
            alerts = stored.keep(self.connection, [self._marked(msgspec.structs.replace(one, observed=max(one.observed, wall))) for one in alerts])  # fmt: skip
        told = [one for one in alerts if not one.suppressed]
        if self.outlet is not None:
            self.outlet.hand_over(told)
        self.read.alerts += len(alerts)
        self.read.told += len(told)
        if told:
            self.tell(told)

    def _unread(self, reason: str, count: int = 1) -> None:
        self.read.unread[reason] = self.read.unread.get(reason, 0) + count

    def _restored(self) -> dict[str, Any]:
        if not self.state.exists():
            return {}
        places = restore(self.triage, self.state.read_bytes())
        self.now = float(places.get("now", 0.0))
        return dict(places.get("logs", {}))
