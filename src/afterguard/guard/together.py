"""One watch for several brains that share Redis or Valkey.

In: the events of this brain, once or twice a second. Out: alerts, on the brain that judges. All brains append their events to one stream; one of them, by a lease that ends by itself, reads the stream and
judges what is older than `grace`, in the order of the events' own times, so that it does not matter who saw what. What it knows is kept in Redis, with the place in the stream it goes up to, so that another
goes on from there when it is gone. An alert is told once: who tells it first marks it. Where Redis does not answer, this brain watches alone over its own events and says so: two halves see less than one
whole, but nobody waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from afterguard.errors import AfterguardError
from afterguard.watch.alert import Alert
from afterguard.watch.event import Event
from afterguard.watch.live import decoded

log = logging.getLogger("afterguard.guard")
HELD = 10_000
"""Milliseconds a lease lasts without being renewed."""
AHEAD = 600.0
LONGEST = 200_000
"""Batches that the stream holds; older ones are dropped."""
BATCH = 500
"""Batches read at once."""
WAITING = 500_000
"""Events read and not yet judged; what is behind them is read later."""
PATIENCE = 2.0
MARKED = 3_600
"""Seconds an alert stays marked as told."""
RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end"


class Watching(Protocol):
    """An engine that watches over time."""

    def feed(self, event: Event) -> list[Alert]: ...

    def tick(self, now: float) -> list[Alert]: ...

    def kept(self) -> bytes: ...


W = TypeVar("W", bound=Watching)


def key(name: str, what: str) -> str:
    """Where Redis has it: events, state, rest, place, judge, told."""
    return f"afterguard:{name}:{what}"


def connection(url: str) -> Any:
    """A client that gives up soon."""
    import redis.asyncio as redis

    return redis.Redis.from_url(url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)


def away() -> tuple[type[Exception], ...]:
    """What the client raises when its server is away. Anything else is a fault of ours, and is not to be taken for that."""
    from redis.exceptions import RedisError

    return RedisError, OSError, TimeoutError


class Together(Generic[W]):
    """This brain's part in the common watch."""

    def __init__(
        self,
        url: str,
        brain: str,
        name: str,
        make: Callable[[], W],
        restored: Callable[[bytes], W],
        failed: Callable[[str], None],
        *,
        length: float,
        grace: float,
        keep: float,
    ) -> None:
        self._redis = connection(url)
        self._renew: Any = self._redis.register_script(RENEW)
        self.brain, self.name = brain, name
        self.make, self.restored, self.failed = make, restored, failed
        self.length = length
        """Seconds of a slice of the engine."""
        self.grace = grace
        """Seconds a slice stays open for brains that are late: none of its events is fed before."""
        self.keep_every = keep
        """Seconds from one keeping of the state to the next."""
        self.judging: W | None = None
        """What the judge knows; None on the others."""
        self.alone = make()
        """Over this brain's own events, while Redis is away."""
        self.is_away = False
        self._place: bytes = b"0"
        self._rest: list[Event] = []
        """Read from the stream, of a slice that is not over for all."""
        self._kept = 0.0

    def _key(self, what: str) -> str:
        return key(self.name, what)

    async def step(self, events: Sequence[Event], now: float) -> list[Alert]:
        """Hand over these events; alerts, where this brain judges."""
        try:
            async with asyncio.timeout(2 * PATIENCE):
                if events:
                    data = msgspec.msgpack.encode(events)
                    await self._redis.xadd(self._key("events"), {b"e": data}, maxlen=LONGEST, approximate=True)
                is_judge = await self._is_judge()
            if not is_judge:
                self.judging = None
            alerts = await self._judge(now) if is_judge else []
        except away() as error:
            if not self.is_away:
                log.error("Redis does not answer (%s): this brain watches alone (%s)", error, self.name)
            self.is_away = True
            self.failed(f"{self.name}_redis")
            return [alert for event in events for alert in self.alone.feed(event)] + self.alone.tick(now)
        if self.is_away:
            log.warning("Redis is back: brains watch together again (%s)", self.name)
        self.is_away = False
        return alerts

    async def _is_judge(self) -> bool:
        if await self._redis.set(self._key("judge"), self.brain, nx=True, px=HELD):
            return True
        return bool(await self._renew(keys=[self._key("judge")], args=[self.brain, HELD]))

    async def _judge(self, now: float) -> list[Alert]:
        watch = self.judging or await self._begin(now)
        await self._read()
        over = (now - self.grace) // self.length * self.length
        # What comes from neither this slice nor the next ones has a wrong clock; the watch knows what to do with it.
        waits = [over <= event.time <= now + AHEAD for event in self._rest]
        due = [event for event, wait in zip(self._rest, waits, strict=True) if not wait]
        due.sort(key=lambda event: (event.time if event.time == event.time else 0.0, event.id))
        self._rest = [event for event, wait in zip(self._rest, waits, strict=True) if wait]
        alerts = [alert for event in due for alert in watch.feed(event)] + watch.tick(now - self.grace)
        told = [alert for alert in alerts if await self._is_first(alert)]
        if now - self._kept >= self.keep_every:
            await self._keep(watch, now)
        return told

    async def _read(self) -> None:
        while len(self._rest) < WAITING:
            batches = await self._redis.xread({self._key("events"): self._place}, count=BATCH)
            if not batches:
                return
            for place, fields in batches[0][1]:
                self._place = place
                try:
                    self._rest += decoded(fields[b"e"])
                except (msgspec.MsgspecError, KeyError):
                    self.failed(f"{self.name}_entry")

    async def _begin(self, now: float) -> W:
        """Go on where the judge before stopped keeping."""
        state, place, rest = await self._redis.mget(*map(self._key, ("state", "place", "rest")))
        self._place, self._rest, self._kept = b"0", [], now
        watch: W | None = None
        if state and place:
            try:
                watch = self.restored(state)
                self._place, self._rest = place, decoded(rest) if rest else []
            except (AfterguardError, msgspec.MsgspecError, ValueError) as error:
                log.error("what is kept in Redis is learned anew (%s): %s", self.name, error)
                self.failed(f"{self.name}_state")
        self.judging = watch = watch or self.make()
        return watch

    async def _keep(self, watch: W, now: float) -> None:
        data = await asyncio.to_thread(watch.kept)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(self._key("state"), data)
            pipe.set(self._key("place"), self._place)
            pipe.set(self._key("rest"), msgspec.msgpack.encode(self._rest))
            await pipe.execute()
        self._kept = now

    async def _is_first(self, alert: Alert) -> bool:
        where = alert.why.app if alert.why is not None else alert.route
        cause = hashlib.blake2b(f"{where} {alert.hit.kind} {alert.hit.cause}".encode(), digest_size=12).hexdigest()
        return bool(await self._redis.set(f"{self._key('told')}:{cause}", self.brain, nx=True, ex=MARKED))

    async def close(self) -> None:
        """Keep what is known, give up the lease, close connections."""
        try:
            async with asyncio.timeout(5 * PATIENCE):
                if self.judging is not None and await self._is_judge():
                    await self._keep(self.judging, self._kept)
                    await self._redis.delete(self._key("judge"))
        except away():  # what was kept last must do
            self.failed(f"{self.name}_redis")
        await self._redis.aclose()
