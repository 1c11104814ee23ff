"""A model that is another one although nobody said so: the same inputs get other answers, or inputs like those before get other scores.

In: blocks. Out: what stands out. Bounded: INPUTS inputs by hash, FIT rows while learning. A declared new version starts anew and is no alert; a model that was never steady (sampling, features of its own) is judged by how unsteady it was.

Theory of operation. Scores (as log odds where they are probabilities) of the first FIT rows are explained by their features: each, and where rows suffice each pair, by ridge regression. What is left over in the next CHECK rows says which remainder is rare. Afterwards rows whose features lie among those of
the fit are counted: where far more of the last WINDOW are rare remainders than ever were, the model is another, also when only a part of the callers gets it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from afterguard.model import Confidence
from afterguard.watch.alarm import Moment
from afterguard.watch.scored.block import Array, Block

INPUTS = 20_000
REPEATS = 20
CHANGED = 0.5
STEADY = 0.1
FIT, CHECK, WINDOW = 600, 400, 400
EACH = 6
"""Rows of the fit for each weight."""
INSIDE = 3.5
"""Deviations up to which a feature is like those before."""
RARE = 0.01
SHARE = 0.06
"""Of rare remainders in a window."""
TIMES = 4.0
MATERIAL = 0.05
"""How large rare remainders must be, in deviations of the scores: a fit that leaves next to nothing over would make much of little."""
WORDS = 6
LIMIT = 1e9
EDGE = 2e-3


class Swap(NamedTuple):
    """Another model."""

    moments: list[Moment]
    version: str
    says: str
    would_change: str
    confidence: Confidence


class Swapped:
    """State of one model."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._start("")

    def _start(self, version: str) -> None:
        self.version = version
        self.young: dict[int, tuple[float, str]] = {}
        self.old: dict[int, tuple[float, str]] = {}
        self.repeats: list[tuple[bool, str, float]] = []
        self.steady = self.unsteady = 0
        self.rows = np.zeros((0, self.width))
        self.scores = np.zeros(0)
        self.words: list[tuple[int, float]] = []
        self.pairs = False
        self.weights: Array = np.zeros(0)
        self.middle = np.zeros(self.width)
        self.scale = np.ones(self.width)
        self.spread = 0.0
        self.limit = math.inf
        self.usual = 0.0
        self.is_whole = True
        """Whether rows usually have all their features."""
        self.left = np.zeros(0)
        self.last: list[tuple[bool, float, str, float]] = []
        self.since = 0
        self.told = False

    def look(self, block: Block) -> tuple[list[Swap], Array]:
        """(what stands out, which rows have inputs that were not asked before)."""
        new = np.ones(len(block.ids), dtype=bool)
        out: list[Swap] = []
        cuts = [n for n in range(1, len(block.ids)) if block.versions[n] != block.versions[n - 1]]
        for begin, end in zip([0, *cuts], [*cuts, len(block.ids)], strict=True):
            if block.versions[begin] != self.version:
                self._start(block.versions[begin])
            found = self._repeated(block, begin, end, new) or self._other(block, slice(begin, end))
            if found is not None and not self.told:
                self.told = True
                out.append(found)
        return out, new

    def _repeated(self, block: Block, begin: int, end: int, new: Array) -> Swap | None:
        found = None
        scores, choices = block.scores[begin:end].tolist(), block.decisions[begin:end]
        for n, mark, score, choice in zip(
            range(begin, end), block.marks[begin:end].tolist(), scores, choices, strict=True
        ):
            before = self.young.get(mark) or self.old.get(mark)
            if score != score and not choice:
                new[n] = before is None
                continue
            self.young[mark] = (score, choice)
            if before is not None:
                new[n] = False
                is_other = before[1] != choice or not _is_same(before[0], score)
                found = self._answered(is_other, block.ids[n], float(block.times[n])) or found
        if len(self.young) >= INPUTS // 2:
            self.old, self.young = self.young, {}
        return found

    def _answered(self, is_other: bool, identifier: str, time: float) -> Swap | None:
        """An input that was asked before."""
        if len(self.repeats) == REPEATS:
            was = self.repeats.pop(0)[0]
            self.unsteady += was
            self.steady += not was
        self.repeats.append((is_other, identifier, time))
        changed, past = sum(one for one, _, _ in self.repeats), self.steady + self.unsteady
        usual = self.unsteady / past if past else 0.0
        if past < REPEATS or usual > STEADY or changed < max(CHANGED, 4 * usual) * REPEATS:
            return None
        return Swap(
            [(name, at) for one, name, at in self.repeats if one],
            self.version,
            f"{changed} of the last {REPEATS} inputs that were asked before got another answer; until then {usual:.0%} of {past} did, and no new version was named",
            "a release that does not name its version, or features that the server adds itself",
            Confidence.high,
        )

    # -- inputs like those before

    def _other(self, block: Block, part: slice) -> Swap | None:
        rows = np.flatnonzero(_is_open(block.scores[part])) + part.start
        if not len(rows):
            return None
        values, scores = block.values[rows], _logit(block.scores[rows])
        if not len(self.weights):
            self.rows, self.scores = np.vstack([self.rows, values]), np.append(self.scores, scores)
            if len(self.rows) >= FIT:
                self._fit()
            return None
        inside = self._inside(values)
        left = np.abs(scores[inside] - self._features(values[inside]) @ self.weights)
        if self.limit == math.inf:
            self.left = np.append(self.left, left)
            if len(self.left) >= CHECK:
                self.limit = max(float(np.quantile(self.left, 1 - RARE)), MATERIAL * self.spread)
                self.left = np.zeros(0)
            return None
        some = rows[inside]
        self.last += zip(
            (left > self.limit).tolist(), left.tolist(), [block.ids[n] for n in some.tolist()], block.times[some].tolist(), strict=True
        )  # fmt: skip
        self.since += len(some)
        self.last = self.last[-WINDOW:]
        if len(self.last) < WINDOW or self.since < WINDOW // 4:
            return None
        self.since = 0
        return self._judge()

    def _judge(self) -> Swap | None:
        rare: list[Moment] = [(name, time) for is_rare, _, name, time in self.last if is_rare]
        share = len(rare) / WINDOW
        if share < max(SHARE, TIMES * max(RARE, self.usual)):
            if share <= 2 * max(RARE, self.usual) + RARE:
                self.usual += (share - self.usual) / 20
                self.told = False  # the model is itself again
            return None
        return Swap(
            rare,
            self.version,
            f"for inputs like those before {share:.0%} of the last {WINDOW} scores are farther from what their features explain than {max(RARE, self.usual):.1%} were, and no new version was named",
            "a release that does not name its version, or a change of what the scores depend on beside the inputs",
            Confidence.medium,
        )

    def _fit(self) -> None:
        values = self.rows
        text = [place for place in range(self.width) if np.nanmin(values[:, place], initial=0.0) < -(2.0**51)]
        self.words = [(place, float(one)) for place in text for one in _common(values[:, place])]
        known = np.where(np.abs(values) < LIMIT, values, np.nan)
        with np.errstate(all="ignore"):
            count = np.isfinite(known).sum(axis=0)
            self.middle = np.where(count, np.nansum(known, axis=0) / np.maximum(count, 1), 0.0)
            scale = np.sqrt(np.nansum((known - self.middle) ** 2, axis=0) / np.maximum(count, 1))
        self.scale = np.where(scale > 0, scale, 1.0)
        self.is_whole = bool(np.isnan(values).any(axis=1).mean() < 0.5)
        width = self.width - len(text)
        self.pairs = EACH * (1 + width + width * (width + 1) // 2 + len(self.words)) <= FIT
        plain = self._features(values)
        size = plain.shape[1]
        weights: Array = np.linalg.solve(plain.T @ plain + 0.1 * np.eye(size), plain.T @ self.scores)
        self.spread = float(self.scores.std())
        self.weights = weights
        self.rows, self.scores = np.zeros((0, self.width)), np.zeros(0)

    def _inside(self, values: Array) -> Array:
        away = np.abs(np.where(np.isnan(values), self.middle, values) - self.middle) / self.scale
        numbers = [place for place in range(self.width) if place not in {one for one, _ in self.words}]
        inside = (away[:, numbers] <= INSIDE).all(axis=1)
        if self.is_whole:
            inside &= ~np.isnan(values).any(axis=1)
        found: Array = np.flatnonzero(inside)
        return found

    def _features(self, values: Array) -> Array:
        """What scores are explained by; what is missing is 0 for most models, or the middle: a column of its own says which."""
        numbers = [place for place in range(self.width) if place not in {one for one, _ in self.words}]
        missing = np.isnan(values[:, numbers])
        plain = np.where(missing, 0.0, (values[:, numbers] - self.middle[numbers]) / self.scale[numbers]).clip(-6, 6)
        columns = [np.ones((len(values), 1)), plain]
        if self.pairs:
            one, two = np.triu_indices(len(numbers))
            columns.append(plain[:, one] * plain[:, two])
        if self.words:
            columns.append(np.stack([values[:, place] == word for place, word in self.words], axis=1).astype(float))
        return np.hstack(columns)


def _common(values: Array) -> Array:
    found, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    return found[np.argsort(-counts)[:WORDS]]


def _logit(scores: Array) -> Array:
    """Probabilities as log odds, anything else as it is."""
    is_share = (scores >= 0) & (scores <= 1)
    inside = np.clip(np.where(is_share, scores, 0.5), EDGE, 1 - EDGE)
    return np.where(is_share, np.log(inside / (1 - inside)), np.clip(scores, -LIMIT, LIMIT))


def _is_open(scores: Array) -> Array:
    """Which scores say something: a share at its end hides how far beyond it the model would be."""
    is_edge = (
        (scores >= 0) & (scores <= 1) & ((scores <= EDGE) | (scores >= 1 - EDGE)) & ((scores != 0) & (scores != 1))
    )
    found: Array = np.isfinite(scores) & ~is_edge
    return found


def _is_same(a: float, b: float) -> bool:
    return (a != a and b != b) or abs(a - b) <= 1e-6 * max(1.0, abs(a))
