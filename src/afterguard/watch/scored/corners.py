"""Copying that is spread over many callers: queries begin to fill the corners of the input space, in every direction at once; drift moves in one.

In: blocks. Out: what stands out. Bounded: a sample of SAMPLE rows, the last RARE rare ones.

Rare is a row farther from the middle, in the metric of the sample (Mahalanobis, the covariance shrunk towards its diagonal), than 95 % of it. Copying is a share of rare rows well above 5 % whose directions are spread evenly: the mean of their unit
vectors is near zero, and so is what any one direction explains of them. The sample also says how near to each other rows of different callers come by chance.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from afterguard.watch.alarm import Moment
from afterguard.watch.scored.alike import NEAR
from afterguard.watch.scored.block import Array, Block, Reservoir

WARM = 1_000
SAMPLE = 1_500
LEAST_SAMPLE = 400
RARE = 240
BATCH = 1_000
"""Rows after which the share of rare ones is judged."""
USUAL = 0.05
DEVIATIONS = 6.0
EVEN = 0.25
"""Length of the mean direction of rare rows up to which they go everywhere."""
QUIET = 24 * 3600.0
CHANCE = 0.002
"""Of pairs of rows of the sample that may be near."""
FIRST = 2_000


class Copied(NamedTuple):
    """Queries in every corner."""

    moments: list[Moment]
    callers: list[str]
    says: str


class Corners:
    """State of one model."""

    def __init__(self, width: int) -> None:
        self.sample = Reservoir(SAMPLE, width)
        self.pairs = Reservoir(SAMPLE, width)
        """The same rows as places, for distances."""
        self.near = NEAR
        self.middle = np.zeros(width)
        self.root = np.eye(width)
        self.limit = math.inf
        self.due = WARM
        self.white = np.zeros((RARE, width), dtype=np.float32)
        self.who: list[str] = [""] * RARE
        self.moments: list[Moment] = [("", 0.0)] * RARE
        self.rare = 0
        self.counted = self.far = 0
        self.quiet = -math.inf

    def look(self, block: Block, caps: Array) -> list[Copied]:
        """Count rows, and take them into the sample."""
        found = self._counted(block) if self.limit < math.inf else []
        self.sample.add(block.standard, block.marks)
        self.pairs.add(block.places, block.marks)
        if self.sample.seen >= self.due and self.sample.filled >= LEAST_SAMPLE:
            self.due = min(2 * self.sample.seen, self.sample.seen + 10_000)
            self._measure()
            self._nearness(caps)
        return found

    def _counted(self, block: Block) -> list[Copied]:
        if block.standard.shape[1] < 3:
            return []
        white = (block.standard - self.middle) @ self.root
        lengths = np.sqrt((white * white).sum(axis=1))
        far = np.flatnonzero(lengths > self.limit)
        self.counted += len(block.ids)
        self.far += len(far)
        for n in far.tolist():
            at = self.rare % RARE
            self.white[at], self.who[at] = white[n] / lengths[n], block.who["caller"][n]
            self.moments[at] = (block.ids[n], float(block.times[n]))
            self.rare += 1
        if self.counted < BATCH:
            return []
        return self._judge(float(block.times[-1]))

    def _judge(self, now: float) -> list[Copied]:
        counted, far, self.counted, self.far = self.counted, self.far, 0, 0
        error = math.sqrt(USUAL * (1 - USUAL) * (1 / counted + 1 / SAMPLE))
        if (far / counted - USUAL) / error < DEVIATIONS or 0 <= now - self.quiet < QUIET:
            return []
        newest = [(self.rare - 1 - n) % RARE for n in range(min(far, RARE, self.rare))]
        directions = self.white[newest].astype(float)
        drift = float(np.linalg.norm(directions.mean(axis=0)))
        main = float(np.linalg.eigvalsh(directions.T @ directions / len(directions))[-1])
        if drift > EVEN or main > max(3.0 / directions.shape[1], 0.5):
            return []
        self.quiet = now
        callers = [name for name, _ in Counter(self.who[n] for n in newest if self.who[n]).most_common()]
        says = f"{far / counted:.0%} of the last {counted} inputs are as rare as {USUAL:.0%} usually are, and they go in every direction (mean direction {drift:.2f}); {len(callers)} callers among the last {len(newest)}"
        return [Copied([self.moments[n] for n in newest[::-1]], callers, says)]

    def _measure(self) -> None:
        """Middle, whitening matrix of the shrunk covariance, and the distance that 5 % of the rows exceed."""
        rows = self.sample.taken.astype(float)
        self.middle = np.median(rows, axis=0)
        width = rows.shape[1]
        covariance = np.atleast_2d(np.cov(np.clip(rows - self.middle, -6, 6), rowvar=False))
        weight = min(1.0, 0.05 + width / len(rows))
        shrunk = (1 - weight) * covariance + weight * np.diag(np.diag(covariance)) + 1e-3 * np.eye(width)
        values, vectors = np.linalg.eigh(shrunk)
        self.root = vectors @ np.diag(np.maximum(values, 1e-6) ** -0.5) @ vectors.T
        lengths = np.sqrt((((rows - self.middle) @ self.root) ** 2).sum(axis=1))
        self.limit = float(np.quantile(lengths, 1 - USUAL))

    def _nearness(self, caps: Array) -> None:
        """How near rows may be: where few or coarse features make all rows alike, only nearer ones are near."""
        rows = self.pairs.taken
        half = len(rows) // 2
        apart = [
            np.minimum((rows[:half] - np.roll(rows[half : 2 * half], turn, axis=0)) ** 2, caps).mean(axis=1)
            for turn in range(8)
        ]
        usual = math.sqrt(float(np.quantile(np.concatenate(apart), CHANCE)))
        self.near = min(NEAR, usual / 2)
