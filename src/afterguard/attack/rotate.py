"""Techniques for one day of a schedule: in another order each day, each with another of its further forms next.

In: techniques, the number of a day. Out: the same techniques. The strongest form stays the first, as a run with few requests tries it alone; over as many days as there are forms, each comes second once.
"""

from __future__ import annotations

from collections.abc import Sequence

from afterguard.attack.contract import Technique

STEP = 7
"""Places by which the order of techniques moves in a day: a run with few requests gets round all of them."""


def rotated(techniques: Sequence[Technique], day: int) -> list[Technique]:
    """The techniques of that day."""
    if not techniques:
        return []
    at = day * STEP % len(techniques)
    return [_turned(one, day) for one in (*techniques[at:], *techniques[:at])]


def _turned(one: Technique, day: int) -> Technique:
    first, *more = one.variants
    at = day % len(more) if more else 0
    return one._replace(variants=(first, *more[at:], *more[:at]))
