"""Budgets with a forecast: requests, tokens, cost or concurrency of each key, user or tenant in a minute, hour, day or month.

In: sums a slice, of concurrency the most at once. Out: which budgets are gone, and which will be gone before their time at the pace of late. Windows are calendar windows in UTC.
Bounded: CAP counts; those not seen for longest are forgotten first.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec

CAP = 100_000
LENGTHS = {"minute": 60.0, "hour": 3_600.0, "day": 86_400.0, "month": 30 * 86_400.0}
EARLY = 0.1
"""Share of a budget below which nothing is forecast."""


class Budget(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """At most `amount` of `measure` for each of `scope` in one window."""

    scope: str
    measure: Literal["requests", "tokens", "cost", "concurrency"]
    per: Literal["minute", "hour", "day", "month"]
    amount: float
    who: str = ""
    """Only this one; "" for each."""


class Spent(NamedTuple):
    """What one said about a budget: it is gone, or will be at `gone`."""

    budget: Budget
    who: str
    used: float
    gone: float
    since: float
    """When the window began."""


class Budgets:
    """What was used of each budget."""

    def __init__(self, budgets: tuple[Budget, ...]) -> None:
        self.budgets = budgets
        self.rows: OrderedDict[tuple[int, str], list[float]] = OrderedDict()
        """start of the window, used, pace a second, when last, what was said (1 forecast, 2 gone)."""

    def add(self, place: int, who: str, amount: float, now: float) -> Spent | None:
        """`amount` more is used of budget number `place` by `who`."""
        budget = self.budgets[place]
        start, end = window(budget.per, now)
        row = self.rows.pop((place, who), None) or [start, 0.0, 0.0, now, 0.0]
        self.rows[place, who] = row
        while len(self.rows) > CAP:
            self.rows.popitem(last=False)
        if row[0] != start:
            row[0], row[1], row[4] = start, 0.0, 0.0
        if budget.measure == "concurrency":
            row[1] = max(row[1], amount)
            return self._said(place, who, row, end, now)
        memory = LENGTHS[budget.per] / 30 if budget.per == "month" else LENGTHS[budget.per] / 12
        row[2] = row[2] * math.exp(-max(0.0, now - row[3]) / memory) + amount / memory
        row[1], row[3] = row[1] + amount, now
        return self._said(place, who, row, end, now)

    def _said(self, place: int, who: str, row: list[float], end: float, now: float) -> Spent | None:
        budget, used = self.budgets[place], row[1]
        if used >= budget.amount and row[4] < 2:
            row[4] = 2.0
            return Spent(budget, who, used, now, row[0])
        settled = now - row[0] >= (end - row[0]) / 30
        if budget.per in ("day", "month") and not row[4] and settled and used >= EARLY * budget.amount and row[2]:
            gone = now + (budget.amount - used) / row[2]
            if gone < end:
                row[4] = 1.0
                return Spent(budget, who, used, gone, row[0])
        return None


def peak(spans: Sequence[tuple[float, float]]) -> int:
    """The most of these (start, end) that go on at once; one that ends when another begins does not go on with it."""
    moments = sorted((at, step) for start, end in spans for at, step in ((start, 1), (max(start, end), -1)))
    most = now = 0
    for _, step in moments:
        now += step
        most = max(most, now)
    return max(most, min(1, len(spans)))


def window(per: str, now: float) -> tuple[float, float]:
    """Start and end of the calendar window that `now` is in."""
    if per != "month":
        start = now - now % LENGTHS[per]
        return start, start + LENGTHS[per]
    day = datetime.fromtimestamp(now, UTC)
    start_day = datetime(day.year, day.month, 1, tzinfo=UTC)
    after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return start_day.timestamp(), after.timestamp()
