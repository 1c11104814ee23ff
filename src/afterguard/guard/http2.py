"""The server's side of gRPC over HTTP/2, as much of it as Envoy speaks to a door: streams of messages both ways, on the event loop of the guard.

In: bytes of a connection. Out: a `Call` for each stream, to read messages from and write messages to. It knows no service, compresses nothing and pushes nothing.

Why not the published gRPC server: it hands every message through three threads, which costs more time than judging it does (bench/doors.py). HPACK, the part of HTTP/2 with a memory, is the package hpack.

Theory of operation. A connection is an asyncio.Protocol. Frames are read as they come; each stream has a coroutine, its handler, which reads from a queue of whole messages. The stream itself drives it, with no task of asyncio:
a message that comes lets the handler run on at once, in the same turn of the loop, until it waits for the next one. It may wait for a message (`Call.read`), for room to send (`Call.write`), for its turn (`asyncio.sleep(0)`) and for
any Future; what needs a task of its own, such as asyncio.timeout, belongs into one that the handler then waits for. What a peer may make this process hold or do
is bounded: the size of frames, of header blocks and of messages, the number of streams and of connections, unread bytes of a stream (its window is not opened again before they are read) and of all streams of the process
together (`Held.room`), what waits to be sent, the time for which a message may wait to be sent, and what costs the peer little (control frames, resets, frames without content, errors that make us reset a stream) a second. What
is beyond a bound, or against RFC 9113, ends the connection with the error code that says so.

A peer that waits for no answer, because it only shows what passes, has other work to do, and to be woken for each of its packets slows it down: the kernel wakes us on its time. Such a connection is read in turns, with rests between
them (`Connection.rests`).

A stream that the peer resets, or whose connection is lost, has its handler cancelled once (CancelledError is raised where it waits, or where it waits next), and not any more after the handler has said (`Call.part`) that it is only
writing down what was.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any
from urllib.parse import quote

from hpack import Decoder
from hpack.exceptions import HPACKError

from afterguard.guard.door import Room

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITISED, ACK = 1, 4, 8, 32, 1
NO_ERROR, PROTOCOL, FLOW_CONTROL, CLOSED, FRAME_SIZE, REFUSED, COMPRESSION, CALM = 0, 1, 3, 5, 6, 7, 9, 11
FRAME_CAP = 256 << 10
"""Bytes of one frame we take."""
WINDOW = 4 << 20
"""Bytes of a stream that may come before they are read."""
WIDE = (1 << 31) - 1
BLOCK_CAP = 16 << 10
"""Bytes of a header block, packed. gRPC's metadata is small, and unpacking what is made for it costs a second a megabyte."""
LIST_CAP = 64 << 10
"""Bytes of a header block, unpacked."""
BODY = 256 << 10
"""A message above this is taken for a body that whoever reads it keeps: it counts as held until the stream ends, up to KEPT bytes a stream."""
KEPT = 64 << 20
MESSAGES = 10_000
"""Messages of a stream that may lie unread."""
KNOWN = 100
"""Header blocks that are remembered."""
STREAMS = 1_000
"""Streams of one connection at once."""
CONNECTIONS = 1_000
"""Connections of one process."""
FLOOD = 2_000
"""What costs a peer little, a second."""
SETTINGS_MOST = 32
"""Rows of one SETTINGS frame: each may touch every stream."""
DRIBBLE = 256
"""Bytes of DATA below which a frame that completes nothing is counted as costing little."""
OUT_CAP = 8 << 20
"""Bytes waiting to be sent above which the connection ends: its peer asks and does not read."""
STALL = 30.0
"""Seconds for which a message may wait until the peer takes it."""
IDLE = 900.0
"""Seconds for which a stream may say nothing, and a connection may lie without one."""
LOOK = 1.0
"""Seconds between looks at what is late: a timer for each message would cost more than reading it."""
GREETING = 10.0
"""Seconds until the preface."""
PARTING = 2.0
"""Seconds in which a peer may take the last bytes of a connection that ends, or answer that it has heard that one does."""
REST, SMALL = 0.02, 16 << 10
"""Seconds for which a connection is not read whose peer waits for no answer, and bytes below which what came at once leaves time for it: the kernel takes 64 KiB before a peer has to hold back. See `Connection.rests`."""
FAREWELL = b"farewell"
"""In the PING whose answer says that the peer has heard it."""
OK, CANCELLED, INVALID, DEADLINE, NOT_FOUND, EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAUTHENTICATED = (
    0,
    1,
    3,
    4,
    5,
    8,
    12,
    13,
    16,
)
"""Of gRPC."""
BEGIN = b"\x88\x0f\x10\x10application/grpc"
"""`:status: 200` and `content-type: application/grpc`, in HPACK without a memory."""


