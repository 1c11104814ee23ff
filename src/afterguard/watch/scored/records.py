"""Records that many ask about together, again and again and a hair beside: a harvest of membership that no single asker shows.

In: blocks, and which rows are new to the model. Out: what stands out, with the names of who did it. Bounded: `capacity` rows; of a window NAMES names of each scope and MOST_WHOLE neighbourhoods; DAYS days.

Theory of operation. A probe of membership asks about one record in MEMBERS forms that are almost the same: nearly all numbers of it move, none of them far. Who corrects a form or asks for another amount changes one or two numbers; a retry changes none; a job of every night
asks about each record once in a window. So the last rows of the model, whoever asked, are remembered as the middles of neighbourhoods and found again by the cell they lie in (two cuts of the space, as in crowds.py, with cells a few hairs wide). A new row that is within a hair
of a middle belongs to it. How many different cells get a whole neighbourhood within a window is held against the most that any window of the last days had: a model whose inputs creep by nature, such as a sensor's, has many and is its own measure.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from afterguard.watch.alarm import Moment
from afterguard.watch.predictions import TEXT
from afterguard.watch.scored.block import SCOPES, Array, Block
from afterguard.watch.scored.crowds import boxes_of

MOST, CELLS = 32_768, 400_000
"""Rows that are remembered, fewer where they are wide."""
SLOTS = 1 << 17
HAIR = 0.05
"""Root mean square, in deviations, up to which rows are a hair apart; half of it, a quarter... where rows of the model come nearer than that by chance."""
CHANCE = 4.0
"""How many times nearer than what is near by chance."""
LEAST_NEAR = 1e-6
"""Rows that come nearer than this by chance are a few values over and over."""
WIDE = 6.0
"""Hairs that a cell is wide."""
FEATURES = 3
"""Numbers a row must have."""
MOVED = 0.5
"""Share of a row's broken numbers that must differ, and MOVING at least."""
MOVING = 2
MEMBERS = 3
"""Different rows that make a neighbourhood."""
ROUNDS = 6
"""Rows of one cell and block that are looked at one after the other; of more the first."""
WINDOW = 6 * 3600.0
DAY = 86_400.0
DAYS = 14
KNOWN_DAYS = 2
"""Before which nothing is said: the first may have been an hour."""
LEARNING = 8
"""Days that are taken as they are; after that what is usual grows by GROWS a day at most."""
GROWS = 1.1
LEAST = 30
"""Neighbourhoods in a window below which nothing is said."""
TIMES, SURE = 4.0, 5.0
FEW = 6
"""Askers below which it is nobody's together: what one does is told of him."""
QUIET = 7 * DAY
AGAIN = 4
"""Times as many names that are told also within QUIET."""
NAMES = 2_000
MOST_WHOLE = 10_000
"""Cells with a whole neighbourhood that are counted in a window."""
SHOWN = 200
KNOWN = 0.9
"""Share of the rows for which a scope must be known to be named."""


class Harvest(NamedTuple):
    """Many who ask about the same records together."""

    scope: str
    names: list[str]
    callers: list[str]
    moments: list[Moment]
    says: str


