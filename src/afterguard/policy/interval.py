"""How sure a counted share is, and when a promoted policy must go back.

In: counts. Out: Wilson score intervals (Wilson 1927) and a yes or no. Pure.
"""

from __future__ import annotations

import math
from typing import NamedTuple

Z95 = 1.959964
Z99 = 2.575829
SEEN_AT_LEAST = 200
"""Exchanges before a rate is believed."""


class Share(NamedTuple):
    """A counted share with its interval."""

    part: int
    of: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The share itself; 0 where nothing was counted."""
        return self.part / self.of if self.of else 0.0


def wilson(count: int, of: int, z: float = Z95) -> Share:
    """The interval in which the true share lies, 95 times in a hundred. Nothing counted says nothing: 0 to 1."""
    if of <= 0:
        return Share(0, 0, 0.0, 1.0)
    share = count / of
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    bottom = 1 + z * z / of
    low = 0.0 if count <= 0 else max(0.0, (middle - spread) / bottom)
    high = 1.0 if count >= of else min(1.0, (middle + spread) / bottom)
    return Share(count, of, low, high)


def should_roll_back(expected: tuple[float, float], acted: int, seen: int) -> bool:
    """Whether the measured rate has left the expected interval upwards: even the low end of its 99 % interval lies above it.

    Downwards is no reason: attackers who stay away would otherwise switch the protection off. At least SEEN_AT_LEAST exchanges.
    """
    if seen < SEEN_AT_LEAST:
        return False
    return wilson(acted, seen, Z99).low > expected[1]
