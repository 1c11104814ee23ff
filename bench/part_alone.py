"""A part of the guard (guard/part.py) without a guard: its events come ready, its alarms are remembered, and what it holds is told.

For watch_bounds.py and watch_predictive_bounds.py.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

from afterguard.guard.part import Part
from afterguard.watch.alarm import Alarm


class Alone(Part[Any]):
    """Put before a Lookout or a Patrol."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.alerts: list[tuple[float, Alarm]] = []

    def take(self, events: list[Any]) -> None:
        """What came since the last look."""
        self._events += events

    async def told(self, alerts: Any, now: float) -> None:
        """As the guard writes them down."""
        self.alerts += [(now, alert) for alert in alerts]
        await super().told(alerts, now)

    def write(self) -> int:
        """Keep what is known; its size on disk."""
        self._keep()
        return self.file.stat().st_size


def resident() -> int:
    """Bytes that the process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak(empty: int) -> float:
    """MiB that it had at most, beside what it had when empty."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - empty / 2**20, 1)
