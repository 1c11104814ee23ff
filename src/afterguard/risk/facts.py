"""Counted facts that lead the page: numbers somebody counted, before any that is estimated.

In: survey, look-back, business facts. Out: Fact rows, the most telling first. Nothing here is a probability.
"""

from __future__ import annotations

from ..model import Fact, Lookback, Survey
from .business import Business


def facts(survey: Survey, lookback: Lookback | None, business: Business) -> tuple[Fact, ...]:
    """The counted facts of one application."""
    return ()
