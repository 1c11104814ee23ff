"""A copy of a model, learned from what it answered: a logistic regression and a small tree, whichever holds better on answers it did not see.

In: rows, decisions, scores where there are any. Out: a function from rows to decisions. numpy alone; same input, same copy.
Sources: iteratively reweighted least squares; CART (Breiman et al. 1984), its Gini impurity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from afterguard.attack.scoring.contract import Cell, Row
from afterguard.attack.scoring.space import is_number

Array = np.ndarray[Any, Any]
Copy = Callable[[Array], Array]
"""Rows as numbers -> how likely each is granted."""
FOLDS = 4
DEPTH = 6
LEAF = 3
ROUNDS = 30
CATEGORIES = 20
RIDGE = (1e-3, 1e-1)


class Spelling(NamedTuple):
    """How rows become numbers: each feature in its own unit, each category a column."""

    numbers: tuple[tuple[str, float, float], ...]
    categories: tuple[tuple[str, Cell], ...]

    def of(self, rows: Sequence[Row]) -> Array:
        """One line a row."""
        out = np.zeros((len(rows), len(self.numbers) + len(self.categories)))
        for at, row in enumerate(rows):
            for column, (name, middle, wide) in enumerate(self.numbers):
                value = row.get(name)
                out[at, column] = (float(value) - middle) / wide if is_number(value) else 0.0
            for column, (name, one) in enumerate(self.categories, len(self.numbers)):
                out[at, column] = row.get(name) == one
        return out


def spelling(rows: Sequence[Row]) -> Spelling:
    """How these rows become numbers."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    numbers, categories = [], []
    for name in names:
        have = [float(value) for row in rows if is_number(value := row.get(name))]
        if have:
            numbers.append((name, float(np.mean(have)), float(np.std(have)) or 1.0))
        else:
            categories += [(name, one) for one in dict.fromkeys(row.get(name) for row in rows if row.get(name) is not None)][:CATEGORIES]  # fmt: skip
    return Spelling(tuple(numbers), tuple(categories))


def copied(points: Array, granted: Array, scores: Array | None, seed: int = 0) -> Copy:
    """The copy that holds best on parts that were left out."""
    makers: list[Callable[[Array, Array], Copy]] = [partial(logistic, ridge=ridge) for ridge in RIDGE]
    soft = granted if scores is None else scores
    tried = [(maker, goal) for maker in makers for goal in ([granted, soft] if scores is not None else [granted])]
    tried.append((tree, granted))
    part = np.random.default_rng(seed).permutation(len(points)) % FOLDS
    best = max(range(len(tried)), key=lambda n: _holds(*tried[n], points, granted, part))
    maker, goal = tried[best]
    return maker(points, goal)


def _holds(maker: Callable[[Array, Array], Copy], goal: Array, points: Array, granted: Array, part: Array) -> float:
    right = 0
    for fold in range(FOLDS):
        out = part == fold
        if not out.any() or out.all():
            continue
        copy = maker(points[~out], goal[~out])
        right += int(((copy(points[out]) >= 0.5) == (granted[out] >= 0.5)).sum())
    return right / len(points)


def logistic(points: Array, goal: Array, ridge: float) -> Copy:
    """A logistic regression; the goal may be anything from 0 to 1."""
    x = np.column_stack([np.ones(len(points)), points])
    weights = np.zeros(x.shape[1])
    penalty = ridge * len(x) * np.eye(x.shape[1])
    penalty[0, 0] = 1e-9
    for _ in range(ROUNDS):
        p = _sigmoid(x @ weights)
        slope = x.T @ (goal - p) - penalty @ weights
        bend = (x * np.maximum(p * (1 - p), 1e-6)[:, None]).T @ x + penalty
        step = np.linalg.lstsq(bend, slope, rcond=None)[0]
        weights = weights + np.clip(step, -4, 4)
        if np.abs(step).max() < 1e-8:
            break
    return lambda more: _sigmoid(np.column_stack([np.ones(len(more)), more]) @ weights)


def _sigmoid(z: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(z, -60, 60)))
    return found


class Node(NamedTuple):
    """A question, or a leaf where `column` is negative."""

    column: int
    bound: float
    share: float
    low: Node | None = None
    high: Node | None = None


def tree(points: Array, goal: Array) -> Copy:
    """A small decision tree."""
    root = _grown(points, goal, 0)
    return lambda more: np.array([_leaf(root, one) for one in more])


def _leaf(node: Node, point: Array) -> float:
    while node.low is not None and node.high is not None:
        node = node.low if point[node.column] <= node.bound else node.high
    return node.share


def _grown(points: Array, goal: Array, depth: int) -> Node:
    share = float(goal.mean())
    if depth >= DEPTH or len(goal) < 2 * LEAF or share in (0.0, 1.0):
        return Node(-1, 0.0, share)
    column, bound, gain = _split(points, goal)
    if gain <= 1e-9:
        return Node(-1, 0.0, share)
    left = points[:, column] <= bound
    return Node(column, bound, share, _grown(points[left], goal[left], depth + 1), _grown(points[~left], goal[~left], depth + 1))  # fmt: skip


def _split(points: Array, goal: Array) -> tuple[int, float, float]:
    """The question that parts best, and by how much."""
    count, whole = len(goal), float(goal.mean())
    best = (0, 0.0, 0.0)
    for column in range(points.shape[1]):
        order = np.argsort(points[:, column], kind="stable")
        values, sums = points[order, column], np.cumsum(goal[order])
        sizes = np.arange(1, count)
        one, other = sums[:-1] / sizes, (sums[-1] - sums[:-1]) / (count - sizes)
        mixed = (sizes * one * (1 - one) + (count - sizes) * other * (1 - other)) / count
        gains = np.where((values[1:] > values[:-1]) & (sizes >= LEAF) & (count - sizes >= LEAF), whole * (1 - whole) - mixed, -1.0)  # fmt: skip
        at = int(np.argmax(gains))
        if gains[at] > best[2]:
            best = (column, float((values[at] + values[at + 1]) / 2), float(gains[at]))
    return best
