"""Rows of a predictive log as numbers: one vector a row, scales learnt as the log goes by.

In: model.Prediction. Out: `Row`. Numbers and booleans become coordinates; texts become coordinates by hash, compared for equality only.
Feature names are learnt from the first rows, at most FEATURES_CAP.
"""

from __future__ import annotations

import math
import zlib
from typing import NamedTuple

import numpy as np

from afterguard.model import Exchange

FEATURES_CAP = 200
FOLDED = 64
"""Features of a row at run time; wider rows are folded."""
TEXT = -(2.0**52)
"""Texts stand below this number, by hash."""
STEADY = 200
"""Values after which one value moves the scale of its feature by no more than CLAMP deviations: who sends a huge one blinds nobody."""
CLAMP = 20.0


def hashed(number: int) -> float:
    """A text's 32-bit hash as a coordinate that is told apart from numbers."""
    return TEXT - 1 - number


def is_hash(value: float) -> bool:
    """Whether a coordinate is a text."""
    return TEXT - 2.0**33 < value < TEXT


class Row(NamedTuple):
    """One prediction. `values` follow Scales.names; NaN where missing."""

    id: str
    time: float | None
    caller: str
    values: tuple[float, ...]
    decision: str
    score: float | None


class Scales:
    """Names, running mean and variance (Welford) of every feature."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.is_text: list[bool] = []
        self._places: dict[str, int] = {}
        self._count: list[int] = []
        self._mean: list[float] = []
        self._m2: list[float] = []

    def row(self, exchange: Exchange) -> Row | None:
        """The row of an exchange, None where it holds no prediction with features."""
        prediction = exchange.prediction
        if prediction is None or not prediction.features:
            return None
        for name, value in prediction.features.items():
            if name not in self._places and len(self.names) < FEATURES_CAP:
                self._add(name, isinstance(value, str))
        values = [math.nan] * len(self.names)
        for name, value in prediction.features.items():
            place = self._places.get(name)
            if place is not None and value is not None:
                values[place] = self._learn(place, _number(value))
        caller = exchange.identity or exchange.key or exchange.address or exchange.client
        return Row(exchange.id, exchange.time, caller, tuple(values), prediction.decision[:80], prediction.score)

    def take(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """The same of an event's features, which have places instead of names; wide rows are folded to FOLDED coordinates."""
        if len(values) > FOLDED:
            values = self._folded(values)
        while len(self.names) < len(values):
            self._add(str(len(self.names)), is_hash(values[len(self.names)]))
        return tuple(
            one if self.is_text[place] else self._learn(place, one) if one == one else math.nan
            for place, one in enumerate(values)
        )

    def _folded(self, values: tuple[float, ...]) -> tuple[float, ...]:
        out = [0.0] * FOLDED
        for place, one in enumerate(values):
            if math.isfinite(one) and abs(one) < 1e15:
                out[place % FOLDED] += one if not is_hash(one) else one % 7
        return tuple(out)

    def _add(self, name: str, is_text: bool) -> None:
        self._places[name] = len(self.names)
        self.names.append(name)
        self.is_text.append(is_text)
        self._count.append(0)
        self._mean.append(0.0)
        self._m2.append(0.0)

    def _learn(self, place: int, value: float) -> float:
        if not math.isfinite(value) or abs(value) > 1e150:
            return math.nan
        kept = value
        if self._count[place] >= STEADY and (room := CLAMP * self.deviation(place)):
            kept = min(max(value, self._mean[place] - room), self._mean[place] + room)
        self._count[place] += 1
        delta = kept - self._mean[place]
        self._mean[place] += delta / self._count[place]
        self._m2[place] += delta * (kept - self._mean[place])
        return value

    def standard(self, values: tuple[float, ...]) -> np.ndarray:
        """A row in standard deviations; a text is 0 or 1 by its hash, what is missing is in the middle."""
        out = np.zeros(len(values))
        for place, one in enumerate(values):
            if self.is_text[place]:
                out[place] = 1.4 * (int(-one) & 1) if one == one else 0.0
            elif one == one and (scale := self.deviation(place)):
                out[place] = min(max((one - self._mean[place]) / scale, -50.0), 50.0)
        return out

    def deviation(self, place: int) -> float:
        """Standard deviation so far, 0 where unknown or constant."""
        count = self._count[place]
        return math.sqrt(self._m2[place] / (count - 1)) if count > 1 and self._m2[place] > 0 else 0.0

    def distance(self, a: tuple[float, ...], b: tuple[float, ...]) -> float:
        """Root mean square of the differences in standard deviations; two random rows are about 1.4 apart. A text that differs
        counts 1.4, a missing value that appears too."""
        total = 0.0
        size = min(len(a), len(b))
        for place in range(size):
            x, y = a[place], b[place]
            if x == y or (x != x and y != y):
                continue
            scale = self.deviation(place)
            if self.is_text[place] or x != x or y != y or not scale:
                total += 2.0
            else:
                total += min(16.0, ((x - y) / scale) ** 2)
        return math.sqrt(total / size) if size else math.inf


def _number(value: float | str | bool) -> float:
    if isinstance(value, str):
        return float(zlib.crc32(value.encode("utf-8", "replace")))
    try:
        return float(value)
    except OverflowError:
        return math.nan
