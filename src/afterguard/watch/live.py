"""The watch over time while an application runs: events in, alarms out, slice by slice.

In: Events, in about the order of time, and now and then the time. Out: Alerts, when a slice of a minute is over. No clock: time is what events and
`tick` say. What brains share are the events of the slice that is open (`shared`, `merge`): the order in which they come does not matter, so
two brains with half of the events each raise what one with all of them raises.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from afterguard.watch import kept
from afterguard.watch.alarm import Alarm, timed
from afterguard.watch.event import NEVER, Event
from afterguard.watch.seen import BITS, Seen
from afterguard.watch.site import Settings, Site

SLICE = 60.0
PATIENCE = 300.0
FEW = 1_000
"""A slice of fewer events than this stays open for up to PATIENCE seconds: judging costs the same for one event as for hundreds."""
MOST = 50_000
"""Events after which a slice ends early."""
SITES = 16
"""Applications with a memory of their own; the others share one."""
AHEAD = 6 * 3_600.0
TOGETHER = 20
"""Events in a row from far ahead, or from far behind, that are believed."""
WEEK = 7 * 86_400.0


class Watch:
    """All applications of one brain, or of several that share."""

    def __init__(self, settings: Settings | None = None, bits: int = BITS) -> None:
        self.settings = settings or Settings()
        self.seen = Seen(bits)
        self.read = Seen(bits)
        """The same of texts and documents, of which there are so many that they would soon push out who was where."""
        self.sites: dict[str, Site] = {}
        self.open: list[Event] = []
        """Of the minute that is not over."""
        self.waiting: dict[str, list[Event]] = {}
        """Of minutes that are over, of applications with few events."""
        self.minute = -1
        self.late = 0
        self.ahead = 0
        self.refused = 0
        self._ahead: list[Event] = []
        self._behind = 0
        self.shift = 0.0
        """Seconds, whole weeks, by which this watch lives ahead of the clocks: one was wrong, everything is remembered by its time, and what is behind it would be late for ever."""

    def feed(self, event: Event) -> list[Alarm]:
        """One event; the alarms of the slice that ends with it."""
        if not 0 < event.time < NEVER:
            self.refused += 1
            return []
        self._goes_back(event.time)
        if self.shift:
            event = msgspec.structs.replace(event, time=event.time + self.shift)
        minute = int(event.time // SLICE)
        if self.minute < 0:
            self.minute = minute
        if event.time - self.minute * SLICE > AHEAD and not self._believes(event):
            return []
        alerts: list[Alarm] = []
        if minute > self.minute or len(self.open) >= MOST:
            alerts = self._close(minute)
        elif minute < self.minute:
            self.late += 1
            event = msgspec.structs.replace(event, time=self.minute * SLICE)
        self.open.append(event)
        return alerts

    def _believes(self, event: Event) -> bool:
        """A single event from far ahead is a wrong clock; many in a row are the time."""
        self._ahead.append(event)
        if len(self._ahead) < TOGETHER:
            self.ahead += 1
            return False
        self._ahead = []
        return True

    def _goes_back(self, time: float) -> None:
        """Many events in a row from far behind are the time: this watch was taken ahead by a clock that was wrong."""
        behind = self.minute * SLICE - time - self.shift
        self._behind = self._behind + 1 if behind > AHEAD else 0
        if self._behind >= TOGETHER:
            self._behind = 0
            # By whole weeks, or every Monday would be a Tuesday.
            self.shift += math.ceil(behind / WEEK) * WEEK

    def tick(self, now: float) -> list[Alarm]:
        """It is `now`: ends the slice when its minute is over."""
        now += self.shift
        if self.minute >= 0 and 0 < now < NEVER + self.shift and now // SLICE > self.minute:
            return self._close(int(now // SLICE))
        return []

    def _close(self, until: int) -> list[Alarm]:
        """End the minute and those up to `until`; alarms at the times that clocks say."""
        alerts = self._closed(until)
        return [timed(alert, -self.shift) for alert in alerts] if self.shift else alerts

    def _closed(self, until: int) -> list[Alarm]:
        """End the minute and those up to `until`: judge the applications that have enough events or waited long enough.

        Minute by minute even where nothing came, so that it does not matter whether an event or a tick told the time.
        """
        events, self.open, self._ahead = self.open, [], []
        events.sort(key=_order)
        for event in events:
            self.waiting.setdefault(self._name(event.app), []).append(event)
        alerts: list[Alarm] = []
        minute, self.minute = self.minute, max(until, self.minute)
        last = max(until, minute + 1)
        while self.waiting and minute < last:
            now = (minute + 1) * SLICE
            due = [app for app, some in self.waiting.items() if len(some) >= FEW or now - some[0].time >= PATIENCE]
            for app in sorted(due):
                self.sites[app].shift = self.shift
                alerts += self.sites[app].judge(self.waiting.pop(app), now)
            minute += 1
        for app in sorted(self.sites):
            alerts += self.sites[app].storms.gather([], last * SLICE)
        return alerts

    def _name(self, app: str) -> str:
        if app not in self.sites:
            if len(self.sites) >= SITES:
                app = "*"
            if app not in self.sites:
                self.sites[app] = Site(app, self.settings, self.seen, self.read)
        return app

    def shared(self) -> bytes:
        """The events of the open slice, for another brain. They are no longer this one's to judge."""
        events, self.open = self.open, []
        return msgspec.msgpack.encode(events)

    def merge(self, data: bytes) -> list[Alarm]:
        """Take the events of another brain's open slice."""
        return [alert for event in decoded(data) for alert in self.feed(event)]

    def standing(self) -> list[dict[str, Any]]:
        """What is known of each application and since when, whether it is enough, and what was overlooked."""
        return [
            {
                "app": app,
                "events": site.events,
                "days": round((site.last - site.begun) / 86_400, 2),
                "is_learning": site.is_learning(site.last),
                "rows": {scope: len(table.names) for scope, table in site.tables.items()},
                "evicted": sum(table.evicted for table in site.tables.values()),
                "overlooked": sum(table.overlooked for table in site.tables.values()),
                "late": self.late,
                "ahead": self.ahead,
                "refused": self.refused,
            }
            for app, site in sorted(self.sites.items())
        ]

    def accept(self, app: str, scope: str, who: str) -> bool:
        """A person says that what this one does now is usual. False where it is not known."""
        site = self.sites.get(app)
        table = site.tables.get(scope) if site else None
        row = next((r for name, r in table.rows.items() if str(name) == who), None) if table else None
        if table is None or row is None:
            return False
        table.usual[row] = np.maximum(table.usual[row], table.sums[row, 2])
        return True

    def kept(self) -> bytes:
        """Everything that is known, to be restored after a restart."""
        return kept.state_of(self)

    @classmethod
    def restored(cls, data: bytes, settings: Settings | None = None) -> Watch:
        """A watch from what was kept. Other data raise AfterguardError."""
        watch = cls(settings, bits=8)
        kept.fill(watch, data)
        return watch


def decoded(data: bytes) -> list[Event]:
    """Events that another brain sent."""
    return msgspec.msgpack.decode(data, type=list[Event])


def _order(event: Event) -> tuple[float, str]:
    return event.time, event.id
