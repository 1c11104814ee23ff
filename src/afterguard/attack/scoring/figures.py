"""How sure a measured figure is: the area under a curve, money that flipped decisions move.

In: numbers. Out: figures with 95 % intervals. Sources: DeLong, DeLong, Clarke-Pearson 1988 (variance of an area); a permutation test for chance. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from afterguard.shares import Z95, wilson

Array = np.ndarray[Any, Any]


class Area(NamedTuple):
    """How well a number tells two groups apart: 0.5 not at all, 1 always."""

    value: float
    low: float
    high: float
    chance: float
    """How often a split by lot does as well."""


def area(ones: Sequence[float], others: Sequence[float], seed: int = 0, turns: int = 1_000) -> Area:
    """Whether `ones` are higher than `others`."""
    here, there = np.asarray(ones, float), np.asarray(others, float)
    if len(here) < 2 or len(there) < 2:
        return Area(0.5, 0.0, 1.0, 1.0)
    above = (here[:, None] > there).astype(float) + 0.5 * (here[:, None] == there)
    value = float(above.mean())
    wide = float(np.var(above.mean(axis=1), ddof=1) / len(here) + np.var(above.mean(axis=0), ddof=1) / len(there))
    # Where nothing overlaps the variance is nought, which no sample of this size shows: the rule of three stands in.
    spread = max(Z95 * math.sqrt(wide), 3 / min(len(here), len(there)) if value in (0.0, 1.0) else 0.0)
    return Area(value, max(0.0, value - spread), min(1.0, value + spread), _chance(here, there, value, seed, turns))


def _chance(here: Array, there: Array, value: float, seed: int, turns: int) -> float:
    every, draw = np.concatenate([here, there]), np.random.default_rng(seed)
    ranks = _ranks(every)
    floor = len(here) * (len(here) + 1) / 2
    drawn = [(float(draw.permutation(ranks)[: len(here)].sum()) - floor) / (len(here) * len(there)) for _ in range(turns)]  # fmt: skip
    return (1 + sum(one >= value for one in drawn)) / (1 + turns)


def _ranks(values: Array) -> Array:
    """Ranks from 1, those of equal values shared."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: Array = (last - (counts - 1) / 2)[place]
    return found


class Moved(NamedTuple):
    """Money that decisions moved which an attacker turned."""

    total: float
    """Of those that were turned in this run."""
    tries: int
    turned: int
    per_thousand: float
    low: float
    high: float


def moved(turned: Sequence[float], held: Sequence[float]) -> Moved:
    """Per 1,000 refused rows that are tried: the share that turns times what one moves. The interval takes the low ends of both, and the high ends: it is wider than 95 % would need."""
    tries = len(turned) + len(held)
    share = wilson(len(turned), tries)
    low, high = _mean(turned or held)
    average = float(np.mean(turned)) if turned else 0.0
    return Moved(float(sum(turned)), tries, len(turned), 1_000 * share.rate * average, 1_000 * share.low * low, 1_000 * share.high * high)  # fmt: skip


def _mean(amounts: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a mean of amounts."""
    if not amounts:
        return 0.0, 0.0
    middle = float(np.mean(amounts))
    if len(amounts) < 3:
        return min(amounts) if len(amounts) > 1 else 0.0, max(amounts) if len(amounts) > 1 else 2 * middle
    far = STUDENT.get(len(amounts) - 1, 2.1) * float(np.std(amounts, ddof=1)) / math.sqrt(len(amounts))
    return max(0.0, middle - far), middle + far


STUDENT = {2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23, 11: 2.20, 12: 2.18, 13: 2.16, 14: 2.14, 15: 2.13, 16: 2.12, 17: 2.11, 18: 2.10}  # fmt: skip
"""Two-sided 95 % points of Student's t by degrees of freedom; from 19 on, that of 19 is used."""
