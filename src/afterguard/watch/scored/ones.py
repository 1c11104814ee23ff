"""Those of one scope (all callers, all devices, all networks) that ask a model: what each did so far, one row of arrays for each.

In: whose each row of a block is. Out: places in the arrays. Bounded: `size` of them, fewer where rows are wide. Who gives way is who was seen longest ago, and who asked much stays longer: a flood of names that come once pushes out
names that came once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from afterguard.watch.scored.block import Array

MOST = 4_000
LEAST = 600
"""More than a block has rows."""
CELLS = 60_000
FIRST = 256
RING = 12
"""Rows of each that are remembered."""
BINS = 24
PARTS = 8
STAYS = 30.0
"""Seconds that each different row lets its owner stay, up to STAYING rows."""
STAYING = 2_000
LARGE = 250
"""Different rows from which it is remembered since when one asks, although he gives way: a job of every night is none that came tonight."""
KNOWN = 1_000


def capacity(width: int) -> int:
    """Ones that are known of a model of so many features."""
    return max(LEAST, min(MOST, CELLS // max(1, width)))


class Ones:
    """State of all of one scope."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.size = capacity(width)
        self.rows: dict[str, int] = {}
        self.names: list[str] = []
        self.evicted = 0
        self.near = self.compared = 0
        """Rows that were near an earlier one of their asker, of all that could be."""
        self.admitted = 0
        self.since: dict[str, float] = {}
        """Of those who asked much and gave way: when they first came. KNOWN of them, those who went longest ago are forgotten."""
        self._make(min(FIRST, self.size))

    serial: Array
    """Which admission the row belongs to: rows are used again."""
    last: Array
    first: Array
    asked: Array
    different: Array
    single: Array
    before: Array
    bins: Array
    ring: Array
    ring_marks: Array
    ring_group: Array
    ring_choice: Array
    members: Array
    member_of: Array
    whole: Array
    steps: Array
    turns: Array
    choice: Array
    stepped: Array
    walked: Array
    from_row: Array
    near_rows: Array
    scored: Array
    inside: Array
    part_count: Array
    part_sum: Array
    part: Array
    part_size: Array
    told: Array
    due: Array

    def _make(self, rows: int) -> None:
        """Grow the arrays; what is there stays."""
        width = self.width
        have = len(self.names)
        for name, tail, kind, fill in (
            ("serial", (), np.int64, 0), ("last", (), float, 0), ("first", (), float, 0), ("asked", (), np.int64, 0), ("different", (), np.int64, 0),
            ("single", (), np.int64, 0), ("before", (width,), float, np.nan), ("bins", (width, BINS), np.int32, 0),
            ("ring", (RING, width), np.float32, np.inf), ("ring_marks", (RING,), np.uint64, 0), ("ring_group", (RING,), np.int64, -1), ("ring_choice", (RING,), np.int64, -1),
            ("members", (RING,), np.int64, 0), ("member_of", (RING,), np.int64, -1), ("whole", (), np.int64, 0),
            ("steps", (), np.int64, 0), ("turns", (), np.int64, 0), ("choice", (), np.int64, -1), ("stepped", (), np.int64, -1), ("walked", (), float, 0), ("from_row", (), np.int64, 0), ("near_rows", (), np.int64, 0),
            ("scored", (), np.int64, 0), ("inside", (), np.int64, 0),
            ("part_count", (PARTS,), np.int64, 0), ("part_sum", (PARTS, width), float, 0), ("part", (), np.int64, 0), ("part_size", (), np.int64, 16),
            ("told", (len(TOLD),), float, -np.inf), ("due", (len(TOLD),), np.int64, 0),
        ):  # fmt: skip
            made = np.full((rows, *tail), fill, dtype=kind)
            if have:
                made[:have] = getattr(self, name)[:have]
            setattr(self, name, made)

    def _clear(self, places: list[int], now: float) -> None:
        """Begin anew at these places."""
        for name, fill in CLEAR:
            getattr(self, name)[places] = fill
        self.serial[places] = self.admitted + 1 + np.arange(len(places))
        self.admitted += len(places)
        self.first[places] = self.last[places] = now

    def admit(self, names: Sequence[str], now: float) -> Array:
        """The place of each, -1 for the nameless."""
        find = self.rows.get
        found = np.array([find(name, -1) if name else -1 for name in names], dtype=np.int64)
        missing = [name for name, place in zip(names, found.tolist(), strict=True) if place < 0 and name]
        if missing:
            self._add(list(dict.fromkeys(missing)), np.unique(found[found >= 0]), now)
            find = self.rows.get
            found = np.array([find(name, -1) if name else -1 for name in names], dtype=np.int64)
        self.last[found[found >= 0]] = now
        return found

    def _add(self, new: list[str], active: Array, now: float) -> None:
        have = len(self.names)
        free = list(range(have, min(self.size, have + len(new))))
        while len(self.last) < have + len(free):
            self._make(min(self.size, 2 * len(self.last)))
        self.names += [""] * len(free)
        if len(free) < len(new):
            stays = self.last + STAYS * np.minimum(self.different, STAYING)
            stays[active] = np.inf
            stays[free] = np.inf
            count = len(new) - len(free)
            gone = np.argpartition(stays, count - 1)[:count].tolist()
            for place in gone:
                del self.rows[self.names[place]]
                self._remember(place)
            free += gone
            self.evicted += count
        for name, place in zip(new, free, strict=True):
            self.names[place], self.rows[name] = name, place
        self._clear(free, now)
        for name, place in zip(new, free, strict=True):
            self.first[place] = min(now, self.since.get(name, now))

    def _remember(self, place: int) -> None:
        name = self.names[place]
        if self.different[place] >= LARGE:
            self.since.pop(name, None)
            self.since[name] = float(self.first[place])
        while len(self.since) > KNOWN:
            del self.since[next(iter(self.since))]


TOLD = ("evasion_walk", "membership_probing", "model_extraction", "boundary", "label_harvesting", "poisoning_suspected")
AT: dict[str, int] = {kind: place for place, kind in enumerate(TOLD)}
CLEAR: tuple[tuple[str, Any], ...] = (
    ("asked", 0), ("different", 0), ("single", 0), ("before", np.nan), ("bins", 0), ("ring", np.inf), ("ring_marks", 0), ("ring_group", -1), ("ring_choice", -1),
    ("members", 0), ("member_of", -1), ("whole", 0), ("steps", 0), ("turns", 0), ("choice", -1), ("stepped", -1), ("walked", 0), ("from_row", 0), ("near_rows", 0), ("scored", 0), ("inside", 0),
    ("part_count", 0), ("part_sum", 0), ("part", 0), ("part_size", 16), ("told", -np.inf), ("due", 0),
)  # fmt: skip
