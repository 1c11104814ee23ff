"""What one asker's rows are as a whole: a sweep, even coverage, the neighbourhood of the boundary, a data set, or inputs that move.

In: a block, the places of its askers, which rows are fresh. Out: what stands out. Counts alone are kept: a histogram a feature in BINS bins of a third of a deviation, rows near the boundary, the mean of each feature in up to PARTS parts of the asker's past (parts are joined in pairs
when all are full). Means are taken against everybody's at that time, so that an hour or a season in which all move is not one who moves.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from afterguard.watch.scored.alike import Found
from afterguard.watch.scored.block import Array, Block
from afterguard.watch.scored.ones import AT, BINS, PARTS, Ones

LEAST = 250
"""Different rows below which nothing is a copy."""
SWEEP = 0.8
"""Share of steps that change one feature only."""
UNIFORM = 0.13
"""Mean Kolmogorov distance to the uniform distribution up to which coverage is even."""
MARGIN = 0.07
FILLED = 8
"""Bins that must be filled before a feature says anything."""
WARM = 1_000
BAND = 0.1
"""Share of everybody's scores that lie in the band around the boundary."""
SCORES = 2_000
AGAIN = 500
"""Rows after which the band is worked out again."""
INSIDE, SHARE = 100, 0.5
UNLIKE = 0.5
"""Of everybody's spread that rows near the boundary must have: who has doubtful cases of one kind asks alike, who follows a boundary goes along it."""
HARVESTED = 2_000
UNIQUE = 0.97
TIMES = 20.0
OTHERS = 20
SINCE, LONG = 12 * 3600.0, 10 * 86_400.0
"""Who asked from the first half day on, or for longer than this, is an application: its key asks about everybody."""
MOVED = 1.0
"""Deviations by which a feature's mean must have moved, in small steps, to be a poisoner's."""
SURE = 8.0
"""Standard errors."""
MOVERS = 200
FAST = 500.0
"""Rows that everybody's mean of now looks back."""


