"""Model extraction: one caller's inputs cover the input space systematically, as a copier's do and customers' do not.

In: Rows. Out: Alerts of kind model_extraction, at the end (`finish`) or as soon as one is sure (`live`). Two signs: a sweep (most steps change one feature, by few step widths) or uniform coverage
(marginals of the caller near uniform over the range of all callers, while everybody else's are not). At least LEAST different
inputs. Bounded: CALLERS_CAP callers with a reservoir each, one reservoir of everybody.
"""

from __future__ import annotations

import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from typing import TypeVar

import numpy as np

from afterguard.detect.detector import Pseudonym
from afterguard.model import Severity
from afterguard.watch.alarm import Alarm, Moment, of
from afterguard.watch.predictions import Row, Scales

T = TypeVar("T")
ID = "extraction"
TAXONOMIES = ("LLM10:2025", "LLM06:2026", "AML.T0024.002", "CWE-770")
LEAST = 250
CALLERS_CAP = 300
SAMPLE = 600
IDS_CAP = 5_000
SWEEP = 0.8
"""Share of steps that change one feature only."""
UNIFORM = 0.13
"""Mean Kolmogorov distance to the uniform distribution that counts as uniform coverage."""
MARGIN = 0.1


class Caller:
    """One caller's sample."""

    __slots__ = ("count", "due", "ids", "last", "rows", "single", "unique")

    def __init__(self) -> None:
        self.count = 0
        self.due = 0
        self.rows: list[array[float]] = []
        self.ids: list[Moment] = []
        self.last: tuple[float, ...] = ()
        self.single = 0
        self.unique = 0


class Extraction:
    """State of all callers."""

    def __init__(
        self,
        scales: Scales,
        pseudonym: Pseudonym,
        *,
        is_live: bool = False,
        callers: int = CALLERS_CAP,
        sample: int = SAMPLE,
    ) -> None:
        self._scales = scales
        self._pseudonym = pseudonym
        self._is_live = is_live
        self._cap = callers
        self._size = sample
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        self._everybody: list[tuple[str, array[float]]] = []
        self._rows = 0

    def feed(self, row: Row) -> None:
        """Sample one row."""
        self._rows += 1
        _sample(self._everybody, (row.caller, array("d", row.values)), self._rows, 3_000, row.id)
        if not row.caller:
            return
        caller = self._callers.get(row.caller)
        if caller is None:
            caller = self._callers[row.caller] = Caller()
            if len(self._callers) > self._cap:
                least = min(list(self._callers)[: self._cap // 2], key=lambda name: self._callers[name].count)
                del self._callers[least]
        caller.count += 1
        if row.values != caller.last:
            caller.unique += 1
            changed = sum(not (a == b or (a != a and b != b)) for a, b in zip(row.values, caller.last, strict=False))
            caller.single += changed == 1
        caller.last = row.values
        _sample(caller.rows, array("d", row.values), caller.count, self._size, row.id)
        if len(caller.ids) < IDS_CAP:
            caller.ids.append((row.id, row.time))

    def finish(self) -> Iterator[Alarm]:
        """Alerts, caller by caller."""
        for name in sorted(self._callers):
            yield from self.judge(name)

    def live(self, row: Row) -> list[Alarm]:
        """The alert of a row's caller, once: asked again whenever it has grown by a third."""
        self.feed(row)
        caller = self._callers.get(row.caller)
        if caller is None or caller.unique < max(LEAST, caller.due):
            return []
        found = list(self.judge(row.caller))
        caller.due = caller.unique * 4 // 3 if not found else 1 << 62
        return found

    def judge(self, name: str) -> Iterator[Alarm]:
        """The alert of one caller."""
        numeric = [i for i, is_text in enumerate(self._scales.is_text) if not is_text and self._scales.deviation(i) > 0]
        caller = self._callers[name]
        if caller.unique >= LEAST and len(numeric) >= 2:
            reason = self._sweeps(caller) or self._covers(name, caller, numeric)
            if reason:
                shown = self._pseudonym(name)[:12]
                yield of(
                    "model_extraction",
                    ID,
                    TAXONOMIES,
                    caller.ids,
                    severity=Severity.high,
                    cause=f"caller {shown}",
                    rule=f"{caller.count} queries by caller {shown}: {reason}",
                    would_change="the caller is the owner's own test or monitoring",
                    callers=(name,) if self._is_live else (),
                )

    def _sweeps(self, caller: Caller) -> str:
        share = caller.single / caller.unique
        return f"{share:.0%} of its steps change one feature only, a sweep" if share >= SWEEP else ""

    def _covers(self, name: str, caller: Caller, numeric: list[int]) -> str:
        others = [values for who, values in self._everybody if who != name]
        if len(others) < LEAST:
            return ""
        everybody, own = _matrix(others, numeric), _matrix(caller.rows, numeric)
        pairs = [
            (uniformity(own[:, i], own[:, i]), uniformity(everybody[:, i], everybody[:, i]))
            for i in range(len(numeric))
        ]
        usable = [(a, b) for a, b in pairs if a < 2 and b < 2]
        if len(usable) < 2:
            return ""
        mine, theirs = (float(np.mean(column)) for column in zip(*usable, strict=True))
        if mine <= UNIFORM and theirs >= mine + MARGIN:
            return f"its inputs cover the input space evenly (distance to uniform {mine:.2f}, others {theirs:.2f})"
        return ""


def _sample(rows: list[T], item: T, count: int, size: int, key: str) -> None:
    """Reservoir sampling with the id as the source of chance: same log, same sample."""
    if len(rows) < size:
        rows.append(item)
    else:
        place = zlib.crc32(f"{count}:{key}".encode("utf-8", "replace")) % count
        if place < size:
            rows[place] = item


def _matrix(rows: list[array[float]], places: list[int]) -> np.ndarray:
    return np.array([[row[i] if i < len(row) else np.nan for i in places] for row in rows], dtype=float)


def uniformity(values: np.ndarray, span: np.ndarray) -> float:
    """Kolmogorov distance of values to the uniform distribution over the 1st to 99th percentile of `span`; 2 where unknown."""
    values = values[np.isfinite(values)]
    span = span[np.isfinite(span)]
    if len(values) < 50 or len(span) < 50 or len(np.unique(values)) < 8:
        return 2.0
    low, high = np.quantile(span, [0.01, 0.99])
    if high <= low:
        return 2.0
    scaled = np.clip((np.sort(values) - low) / (high - low), 0, 1)
    steps = np.arange(1, len(scaled) + 1) / len(scaled)
    return float(np.max(np.maximum(np.abs(steps - scaled), np.abs(steps - 1 / len(scaled) - scaled))))