class Refused(Exception):
    """End the stream with a status of gRPC and a sentence."""

    def __init__(self, code: int, says: str) -> None:
        super().__init__(says)
        self.code = code


class Broken(Exception):
    """End the connection with an error code of HTTP/2."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Held:
    """What all connections of a process share."""

    def __init__(self, room: int, on_broken: Callable[[int], None] = lambda _: None) -> None:
        self.lines: set[Connection] = set()
        self.room = Room(room)
        """Bytes that may lie unread."""
        self.on_broken = on_broken
        """Told the error code of a connection that was ended for what its peer did."""


Handler = Callable[["Call"], Coroutine[Any, Any, None]]


class Wait:
    """What a handler waits for that is not a Future."""

    def __await__(self) -> Generator[Wait, None, None]:
        yield self


MESSAGE, SPACE = Wait(), Wait()
"""A message to read, and room to send one."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _status(code: int, says: str) -> bytes:
    rows = [(b"grpc-status", str(code).encode())]
    if says:
        rows.append((b"grpc-message", quote(says[:100], safe=" ()-_.,:;").encode()[:120]))
    return b"".join(b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value for name, value in rows)


class Call:
    """One stream."""

    def __init__(self, line: Connection, number: int, headers: dict[str, str]) -> None:
        self.line = line
        self.number = number
        self.metadata = headers
        self.path = headers.get(":path", "")
        self.room = WINDOW
        """Bytes the peer may still send."""
        self.window = line.initial
        """Bytes we may still send."""
        self._work: Coroutine[Any, Any, None] | None = None
        """The handler, until it is over."""
        self._waits: Wait | None = None
        self._future: asyncio.Future[Any] | None = None
        """Somebody else the handler waits for."""
        self._is_parted = self._is_cancelled = self._is_running = False
        self._messages: deque[bytes] = deque()
        self._buffer = bytearray()
        self._unread = self._owed = self._held = self._kept = 0
        self.is_ended = False
        """Whether the peer has said all."""
        self._is_begun = False
        self.is_said = False
        """Whether we have said all."""
        self._until = 0.0
        """When what it waits for has to be there."""

    async def read(self, limit: float = IDLE) -> bytes | None:
        """The next message, None at the end. Raises TimeoutError where none comes within so many seconds, and a little."""
        self._until = self.line.loop.time() + limit
        while not self._messages:
            if self.is_ended:
                return None
            await MESSAGE
        message = self._messages.popleft()
        size = len(message) + 5
        self._unread -= size
        if size > BODY and self._kept + size <= KEPT:
            self._kept += size
        else:
            self._give_back(size)
        self._open()
        return message

    # -- the handler

    def go(self, work: Coroutine[Any, Any, None]) -> None:
        """Let the handler begin."""
        self._work = work
        self._step()

    def _step(self, error: BaseException | None = None) -> None:
        """Let the handler run until it waits again."""
        if self._work is None or self._is_running:
            return
        self._waits, self._is_running = None, True
        code, says = OK, ""
        try:
            self._wait(self._run(self._work, error))
            return
        except StopIteration:
            pass
        except Refused as refused:
            code, says = refused.code, str(refused)
        except asyncio.CancelledError:
            code = CANCELLED
        except Exception as broken:
            code, says = INTERNAL, type(broken).__name__
        finally:
            self._is_running = False
            error = None  # which would hold this frame, and the frame it
        self._work = None
        if code != CANCELLED and not self.is_said:
            self.end(code, says)
        self.line.forget(self)

    def _run(self, work: Coroutine[Any, Any, None], error: BaseException | None) -> Any:
        """What the handler waits for next. Raises what it raises, StopIteration at its end."""
        while True:
            if self._is_cancelled:
                self._is_cancelled, error = False, asyncio.CancelledError()
            try:
                waits = work.send(None) if error is None else work.throw(error)
            finally:
                error = None
            if not self._is_cancelled or not (waits is None or isinstance(waits, Wait)):
                return waits

    def _wait(self, waits: Any) -> None:
        """Find out what the handler waits for."""
        if isinstance(waits, Wait):
            self._waits = waits
        elif waits is None:
            self.line.loop.call_soon(self._step)
        else:
            waits._asyncio_future_blocking = False  # the sign that it was waited for as it should be
            self._future = waits
            waits.add_done_callback(self._woken)
            if self._is_cancelled:
                waits.cancel()

    def _woken(self, _: asyncio.Future[Any]) -> None:
        self._future = None
        self._step()

    def cancel(self) -> None:
        """The peer has left: end the handler, once, and not while it is writing down what was."""
        if self._is_parted or self._work is None:
            return
        self._is_parted = True
        if self._waits is not None:
            self._step(asyncio.CancelledError())
        elif self._future is None or not self._future.cancel():
            self._is_cancelled = True  # it runs, or is about to

    def part(self) -> None:
        """Nothing the peer does ends the handler any more."""
        self._is_parted, self._is_cancelled = True, False

    def over(self) -> None:
        """Nothing is read any more."""
        self._give_back(self._held)
        self._messages.clear()

    def _give_back(self, size: int) -> None:
        self._held -= size
        self.line.held.room.left += size

    async def write(self, message: bytes) -> None:
        """Send a message; waits while the peer takes nothing. Raises TimeoutError where that is too long."""
        data = b"\0" + _number(len(message)) + message
        begin = b"" if self._is_begun else frame(HEADERS, END_HEADERS, self.number, BEGIN)
        self._is_begun = True
        if len(data) <= self._may_send():
            self._spend(len(data))
            self.line.send(begin + frame(DATA, 0, self.number, data))
            return
        self.line.send(begin)
        at = 0
        while at < len(data):
            size = min(len(data) - at, self._may_send())
            if size <= 0:
                await self._room()
                continue
            self._spend(size)
            self.line.send(frame(DATA, 0, self.number, data[at : at + size]))
            at += size

    def _may_send(self) -> int:
        line = self.line
        return 0 if line.is_paused else min(self.window, line.window, line.frame_cap)

    def _spend(self, size: int) -> None:
        self.window -= size
        self.line.window -= size

    async def _room(self) -> None:
        self._until = self.line.loop.time() + STALL
        self.line.waiting[self.number] = self
        try:
            await SPACE
        finally:
            self.line.waiting.pop(self.number, None)

    def wake(self) -> None:
        """There may be room to send now."""
        if self._waits is SPACE and self._may_send() > 0:
            self._step()

    def end(self, code: int, says: str = "") -> None:
        """The last frames of the stream."""
        self.is_said = True
        begin = b"" if self._is_begun else BEGIN
        self.line.send(frame(HEADERS, END_HEADERS | END_STREAM, self.number, begin + _status(code, says)))
        if not self.is_ended:
            self.line.send(frame(RST_STREAM, 0, self.number, _number(NO_ERROR)))

    def take(self, data: memoryview, is_last: bool, cap: int) -> None:
        """Bytes of the stream. Raises Refused where a message is too large or no gRPC."""
        if not self.line.held.room.take(len(data)):
            raise Refused(EXHAUSTED, "too much lies unread")
        self._held += len(data)
        before = len(self._messages)
        self._cut(data, cap)
        if len(self._messages) > MESSAGES:
            raise Refused(EXHAUSTED, "too many messages unread")
        if is_last:
            self.finish()
            return
        if len(data) < DRIBBLE and len(self._messages) == before:
            self.line.control()
        self._owed += len(data)
        self._open()
        self._heard()

    def look(self, now: float) -> None:
        """Whether a message, or room for one, is too late."""
        if self._waits is not None and now > self._until:
            self._step(TimeoutError())

    def finish(self) -> None:
        """The peer has said all."""
        self.is_ended = True
        self._heard()

    def _heard(self) -> None:
        if self._waits is MESSAGE and (self._messages or self.is_ended):
            self._step()

    def _cut(self, data: memoryview, cap: int) -> None:
        """Messages out of bytes."""
        self._buffer += data
        buffer = self._buffer
        at = 0
        while len(buffer) - at >= 5:
            size = int.from_bytes(buffer[at + 1 : at + 5], "big")
            if buffer[at] != 0:
                raise Refused(UNIMPLEMENTED, "messages are not compressed here")
            if size > cap:
                raise Refused(EXHAUSTED, "the message is too large")
            if len(buffer) - at - 5 < size:
                break
            self._messages.append(bytes(buffer[at + 5 : at + 5 + size]))
            self._unread += size + 5
            at += 5 + size
        if at:
            del buffer[:at]

    def pad(self, size: int) -> None:
        """Bytes of padding, which count like any others and are kept nowhere."""
        self._owed += size

    def _open(self) -> None:
        """Let the peer send more: in large steps, because little by little would cost a frame each, and not before what came is read."""
        if self._owed >= WINDOW // 2 and self._unread < WINDOW // 2 and not self.is_ended:
            self.room += self._owed
            self.line.send(frame(WINDOW_UPDATE, 0, self.number, _number(self._owed)))
            self._owed = 0