class Everybody:
    """What all askers of a model do."""

    def __init__(self, width: int) -> None:
        self.bins = np.zeros((width, BINS))
        self.now = np.zeros(width)
        """Mean of the last rows, in deviations."""
        self.scores = np.zeros(0)
        self.choices: list[str] = []
        self.rows = 0
        self.began = 0.0
        self.worked = 0
        self.place = self.band = math.nan

    def learn(self, block: Block) -> None:
        """Take a block in."""
        if not self.rows:
            self.began = float(block.times[0])
        self.rows += len(block.ids)
        weight = 1 - math.exp(-len(block.ids) / FAST)
        self.now += (np.clip(block.standard, -6, 6).mean(axis=0) - self.now) * weight
        np.add.at(self.bins.reshape(-1), _bins(block.standard).ravel(), 1)
        if self.rows % 200_000 < len(block.ids):
            self.bins /= 2
        known = np.flatnonzero(np.isfinite(block.scores))
        self.scores = np.append(self.scores, block.scores[known])[-SCORES:]
        self.choices = [*self.choices, *(block.decisions[n] for n in known.tolist())][-SCORES:]
        if self.rows >= WARM and self.rows - self.worked >= AGAIN:
            self.worked = self.rows
            self._work()

    def _work(self) -> None:
        """Where decisions turn, and how wide the band is. Scores of one value make no band."""
        common = [name for name, _ in Counter(name for name in self.choices if name).most_common(2)]
        self.place = 0.5
        if len(common) == 2:
            choices = np.array(self.choices, dtype=object)
            low, high = (np.sort(self.scores[choices == one]) for one in common)
            if low[len(low) // 2] > high[len(high) // 2]:
                low, high = high, low
            self.place = float(low[len(low) * 98 // 100] + high[len(high) * 2 // 100]) / 2
        distances = np.sort(np.abs(self.scores - self.place))
        if not len(distances):
            return
        band = float(distances[int(BAND * len(distances))])
        self.band = band if band > 0 and distances[len(distances) // 2] > 1.5 * band else math.nan


def look(
    block: Block, rows: Array, places: Array, ones: Ones, everybody: Everybody, numeric: Array, *, is_warm: bool
) -> list[Found]:
    """Count rows that are fresh; what stands out. Called before alike.look, which counts them as different."""
    own = places[rows]
    if not len(rows) or not is_warm:
        return []
    _changes(block.values[rows], own, ones)
    at_own = own[:, None] * (ones.width * BINS)
    np.add.at(ones.bins.reshape(-1), (at_own + _bins(block.standard[rows])).ravel(), 1)
    found = _boundary(block.scores[rows], own, ones, everybody)
    _parts(np.clip(block.standard[rows], -6, 6) - everybody.now, own, ones)
    for at in np.unique(own).tolist():
        if ones.different[at] >= max(LEAST, int(ones.due[at, AT["model_extraction"]])):
            ones.due[at, AT["model_extraction"]] = ones.different[at] * 4 // 3
            says = _sweeps(ones, at) or _covers(ones, at, everybody, numeric)
            if says:
                found.append(Found(at, "model_extraction", f"{ones.different[at]} different inputs: {says}"))
            says = _moves(ones, at, numeric)
            if says:
                found.append(Found(at, "poisoning_suspected", says))
            says = _harvests(ones, at, everybody.began)
            if says:
                found.append(Found(at, "label_harvesting", says))
    return found


def _bins(standard: Array) -> Array:
    """Where in a row of histograms each value falls."""
    place = np.clip((standard + BINS / 6) * 3, 0, BINS - 1).astype(np.int64)
    out: Array = place + np.arange(standard.shape[1]) * BINS
    return out


def _changes(values: Array, own: Array, ones: Ones) -> None:
    """Count steps that change one feature only."""
    first = np.append(True, own[1:] != own[:-1])
    before = np.vstack([np.full((1, values.shape[1]), np.nan), values[:-1]])
    before[first] = ones.before[own[first]]
    same = (values == before) | (np.isnan(values) & np.isnan(before))
    np.add.at(ones.single, own, (~same).sum(axis=1) == 1)
    last = np.append(own[1:] != own[:-1], True)
    ones.before[own[last]] = values[last]


def _sweeps(ones: Ones, at: int) -> str:
    share = ones.single[at] / ones.different[at]
    return f"{share:.0%} of its steps change one feature only, a sweep" if share >= SWEEP else ""


def _covers(ones: Ones, at: int, everybody: Everybody, numeric: Array) -> str:
    own = ones.bins[at].astype(float)
    others = np.maximum(everybody.bins - own, 0)
    if others.sum(axis=1).max() < LEAST:
        return ""
    pairs = [(uneven(own[n]), uneven(others[n])) for n in numeric.tolist()]
    usable = [(a, b) for a, b in pairs if a < 2 and b < 2]
    if len(usable) < 2:
        return ""
    mine, theirs = (float(np.mean(column)) for column in zip(*usable, strict=True))
    if mine <= UNIFORM and theirs >= mine + MARGIN:
        return f"they cover the input space evenly (distance to uniform {mine:.2f}, others {theirs:.2f})"
    return ""


def uneven(counts: Array) -> float:
    """Kolmogorov distance of a histogram to the uniform distribution over its 1st to 99th percentile; 2 where unknown."""
    total = counts.sum()
    if total < 50 or np.count_nonzero(counts) < FILLED:
        return 2.0
    edges, above = np.arange(len(counts) + 1), np.append(0.0, np.cumsum(counts) / total)
    low, high = np.interp([0.01, 0.99], above, edges)
    if high <= low:
        return 2.0
    return float(np.abs(above - np.clip((edges - low) / (high - low), 0, 1)).max())


def _boundary(scores: Array, own: Array, ones: Ones, everybody: Everybody) -> list[Found]:
    if everybody.band != everybody.band:
        return []
    known = np.isfinite(scores)
    np.add.at(ones.scored, own[known], 1)
    near = own[known & (np.abs(scores - everybody.place) <= everybody.band)]
    np.add.at(ones.inside, near, 1)
    some = np.unique(near)
    some = some[(ones.scored[some] >= INSIDE) & (ones.inside[some] >= SHARE * ones.scored[some])]
    return [
        Found(
            at,
            "boundary",
            f"{ones.inside[at]} of {ones.scored[at]} different inputs lie within {everybody.band:.3g} of the score {everybody.place:.3g} where decisions turn; {BAND:.0%} of everybody's do",
        )
        for at in some.tolist()
        if _unlike(ones.bins[at], everybody.bins) >= UNLIKE
    ]


def _unlike(own: Array, everybody: Array) -> float:
    """How much rows of one vary, as a share of what everybody's do: the middle over the features."""
    place = np.arange(BINS)
    spread = []
    for counts in (own.astype(float), everybody):
        total = np.maximum(counts.sum(axis=1), 1)
        mean = counts @ place / total
        spread.append(counts @ place**2 / total - mean**2)
    usable = spread[1] > 0.1
    return float(np.median(spread[0][usable] / spread[1][usable])) if usable.any() else 0.0


def _harvests(ones: Ones, at: int, began: float) -> str:
    if ones.first[at] - began < SINCE or ones.last[at] - ones.first[at] > LONG:
        return ""
    different, asked = int(ones.different[at]), int(ones.asked[at])
    if different < HARVESTED or different < UNIQUE * asked:
        return ""
    others = np.sort(np.delete(ones.different[: len(ones.names)], at))
    if len(others) < OTHERS:
        return ""
    usual = max(1.0, float(others[-max(1, len(others) // 20)]))
    if different < TIMES * usual:
        return ""
    hours = (ones.last[at] - ones.first[at]) / 3600
    return f"{different} different inputs judged in {hours:.1f} hours, {different / usual:.0f} times as many as the busiest twentieth of {len(others)} others"


# -- one whose inputs move


def _parts(away: Array, own: Array, ones: Ones) -> None:
    """Add rows to the part of their askers' past that is open; a part that is full is closed."""
    np.add.at(ones.part_sum, (own, ones.part[own]), away)
    np.add.at(ones.part_count, (own, ones.part[own]), 1)
    some = np.unique(own)
    full = some[ones.part_count[some, ones.part[some]] >= ones.part_size[some]]
    ones.part[full] += 1
    for at in full[ones.part[full] == PARTS].tolist():
        for counts in (ones.part_sum, ones.part_count):
            counts[at, : PARTS // 2] = counts[at, ::2] + counts[at, 1::2]
            counts[at, PARTS // 2 :] = 0
        ones.part[at] = PARTS // 2
        ones.part_size[at] *= 2


def _moves(ones: Ones, at: int, numeric: Array) -> str:
    """Whether the mean of a feature moved far, in one direction, in small steps."""
    parts = int(ones.part[at])
    if parts < 6 or ones.different[at] < MOVERS or not len(numeric):
        return ""
    count = ones.part_count[at, :parts].astype(float)
    means = ones.part_sum[at, :parts][:, numeric] / count[:, None]
    steps = np.diff(means, axis=0)
    moved = means[-2:].mean(axis=0) - means[:2].mean(axis=0)
    error = 1.2 / math.sqrt(2 * float(count.mean())) * math.sqrt(2)
    even = (np.sign(steps) == np.sign(moved)).mean(axis=0)
    far = (np.abs(moved) >= MOVED) & (np.abs(moved) / error >= SURE) & (even >= 0.7)
    if not far.any():
        return ""
    which = int(np.argmax(np.where(far, np.abs(moved), 0)))
    return f"feature {numeric[which]} of its {int(count.sum())} inputs moved by {moved[which]:+.1f} deviations in small steps, while everybody's did not"
