"""What a campaign is: who attacks what, when, how hard, with how many identities, and what an alarm must name to be of use.

In: nothing. Out: `Campaign`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .draw import generator
from .rows import Rows


@dataclass
class Campaign:
    """The truth of one campaign."""

    number: int
    """From 1; stands beside each of its events."""
    kind: str
    variant: str
    """few or spread."""
    app: str
    start: float
    hours: float
    identities: int
    intensity: float = 1.0
    """Times as many requests as the kind usually sends."""
    slow: bool = False
    names: tuple[str, ...] = ()
    """Columns whose values name the campaign: an alarm that says one of them can be acted on. `app`: the application or its model is what has to be named."""
    words: tuple[str, ...] = ()
    """One of these stands in the kind or cause of an alarm that understood what it saw."""
    sends: Callable[[Any, Campaign], Rows] | None = None
    alters: Callable[[Campaign, Rows, Any], Rows] | None = None
    seed: int = 0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> float:
        return self.start + 3600 * self.hours

    @property
    def spread(self) -> bool:
        return self.variant == "spread"

    def rng(self, purpose: str = "") -> np.random.Generator:
        """A generator for one purpose within the campaign."""
        return generator(self.seed, "campaign", self.kind, self.variant, purpose)
