"""One process's part in a watch: exchanges that are over become events, alerts become lines of the decision log.

In: sessions with their decisions. Out: one line of OCSF JSON for each alert, and counts. What the watch knows is kept in the guard's folder, so that a restart forgets nothing; where Redis is set, all guards that
share it watch as one (together.py). It changes no exchange: an alarm is for people. A clock that jumps does not move it (steady.py).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, NamedTuple

import msgspec

from afterguard import files
from afterguard.errors import AfterguardError
from afterguard.guard.decision import Decision, alarm
from afterguard.guard.journal import Journal
from afterguard.guard.metrics import Metrics
from afterguard.guard.session import Session
from afterguard.guard.steady import Steady
from afterguard.guard.together import Together, W
from afterguard.watch.alarm import Alarm
from afterguard.watch.event import Event

log = logging.getLogger("afterguard.guard")


class Place(NamedTuple):
    """Where a watch writes down."""

    folder: Path
    journal: Journal
    metrics: Metrics
    pseudonym: Callable[[str], str]
    version: str = "0"


class Part(Generic[W]):
    """See the file."""

    name = ""
    """Of the watch, in counts of failures."""
    file_name = ""
    """In the guard's folder: what it knows."""
    cap = 256 << 20
    step_every = 1.0
    """Seconds between two looks."""
    keep_every = 600.0
    """Seconds between two writings of what it knows."""
    waiting = 100_000
    """Events that may wait for the next look; what comes on top is counted."""

    def __init__(
        self, place: Place, make: Callable[[], W], restored: Callable[[bytes], W], together: Together[W] | None
    ) -> None:
        self.place, self.make = place, make
        self.journal, self.metrics, self.pseudonym = place.journal, place.metrics, place.pseudonym
        self.file = place.folder / self.file_name
        self.together = together
        self.watch: W = make() if together is not None else self._restored(restored)
        self._events: list[Event] = []
        self._kept = time.monotonic()
        self._steady = Steady()
        self._off = 0.0
        """Seconds by which the wall clock is off."""

    def _restored(self, restored: Callable[[bytes], W]) -> W:
        try:
            with self.file.open("rb") as handle:
                return restored(handle.read(self.cap))
        except FileNotFoundError:
            return self.make()
        except (OSError, AfterguardError, ValueError) as error:
            log.error("%s cannot be read, what is usual is learned anew: %s", self.file, error)
            self.failed(f"{self.name}_state")
            return self.make()

    def events(self, session: Session, one: Decision) -> Sequence[Event]:
        """What the watch is to see of an exchange."""
        raise NotImplementedError

    def saw(self, session: Session, one: Decision) -> None:
        """An exchange is over. Never raises: whoever answers must not fail because somebody counts."""
        try:
            if len(self._events) >= self.waiting:
                self.failed(f"{self.name}_full")
            else:
                self._events += self.events(session, one)
        except Exception as error:
            self.failed(f"{self.name}:{type(error).__name__}")

    def failed(self, why: str) -> None:
        """Count what went wrong."""
        self.metrics.add("afterguard_failures_total", "all", why, "yes")

    async def keep(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            await asyncio.sleep(self.step_every)
            await self.step(self.now(time.time(), time.monotonic()))
            if self.together is None and time.monotonic() - self._kept >= self.keep_every:
                await asyncio.to_thread(self._keep)

    def now(self, wall: float, steady: float) -> float:
        """The time the watch lives by, of what both clocks say."""
        off = self._steady.off(wall, steady)
        if off != self._off:
            log.warning(
                "the clock of this machine is %.0f seconds off: the watch goes on by its own (%s)", off, self.name
            )
            self.failed(f"{self.name}_clock")
        self._off = off
        return wall - off

    def _timed(self, event: Event, now: float) -> Event:
        """An event that was written down while the clock was off, at its time."""
        time = event.time - self._off
        return msgspec.structs.replace(event, time=time) if abs(time - now) < abs(event.time - now) else event

    async def step(self, now: float) -> None:
        """Hand over what came since the last look; write alarms down."""
        events, self._events = self._events, []
        if self._off:
            events = [self._timed(event, now) for event in events]
        try:
            if self.together is not None:
                alerts = await self.together.step(events, now)
                self._count(self.together)
            else:
                alerts = [alert for one in events for alert in self.watch.feed(one)] + self.watch.tick(now)
        except Exception as error:
            log.exception("a watch failed (%s)", self.name)
            self.failed(f"{self.name}:{type(error).__name__}")
            self.broke()
            return
        await self.told(alerts, now)

    def _count(self, together: Together[W]) -> None:
        """What no common watch will see."""
        if together.dropped:
            self.metrics.add(
                "afterguard_failures_total", "all", f"{self.name}_not_shared", "yes", by=float(together.dropped)
            )
            together.dropped = 0

    def broke(self) -> None:
        """The watch has failed over what it was given."""

    async def told(self, alerts: Sequence[Alarm], now: float) -> None:
        """Write alarms down."""
        for alert in alerts:
            self.metrics.add("afterguard_alarms_total", alert.hit.kind)
            self.journal.write(alarm(alert, now, self.place.version))

    def _keep(self) -> None:
        self._kept = time.monotonic()
        fresh = self.file.with_name(f"{self.file_name}.{os.getpid()}")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(self.watch.kept())
            fresh.replace(self.file)
        except OSError as error:
            log.error("what is usual cannot be kept (%s): %s", self.file, files.why(error))
            self.failed(f"{self.name}_not_kept")
        except Exception:  # whatever cannot be written down is no reason to stop watching
            log.exception("what is usual cannot be kept (%s)", self.file)
            self.failed(f"{self.name}_not_kept")

    async def close(self) -> None:
        """Look once more, and keep what is known."""
        await self.step(self.now(time.time(), time.monotonic()))
        if self.together is not None:
            await self.together.close()
            self._count(self.together)
        else:
            self._keep()
