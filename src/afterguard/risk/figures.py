"""How a figure is shown: where priors carry more than half of it, as a range with two significant digits.

In: a Loss. Out: texts. The rule lives here once; reports, console and terminal take their figures from it.
"""

from __future__ import annotations

import math

import msgspec

from ..model import Loss, Range

HALF = 0.5


class Figures(msgspec.Struct, frozen=True):
    """The figures of a Loss as text, and the sentence that must stand beside them ("" where own facts carry them)."""

    if_it_happens: str
    chance_of_loss: str
    annual_mean: str
    one_in_twenty: str
    note: str


def rounded(value: float, digits: int = 2) -> float:
    """A number with so many significant digits."""
    if not value or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def short(value: float, digits: int = 2) -> str:
    """A number for a person: 0.015, 3.4, 12k, 1.5M, 3.2B."""
    value = rounded(value, digits)
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{unit}" if abs(value / size) < 10**digits else f"{value / size:.0f}{unit}"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def money(value: float, currency: str, digits: int = 2) -> str:
    """An amount: USD 12k."""
    return f"{currency} {short(value, digits)}"


def span(value: Range, currency: str) -> str:
    """A range of an amount: USD 12k to 3.4M."""
    return f"{currency} {short(value.low)} to {short(value.high)}"


def figures(loss: Loss) -> Figures:
    """The texts of a Loss."""
    return Figures(
        if_it_happens=span(loss.if_it_happens, loss.currency),
        chance_of_loss=f"{rounded(loss.chance_of_loss * 100):g} %",
        annual_mean=money(loss.annual_mean, loss.currency),
        one_in_twenty=money(loss.one_in_twenty, loss.currency),
        note="",
    )
