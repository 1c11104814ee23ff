"""Boundary following: a caller whose different inputs lie where the model is least sure, far more often than anybody else's. Whoever copies a model, or looks for a hole in it, learns most there.

In: Rows with scores. Out: Alerts of kind model_extraction. The boundary is where decisions turn: the middle between the scores of the two most frequent decisions nearest to each other, else 0.5. Bounded: CALLERS callers, the last SCORES scores.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque

from afterguard.model import Confidence, Severity
from afterguard.watch.alert import Alert, Moment, of
from afterguard.watch.predictions import Row

ID = "boundary"
TAXONOMIES = ("LLM10:2025", "LLM06:2026", "AML.T0024.002", "AML.T0043", "CWE-770")
CALLERS = 2_000
SCORES = 2_000
WARM = 1_000
BAND = 0.1
"""Share of everybody's scores that lie in the band."""
LEAST = 100
SHARE = 0.5
AGAIN = 500
"""Rows after which the band is worked out again."""


class Caller:
    """One caller's rows."""

    __slots__ = ("ids", "inside", "last", "rows", "told")

    def __init__(self) -> None:
        self.rows = self.inside = 0
        self.last: tuple[float, ...] = ()
        self.ids: deque[Moment] = deque(maxlen=200)
        self.told = False


class Boundary:
    """State of one model."""

    def __init__(self) -> None:
        self._scores: deque[tuple[float, str]] = deque(maxlen=SCORES)
        self._callers: OrderedDict[str, Caller] = OrderedDict()
        self._rows = 0
        self._place = self._width = math.nan

    def feed(self, row: Row) -> list[Alert]:
        """Count a row."""
        if row.score is None or not math.isfinite(row.score):
            return []
        self._rows += 1
        self._scores.append((row.score, row.decision))
        if self._rows >= WARM and self._rows % AGAIN == 0:
            self._work()
        if not row.caller or self._width != self._width:
            return []
        caller = self._callers.get(row.caller)
        if caller is None:
            caller = self._callers[row.caller] = Caller()
            while len(self._callers) > CALLERS:
                self._callers.popitem(last=False)
        self._callers.move_to_end(row.caller)
        if row.values == caller.last:
            return []
        caller.last = row.values
        caller.rows += 1
        if abs(row.score - self._place) <= self._width:
            caller.inside += 1
            caller.ids.append((row.id, row.time))
        if caller.told or caller.rows < LEAST or caller.inside < SHARE * caller.rows:
            return []
        caller.told = True
        return [
            of(
                "model_extraction", ID, TAXONOMIES, list(caller.ids), severity=Severity.high, confidence=Confidence.medium,
                cause=f"caller {row.caller[:12]}", callers=(row.caller,),
                rule=f"{caller.inside} of {caller.rows} different inputs of caller {row.caller[:12]} lie within {self._width:.3g} of the score {self._place:.3g} where decisions turn; {BAND:.0%} of everybody's do",
                would_change="the caller is sent only doubtful cases, for instance a desk that reviews them",
            )
        ]  # fmt: skip

    def _work(self) -> None:
        """Where decisions turn, and how wide the band is. Scores of one value make no band."""
        common = [name for name, _ in Counter(name for _, name in self._scores if name).most_common(2)]
        self._place = 0.5
        if len(common) == 2:
            low, high = (sorted(score for score, name in self._scores if name == one) for one in common)
            if low[len(low) // 2] > high[len(high) // 2]:
                low, high = high, low
            self._place = (low[len(low) * 98 // 100] + high[len(high) * 2 // 100]) / 2
        distances = sorted(abs(score - self._place) for score, _ in self._scores)
        width = distances[int(BAND * len(distances))]
        self._width = width if width > 0 and distances[len(distances) // 2] > 1.5 * width else math.nan
