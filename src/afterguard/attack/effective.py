"""What trials are worth that are not independent: those of one form of a technique are much alike.

In: how many trials there are of each form. Out: the number of independent trials that would say as much (Kish 1965: n divided by 1 + (m - 1) times how alike they are). How alike whole families are, risk/tested.py takes from their rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

ALIKE = 0.5
"""How alike two trials of one form are, where their results do not tell: halfway between independent and the same one twice. Our own assumption."""


def effective(sizes: Iterable[int], alike: float = ALIKE) -> float:
    """Independent trials that groups of these sizes are worth."""
    return math.fsum(size / (1 + (size - 1) * alike) for size in sizes if size > 0)
