"""Predictive models over time: walks, copying, probing, harvesting, swaps and drift, each caller for itself and spread over many.

In: Events whose operation is `predict`, as they come. Out: Alerts, as soon as they are sure. State is by application, route and model, of which the least recent is forgotten: MODELS of them, each bounded by its parts.
"""

from __future__ import annotations

from collections import OrderedDict

from afterguard.watch.alert import Alert
from afterguard.watch.boundary import Boundary
from afterguard.watch.event import Event
from afterguard.watch.extraction import Extraction
from afterguard.watch.neighbours import Neighbours
from afterguard.watch.predictions import Row, Scales
from afterguard.watch.seasons import Seasons
from afterguard.watch.spread import Spread
from afterguard.watch.swap import Swap
from afterguard.watch.walks import Walks

MODELS = 20
CHAINS = 2_000
COPIERS = 100
SAMPLE = 300


class _Model:
    """Everything that is known of one model's use."""

    __slots__ = ("boundary", "extraction", "neighbours", "scales", "seasons", "spread", "swap", "walks")

    def __init__(self) -> None:
        self.scales = Scales()
        self.walks = Walks(self.scales, str, is_live=True, callers=CHAINS)
        self.extraction = Extraction(self.scales, str, is_live=True, callers=COPIERS, sample=SAMPLE)
        self.boundary = Boundary()
        self.neighbours = Neighbours()
        self.spread = Spread()
        self.swap = Swap()
        self.seasons = Seasons(self.scales)


class Predictive:
    """State of all models."""

    def __init__(self) -> None:
        self._models: OrderedDict[tuple[str, str, str], _Model] = OrderedDict()

    def feed(self, event: Event) -> list[Alert]:
        """What this event shows."""
        if not event.features:
            return []
        key = (event.app, event.route, event.model)
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = _Model()
            while len(self._models) > MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return _fed(model, event)


def _fed(model: _Model, event: Event) -> list[Alert]:
    caller = event.user or event.key or event.address
    values = model.scales.take(event.features)
    row = Row(event.id, event.time, caller, values, event.decision[:80], event.score)
    standard = model.scales.standard(values)
    return [
        *model.walks.feed(row),
        *model.extraction.live(row),
        *model.boundary.feed(row),
        *model.neighbours.feed(row, standard),
        *model.spread.feed(row, standard),
        *model.swap.feed(row, event.version),
        *model.seasons.feed(row),
    ]
