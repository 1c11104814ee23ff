"""One exchange at a door, whichever it is: the steps between what a client sends and what it gets.

In: bodies of a request and of its reply, whole or in pieces, as the door's own protocol brings them. Out: the bytes to go on with, or an Answer to give instead. It opens
nothing and sends nothing.

Theory of operation. A door calls `ask` with the request, then `answer` with a whole reply, or `begin`, `feed` and `last` with a streamed one, and always `leave`. Or, where it only looks, it lets
everything pass and calls `passed` at the end. Whatever fails in here, the route says whether the rest passes or is refused; either way it is counted. None of the steps raises, but for a stream
that is promised to be readable and is not: an honest end of that is a broken one.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from afterguard.guard import probe
from afterguard.guard.desk import Desk, Late, why
from afterguard.guard.route import Route
from afterguard.guard.session import Answer, Session
from afterguard.model import Action, Exchange
from afterguard.wire.encoding import BadEncoding
from afterguard.wire.refusal import refused


class Visit:
    """State of one exchange at a door."""

    __slots__ = (
        "body",
        "caller",
        "cell",
        "desk",
        "exchange",
        "is_counted",
        "is_handed_over",
        "is_passing",
        "judging",
        "route",
        "session",
        "started",
        "wall",
    )

    def __init__(self, desk: Desk, session: Session, started: float, wall: float) -> None:
        self.desk = desk
        self.session = session
        self.route: Route = session.route
        self.started = started
        """By time.perf_counter."""
        self.wall = wall
        self.judging = 0.0
        """Seconds spent on judging."""
        self.caller = ""
        self.is_counted = False
        self.is_passing = False
        """Whether the rest of a stream passes unjudged."""
        self.is_handed_over = False
        """Whether it is judged, and written down, later."""
        self.body = b""
        self.exchange: Exchange | None = None
        """What is known so far."""
        self.cell: probe.Cell | None = None

    # -- the request

    async def ask(self, body: bytes, encoding: str = "") -> bytes | Answer:
        """The request to send on, or what to say instead."""
        ready = self.ask_now(body, encoding)
        if ready is None:
            ready = await self.ask_rest()
        self.session.keep()
        return ready

    def ask_now(self, body: bytes, encoding: str = "") -> bytes | Answer | None:
        """The same where nobody has to be waited for; None where `ask_rest` has to follow. Once the request is on its way, `session.keep` is to be called."""
        self.body = body
        try:
            return self._asked(body, encoding)
        except Exception as error:
            return self.failed(why(error)) or body

    def _asked(self, body: bytes, encoding: str) -> bytes | Answer | None:
        session, desk = self.session, self.desk
        if self.is_killed():
            return body
        if desk.is_full:
            return self.failed("overload") or body
        began = time.perf_counter()
        exchange = self.exchange = session.request(body, encoding)
        if desk.brain.is_limited:
            return None
        if exchange is None:
            return body
        found = desk.judge_now(session, exchange)
        ready = None if found is None else session.forward(body, exchange, *found)
        self.judging += time.perf_counter() - began
        return ready

    async def ask_rest(self) -> bytes | Answer:
        """What `ask_now` left."""
        try:
            return await self._asked_rest()
        except Exception as error:
            return self.failed(why(error)) or self.body

    async def _asked_rest(self) -> bytes | Answer:
        session, body, exchange = self.session, self.body, self.exchange
        began = time.perf_counter()
        refusal = await self._over()
        if refusal is not None:
            return refusal
        if exchange is None:
            return body
        found = await self.desk.judge(session, exchange)
        if found is None:
            return self.failed("budget") or session.unlooked(body, exchange)
        ready = session.forward(body, exchange, *found)
        self.judging += time.perf_counter() - began
        return ready

    async def _over(self) -> Answer | None:
        """The refusal where the caller has used too much and the policy is enforced."""
        session = self.session
        cap = await self.desk.meter.capped(self.desk.brain.measures.caps, session, len(self.body), self.wall)
        if cap is not None:
            return session.refuse(cap)
        limits = self.desk.brain.limits
        if limits is None:
            return None
        self.caller = session.caller(limits.per)
        wait, which = await self.desk.meter.ask(limits, self.caller, len(self.body), self.wall)
        if which:
            verdict = session.over(which, wait)
            if verdict.action is not Action.flag:
                return session.refuse(verdict)
        self.desk.meter.begin(self.caller)
        self.is_counted = True
        return None

    # -- a whole reply

    async def answer(self, status: int, body: bytes, encoding: str = "") -> bytes | Answer:
        """The reply to give, or what to say instead. Where `session.again` is set after it, the model is to be asked that first."""
        ready = self.answer_now(status, body, encoding)
        return ready if ready is not None else await self.answer_rest(body)

    def answer_now(self, status: int, body: bytes, encoding: str = "") -> bytes | Answer | None:
        """The same where nobody has to be waited for; None where `answer_rest` has to follow."""
        try:
            return self._answered(status, body, encoding)
        except Exception as error:
            return self.failed(why(error)) or body

    def _answered(self, status: int, body: bytes, encoding: str) -> bytes | Answer | None:
        session = self.session
        if self.is_killed():
            return body
        began = time.perf_counter()
        exchange = self.exchange = session.response(status, body, encoding)
        if exchange is None:
            return body
        found = self.desk.judge_now(session, exchange, is_last=True)
        ready = None if found is None else session.backward(body, exchange, found[0])
        self.judging += time.perf_counter() - began
        return ready

    async def answer_rest(self, body: bytes) -> bytes | Answer:
        """What `answer_now` left."""
        assert self.exchange is not None
        began = time.perf_counter()
        try:
            found = await self.desk.judge(self.session, self.exchange, is_last=True)
            if found is None:
                return self.failed("budget") or body
            ready = self.session.backward(body, self.exchange, found[0])
        except Exception as error:
            return self.failed(why(error)) or body
        self.judging += time.perf_counter() - began
        return ready

    # -- a streamed reply

    def begin(self, status: int, content_type: str, encoding: str = "") -> bool:
        """A reply begins to stream; False where it passes unjudged. Raises BadEncoding."""
        self.is_passing = self.is_killed()
        if not self.is_passing:
            self.session.stream(status, content_type, encoding)
        return not self.is_passing

    def feed(self, chunk: bytes) -> bytes:
        """What may leave now. Raises ConnectionResetError where the stream can only be broken off."""
        if self.is_passing:
            return chunk
        began = time.perf_counter()
        try:
            ready = self.session.feed(chunk)
        except Exception as error:
            ready = self._stream_failed(error)
        self.judging += time.perf_counter() - began
        return b"".join(ready)

    def _stream_failed(self, error: Exception) -> list[bytes]:
        session = self.session
        if self.failed(why(error)) is not None:
            return [session.stop()]
        if isinstance(error, BadEncoding):
            # The client was promised plain bytes, and there are none: an honest end is a broken one.
            raise ConnectionResetError(str(error))
        self.is_passing = True
        return session.waiting()

    @property
    def is_stopped(self) -> bool:
        """Whether the stream has ended here, whatever the upstream still says."""
        return not self.is_passing and self.session.is_stopped

    async def last(self) -> AsyncIterator[bytes]:
        """What leaves at the end of a stream."""
        if self.is_passing:
            return
        session = self.session
        began = time.perf_counter()
        try:
            left, exchange = session.whole()
            yield b"".join(left)
            found = await self.desk.judge(session, exchange, is_last=True)
            if found is None:
                ready = [session.stop()] if self.failed("budget") else session.waiting()
            else:
                ready = session.end(exchange, found[0])
        except Exception as error:
            ready = [session.stop()] if self.failed(why(error)) else session.waiting()
        self.judging += time.perf_counter() - began
        yield b"".join(ready)

    # -- only looking

    def passed(self, encoding: str, status: int, content_type: str, reply_encoding: str, reply: list[bytes]) -> None:
        """Everything has passed: judge it later, and write it down then."""
        self.is_handed_over = True
        size = len(self.body) + sum(map(len, reply))
        self.desk.late(
            Late(
                self.session, self.body, encoding, status, content_type, reply_encoding, reply, size,
                self.started, time.perf_counter(), self.wall, self.cell,
            )
        )  # fmt: skip

    # -- failing, ending

    def is_killed(self) -> bool:
        """Whether the switch was pulled; an exchange counts that once."""
        if self.desk.brain.is_killed and self.session.failed != "killed":
            self.failed("killed")
        return self.desk.brain.is_killed

    def failed(self, why: str) -> Answer | None:
        """None: pass. An Answer: refuse. Counted and written down either way."""
        self.session.fail(why)
        if self.session.ruling.is_open or why == "killed":
            return None
        status = 503 if why == "overload" else 400
        says = "the guard could not judge this request"
        return Answer(*refused(self.session.spot, says, "afterguard_unjudged", status))

    async def leave(self) -> None:
        """The exchange is over: its tokens count, its decision is written down, unless that comes later."""
        if self.is_counted:
            await self._uncount()
        self.written()

    def written(self) -> None:
        """Its decision is written down, unless that comes later."""
        if not self.is_handed_over:
            seconds = time.perf_counter() - self.started
            self.desk.write(self.session, self.wall, seconds, self.judging, self.cell)

    async def pause(self) -> None:
        """Nothing is under way until the client tries again."""
        if self.is_counted:
            await self._uncount()
            self.is_counted = False

    async def _uncount(self) -> None:
        limits = self.desk.brain.limits
        self.desk.meter.end(self.caller)
        parts = self.session.parts
        if limits is not None:
            spent = (parts.input_tokens or 0) + (parts.output_tokens or 0)
            await self.desk.meter.spent(limits, self.caller, spent, self.wall)
