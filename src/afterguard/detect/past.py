"""What earlier turns of a conversation left behind, so that a turn is judged without judging its history again.

In: the Scene of a turn. Out: `Past`, frozen: the next turn begins where it ends. It holds what detectors that compare turns need (who told what, which results were
read, which of them gave orders), not the texts, which every request brings again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from afterguard.detect.result import Result
from afterguard.detect.structure import Passage

if TYPE_CHECKING:
    from afterguard.detect.injection import Found
    from afterguard.detect.order_followed import Foreign

ORDERS_CAP = 50
"""Suspicious passages of one conversation that are remembered."""


class Past(NamedTuple):
    """A conversation up to a turn. Indexes are into Exchange.texts and Exchange.calls, which only grow."""

    texts: int = 0
    calls: int = 0
    told: frozenset[str] = frozenset()
    """Personal identifiers that system or user gave."""
    looked_up: frozenset[str] = frozenset()
    """Those that tools and documents gave."""
    results: tuple[Result, ...] = ()
    prose: tuple[tuple[int, tuple[Passage, ...]], ...] = ()
    """Passages of natural language, by Result.first."""
    orders: tuple[Found, ...] = ()
    """Passages that spoke to the model."""
    foreign: tuple[Foreign, ...] = ()
    """Passages that asked for what the conversation's tools do."""
    over: int = 0
    """How often so far there was more than a detector's budget let it look at."""


NONE = Past()
