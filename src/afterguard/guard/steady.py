"""The time a watch lives by: the wall clock's, unless that jumps.

In: what the machine's wall clock and its steady clock say, together. Out: by how many seconds the wall clock is off. A clock that is set a year ahead for a minute would make a watch forget a year's worth, and one that is set back would make everything
late until it has caught up: so a jump is taken out. One ahead that lasts for PATIENCE is the time after all (a machine that slept); one back is never taken over, because no watch can go back.
"""

from __future__ import annotations

SLACK = 60.0
"""Seconds by which clocks may drift or be set right without more ado."""
PATIENCE = 3_600.0


class Steady:
    """See the file."""

    def __init__(self) -> None:
        self._wall = self._steady = self._since = 0.0
        self._off = 0.0

    def off(self, wall: float, steady: float) -> float:
        """Seconds to take from what the wall clock says."""
        if not self._wall:
            self._wall, self._steady = wall, steady
        off = wall - (self._wall + steady - self._steady)
        if abs(off - self._off) > SLACK:  # it jumped, there or back
            self._off, self._since = off, steady
        if abs(off) <= SLACK or (off > 0 and steady - self._since >= PATIENCE):
            self._wall, self._steady, self._off = wall, steady, 0.0
        return self._off
