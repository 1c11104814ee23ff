"""A model that is another one although nobody said so: the same inputs get other scores, or the scores as a whole break from what they were.

In: Rows with the version that answered. Out: Alerts of kind model_swap. Bounded: INPUTS inputs by hash, WINDOW scores. A declared new version starts anew and is no alert; a model that was never steady (sampling, features of its own) is judged by how unsteady it was.
"""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict, deque

import numpy as np

from afterguard.model import Confidence, Severity
from afterguard.watch.alert import Alert, Moment, of
from afterguard.watch.predictions import Row

ID = "swap"
TAXONOMIES = ("LLM03:2025", "AML.T0010", "AML.T0018", "CWE-494")
INPUTS = 20_000
REPEATS = 20
CHANGED = 0.5
STEADY = 0.1
WINDOW = 500
BREAK = 0.2
"""Kolmogorov distance of two windows of scores beyond chance that is a break."""


class Swap:
    """State of one model."""

    def __init__(self) -> None:
        self._start("")

    def _start(self, version: str) -> None:
        self._version = version
        self._known: OrderedDict[int, tuple[float | None, str]] = OrderedDict()
        self._repeats: deque[tuple[bool, Moment]] = deque(maxlen=REPEATS)
        self._steady = self._unsteady = 0
        self._first: list[float] = []
        self._inputs: list[float] = []
        self._last: deque[tuple[float, float, Moment]] = deque(maxlen=WINDOW)
        self._told = False
        self._since = 0

    def feed(self, row: Row, version: str, length: float) -> list[Alert]:
        """Count a row; `length` is how far its input is from the middle."""
        if version != self._version:
            self._start(version)
        if row.score is None and not row.decision:
            return []
        found = self._repeated(row) or self._broken(row, length)
        if found is None or self._told:
            return []
        self._told = True
        return [found]

    def _repeated(self, row: Row) -> Alert | None:
        key = zlib.crc32(np.array(row.values).tobytes())
        before = self._known.get(key)
        self._known[key] = (row.score, row.decision)
        self._known.move_to_end(key)
        if len(self._known) > INPUTS:
            self._known.popitem(last=False)
        if before is None:
            return None
        is_other = before[1] != row.decision or not _is_same(before[0], row.score)
        if len(self._repeats) == REPEATS:
            was = self._repeats[0][0]
            self._unsteady += was
            self._steady += not was
        self._repeats.append((is_other, (row.id, row.time)))
        changed = sum(one for one, _ in self._repeats)
        past = self._steady + self._unsteady
        usual = self._unsteady / past if past else 0.0
        if past < REPEATS or usual > STEADY or changed < max(CHANGED, 4 * usual) * REPEATS:
            return None
        return of(
            "model_swap", ID, TAXONOMIES, [moment for one, moment in self._repeats if one], severity=Severity.high, confidence=Confidence.high,
            cause=f"version {self._version or 'unknown'}"[:100],
            rule=f"{changed} of the last {REPEATS} inputs that were asked before got another answer; until then {usual:.0%} of {past} did, and no new version was named",
            would_change="a release that does not name its version, or features that the server adds itself",
        )  # fmt: skip

    def _broken(self, row: Row, length: float) -> Alert | None:
        if row.score is None or not math.isfinite(row.score):
            return None
        if len(self._first) < WINDOW:
            self._first.append(row.score)
            self._inputs.append(length)
            return None
        self._last.append((row.score, length, (row.id, row.time)))
        self._since += 1
        if len(self._last) < WINDOW or self._since % (WINDOW // 4):
            return None
        scores = distance(np.array(self._first), np.array([one for one, _, _ in self._last]))
        inputs = distance(np.array(self._inputs), np.array([one for _, one, _ in self._last]))
        chance = 1.95 * math.sqrt(2 / WINDOW)
        if scores < chance + BREAK or inputs > chance:
            return None
        return of(
            "model_swap", ID, TAXONOMIES, [moment for _, _, moment in self._last], severity=Severity.medium, confidence=Confidence.medium,
            cause=f"version {self._version or 'unknown'}"[:100],
            rule=f"scores broke from what they were (Kolmogorov distance {scores:.2f}, by chance {chance:.2f}) while inputs did not ({inputs:.2f}), and no new version was named",
            would_change="a release that does not name its version, or a change of what the scores depend on beside the inputs",
        )  # fmt: skip


def _is_same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= 1e-6 * max(1.0, abs(a)) or (a != a and b != b)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov's, of two samples."""
    every = np.concatenate([a, b])
    left = np.searchsorted(np.sort(a), every, side="right") / len(a)
    right = np.searchsorted(np.sort(b), every, side="right") / len(b)
    return float(np.max(np.abs(left - right)))
