"""An alert while it grows: sightings of one cause, counted, with everybody and everything they touched.

In: sightings. Out: the Alert as it stands. Memory is bounded: names are kept up to NAMES a kind, of what is beyond the alert says that there is more.
"""

from __future__ import annotations

import hashlib

import msgspec

from afterguard.model import ENTITIES, SEVERITIES, Alert, Confidence, Entity, Inside, Range, Severity
from afterguard.watch.merge import TITLES
from afterguard.watch.triage import weigh
from afterguard.watch.triage.sighting import Sighting

RECIPE = "1"
NAMES = 1_000
SHOWN, SHOWN_OF = 250, 200
"""Entities written out: in all, and of one kind."""
EXCHANGES = 20
KINDS = 50
"""Kinds of hits that are told apart inside one alert."""
AGAIN = 900.0
"""Seconds between two revisions at least, unless it got worse."""
LATER = 3_600.0
"""Seconds after which names that came since are told, however few they are."""
LEVELS = tuple(Confidence)


def fingerprint(tenant: str, app: str, kind: str, cause: str) -> str:
    """What makes two alerts the same: recipe 1 is SHA-256 over tenant, app, kind and cause, cut to 128 bits."""
    return hashlib.sha256("\0".join((RECIPE, tenant, app, kind, cause)).encode("utf-8", "replace")).hexdigest()[:32]


