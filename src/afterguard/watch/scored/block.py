"""Events of one model and one second -> a block of rows: numbers in columns, whom each row belongs to, and what makes rows alike.

In: Events in the order of time, and the scales so far. Out: `Block`. Scales are learned as rows go by (Chan, Golub, LeVeque 1979: mean and variance of the block joined to those of the past); a value moves the scale of its feature by no more than CLAMP
deviations once the feature is known, so whoever sends a huge one blinds nobody. Rows wider than FOLDED are folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from afterguard.watch.event import Event
from afterguard.watch.predictions import CLAMP, FOLDED, STEADY, TEXT

Array = NDArray[Any]
SCOPES = ("caller", "device", "network")
"""Who is watched: the caller (user, else key, else address), and what many callers may share."""
MIX = np.uint64(0x9E3779B97F4A7C15)
ODD = (np.arange(1, FOLDED + 1, dtype=np.uint64) * MIX) | np.uint64(1)
LARGEST = 1e150
FAR = 1e4
"""Where a value that is missing lies, far from every number."""
SAME_TEXT, SAME_NUMBER = 2.0, 16.0
"""What a text that differs adds to a squared distance, and the most that a number adds."""


class Block(NamedTuple):
    """Some rows of one model."""

    ids: list[str]
    times: Array
    who: dict[str, list[str]]
    """By scope: whose each row is, "" where nobody knows."""
    values: Array
    """As they came; NaN where missing or no number."""
    standard: Array
    """In deviations; texts are 0 or 1.4, what is missing is in the middle."""
    places: Array
    """For distances between rows: in deviations, texts far apart from each other, what is missing far away."""
    marks: Array
    """A 64-bit hash of the values: equal for equal rows."""
    scores: Array
    """NaN where there is none."""
    decisions: list[str]
    versions: list[str]


class Scales:
    """Mean and variance of every feature."""

    def __init__(self, width: int = 0) -> None:
        self.width = width
        self.seen = 0
        """Rows."""
        self.names = [str(place) for place in range(width)]
        self.is_text: list[bool] = []
        self.count = np.zeros(width)
        self.mean = np.zeros(width)
        self.m2 = np.zeros(width)

    @property
    def deviation(self) -> Array:
        """Standard deviation so far, 0 where unknown or constant."""
        found: Array = np.sqrt(self.m2 / np.maximum(self.count - 1, 1))
        return np.where(self.count > 1, found, 0.0)

    def learn(self, values: Array) -> None:
        """Take rows into the scales."""
        if not self.is_text:
            first = values[0]
            self.is_text = ((first < TEXT) & (first > TEXT - 2.0**33)).tolist()
        self.seen += len(values)
        room = np.where(self.count >= STEADY, CLAMP * self.deviation, np.inf)
        room[room == 0] = np.inf
        kept = np.clip(values, self.mean - room, self.mean + room)
        known = np.isfinite(kept)
        known[:, self.is_text] = False
        count = known.sum(axis=0)
        kept = np.where(known, kept, 0.0)
        mean = kept.sum(axis=0) / np.maximum(count, 1)
        m2 = (np.where(known, kept - mean, 0.0) ** 2).sum(axis=0)
        total = np.maximum(self.count + count, 1)
        delta = mean - self.mean
        self.m2 = self.m2 + m2 + delta**2 * self.count * count / total
        self.mean = self.mean + delta * count / total
        self.count = self.count + count

    def standard(self, values: Array) -> tuple[Array, Array]:
        """(in deviations, places) of rows."""
        scale = self.deviation
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            out = (values - self.mean) / np.where(scale > 0, scale, np.inf)
        missing = np.isnan(values)
        places = np.where(missing, FAR, np.clip(out, -FAR / 2, FAR / 2))
        out = np.where(missing, 0.0, np.clip(out, -50.0, 50.0))
        text = np.flatnonzero(self.is_text)
        if len(text):
            # A number may have come where texts used to, larger than any hash.
            hashes = np.fmod(np.nan_to_num(np.abs(values[:, text])), 1 << 20).astype(np.int64)
            out[:, text] = np.where(missing[:, text], 0.0, 1.4 * (hashes & 1))
            places[:, text] = np.where(missing[:, text], FAR, 2.0 * hashes)
        return out, places.astype(np.float32)

    @property
    def caps(self) -> Array:
        """The most that each feature adds to a squared distance."""
        return np.where(self.is_text, SAME_TEXT, SAME_NUMBER).astype(np.float32)


def width_of(features: Sequence[float]) -> int:
    """Columns that a row takes."""
    return min(len(features), FOLDED)


def block(events: Sequence[Event], scales: Scales) -> Block:
    """The rows of events whose width is that of the scales. The scales learn them."""
    values = _values(events, scales.width)
    scales.learn(values)
    standard, places = scales.standard(values)
    scores = np.array([np.nan if e.score is None else e.score for e in events], dtype=float)
    return Block(
        ids=[e.id for e in events],
        times=np.array([e.time for e in events]),
        who={
            "caller": [e.user or e.key or e.address for e in events],
            "device": [e.device for e in events],
            "network": [e.network for e in events],
        },
        values=values,
        standard=standard,
        places=places,
        marks=marks(values),
        scores=scores,
        decisions=[e.decision[:80] for e in events],
        versions=[e.version for e in events],
    )


def _values(events: Sequence[Event], width: int) -> Array:
    if max(len(e.features) for e in events) > FOLDED:
        values = np.array([_folded(np.array(e.features)) for e in events])
    else:
        values = np.array([e.features for e in events], dtype=float)
    values[~(np.abs(values) <= LARGEST)] = np.nan
    kept: Array = values.reshape(len(events), width)
    return kept


def _folded(row: Array) -> Array:
    """Wide rows as FOLDED sums."""
    is_text = (row < TEXT) & (row > TEXT - 2.0**33)
    with np.errstate(invalid="ignore"):
        kept = np.where(is_text, row % 7, np.where(np.abs(row) < 1e15, row, 0.0))
    padded = np.zeros(-(-len(row) // FOLDED) * FOLDED)
    padded[: len(row)] = kept
    out: Array = padded.reshape(-1, FOLDED).sum(axis=0)
    return out


def marks(values: Array) -> Array:
    """A hash of each row: -0.0 is 0.0, and one NaN is as good as another."""
    bits = (np.where(np.isnan(values), np.nan, values) + 0.0).view(np.uint64).reshape(values.shape)
    with np.errstate(over="ignore"):
        mixed = (bits ^ (bits >> np.uint64(29))) * ODD[: values.shape[1]]
        mixed ^= mixed >> np.uint64(32)
        total = (mixed * MIX).sum(axis=1, dtype=np.uint64)
    out: Array = total ^ (total >> np.uint64(31))
    return out


def chance(number: int, marks: Array) -> Array:
    """For each row, the `number`-th and following: a number that looks like chance, the same for the same rows."""
    with np.errstate(over="ignore"):
        mixed = (marks ^ (np.arange(number, number + len(marks), dtype=np.uint64) * MIX)) * np.uint64(
            0xBF58476D1CE4E5B9
        )
        out: Array = mixed ^ (mixed >> np.uint64(30))
    return out


def nbytes(part: object) -> int:
    """Bytes of the arrays of a part of the state."""
    return sum(value.nbytes for value in vars(part).values() if isinstance(value, np.ndarray))


class Reservoir:
    """A uniform sample of all rows so far."""

    def __init__(self, size: int, width: int) -> None:
        self.rows = np.zeros((size, width), dtype=np.float32)
        self.filled = self.seen = 0

    def add(self, rows: Array, keys: Array) -> None:
        """Take rows in."""
        size, number = len(self.rows), self.seen + 1
        self.seen += len(rows)
        head = min(size - self.filled, len(rows))
        if head:
            self.rows[self.filled : self.filled + head] = rows[:head]
            self.filled += head
        if head < len(rows):
            ordinal = np.arange(number + head, number + len(rows), dtype=np.uint64)
            place = chance(number + head, keys[head:]) % ordinal
            kept = place < size
            self.rows[place[kept].astype(np.int64)] = rows[head:][kept]

    @property
    def taken(self) -> Array:
        """The sample."""
        return self.rows[: self.filled]
