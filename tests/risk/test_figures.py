"""How figures are shown: the rule of one half, two digits, and nothing invented."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.model import Loss, Range, ScenarioLoss
from afterguard.risk.figures import carried_by_priors, ends, figures, money, percent, rounded, short, span

ROW = ScenarioLoss("x", "X", Range(0.1, 0.2, 0.3), Range(1, 2, 3), 1.0, 0.2)


def loss(prior_share: float, scenarios: tuple[ScenarioLoss, ...] = (ROW,)) -> Loss:
    return Loss(
        "shop",
        "USD",
        1,
        1000,
        scenarios,
        (),
        0.234567,
        Range(1234.5, 50_000, 3_456_789),
        98_765.4,
        345_678.9,
        (),
        prior_share=prior_share,
        mean_range=Range(12_345, 90_000, 234_567),
        chance_range=Range(0.123, 0.2, 0.345),
        twenty_range=Range(1e5, 3e5, 9e5),
        note="" if scenarios else "no scenario applies",
    )


def test_priors_above_one_half_make_every_figure_a_range_and_say_so() -> None:
    shown = figures(loss(0.51))
    assert carried_by_priors(loss(0.51))
    assert shown.annual_mean == "USD 12k to 230k"
    assert shown.chance_of_loss == "12 % to 34 %"
    assert shown.one_in_twenty == "USD 100k to 900k"
    assert "51 %" in shown.note and "ranges" in shown.note


def test_own_facts_give_single_figures_with_two_digits() -> None:
    shown = figures(loss(0.5))
    assert not carried_by_priors(loss(0.5))
    assert (shown.annual_mean, shown.chance_of_loss, shown.one_in_twenty) == ("USD 99k", "23 %", "USD 350k")
    assert shown.if_it_happens == "USD 1.2k to 3.5M"


def test_no_scenario_gives_no_figure() -> None:
    shown = figures(loss(1.0, ()))
    assert {shown.annual_mean, shown.chance_of_loss, shown.if_it_happens, shown.one_in_twenty} == {"no figure"}
    assert shown.note == "no scenario applies"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0153, "0.015"),
        (1, "1"),
        (99.6, "100"),
        (999.9, "1k"),
        (12_345, "12k"),
        (999_999, "1M"),
        (123_456, "120k"),
        (2.5e9, "2.5B"),
        (1e15, "1000T"),
        (1e-9, "1e-09"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


@given(st.floats(0, 1e15))
def test_short_numbers_are_short_and_near(value: float) -> None:
    text = short(value)
    assert len(text) <= 8
    match = re.fullmatch(r"([\d.e+-]+)([kMBT]?)", text)
    assert match
    back = float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[match[2]]
    assert back == pytest.approx(value, rel=0.06, abs=1e-300)


def test_words_for_chances_and_ranges() -> None:
    assert (percent(0), percent(0.0004), percent(0.0432), percent(0.999), percent(1)) == (
        "0 %",
        "under 0.1 %",
        "4.3 %",
        "over 99 %",
        "100 %",
    )
    assert ends(Range(40e3, 40e3, 40e3)) == "40k"
    assert span(Range(1, 2, 3e6), "EUR") == "EUR 1 to 3M"
    assert money(0, "EUR") == "EUR 0"
    assert rounded(0.012345) == 0.012
