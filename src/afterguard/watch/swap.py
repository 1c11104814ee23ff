"""A model that is another one although nobody said so: the same inputs get other scores, or the scores as a whole break from what they were.

In: Rows with the version that answered. Out: Alerts of kind model_swap. Bounded: INPUTS inputs by hash, 2 * WINDOW rows. Of scores what counts is what a plain linear fit of the first WINDOW rows leaves over, so that inputs which
change with the hour explain themselves. A declared new version starts anew and is no alert; a model that was never steady (sampling, features of its own) is judged by how unsteady it was.
"""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict, deque
from typing import NamedTuple

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
"""Kolmogorov distance of two windows of residuals beyond chance that is a break."""
MATERIAL = 0.25
"""How far residuals must have moved, in deviations of the scores: a fit that leaves next to nothing over would make much of little."""
WIDTH = 64
LIMIT = 1e9


class Swap:
    """State of one model."""

    def __init__(self) -> None:
        self._start("")

    def _start(self, version: str) -> None:
        self._version = version
        self._known: OrderedDict[int, tuple[float | None, str]] = OrderedDict()
        self._repeats: deque[tuple[bool, Moment]] = deque(maxlen=REPEATS)
        self._steady = self._unsteady = 0
        self._first: list[tuple[np.ndarray, float]] = []
        self._fit: _Fit | None = None
        self._reference: list[float] = []
        self._last: deque[tuple[float, Moment]] = deque(maxlen=WINDOW)
        self._told = False
        self._since = 0

    def feed(self, row: Row, version: str) -> list[Alert]:
        """Count a row."""
        if version != self._version:
            self._start(version)
        if row.score is None and not row.decision:
            return []
        found = self._repeated(row) or self._broken(row)
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

    def _broken(self, row: Row) -> Alert | None:
        if row.score is None or not math.isfinite(row.score):
            return None
        values = np.nan_to_num(np.array(row.values[:WIDTH]), nan=0.0, posinf=LIMIT, neginf=-LIMIT).clip(-LIMIT, LIMIT)
        score = _logit(row.score)
        if self._fit is None:
            self._first.append((values, score))
            if len(self._first) == WINDOW:
                self._fit, self._first = _fitted(self._first), []
            return None
        left = score - self._fit.said(values)
        if len(self._reference) < WINDOW:
            self._reference.append(left)
            return None
        self._last.append((left, (row.id, row.time)))
        self._since += 1
        if len(self._last) < WINDOW or self._since % (WINDOW // 4):
            return None
        found = distance(np.array(self._reference), np.array([one for one, _ in self._last]))
        chance = 1.95 * math.sqrt(2 / WINDOW)
        moved = float(np.mean(np.abs(np.sort(self._reference) - np.sort([one for one, _ in self._last]))))
        if found < chance + BREAK or moved < MATERIAL * self._fit.spread:
            return None
        return of(
            "model_swap", ID, TAXONOMIES, [moment for _, moment in self._last], severity=Severity.medium, confidence=Confidence.medium,
            cause=f"version {self._version or 'unknown'}"[:100],
            rule=f"for inputs like those before the scores are others than they were (Kolmogorov distance {found:.2f}, by chance {chance:.2f}), and no new version was named",
            would_change="a release that does not name its version, or a change of what the scores depend on beside the inputs",
        )  # fmt: skip


class _Fit(NamedTuple):
    """A line through scores."""

    middle: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    spread: float
    """Deviation of the scores."""

    def said(self, values: np.ndarray) -> float:
        """The score of a row."""
        if len(values) != len(self.middle):
            return 0.0
        plain = ((values - self.middle) / self.scale).clip(-6, 6)
        return float(plain @ self.weights[1:] + self.weights[0])


def _fitted(rows: list[tuple[np.ndarray, float]]) -> _Fit:
    width = len(rows[-1][0])
    values = np.array([one if len(one) == width else np.zeros(width) for one, _ in rows])
    middle, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    plain = np.column_stack([np.ones(len(values)), ((values - middle) / scale).clip(-6, 6)])
    scores = np.array([score for _, score in rows])
    weights = np.linalg.solve(plain.T @ plain + np.eye(width + 1), plain.T @ scores)
    return _Fit(middle, scale, weights, float(scores.std()))


def _logit(score: float) -> float:
    """A probability as log odds, anything else as it is."""
    if 0 <= score <= 1:
        inside = min(max(score, 1e-6), 1 - 1e-6)
        return math.log(inside / (1 - inside))
    return min(max(score, -LIMIT), LIMIT)


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
