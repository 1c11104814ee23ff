"""One sink's worker: takes from its spool, encodes, sends, and moves the cursor when what it sent is safe.

In: a spool, a sink, an encoder. Out: `turn()`, called again and again by one thread. Theory of operation:

A batch is of one lane, the most urgent that has something. It is held until every event of it is settled: taken by the destination, or a dead letter. Events that the destination did not take go again, after a while of their own and in the
company of newer ones, so that they hold nobody up; a batch that it calls unfit goes again in halves. A settled batch moves the cursor, at once, or when the destination has confirmed its receipts; cursors move in the order of reading, so a kill at any moment means that some events are sent twice and none is lost. When
receipts fail, everything behind the cursor is read again. Only held batches, one a lane, are in memory. Time is monotonic throughout: a clock that jumps changes no wait.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from afterguard.errors import AfterguardError
from afterguard.export.event import Encode, Unencodable, item
from afterguard.export.letters import buried
from afterguard.export.retry import Retry
from afterguard.export.sink import Item, Sent, Settings, Sink, Unavailable, Unfit
from afterguard.export.spool.bound import LANES, Lane, Spool
from afterguard.export.spool.record import Record

log = logging.getLogger("afterguard.export")
IDLE = 0.5
"""Seconds until an idle worker looks again without being woken."""
POLL = 0.05
"""Seconds between two looks for receipts."""
AHEAD = 16
"""Batches of alerts that may be on the way beside a full window."""
STUCK = 3_600.0
"""Seconds after which an event that alone is not taken becomes a dead letter."""
BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0)
"""Seconds: the classes of the delivery times."""


@dataclass
class Held:
    """A batch that is not settled."""

    lane: Lane
    last: int
    since: float
    """When its oldest event was put, on the worker's clock."""
    parts: deque[list[Item]]
    raw: dict[str, bytes] = field(default_factory=dict)
    """The events as they stand in the spool, for dead letters."""
    tries: dict[str, int] = field(default_factory=dict)
    delivered: int = 0
    receipts: set[int] = field(default_factory=set)
    began: float = 0.0
    """When it was read; once it is settled: when that was."""
    failures: int = 0
    """Times in a row that nothing of it was taken."""
    not_before: float = 0.0
    is_rest: bool = False
    """What is left of it was sent before."""


