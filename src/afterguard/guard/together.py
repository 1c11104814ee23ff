"""One watch for several brains that share Redis or Valkey.

In: the events of this brain, once or twice a second. Out: alerts, on the brain that judges. All brains append their events to one stream; one of them, by a lease that ends by itself, reads the stream and
judges what is older than `grace`, in the order of the events' own times, so that it does not matter who saw what. What it knows is kept in Redis, with the place in the stream it goes up to, so that another
goes on from there when it is gone. An alert is told once: who tells it first marks it. Where Redis does not answer, this brain watches alone over its own events and says so: two halves see less than one
whole, but nobody waits. What could not be handed over is kept back and handed over, once, when Redis is back, so that the common watch misses nothing of it; what is told meanwhile is not told again.

Theory of operation. Every batch of events has a number, and Redis takes a number of a brain once: a batch whose answer was lost is sent again and counts once. When Redis is back, a judge waits `grace` seconds, so that the others can hand over
first, and a brain that finds no state there waits as long before it begins anew: Redis may have come back empty, and the judge of before, who still knows everything, puts it there. An alert that was raised and could not be
marked as told is told: rather twice than never.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from afterguard.errors import AfterguardError
from afterguard.watch.alarm import Alarm
from afterguard.watch.event import Event
from afterguard.watch.live import decoded

log = logging.getLogger("afterguard.guard")
HELD = 10_000
"""Milliseconds a lease lasts without being renewed."""
AHEAD = 600.0
"""Seconds ahead of the judge's clock from which an event has a wrong one; then it counts as of now."""
LONGEST = 200_000
"""Batches that the stream holds; older ones are dropped."""
BATCH = 500
"""Batches read at once."""
WAITING = 500_000
"""Events read and not yet judged; what is behind them is read later."""
PATIENCE = 2.0
MARKED = 3_600
"""Seconds an alert stays marked as told."""
PIECE = 5_000
"""Events handed over at once."""
KEPT_BACK = 200_000
"""Events that wait for Redis; of more the oldest are dropped and counted."""
REMEMBERED = 10_000
"""Alerts told while Redis was away that are marked afterwards."""
DAY = 86_400
RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end"
HAND_OVER = """
if tonumber(ARGV[2]) > tonumber(redis.call('get', KEYS[2]) or '0') then
  redis.call('xadd', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[1])
end
redis.call('set', KEYS[2], ARGV[2], 'EX', ARGV[4])
return 1"""


class Watching(Protocol):
    """An engine that watches over time."""

    def feed(self, event: Event) -> list[Alarm]: ...

    def tick(self, now: float) -> list[Alarm]: ...

    def kept(self) -> bytes: ...


W = TypeVar("W", bound=Watching)


