"""When a promoted policy must go back.

In: counts. Out: a yes or no. Pure.
"""

from __future__ import annotations

from afterguard.shares import Z99, wilson

SEEN_AT_LEAST = 200
"""Exchanges before a rate is believed."""


def should_roll_back(expected: tuple[float, float], acted: int, seen: int) -> bool:
    """Whether the measured rate has left the expected interval upwards: even the low end of its 99 % interval lies above it.

    Downwards is no reason: attackers who stay away would otherwise switch the protection off. At least SEEN_AT_LEAST exchanges.
    """
    if seen < SEEN_AT_LEAST:
        return False
    return wilson(acted, seen, Z99).low > expected[1]
