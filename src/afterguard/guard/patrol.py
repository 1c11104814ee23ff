"""The watch over predictive models inside a guard: rows that were answered in, alarms in the log and in the numbers, and callers whose next requests are hits.

In: sessions that are over, with their decisions. Out: one line of OCSF JSON for each alarm; suspects in `Models`. What it knows is kept in the guard's folder; where Redis is set all guards that share it watch as one (joined.py). An alarm comes a second or two after what it is about: the
request that completes a walk is answered, those after it meet the policy.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from afterguard.errors import AfterguardError
from afterguard.guard.decision import Decision, alarm
from afterguard.guard.joined import Joined, Suspect
from afterguard.guard.journal import Journal
from afterguard.guard.metrics import Metrics
from afterguard.guard.models import HOLD, Models
from afterguard.guard.notice import Client, Marks, client
from afterguard.guard.predicting import PredictSession
from afterguard.guard.session import Session
from afterguard.model import Batch
from afterguard.watch.alert import Alert
from afterguard.watch.event import Event
from afterguard.watch.predictions import hashed
from afterguard.watch.predictive import Predictive

log = logging.getLogger("afterguard.guard")
FILE = "scored"
CAP = 512 << 20
STEP = 0.5
KEEP = 300.0
WAITING = 50_000
"""Rows that may wait for the next look; what comes on top is counted."""
EVENTS = 32
"""Rows of one request that are seen; the others are counted."""


class Patrol:
    """One process's part in the watch over predictive models."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        metrics: Metrics,
        models: Models,
        pseudonym: Callable[[str], str],
        *,
        version: str = "0",
        marks: Marks = Marks(),  # noqa: B008 - an immutable tuple
        redis: str = "",
        brain: str = "",
    ) -> None:
        self.file = folder / FILE
        self.journal, self.metrics, self.models, self.pseudonym = journal, metrics, models, pseudonym
        self.version, self.marks = version, marks
        self.joined = Joined(redis, brain, self._failed, self._suspect, time.time() - HOLD) if redis else None
        self.watch = Predictive() if redis else self._restored()
        models.callers = self.callers
        self._rows: list[Event] = []
        self._kept = time.monotonic()

    def _restored(self) -> Predictive:
        try:
            with self.file.open("rb") as handle:
                return Predictive.restored(handle.read(CAP))
        except FileNotFoundError:
            return Predictive()
        except (OSError, AfterguardError) as error:
            log.error("%s cannot be read, the watch over predictive models learns anew: %s", self.file, error)
            self._failed("scored_state")
            return Predictive()

    def saw(self, session: Session, one: Decision) -> None:
        """An exchange is over. Never raises: whoever answers must not fail because somebody counts."""
        if not isinstance(session, PredictSession) or not session.is_learned:
            return
        try:
            batch = session.exchange().batch
            if batch is None:
                return
            if len(self._rows) >= WAITING:
                self._failed("scored_full")
                return
            if batch.rows > EVENTS:
                self.metrics.add(
                    "afterguard_unjudged_total", session.route.name, "rows_not_watched", by=batch.rows - EVENTS
                )
            at = client(dict(session.headers), session.peer, self.marks, self.pseudonym)
            self._rows += events(session, one, batch, at)
        except Exception as error:
            self._failed(f"scored:{type(error).__name__}")

    def callers(self, session: Session) -> tuple[str, ...]:
        """The keyed hashes under which the watch knows a session's caller: the one it would call it by."""
        at = client(dict(session.headers), session.peer, self.marks, self.pseudonym)
        return (at.user or session.identity or at.address,)

    def _failed(self, why: str) -> None:
        self.metrics.add("afterguard_failures_total", "all", why, "yes")

    def _suspect(self, one: Suspect) -> None:
        self.models.suspect(one.route, one.hit, one.time)

    async def keep(self) -> None:
        """Look, twice a second, until cancelled."""
        while True:
            await asyncio.sleep(STEP)
            await self.step(time.time())
            if self.joined is None and time.monotonic() - self._kept >= KEEP:
                await asyncio.to_thread(self._keep)

    async def step(self, now: float) -> None:
        """Hand over what came since the last look; write alarms down."""
        rows, self._rows = self._rows, []
        try:
            if self.joined is not None:
                alerts = await self.joined.step(rows, now)
            else:
                alerts = [alert for one in rows for alert in self.watch.feed(one)] + self.watch.tick(now)
        except Exception as error:
            log.exception("the watch over predictive models failed, and begins anew")
            self._failed(f"scored:{type(error).__name__}")
            self.watch = Predictive()
            return
        some = [self._tell(alert, now) for alert in alerts]
        if some and self.joined is not None:
            await self.joined.tell(some)

    def _tell(self, alert: Alert, now: float) -> Suspect:
        self.metrics.add("afterguard_alarms_total", alert.hit.kind)
        self.journal.write(alarm(alert, now, self.version))
        one = Suspect(alert.route, now, alert.hit)
        self._suspect(one)
        return one

    def _keep(self) -> None:
        self._kept = time.monotonic()
        fresh = self.file.with_name(f"{FILE}.{os.getpid()}")
        try:
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
                out.write(self.watch.kept())
            fresh.replace(self.file)
        except OSError as error:
            log.error("what is known of predictive models cannot be kept: %s", error)
            self._failed("scored_not_kept")

    async def close(self) -> None:
        """Look once more, and keep what is known."""
        if self.joined is not None:
            if self._rows or self.joined.judging is not None:
                await self.step(time.time())
            await self.joined.close()
            return
        await self.step(time.time())
        if self.watch.models:
            self._keep()


def events(session: PredictSession, one: Decision, batch: Batch, at: Client) -> Sequence[Event]:
    """The rows of one exchange."""
    return [
        Event(
            time=one.time + one.seconds,
            id=one.id,
            app=one.app or one.route,
            route=one.route,
            key=one.identity,
            user=at.user,
            address=at.address,
            network=at.network,
            device=at.device,
            model=session.spot.model,
            version=batch.version,
            operation="predict",
            features=features(batch, row),
            score=batch.scores[row] if row < len(batch.scores) else None,
            decision=batch.decisions[row] if row < len(batch.decisions) else "",
        )
        for row in range(min(batch.rows, EVENTS))
    ]


def features(batch: Batch, row: int) -> tuple[float, ...]:
    """A row as numbers: texts by hash."""
    numbers: list[float] = [float(one) for one in batch.numbers[row].tolist()]
    for place, texts in batch.texts.items():
        if texts[row]:
            numbers[place] = hashed(zlib.crc32(texts[row].encode("utf-8", "replace")))
    return tuple(numbers)