class Worker:
    """The state of one sink."""

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        sink: Sink,
        encode: Encode,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.settings, self.spool, self.sink = settings, spool, sink
        self._encode, self._clock, self._draw = encode, clock, draw
        self.retry = Retry(settings.wait)
        self.why = ""
        """What the destination, or the way to it, said last when it did not work."""
        self.times = [0] * (len(BOUNDS) + 1)
        """How long the oldest event of each batch took, by class."""
        self.longest = 0.0
        self._held: dict[Lane, Held] = {}
        self._flying: dict[Lane, deque[Held]] = {lane: deque() for lane in LANES}
        self._linger = settings.linger if settings.linger >= 0 else sink.limits.linger
        self._count = min(settings.batch or sink.limits.events, sink.limits.events)
        self.is_draining = False
        """Nothing lingers any more."""
        self.lag = 0.0
        """Age in seconds of the oldest event that is not safe at the destination, as of a second ago."""
        self._looked = -1e9

    def turn(self) -> float:
        """Do one thing; the seconds until there is something more to do, 0 for at once."""
        now = self._clock()
        if now - self._looked >= 1.0 or now < self._looked:
            self._looked = now
            self.lag = self.oldest()
        if not self._confirmed(now):
            return self._pause(now)
        if now < self.retry.not_before:
            return self._pause(now)
        soonest = IDLE
        for lane in LANES:
            held = self._held.get(lane)
            if held is not None and now < held.not_before:
                soonest = min(soonest, held.not_before - now)
            elif (held := self._joined(held) if held else self._next(lane, now)) is not None:
                self._held[lane] = held
                self._send(held, now)
                return 0.0
        return POLL if any(self._flying.values()) else min(soonest, self._linger or soonest)

    def oldest(self) -> float:
        """Age in seconds of the oldest event that is not safe at the destination."""
        all_held = [one for lane in LANES for one in self._flying[lane]] + [*self._held.values()]
        since = [one.since for one in all_held]
        now = self._clock()
        ages = [now - min(since)] if since else []
        ages += [self.spool.age(lane, one) for lane in LANES if (one := self.spool.peek(lane)) is not None]
        return max(0.0, *ages) if ages else 0.0

    def _pause(self, now: float) -> float:
        left = max(0.0, self.retry.not_before - now)
        return min(left, POLL) if any(self._flying.values()) else min(left, IDLE)

    # -- reading

    def _next(self, lane: Lane, now: float) -> Held | None:
        # Where receipts take minutes, alerts must not wait for those of telemetry.
        more = AHEAD if lane == "alert" else 0
        if sum(map(len, self._flying.values())) >= self.sink.limits.window + more:
            return None
        first = self.spool.peek(lane)
        if first is None or self._is_waiting(lane, first):
            return None
        held = Held(lane, first.seq, now - self.spool.age(lane, first), deque(), began=now)
        self._fill(held, self._count)
        return held

    def _fill(self, held: Held, most: int) -> None:
        """Read events into the batch, in front of what is there."""
        records = self.spool.read(held.lane, self.retry.most_now(most), self.sink.limits.size)
        if not records:
            return
        held.last = records[-1].seq
        held.raw |= {one.id: one.body for one in records}
        if items := self._encoded(held.lane, records):
            rest = held.parts.popleft() if held.parts else []
            held.parts.appendleft(items + rest)

    def _joined(self, held: Held) -> Held:
        """What is left of a batch, with newer events: where they are taken and it is not, it is at fault."""
        if held.is_rest and len(held.parts) == 1 and len(held.parts[0]) < self._count:
            self._fill(held, self._count - len(held.parts[0]))
        return held

    def _is_waiting(self, lane: Lane, first: Record) -> bool:
        """Whether others may still come to be sent with it."""
        if not self._linger or lane == "alert" or self.is_draining:
            return False
        return self.spool.age(lane, first) < self._linger and self.spool.backlog(lane) < self._count

    def _encoded(self, lane: Lane, records: list[Record]) -> list[Item]:
        out = []
        for one in records:
            try:
                made, is_cut = item(one.id, one.at, lane, one.body, self._encode, self.sink.limits)
            except Unencodable as error:
                self._bury(lane, one.id, one.body, str(error))
                continue
            if is_cut:
                self.spool.counts.add("trimmed")
            out.append(made)
        return out

    # -- sending

    def _send(self, held: Held, now: float) -> None:
        if not held.parts:
            return self._settled(held)
        batch = self._fitting(held)
        try:
            sent = self.sink.send(batch)
        except Unavailable as error:
            return self._failed(str(error), error.wait, is_lost=error.is_lost)
        except Unfit as error:
            return self._halve(held, str(error))
        except (AfterguardError, OSError) as error:
            return self._failed(str(error), 0.0, is_lost=True)
        except Exception as error:  # a client library's own: whatever it is, the events stay
            log.exception("sink %s", self.settings.name)
            return self._failed(f"{type(error).__name__}: {error}", 0.0, is_lost=True)
        held.parts.popleft()
        self._took(held, batch, sent, now)
        if not held.parts:
            self._settled(held)

    def _fitting(self, held: Held) -> list[Item]:
        """The first part, split where encoding made it larger than the destination takes."""
        part, size = held.parts[0], 0
        for number, one in enumerate(part):
            size += len(one.body)
            if number and size > self.sink.limits.size:
                held.parts.popleft()
                held.parts.extendleft((part[number:], part[:number]))
                return held.parts[0]
        return part

    def _took(self, held: Held, batch: list[Item], sent: Sent, now: float) -> None:
        for place, why in sent.poison.items():
            self._bury_item(held, batch[place], why)
        again = [batch[place] for place in sent.again]
        arrived = len(batch) - len(again) - len(sent.poison)
        held.delivered += arrived
        if sent.receipt:
            held.receipts.add(sent.receipt)
        if again:
            self.spool.counts.add("retries", len(again))
            self._again(held, again, is_progress=bool(arrived or sent.poison), now=now)
        self.retry.worked()
        self.why = f"it did not take {len(again)} of {len(batch)} events" if again else ""
        if sent.wait:
            self.retry.pause(now, sent.wait)

    def _again(self, held: Held, again: list[Item], *, is_progress: bool, now: float) -> None:
        """Keep what was not taken; what was refused while others were taken too often is dead."""
        kept = []
        for one in again:
            held.tries[one.id] = held.tries.get(one.id, 0) + is_progress
            if held.tries[one.id] >= self.settings.tries or now - held.began > STUCK:
                self._bury_item(held, one, f"not taken in {now - held.began:.0f} seconds while others were")
            else:
                kept.append(one)
        if kept:
            held.parts.append(kept)
            held.is_rest = True
            held.failures = 0 if is_progress else held.failures + 1
            own = Retry(self.settings.wait, held.failures)
            own.failed(now, self._draw())
            held.not_before = own.not_before

    def _halve(self, held: Held, why: str) -> None:
        part = held.parts.popleft()
        self.spool.counts.add("retries", len(part))
        if len(part) == 1:
            self._bury_item(held, part[0], why)
        else:
            middle = len(part) // 2
            held.parts.extendleft((part[middle:], part[:middle]))
        if not held.parts:
            self._settled(held)

    def _failed(self, why: str, wait: float, *, is_lost: bool = False) -> None:
        if why != self.why:
            log.warning("sink %s: %s", self.settings.name, why)
        self.why = why[:300]
        self.spool.counts.add("failures")
        self.retry.failed(self._clock(), self._draw(), wait)
        if is_lost and any(self._flying.values()):
            self._read_again()

    def _read_again(self) -> None:
        for queue in self._flying.values():
            queue.clear()
        self._held.clear()
        self.sink.renew()
        self.spool.rewind()

    # -- settling

    def _settled(self, held: Held) -> None:
        self._held.pop(held.lane, None)
        held.began = self._clock()
        held.raw.clear()
        self._flying[held.lane].append(held)
        self._landed(held.lane)

    def _confirmed(self, now: float) -> bool:
        """Ask for receipts; False where they failed."""
        if not any(self._flying.values()):
            return True
        try:
            safe = self.sink.confirmed()
            if not safe and self._is_overdue(now):
                raise Unavailable("it did not confirm what it took in time")
        except (Unavailable, AfterguardError, OSError) as error:
            self._failed(str(error), 0.0, is_lost=True)
            return False
        for lane, queue in self._flying.items():
            for one in queue:
                one.receipts -= safe
            self._landed(lane)
        return True

    def _is_overdue(self, now: float) -> bool:
        firsts = [queue[0] for queue in self._flying.values() if queue]
        return any(now - one.began > self.sink.limits.confirm for one in firsts)

    def _landed(self, lane: Lane) -> None:
        """Move the cursor over what is safe, in order."""
        queue = self._flying[lane]
        while queue and not queue[0].receipts:
            one = queue.popleft()
            self.spool.acknowledge(lane, one.last, one.delivered)
            self._timed(max(0.0, self._clock() - one.since))

    def _timed(self, seconds: float) -> None:
        self.longest = max(self.longest, seconds)
        self.times[next((n for n, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))] += 1

    # -- dead letters

    def _bury_item(self, held: Held, one: Item, why: str) -> None:
        self._bury(held.lane, one.id, held.raw[one.id], why)

    def _bury(self, lane: str, id: str, body: bytes, why: str) -> None:
        log.warning("sink %s: %s is a dead letter: %s", self.settings.name, id, why)
        self.spool.bury(lane, id, buried(lane, body, why))
