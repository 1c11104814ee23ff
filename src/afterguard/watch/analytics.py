"""All stateful correlations over one log: fed once an exchange, asked once at the end.

In: Exchanges with their hits, in the order of the log. Out: Alerts. It keeps no text.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.detect.detector import Pseudonym
from afterguard.model import Exchange, Hit
from afterguard.watch.alarm import Alarm
from afterguard.watch.drift import Drift
from afterguard.watch.extraction import Extraction
from afterguard.watch.keys import Keys
from afterguard.watch.predictions import Scales
from afterguard.watch.rates import Rates
from afterguard.watch.shared import Shared
from afterguard.watch.walks import Walks

TOLD = 10_000


class Analytics:
    """The correlations of one application's log."""

    def __init__(self, pseudonym: Pseudonym) -> None:
        self._rates = Rates(pseudonym)
        self._keys = Keys(pseudonym)
        self._shared = Shared()
        self._scales = Scales()
        self._walks = Walks(self._scales, pseudonym)
        self._extraction = Extraction(self._scales, pseudonym)
        self._drift = Drift(self._scales)
        self._told: list[Alarm] = []

    def feed(self, exchange: Exchange, hits: list[Hit]) -> None:
        """One exchange."""
        self._rates.feed(exchange)
        self._keys.feed(exchange)
        for hit in hits:
            self._shared.feed(exchange, hit)
        row = self._scales.row(exchange)
        if row is not None:
            if len(self._told) < TOLD:
                self._told += self._walks.feed(row)
            self._extraction.feed(row)
            self._drift.feed(row)

    def finish(self) -> Iterator[Alarm]:
        """Everything that stood out."""
        yield from self._told
        for part in (self._rates, self._keys, self._shared, self._walks, self._extraction, self._drift):
            yield from part.finish()
