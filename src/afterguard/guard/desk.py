"""What all doors of one process share: who judges, what waits to be judged, where decisions are written and counted.

In: sessions and exchanges. Out: hits, decisions, numbers. It knows no protocol: a door brings an exchange here and does with the answer what its own protocol asks for.

Theory of operation. Little text is judged on the event loop, much of it, and what the judge doubts, in another process (pool.py). What only passed by is judged when there is time, from a bounded
queue. Every exchange ends in `write`, which writes one line and counts it.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from afterguard.detect import Past
from afterguard.guard.brain import SMALL, Brain, Judged
from afterguard.guard.decision import Decision, count, count_any, is_quiet, line, quiet, seen
from afterguard.guard.journal import Journal
from afterguard.guard.limits import Local, Meter
from afterguard.guard.metrics import Metrics
from afterguard.guard.pool import Busy
from afterguard.guard.predicting import PredictSession
from afterguard.guard.probe import Cell
from afterguard.guard.route import Route
from afterguard.guard.session import Session
from afterguard.guard.who import Headers
from afterguard.model import Action, Exchange
from afterguard.policy.measures import PREFIX
from afterguard.wire.encoding import BadEncoding
from afterguard.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from afterguard.guard.visit import Visit

Judge = Callable[[Exchange, Past], Awaitable[Judged]]
WHY: dict[type[Exception], str] = {Busy: "overload", BrokenProcessPool: "worker died", BadEncoding: "bad_encoding"}
BEHIND = 256
"""Exchanges that may wait to be judged after the fact; what comes on top is counted as unjudged."""
BEHIND_BYTES = 256 << 20
PROBES = 1_000
"""Decisions about probes that are kept for whoever asks."""
IN_FLIGHT = 2_000
"""Exchanges at once; more are shed as the route says."""


class Late(NamedTuple):
    """An observed exchange that still has to be judged."""

    session: Session
    body: bytes
    encoding: str
    status: int
    content_type: str
    reply_encoding: str
    reply: list[bytes]
    size: int
    started: float
    ended: float
    """When the last byte had passed; both by time.perf_counter."""
    wall: float
    cell: Cell | None = None
    """Of a probe: what it proves."""


class Desk:
    """Made once a process."""

    def __init__(
        self,
        brain: Brain,
        journal: Journal | None,
        metrics: Metrics,
        new_id: Callable[[], str],
        *,
        far: Judge | None = None,
        meter: Meter | None = None,
        version: str = "0",
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self.brain = brain
        self.journal = journal
        self.metrics = metrics
        self.new_id = new_id
        self.far = far
        self.meter = meter or Meter(Local())
        self.version = version
        self.most = in_flight
        self.lookout: Callable[[Session, Decision], None] | None = None
        """Who is told of every exchange that is over."""
        self.patrol: Callable[[Session, Decision], None] | None = None
        """Who is told of those in which a predictive model was asked about rows."""
        self.ending: Callable[[], Awaitable[None]] | None = None
        """What is to be done when every decision is made."""
        self.open: dict[Visit, None] = {}
        """Exchanges under way, oldest first."""
        self.probes: OrderedDict[str, Decision] = OrderedDict()
        """By id, or by the nonce of the probe where it has one."""
        self._behind: deque[Late] = deque()
        self._behind_bytes = 0
        self._unread: list[Late] = []
        self._worker: asyncio.Task[None] | None = None
        self.closing: list[Callable[[], Awaitable[None]]] = []
        """What doors still have to bring here before the journal closes."""

    def session(self, route: Route, spot: Endpoint, headers: Headers) -> Session:
        """State of a new exchange."""
        kind = PredictSession if route.is_predictive else Session
        return kind(self.brain, route, spot, self.new_id(), headers)

    async def close(self) -> None:
        """Judge what still waits, write what still waits."""
        for last in self.closing:
            await last()
        self._read_all()
        if self._worker is not None:
            await self._worker
        if self.ending is not None:
            await self.ending()
        if self.journal is not None:
            self.journal.close()

    @property
    def in_flight(self) -> int:
        """Exchanges under way."""
        return len(self.open)

    @property
    def is_full(self) -> bool:
        """Whether there are more exchanges than can be judged."""
        return len(self.open) > self.most

    def counted(self) -> Metrics:
        """What this process has counted until now."""
        numbers = self.metrics
        numbers.set("afterguard_killed", float(self.brain.is_killed))
        if self.journal is not None:
            numbers.set("afterguard_log_lost_total", self.journal.lost_ever)
            numbers.set("afterguard_log_written_total", self.journal.written)
            numbers.set("afterguard_log_waiting_bytes", self.journal.waiting)
        numbers.set("afterguard_in_flight", self.in_flight, "all")
        return numbers

    def judge_now(self, session: Session, exchange: Exchange, *, is_last: bool = False) -> Judged | None:
        """What `judge` would say, None where somebody has to be waited for."""
        found, is_all = self._near(session, exchange, is_last)
        if not is_all:
            session.first = (exchange, found)
            return None
        assert found is not None
        session.judged(found[1])
        return found

    async def judge(self, session: Session, exchange: Exchange, *, is_last: bool = False) -> Judged | None:
        """Hits in what was not judged before. None: nobody looked in time."""
        first, session.first = session.first, None
        if first is not None and first[0] is exchange:
            near, is_all = first[1], False
        else:
            near, is_all = self._near(session, exchange, is_last)
        found = near if is_all else await self._asked(session, exchange, near)
        if found is not None:
            session.judged(found[1])
        return found

    def _near(self, session: Session, exchange: Exchange, is_last: bool) -> tuple[Judged | None, bool]:
        """(hits in what was not judged before, whether that is all): on this loop where it is little text. Not all where the judge has doubts."""
        brain, past = self.brain, session.past
        if self.far is None or not brain.detectors:
            return brain.inspect(exchange, past, is_last=is_last), True
        if _fresh(exchange, past) > SMALL:
            return None, False
        doubts = brain.context.doubts
        return brain.inspect(exchange, past, is_last=is_last), brain.context.doubts == doubts

    async def _asked(self, session: Session, exchange: Exchange, near: Judged | None) -> Judged | None:
        """What another process finds. None: it did not look in time. Where only a second opinion is missing the first one stands, and that is written down."""
        assert self.far is not None
        past = session.past
        limit = session.ruling.limit(_fresh(exchange, past)) if session.ruling.is_inline else None
        try:
            async with asyncio.timeout(limit):
                return await self.far(exchange, past)
        except (TimeoutError, Busy, BrokenProcessPool) as error:
            if near is not None:
                session.parts.skip("second_opinion_missing", WHY.get(type(error), "budget"))
                return near
            if isinstance(error, TimeoutError):
                return None
            raise

    def late(self, one: Late) -> None:
        """Judge an observed exchange when there is time; read it at once where nothing is judged."""
        if not self.brain.detectors:
            if not self._unread:
                asyncio.get_running_loop().call_soon(self._read_all)
            self._unread.append(one)
            return
        if len(self._behind) >= BEHIND or self._behind_bytes + one.size > BEHIND_BYTES:
            one.session.fail("overload")
            self.write(one.session, one.wall, one.ended - one.started, 0.0)
            return
        self._behind.append(one)
        self._behind_bytes += one.size
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())

    def _read_all(self) -> None:
        """Behind what this turn of the loop has to write: nobody waits for it."""
        unread, self._unread = self._unread, []
        for one in unread:
            self._read(one)

    def _read(self, one: Late) -> None:
        """Understand an exchange and write it down, no more."""
        session = one.session
        seconds = one.ended - one.started
        try:
            session.hears(one.body, one.encoding)
            if one.status:
                reply = one.reply[0] if len(one.reply) == 1 else b"".join(one.reply)
                session.passed(one.status, one.content_type, one.reply_encoding, reply)
        except Exception as error:
            session.fail(why(error))
        self.write(session, one.wall, seconds, 0.0, one.cell)

    async def _work(self) -> None:
        while self._behind:
            one = self._behind.popleft()
            self._behind_bytes -= one.size
            await self.settle(one)
            await asyncio.sleep(0)

    async def settle(self, one: Late) -> None:
        """Judge what is over, and write it down. Raises nothing."""
        began = time.perf_counter()
        try:
            await self._judge_behind(one)
        except Exception as error:
            one.session.fail(why(error))
        judging = time.perf_counter() - began
        self.write(one.session, one.wall, one.ended - one.started, judging, one.cell)

    async def _judge_behind(self, one: Late) -> None:
        """The same as in line, but that nothing waits for it and nothing becomes of it."""
        session = one.session
        if self.brain.is_killed:
            session.fail("killed")
            return
        exchange = session.request(one.body, one.encoding)
        if exchange is not None:
            found = await self.judge(session, exchange)
            if found is not None:
                session.forward(one.body, exchange, *found)
                session.keep()
        reply = b"".join(one.reply)
        if one.status and session.passed(one.status, one.content_type, one.reply_encoding, reply):
            exchange = session.exchange()
            found = await self.judge(session, exchange, is_last=True)
            if found is not None:
                session.backward(reply, exchange, found[0])

    def write(self, session: Session, wall: float, seconds: float, judging: float, cell: Cell | None = None) -> None:
        """Write the decision down and count it; keep that of a probe, for whoever sent it to ask."""
        session.closed()
        if cell is not None and cell.nonce in self.probes:
            cell = None  # a provider saw it, and somebody sends it again: no probe of ours
        if self.lookout is None and cell is None and is_quiet(session):
            if session.is_weighed:
                self.brain.counted += 1
            count_any(self.metrics, session, Action.allow, seconds, judging)
            if self.journal is not None:
                self.journal.write(quiet(session, wall, seconds, judging, self.version))
            return
        one = seen(session, wall, seconds, judging)
        if cell is not None:
            one = msgspec.structs.replace(one, is_probe=True)
        if session.is_weighed:
            self.brain.counted += 1
            # What responders took away says nothing of the policy, which would else go back by itself.
            self.brain.acted += one.action not in ("allow", "flag") and not one.rule.startswith(PREFIX)
        count_any(self.metrics, session, one.action, seconds, judging)
        count(self.metrics, session, one)
        if self.journal is not None:
            self.journal.write(line(one, self.version))
        if cell is not None:
            self._remember(cell.nonce or one.id, one)  # and nobody's behaviour: the watches over time do not hear of it
            return
        if self.lookout is not None:
            self.lookout(session, one)
        if self.patrol is not None and one.rows:
            self.patrol(session, one)

    def _remember(self, name: str, one: Decision) -> None:
        self.probes[name] = one
        while len(self.probes) > PROBES:
            self.probes.popitem(last=False)


def _fresh(exchange: Exchange, past: Past) -> int:
    """Characters that were not judged before."""
    return sum(len(text.value) for text in exchange.texts[past.texts :])


def why(error: Exception) -> str:
    """The word under which a failure is counted."""
    return WHY.get(type(error)) or f"exception:{type(error).__name__}"
