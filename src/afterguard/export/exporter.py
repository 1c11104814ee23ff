"""All sinks together: what a long-running process feeds, and what hands on to the SOC.

In: settings, a folder for the spools; events in lanes, from any thread. Out: deliveries, counts, and alerts about the sinks themselves to the other sinks. Use:

    with Exporter(load(path).sinks, folder) as out:     # threads: one a sink, one that syncs
        out.put("alert", alert)

or without threads, for tests: `Exporter(...)`, then `step()` until it returns False. `put` returns when every sink's spool has the event; for an alert, when their disks have it. It never waits for a destination, only for room in a spool, and only
after all other sinks have the event.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from afterguard.errors import AfterguardError
from afterguard.export.canary import Watched
from afterguard.export.deliver import Worker
from afterguard.export.encoding import encoder
from afterguard.export.event import Event, spooled
from afterguard.export.inbox import is_left, take_in
from afterguard.export.letters import is_asked, redrive
from afterguard.export.notice import about
from afterguard.export.sink import Settings, Sink, opened_spool
from afterguard.export.sinks import opened
from afterguard.export.spool.bound import LANES, Lane
from afterguard.export.status import lost, snapshot, write

log = logging.getLogger("afterguard.export")
SYNC = 0.02
"""Seconds between two syncs: with the sync itself, what is put is on the disk within 50 ms on a disk that syncs in less than 20."""
LOCK = 2.0
"""Seconds for a command that looks at a spool to let go of it."""
STATUS = 2.0
"""Seconds between two looks at what was lost, and two writings of the status."""
TOLD = 60.0
"""Seconds between two alerts about what one sink lost."""


class _Line:
    """One sink with what belongs to it."""

    def __init__(self, settings: Settings, folder: Path, sink: Sink, clock: Callable[[], float], alarm: Callable[[str, str, str], None], wait: float = LOCK) -> None:  # fmt: skip
        self.settings = settings
        self.spool = opened_spool(folder, settings, wait)
        self.sink = sink
        self.worker = Worker(settings, self.spool, sink, encoder(settings.encode), clock)
        self.watched = Watched(settings.name, settings.canary, self.spool, lambda title, text: alarm(settings.name, title, text), clock) if settings.canary else None  # fmt: skip
        self.wake = threading.Event()
        self.told_at = -1e9
        self.sync_trouble = ""

    def turn(self) -> float:
        """One turn of its worker and its canary; seconds until the next."""
        if self.watched is not None:
            self.watched.turn(self.sink)
        if is_asked(self.spool):
            redrive(self.spool)
        if is_left(self.spool):
            take_in(self.spool)
        wait = self.worker.turn()
        return min(wait, 0.05) if self.watched is not None and self.watched.out else wait


class Exporter:
    """Spools and workers of all sinks."""

    def __init__(
        self,
        sinks: Sequence[Settings],
        folder: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        made: Callable[[Settings], Sink] = opened,
        sync: float = SYNC,
        wait: float = LOCK,
    ) -> None:
        """Opens every spool; another process has `wait` seconds to let go of it. Raises UsageError where one is in use, or a client or format is missing."""
        self._lines: list[_Line] = []
        self._clock = clock
        self._sync = sync
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._stepped = -1e9
        try:
            for one in sinks:
                encoder(one.encode)
                self._lines.append(_Line(one, folder, made(one), clock, self._alarm, wait))
        except BaseException:
            self._let_go()
            raise

    def __enter__(self) -> Exporter:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- what a producer calls

    def put(self, lane: Lane, event: Event) -> bool:
        """Hand over an event; whether every sink of the lane took it (telemetry that was shed is counted). Raises UsageError for what is no JSON, SpoolFull where an alert or audit event found no room in a spool in time."""
        id, body = spooled(event)
        return self.put_json(lane, id, body)

    def put_json(self, lane: Lane, id: str, body: bytes) -> bool:
        """As `put`, for an event that is JSON already."""
        mine = [one for one in self._lines if lane in one.settings.lanes]
        # First all that have room, so that a full one holds up nobody else's.
        taken = [(one, one.spool.offer(lane, id, body)) for one in mine]
        for one, _ in taken:
            one.wake.set()
        later = [one.spool.put(lane, id, body) for one, is_in in taken if is_in is None]
        return all(is_in is not False for _, is_in in taken) and all(later)

    def sync(self) -> None:
        """Everything put so far is on the disk, of every sink. Raises AfterguardError where a disk does not take it: whoever moves a cursor past what was put asks here first."""
        for one in self._lines:
            one.spool.sync()

    # -- running

    def start(self) -> None:
        """Begin to deliver, in threads."""
        for one in self._lines:
            self._threads.append(threading.Thread(target=self._deliver, args=(one,), name=f"sink {one.settings.name}"))
        self._threads.append(threading.Thread(target=self._syncing, name="spool sync"))
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def step(self) -> bool:
        """Without threads: one turn of every sink; whether one of them has more to do at once."""
        waits = [one.turn() for one in self._lines]
        self._settle()
        return any(wait == 0 for wait in waits)

    def drain(self, within: float) -> bool:
        """Wait until everything put so far is settled; whether it was in time. Nothing lingers meanwhile."""
        until = time.monotonic() + within
        for one in self._lines:
            one.worker.is_draining = True
            one.wake.set()
        while (has_more := any(is_left(one.spool) or one.spool.backlog(lane) for one in self._lines for lane in LANES)) and time.monotonic() < until:  # fmt: skip
            if not self._threads:
                self.step()
            time.sleep(0.01)
        for one in self._lines:
            one.worker.is_draining = False
        return not has_more

    def close(self, drain: float = 0.0) -> None:
        """Stop; what is not delivered stays in the spools for the next time. `drain`: seconds to deliver what is there first."""
        if drain:
            self.drain(drain)
        self._stop.set()
        for one in self._lines:
            one.wake.set()
        for thread in self._threads:
            thread.join(30.0)
        self._let_go()

    def _let_go(self) -> None:
        for one in self._lines:
            with contextlib.suppress(Exception):
                one.sink.close()
            with contextlib.suppress(OSError, AfterguardError):
                write(one.spool.folder, snapshot(one))
            with contextlib.suppress(AfterguardError):
                one.spool.close()
        self._lines = []

    def _deliver(self, line: _Line) -> None:
        while not self._stop.is_set():
            try:
                wait = line.turn()
            except Exception:  # an error of ours must not end a sink's only thread
                log.exception("sink %s", line.settings.name)
                wait = 1.0
            if wait > 0:
                line.wake.wait(wait)
                line.wake.clear()

    def _syncing(self) -> None:
        while not self._stop.wait(self._sync):
            self._settle()

    @property
    def longest_unsynced(self) -> float:
        """Seconds that an event was put and not yet on the disk, at most so far."""
        return max((one.spool.longest_unsynced for one in self._lines), default=0.0)

    def _settle(self) -> None:
        for one in self._lines:
            try:
                one.spool.sync()
                one.sync_trouble = ""
            except AfterguardError as error:
                if not one.sync_trouble:
                    log.error("%s", error)
                one.sync_trouble = str(error)
        now = time.monotonic()
        if now - self._stepped >= STATUS:
            self._stepped = now
            for one in self._lines:
                self._tell(one)

    # -- what it says about itself

    def counts(self) -> dict[str, dict[str, Any]]:
        """For each sink: what was put, delivered, shed, missing and so on by lane, the lag, the state of the breaker, the canary. See docs/reference/sinks.md."""
        return {one.settings.name: msgspec.to_builtins(snapshot(one)) for one in self._lines}

    def _tell(self, line: _Line) -> None:
        """Write the status; where more was lost than was told, say so to every sink."""
        with contextlib.suppress(OSError):
            write(line.spool.folder, snapshot(line))
        gone, told = lost(line.spool), line.spool.counts["told"]
        now = time.monotonic()
        if gone > told and now - line.told_at >= TOLD:
            line.told_at = now
            line.spool.counts["told"] = gone
            text = f"{gone - told} more events were shed, damaged or refused in the spool of {line.settings.name}; {gone} in all"
            self._alarm("", f"Sink {line.settings.name} lost events, counted", text)

    def _alarm(self, without: str, title: str, text: str) -> None:
        """An alert about a sink, to every sink but `without`, if they have room."""
        log.error("%s: %s", title, text)
        id, body = spooled(about(title, text, time.time()))
        for one in self._lines:
            if one.settings.name != without and "alert" in one.settings.lanes:
                with contextlib.suppress(AfterguardError):
                    one.spool.offer("alert", id, body)
                one.wake.set()
