"""One watch over predictive models for several brains that share Redis or Valkey, as watching.py is for everything else.

In: rows that models answered here, about every half second. Out: alerts, on the brain that judges; and for all of them the callers that stood out. All brains append their rows to one stream; one of them, by a lease that ends by itself, reads the stream and judges each second
once GRACE is over, in the order of the rows' own times, so that it does not matter who saw what. What it knows is kept in Redis with the place in the stream it goes up to: another goes on from there. Callers that stand out are appended to a second stream, which every brain reads. Where Redis
does not answer, this brain watches alone over its own rows and says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from afterguard.errors import AfterguardError
from afterguard.guard.watching import AHEAD, BATCH, HELD, LONGEST, MARKED, PATIENCE, RENEW
from afterguard.model import Hit
from afterguard.watch.alert import Alert
from afterguard.watch.event import Event
from afterguard.watch.live import decoded
from afterguard.watch.predictive import SLICE, Predictive

log = logging.getLogger("afterguard.guard")
STREAM, STATE, REST, PLACE, LEASE, TOLD, SUSPECTS = (
    f"afterguard:scored:{name}" for name in ("rows", "state", "rest", "place", "judge", "told", "suspects")
)
GRACE = 1.5
"""Seconds a slice stays open for brains that are late."""
KEEP = 120.0
"""Seconds from one keeping of the state to the next."""
WAITING = 500_000
"""Rows read and not yet judged; more are judged early."""
MOST = 2_000
"""Entries of callers that stood out."""


class Suspect(msgspec.Struct, frozen=True, array_like=True):
    """Callers that stood out at one mount."""

    route: str
    time: float
    hit: Hit


class Joined:
    """This brain's part in the common watch."""

    def __init__(
        self, url: str, brain: str, failed: Callable[[str], None], suspect: Callable[[Suspect], None], since: float
    ) -> None:
        import redis.asyncio as redis

        self._redis: Any = redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
        self._renew: Any = self._redis.register_script(RENEW)
        self.brain, self.failed, self.suspect = brain, failed, suspect
        self.judging: Predictive | None = None
        """What the judge knows; None on the others."""
        self.alone = Predictive()
        """Over this brain's own rows, while Redis is away."""
        self.is_away = False
        self._place: bytes = b"0"
        self._told_up_to: bytes = f"{max(0, int(since * 1000))}-0".encode()
        self._rest: list[Event] = []
        self._kept = 0.0

    async def step(self, events: Sequence[Event], now: float) -> list[Alert]:
        """Hand over these rows; alerts, where this brain judges."""
        try:
            async with asyncio.timeout(2 * PATIENCE):
                if events:
                    data = msgspec.msgpack.encode(events)
                    await self._redis.xadd(STREAM, {b"e": data}, maxlen=LONGEST, approximate=True)
                await self._hear()
                is_judge = await self._is_judge()
            if not is_judge:
                self.judging = None
            alerts = await self._judge(now) if is_judge else []
            if self.is_away:
                log.warning("Redis is back: brains watch predictive models together again")
            self.is_away = False
            return alerts
        except Exception as error:  # whatever a client library raises when its server is away
            if not self.is_away:
                log.error("Redis does not answer (%s): this brain watches predictive models alone", error)
            self.is_away = True
            self.judging = None
            self.failed("scored_redis")
            return [alert for event in events for alert in self.alone.feed(event)] + self.alone.tick(now)

    async def tell(self, some: Sequence[Suspect]) -> None:
        """Let the other brains know of callers that stood out."""
        try:
            async with asyncio.timeout(PATIENCE):
                for one in some:
                    data = msgspec.msgpack.encode(one)
                    await self._redis.xadd(SUSPECTS, {b"s": data}, maxlen=MOST, approximate=True)
        except Exception:
            self.failed("scored_redis")

    async def _hear(self) -> None:
        """Callers that stood out, as the judge said."""
        found = await self._redis.xread({SUSPECTS: self._told_up_to}, count=BATCH)
        for place, fields in found[0][1] if found else ():
            self._told_up_to = place
            try:
                self.suspect(msgspec.msgpack.decode(fields[b"s"], type=Suspect))
            except (msgspec.MsgspecError, KeyError):
                self.failed("scored_entry")

    async def _is_judge(self) -> bool:
        if await self._redis.set(LEASE, self.brain, nx=True, px=HELD):
            return True
        return bool(await self._renew(keys=[LEASE], args=[self.brain, HELD]))

    async def _judge(self, now: float) -> list[Alert]:
        watch = self.judging or await self._begin(now)
        while len(self._rest) < WAITING and (batches := await self._redis.xread({STREAM: self._place}, count=BATCH)):
            for place, fields in batches[0][1]:
                self._place = place
                try:
                    self._rest += decoded(fields[b"e"])
                except (msgspec.MsgspecError, KeyError):
                    self.failed("scored_entry")
        over = (now - GRACE) // SLICE * SLICE
        waits = [over <= event.time <= now + AHEAD for event in self._rest]
        due = [event for event, wait in zip(self._rest, waits, strict=True) if not wait]
        due.sort(key=lambda event: (event.time, event.id) if event.time == event.time else (0.0, event.id))
        self._rest = [event for event, wait in zip(self._rest, waits, strict=True) if wait]
        alerts = [alert for event in due for alert in watch.feed(event)] + watch.tick(over)
        told = [alert for alert in alerts if await self._is_first(alert)]
        if now - self._kept >= KEEP:
            await self._keep(watch, now)
        return told

    async def _begin(self, now: float) -> Predictive:
        """Go on where the judge before stopped keeping."""
        state, place, rest = await self._redis.mget(STATE, PLACE, REST)
        self._place, self._rest, self._kept = b"0", [], now
        watch = Predictive()
        if state and place:
            try:
                watch = Predictive.restored(state)
                self._place, self._rest = place, decoded(rest) if rest else []
            except (AfterguardError, msgspec.MsgspecError) as error:
                log.error("what is kept in Redis is learned anew: %s", error)
                self.failed("scored_state")
        self.judging = watch
        return watch

    async def _keep(self, watch: Predictive, now: float) -> None:
        data = await asyncio.to_thread(watch.kept)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(STATE, data)
            pipe.set(PLACE, self._place)
            pipe.set(REST, msgspec.msgpack.encode(self._rest))
            await pipe.execute()
        self._kept = now

    async def _is_first(self, alert: Alert) -> bool:
        cause = hashlib.blake2b(f"{alert.hit.kind} {alert.hit.cause}".encode(), digest_size=12).hexdigest()
        return bool(await self._redis.set(f"{TOLD}:{cause}", self.brain, nx=True, ex=MARKED))

    async def close(self) -> None:
        """Keep what is known, give up the lease, close connections."""
        try:
            async with asyncio.timeout(5 * PATIENCE):
                if self.judging is not None and await self._is_judge():
                    await self._keep(self.judging, self._kept)
                    await self._redis.delete(LEASE)
        except Exception:  # what was kept last must do
            self.failed("scored_redis")
        await self._redis.aclose()
