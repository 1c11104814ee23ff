"""An MCP server that speaks over its standard streams, with the guard in between: JSON-RPC lines in, JSON-RPC lines out.

In: a command, lines from the client. Out: the server's lines, refusals as JSON-RPC results or errors, decisions for the journal; the server's exit code. It starts one process, without a
shell, whose standard error is ours; it opens nothing else and keeps no text.

Theory of operation. A message of the client with an id begins a Session, the server's answer with that id ends it. What the server asks of the client (sampling) is judged like a reply, and
the client's answer like a request. Notifications pass as they come. The two directions are read by one task each, in order; judging happens between reading a line and writing it: little text
on this loop, much in a thread, so that the route's budget can end the wait. What takes longer passes or is refused, as the route says. A stdio server has one client, and nobody else waits. The end of the client's stream is passed on, and the guard ends when the server does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec

from afterguard.errors import AfterguardError, UsageError
from afterguard.guard.brain import SMALL, Brain, Judged
from afterguard.guard.decision import Decision, count, count_any, line, seen
from afterguard.guard.journal import Journal
from afterguard.guard.limits import Local, Meter
from afterguard.guard.metrics import Metrics
from afterguard.guard.pins import Pins
from afterguard.guard.route import Route
from afterguard.guard.session import Answer, Session
from afterguard.model import Action, Exchange
from afterguard.wire import mcp
from afterguard.wire.endpoint import Endpoint

CAP = 16 << 20
"""Bytes of one line that are held for judgement; what is longer passes unjudged or is refused, as the route says."""
CHUNK = 1 << 16
PENDING = 10_000
"""Requests without an answer that are remembered."""
HEAD = 4_096
"""Bytes at both ends of a line that is too long in which its id is looked for."""
MINUTE = 60.0
"""Seconds between two writings of the counts."""
SPOT = Endpoint("mcp", "mcp", "mcp")
UNKNOWN = "the guard could not judge this message"
ID_FIRST = re.compile(
    rb'\s*\{\s*(?:"(?:jsonrpc|method)"\s*:\s*"[^"\\]{0,200}"\s*,\s*)*"id"\s*:\s*("(?:[^"\\]|\\.){0,200}"|-?\d{1,20})\s*[,}]'
)
ID_LAST = re.compile(rb',\s*"id"\s*:\s*("(?:[^"\\]|\\.){0,200}"|-?\d{1,20})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


class Out(Protocol):
    """Where lines go. What nobody reads any more is dropped: the other side's end ends the rest."""

    def put(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


class Line(NamedTuple):
    """A line with its end, or a piece of one that is too long."""

    raw: bytes
    is_long: bool = False
    is_end: bool = True


class Lines:
    """Chunks -> lines. Holds at most CAP bytes and a chunk."""

    def __init__(self, cap: int = CAP) -> None:
        self.cap = cap
        self.held = bytearray()
        self.seen = 0
        self.is_long = False

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that this chunk completed, and pieces of one that is too long."""
        held = self.held
        held += chunk
        out: list[Line] = []
        start, at = 0, self.seen
        while (end := held.find(b"\n", at)) >= 0:
            out.append(self._line(bytes(held[start : end + 1])))
            start = at = end + 1
        if start:
            del held[:start]
        if len(held) > self.cap or (self.is_long and held):
            out.append(Line(bytes(held), True, False))
            held.clear()
            self.is_long = True
        self.seen = len(held)
        return out

    def close(self) -> list[Line]:
        """What was never ended by a newline."""
        raw = bytes(self.held)
        self.held.clear()
        return [self._line(raw)] if raw or self.is_long else []

    def _line(self, raw: bytes) -> Line:
        was_long, self.is_long = self.is_long, False
        return Line(raw, was_long or len(raw) > self.cap)


class _Turn:
    """One exchange and its clock; of a line that is too long, also both its ends."""

    __slots__ = ("head", "judging", "session", "started", "tail")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.started = time.perf_counter()
        self.judging = 0.0
        self.head = self.tail = b""


class Door:
    """One client, one server. Made once; `up` takes what the client says, `down` what the server says."""

    def __init__(
        self,
        brain: Brain,
        route: Route,
        journal: Journal | None,
        new_id: Callable[[], str],
        *,
        version: str = "0",
        pins: Pins | None = None,
        look: Callable[[], None] = lambda: None,
        publish: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self.brain = brain
        self.route = route
        self.journal = journal
        self.new_id = new_id
        self.version = version
        self.pins = pins
        self.look = look
        """Called before each message: kill switch, policy file, measures."""
        self.publish = publish
        """Given the counts, in the format of /metrics: at the beginning, every minute and at the end."""
        self.metrics = Metrics()
        self.meter = Meter(Local())
        self.client: Out = Nowhere()
        self.server: Out = Nowhere()
        self._headers = [(b"mcp-session-id", new_id().encode())]
        self._pending: OrderedDict[bytes, _Turn] = OrderedDict()
        self._long: dict[bool, _Turn] = {}
        self._judges = ThreadPoolExecutor(1, "afterguard-judge")
        self._looking: set[Future[Judged]] = set()
        """What the thread is at work on, or will be."""

    def open(self) -> _Turn:
        """A new exchange."""
        return _Turn(Session(self.brain, self.route, SPOT, self.new_id(), self._headers))

    async def to_client(self, data: bytes) -> None:
        """Send the client something."""
        self.client.put(data)
        await self.client.drain()

    async def to_server(self, data: bytes) -> None:
        """Send the server something."""
        self.server.put(data)
        await self.server.drain()

    # -- from the client

    async def up(self, one: Line) -> None:
        """A line of the client: to the server, or an answer back."""
        self.look()
        if one.is_long:
            await self._too_long(one, True)
            return
        body = _decoded(one.raw)
        if _is_notification(body) or not one.raw.strip():
            await self.to_server(one.raw)
            return
        turn = self.open()
        session = turn.session
        is_inline = session.ruling.is_inline
        if not is_inline:
            # It leaves at once; the answer cannot be read before the next await, so it finds the exchange judged.
            self.server.put(one.raw)
        ready = await self._asked(session, one.raw)
        turn.judging += time.perf_counter() - turn.started
        if isinstance(ready, Answer) and is_inline:
            session.status = 200
            await self._refused(body, session.verdict.says or UNKNOWN)
            self.write(turn)
            return
        waits = self._expect(turn, body)
        if is_inline and not isinstance(ready, Answer):
            self.server.put(ready)
        await self.server.drain()
        if not waits:
            self.write(turn)

    async def _asked(self, session: Session, raw: bytes) -> bytes | Answer:
        """The line to send on, or a refusal. Never raises."""
        try:
            if self._is_killed(session):
                return raw
            exchange = session.request(raw)
            if exchange is None:
                return raw
            if await self._is_over(session, len(raw)):
                return Answer(200, [], b"")
            found = await self._judged(session, exchange)
            if found is None:
                return self._failed(session, "budget") or session.unlooked(raw, exchange)
            ready = session.forward(raw, exchange, *found)
            session.keep()
            return ready
        except Exception as error:
            return self._failed(session, f"exception:{type(error).__name__}") or raw

    async def _judged(self, session: Session, exchange: Exchange) -> Judged | None:
        """Hits in what was not judged before. None: nobody could look within the budget; who looks on keeps the next one waiting, on that one's budget."""
        found: Judged | None
        past = session.past
        fresh = sum(len(text.value) for text in exchange.texts[past.texts :])
        # Detectors look at one thing at a time, so nothing is judged here while the thread is at work.
        if not self._looking and (fresh <= SMALL or not session.ruling.is_inline):
            found = self.brain.inspect(exchange, past)
        else:
            sent = self._judges.submit(self.brain.inspect, exchange, past)
            self._looking.add(sent)
            sent.add_done_callback(self._looking.discard)
            try:
                found = await asyncio.wait_for(asyncio.wrap_future(sent), session.ruling.limit(fresh))
            except TimeoutError:
                return None
        session.judged(found[1])
        return found

    async def _is_over(self, session: Session, size: int) -> bool:
        if await self.meter.capped(self.brain.measures.caps, session, size, time.time()) is not None:
            return True
        limits = self.brain.limits
        if limits is None:
            return False
        wait, which = await self.meter.ask(limits, session.caller(limits.per), size, time.time())
        return bool(which) and session.over(which, wait).action is not Action.flag

    async def _refused(self, body: Any, says: str) -> None:
        """The answer to what the client asked; an answer of the client itself is refused towards the server."""
        if isinstance(body, dict) and "method" not in body and "id" in body:
            await self.to_server(mcp.refusal({"id": body["id"]}, says) + b"\n")
        elif _asking(body):
            await self.to_client(_refusal(body, says))

    def _expect(self, turn: _Turn, body: Any) -> bool:
        """Remember what the server will answer; False where the exchange ends here."""
        items = _asking(body)
        for item in items:
            one = turn
            if len(items) > 1:
                # Each part of a batch may be answered by itself: the reply to one must not be judged as part of another's.
                one = self.open()
                one.session.request(msgspec.json.encode(item))
            older = self._pending.pop(_key(item["id"]), None)
            if older is not None:
                self._unanswered(older)
            self._pending[_key(item["id"])] = one
        while len(self._pending) > PENDING:
            self._unanswered(self._pending.popitem(last=False)[1])
        return len(items) == 1

    def _unanswered(self, turn: _Turn) -> None:
        turn.session.parts.skip("response_not_seen", "response")
        self.write(turn)

    # -- from the server

    async def down(self, one: Line) -> None:
        """A line of the server: to the client, or an answer back."""
        self.look()
        if one.is_long:
            await self._too_long(one, False)
            return
        body = _decoded(one.raw)
        if _is_notification(body) or not one.raw.strip():
            await self.to_client(one.raw)
            return
        turn = self._paired(body)
        session = turn.session
        if not session.ruling.is_inline:
            await self.to_client(one.raw)
        began = time.perf_counter()
        ready = await self._answered(session, one.raw)
        turn.judging += time.perf_counter() - began
        if session.ruling.is_inline:
            if isinstance(ready, Answer):
                await self._withheld(session, body)
            else:
                await self.to_client(ready)
        self.write(turn)

    def _paired(self, body: Any) -> _Turn:
        """The exchange that a message of the server ends; a new one where it answers nothing that was asked."""
        found = [self._pending.pop(_key(item["id"]), None) for item in _answering(body)]
        known = [turn for turn in found if turn is not None]
        if not known:
            return self.open()
        for other in known[1:]:
            known[0].session.parts.tool_names.update(other.session.parts.tool_names)
        return known[0]

    async def _answered(self, session: Session, raw: bytes) -> bytes | Answer:
        """The line to send on, or a refusal. Never raises."""
        try:
            if self._is_killed(session):
                return raw
            exchange = session.response(200, raw)
            if exchange is None:
                return raw
            if self.pins is not None and exchange.tools:
                self.pins.see(exchange.tools)
                self.pins.agree(self.brain)
            found = await self._judged(session, exchange)
            if found is None:
                return self._failed(session, "budget") or raw
            ready = session.backward(raw, exchange, found[0])
        except Exception as error:
            return self._failed(session, f"exception:{type(error).__name__}") or raw
        if exchange.tools and not isinstance(ready, Answer):
            self._keep(session)
        return ready

    def _keep(self, session: Session) -> None:
        """Write down the tools that were seen for the first time and let through."""
        if self.pins is not None and self.pins.is_first:
            try:
                self.pins.keep(is_last=_cursor(session.answered) is None)
            except AfterguardError as error:
                session.parts.skip("pins_not_kept", str(error)[:200])

    async def _withheld(self, session: Session, body: Any) -> None:
        """The client gets a refusal in place of an answer; the server gets one where it asked."""
        says = session.replied.says or UNKNOWN
        if isinstance(body, dict) and "method" in body:
            await self.to_server(mcp.refusal({"id": body.get("id")}, says) + b"\n")
            return
        answered = _answering(body)
        if answered:
            asked = session.asked if isinstance(session.asked, dict) else {}
            rows = [{"id": item["id"], "method": asked.get("method", "")} for item in answered]
            await self.to_client(_refusal(rows if isinstance(body, list) else rows[0], says))

    # -- lines that are too long

    async def _too_long(self, one: Line, is_up: bool) -> None:
        """Pass it piece by piece, or drop it and answer, as the route says. Counted once, with what the line began with."""
        now = self._long.get(is_up)
        if now is None:
            now = self._long[is_up] = self.open()
            now.head = one.raw[:HEAD]
        session = now.session
        session.size += len(one.raw)
        now.tail = (now.tail + one.raw[-HEAD:])[-HEAD:]
        passes = session.ruling.is_open or not session.ruling.is_inline
        if passes:
            await (self.to_server if is_up else self.to_client)(one.raw)
        if not one.is_end:
            return
        del self._long[is_up]
        session.fail("too_long")
        if not passes:
            identifier = _id_of(now.head, now.tail)
            if not is_up and identifier is not None:
                self._pending.pop(_key(identifier), None)
            if identifier is not None:
                await self.to_client(mcp.refusal({"id": identifier}, UNKNOWN + ": it is too long") + b"\n")
        self.write(now)

    def _is_killed(self, session: Session) -> bool:
        """Whether the switch was pulled; an exchange counts that once."""
        if self.brain.is_killed and session.failed != "killed":
            session.fail("killed")
        return self.brain.is_killed

    def _failed(self, session: Session, why: str) -> Answer | None:
        """None: pass. An answer: refuse. Counted and written down either way."""
        session.fail(why)
        return None if session.ruling.is_open else Answer(200, [], b"")

    # -- written down

    def write(self, turn: _Turn) -> Decision:
        """Write the decision down and count it."""
        seconds = time.perf_counter() - turn.started
        turn.session.closed()
        one = seen(turn.session, time.time() - seconds, seconds, turn.judging)
        count_any(self.metrics, turn.session, one.action, seconds, turn.judging)
        count(self.metrics, turn.session, one)
        if self.journal is not None:
            self.journal.write(line(one, self.version))
        return one

    def close(self) -> None:
        """Write down what was asked and never answered, and the last counts."""
        while self._pending:
            self._unanswered(self._pending.popitem(last=False)[1])
        self._judges.shutdown(wait=False, cancel_futures=True)
        if self.journal is not None:
            self.journal.close()
        self.publish(self.page())

    def page(self) -> bytes:
        """The counts so far, in the format of /metrics."""
        self.look()
        numbers = self.metrics
        numbers.set("afterguard_in_flight", len(self._pending), "all")
        numbers.set("afterguard_killed", float(self.brain.is_killed))
        if self.journal is not None:
            numbers.set("afterguard_log_lost_total", self.journal.lost_ever)
            numbers.set("afterguard_log_written_total", self.journal.written)
            numbers.set("afterguard_log_waiting_bytes", self.journal.waiting)
        return numbers.page()

    async def publishing(self) -> None:
        """Publish the counts now and then."""
        while True:
            self.publish(self.page())
            await asyncio.sleep(MINUTE)


class Nowhere:
    """Before the streams are open."""

    def put(self, data: bytes) -> None:
        """See Out."""

    async def drain(self) -> None:
        """See Out."""


def _refusal(body: Any, says: str) -> bytes:
    """One line that answers one message, or each of a batch."""
    if not isinstance(body, list):
        return mcp.refusal(body, says) + b"\n"
    return b"[" + b",".join(mcp.refusal(item, says) for item in _asking(body)) + b"]\n"


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        return None


def _is_notification(body: Any) -> bool:
    """Nothing but notifications: nobody answers them, and no model reads them."""
    if isinstance(body, list):
        return bool(body) and all(_is_notification(item) for item in body)
    return isinstance(body, dict) and "method" in body and not body.keys() & {"id", "result", "error"}


def _asking(body: Any) -> list[dict[str, Any]]:
    items = body if isinstance(body, list) else [body]
    return [item for item in items if isinstance(item, dict) and "method" in item and "id" in item]


def _answering(body: Any) -> list[dict[str, Any]]:
    items = body if isinstance(body, list) else [body]
    return [item for item in items if isinstance(item, dict) and "id" in item and ("result" in item or "error" in item)]


def _cursor(body: Any) -> Any:
    """Where the next page of a list begins, None on the last one."""
    result = body.get("result") if isinstance(body, dict) else None
    return result.get("nextCursor") if isinstance(result, dict) else None


def _key(identifier: Any) -> bytes:
    """An id as a key: 1 and "1" are two."""
    try:
        return msgspec.json.encode(identifier)[:1_000]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return b""


def _id_of(head: bytes, tail: bytes) -> Any:
    """The id of a message of which only both ends are left; None where it stands elsewhere."""
    found = ID_FIRST.match(head) or ID_LAST.search(tail)
    return _decoded(found[1]) if found else None


# The process and its streams.

Read = Callable[[], Awaitable[bytes]]


async def serve(door: Door, command: Sequence[str]) -> int:
    """Run the server behind the door until it ends; its exit code. Raises UsageError where it cannot be started."""
    try:
        server = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot start {command[0]}: {getattr(error, 'strerror', None) or error}",
            hint="afterguard guard stdio --name NAME -- COMMAND ARGS...",
            slug="no-such-command",
        ) from None
    assert server.stdin is not None and server.stdout is not None
    into, out_of = server.stdin, server.stdout
    read, door.client, door.server = await _reader(0), await _writer(1), Stream(into)
    _forward_signals(server)

    async def up() -> None:
        await _pump(read, door.up)
        with contextlib.suppress(OSError):
            into.close()

    rising = asyncio.create_task(up())
    publishing = asyncio.create_task(door.publishing())
    await _pump(lambda: out_of.read(CHUNK), door.down)
    code = await server.wait()
    for task in (rising, publishing):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    door.close()
    return code if code >= 0 else 128 - code


