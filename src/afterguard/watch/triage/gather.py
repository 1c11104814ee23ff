"""Sightings -> alerts: few, each once, and none silently lost.

In: traffic and sightings in the order of the log, what people said of earlier alerts, prices of kinds, the time. Out: Alerts, new ones and revisions of old ones. It knows no file and no clock.

Theory of operation. Whatever the guard held off is counted and raises nothing by itself: a blocked attempt is a log. An alarm of the watch over time has been weighed there and becomes an alert. A hit that had its way becomes one
- at once, where its kind is hardly ever seen in this application (RARE a day), or where it is sure and grave and no everyday thing (OFTEN a day);
- where its cause (a payload family, a host, a tool) is seen far more often than on the days before;
- where one identity or conversation shows far more hits than chance makes of its requests, or came from probing to acting (surprise.py).
Everything else is the noise of a detector. It is counted by kind, and the counts are shown.
One cause is one alert as long as it goes on (QUIET days without it end it); what comes later makes a revision of the same alert, and only when it has doubled, got worse, or owes a name for hours.
Many causes of one kind in an application are one alert too: APART of them a day stand alone, those after them join one that names them all. A campaign of forty accounts is three alerts, not forty.
At most `most` new alerts a day: what comes beyond joins one alert that counts it, except what is critical.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Mapping

import msgspec

from afterguard.model import SEVERITIES, Alert, Confidence, Range, Severity
from afterguard.watch.merge import TITLES
from afterguard.watch.triage import weigh
from afterguard.watch.triage.growing import Growing, begun, fingerprint
from afterguard.watch.triage.incidents import Incidents
from afterguard.watch.triage.said import Said
from afterguard.watch.triage.sighting import Sighting, Traffic
from afterguard.watch.triage.stages import is_progress, stage
from afterguard.watch.triage.surprise import ANY, MARGIN, PASSED, Actors, Rates, Row

FORMAT = "afterguard.triage/1"
DAY = 86_400.0
RARE = 2.0
CAUSES = 3
"""Causes of one kind a day that get an alert of their own because the kind is rare."""
OFTEN, SURE = 20.0, 10
"""The same of hits that are sure and grave: hits a day from which not even those are believed one by one, and causes a day."""
BURST = 25.0
"""Nats by which a cause must exceed its own past: it was counted once and asked about each time it came."""
PROGRESS = 7.0
"""Nats that coming further than probing is worth at most: where one in a thousand of those with several hits does by chance."""
SEVERAL, FURTHER = "several hits", "several hits, further than probing"
NEW = 3.0
"""Times the margin on an application's first day, when shares are still rough."""
APART = 2
"""Causes of one kind a day that get an alert each; later ones share one, except what is critical."""
QUIET = 7.0
OPEN = 5_000
MANY = "further alerts of the day"
SEVERAL_AT_ONCE = "Several at once: "
EVERY = "\0"
"""New alerts of all applications."""
ACTORS = ("conversation", "identity", "document")
HITS_OF = "hits_of_one_"
BEYOND = "alerts_beyond"
KINDS = (*(HITS_OF + kind for kind in ACTORS), BEYOND)
"""Kinds of alerts that are triage's own."""


class Counts(msgspec.Struct):
    """What became of everything that was seen."""

    exchanges: int = 0
    sightings: int = 0
    held_off: int = 0
    noise: dict[str, int] = {}
    """Kind -> hits that were counted and raised nothing."""
    raised: int = 0
    joined: int = 0
    """Sightings that belong to an alert that is open."""
    revised: int = 0
    suppressed: int = 0
    shared: int = 0
    """What would have been an alert of its own and joined the one about many of its kind."""
    beyond: int = 0
    """New alerts beyond a day's most, counted in one."""