class Growing(msgspec.Struct):
    """One alert."""

    id: str
    fingerprint: str
    kind: str
    cause: str
    title: str
    tenant: str
    app: str
    first: float
    last: float
    best: Sighting
    """The sighting that says most."""
    count: int = 0
    held_off: int = 0
    exchanges: list[str] = []
    entities: dict[str, dict[str, str]] = {}
    """Kind -> name -> role."""
    beyond: set[str] = set()
    """Kinds with more names than are kept."""
    taxonomies: dict[str, None] = {}
    data_classes: dict[str, None] = {}
    inside: dict[str, Inside] = {}
    """Kind -> its hits."""
    revision: int = 0
    told_at: float = 0.0
    told_count: int = 0
    told_names: int = 0
    told_risk: int = -1
    """-1: it was told to nobody yet."""
    case: str = ""
    linked_by: str = ""
    confidence: Confidence = Confidence.low
    severity: Severity = Severity.info

    def add(self, one: Sighting) -> None:
        """Count one more."""
        self.count += one.count
        self.held_off += one.count if one.is_held_off else 0
        self.first, self.last = min(self.first, one.time), max(self.last, one.time)
        self._count(one)
        for name in (one.exchange, *one.exchanges):
            if name and len(self.exchanges) < EXCHANGES and name not in self.exchanges:
                self.exchanges.append(name)
        for entity in one.entities:
            held = self.entities.setdefault(entity.kind, {})
            if entity.name in held:
                held[entity.name] = entity.role if entity.role == "source" else held[entity.name]
                continue
            if len(held) < NAMES:
                held[entity.name] = entity.role
            else:
                self.beyond.add(entity.kind)
        self.taxonomies.update(dict.fromkeys(one.taxonomies[:20]))
        self.data_classes.update(dict.fromkeys(one.data_classes[:20]))
        if weight(one) > weight(self.best):
            self.best = one
        self.severity = max(self.severity, one.severity, key=SEVERITIES.index)
        self.confidence = max(self.confidence, one.confidence, key=LEVELS.index)

    def _count(self, one: Sighting) -> None:
        held = self.inside.get(one.kind)
        if held is None and len(self.inside) >= KINDS:
            return
        count, off, worst = (held.count, held.held_off, held.severity) if held else (0, 0, Severity.info)
        if not one.is_held_off and count == off:
            worst = one.severity
        elif not one.is_held_off or count == off:
            worst = max(worst, one.severity, key=SEVERITIES.index)
        self.inside[one.kind] = Inside(one.kind, worst, count + one.count, off + (one.count if one.is_held_off else 0))

    def hits(self) -> tuple[Inside, ...]:
        """What is inside, the worst first: what had its way before what was held off. () where it is its own kind alone."""
        if self.inside.keys() <= {self.kind}:
            return ()
        return tuple(sorted(self.inside.values(), key=lambda one: (one.held_off >= one.count, -SEVERITIES.index(one.severity), -one.count, one.kind)))  # fmt: skip

    def touched(self) -> dict[str, int]:
        """How many of each kind; at least, where names went beyond what is kept."""
        return {kind: len(self.entities[kind]) for kind in ENTITIES if self.entities.get(kind)}

    def names(self) -> int:
        """How many somebodies and somethings are known of it."""
        return sum(map(len, self.entities.values()))

    def a_day(self) -> float:
        """Exchanges a day since it began; a day at least."""
        return self.count / max(1.0, (self.last - self.first) / 86_400)

    def is_news(self, now: float, risk: int) -> bool:
        """Whether what came since it was told is worth another word."""
        if self.told_risk < 0 or risk >= self.told_risk + 10:
            return True
        is_double = self.count >= 2 * self.told_count or self.names() >= 2 * self.told_names > 0
        return (is_double and now - self.told_at >= AGAIN) or self.is_owed(now)

    def is_owed(self, now: float) -> bool:
        """Whether somebody it names has been kept back for long enough."""
        return self.told_risk >= 0 and self.names() > self.told_names and now - self.told_at >= LATER

    def alert(self, now: float, likely: float, money: Range | None, currency: str, state: str) -> Alert:
        """As it stands now; `told` makes it the newest revision."""
        best, touched = self.best, self.touched()
        points, severity = weigh.risk(self.severity, likely, touched, money)
        shown = [Entity(kind, name, role) for kind in ENTITIES for name, role in sorted(self.entities.get(kind, {}).items(), key=lambda row: row[1] != "source")[:SHOWN_OF]]  # fmt: skip
        return Alert(
            id=self.id, fingerprint=self.fingerprint, kind=self.kind, title=self.title or TITLES.get(self.kind, self.kind.replace("_", " ")), severity=severity, confidence=self.confidence,
            first_seen=self.first, last_seen=self.last, observed=now, app=self.app, tenant=self.tenant, revision=self.revision + 1, state=state, detector=best.detector, rule=best.rule,
            would_change=best.would_change, cause=self.cause, taxonomies=tuple(self.taxonomies), data_classes=tuple(self.data_classes), excerpt=best.excerpt[:240], count=self.count, held_off=self.held_off, hits=self.hits(),
            exchanges=tuple(self.exchanges), entities=tuple(shown[:SHOWN]), touched=touched, at_least=tuple(sorted(self.beyond)), likelihood=round(likely, 3), money=money, currency=currency if money else "", risk=points, why=best.why,
            mount=best.mount, model=best.model, policy=best.policy, case=self.case, linked_by=self.linked_by,
        )  # fmt: skip

    def told(self, alert: Alert) -> None:
        """This revision has left."""
        self.revision, self.told_at, self.told_risk = alert.revision, alert.observed, alert.risk
        self.told_count, self.told_names = self.count, self.names()


def begun(one: Sighting, kind: str, cause: str, title: str = "") -> Growing:
    """A new one, with nothing counted yet. Its id hangs on the second of its first sighting."""
    mark = fingerprint(one.tenant, one.app, kind, cause)
    name = "al-" + hashlib.sha256(f"{RECIPE}\0{mark}\0{one.time:.0f}".encode()).hexdigest()[:32]
    return Growing(name, mark, kind, cause, title, one.tenant, one.app, one.time, one.time, one, severity=one.severity, confidence=one.confidence)  # fmt: skip


def weight(one: Sighting) -> tuple[int, int, int]:
    """Order of what a person should see first."""
    return (not one.is_held_off), SEVERITIES.index(one.severity), LEVELS.index(one.confidence)
