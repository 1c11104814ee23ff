"""Decisions: what fixing or guarding changes, against the same simulated years.

In: a priced model. Out: three ControlValue, one of them to do nothing. Costs carry a grade like every other number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model import ControlValue, Lookback, Survey
from .business import Business

if TYPE_CHECKING:
    from .price import Model


def decisions(model: Model, survey: Survey, lookback: Lookback | None, business: Business) -> tuple[ControlValue, ...]:
    """The two best decisions and doing nothing."""
    return ()
