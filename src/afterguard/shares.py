"""How sure a counted share is.

In: counts. Out: Wilson score intervals (Wilson 1927), the interval of a difference (Newcombe 1998, method 10), how likely a difference is by chance (Fisher 1922). Pure.
"""

from __future__ import annotations

import math
from typing import NamedTuple

Z95 = 1.959964
Z99 = 2.575829


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


def difference(one: Share, other: Share) -> tuple[float, float]:
    """The 95 % interval of how much larger the second share is than the first."""
    gap = other.rate - one.rate
    low = gap - math.hypot(other.rate - other.low, one.high - one.rate)
    high = gap + math.hypot(other.high - other.rate, one.rate - one.low)
    return max(-1.0, low), min(1.0, high)


def by_chance(one: Share, other: Share) -> float:
    """How likely it is that two samples of the same rate differ as much as these or more (Fisher's exact test, two-sided)."""
    n, hits = one.of + other.of, one.part + other.part
    if not one.of or not other.of:
        return 1.0
    ways = [_log_ways(one.of, k) + _log_ways(other.of, hits - k) - _log_ways(n, hits) for k in range(hits + 1)]
    seen = ways[one.part]
    return min(1.0, sum(math.exp(way) for way in ways if way <= seen + 1e-9))


def _log_ways(n: int, k: int) -> float:
    if k < 0 or k > n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
