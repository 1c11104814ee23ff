"""The last rows of a model, for the evidence of an alert: ids, times, whose they were, in which boxes they lay.

In: blocks. Out: moments and callers. Bounded: KEPT rows.
"""

from __future__ import annotations

import numpy as np

from afterguard.watch.alarm import Moment
from afterguard.watch.scored.block import SCOPES, Array, Block

KEPT = 16_384
SHOWN = 200


class Recent:
    """A ring of rows."""

    def __init__(self) -> None:
        self.next = 0
        self.ids = np.full(KEPT, "", dtype=object)
        self.callers = np.full(KEPT, "", dtype=object)
        self.times = np.zeros(KEPT)
        self.serials = {scope: np.full(KEPT, -1, dtype=np.int64) for scope in SCOPES}
        self.boxes = np.zeros((KEPT, 2), dtype=np.uint64)

    def add(self, block: Block, serials: dict[str, Array], boxes: Array) -> None:
        """Take a block in."""
        at = (self.next + np.arange(len(block.ids))) % KEPT
        self.next = (self.next + len(block.ids)) % KEPT
        self.ids[at], self.callers[at], self.times[at] = block.ids, block.who["caller"], block.times
        self.boxes[at] = boxes
        for scope, mine in self.serials.items():
            mine[at] = serials.get(scope, -1)

    def of(self, scope: str, serial: int) -> tuple[list[Moment], list[str]]:
        """(moments, callers) of one asker, the newest last."""
        return self._shown(self.serials[scope] == serial)

    def inside(self, box: int, since: float) -> tuple[list[Moment], list[str]]:
        """(moments, callers) of the rows in a box."""
        return self._shown((self.boxes == np.uint64(box)).any(axis=1) & (self.times >= since))

    def _shown(self, which: Array) -> tuple[list[Moment], list[str]]:
        found = np.flatnonzero(which)
        found = found[np.argsort((found - self.next) % KEPT, kind="stable")]
        callers = list(dict.fromkeys(name for name in self.callers[found].tolist() if name))
        some = found[-SHOWN:].tolist()
        return [(str(self.ids[n]), float(self.times[n])) for n in some], callers
