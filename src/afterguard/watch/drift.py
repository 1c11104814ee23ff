"""Drift of inputs and decisions of a predictive model: the first part of the log against the last.

In: Rows. Out: Alerts of kind input_drift (population stability index above PSI and a Kolmogorov or chi-square test beyond chance) and
decision_drift (shares of decisions differ by more than chance and by at least SHIFT). Windows of WINDOW rows; below LEAST rows in each
nothing is said. It cannot tell a season from a change: the alert says how long the windows are.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator

import numpy as np

from afterguard.model import Confidence, Severity
from afterguard.watch.alarm import Alarm, of
from afterguard.watch.predictions import Row, Scales

ID = "drift"
TAXONOMIES = ("LLM04:2025", "LLM05:2026", "AML.T0020", "CWE-349")
WINDOW = 2_000
LEAST = 500
PSI = 0.25
SHIFT = 0.1
DEVIATIONS = 5.0
BINS = 10
WEEK = 7 * 86_400.0


class Drift:
    """The first and the last rows."""

    def __init__(self, scales: Scales) -> None:
        self._scales = scales
        self._first: list[Row] = []
        self._last: deque[Row] = deque(maxlen=WINDOW)

    def feed(self, row: Row) -> None:
        """Keep one row."""
        if len(self._first) < WINDOW:
            self._first.append(row)
        self._last.append(row)

    def finish(self) -> Iterator[Alarm]:
        """Alerts for the features that moved and for the decisions."""
        before, after = self._windows()
        if len(before) < LEAST or len(after) < LEAST:
            return
        moved = sorted(self._moved(before, after), key=lambda row: -row[1])
        if moved:
            names = ", ".join(f"{name} ({value:.2f})" for name, value in moved[:5])
            yield self._alert("input_drift", before, after, f"population stability index of {names}", Severity.low)
        shift = decision_shift(before, after)
        if shift:
            yield self._alert("decision_drift", before, after, shift, Severity.medium)

    def _windows(self) -> tuple[list[Row], list[Row]]:
        rows = list(self._last)
        if len(self._first) < WINDOW or (self._first and rows and rows[0].id == self._first[0].id):
            half = len(rows) // 2
            return rows[:half], rows[half:]
        seen = {row.id for row in self._first}
        return self._first, [row for row in rows if row.id not in seen]

    def _moved(self, before: list[Row], after: list[Row]) -> Iterator[tuple[str, float]]:
        for place, name in enumerate(self._scales.names):
            a, b = _column(before, place), _column(after, place)
            if len(a) < LEAST or len(b) < LEAST:
                continue
            value = stability(a, b, self._scales.is_text[place])
            noise = 2 * BINS * (1 / len(a) + 1 / len(b))
            if value > PSI + noise:
                yield name, value

    def _alert(self, kind: str, before: list[Row], after: list[Row], says: str, severity: Severity) -> Alarm:
        span = _span(before), _span(after)
        short = any(length is None or length < WEEK for length in span)
        caution = (
            "windows shorter than a week: a weekly season would look the same" if short else "a season or a campaign"
        )
        return of(
            kind,
            ID,
            TAXONOMIES,
            [(row.id, row.time) for row in after],
            severity=severity,
            confidence=Confidence.low if short else Confidence.medium,
            cause="last window against first",
            rule=f"{says}; {len(before)} rows against {len(after)}",
            would_change=caution,
        )


def _column(rows: list[Row], place: int) -> np.ndarray:
    values = np.array([row.values[place] if place < len(row.values) else math.nan for row in rows], dtype=float)
    kept: np.ndarray = values[np.isfinite(values)]
    return kept


def _span(rows: list[Row]) -> float | None:
    times = [row.time for row in rows if row.time is not None]
    return max(times) - min(times) if times else None


def stability(before: np.ndarray, after: np.ndarray, is_text: bool) -> float:
    """Population stability index over BINS quantiles (numbers) or the BINS most frequent values (texts)."""
    if is_text or len(np.unique(before)) <= BINS:
        values, _ = np.unique(np.concatenate([before, after]), return_counts=True)
        values = values[: 10 * BINS]
        a = np.array([np.sum(before == v) for v in values], dtype=float)
        b = np.array([np.sum(after == v) for v in values], dtype=float)
    else:
        edges = np.unique(np.quantile(before, np.linspace(0, 1, BINS + 1)[1:-1]))
        a = np.bincount(np.searchsorted(edges, before), minlength=len(edges) + 1).astype(float)
        b = np.bincount(np.searchsorted(edges, after), minlength=len(edges) + 1).astype(float)
    p, q = (a + 0.5) / (a + 0.5).sum(), (b + 0.5) / (b + 0.5).sum()
    return float(np.sum((q - p) * np.log(q / p)))


def decision_shift(before: list[Row], after: list[Row]) -> str:
    """The decision whose share moved most, in words, "" where none moved beyond chance (two-proportion z-test)."""
    a, b = Counter(row.decision for row in before), Counter(row.decision for row in after)
    best = ("", 0.0, 0.0, 0.0)
    for decision in set(a) | set(b):
        p, q = a[decision] / len(before), b[decision] / len(after)
        pooled = (a[decision] + b[decision]) / (len(before) + len(after))
        error = math.sqrt(pooled * (1 - pooled) * (1 / len(before) + 1 / len(after))) or 1e-9
        if decision and abs(q - p) >= SHIFT and abs(q - p) / error >= DEVIATIONS and abs(q - p) > best[1]:
            best = (decision, abs(q - p), p, q)
    return f"decision {best[0]!r} went from {best[2]:.0%} to {best[3]:.0%}" if best[0] else ""
