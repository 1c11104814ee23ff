"""The watch over time inside a guard: exchanges in, alarms in the log and in the numbers.

In: sessions that are over, with their decisions. Out: one line of OCSF JSON for each alarm, in the decision log, and counts. What is usual is kept in the guard's folder, so that a restart forgets
nothing; where Redis is set all guards that share it watch as one (watching.py). It changes no exchange: an alarm is for people.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from afterguard.errors import AfterguardError
from afterguard.guard.decision import Decision, alarm
from afterguard.guard.journal import Journal
from afterguard.guard.metrics import Metrics
from afterguard.guard.notice import Marks, client, event
from afterguard.guard.price import Price, cost
from afterguard.guard.session import Session
from afterguard.guard.watching import Together
from afterguard.watch.alert import Alert
from afterguard.watch.event import Event
from afterguard.watch.live import Watch

log = logging.getLogger("afterguard.guard")
FILE = "usual"
"""In the guard's folder: what is usual."""
CAP = 256 << 20
STEP = 1.0
"""Seconds between two looks."""
KEEP = 600.0
"""Seconds between two writings of what is usual."""
WAITING = 100_000
"""Events that may wait for the next look; what comes on top is counted."""


class Lookout:
    """One process's part in the watch."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        metrics: Metrics,
        pseudonym: Callable[[str], str],
        *,
        version: str = "0",
        marks: Marks = Marks(),  # noqa: B008 - an immutable tuple
        prices: tuple[Price, ...] = (),
        together: Together | None = None,
    ) -> None:
        self.file = folder / FILE
        self.journal = journal
        self.metrics = metrics
        self.pseudonym = pseudonym
        self.version = version
        self.marks = marks
        self.prices = prices
        self.together = together
        self.watch = Watch() if together is not None else self._restored()
        self._events: list[Event] = []
        self._kept = time.monotonic()

    def _restored(self) -> Watch:
        try:
            with self.file.open("rb") as handle:
                data = handle.read(CAP)
            return Watch.restored(data)
        except FileNotFoundError:
            return Watch()
        except (OSError, AfterguardError, ValueError) as error:
            log.error("%s cannot be read, what is usual is learned anew: %s", self.file, error)
            return Watch()

    def saw(self, session: Session, one: Decision) -> None:
        """An exchange is over. Never raises: whoever answers must not fail because somebody counts."""
        try:
            if len(self._events) >= WAITING:
                self._failed("watch_full")
                return
            at = client(dict(session.headers), session.peer, self.marks, self.pseudonym)
            paid = cost(self.prices, one.model, one.input_tokens or 0, one.output_tokens or 0)
            self._events.append(event(session, one, at, self.pseudonym, paid))
        except Exception as error:
            self._failed(f"watch:{type(error).__name__}")

    def _failed(self, why: str) -> None:
        self.metrics.add("afterguard_failures_total", "all", why, "yes")

    async def keep(self) -> None:
        """Look, once a second, until cancelled."""
        while True:
            await asyncio.sleep(STEP)
            await self.step(time.time())
            if self.together is None and time.monotonic() - self._kept >= KEEP:
                await asyncio.to_thread(self._keep)

    async def step(self, now: float) -> None:
        """Hand over what came since the last look; write alarms down."""
        events, self._events = self._events, []
        try:
            if self.together is not None:
                alerts = await self.together.step(events, now)
            else:
                alerts = [alert for one in events for alert in self.watch.feed(one)] + self.watch.tick(now)
        except Exception as error:
            log.exception("the watch over time failed")
            self._failed(f"watch:{type(error).__name__}")
            return
        for alert in alerts:
            self._tell(alert, now)

    def _tell(self, alert: Alert, now: float) -> None:
        self.metrics.add("afterguard_alarms_total", alert.hit.kind)
        self.journal.write(alarm(alert, now, self.version))

    def _keep(self) -> None:
        self._kept = time.monotonic()
        fresh = self.file.with_name(f"{FILE}.{os.getpid()}")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(self.watch.kept())
            fresh.replace(self.file)
        except OSError as error:
            log.error("what is usual cannot be kept: %s", error)
            self._failed("usual_not_kept")

    async def close(self) -> None:
        """Look once more, and keep what is usual."""
        await self.step(time.time())
        if self.together is not None:
            await self.together.close()
        else:
            self._keep()


def together(url: str, brain: str, metrics: Metrics) -> Together:
    """The common watch of all that share a Redis."""

    def failed() -> None:
        metrics.add("afterguard_failures_total", "all", "watch_redis", "yes")

    return Together(url, brain, failed)
