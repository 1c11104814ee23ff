"""How many are usually active at this hour of the week, and how many more are now.

In: active identities a slice. Out: `shape`, this hour beside the mean hour, and `rise`, now beside what this hour usually has. Until two weeks
are known the hour of the day stands in; until a day is known, both are 1.
"""

from __future__ import annotations

import numpy as np

HOURS = 168
DAY = 24
SURE = 2
"""Weeks after which an hour of the week speaks for itself."""


class Season:
    """Activity by hour of the week (Monday 1970-01-05 is hour 0), slowly learnt and clipped."""

    def __init__(self) -> None:
        self.week = np.zeros(HOURS)
        self.weeks = np.zeros(HOURS)
        self.day = np.zeros(DAY)
        self.days = np.zeros(DAY)
        self.hour = -1
        self.sum = 0.0
        self.recent = 0.0
        self.at = 0.0

    def add(self, active: float, now: float) -> None:
        """`active` identities were seen in the slice that ends now."""
        hour = int(now // 3600)
        if hour != self.hour:
            if self.hour >= 0:
                self._file(self.hour, self.sum)
            self.hour, self.sum = hour, 0.0
        self.sum += active
        fade = np.exp(-max(0.0, now - self.at) / 1_800) if self.at else 0.0
        self.recent = float(self.recent * fade + active)
        self.at = now

    def _file(self, hour: int, value: float) -> None:
        for means, counts, place in ((self.week, self.weeks, _place(hour)), (self.day, self.days, hour % DAY)):
            known = counts[place]
            clipped = min(value, 2 * means[place] + 1) if known else value
            means[place] += (clipped - means[place]) / min(known + 1, 8)
            counts[place] += 1

    def expected(self, now: float) -> float:
        """Of a whole hour at this time; 0 where it is not known."""
        hour = int(now // 3600)
        if self.weeks[_place(hour)] >= SURE:
            return float(self.week[_place(hour)])
        return float(self.day[hour % DAY]) if self.days[hour % DAY] else 0.0

    def shape(self, now: float) -> float:
        """This hour beside the mean hour."""
        known = self.days > 0
        mean = float(self.day[known].mean()) if known.sum() >= DAY else 0.0
        return min(8.0, self.expected(now) / mean) if mean else 1.0

    def rise(self, now: float) -> float:
        """How many times more are active now than usual at this hour."""
        usual = max(self.expected(now), self.expected(now - 1_800)) / 2
        return max(1.0, self.recent / (usual + 5.0)) if usual else 1.0


def _place(hour: int) -> int:
    return (hour - 96) % HOURS
