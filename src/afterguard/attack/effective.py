"""What trials are worth that are not independent: those of one form of a technique are much alike, and so are forms of one technique.

In: how many trials there are in each group, or successes and trials of each. Out: the number of independent trials that would say as much (Kish 1965: n divided by 1 + (m - 1) times how alike they are), and how alike they are (the analysis-of-variance
estimator of the intraclass correlation, Donner 1986). Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

ALIKE = 0.5
"""How alike two trials of one form are, where their results do not tell: halfway between independent and the same one twice. Our own assumption."""
LEAST = 0.1
"""Trials of one group are never taken for more independent than this, whatever few results seem to say."""


def effective(sizes: Iterable[int], alike: float = ALIKE) -> float:
    """Independent trials that groups of these sizes are worth."""
    return math.fsum(size / (1 + (size - 1) * alike) for size in sizes if size > 0)


def alike(groups: Sequence[tuple[int, int]]) -> float:
    """How alike the trials of one group are, of (successes, trials) of each; ALIKE where that cannot be told."""
    groups = [one for one in groups if one[1] > 0]
    n, k = sum(of for _, of in groups), len(groups)
    hits = sum(part for part, _ in groups)
    if k < 2 or n <= k or hits in (0, n):
        return ALIKE
    mean = hits / n
    between = sum(of * (part / of - mean) ** 2 for part, of in groups) / (k - 1)
    within = sum(part * (1 - part / of) for part, of in groups) / (n - k)
    size = (n - sum(of * of for _, of in groups) / n) / (k - 1)
    spread = between + (size - 1) * within
    return min(1.0, max(LEAST, (between - within) / spread)) if spread > 0 else ALIKE


def pooled(groups: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """(successes, trials) that groups together are worth, each group with the weight that it has once its trials are taken for what they are worth."""
    how = alike(groups)
    worth = [effective([of], how) for _, of in groups]
    return sum(part / of * each for (part, of), each in zip(groups, worth, strict=True) if of > 0), sum(worth)
