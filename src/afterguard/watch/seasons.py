"""Drift while it happens, told apart from a season and from what a few callers do.

In: Rows with times. Out: Alerts of kind input_drift, decision_drift and poisoning_suspected. A window (six hours) is held against the same part of the week before, where that is known: what comes back every week is a season, and is nothing. Where it is
not known yet it is held against the same hours of the days so far, only a shift beyond FIRST is told, and the alert says that a season would look the same. Where the shift goes away without the few callers who sent most of it, it is no drift: somebody feeds the model's future training data, or its monitor.
Bounded: a sample of ROWS rows for each of 28 parts of the week. Clocks that run backwards start no window.
"""

from __future__ import annotations

import zlib
from collections import Counter
from typing import NamedTuple

import numpy as np

from afterguard.model import Confidence, Severity
from afterguard.watch.alarm import Alarm, Moment, of
from afterguard.watch.drift import PSI, TAXONOMIES, decision_shift, stability
from afterguard.watch.predictions import Row, Scales

ID = "seasons"
POISON = ("LLM04:2025", "LLM05:2026", "AML.T0020", "AML.T0031", "CWE-349")
PART = 6 * 3600.0
PARTS = 28
ROWS = 500
LEAST = 150
FIRST = 1.2
"""Population stability index that is told in the first week, when a weekend looks like a drift."""
DAYS = 2
"""Days whose same hours must be known before anything is said."""
FEW = 5
"""Callers without whom a shift may go away."""
CALLERS = 500


class Window(NamedTuple):
    """A sample of a window's rows."""

    rows: list[Row]
    seen: int


class Seasons:
    """State of one model."""

    def __init__(self, scales: Scales) -> None:
        self._scales = scales
        self._past: dict[int, Window] = {}
        self._rows: list[Row] = []
        self._seen = 0
        self._number = -1
        self._told: dict[tuple[str, str], int] = {}

    def feed(self, row: Row) -> list[Alarm]:
        """Take a row; what the window that has just ended shows."""
        if row.time is None:
            return []
        number = int(row.time // PART)
        out: list[Alarm] = []
        if number > self._number:
            if self._number >= 0:
                out = self._close()
            self._number, self._rows, self._seen = number, [], 0
        self._seen += 1
        if len(self._rows) < ROWS:
            self._rows.append(row)
        else:
            place = zlib.crc32(f"{self._seen}:{row.id}".encode("utf-8", "replace")) % self._seen
            if place < ROWS:
                self._rows[place] = row
        return out

    def _close(self) -> list[Alarm]:
        part = self._number % PARTS
        rows, before = self._rows, self._past.get(part)
        if len(rows) < LEAST:
            return []
        is_season_known = before is not None and len(before.rows) >= LEAST
        base = before.rows if before is not None and is_season_known else self._same_hours(part)
        found = self._judged(base, rows, is_season_known) if len(base) >= LEAST else []
        if not found:  # what is an alert is not what is usual
            kept = [*rows[: ROWS // 2], *before.rows[: ROWS // 2]] if before is not None else rows
            self._past[part] = Window(kept, self._seen)
        return found

    def _same_hours(self, part: int) -> list[Row]:
        """Rows of the same hours of other days; none where fewer than DAYS are known."""
        known = [window for other, window in self._past.items() if other % 4 == part % 4]
        each = 2 * ROWS // max(1, len(known))
        return [row for window in known for row in window.rows[:each]] if len(known) >= DAYS else []

    def _judged(self, base: list[Row], rows: list[Row], sure: bool) -> list[Alarm]:
        limit = PSI if sure else FIRST
        moved = self._moved(base, rows, limit)
        shift = decision_shift(base, rows) if sure else ""
        out = []
        if moved:
            few = self._few(base, rows, limit)
            names = ", ".join(f"{self._scales.names[place]} ({value:.2f})" for place, value in moved[:5])
            if few:
                out.append(
                    self._alert(
                        "poisoning_suspected",
                        f"population stability index of {names} without which a few callers it would be as before",
                        rows,
                        base,
                        sure,
                        few,
                    )
                )
            else:
                out.append(self._alert("input_drift", f"population stability index of {names}", rows, base, sure))
        if shift and not (out and out[0].hit.kind == "poisoning_suspected"):
            out.append(self._alert("decision_drift", shift, rows, base, sure))
        return [one for one in out if self._is_news(one)]

    def _is_news(self, alert: Alarm) -> bool:
        """The same shift is told once a week."""
        key = (alert.hit.kind, alert.hit.cause)
        last = self._told.get(key, -PARTS)
        if self._number - last < PARTS:
            return False
        self._told[key] = self._number
        return True

    def _moved(self, base: list[Row], rows: list[Row], limit: float) -> list[tuple[int, float]]:
        out = []
        noise = 20 * (1 / len(base) + 1 / len(rows))
        for place, is_text in enumerate(self._scales.is_text):
            a, b = _column(base, place), _column(rows, place)
            if len(a) >= LEAST // 2 and len(b) >= LEAST // 2:
                value = stability(a, b, is_text)
                if value > limit + noise:
                    out.append((place, value))
        return sorted(out, key=lambda one: -one[1])

    def _few(self, base: list[Row], rows: list[Row], limit: float) -> tuple[str, ...]:
        """The callers without whom nothing has moved; none where there are none, or where they are most of the window's traffic as they always were."""
        counts = Counter(row.caller for row in rows if row.caller)
        usual = Counter(row.caller for row in base if row.caller)
        risen = [
            name for name, count in counts.most_common(20) if count / len(rows) > 0.02 + 2 * usual[name] / len(base)
        ][:FEW]
        if not risen or len(counts) < 4 * FEW:
            return ()
        left = [row for row in rows if row.caller not in risen]
        if len(left) < LEAST // 2 or self._moved(base, left, limit):
            return ()
        return tuple(risen)

    def _alert(
        self, kind: str, says: str, rows: list[Row], base: list[Row], sure: bool, callers: tuple[str, ...] = ()
    ) -> Alarm:
        is_poison = kind == "poisoning_suspected"
        moments: list[Moment] = [(row.id, row.time) for row in rows if not callers or row.caller in callers]
        against = (
            "the same part of the weeks before"
            if sure
            else "the same hours of the days so far; the same part of an earlier week is not known, and a season would look the same"
        )
        if is_poison:
            share = sum(row.caller in callers for row in rows) / len(rows)
            says = f"{says}: {len(callers)} callers sent {share:.0%} of the window"
        return of(
            kind, ID, POISON if is_poison else TAXONOMIES, moments, severity=Severity.high if is_poison else Severity.low if kind == "input_drift" else Severity.medium,
            confidence=Confidence.medium if sure else Confidence.low,
            cause="a few callers" if is_poison else "six hours against what is usual then",
            rule=f"{says}; {len(rows)} rows against {len(base)} of {against}",
            would_change="a new customer or a batch of the owner's own" if is_poison else "a campaign, a release, a holiday",
            callers=callers,
        )  # fmt: skip


def _column(rows: list[Row], place: int) -> np.ndarray:
    values = np.array([row.values[place] if place < len(row.values) else np.nan for row in rows], dtype=float)
    kept: np.ndarray = values[np.isfinite(values)]
    return kept