class Connection(asyncio.Protocol):
    """One connection: frames in, frames out."""

    def __init__(self, handler: Handler, cap: int, held: Held) -> None:
        self.handler = handler
        self.cap = cap
        self.held = held
        self.loop = asyncio.get_running_loop()
        self.calls: dict[int, Call] = {}
        self.waiting: dict[int, Call] = {}
        """Those that have something to send and may not."""
        self.window = self.initial = 65_535
        self.frame_cap = 16_384
        self.is_leaving = self._is_parted = False
        self.is_paused = False
        """Whether messages wait, because the peer does not take what is there."""
        self._resting: asyncio.TimerHandle | None = None
        self._rests = self._is_awaited = False
        self._buffer = bytearray()
        self._decoder = Decoder(LIST_CAP)
        self._last = 0
        self._block: tuple[int, int, bytearray] | None = None
        """Stream, flags and bytes of a header block that goes on."""
        self._is_greeted = self._is_set = self._is_closed = False
        self._since_heard = 0.0
        self._known: dict[bytes, dict[str, str] | None] = {}
        """Header blocks that were read since the table last changed."""
        self._used = 0
        self._floods, self._since = 0, 0.0
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._since_heard = self.loop.time()
        self._timer = self.loop.call_later(LOOK, self._look)
        if len(self.held.lines) >= CONNECTIONS:
            self._is_closed = True
            self.held.on_broken(REFUSED)
            self.transport.abort()
            return
        self.held.lines.add(self)
        rows = ((3, STREAMS), (4, WINDOW), (5, FRAME_CAP), (6, LIST_CAP))
        settings = b"".join(key.to_bytes(2, "big") + _number(value) for key, value in rows)
        self.transport.write(frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, _number(WIDE - 65_535)))

    def _look(self) -> None:
        """End what says nothing for too long: its peer may be gone without a word."""
        now = self.loop.time()
        for call in list(self.calls.values()):
            call.look(now)
        silent = now - self._since_heard
        if not self._is_set and silent > GREETING:
            self._break(PROTOCOL)
        elif not self.calls and silent > IDLE:
            self._close(NO_ERROR)
        self._timer = self.loop.call_later(LOOK, self._look)

    def connection_lost(self, _: Exception | None) -> None:
        self._is_closed = True
        self.held.lines.discard(self)
        self.gone.set()
        self._timer.cancel()
        if self._resting is not None:
            self._resting.cancel()
        for call in list(self.calls.values()):
            call.cancel()

    def rests(self, is_awaited: bool) -> None:
        """Its peer opened a stream, and waits for what is said there, or does not: read in turns as long as it never waited."""
        self._is_awaited = self._is_awaited or is_awaited
        self._rests = not self._is_awaited

    def _rest(self) -> None:
        if self._resting is None and not self._is_closed:
            self.transport.pause_reading()
            self._resting = self.loop.call_later(REST, self._rested)

    def _rested(self) -> None:
        self._resting = None
        if not self._is_closed and not self.transport.is_closing():
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self._wake()

    def _wake(self) -> None:
        for call in list(self.waiting.values()):
            call.wake()

    def send(self, data: bytes) -> None:
        """Write; uvloop joins what is written in one turn of the loop."""
        if self._is_closed or not data:
            return
        self.transport.write(data)
        if self.is_paused and self.transport.get_write_buffer_size() > OUT_CAP:
            self._break(CALM)

    def data_received(self, data: bytes) -> None:
        if self._is_closed:
            return
        if self._is_set:  # a greeting may not be drawn out
            self._since_heard = self.loop.time()
        buffer = self._buffer
        if buffer:
            buffer += data
        try:
            at = self._frames(buffer or data)
        except Broken as error:
            self._break(error.code)
            return
        if buffer:
            del buffer[:at]
        elif at < len(data):
            buffer += data[at:]
        if self._rests and len(data) < SMALL:
            self._rest()

    def _break(self, code: int) -> None:
        """End the connection for what its peer did."""
        if not self._is_closed:
            self.held.on_broken(code)
            self._close(code)

    def _close(self, code: int) -> None:
        """Say why, and go; a peer that reads nothing is not waited for."""
        if self._is_closed:
            return
        self.transport.write(frame(GOAWAY, 0, 0, _number(self._last) + _number(code)))
        self._is_closed = True
        for call in list(self.calls.values()):
            call.cancel()
        self.transport.close()
        self.loop.call_later(PARTING, self.transport.abort)

    def leave(self) -> None:
        """Ask for no more streams; those that are on their way are still taken (RFC 9113, 6.8)."""
        if self.is_leaving:
            return
        self.is_leaving = True
        self.send(frame(GOAWAY, 0, 0, _number(WIDE) + _number(NO_ERROR)) + frame(PING, 0, 0, FAREWELL))
        self.loop.call_later(PARTING, self._part)

    def _part(self) -> None:
        """The peer has heard it, or says nothing: take no more streams."""
        if self._is_parted or self._is_closed:
            return
        self._is_parted = True
        self.send(frame(GOAWAY, 0, 0, _number(self._last) + _number(NO_ERROR)))
        self._done()

    def _done(self) -> None:
        if self._is_parted and not self.calls and not self._is_closed:
            self._is_closed = True
            self.transport.close()
            self.loop.call_later(PARTING, self.transport.abort)

    # -- frames

    def _frames(self, source: bytes | bytearray) -> int:
        """Read the frames that are there; where they end."""
        at = 0
        if not self._is_greeted:
            if not PREFACE.startswith(bytes(source[: len(PREFACE)])):
                raise Broken(PROTOCOL)
            if len(source) < len(PREFACE):
                return 0
            self._is_greeted, at = True, len(PREFACE)
        while len(source) - at >= 9 and not self._is_closed:
            size = int.from_bytes(source[at : at + 3], "big")
            if size > FRAME_CAP:
                raise Broken(FRAME_SIZE)
            if len(source) - at - 9 < size:
                break
            stream = int.from_bytes(source[at + 5 : at + 9], "big") & WIDE
            self._frame(source[at + 3], source[at + 4], stream, bytes(source[at + 9 : at + 9 + size]))
            at += 9 + size
        return at

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and (kind != CONTINUATION or stream != self._block[0]):
            raise Broken(PROTOCOL)
        if not self._is_set:
            if kind != SETTINGS or flags & ACK:
                raise Broken(PROTOCOL)
            self._is_set = True
        if kind == DATA:
            self._data(flags, stream, payload)
        elif kind == HEADERS:
            self._headers(flags, stream, payload)
        elif kind == CONTINUATION:
            self._continued(flags, payload)
        elif kind == WINDOW_UPDATE:
            self._window(stream, payload)
        elif kind == SETTINGS:
            self._settings(flags, stream, payload)
        elif kind == PING:
            self.control()
            if stream or len(payload) != 8:
                raise Broken(PROTOCOL if stream else FRAME_SIZE)
            if not flags & ACK:
                self.send(frame(PING, ACK, 0, payload))
            elif self.is_leaving and payload == FAREWELL:
                self._part()
        elif kind == RST_STREAM:
            self.control()
            if len(payload) != 4:
                raise Broken(FRAME_SIZE)
            if not 0 < stream <= self._last:
                raise Broken(PROTOCOL)
            if (call := self.calls.get(stream)) is not None:
                call.cancel()
        elif kind == PUSH_PROMISE:
            raise Broken(PROTOCOL)
        else:
            self.control()  # PRIORITY, GOAWAY, and what is not known

    def control(self) -> None:
        """Count what costs a peer little."""
        now = time.monotonic()
        if now - self._since > 1.0:
            self._since, self._floods = now, 0
        self._floods += 1
        if self._floods > FLOOD:
            raise Broken(CALM)

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        if not 0 < stream <= self._last:
            raise Broken(PROTOCOL)
        self._used += len(payload)
        if self._used > WIDE // 4:
            self.send(frame(WINDOW_UPDATE, 0, 0, _number(self._used)))
            self._used = 0
        data = memoryview(payload)
        if flags & PADDED:
            data = _unpadded(data)
        call = self.calls.get(stream)
        if call is None or call.is_said:  # it may have been on its way when the stream ended
            if len(data) < DRIBBLE:
                self.control()
            return
        if call.is_ended:
            raise Broken(CLOSED)
        call.room -= len(payload)
        if call.room < 0:
            raise Broken(FLOW_CONTROL)
        call.pad(len(payload) - len(data))
        try:
            call.take(data, bool(flags & END_STREAM), self.cap)
        except Refused as error:
            self.control()
            self._end(call, error.code, str(error))
            call.cancel()

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream % 2:
            raise Broken(PROTOCOL)
        data = memoryview(payload)
        if flags & PADDED:
            data = _unpadded(data)
        if flags & PRIORITISED:
            if len(data) < 5:
                raise Broken(FRAME_SIZE)
            data = data[5:]
        self._block = (stream, flags, bytearray(data))
        self._gathered(flags)

    def _continued(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise Broken(PROTOCOL)
        self.control()
        self._block[2].extend(payload)
        self._gathered(flags)

    def _gathered(self, flags: int) -> None:
        assert self._block is not None
        if len(self._block[2]) > BLOCK_CAP:
            raise Broken(CALM)
        if flags & END_HEADERS:
            self._opened()

    def _opened(self) -> None:
        assert self._block is not None
        (stream, flags, block), self._block = self._block, None
        headers = self._read(bytes(block))
        call = self.calls.get(stream)
        if call is not None:
            self._trailers(call, flags)
        elif stream <= self._last:
            self.control()  # it may have been on its way when the stream ended
        else:
            self._last = stream
            self._begin(stream, flags, headers)

    def _read(self, block: bytes) -> dict[str, str] | None:
        """See headers_of. A block of nothing but indexes changes no table, and Envoy says the same for every stream: it is read once."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            headers = headers_of(self._decoder.decode(_sized(block), raw=True))
        except (HPACKError, IndexError, ValueError):
            raise Broken(COMPRESSION) from None
        if min(block, default=0) <= 0x80 or max(block) == 0xFF:  # more than indexes of one byte
            self._known = {}
        elif len(self._known) < KNOWN:
            self._known[block] = headers
        return headers

    def _trailers(self, call: Call, flags: int) -> None:
        if call.is_ended:
            raise Broken(CLOSED)
        if not flags & END_STREAM:
            raise Broken(PROTOCOL)
        call.finish()

    def _begin(self, stream: int, flags: int, headers: dict[str, str] | None) -> None:
        if headers is None or self._is_parted or len(self.calls) >= STREAMS:
            self.control()
            self.send(frame(RST_STREAM, 0, stream, _number(PROTOCOL if headers is None else REFUSED)))
            return
        call = self.calls[stream] = Call(self, stream, headers)
        call.is_ended = bool(flags & END_STREAM)
        call.go(self.handler(call))

    def _window(self, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(FRAME_SIZE)
        size = int.from_bytes(payload, "big") & WIDE
        call = self.calls.get(stream)
        if stream > self._last or not size:
            raise Broken(PROTOCOL)
        if size < 4_096 or (stream and call is None):
            self.control()  # windows opened byte by byte, and those of nobody
        if not stream:
            self.window += size
            if self.window > WIDE:
                raise Broken(FLOW_CONTROL)
            self._wake()
        elif call is not None:
            call.window += size
            if call.window > WIDE:
                raise Broken(FLOW_CONTROL)
            call.wake()

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        self.control()
        if stream or len(payload) % 6 or (flags & ACK and payload):
            raise Broken(PROTOCOL if stream else FRAME_SIZE)
        if len(payload) > 6 * SETTINGS_MOST:
            raise Broken(CALM)
        if flags & ACK:
            return
        initial = self.initial
        for at in range(0, len(payload), 6):
            key, value = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
            if key == 4:
                initial = value
            elif key == 5:
                if not 16_384 <= value < 1 << 24:
                    raise Broken(PROTOCOL)
                self.frame_cap = min(value, FRAME_CAP)
        if initial != self.initial:
            self._widen(initial)
        self.send(frame(SETTINGS, ACK, 0))

    def _widen(self, initial: int) -> None:
        """Every stream's window follows the setting, below zero where need be."""
        if initial > WIDE:
            raise Broken(FLOW_CONTROL)
        for call in self.calls.values():
            call.window += initial - self.initial
            if call.window > WIDE:
                raise Broken(FLOW_CONTROL)
        self.initial = initial
        self._wake()

    # -- streams

    def _end(self, call: Call, code: int, says: str) -> None:
        if not call.is_said:
            call.end(code, says)

    def forget(self, call: Call) -> None:
        """Its handler is over."""
        call.over()
        if self.calls.pop(call.number, None) is not None:
            self._done()


def headers_of(rows: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """Metadata by name, the last of a name; None where it is against RFC 9113, 8.2 and 8.3: a name that is empty or in capitals, a pseudo-header twice or behind others."""
    found: dict[str, str] = {}
    is_past = False
    for raw, value in rows:
        name = raw.decode("latin-1")
        is_pseudo = name[:1] == ":"
        if not name or name != name.lower() or (is_pseudo and is_past) or (is_pseudo and name in found):
            return None
        is_past = is_past or not is_pseudo
        found[name] = value.decode("latin-1")
    return found


def _sized(block: bytes) -> bytes:
    """A header block that changes the size of its table twice at most (RFC 7541, 4.2): thousands of changes cost the peer a byte each. Raises ValueError."""
    at = count = 0
    while at < len(block) and block[at] & 0xE0 == 0x20:
        count += 1
        if count > 2:
            raise ValueError("too many table sizes")
        at += 1
        if block[at - 1] & 31 == 31:
            while at < len(block) and block[at] & 0x80:
                at += 1
            at += 1
    return block


def _unpadded(data: memoryview) -> memoryview:
    if not data or data[0] >= len(data):
        raise Broken(PROTOCOL)
    return data[1 : len(data) - data[0]]
