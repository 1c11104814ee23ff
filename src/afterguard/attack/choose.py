"""Which trial comes next, and when enough is known.

In: a seed, techniques with their variants, results so far in order, how many requests they may take. Out: the next `Pick`, or None. The same seed and the same results give the same picks, so a run that was interrupted goes on to where it
would have come; how many requests there are decides only where it ends.

Theory of operation. In the first round every technique gets `LEAST` trials that say something, its variants in the order in which its file names them, the strongest first: forty techniques take some two hundred requests. From then on
the next trial goes where a request tells most: to the technique whose 95 % interval is widest for what a trial of it costs, more so where something was found and where a variant has not been tried. Which of its variants, once all were
tried, is drawn by Thompson sampling (a Beta of its successes and failures), so those that work are tried more. A technique is done when all its variants were tried and its interval is narrower than `width`, or when nothing can be
assessed. The run is done when every technique is, or when the next trial might take more than is left. Less than a first round is never called done: whoever counts the requests has to stop it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from afterguard.attack.contract import Technique
from afterguard.attack.trial import Verdict
from afterguard.shares import wilson

LEAST = 3
HOPELESS = 4
"""Trials in a row that could not be assessed, after which a technique is left."""
MOST = 40
"""Trials of one technique."""
CLEANING = 3
"""Requests kept for a clean-up."""
WIDTH = 0.35
SPARE = 0.03
"""Of the requests, kept for those that have to be sent again."""


class Pick(NamedTuple):
    """One trial."""

    technique: str
    variant: str
    round: int
    """How many trials of this technique and variant came before."""


class Past(NamedTuple):
    """One that is over."""

    pick: Pick
    verdict: Verdict
    requests: int = 1
    """What it took, with its twin."""


def following(
    seed: str, techniques: Sequence[Technique], past: Sequence[Past], requests: int, width: float = WIDTH
) -> Pick | None:
    """The next trial, or None where every technique is done or the requests, all of them from the beginning, are used up."""
    by: dict[str, list[Past]] = {technique.id: [] for technique in techniques}
    for one in past:
        by.setdefault(one.pick.technique, []).append(one)
    needs = [(_need(technique, by[technique.id], width), technique) for technique in techniques]
    need, technique = max(needs, key=lambda one: one[0], default=(0.0, None))
    if technique is None or need <= 0:
        return None
    mine = by[technique.id]
    left = requests * (1 - SPARE) - sum(one.requests for one in past)
    if not _is_first(mine) and 2 * technique.turns + (CLEANING if technique.clean else 0) > left:
        return None
    variant = _variant(f"{seed} {technique.id} {len(mine)}", technique, mine)
    return Pick(technique.id, variant, sum(one.pick.variant == variant for one in mine))


def trials(width: float = WIDTH) -> int:
    """How many trials without a success make an interval that narrow."""
    return next(n for n in itertools.count(LEAST) if _wide(0, n) <= width)


def _need(technique: Technique, mine: list[Past], width: float) -> float:
    """How much a request spent on this one would tell; 0 where it is done."""
    last = [one.verdict for one in mine[-HOPELESS:]]
    if len(mine) >= MOST or (len(last) == HOPELESS and all(one is Verdict.not_assessed for one in last)):
        return 0.0
    if _is_first(mine):
        return 1_000.0 - len(mine)
    known = [one.verdict for one in mine if one.verdict is not Verdict.not_assessed]
    hits = known.count(Verdict.succeeded)
    is_new = len({one.pick.variant for one in mine}) < len(technique.variants)
    wide = _wide(hits, len(known))
    if wide <= width and not is_new:
        return 0.0
    cost = sum(one.requests for one in mine) / len(mine)
    return wide * (1 + 0.25 * bool(hits) + 0.25 * is_new) / max(1.0, cost)


def _is_first(mine: list[Past]) -> bool:
    """Whether it is still in its first round."""
    return sum(one.verdict is not Verdict.not_assessed for one in mine) < LEAST


def _wide(hits: int, of: int) -> float:
    share = wilson(hits, of)
    return share.high - share.low


def _variant(seed: str, technique: Technique, mine: list[Past]) -> str:
    tried = [one.pick.variant for one in mine]
    for variant in technique.variants:
        if variant not in tried:
            return variant
    drawn = np.random.default_rng(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big"))
    odds = {}
    for variant in technique.variants:
        some = [one.verdict for one in mine if one.pick.variant == variant]
        odds[variant] = drawn.beta(
            1 + some.count(Verdict.succeeded), 1 + some.count(Verdict.resisted) + some.count(Verdict.not_assessed)
        )
    return max(odds, key=odds.__getitem__)
