"""What the inputs of a model are usually like, learned quietly: a schema of its own, and how far a row is from the rest.

In: Batches that were let through, one after the other. Out: a Schema once there are LEAST rows, and Hits of kind feature_outlier for rows far from all that were seen. Bounded: a sample of rows in CELLS cells, CATEGORIES
values of a text feature. Same rows in the same order, same answer.

Theory of operation. A reservoir holds a uniform sample of all rows so far, of which no caller fills more than SHARE: who floods it moves it little. Every time it has grown by a tenth it is worked out again: the range of a
feature is what was seen but for the outermost TRIM, and one and a half times as much again on each side of the middle; a text feature has categories where it repeats itself (few values, and by Good and Turing a chance below UNSEEN that the next is new). The distance of a
row is the Mahalanobis distance in robust units (median, quartiles), with the covariance shrunk towards its diagonal (Ledoit and Wolf's direction, with a fixed weight that grows where rows are few); above PAIRS features
the diagonal alone. The threshold is the sample's own: FAR times its 99.9th percentile. Rows that are hits are not learned, and learning slows down by itself, because the sample is uniform over the past.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter, OrderedDict
from typing import Any, NamedTuple

import msgspec
import numpy as np

from afterguard.detect.feature_schema import Checked, Feature, Schema
from afterguard.model import Batch, Confidence, Hit, Severity

ID = "feature-profile"
TAXONOMIES = ("AML.T0015", "AML.T0043", "CWE-20")
LEAST = 500
"""Rows below which nothing is said."""
SAMPLE = 2_000
CELLS = 1_000_000
PAIRS = 96
CATEGORIES = 200
UNSEEN = 0.001
SHARE = 0.1
"""Of the sample that one caller may fill."""
CALLERS = 5_000
FAR = 1.6
TRIM = 0.002
ROWS = 64
"""Rows of one batch that are learned."""
CLIP = 1e6
Array = np.ndarray[Any, Any]


class _Ready(NamedTuple):
    """What was worked out of the sample."""

    checked: Checked
    middle: Array
    scale: Array
    inverse: Array | None
    limit: float
    usable: Array


class State(msgspec.Struct, frozen=True):
    """A profile as it is kept: the sample as bytes of float64, row by row."""

    names: tuple[str, ...]
    seen: int
    rows: bytes
    owners: list[str]
    texts: dict[int, dict[str, int]]
    wild: list[int]
    kinds: list[dict[str, int]]
    missing: list[float]


class Profile:
    """The inputs of one model."""

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.seen = 0
        """Rows."""
        self._rows = np.empty((0, 0))
        self._owners: list[str] = []
        self._held: Counter[str] = Counter()
        self._texts: dict[int, OrderedDict[str, int]] = {}
        self._wild: set[int] = set()
        """Text features with too many values."""
        self._kinds: list[Counter[str]] = []
        self._missing: Array = np.zeros(0)
        self._filled = 0
        self._worked = 0
        self._ready: _Ready | None = None

    @property
    def is_ready(self) -> bool:
        """Whether there are enough rows."""
        return self._ready is not None

    @property
    def schema(self) -> Schema | None:
        """The schema so far, None while there is too little."""
        return self._ready.checked.schema if self._ready is not None else None

    @property
    def state(self) -> State:
        """What `restored` takes."""
        kept = np.ascontiguousarray(self._rows[: self._filled])
        return State(
            self.names,
            self.seen,
            kept.tobytes(),
            self._owners[: self._filled],
            {place: dict(counts) for place, counts in self._texts.items()},
            sorted(self._wild),
            [dict(counts) for counts in self._kinds],
            self._missing.tolist(),
        )

    @classmethod
    def restored(cls, state: State) -> Profile:
        """The profile of a state. Raises ValueError where it does not hold together."""
        made, width = cls(), max(1, len(state.names))
        rows = np.frombuffer(state.rows).reshape(-1, width)
        size = max(LEAST, min(SAMPLE, CELLS // width))
        is_whole = len(state.kinds) == len(state.missing) == width and len(state.owners) == len(rows) <= min(
            size, state.seen
        )
        if not is_whole or any(len(counts) > CATEGORIES for counts in state.texts.values()):
            raise ValueError("a profile that does not hold together")
        made.names, made.seen, made._filled = state.names, state.seen, len(rows)
        made._rows = np.full((size, width), np.nan)
        made._rows[: len(rows)] = rows
        made._owners = state.owners + [""] * (size - len(rows))
        made._held = Counter(one for one in state.owners if one)
        made._texts = {place: OrderedDict(counts) for place, counts in state.texts.items()}
        made._wild, made._kinds = set(state.wild), [Counter(counts) for counts in state.kinds]
        made._missing = np.array(state.missing)
        if made.seen >= LEAST and made._filled >= LEAST:
            made._work()
        return made

    def look(self, batch: Batch, exchange: str, *, schema: bool = True) -> list[Hit]:
        """What is unlike all that was seen; nothing while there is too little. `schema`: also what is otherwise than the learned schema."""
        ready = self._ready
        if ready is None:
            return []
        hits = ready.checked.look(batch, exchange) if schema else []
        if batch.names == self.names:
            hits += self._far(batch, ready, exchange)
        return hits

    def learn(self, batch: Batch, caller: str = "") -> None:
        """Take rows in."""
        if not self.names:
            self._open(batch)
        if batch.names != self.names:
            return
        for place, kind in enumerate(batch.kinds):
            self._kinds[place][kind] += 1
        for row in range(min(batch.rows, ROWS)):
            self._take(np.asarray(batch.numbers[row], dtype=float), caller)
            for place, texts in batch.texts.items():
                self._word(place, texts[row])
        if self.seen >= LEAST and self._filled >= LEAST and self.seen >= 1.1 * self._worked:
            self._work()

    def _open(self, batch: Batch) -> None:
        self.names = batch.names
        width = max(1, len(batch.names))
        size = max(LEAST, min(SAMPLE, CELLS // width))
        self._rows = np.full((size, width), np.nan)
        self._owners = [""] * size
        self._kinds = [Counter() for _ in range(width)]
        self._missing = np.zeros(width)

    def _take(self, row: Array, caller: str) -> None:
        self.seen += 1
        self._missing += np.isnan(row)
        size = len(self._rows)
        if caller and self._held[caller] >= max(20, SHARE * max(self._filled, 200)):
            return
        if self._filled < size:
            place = self._filled
            self._filled += 1
        else:
            # Chance that is the same for the same rows: uniform over all rows so far.
            place = zlib.crc32(f"{self.seen}:{caller}".encode("utf-8", "replace")) % self.seen
            if place >= size:
                return
            before = self._owners[place]
            self._held[before] -= 1
            if not self._held[before]:
                del self._held[before]
        self._rows[place] = np.clip(row, -1e300, 1e300)
        self._owners[place] = caller
        if caller:
            self._held[caller] += 1

    def _word(self, place: int, text: str) -> None:
        if place in self._wild or not text:
            return
        known = self._texts.setdefault(place, OrderedDict())
        known[text] = known.get(text, 0) + 1
        if len(known) > CATEGORIES:
            self._wild.add(place)
            del self._texts[place]

    # -- what is usual

    def _work(self) -> None:
        self._worked = self.seen
        rows = self._rows[: self._filled]
        with np.errstate(all="ignore"):
            counted = np.isfinite(rows).sum(axis=0)
            filled = np.where(np.isfinite(rows), rows, np.nan)
            known = counted >= LEAST // 4
            safe = np.where(known, filled, 0.0)
            low, first, middle, third, high = np.nanquantile(safe, [TRIM, 0.25, 0.5, 0.75, 1 - TRIM], axis=0)
            one, nine = np.nanquantile(safe, [0.01, 0.99], axis=0)
        scale = (third - first) / 1.349
        scale = np.where(scale > 0, scale, (nine - one) / 4.65)
        usable = known & (scale > 0) & np.isfinite(scale)
        schema = Schema(
            {
                name: self._feature(n, bool(known[n]), low[n], middle[n], high[n], max(nine[n] - one[n], 0.0))
                for n, name in enumerate(self.names)
            },
            learned=self.seen,
        )
        scale = np.where(usable, scale, 1.0)
        standard = _standard(rows, middle, scale, usable)
        inverse = _inverse(standard) if 0 < int(usable.sum()) <= PAIRS else None
        distances = _distances(standard, inverse)
        limit = FAR * float(np.quantile(distances, 0.999)) if len(distances) else math.inf
        self._ready = _Ready(Checked(schema), middle, scale, inverse, max(limit, 1e-9), usable)

    def _feature(self, place: int, known: bool, low: float, middle: float, high: float, span: float) -> Feature:
        usual = self._kinds[place].most_common(1)[0][0] if self._kinds[place] else "any"
        kind: Any = usual if usual in ("number", "bool", "text") and len(self._kinds[place]) <= 2 else "any"
        required = self._missing[place] == 0 or kind == "text"
        if not known or kind != "number":
            return Feature(kind, values=self._categories(place), required=bool(required))
        room = 0.5 * max(span, abs(high) * 0.01)
        below, above = float(low - 1.5 * max(room, middle - low)), float(high + 1.5 * max(room, high - middle))
        return Feature(kind, below, above, required=bool(required), finite=bool(self._missing[place] == 0))

    def _categories(self, place: int) -> tuple[str, ...]:
        counts = self._texts.get(place)
        if not counts:
            return ()
        once = sum(1 for count in counts.values() if count == 1)
        return tuple(sorted(counts)) if once <= UNSEEN * sum(counts.values()) else ()

    # -- how far

    def _far(self, batch: Batch, ready: _Ready, exchange: str) -> list[Hit]:
        standard = _standard(np.asarray(batch.numbers, dtype=float), ready.middle, ready.scale, ready.usable)
        if not standard.shape[1]:
            return []
        distances = _distances(standard, ready.inverse)
        far = np.flatnonzero(distances > ready.limit)
        if not len(far):
            return []
        worst = int(far[np.argmax(distances[far])])
        times = float(distances[worst] / ready.limit)
        names = [name for name, use in zip(self.names, ready.usable.tolist()) if use]
        order = np.argsort(-np.abs(standard[worst]))[:3]
        shown = ", ".join(f"{names[n]} ({standard[worst, n]:+.1f} robust deviations)" for n in order.tolist())
        sure = (
            Confidence.high
            if times >= 3 and self.seen >= 4 * LEAST
            else Confidence.medium
            if times >= 1.5
            else Confidence.low
        )
        rule = (
            f"a row is {times:.1f} times as far from the usual as the farthest of {self._filled} seen; most in {shown}"
            + ("" if batch.rows == 1 else f"; {len(far)} of {batch.rows} rows are far")
        )
        return [
            Hit(
                detector=ID,
                kind="feature_outlier",
                severity=Severity.medium,
                confidence=sure,
                exchange=exchange,
                taxonomies=TAXONOMIES,
                excerpt=rule[:240],
                cause="inputs unlike those seen",
                rule=rule[:500],
                would_change="a new kind of customer or product, or a release of the application",
            )
        ]


def _standard(rows: Array, middle: Array, scale: Array, usable: Array) -> Array:
    """Rows in robust units; what is missing is in the middle."""
    with np.errstate(all="ignore"):
        out = ((rows - middle) / scale)[:, usable]
    out = np.where(np.isnan(out), 0.0, out)
    clipped: Array = np.clip(out, -CLIP, CLIP)
    return clipped


def _inverse(standard: Array) -> Array | None:
    """Inverse of the covariance, shrunk towards its diagonal; outliers of the sample count as no more than six deviations."""
    rows, width = standard.shape
    covariance = np.atleast_2d(np.cov(np.clip(standard, -6, 6), rowvar=False))
    weight = min(1.0, 0.05 + width / max(rows, 1))
    shrunk = (1 - weight) * covariance + weight * np.diag(np.diag(covariance) + 1e-6)
    try:
        return np.asarray(np.linalg.inv(shrunk + 1e-6 * np.eye(width)))
    except np.linalg.LinAlgError:
        return None


def _distances(standard: Array, inverse: Array | None) -> Array:
    width = max(1, standard.shape[1])
    if inverse is None:
        return np.asarray(np.sqrt((standard**2).sum(axis=1) / width))
    squared = np.einsum("ij,jk,ik->i", standard, inverse, standard)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0) / width))
