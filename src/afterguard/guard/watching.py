"""One watch over time for several brains that share Redis or Valkey.

In: the events of this brain, about every second. Out: alarms, on the brain that judges. All brains append their events to one stream; one of them, by a lease that ends by
itself, reads the stream and judges. What it knows is kept in Redis, with the place in the stream it goes up to, so that another goes on from there when it is gone.
An alarm is told once: who tells it first marks it. Where Redis does not answer, this brain watches alone over its own events and says so: two halves see
less than one whole, but nobody waits.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from afterguard.watch.alert import Alert
from afterguard.watch.event import Event
from afterguard.watch.live import SLICE, Watch, decoded
from afterguard.watch.site import Settings

STREAM, STATE, REST, PLACE, LEASE, TOLD = (
    f"afterguard:watch:{name}" for name in ("events", "state", "rest", "place", "judge", "told")
)
HELD = 10_000
"""Milliseconds a lease lasts without being renewed."""
GRACE = 3.0
"""Seconds a minute stays open for brains that are late: none of its events is fed before."""
AHEAD = 600.0
KEEP = 600.0
"""Seconds from one keeping of the state to the next."""
LONGEST = 200_000
"""Batches that the stream holds; older ones are dropped."""
BATCH = 500
"""Batches read at once."""
PATIENCE = 2.0
MARKED = 3_600
"""Seconds an alarm stays marked as told."""
RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end"


class Together:
    """This brain's part in the common watch."""

    def __init__(self, url: str, brain: str, failed: Callable[[], None], settings: Settings | None = None) -> None:
        import redis.asyncio as redis

        self._redis: Any = redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)
        self._renew: Any = self._redis.register_script(RENEW)
        self.brain = brain
        self.failed = failed
        self.settings = settings
        self.judging: Watch | None = None
        """What the judge knows; None on the others."""
        self.alone = Watch(settings)
        """Over this brain's own events, while Redis is away."""
        self._place = b"0"
        self._rest: list[Event] = []
        """Read from the stream, of a minute that is not over for all."""
        self._kept = 0.0

    async def step(self, events: Sequence[Event], now: float) -> list[Alert]:
        """Hand over these events; alarms, where this brain judges."""
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await self._send(events)
                if not await self._is_judge():
                    self.judging = None
                    return []
            return await self._judge(now)
        except Exception:  # whatever a client library raises when its server is away
            self.failed()
            alerts = [alert for event in events for alert in self.alone.feed(event)]
            return alerts + self.alone.tick(now)

    async def _send(self, events: Sequence[Event]) -> None:
        if events:
            await self._redis.xadd(STREAM, {b"e": msgspec.msgpack.encode(events)}, maxlen=LONGEST, approximate=True)

    async def _is_judge(self) -> bool:
        if await self._redis.set(LEASE, self.brain, nx=True, px=HELD):
            return True
        return bool(await self._renew(keys=[LEASE], args=[self.brain, HELD]))

    async def _judge(self, now: float) -> list[Alert]:
        watch = self.judging or await self._begin(now)
        while batches := await self._redis.xread({STREAM: self._place}, count=BATCH):
            for place, fields in batches[0][1]:
                self._rest += decoded(fields[b"e"])
                self._place = place
        over = (now - GRACE) // SLICE * SLICE
        # What comes from neither this minute nor the next ones has a wrong clock; the watch knows what to do with it.
        waits = [over <= event.time <= now + AHEAD for event in self._rest]
        due = [event for event, wait in zip(self._rest, waits, strict=True) if not wait]
        due.sort(key=lambda event: event.time if event.time == event.time else 0.0)
        self._rest = [event for event, wait in zip(self._rest, waits, strict=True) if wait]
        alerts = [alert for event in due for alert in watch.feed(event)] + watch.tick(now - GRACE)
        told = [alert for alert in alerts if await self._is_first(alert)]
        if now - self._kept >= KEEP:
            await self._keep(watch, now)
        return told

    async def _begin(self, now: float) -> Watch:
        """Go on where the judge before stopped keeping."""
        state, place, rest = await self._redis.mget(STATE, PLACE, REST)
        if not state or not place:
            state, place, rest = None, b"0", None
        self.judging = Watch.restored(state, self.settings) if state else Watch(self.settings)
        self._place, self._rest = place, decoded(rest) if rest else []
        self._kept = now
        return self.judging

    async def _keep(self, watch: Watch, now: float) -> None:
        data = await asyncio.to_thread(watch.kept)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(STATE, data)
            pipe.set(PLACE, self._place)
            pipe.set(REST, msgspec.msgpack.encode(self._rest))
            await pipe.execute()
        self._kept = now

    async def _is_first(self, alert: Alert) -> bool:
        cause = f"{alert.why.app if alert.why else ''} {alert.hit.kind} {alert.hit.cause}".encode()
        name = f"{TOLD}:{hashlib.blake2b(cause, digest_size=12).hexdigest()}"
        return bool(await self._redis.set(name, self.brain, nx=True, ex=MARKED))

    async def close(self) -> None:
        """Keep what is known, give up the lease, close connections."""
        try:
            async with asyncio.timeout(5 * PATIENCE):
                if self.judging is not None and await self._is_judge():
                    await self._keep(self.judging, self._kept)
                    await self._redis.delete(LEASE)
        except Exception:  # the state of ten minutes ago must do
            self.failed()
        await self._redis.aclose()
