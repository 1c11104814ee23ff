"""Predictive models over time: walks, copying, probing, harvesting, swaps, drift and poisoning, each caller for itself, each device and network, and all together.

In: Events whose operation is `predict`, about in the order of time, and now and then the time. Out: Alerts, when a slice of a second is over. State is by application, route and model, of which the least recent is forgotten: MODELS of them, each bounded by its parts. The
result depends on the events of each slice alone, not on the order in which they came: brains that share their events raise what one brain would.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

from afterguard.watch.alarm import Alarm
from afterguard.watch.event import NEVER, Event
from afterguard.watch.scored import kept
from afterguard.watch.scored.block import width_of
from afterguard.watch.scored.model import Model

MODELS = 20
SLICE = 1.0
MOST = 512
"""Rows of one model after which its slice ends early."""
AHEAD = 6 * 3_600.0
TOGETHER = 20
"""Events in a row from far ahead that are believed."""
WIDEST = 4_096
"""Features of a row."""


class Predictive:
    """State of all models."""

    def __init__(self, length: float = SLICE) -> None:
        self.length = length
        """Seconds of a slice. Longer ones cost less where rows are few, and are judged later."""
        self.models: OrderedDict[tuple[str, str, str], Model] = OrderedDict()
        self.open: dict[tuple[str, str, str], list[Event]] = {}
        self.second = -math.inf
        self.refused = 0
        """Events without features or a time that can be one, or wider than WIDEST."""
        self.late = self.ahead = 0
        self._ahead = 0

    def feed(self, event: Event) -> list[Alarm]:
        """One event; the alerts of the slice that ends with it."""
        if not 0 < len(event.features) <= WIDEST or not 0 < event.time < NEVER:
            self.refused += 1
            return []
        out: list[Alarm] = []
        if event.time >= self.second + self.length:
            if event.time > self.second + AHEAD > -math.inf and not self._believes():
                return []
            out = self._close()
            self.second = event.time // self.length * self.length
        elif event.time < self.second:
            self.late += 1
        self._ahead = 0
        key = (event.app, event.route, event.model)
        rows = self.open.setdefault(key, [])
        rows.append(event)
        return out + self._judge(key) if len(rows) >= MOST else out

    def _believes(self) -> bool:
        """A single event from far ahead is a wrong clock; many in a row are the time."""
        self._ahead += 1
        self.ahead += self._ahead < TOGETHER
        return self._ahead >= TOGETHER

    def tick(self, now: float) -> list[Alarm]:
        """It is `now`: ends the slice when it is over."""
        return self._close() if self.open and math.isfinite(now) and now >= self.second + self.length else []

    def _close(self) -> list[Alarm]:
        return [alert for key in sorted(self.open) for alert in self._judge(key)]

    def _judge(self, key: tuple[str, str, str]) -> list[Alarm]:
        events = sorted(self.open.pop(key), key=lambda event: (event.time, event.id))
        model = self.models.get(key)
        if model is None:
            model = self.models[key] = Model(key[2], width_of(events[0].features))
            while len(self.models) > MODELS:
                self.models.popitem(last=False)
        self.models.move_to_end(key)
        return [alert._replace(route=key[1]) for alert in model.feed(events)]

    def kept(self) -> bytes:
        """Everything that is known, to be restored after a restart."""
        return kept.state_of(self)

    @classmethod
    def restored(cls, data: bytes) -> Predictive:
        """A watch from what was kept. Other data raise AfterguardError."""
        watch = cls()
        kept.fill(watch, data)
        return watch

    def standing(self) -> list[dict[str, Any]]:
        """What is known of each model, and what was overlooked."""
        return [
            {
                "app": app,
                "route": route,
                "model": name,
                "rows": model.scales.seen,
                "known": {scope: len(ones.names) for scope, ones in model.ones.items()},
                "evicted": sum(ones.evicted for ones in model.ones.values()),
                "overlooked": model.overlooked,
            }
            for (app, route, name), model in self.models.items()
        ]