async def _pump(read: Read, take: Callable[[Line], Awaitable[None]]) -> None:
    lines = Lines()
    while True:
        chunk = await read()
        for one in lines.feed(chunk) if chunk else lines.close():
            await take(one)
        if not chunk:
            return


def _forward_signals(server: asyncio.subprocess.Process) -> None:
    loop = asyncio.get_running_loop()

    def pass_on(which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            server.send_signal(which)

    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        which = getattr(signal, name, None)
        if which is not None:
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(which, pass_on, which)


async def _reader(descriptor: int) -> Read:
    """Reads a descriptor of this process: a pipe, or a file that somebody put in its place."""
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader(limit=CHUNK)
    try:
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", 0, closefd=False)
        )
    except ValueError:

        async def plain() -> bytes:
            return os.read(descriptor, CHUNK)

        return plain
    return lambda: stream.read(CHUNK)


async def _writer(descriptor: int) -> Out:
    loop = asyncio.get_running_loop()
    sys.stdout.flush()
    try:
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(descriptor, "wb", 0, closefd=False)
        )
    except ValueError:
        return Plain(descriptor)
    return Stream(asyncio.StreamWriter(transport, protocol, None, loop))


class Stream:
    """A pipe. What was put has left when `drain` returns."""

    def __init__(self, stream: asyncio.StreamWriter) -> None:
        self.stream = stream
        stream.transport.set_write_buffer_limits(0)

    def put(self, data: bytes) -> None:
        """See Out."""
        with contextlib.suppress(OSError, RuntimeError):
            self.stream.write(data)

    async def drain(self) -> None:
        """See Out."""
        with contextlib.suppress(OSError, RuntimeError):
            await self.stream.drain()


class Plain:
    """A file in place of a pipe."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def put(self, data: bytes) -> None:
        """See Out."""
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self.descriptor, data) :]

    async def drain(self) -> None:
        """See Out."""
