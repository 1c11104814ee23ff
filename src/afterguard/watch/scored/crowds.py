"""Walks that are spread over many callers, none of whom stands out: many ask about almost the same input, and the decision turns among them.

In: blocks, and which rows are new to the model. Out: what stands out, as (box, since, words). Bounded: BOXES boxes.

Theory of operation. The space is cut into boxes by rows rounded to whole deviations (with a shift of half a box in a second cut, so that no border hides a crowd). A box is an alert where within WINDOW many different inputs of several callers fall
into it, with more than one decision, and far more than it usually gets or than boxes get. How many callers is a linear count (Whang et al. 1990) over 64 bits: it errs on the low side.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

import numpy as np

from afterguard.watch.scored.block import MIX, ODD, Array, Block

BOXES = 4_000
WARM = 1_000
WINDOW = 6 * 3600.0
LEAST = 14
FEW = 6
"""Callers below which a crowd is not spread."""
MIXED = 0.15
TIMES = 8.0
CHOICES = 8
"""Decisions that are told apart."""
FRESH = 200
"""Boxes that say how many inputs are usual."""


class Crowd(NamedTuple):
    """A box that stands out."""

    box: int
    since: float
    says: str


class Crowds:
    """All boxes of one model."""

    def __init__(self) -> None:
        self.rows: dict[int, int] = {}
        self.keys = np.zeros(BOXES, dtype=np.uint64)
        self.born = np.zeros(BOXES)
        self.since = np.zeros(BOXES)
        self.last = np.zeros(BOXES)
        self.count = np.zeros(BOXES, dtype=np.int64)
        """Different inputs of this window."""
        self.total = np.zeros(BOXES, dtype=np.int64)
        self.choices = np.zeros((BOXES, CHOICES), dtype=np.int64)
        self.callers = np.zeros(BOXES, dtype=np.uint64)
        self.told = np.zeros(BOXES, dtype=bool)

    def look(self, block: Block, boxes: Array, new: Array, choices: Array) -> list[Crowd]:
        """Count rows that are new; boxes that stand out."""
        rows = np.flatnonzero(new)
        if not len(rows):
            return []
        now = float(block.times[rows[-1]])
        at = self._admit(boxes[rows], now)
        some = np.unique(at)
        self._forget(some[~((now - self.since[some] >= 0) & (now - self.since[some] <= WINDOW))], now)
        bits = np.array(
            [1 << (crc32(block.who["caller"][n].encode("utf-8", "replace")) & 63) for n in rows.tolist()], np.uint64
        )
        for cut in (0, 1):
            np.add.at(self.count, at[:, cut], 1)
            np.add.at(self.total, at[:, cut], 1)
            np.add.at(self.choices, (at[:, cut], np.minimum(choices[rows], CHOICES - 1)), 1)
            np.bitwise_or.at(self.callers, at[:, cut], bits)
        self.last[some] = now
        loud = some[
            (self.count[some] >= LEAST) & ~self.told[some] & (np.bitwise_count(self.callers[some]).astype(int) >= FEW)
        ]
        return [found for place in loud.tolist() if (found := self._judge(place)) is not None]

    def _admit(self, boxes: Array, now: float) -> Array:
        keys = np.unique(boxes).tolist()
        missing = [key for key in keys if key not in self.rows]
        if missing:
            have = len(self.rows)
            free = list(range(have, min(BOXES, have + len(missing))))
            if len(free) < len(missing):
                stays = self.last.copy()
                stays[[self.rows[key] for key in keys if key in self.rows] + free] = np.inf
                gone = np.argpartition(stays, len(missing) - len(free) - 1)[: len(missing) - len(free)].tolist()
                for place in gone:
                    del self.rows[int(self.keys[place])]
                free += gone
            for key, place in zip(missing, free, strict=True):
                self.rows[key], self.keys[place] = place, key
                self.born[place], self.total[place], self.told[place] = now, 0, False
            self._forget(np.array(free), now)
        find = self.rows.__getitem__
        return np.array([[find(one), find(two)] for one, two in boxes.tolist()], dtype=np.int64)

    def _forget(self, places: Array, now: float) -> None:
        """A new window."""
        self.since[places], self.count[places], self.choices[places], self.callers[places] = now, 0, 0, 0

    def _judge(self, place: int) -> Crowd | None:
        count = int(self.count[place])
        minority = int(np.sort(self.choices[place])[-2])
        windows = max(1.0, float(self.since[place] - self.born[place]) / WINDOW)
        usual = max(float(self.total[place] - count) / windows, self._usual())
        if minority < MIXED * count or count < TIMES * usual:
            return None
        self.told[place] = True
        callers = int(np.bitwise_count(self.callers[place]))
        says = f"{count} almost identical inputs by {callers} callers or more within {WINDOW / 3600:.0f} hours, with different decisions; usual are {usual:.1f}"
        return Crowd(int(self.keys[place]), float(self.since[place]), says)

    def _usual(self) -> float:
        """Inputs that a box has: the mean over the most recent ones, but for the fullest twentieth."""
        have = len(self.rows)
        newest = np.argpartition(-self.last[:have], min(FRESH, have) - 1)[:FRESH]
        counts = np.sort(self.count[newest])
        return float(counts[: max(1, len(counts) * 19 // 20)].mean())


def boxes_of(standard: Array) -> Array:
    """The two boxes of each row."""
    out = np.empty((len(standard), 2), dtype=np.uint64)
    for cut, shift in enumerate((0.0, 0.5)):
        whole = np.floor(standard + shift).astype(np.int64).astype(np.uint64)
        with np.errstate(over="ignore"):
            mixed = (whole + np.uint64(cut + 1)) * ODD[: standard.shape[1]]
            mixed ^= mixed >> np.uint64(31)
            out[:, cut] = (mixed * MIX).sum(axis=1, dtype=np.uint64) ^ np.uint64(cut)
    return out
