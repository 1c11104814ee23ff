"""The watch over predictive models inside a guard: every row that was answered becomes an event, and callers that stood out are suspects at every brain.

In: sessions that are over, with their decisions. Out: see part.py; suspects in `Models`. An alarm comes a second or two after what it is about: the request that completes a walk is answered, those after it meet the policy.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence

from afterguard.guard.decision import Decision
from afterguard.guard.models import HOLD, Models
from afterguard.guard.notice import Client, Marks, client
from afterguard.guard.part import Part, Place
from afterguard.guard.predicting import PredictSession
from afterguard.guard.session import Session
from afterguard.guard.suspects import Suspect, Suspects
from afterguard.guard.together import Together
from afterguard.model import Batch
from afterguard.watch.alarm import Alarm
from afterguard.watch.event import Event
from afterguard.watch.predictions import hashed
from afterguard.watch.predictive import SLICE, Predictive

FILE = "scored"
GRACE = 1.5
KEEP = 120.0
EVENTS = 32
"""Rows of one request that are seen; the others are counted."""


class Patrol(Part[Predictive]):
    """One process's part in the watch over predictive models."""

    name = "scored"
    file_name = FILE
    cap = 512 << 20
    step_every = 0.5
    keep_every = 300.0
    waiting = 50_000

    def __init__(
        self,
        place: Place,
        models: Models,
        *,
        marks: Marks = Marks(),  # noqa: B008 - an immutable tuple
        redis: str = "",
        brain: str = "",
    ) -> None:
        self.models, self.marks = models, marks
        super().__init__(place, Predictive, Predictive.restored, joint(redis, brain, self.failed) if redis else None)
        self.suspects = Suspects(redis, self.failed, time.time() - HOLD) if redis else None
        models.callers = self.callers

    def events(self, session: Session, one: Decision) -> Sequence[Event]:
        """The rows of the exchange."""
        if not isinstance(session, PredictSession) or not session.is_learned:
            return ()
        batch = session.exchange().batch
        if batch is None:
            return ()
        if batch.rows > EVENTS:
            more = batch.rows - EVENTS
            self.metrics.add("afterguard_unjudged_total", session.route.name, "rows_not_watched", by=more)
        at = client(dict(session.headers), session.peer, self.marks, self.pseudonym)
        return rows(session, one, batch, at)

    def callers(self, session: Session) -> tuple[str, ...]:
        """The keyed hashes under which the watch knows a session's caller: the one it would call it by."""
        at = client(dict(session.headers), session.peer, self.marks, self.pseudonym)
        return (at.user or session.identity or at.address,)

    async def step(self, now: float) -> None:
        """Hand over what came since the last look; write alarms down."""
        if self.suspects is not None:
            for one in await self.suspects.heard():
                self._suspect(one)
        await super().step(now)

    def broke(self) -> None:
        """It begins anew: what is known of models comes back in hours."""
        self.watch = Predictive()

    async def told(self, alerts: Sequence[Alarm], now: float) -> None:
        """Write alarms down; let every brain know of the callers."""
        await super().told(alerts, now)
        some = [Suspect(alert.route, now, alert.hit) for alert in alerts]
        for one in some:
            self._suspect(one)
        if some and self.suspects is not None:
            await self.suspects.tell(some)

    def _suspect(self, one: Suspect) -> None:
        self.models.suspect(one.route, one.hit, one.time)

    async def close(self) -> None:
        """Look once more, and keep what is known."""
        if self.watch.models or self._events or self.together is not None:
            await super().close()
        if self.suspects is not None:
            await self.suspects.close()


def joint(url: str, brain: str, failed: Callable[[str], None]) -> Together[Predictive]:
    """The common watch of all that share a Redis."""
    return Together(
        url, brain, Patrol.name, Predictive, Predictive.restored, failed, length=SLICE, grace=GRACE, keep=KEEP
    )


def rows(session: PredictSession, one: Decision, batch: Batch, at: Client) -> Sequence[Event]:
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
