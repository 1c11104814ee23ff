"""How a figure is shown: where priors carry more than half of it, as a range with two significant digits.

In: a Loss. Out: texts. The rule lives here once; reports, console and terminal take their figures from it.
"""

from __future__ import annotations

import math

import msgspec

from afterguard.model import Loss, Range

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


def ends(value: Range) -> str:
    """A range of a number: 12k to 3.4M; one number where both ends read the same."""
    low, high = short(value.low), short(value.high)
    return low if low == high else f"{low} to {high}"


def span(value: Range, currency: str) -> str:
    """A range of an amount: USD 12k to 3.4M."""
    return f"{currency} {ends(value)}"


def percent(share: float) -> str:
    """A probability with two digits: 4.3 %, under 0.1 %, over 99 %."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{rounded(share * 100):g} %"


def carried_by_priors(loss: Loss) -> bool:
    """Whether figures of this Loss must be shown as ranges."""
    return loss.prior_share > HALF


def figures(loss: Loss) -> Figures:
    """The texts of a Loss."""
    unit = loss.currency
    if not loss.scenarios:
        return Figures("no figure", "no figure", "no figure", "no figure", loss.note)
    if not carried_by_priors(loss):
        note = f"{percent(loss.prior_share)} of the expected loss rests on published priors, the rest on this application's own facts."
        return Figures(
            span(loss.if_it_happens, unit),
            percent(loss.chance_of_loss),
            money(loss.annual_mean, unit),
            money(loss.one_in_twenty, unit),
            note,
        )
    point = Range(loss.chance_of_loss, loss.chance_of_loss, loss.chance_of_loss)
    chance = loss.chance_range or point
    note = (
        f"{percent(loss.prior_share)} of the expected loss rests on published priors and assumptions, not on facts of this "
        "application: read these as ranges."
    )
    return Figures(
        span(loss.if_it_happens, unit),
        percent(chance.low)
        if percent(chance.low) == percent(chance.high)
        else f"{percent(chance.low)} to {percent(chance.high)}",
        span(loss.mean_range, unit) if loss.mean_range else money(loss.annual_mean, unit),
        span(loss.twenty_range, unit) if loss.twenty_range else money(loss.one_in_twenty, unit),
        note,
    )
