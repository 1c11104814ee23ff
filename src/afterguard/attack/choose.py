"""Which trial comes next, and when enough is known.

In: a seed, techniques with their variants, results so far in order. Out: the next `Pick`, or None. The same seed and the same results give the same picks, so a run that was interrupted goes on to where it would have come.

Theory of operation. First every technique is tried `LEAST` times, every variant once. Then the next trial goes where it narrows an interval most: to the technique whose 95 % interval is widest, a little more so where something
was found. Which of its variants, is drawn by Thompson sampling (a Beta of its successes and failures), so those that work are tried more. A technique is done when its interval is narrower than `width`, or nothing can be assessed.
"""

from __future__ import annotations

import hashlib
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


def following(seed: str, techniques: Sequence[Technique], past: Sequence[Past], width: float = 0.35) -> Pick | None:
    """The next trial, or None where every technique is done."""
    best: tuple[float, Technique] | None = None
    for technique in techniques:
        need = _need(technique, [one for one in past if one.pick.technique == technique.id], width)
        if need > 0 and (best is None or need > best[0]):
            best = need, technique
    if best is None:
        return None
    technique = best[1]
    mine = [one for one in past if one.pick.technique == technique.id]
    variant = _variant(f"{seed} {technique.id} {len(mine)}", technique, mine)
    return Pick(technique.id, variant, sum(one.pick.variant == variant for one in mine))


def _need(technique: Technique, mine: list[Past], width: float) -> float:
    """How much one more trial of this one would tell; 0 where it is done."""
    last = [one.verdict for one in mine[-HOPELESS:]]
    if len(mine) >= MOST or (len(last) == HOPELESS and all(one is Verdict.not_assessed for one in last)):
        return 0.0
    known = [one for one in mine if one.verdict is not Verdict.not_assessed]
    if len(mine) < max(LEAST, len(technique.variants)) or len(known) < LEAST:
        return 3.0 - len(mine) / MOST
    hits = sum(one.verdict is Verdict.succeeded for one in known)
    share = wilson(hits, len(known))
    wide = share.high - share.low
    return wide * (1 + 0.25 * bool(hits)) if wide > width else 0.0


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
