"""Seeded traffic of a predictive model: ordinary callers with days and weeks, and campaigns put among them.

In: a seed. Out: Events in the order of time. The model is logistic over eight correlated features; one feature is a category.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from afterguard.watch.event import Event
from afterguard.watch.predictions import hashed

WIDTH = 8
DAY = 86_400.0
START = 1_767_571_200.0
"""A Monday, midnight UTC."""


class World:
    """A model and its ordinary callers."""

    def __init__(self, seed: int, callers: int = 400, *, has_text: bool = True) -> None:
        self.chance = np.random.default_rng(seed)
        self.mix = np.eye(WIDTH) + 0.35 * self.chance.normal(size=(WIDTH, WIDTH))
        self.weights = self.chance.normal(size=WIDTH) / 2
        self.callers = callers
        self.has_text = has_text
        self.shift = 0.0
        self.version = "1"
        self.count = 0

    def score(self, row: np.ndarray) -> float:
        return float(1 / (1 + math.exp(-float(row @ self.weights) - self.shift)))

    def usual(self) -> np.ndarray:
        return self.chance.normal(size=WIDTH) @ self.mix

    def event(self, row: np.ndarray, time: float, caller: str, category: int = -1) -> Event:
        self.count += 1
        score = self.score(row)
        features = tuple(float(one) for one in row)
        if self.has_text:
            features = (*features, hashed(int(self.chance.integers(0, 5)) if category < 0 else category))
        return Event(
            time, id=f"e{self.count}", route="fraud", key=caller, model="fraud", version=self.version, operation="predict",
            features=features, score=score, decision="deny" if score > 0.5 else "grant",
        )  # fmt: skip

    def ordinary(self, days: float, a_day: int, start: float = START, season: float = 0.8) -> Iterator[Event]:
        """Callers that come by day, fewer at weekends, with a mix of inputs that goes with the hour and the day of the week, and retries."""
        time, end = start, start + days * DAY
        while time < end:
            hour = (time % DAY) / 3600
            weekend = int((time - START) // DAY) % 7 >= 5
            rate = a_day / DAY * (1 + 0.8 * math.sin((hour - 8) / 24 * 2 * math.pi)) * (0.5 if weekend else 1.0)
            time += self.chance.exponential(1 / rate)
            caller = f"u{int(self.chance.pareto(1.2) * 10) % self.callers}"
            row = self.usual()
            row[0] += season * math.sin(hour / 24 * 2 * math.pi) + (season if weekend else 0.0)
            yield self.event(row, time, caller)
            if self.chance.random() < 0.03:  # a retry
                yield self.event(row, time + 2, caller)

    def point(self) -> np.ndarray:
        """A usual row next to the decision."""
        row = self.usual()
        return row - self.weights * float(row @ self.weights + self.shift) / float(self.weights @ self.weights)


def mixed(first: Iterator[Event], second: list[Event]) -> Iterator[Event]:
    """Two streams in the order of time."""
    left = sorted(second, key=lambda one: one.time)
    for event in first:
        while left and left[0].time <= event.time:
            yield left.pop(0)
        yield event
    yield from left
