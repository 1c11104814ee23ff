"""The stream: ordinary traffic and campaigns, merged in order of time.

In: a seed and a `Plan`. Out: lists of `Event`, and beside each event the number of its campaign (0: ordinary); `Stream.campaigns` holds the truth.

A quarter of an hour is drawn at once (an hour where there is little traffic); rows that fall later than it wait for their turn. A campaign's rows are drawn whole when it begins. Campaigns that change the model rather than send
requests alter ordinary rows and label them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from afterguard.watch.event import Event

from . import ordinary
from .campaign import Campaign
from .days import DAY, Days, Plan
from .rows import Rows, by_time, join, length, take, to_events
from .schedule import scheduled


class Stream:
    """One seed's traffic. `blocks` may be asked for once or again: the same comes out."""

    def __init__(self, seed: int, plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        self.days = Days(self.plan, seed)
        self.campaigns: list[Campaign] = scheduled(self.days)

    @property
    def quiet_from(self) -> float:
        return self.plan.start + self.plan.learn * DAY

    @property
    def examined_from(self) -> float:
        return self.quiet_from + self.plan.quiet * DAY

    def tables(self) -> Iterator[Rows]:
        """Rows in order of time, a block at once."""
        waiting: Rows = {"time": np.empty(0)}
        todo = sorted((one for one in self.campaigns if one.sends), key=lambda one: one.start, reverse=True)
        running: list[Rows] = []
        for number in range(round(self.plan.days * DAY / self.plan.block)):
            end = self.plan.start + (number + 1) * self.plan.block
            rows = ordinary.block(self.days, number)
            for one in self.campaigns:
                if one.alters is not None:
                    rows = altered(one, rows)
            while todo and todo[-1].start < end:
                running.append(sent(todo.pop(), self.days))
            now, waiting = cut(by_time(join([waiting, rows])), end)
            halves = [cut(rows, end) for rows in running]
            running = [later for _, later in halves if length(later)]
            yield by_time(join([now, *(due for due, _ in halves)])) if halves else now

    def blocks(self) -> Iterator[tuple[list[Event], list[int]]]:
        first = 0
        for rows in self.tables():
            yield to_events(rows, first)
            first += length(rows)

    def __iter__(self) -> Iterator[tuple[Event, int]]:
        for events, truth in self.blocks():
            yield from zip(events, truth, strict=True)


def cut(rows: Rows, end: float) -> tuple[Rows, Rows]:
    """What is due before this time, and the rest; no copies."""
    at = int(np.searchsorted(rows["time"], end))
    return take(rows, slice(0, at)), take(rows, slice(at, None))


def sent(one: Campaign, days: Days) -> Rows:
    """The rows of a campaign in order of time, labelled and cut at the end of the plan."""
    assert one.sends is not None
    rows = one.sends(days, one)
    rows = take(rows, (rows["time"] >= one.start) & (rows["time"] < days.plan.end))
    return by_time(rows | {"campaign": np.full(length(rows), one.number)})


def altered(one: Campaign, rows: Rows) -> Rows:
    """Ordinary rows of the campaign's application within its time, changed and labelled."""
    assert one.alters is not None
    time = rows["time"]
    if not len(time) or time.max() < one.start or time.min() >= one.end:
        return rows
    here = (time >= one.start) & (time < one.end) & (rows["app"] == one.app)
    if not here.any():
        return rows
    if "campaign" not in rows:
        rows["campaign"] = np.zeros(len(time), dtype=np.int64)
    return one.alters(one, rows, here)