def key(name: str, what: str) -> str:
    """Where Redis has it: events, state, rest, place, judge, told, sent."""
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
        self._hand_over: Any = self._redis.register_script(HAND_OVER)
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
        """Over this brain's own events, while Redis is away: of a judge a copy of what it knows."""
        self.is_away = False
        self.dropped = 0
        """Events that no common watch will ever see."""
        self._mine = secrets.token_hex(8)
        self._unsent: deque[tuple[int, int, bytes]] = deque()
        """Number, events and bytes of batches that Redis has not taken."""
        self._number = 0
        self._raised: list[Alarm] = []
        """Not yet told, and not yet known to be news."""
        self._unmarked: dict[str, None] = {}
        """Causes of what was told and could not be marked."""
        self._place: bytes = b"0"
        self._rest: list[Event] = []
        """Read from the stream, of a slice that is not over for all."""
        self._kept = 0.0
        self._back = -math.inf
        """When Redis was last back."""
        self._empty: float | None = None
        """Since when it is known that it holds no state."""

    def _key(self, what: str) -> str:
        return key(self.name, what)

    async def step(self, events: Sequence[Event], now: float) -> list[Alarm]:
        """Hand over these events; alerts, where this brain judges."""
        self._keep_back(events)
        told: list[Alarm] = []
        try:
            async with asyncio.timeout(2 * PATIENCE):
                await self._send()
                is_judge = await self._is_judge()
            if self.is_away:
                self._is_back(now)
            if not is_judge:
                await self._leave(now)
            elif now - self._back >= self.grace:
                await self._judge(now)
            while self._raised:
                if await self._is_first(self._raised[0]):
                    told.append(self._raised[0])
                del self._raised[0]
        except away() as error:
            await self._lost(error)
            told += (
                self._raised + [alert for event in events for alert in self.alone.feed(event)] + self.alone.tick(now)
            )
            self._raised = []
            self._remember(told)
        return told

    def _keep_back(self, events: Sequence[Event]) -> None:
        """Into the last batch while there is room, or seconds with an event each would be a journey each; never into the first, which Redis may have taken."""
        if events and len(self._unsent) > 1 and self._unsent[-1][1] + len(events) <= PIECE:
            events = [*decoded(self._unsent.pop()[2]), *events]
        for at in range(0, len(events), PIECE):
            some = events[at : at + PIECE]
            self._number += 1
            self._unsent.append((self._number, len(some), msgspec.msgpack.encode(some)))
        while len(self._unsent) > 1 and sum(count for _, count, _ in self._unsent) > KEPT_BACK:
            self.dropped += self._unsent.popleft()[1]

    async def _send(self) -> None:
        """Hand over what waits, and mark what was told while that could not be marked."""
        for cause in list(self._unmarked):
            await self._redis.set(cause, self.brain, ex=MARKED)
            del self._unmarked[cause]
        keys = [self._key("events"), f"{self._key('sent')}:{self._mine}"]
        while self._unsent:
            number, _, data = self._unsent[0]
            await self._hand_over(keys=keys, args=[data, number, LONGEST, DAY])
            self._unsent.popleft()

    async def _lost(self, error: BaseException) -> None:
        self.failed(f"{self.name}_redis")
        if self.is_away:
            return
        log.error("Redis does not answer (%s): this brain watches alone (%s)", error, self.name)
        self.is_away = True
        watch = self.judging
        if watch is not None:
            self.alone = await asyncio.to_thread(lambda: self.restored(watch.kept()))

    def _is_back(self, now: float) -> None:
        log.warning("Redis is back: brains watch together again (%s)", self.name)
        self.is_away, self._back = False, now
        self.alone = self.make()
        self._kept = -math.inf  # it may have lost what was kept

    def _remember(self, alerts: Sequence[Alarm]) -> None:
        for alert in alerts:
            if len(self._unmarked) < REMEMBERED:
                self._unmarked[self._told(alert)] = None

    async def _leave(self, now: float) -> None:
        """Another one judges. Where Redis holds no state, that one needs what this one knows."""
        if self.judging is not None and not await self._redis.exists(self._key("state")):
            await self._keep(self.judging, now)
        self.judging = None

    async def _is_judge(self) -> bool:
        if await self._redis.set(self._key("judge"), self.brain, nx=True, px=HELD):
            return True
        return bool(await self._renew(keys=[self._key("judge")], args=[self.brain, HELD]))

    async def _judge(self, now: float) -> None:
        watch = self.judging or await self._begin(now)
        if watch is None:
            return
        await self._read(now)
        over = (now - self.grace) // self.length * self.length
        waits = [over <= event.time for event in self._rest]
        due = [event for event, wait in zip(self._rest, waits, strict=True) if not wait]
        due.sort(key=lambda event: (event.time if event.time == event.time else 0.0, event.id))
        self._rest = [event for event, wait in zip(self._rest, waits, strict=True) if wait]
        self._raised += [alert for event in due for alert in watch.feed(event)] + watch.tick(now - self.grace)
        if now - self._kept >= self.keep_every:
            await self._keep(watch, now)

    def _timed(self, event: Event, now: float) -> Event:
        """One brain's wrong clock is not the watch's: twenty events from next year would take it there. What is behind the watch takes as of now by itself."""
        return msgspec.structs.replace(event, time=now) if event.time > now + AHEAD else event

    async def _read(self, now: float) -> None:
        while len(self._rest) < WAITING:
            batches = await self._redis.xread({self._key("events"): self._place}, count=BATCH)
            if not batches:
                return
            for place, fields in batches[0][1]:
                self._place = place
                try:
                    self._rest += [self._timed(event, now) for event in decoded(fields[b"e"])]
                except (msgspec.MsgspecError, KeyError):
                    self.failed(f"{self.name}_entry")

    async def _begin(self, now: float) -> W | None:
        """Go on where the judge before stopped keeping. None while there may be one who still has to say what it knows."""
        state, place, rest = await self._redis.mget(*map(self._key, ("state", "place", "rest")))
        if not state:
            self._empty = now if self._empty is None else self._empty
            if now - self._empty < self.grace:
                return None
        self._place, self._rest, self._kept, self._empty = b"0", [], now, None
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

    def _told(self, alert: Alarm) -> str:
        """The mark of an alert."""
        where = alert.why.app if alert.why is not None else alert.route
        cause = hashlib.blake2b(f"{where} {alert.hit.kind} {alert.hit.cause}".encode(), digest_size=12).hexdigest()
        return f"{self._key('told')}:{cause}"

    async def _is_first(self, alert: Alarm) -> bool:
        return bool(await self._redis.set(self._told(alert), self.brain, nx=True, ex=MARKED))

    async def close(self) -> None:
        """Keep what is known, give up the lease, close connections."""
        try:
            async with asyncio.timeout(5 * PATIENCE):
                await self._send()
                if self.judging is not None and await self._is_judge():
                    await self._keep(self.judging, self._kept)
                    await self._redis.delete(self._key("judge"))
        except away():  # what was kept last must do
            self.failed(f"{self.name}_redis")
        self.dropped += sum(count for _, count, _ in self._unsent)
        self._unsent.clear()
        await self._redis.aclose()