def capacity(width: int) -> int:
    """Rows that are remembered of a model of so many features."""
    return min(MOST, CELLS // max(1, width))


class Records:
    """State of one model."""

    def __init__(self, width: int) -> None:
        size = capacity(width)
        self.size = size
        self.next = 0
        """Middles so far: the number of the next one."""
        self.values = np.zeros((size, width))
        self.keys = np.zeros((size, 2), dtype=np.uint64)
        self.times = np.full(size, -math.inf)
        self.marks = np.zeros((size, MEMBERS), dtype=np.uint64)
        self.members = np.zeros(size, dtype=np.int64)
        self.slots = np.full((2, SLOTS), -1, dtype=np.int64)
        """Per cut, where in the hash table of cells: the number of the last middle there."""
        self.hair = HAIR
        self.window = self.day = -1
        self.cells: dict[int, int] = {}
        """Of this window: cells with a whole neighbourhood, and how many."""
        self.named: dict[str, dict[str, int]] = {scope: {} for scope in SCOPES}
        self.moments: list[Moment] = []
        self.beside = 0
        """Rows that belonged to a middle, this window."""
        self.today = 0
        self.days: list[float] = []
        """The most of any window, by day."""
        self.told = -math.inf
        self.due = 0
        """Names from which it is told again within QUIET."""

    def look(self, block: Block, new: Array, deviation: Array, near: float) -> Harvest | None:
        """Take the rows in that are new to the model; what stands out."""
        now = float(block.times[-1])
        self._turn(now)
        if near < LEAST_NEAR:
            return None
        hair = HAIR / 2 ** math.ceil(max(0.0, math.log2(CHANCE * HAIR / near)))
        if hair != self.hair:  # cells are others now
            self.hair = hair
            self.slots[:] = -1
        rows = np.flatnonzero(new)
        if not len(rows) or (deviation > 0).sum() < FEATURES:
            return None
        boxes = boxes_of(block.standard[rows] / (WIDE * hair))
        rank = _rank(boxes[:, 0])
        whole = False
        for turn in range(min(int(rank.max()) + 1, ROUNDS)):
            some = rank == turn
            whole |= self._take(block, rows[some], boxes[some], deviation)
        return self._judge(now) if whole else None

    def _take(self, block: Block, rows: Array, boxes: Array, deviation: Array) -> bool:
        """Rows of different cells; whether a neighbourhood became whole."""
        middles = self._middles(block.values[rows], boxes, block.times[rows], deviation)
        alone = middles < 0
        self._put(block, rows[alone], boxes[alone])
        whole = False
        for n, at in zip(rows[~alone].tolist(), middles[~alone].tolist(), strict=True):
            if block.marks[n] in self.marks[at]:
                continue
            if self.members[at] < MEMBERS:
                self.marks[at, self.members[at]] = block.marks[n]
            self.members[at] += 1
            self._note(block, n)
            if self.members[at] == MEMBERS:
                whole |= self._count(int(self.keys[at, 0]))
        return whole

    def _middles(self, values: Array, boxes: Array, times: Array, deviation: Array) -> Array:
        """The middle that each row belongs to, -1 for none."""
        found = np.full(len(values), -1)
        for cut in (0, 1):
            number = self.slots[cut, (boxes[:, cut] % np.uint64(SLOTS)).astype(np.int64)]
            at = number % self.size
            away = np.abs(times - self.times[at])
            asked = (number >= 0) & (number >= self.next - self.size) & (self.keys[at, cut] == boxes[:, cut])
            rows = np.flatnonzero(asked & (away <= WINDOW) & (found < 0))
            if len(rows):
                near = rows[_beside(values[rows], self.values[at[rows]], deviation, self.hair)]
                found[near] = at[near]
        return found

    def _put(self, block: Block, rows: Array, boxes: Array) -> None:
        """Rows that are near none are middles from now on."""
        number = self.next + np.arange(len(rows))
        at = number % self.size
        self.values[at], self.keys[at], self.times[at] = block.values[rows], boxes, block.times[rows]
        self.marks[at] = block.marks[rows, None]
        self.members[at] = 1
        for cut in (0, 1):
            self.slots[cut, (boxes[:, cut] % np.uint64(SLOTS)).astype(np.int64)] = number
        self.next += len(rows)

    def _count(self, cell: int) -> bool:
        """One more whole neighbourhood; whether it is the first of its cell."""
        before = self.cells.get(cell, 0)
        if before or len(self.cells) < MOST_WHOLE:
            self.cells[cell] = before + 1
        return not before

    def _note(self, block: Block, row: int) -> None:
        self.beside += 1
        for scope, names in self.named.items():
            name = block.who[scope][row]
            if name and (name in names or len(names) < NAMES):
                names[name] = names.get(name, 0) + 1
        self.moments = [*self.moments[1 - SHOWN :], (block.ids[row], float(block.times[row]))]

    # -- what is usual

    def _turn(self, now: float) -> None:
        """End the window and the day that are over. A clock that runs backwards ends none, unless it is by more than a day: then it was ahead before."""
        window, day = int(now // WINDOW), int(now // DAY)
        if window > self.window or day < self.day - 1:
            self.window = window
            self.today = max(self.today, len(self.cells))
            self.cells, self.moments, self.beside = {}, [], 0
            self.named = {scope: {} for scope in SCOPES}
        if day > self.day or day < self.day - 1:
            if self.day >= 0:
                self._learn()
            self.day, self.today = day, 0

    def _learn(self) -> None:
        most = float(self.today)
        if len(self.days) >= LEARNING:
            most = min(most, GROWS * max(self.days) + 1)
        self.days = [*self.days, most][-DAYS:]

    def _judge(self, now: float) -> Harvest | None:
        count = len(self.cells)
        if count < LEAST or len(self.days) < KNOWN_DAYS:
            return None
        usual = max(self.days)
        if count < TIMES * usual + SURE * math.sqrt(usual):
            return None
        scope = self._narrowest()
        names = list(self.named[scope])
        if (0 <= now - self.told < QUIET and len(names) < self.due) or max(map(len, self.named.values())) < FEW:
            return None
        self.told, self.due = now, AGAIN * len(names)
        says = f"{count} records asked about within {WINDOW / 3600:.0f} hours in at least {MEMBERS} forms that are a hair apart (nearly every number moved, by {self.hair:.2g} deviations at most), by {len(names)} {scope}s; the most of any such time in {len(self.days)} days was {usual:.0f}"
        return Harvest(scope, names, list(self.named["caller"]), list(self.moments), says)

    def _narrowest(self) -> str:
        """The scope whose fewest names did it: forty devices say more than a thousand accounts."""
        known = [scope for scope, names in self.named.items() if sum(names.values()) >= KNOWN * self.beside]
        return min(known or SCOPES[:1], key=lambda scope: len(self.named[scope]))


def _rank(keys: Array) -> Array:
    """How many rows of the same key come before."""
    order = np.argsort(keys, kind="stable")
    inorder = keys[order]
    starts = np.flatnonzero(np.append(True, inorder[1:] != inorder[:-1]))
    out = np.empty(len(keys), dtype=np.int64)
    out[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys))))
    return out


def _beside(rows: Array, middles: Array, deviation: Array, hair: float) -> Array:
    """Which rows are a hair beside their middle, or the same."""
    same = (rows == middles) | (np.isnan(rows) & np.isnan(middles))
    varies = deviation > 0
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        away = np.abs(rows - middles) / np.where(varies, deviation, np.inf)
    is_text = (rows < TEXT) | (middles < TEXT)
    away = np.where(same, 0.0, np.where(is_text | np.isnan(away) | ~varies, 2.0, np.minimum(away, 4.0)))
    distance = np.sqrt((away * away).sum(axis=1) / max(1, int(varies.sum())))
    broken = np.isfinite(rows) & ((rows % 1 != 0) | (middles % 1 != 0)) & ~is_text
    moved = (~same).sum(axis=1)
    found: Array = (distance <= hair) & (same.all(axis=1) | ((moved >= MOVING) & (moved >= MOVED * broken.sum(axis=1))))
    return found