class Triage:
    """Everything that is open, and what is usual."""

    def __init__(self, said: Said | None = None, prices: Mapping[str, Range] | None = None, currency: str = "USD", most: int = 50) -> None:  # fmt: skip
        self.said = said or Said()
        self.prices = dict(prices or {})
        self.currency = currency
        self.most = most
        self.rates = Rates()
        self.actors = Actors()
        self.causes = Actors(20_000)
        self.open: OrderedDict[str, Growing] = OrderedDict()
        self.incidents = Incidents()
        self.counts = Counts()
        self.day = 0
        self.today: Counter[str] = Counter()
        """New alerts of the day, and new causes of a kind."""

    def ask(self, one: Traffic) -> None:
        """Count one exchange."""
        self.counts.exchanges += 1
        self.rates.ask(one.app, one.time)
        if one.identity:
            self.actors.ask(one.app, "identity", one.identity, one.time)
        if one.conversation:
            self.actors.ask(one.app, "conversation", one.conversation, one.time)

    def feed(self, one: Sighting, now: float) -> list[Alert]:
        """What a person has to be told because of this; often nothing. Call `ask` for its exchange after it."""
        self.counts.sightings += 1
        self._new_day(now)
        if one.is_alarm:
            return self._alarm(one, now)
        rows = self._count(one)
        if one.is_held_off:
            self.counts.held_off += 1
            return self._join(one, now)
        own = fingerprint(one.tenant, one.app, one.kind, one.cause)
        is_grave = _is_sure(one) and own not in self.open and self._speaks(one)
        told = self._join(one, now)
        if is_grave:
            # It is not swallowed by an alert about the many hits of its conversation, identity or document: it has a name, a price and a playbook of its own.
            return [*told, *self._raise(one, one.kind, one.cause, "", now)]
        if told:
            return told
        if any(mark in self.open for mark in self._marks(one)):
            self.counts.joined += 1
            return []
        kind, cause, title = self._raises(one, rows)
        if kind:
            return self._raise(one, kind, cause, title, now)
        self.counts.noise[one.kind] = self.counts.noise.get(one.kind, 0) + 1
        return []

    def tick(self, now: float) -> list[Alert]:
        """Alerts that are over, for nothing of them was seen for QUIET days, and names that are owed."""
        out = [alert for one in self.open.values() if one.is_owed(now) for alert in self._revised(one, now)]
        for mark in [mark for mark, one in self.open.items() if now - one.last > QUIET * DAY]:
            out += self._close(mark, now)
        return out

    def tells(self, one: Sighting) -> bool:
        """Whether an alert that somebody was told stands for it."""
        marks = self._marks(one)
        return any(growing.told_risk >= 0 and (mark in marks or one.exchange in growing.exchanges) for mark, growing in self.open.items())  # fmt: skip

    # -- what raises

    def _alarm(self, one: Sighting, now: float) -> list[Alert]:
        if one.severity is Severity.info:
            self.counts.noise[one.kind] = self.counts.noise.get(one.kind, 0) + one.count
            return []
        if told := self._join(one, now):
            return told
        if fingerprint(one.tenant, one.app, one.kind, one.cause) in self.open:
            self.counts.joined += 1
            return []
        return self._raise(one, one.kind, one.cause, "" if one.kind in TITLES else one.rule[:200], now)

    def _count(self, one: Sighting) -> list[tuple[str, str, Row]]:
        reached = stage(one.kind)
        rows = []
        for kind in ACTORS:
            if name := one.of(kind):
                rows.append((kind, name, self.actors.hit(one.app, kind, name, one.kind, reached, one.time)))
        self.rates.hit(one.app, one.kind, one.time)
        self.rates.hit(one.app, ANY, one.time)
        if not one.is_held_off:
            self.rates.hit(one.app, PASSED + one.kind, one.time)
            self.causes.hit(one.app, one.kind, one.cause, "", 0, one.time)
        return rows

    def _raises(self, one: Sighting, rows: list[tuple[str, str, Row]]) -> tuple[str, str, str]:
        """Kind, cause and title of the alert this sighting raises; a kind of "" for none."""
        if not _is_sure(one) and self._speaks(one):
            return one.kind, one.cause, ""
        is_new = self.rates.is_new(one.app, one.time)
        limit = math.log(self.rates.asked(one.app, one.time)) + MARGIN * (NEW if is_new else 1)
        for kind, name, row in rows:
            if sum(row.hits.values()) < 1.5:
                continue
            came = is_progress(row.stages)
            surprise = self.actors.surprise(row, one.app, self.rates, one.confidence) + (self._progress(one) if came else 0.0)  # fmt: skip
            self._learn_progress(one, came)
            if surprise >= limit:
                says = "came from probing to acting" if came else "shows far more hits than chance makes"
                return HITS_OF + kind, f"{kind} {name}", f"One {kind} {says}"
        if (
            self.causes.burst(self.causes.rows[one.app, one.kind, one.cause], self.rates.begun(one.app, one.time))
            >= BURST
        ):
            return one.kind, one.cause, ""
        return "", "", ""

    def _progress(self, one: Sighting) -> float:
        """Nats that coming further is worth here: where noisy detectors of several stages make it common, little."""
        further, several = self.rates.seen(one.app, FURTHER), self.rates.seen(one.app, SEVERAL)
        return min(PROGRESS, -math.log((further + 1) / (several + 10)))

    def _learn_progress(self, one: Sighting, came: bool) -> None:
        self.rates.hit(one.app, SEVERAL, one.time)
        if came:
            self.rates.hit(one.app, FURTHER, one.time)

    def _speaks(self, one: Sighting) -> bool:
        """Whether one hit speaks for itself: of a kind that is hardly ever seen here, or sure and grave and not an everyday thing. So many causes of a kind a day; on an application's first day only what is sure and grave, for everything is rare then."""
        if _is_sure(one):
            rare, room = OFTEN, SURE
        elif self.rates.is_new(one.app, one.time) or not _is_plain(one):
            return False
        else:
            rare, room = RARE, CAUSES
        if self.rates.a_day(one.app, PASSED + one.kind, one.time, 1.0) >= rare:
            return False
        self.today[f"{one.app}\0{one.kind}"] += 1
        return self.today[f"{one.app}\0{one.kind}"] <= room

    # -- what is open

    def _marks(self, one: Sighting) -> list[str]:
        marks = [fingerprint(one.tenant, one.app, one.kind, one.cause)]
        for kind in ACTORS:
            if name := one.of(kind):
                marks.append(fingerprint(one.tenant, one.app, HITS_OF + kind, f"{kind} {name}"))
        return marks

    def _join(self, one: Sighting, now: float) -> list[Alert]:
        out = []
        for mark in self._marks(one):
            growing = self.open.get(mark)
            if growing is None:
                continue
            growing.add(one)
            self.open.move_to_end(mark)
            out += self._revised(growing, now)
        return out

    def _revised(self, growing: Growing, now: float) -> list[Alert]:
        alert = self._as_it_stands(growing, now, "updated" if growing.revision else "new")
        if not growing.is_news(now, alert.risk):
            return []
        hidden = self.said.hides(alert, growing.a_day(), now)
        if hidden:
            return []
        if growing.told_risk < 0:
            return [self._first(growing, alert)]
        growing.told(alert)
        self.counts.revised += 1
        return [alert]

    def _first(self, growing: Growing, alert: Alert) -> Alert:
        """A new alert leaves, with the incident it belongs to."""
        growing.case, growing.linked_by = self.incidents.joined(alert)
        alert = msgspec.structs.replace(alert, case=growing.case, linked_by=growing.linked_by)
        growing.told(alert)
        self.counts.raised += 1
        self.today[EVERY] += 1
        return alert

    def _raise(self, one: Sighting, kind: str, cause: str, title: str, now: float) -> list[Alert]:
        mark = fingerprint(one.tenant, one.app, kind, cause)
        growing = self.open[mark] = begun(one, kind, cause, title)
        growing.add(one)
        alert = self._as_it_stands(growing, now, "new")
        out = self._room(now)
        hidden = self.said.hides(alert, growing.a_day(), now)
        if hidden:
            self.counts.suppressed += 1
            return [*out, msgspec.structs.replace(alert, suppressed=hidden)]
        if alert.severity is not Severity.critical and (shared := self._shared(one, kind, alert.title)) is not None:
            del self.open[mark]
            return [*out, *self._revised(shared, now)]
        return [*out, self._first(growing, alert)]

    def _shared(self, one: Sighting, kind: str, title: str) -> Growing | None:
        """The alert that a new cause has to share with others, where there is no room for one of its own: with those of its kind, or with everything beyond a day's most."""
        alike = f"{one.tenant}\0{one.app}\0{kind}\0apart"
        self.today[alike] += 1
        is_apart = self.today[alike] <= APART
        if not is_apart:
            self.counts.shared += 1
            mark = fingerprint(one.tenant, one.app, kind, self._many())
            if mark in self.open:
                return self._with(mark, one)
        if self.today[EVERY] >= self.most:
            # One an application: each has an owner.
            self.counts.beyond += 1
            mark = fingerprint(one.tenant, one.app, BEYOND, cause := f"day {self.day}")
            self.open.setdefault(mark, begun(one, BEYOND, cause, MANY))
            return self._with(mark, one)
        if is_apart:
            return None
        self.open[mark] = begun(one, kind, self._many(), f"{SEVERAL_AT_ONCE}{title}")
        return self._with(mark, one)

    def _many(self) -> str:
        """The cause of an alert about many of a kind: the day, so that each day begins with a fresh look."""
        return f"several, day {self.day}"

    def _with(self, mark: str, one: Sighting) -> Growing:
        growing = self.open[mark]
        growing.add(one)
        self.open.move_to_end(mark)
        return growing

    def _as_it_stands(self, growing: Growing, now: float, state: str) -> Alert:
        likely = weigh.likelihood(growing.confidence, *self.said.verdicts.get((growing.best.detector, growing.kind), (0, 0)))  # fmt: skip
        alert = growing.alert(now, likely, self.prices.get(growing.best.kind), self.currency, state)
        return msgspec.structs.replace(alert, owner=self.said.owner(alert))

    def _room(self, now: float) -> list[Alert]:
        out = []
        while len(self.open) > OPEN:
            out += self._close(next(iter(self.open)), now)
        return out

    def _close(self, mark: str, now: float) -> list[Alert]:
        growing = self.open.pop(mark)
        if not growing.revision:
            return []
        return [self._as_it_stands(growing, now, "closed")]

    def _new_day(self, now: float) -> None:
        day = int(now // DAY)
        if day > self.day:
            self.day = day
            self.today.clear()


def _is_sure(one: Sighting) -> bool:
    """Sure and grave."""
    return one.confidence is Confidence.high and SEVERITIES.index(one.severity) >= SEVERITIES.index(Severity.high)


def _is_plain(one: Sighting) -> bool:
    """Neither doubtful nor small."""
    return one.confidence is not Confidence.low and SEVERITIES.index(one.severity) >= SEVERITIES.index(Severity.medium)
