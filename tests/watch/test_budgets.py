"""Budgets: what is used up, what will be before its time, and the most at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from afterguard.watch.budgets import Budget, Budgets, Spent, peak

NOON = 1_780_315_200.0
"""A first of June, twelve hours after midnight UTC."""


def said(budget: Budget, *amounts: tuple[float, float]) -> list[Spent]:
    held = Budgets((budget,))
    return [spent for after, amount in amounts if (spent := held.add(0, "anna", amount, NOON + after)) is not None]


def test_a_budget_is_gone_once_in_each_window() -> None:
    budget = Budget("user", "requests", "hour", 10)
    (first, second) = said(budget, (0, 6), (60, 6), (120, 6), (3_600, 11))
    assert (first.used, first.who, first.gone) == (12, "anna", NOON + 60)
    assert second.used == 11


def test_a_pace_that_will_not_do_is_said_before() -> None:
    budget = Budget("user", "tokens", "day", 1_000)
    steady = [(minute * 60.0, 1.0) for minute in range(400)]
    (forecast,) = said(budget, (0.0, 300.0), *steady)
    assert NOON < forecast.gone < NOON + 12 * 3_600 and forecast.used < 1_000
    assert not said(Budget("user", "tokens", "day", 1_000_000), *steady)


def test_of_concurrency_the_most_counts_and_not_the_sum() -> None:
    budget = Budget("user", "concurrency", "hour", 5)
    assert not said(budget, (0, 4), (60, 4), (120, 4))
    (gone,) = said(budget, (0, 4), (60, 5), (120, 9))
    assert gone.used == 5


SPANS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 8)).map(lambda one: (one[0], one[0] + one[1])), max_size=12
)


@given(SPANS)
def test_the_most_at_once(spans: list[tuple[int, int]]) -> None:
    halves = [number + 0.5 for number in range(30)]
    most = max((sum(start < at < end for start, end in spans) for at in halves), default=0)
    assert peak([(float(a), float(b)) for a, b in spans]) == max(most, min(1, len(spans)))
