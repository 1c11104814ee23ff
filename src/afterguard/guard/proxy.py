"""The reverse proxy: HTTP in, HTTP out, and a Session in between. A raw ASGI callable, to run under uvicorn (serve.py).

In: ASGI scopes. Out: ASGI messages, requests to upstreams, decisions to the journal, counts to the metrics. It decides nothing itself.

Theory of operation. In mode `observe` bytes pass as they come and nothing waits: what was said is judged afterwards, off the path, from a bounded queue. In every other mode the
request waits until it is judged, a whole reply likewise, and a streamed reply is released piece by piece. Small texts are judged on the event loop, large ones in another process (pool.py).
Whatever goes wrong in the guard itself (an exception, a full queue, a budget exceeded) ends in `_failed`, which passes or refuses as the route says, and counts.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool

import msgspec

from afterguard.guard import probe
from afterguard.guard.brain import SMALL, Brain
from afterguard.guard.decision import Decision, count, line
from afterguard.guard.journal import Journal
from afterguard.guard.limits import Local, Meter
from afterguard.guard.metrics import Metrics
from afterguard.guard.passage import (
    BEHIND,
    BEHIND_BYTES,
    JSON,
    PATIENCE,
    PROBES,
    PROMETHEUS,
    TEXT,
    TOKEN,
    WHY,
    Judge,
    Judged,
    Late,
    Passage,
    Receive,
    Scope,
    Send,
    Settings,
    answered,
    why,
)
from afterguard.guard.pool import Busy, Pool
from afterguard.guard.predicting import PredictSession
from afterguard.guard.route import Mounts
from afterguard.guard.session import Answer, Session
from afterguard.guard.upstream import Upstream
from afterguard.model import Exchange
from afterguard.wire.endpoint import endpoint


class Proxy:
    """The door. Made once, called for every request."""

    def __init__(
        self,
        mounts: Mounts,
        upstreams: dict[str, Upstream],
        brain: Brain,
        journal: Journal | None,
        metrics: Metrics,
        new_id: Callable[[], str],
        settings: Settings = Settings(),  # noqa: B008 - an immutable tuple
        far: Judge | None = None,
        meter: Meter | None = None,
        total: Callable[[Metrics], Metrics] | None = None,
    ) -> None:
        self.mounts = mounts
        self.upstreams = upstreams
        self.brain = brain
        self.journal = journal
        self.metrics = metrics
        self.new_id = new_id
        self.settings = settings
        self.far = far
        self.meter = meter or Meter(Local())
        self.open: dict[Passage, None] = {}
        """Exchanges under way, oldest first."""
        self._looking: asyncio.TimerHandle | None = None
        self.total = total
        """Own numbers -> those of all workers."""
        self.refused: Counter[str] = Counter()
        """What never came this far, by reason: the connections' side counts here."""
        self.probes: OrderedDict[str, Decision] = OrderedDict()
        self.is_draining = False
        self.is_ready = True
        self._behind: deque[Late] = deque()
        self._behind_bytes = 0
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "use HTTP"})
        elif kind == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if isinstance(self.far, Pool):
                    await self.far.ready()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def close(self) -> None:
        """Judge what still waits, write what still waits, close connections."""
        if self._worker is not None:
            await self._worker
        for upstream in self.upstreams.values():
            await upstream.close()
        if self.journal is not None:
            self.journal.close()

    # -- one request

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        place = self.mounts.find(path)
        if path == "/livez" or path == "/readyz":
            await self._own(path, send)
            return
        if self.settings.token and not _is_known(scope["headers"], self.settings.token):
            await answered(send, Answer(401, TEXT, b"afterguard: send the header x-afterguard-token\n"))
            return
        if place is None:
            await self._own(path, send, scope["headers"])
            return
        started, wall = time.perf_counter(), time.time()
        route = place.route
        spot = endpoint(route.kind, scope["method"], place.path, scope["query_string"].decode("latin-1"))
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        kind = PredictSession if route.is_predictive else Session
        session = kind(self.brain, route, spot, self.new_id(), headers)
        exchange = Passage(self, session, scope, receive, send, started, wall, place.path)
        for name, value in headers:
            if name == probe.HEADER:
                exchange.cell = probe.verified(value, self.brain.key, wall)
        self.open[exchange] = None
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(PATIENCE, self._look_after)
        try:
            await exchange.run()
        finally:
            del self.open[exchange]

    @property
    def in_flight(self) -> int:
        """Exchanges under way."""
        return len(self.open)

    def _look_after(self) -> None:
        """Watch for clients that leave, of exchanges that take long: a timer for each would cost the many that do not."""
        self._looking = None
        now = time.perf_counter()
        for one in self.open:
            if now - one.started < PATIENCE:
                break
            one.watch()
        if self.open:
            self._looking = asyncio.get_running_loop().call_later(PATIENCE, self._look_after)

    async def _own(self, path: str, send: Send, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        if path == "/livez":
            await answered(send, Answer(200, TEXT, b"ok\n"))
        elif path == "/readyz":
            ready = self.is_ready and not self.is_draining
            await answered(send, Answer(200 if ready else 503, TEXT, b"ready\n" if ready else b"draining\n"))
        elif path == "/metrics":
            await answered(send, Answer(200, PROMETHEUS, self.page()))
        elif path.startswith("/probe/"):
            value = next((value for name, value in headers if name == probe.HEADER), b"")
            known = probe.verified(value, self.brain.key, time.time()) is not None
            found = self._probed(path[7:]) if known else None
            await answered(send, Answer(404, TEXT, b"") if found is None else Answer(200, JSON, found))
        else:
            names = ", ".join("/" + name for name in self.mounts.routes)
            said = f"afterguard: nothing is mounted at {path[:200]!r}; mounts: {names}\n".encode()
            await answered(send, Answer(404, TEXT, said))

    def _probed(self, name: str) -> bytes | None:
        """What a probe asks for: the mounts, or what was decided about a probe."""
        if name == "mounts":
            rows = [[one.name, one.kind, self.brain.ruling(one).mode] for one in self.mounts.routes.values()]
            policy = self.brain.policy
            return msgspec.json.encode({"mounts": rows, "policy": policy.revision if policy else "none"})
        one = self.probes.get(name)
        return None if one is None else msgspec.json.encode(one)

    def page(self) -> bytes:
        """The text of /metrics: of all workers, where there are others."""
        own = self.counted()
        return (self.total(own) if self.total is not None else own).page()

    def counted(self) -> Metrics:
        """What this process has counted until now."""
        numbers = self.metrics
        numbers.set("afterguard_killed", float(self.brain.is_killed))
        for reason, times in self.refused.items():
            numbers.set("afterguard_refused_total", times, reason)
        if self.journal is not None:
            numbers.set("afterguard_log_lost_total", self.journal.lost_ever)
            numbers.set("afterguard_log_written_total", self.journal.written)
        numbers.set("afterguard_in_flight", self.in_flight, "all")
        return numbers

    # -- judging

    async def judge(self, session: Session, exchange: Exchange) -> Judged | None:
        """Hits in what was not judged before. None: nobody looked in time."""
        found = await self._judged(session, exchange)
        if found is not None:
            session.judged(found[1])
        return found

    async def _judged(self, session: Session, exchange: Exchange) -> Judged | None:
        """Hits in what was not judged before: on this loop for little text, elsewhere for much and where the judge has doubts. None: nobody looked
        in time. Where only the second opinion is missing the first one stands, and that is written down."""
        brain, past = self.brain, session.past
        fresh = sum(len(text.value) for text in exchange.texts[past.texts :])
        near: Judged | None = None
        if self.far is None or not brain.detectors:
            return brain.inspect(exchange, past)
        if fresh <= SMALL:
            doubts = brain.context.doubts
            near = brain.inspect(exchange, past)
            if brain.context.doubts == doubts:
                return near
        limit = session.ruling.limit(fresh) if session.ruling.is_inline else None
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
            self._read(one)
            return
        if len(self._behind) >= BEHIND or self._behind_bytes + one.size > BEHIND_BYTES:
            one.session.fail("overload")
            self.write(one.session, one.wall, time.perf_counter() - one.started, 0.0)
            return
        self._behind.append(one)
        self._behind_bytes += one.size
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())

    def _read(self, one: Late) -> None:
        """Understand an exchange and write it down, no more."""
        session = one.session
        seconds = time.perf_counter() - one.started
        try:
            session.hears(one.body, one.encoding)
            if one.status:
                reply = one.reply[0] if len(one.reply) == 1 else b"".join(one.reply)
                session.passed(one.status, one.content_type, one.reply_encoding, reply)
        except Exception as error:
            session.fail(why(error))
        written = self.write(session, one.wall, seconds, 0.0)
        if one.is_probe:
            self.remember(written)

    async def _work(self) -> None:
        while self._behind:
            one = self._behind.popleft()
            self._behind_bytes -= one.size
            seconds = time.perf_counter() - one.started
            began = time.perf_counter()
            try:
                await self._judge_behind(one)
            except Exception as error:
                one.session.fail(why(error))
            written = self.write(one.session, one.wall, seconds, time.perf_counter() - began)
            if one.is_probe:
                self.remember(written)
            await asyncio.sleep(0)

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
        reply = b"".join(one.reply)
        if one.status and session.passed(one.status, one.content_type, one.reply_encoding, reply):
            exchange = session.exchange()
            found = await self.judge(session, exchange)
            if found is not None:
                session.backward(reply, exchange, found[0])

    def write(self, session: Session, wall: float, seconds: float, judging: float) -> Decision:
        """Write the decision down and count it."""
        one = session.decision(wall, seconds, judging)
        self.brain.counted += 1
        self.brain.acted += one.action not in ("allow", "flag")
        count(self.metrics, session, one, seconds, judging)
        if self.journal is not None:
            self.journal.write(line(one, self.settings.version))
        return one

    def remember(self, one: Decision) -> None:
        """Keep what was decided about a probe, for whoever sent it to ask."""
        self.probes[one.id] = one
        while len(self.probes) > PROBES:
            self.probes.popitem(last=False)


def _is_known(headers: Iterable[tuple[bytes, bytes]], token: bytes) -> bool:
    return any(name == TOKEN and hmac.compare_digest(value, token) for name, value in headers)
