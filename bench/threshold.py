"""The peer of the watch over time: fixed limits an hour, as a gateway's rate limits or a SIEM's first rules have them.

In: events. Out: alerts. For each application and kind of identity it learns the most that one of them did in an hour of the learning days (requests, cost, refusals and blocks, money moved,
documents), and alerts once a day for each identity that does half as much again. It knows no seasons, no groups, no models, no sequences.
"""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from afterguard.watch.event import Event

DIMENSIONS = ("key", "user", "address", "network", "device", "conversation")
MEASURES = ("requests", "cost", "refusals", "money", "documents")
HOUR, DAY = 3_600.0, 86_400.0
MARGIN = 1.5


class Alert(NamedTuple):
    """What it says: which measure of which identity."""

    kind: str
    cause: str
    app: str
    entities: tuple[tuple[str, str], ...]
    time: float


class Watch:
    """Counts of this hour, limits from the hours of the first days."""

    def __init__(self, learn_days: float = 14.0) -> None:
        self.learn = learn_days * DAY
        self.began: float | None = None
        self.hour = 0
        self.counts: dict[tuple[str, str, str], list[float]] = {}
        self.most: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0] * len(MEASURES))
        self.told: dict[tuple[str, str, int], float] = {}

    def feed(self, event: Event) -> list[Alert]:
        """Counts one exchange; alerts where it passes a limit."""
        if self.began is None:
            self.began = event.time
        hour = int(event.time // HOUR)
        if hour != self.hour:
            self.hour, self.counts = hour, {}
        refused = event.outcome in ("refused", "blocked")
        money = sum(move.amount for move in event.moves)
        adds = (1.0, event.cost, float(refused), money, float(len(event.documents)))
        learning = event.time < self.began + self.learn
        out: list[Alert] = []
        for dimension in DIMENSIONS:
            value = getattr(event, dimension)
            if value:
                out += self._count(event, dimension, value, adds, learning)
        return out

    def _count(self, event: Event, dimension: str, value: str, adds: tuple[float, ...], learning: bool) -> list[Alert]:
        where = (event.app, dimension, value)
        counts = self.counts.get(where)
        if counts is None:
            counts = self.counts[where] = [0.0] * len(MEASURES)
        most = self.most[event.app, dimension]
        out: list[Alert] = []
        for at, more in enumerate(adds):
            if not more:
                continue
            counts[at] += more
            if learning:
                most[at] = max(most[at], counts[at])
            elif counts[at] > MARGIN * most[at] and self._is_new(dimension, value, at, event.time):
                cause = f"{MEASURES[at]} in an hour: {counts[at]:,.2f}, the most so far was {most[at]:,.2f}"
                out.append(Alert(f"{MEASURES[at]}-rate", cause, event.app, ((dimension, value),), event.time))
        return out

    def _is_new(self, dimension: str, value: str, measure: int, time: float) -> bool:
        where = (dimension, value, measure)
        if time - self.told.get(where, -DAY) < DAY:
            return False
        if len(self.told) > 200_000:
            self.told.clear()
        self.told[where] = time
        return True

    def tick(self, now: float) -> list[Alert]:
        """Nothing happens by itself."""
        return []
