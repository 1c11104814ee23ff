"""How much those did lately that had to give way in a full table: a sketch, so that who comes again and again is not a stranger each time.

In: who gave way and how much it did in the last day. Out: about how much somebody who comes did before. Two rows of cells; a cell holds the most of all that fall into it, and the smaller cell counts, so an answer is
never too small and seldom too large. Where more pass by than there are cells for, nothing it says would be true, and it says nothing, from the next fading on: a flood
of a million strangers a minute lifts some of them to a dozen requests until then, and none afterwards.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from zlib import crc32

import numpy as np

from afterguard.watch.seen import Numbers, mixed

DAY = 86_400.0
CELLS = 1 << 15
"""Of each of two rows: a quarter of a mebibyte, from the first that gives way on."""
FULL = 0.5
"""Of the cells, from which on it says nothing."""
WORTH = 0.5
"""Requests from which a cell counts as taken."""
EVERY = 600.0
"""Seconds from one fading to the next."""


class Forgotten:
    """Of one scope."""

    def __init__(self) -> None:
        self.cells = np.zeros((2, 0), dtype=np.float32)
        self.faded = 0.0
        self.is_full = False

    def add(self, values: Sequence[Hashable], amounts: Numbers, now: float) -> None:
        """These gave way, with so many requests in the day before."""
        if not self.cells.size:
            self.cells, self.faded = np.zeros((2, CELLS), dtype=np.float32), now
        self._fade(now)
        for row, places in zip(self.cells, _places(values), strict=True):
            np.maximum.at(row, places, amounts.astype(np.float32))

    def of(self, values: Sequence[Hashable], now: float) -> Numbers:
        """Requests of each in the day before it gave way, faded since; 0 where nothing is known."""
        if not self.cells.size or self.is_full:
            return np.zeros(len(values), dtype=np.float32)
        self._fade(now)
        one, other = (row[places] for row, places in zip(self.cells, _places(values), strict=True))
        least: Numbers = np.minimum(one, other)
        return least

    def _fade(self, now: float) -> None:
        if now - self.faded >= EVERY:
            self.cells *= np.float32(np.exp(-(now - self.faded) / DAY))
            self.faded = now
            self.is_full = bool(np.count_nonzero(self.cells > WORTH) > FULL * self.cells.size)


def _places(values: Sequence[Hashable]) -> tuple[Numbers, Numbers]:
    """The two cells of each: the same in every process, as Python's own hash is not."""
    plain = [value & 0xFFFFFFFFFFFFFFFF if isinstance(value, int) else crc32(str(value).encode("utf-8", "replace")) for value in values]  # fmt: skip
    number = mixed(np.array(plain, dtype=np.uint64))
    return (number % np.uint64(CELLS)).astype(np.int64), ((number >> np.uint64(32)) % np.uint64(CELLS)).astype(np.int64)
