"""Does a worker still work? Judged by its parent, without asking it.

In: when it last said that its loop turned, and what the system says of its process. Out: whether it hangs. It ends nothing.

Theory of operation. A worker says once a second that its loop has turned. Silence alone proves nothing: on an overloaded machine a worker that could run is given no CPU. So silence is weighed
by what the process did meanwhile. Time in which every thread slept counts whole: a loop that is alive would have spoken. Time in which it computed, or waited for the disk, counts a quarter: a
large body may take seconds. Time in which it could run and was given no CPU does not count, and neither does time in which the parent itself was not there to look. A process that was stopped
(SIGSTOP, a debugger) has no excuse after two seconds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

BEAT = 1.2
"""Seconds between two signs of life, and a little."""
STOPPED = 2.0
"""Seconds after which a stopped process is given up."""
LENIENT = 4
"""How much longer a process may compute than stand still."""
GAP = 0.5
"""Seconds of one look at most: what lies between two looks further apart was not seen."""


class Seen(NamedTuple):
    """A process at one moment."""

    state: str
    """stopped, running (a thread runs or could run), disk, or still."""
    cpu: float
    """Seconds of CPU it has had."""


def look(pid: int) -> Seen | None:
    """What the system says of a process; None where it says nothing (no Linux, no such process)."""
    try:
        own = _stat(Path(f"/proc/{pid}/stat"))
        states = {_stat(place / "stat")[0] for place in Path(f"/proc/{pid}/task").iterdir()}
    except (OSError, ValueError, IndexError):
        return None
    cpu = (int(own[11]) + int(own[12])) / os.sysconf("SC_CLK_TCK")
    if own[0] in "Tt":
        return Seen("stopped", cpu)
    return Seen("running" if "R" in states else "disk" if "D" in states else "still", cpu)


def _stat(place: Path) -> list[str]:
    """Fields from the state on; the name before it may hold anything."""
    return place.read_text().rpartition(")")[2].split()


class Pulse:
    """What is held against one worker."""

    def __init__(self, now: float) -> None:
        self.heard(now)

    def heard(self, now: float) -> None:
        """It lives."""
        self.last = self.looked = now
        self.blame = 0.0
        self.before: Seen | None = None

    def hangs(self, now: float, hang: float, pid: int) -> bool:
        """Whether it has stood still for `hang` seconds, or as good as that."""
        silence = now - self.last
        if silence < BEAT:
            return False
        return self.weighed(now, hang, look(pid))

    def weighed(self, now: float, hang: float, found: Seen | None) -> bool:
        """See `hangs`; `found` is the process as it is now."""
        silence, seconds = now - self.last, min(now - self.looked, GAP)
        self.looked = now
        before, self.before = self.before, found
        if found is None:
            return silence > LENIENT * hang
        if found.state == "stopped":
            return silence > min(STOPPED, hang)
        if before is not None:
            self.blame += _counts(found, before, seconds)
        return self.blame > max(0.5, hang - BEAT)


def _counts(found: Seen, before: Seen, seconds: float) -> float:
    if found.state == "running":
        return min(found.cpu - before.cpu, seconds) / LENIENT
    return seconds / LENIENT if found.state == "disk" else seconds
