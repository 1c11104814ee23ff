"""Which questions are far from what the application is usually asked, by their 64-bit sketches alone.

In: SimHash sketches (Charikar 2002). Out: which are far off. A mixture of GROUPS Bernoulli vectors is learnt from the first FIRST sketches and then
slowly from what is familiar only, by the clock and not by the count: far off is what fits none of them, below what all but FEW in a thousand fit, and that line moves at most a
step a day. So somebody who asks much can move neither to where he is.
"""

from __future__ import annotations

import numpy as np

from afterguard.watch.seen import Numbers

GROUPS = 24
FIRST = 3_000
MOST = 50_000
"""Questions of an hour by which the line is moved."""
FEW = 5
STEP = 0.5
LEAST = 20
"""Questions from which a group learns."""
DAY = 86_400.0
EDGE = 0.02
MEMORY = 7.0
"""Days a group is the mean of."""


class Topics:
    """What one application is asked."""

    def __init__(self) -> None:
        self.first: list[int] = []
        self.odds = np.zeros((0, 64))
        self.line = 0.0
        self.fits: list[float] = []
        self.moved = 0.0
        self.asked = np.zeros((0, 65))
        """Familiar questions since the groups moved: sums of bits, and how many, a group."""

    def far(self, sketches: Numbers, now: float, is_learning: bool) -> Numbers:
        """True where a question fits no usual topic; all False while too little is known."""
        if not len(self.odds):
            self.first += sketches[: FIRST - len(self.first)].tolist()
            if len(self.first) >= FIRST:
                self._begin(now)
            return np.zeros(len(sketches), dtype=bool)
        bits = _bits(sketches)
        fits, nearest = self._fit(bits)
        far: Numbers = fits < self.line
        self._learn(bits[~far], nearest[~far])
        self._move(fits, now, is_learning)
        return far

    def _begin(self, now: float) -> None:
        bits = _bits(np.array(self.first, dtype=np.uint64))
        self.odds = _clusters(bits)
        fits, _ = self._fit(bits)
        self.line, self.moved, self.first = float(np.quantile(fits, FEW / 1000)), now, []

    def _fit(self, bits: Numbers) -> tuple[Numbers, Numbers]:
        scores = bits @ np.log(self.odds / (1 - self.odds)).T + np.log(1 - self.odds).sum(axis=1)
        return scores.max(axis=1), scores.argmax(axis=1)

    def _learn(self, bits: Numbers, nearest: Numbers) -> None:
        if len(self.asked) != len(self.odds):
            self.asked = np.zeros((len(self.odds), 65))
        for group in np.unique(nearest):
            mine = bits[nearest == group]
            self.asked[group, :64] += mine.sum(axis=0)
            self.asked[group, 64] += len(mine)

    def _move(self, fits: Numbers, now: float, is_learning: bool) -> None:
        self.fits += fits[: MOST - len(self.fits)].tolist()
        if len(self.fits) < FIRST or now - self.moved < DAY / 24:
            return
        passed, self.moved = now - self.moved, now
        wanted = float(np.quantile(self.fits, FEW / 1000)) - self.line
        self._shift(min(0.2, passed / (MEMORY * DAY) * (10 if is_learning else 1)))
        step = STEP * passed / DAY * (20 if is_learning else 1)
        self.line += min(step, max(-step, wanted))
        self.fits = []

    def _shift(self, pace: float) -> None:
        """Move each group towards what was asked since, by so much whatever the number."""
        for group in np.flatnonzero(self.asked[:, 64] >= LEAST):
            self.odds[group] += (self.asked[group, :64] / self.asked[group, 64] - self.odds[group]) * pace
        np.clip(self.odds, EDGE, 1 - EDGE, out=self.odds)
        self.asked[:] = 0


def _bits(sketches: Numbers) -> Numbers:
    raw = np.ascontiguousarray(sketches.astype(">u8")).view(np.uint8).reshape(-1, 8)
    return np.unpackbits(raw, axis=1).astype(np.float64)


def _clusters(bits: Numbers) -> Numbers:
    """k-means, begun with the points that are farthest from each other."""
    centres = [bits.mean(axis=0)]
    nearest = ((bits - centres[0]) ** 2).sum(axis=1)
    for _ in range(GROUPS - 1):
        # Not the farthest itself, which is an outlier: the one at nine tenths.
        place = int(np.argsort(nearest, kind="stable")[int(len(bits) * 0.9)])
        centres.append(bits[place])
        nearest = np.minimum(nearest, ((bits - bits[place]) ** 2).sum(axis=1))
    odds = np.array(centres)
    for _ in range(6):
        owner = (bits @ odds.T - (odds**2).sum(axis=1) / 2).argmax(axis=1)
        for group in range(GROUPS):
            if (owner == group).any():
                odds[group] = bits[owner == group].mean(axis=0)
    counts = np.bincount(owner, minlength=GROUPS)
    kept: Numbers = np.clip(odds[counts >= 20], EDGE, 1 - EDGE)
    return kept
