"""Many small neighbourhoods, and whole data sets: a caller who asks about the same records again and again with a grain of noise, or has thousands of different ones labelled.

In: Rows with standardised values. Out: Alerts of kind membership_probing (whether a record was in the training data shows in how steady its score is around it) and label_harvesting (a labelled set is most of a stolen model). Bounded: CALLERS callers
with CENTRES places each. A walk has one neighbourhood that moves; a form that is corrected has one with few members; a data set has none.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import numpy as np

from afterguard.model import Confidence, Severity
from afterguard.watch.alert import Alert, Moment, of
from afterguard.watch.predictions import Row

ID = "neighbours"
MEMBERSHIP = ("AML.T0024.000", "CWE-359")
HARVEST = ("LLM10:2025", "LLM06:2026", "AML.T0024.002", "CWE-770")
CALLERS = 1_000
CENTRES = 12
NEAR = 0.3
MEMBERS = 3
"""Different rows that make a neighbourhood."""
LEAST = 20
"""Neighbourhoods that make an alert."""
SHARE = 0.6
HARVESTED = 2_000
"""Different rows of one caller below which nothing is a data set."""
UNIQUE = 0.97
TIMES = 20.0
OTHERS = 20
"""Other callers that must be known before one can stand out from them."""
IDS = 200


class Caller:
    """One caller's last places."""

    __slots__ = ("centres", "first", "ids", "members", "next", "rows", "told", "unique", "whole")

    def __init__(self, width: int, first: float | None) -> None:
        self.centres = np.full((CENTRES, width), np.inf)
        self.members = [0] * CENTRES
        self.next = 0
        self.rows = self.unique = 0
        self.whole = 0
        """Neighbourhoods that are complete."""
        self.first = first
        self.ids: deque[Moment] = deque(maxlen=IDS)
        self.told: set[str] = set()


class Neighbours:
    """State of all callers of one model."""

    def __init__(self) -> None:
        self._callers: OrderedDict[str, Caller] = OrderedDict()

    def feed(self, row: Row, standard: np.ndarray) -> list[Alert]:
        """Put a row into its neighbourhood."""
        if not row.caller:
            return []
        caller = self._callers.get(row.caller)
        if caller is None or caller.centres.shape[1] != len(standard):
            caller = self._callers[row.caller] = Caller(len(standard), row.time)
            while len(self._callers) > CALLERS:
                self._callers.popitem(last=False)
        self._callers.move_to_end(row.caller)
        caller.rows += 1
        caller.ids.append((row.id, row.time))
        with np.errstate(invalid="ignore"):
            distances = np.sqrt(np.mean(np.minimum((caller.centres - standard) ** 2, 16.0), axis=1))
        nearest = int(np.argmin(distances))
        if distances[nearest] == 0.0:
            return []
        caller.unique += 1
        if distances[nearest] < NEAR:
            caller.members[nearest] += 1
            caller.whole += caller.members[nearest] == MEMBERS
        else:
            caller.centres[caller.next] = standard
            caller.members[caller.next] = 1
            caller.next = (caller.next + 1) % CENTRES
        return [*self._membership(row.caller, caller), *self._harvest(row, caller)]

    def _membership(self, name: str, caller: Caller) -> list[Alert]:
        share = caller.whole * MEMBERS / max(1, caller.unique)
        if caller.whole < LEAST or share < SHARE or "membership" in caller.told:
            return []
        caller.told.add("membership")
        return [
            of(
                "membership_probing", ID, MEMBERSHIP, list(caller.ids), severity=Severity.high, confidence=Confidence.medium,
                cause=f"caller {name[:12]}", callers=(name,),
                rule=f"caller {name[:12]} asked about {caller.whole} records at least {MEMBERS} times each, every time a little changed; {caller.rows} queries",
                would_change="the application tries small changes itself, for instance to explain a decision",
            )
        ]  # fmt: skip

    def _harvest(self, row: Row, caller: Caller) -> list[Alert]:
        if (
            caller.unique < HARVESTED
            or caller.unique % 100
            or caller.unique < UNIQUE * caller.rows
            or "harvest" in caller.told
        ):
            return []
        others = sorted(one.unique for one in self._callers.values() if one is not caller)
        if len(others) < OTHERS:
            return []
        usual = max(1.0, float(others[-max(1, len(others) // 20)]))
        if caller.unique < TIMES * usual:
            return []
        caller.told.add("harvest")
        hours = (row.time - caller.first) / 3600 if row.time is not None and caller.first is not None else 0.0
        return [
            of(
                "label_harvesting", ID, HARVEST, list(caller.ids), severity=Severity.medium, confidence=Confidence.medium,
                cause=f"caller {row.caller[:12]}", callers=(row.caller,),
                rule=f"caller {row.caller[:12]} had {caller.unique} different inputs judged in {hours:.1f} hours, {caller.unique / usual:.0f} times as many as the busiest twentieth of {len(others)} others",
                would_change="a batch job of the owner's own",
            )
        ]  # fmt: skip
