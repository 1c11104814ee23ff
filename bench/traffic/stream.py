"""The stream: ordinary traffic and campaigns, merged in order of time.

In: a seed and a `Plan`. Out: lists of `Event`, and beside each event the number of its campaign (0: ordinary); `Stream.campaigns` holds the truth.

A quarter of an hour is drawn at once; rows that fall later than it wait for their turn. A campaign's rows are drawn whole when it begins. Campaigns that change the model rather than send
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
        """Rows in order of time, a quarter of an hour at once."""
        waiting: Rows = {"time": np.empty(0)}
        todo = sorted(self.campaigns, key=lambda one: one.start)
        begun = 0
        for number in range(round(self.plan.days * DAY / ordinary.BLOCK)):
            end = self.plan.start + (number + 1) * ordinary.BLOCK
            rows = ordinary.block(self.days, number)
            for one in self.campaigns:
                if one.alters is not None:
                    rows = altered(one, rows)
            parts = [waiting, rows]
            while begun < len(todo) and todo[begun].start < end:
                if todo[begun].sends is not None:
                    parts.append(sent(todo[begun], self.days))
                begun += 1
            rows = by_time(join(parts))
            cut = int(np.searchsorted(rows["time"], end))
            waiting = take(rows, slice(cut, None))
            yield take(rows, slice(0, cut))

    def blocks(self) -> Iterator[tuple[list[Event], list[int]]]:
        first = 0
        for rows in self.tables():
            yield to_events(rows, first)
            first += length(rows)

    def __iter__(self) -> Iterator[tuple[Event, int]]:
        for events, truth in self.blocks():
            yield from zip(events, truth, strict=True)


def sent(one: Campaign, days: Days) -> Rows:
    """The rows of a campaign, labelled and cut at the end of the plan."""
    assert one.sends is not None
    rows = one.sends(days, one)
    rows = take(rows, (rows["time"] >= one.start) & (rows["time"] < days.plan.end))
    return rows | {"campaign": np.full(length(rows), one.number)}


def altered(one: Campaign, rows: Rows) -> Rows:
    """Ordinary rows of the campaign's application within its time, changed and labelled."""
    assert one.alters is not None
    time = rows["time"]
    if not len(time) or time[-1:].max() < one.start - ordinary.BLOCK or time.min() >= one.end:
        return rows
    here = (time >= one.start) & (time < one.end) & (rows["app"] == one.app)
    if not here.any():
        return rows
    if "campaign" not in rows:
        rows["campaign"] = np.zeros(len(time), dtype=np.int64)
    return one.alters(one, rows, here)
