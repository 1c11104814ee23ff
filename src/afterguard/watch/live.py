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

from afterguard.errors import AfterguardError
from afterguard.watch import replies
from afterguard.watch.alert import Alert
from afterguard.watch.event import Event
from afterguard.watch.seen import BITS, Seen
from afterguard.watch.site import Settings, Site
from afterguard.watch.table import Table

FORMAT = "afterguard.watch/1"
SLICE = 60.0
PATIENCE = 300.0
FEW = 300
"""A slice of fewer events than this stays open for up to PATIENCE seconds: judging costs the same for one event as for hundreds."""
MOST = 50_000
"""Events after which a slice ends early."""
SITES = 16
"""Applications with a memory of their own; the others share one."""
AHEAD = 6 * 3_600.0
TOGETHER = 20
"""Events in a row from far ahead that are believed."""
ROWS = ("sums", "usual", "today", "last", "first", "rolled", "days", "hour", "gap", "at")
MEASURED = ("jump", "everybody", "middle", "middles", "record", "looked", "newcomer")


class Watch:
    """All applications of one brain, or of several that share."""

    def __init__(self, settings: Settings | None = None, bits: int = BITS) -> None:
        self.settings = settings or Settings()
        self.seen = Seen(bits)
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

    def feed(self, event: Event) -> list[Alert]:
        """One event; the alarms of the slice that ends with it."""
        if not math.isfinite(event.time) or event.time <= 0:
            self.refused += 1
            return []
        minute = int(event.time // SLICE)
        if self.minute < 0:
            self.minute = minute
        if event.time - self.minute * SLICE > AHEAD and not self._believes(event):
            return []
        alerts: list[Alert] = []
        if minute > self.minute or len(self.open) >= MOST:
            alerts = self._close()
            self.minute = max(minute, self.minute)
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

    def tick(self, now: float) -> list[Alert]:
        """It is `now`: ends the slice when its minute is over."""
        if self.minute >= 0 and math.isfinite(now) and now // SLICE > self.minute:
            alerts = self._close()
            # Those who wait do so until the minute before now is over, as if events had come.
            self.minute = max(self.minute, int(now // SLICE) - 1)
            alerts += self._close()
            self.minute = int(now // SLICE)
            return alerts
        return []

    def _close(self) -> list[Alert]:
        """End the minute; judge the applications that have enough events or waited long enough."""
        events, self.open, self._ahead = self.open, [], []
        events.sort(key=_order)
        for event in events:
            self.waiting.setdefault(self._name(event.app), []).append(event)
        now = (self.minute + 1) * SLICE
        due = [app for app, some in self.waiting.items() if len(some) >= FEW or now - some[0].time >= PATIENCE]
        return [alert for app in sorted(due) for alert in self.sites[app].judge(self.waiting.pop(app), now)]

    def _name(self, app: str) -> str:
        if app not in self.sites:
            if len(self.sites) >= SITES:
                app = "*"
            if app not in self.sites:
                self.sites[app] = Site(app, self.settings, self.seen)
        return app

    def shared(self) -> bytes:
        """The events of the open slice, for another brain. They are no longer this one's to judge."""
        events, self.open = self.open, []
        return msgspec.msgpack.encode(events)

    def merge(self, data: bytes) -> list[Alert]:
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
        import zstandard

        state = {
            "format": FORMAT,
            "minute": self.minute,
            "open": self.open,
            "waiting": self.waiting,
            "counts": [self.late, self.ahead, self.refused],
            "seen": [self.seen.bits, self.seen.young.tobytes(), self.seen.old.tobytes(), self.seen.since, self.seen.added],
            "sites": {app: _site(site) for app, site in self.sites.items()},
        }
        return zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(state))

    @classmethod
    def restored(cls, data: bytes, settings: Settings | None = None) -> Watch:
        """A watch from what was kept. Other data raise AfterguardError."""
        try:
            return _restored(cls, data, settings)
        except AfterguardError:
            raise
        except Exception as error:
            raise _unreadable(str(error)) from error


def decoded(data: bytes) -> list[Event]:
    """Events that another brain sent."""
    return msgspec.msgpack.decode(data, type=list[Event])


def _order(event: Event) -> tuple[float, str]:
    return event.time, event.id


def _unreadable(why: str) -> AfterguardError:
    return AfterguardError(
        f"the kept state of the watch cannot be read: {why[:200]}",
        hint="remove the file; the watch then learns from the start, which takes three days",
    )


def _site(site: Site) -> dict[str, Any]:
    season = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(site.season).items()}
    return {
        "begun": [site.begun, site.events, site.last],
        "tables": {scope: _table(table) for scope, table in site.tables.items()},
        "season": season,
        "topics": [site.topics.first, site.topics.odds.tolist(), site.topics.line, site.topics.fits, site.topics.moved],
        "heavy": [site.heavy.lines, site.heavy.sample, site.heavy.moved],
        "replies": [[list(key), replies.kept(stream)] for key, stream in site.replies.streams.items()],
        "budgets": [[list(key), row] for key, row in site.budgets.rows.items()],
        "told": [[list(key), row] for key, row in site.cooling.told.items()],
        "causes": [[list(key), until] for key, until in site.cooling.causes.items()],
        "rises": [[list(key), time] for key, time in site.rises.items()],
    }


def _table(table: Table) -> dict[str, Any]:
    count = len(table.names)
    return {
        "measures": table.columns,
        "names": table.names,
        "counts": [table.overlooked, table.evicted],
        **{name: getattr(table, name)[:count].tobytes() for name in ROWS},
        **{name: getattr(table, name).tobytes() for name in MEASURED},
    }


def _restored(cls: type[Watch], data: bytes, settings: Settings | None) -> Watch:
    import zstandard

    raw = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    state = msgspec.msgpack.decode(raw)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise _unreadable(f"its format is {state.get('format') if isinstance(state, dict) else 'unknown'}, not {FORMAT}")
    bits, young, old, since, added = state["seen"]
    watch = cls(settings, bits=8)
    watch.seen.bits, watch.seen.since, watch.seen.added = bits, since, added
    watch.seen.young, watch.seen.old = (np.frombuffer(part, dtype=np.uint8).copy() for part in (young, old))
    watch.minute = state["minute"]
    watch.open = msgspec.convert(state["open"], list[Event])
    watch.waiting = msgspec.convert(state["waiting"], dict[str, list[Event]])
    watch.late, watch.ahead, watch.refused = state["counts"]
    for app, kept in state["sites"].items():
        watch.sites[app] = site = Site(app, watch.settings, watch.seen)
        _fill(site, kept)
    return watch


def _fill(site: Site, kept: dict[str, Any]) -> None:
    site.begun, site.events, site.last = kept["begun"]
    for scope, table in kept["tables"].items():
        if scope in site.tables:
            _fill_table(site.tables[scope], table)
    for name, value in kept["season"].items():
        setattr(site.season, name, np.array(value) if isinstance(value, list) else value)
    site.topics.first, odds, site.topics.line, site.topics.fits, site.topics.moved = kept["topics"]
    site.topics.odds = np.array(odds).reshape(-1, 64)
    site.heavy.lines, site.heavy.sample, site.heavy.moved = kept["heavy"]
    site.replies.streams.update({(k[0], k[1]): replies.restored(row) for k, row in kept["replies"]})
    site.budgets.rows.update({(k[0], k[1]): row for k, row in kept["budgets"] if k[0] < len(site.budgets.budgets)})
    site.cooling.told.update({(k[0], k[1], k[2]): row for k, row in kept["told"]})
    site.cooling.causes.update({(k[0], k[1], k[2]): until for k, until in kept["causes"]})
    site.rises.update({(k[0], k[1], k[2]): time for k, time in kept["rises"]})


def _fill_table(table: Table, kept: dict[str, Any]) -> None:
    """Where the rules changed meanwhile, the scope learns anew."""
    names = kept["names"][: table.size]
    if kept["measures"] != table.columns or len(names) != len(kept["names"]):
        return
    table.names, table.rows = names, {name: row for row, name in enumerate(names)}
    table.overlooked, table.evicted = kept["counts"]
    have, table.names = table.names, []
    table.make_room(max(len(have), 1))
    table.names = have
    for name in ROWS:
        array = getattr(table, name)
        array[: len(have)] = np.frombuffer(kept[name], dtype=array.dtype).reshape(array[: len(have)].shape)
    for name in MEASURED:
        array = getattr(table, name)
        setattr(table, name, np.frombuffer(kept[name], dtype=array.dtype).reshape(array.shape).copy())
