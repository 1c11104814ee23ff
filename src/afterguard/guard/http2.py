"""The server's side of gRPC over HTTP/2, as much of it as Envoy speaks to a door: streams of messages both ways, on the event loop of the guard.

In: bytes of a connection. Out: a `Call` for each stream, to read messages from and write messages to. It knows no service, compresses nothing and pushes nothing.

Why not the published gRPC server: it hands every message through three threads, which costs more time than judging it does (bench/door_envoy.py). HPACK, the part of HTTP/2 with a memory, is the package hpack.

Theory of operation. A connection is an asyncio.Protocol. Frames are read as they come; each stream has a task that runs the handler, reading from a queue of whole messages. What a peer may make this process hold is bounded: the
size of frames, of header blocks and of messages, the number of streams, unread messages (the stream's window is not opened again before they are read), and control frames and resets a second. What is beyond a
bound, or against RFC 9113, ends the connection with the error code that says so.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import quote

from hpack import Decoder
from hpack.exceptions import HPACKError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITISED, ACK = 1, 4, 8, 32, 1
NO_ERROR, PROTOCOL, FLOW_CONTROL, FRAME_SIZE, REFUSED, COMPRESSION, CALM = 0, 1, 3, 6, 7, 9, 11
FRAME_CAP = 256 << 10
"""Bytes of one frame we take."""
WINDOW = 4 << 20
"""Bytes of a stream that may come before they are read."""
WIDE = (1 << 31) - 1
BLOCK_CAP = 64 << 10
"""Bytes of a header block, packed."""
LIST_CAP = 128 << 10
"""Bytes of a header block, unpacked."""
STREAMS = 1_000
"""Streams of one connection at once."""
FLOOD = 2_000
"""Control frames and resets a second."""
GREETING = 10.0
"""Seconds until the preface."""
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


Handler = Callable[["Call"], Awaitable[None]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def _trailers(code: int, says: str) -> bytes:
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
        self.task: asyncio.Task[None] | None = None
        self._messages: deque[bytes] = deque()
        self._buffer = bytearray()
        self._unread = self._owed = 0
        self.is_ended = False
        """Whether the peer has said all."""
        self._is_begun = False
        self._waiter: asyncio.Future[None] | None = None
        self._sender: asyncio.Future[None] | None = None

    async def read(self) -> bytes | None:
        """The next message, None at the end."""
        while not self._messages:
            if self.is_ended:
                return None
            self._waiter = self.line.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self._messages.popleft()
        self._unread -= len(message)
        if self._owed and self._unread < WINDOW // 2:
            self._open(self._owed)
            self._owed = 0
        return message

    async def write(self, message: bytes) -> None:
        """Send a message; waits while the peer takes nothing."""
        head = b"\0" + _number(len(message))
        begin = b"" if self._is_begun else frame(HEADERS, END_HEADERS, self.number, BEGIN)
        self._is_begun = True
        data = head + message
        if len(data) <= min(self.window, self.line.window, self.line.frame_cap) and not self.line.is_paused:
            self._spend(len(data))
            self.line.send(begin + frame(DATA, 0, self.number, data))
            return
        self.line.send(begin)
        at = 0
        while at < len(data):
            size = min(len(data) - at, self.window, self.line.window, self.line.frame_cap)
            if size <= 0 or self.line.is_paused:
                await self._room()
                continue
            self._spend(size)
            self.line.send(frame(DATA, 0, self.number, data[at : at + size]))
            at += size

    def _spend(self, size: int) -> None:
        self.window -= size
        self.line.window -= size

    async def _room(self) -> None:
        self._sender = self.line.loop.create_future()
        try:
            await self._sender
        finally:
            self._sender = None

    def wake(self) -> None:
        """There may be room to send now."""
        if self._sender is not None and not self._sender.done():
            self._sender.set_result(None)

    def end(self, code: int, says: str = "") -> None:
        """The last frames of the stream."""
        begin = b"" if self._is_begun else BEGIN
        self.line.send(frame(HEADERS, END_HEADERS | END_STREAM, self.number, begin + _trailers(code, says)))
        if not self.is_ended:
            self.line.send(frame(RST_STREAM, 0, self.number, _number(NO_ERROR)))

    def take(self, data: memoryview, is_last: bool, cap: int) -> None:
        """Bytes of the stream. Raises Refused where a message is too large or no gRPC."""
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
            self._unread += size
            at += 5 + size
        if at:
            del buffer[:at]
        self.is_ended = self.is_ended or is_last
        if len(self._messages) > 10_000:
            raise Refused(EXHAUSTED, "too many messages unread")
        if len(data) and not self.is_ended:
            if self._unread < WINDOW // 2:
                self._open(len(data) + self._owed)
                self._owed = 0
            else:
                self._owed += len(data)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _open(self, size: int) -> None:
        """Let the peer send more; little by little would cost a frame each."""
        self.room += size
        self.line.opened(self, size)


class Connection(asyncio.Protocol):
    """One connection: frames in, frames out."""

    def __init__(self, handler: Handler, cap: int, lines: set[Connection]) -> None:
        self.handler = handler
        self.cap = cap
        self.lines = lines
        self.loop = asyncio.get_running_loop()
        self.calls: dict[int, Call] = {}
        self.window = self.initial = 65_535
        self.frame_cap = 16_384
        self.is_paused = False
        self.is_leaving = False
        self._buffer = bytearray()
        self._decoder = Decoder(LIST_CAP)
        self._last = 0
        self._block: tuple[int, int, bytearray] | None = None
        """Stream, flags and bytes of a header block that goes on."""
        self._is_greeted = self._is_closed = False
        self._used = 0
        self._floods, self._since = 0, 0.0
        self._out: list[bytes] = []
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.lines.add(self)
        rows = ((3, STREAMS), (4, WINDOW), (5, FRAME_CAP), (6, LIST_CAP))
        settings = b"".join(key.to_bytes(2, "big") + _number(value) for key, value in rows)
        self.transport.write(frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, _number(WIDE - 65_535)))
        self._timer = self.loop.call_later(GREETING, self._ungreeted)

    def _ungreeted(self) -> None:
        if not self._is_greeted:
            self.transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._is_closed = True
        self.lines.discard(self)
        self.gone.set()
        self._timer.cancel()
        for call in list(self.calls.values()):
            if call.task is not None:
                call.task.cancel()

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        for call in self.calls.values():
            call.wake()

    def send(self, data: bytes) -> None:
        """Write, joined with what else is written in this turn of the loop."""
        if self._is_closed or not data:
            return
        if not self._out:
            self.loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        if not self._is_closed:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            self._frames()
        except Broken as error:
            self._close(error.code)

    def _close(self, code: int) -> None:
        self.send(frame(GOAWAY, 0, 0, _number(self._last) + _number(code)))
        self._flush()
        self._is_closed = True
        self.transport.close()

    def leave(self) -> None:
        """Take no new streams."""
        self.is_leaving = True
        self.send(frame(GOAWAY, 0, 0, _number(self._last) + _number(NO_ERROR)))
        self._done()

    def _done(self) -> None:
        if self.is_leaving and not self.calls and not self._is_closed:
            self._flush()
            self.transport.close()

    # -- frames

    def _frames(self) -> None:
        buffer = self._buffer
        at = 0
        if not self._is_greeted:
            if not PREFACE.startswith(buffer[: len(PREFACE)]):
                raise Broken(PROTOCOL)
            if len(buffer) < len(PREFACE):
                return
            self._is_greeted, at = True, len(PREFACE)
        while len(buffer) - at >= 9 and not self._is_closed:
            size = int.from_bytes(buffer[at : at + 3], "big")
            if size > FRAME_CAP:
                raise Broken(FRAME_SIZE)
            if len(buffer) - at - 9 < size:
                break
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & WIDE
            self._frame(buffer[at + 3], buffer[at + 4], stream, bytes(buffer[at + 9 : at + 9 + size]))
            at += 9 + size
        del buffer[:at]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and (kind != CONTINUATION or stream != self._block[0]):
            raise Broken(PROTOCOL)
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
            self._control()
            if stream or len(payload) != 8:
                raise Broken(PROTOCOL if stream else FRAME_SIZE)
            if not flags & ACK:
                self.send(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM:
            self._control()
            if not stream or len(payload) != 4:
                raise Broken(PROTOCOL if not stream else FRAME_SIZE)
            self._reset(stream)
        elif kind == PUSH_PROMISE:
            raise Broken(PROTOCOL)
        else:
            self._control()  # PRIORITY, GOAWAY, and what is not known

    def _control(self) -> None:
        """Count what costs a peer little."""
        now = time.monotonic()
        if now - self._since > 1.0:
            self._since, self._floods = now, 0
        self._floods += 1
        if self._floods > FLOOD:
            raise Broken(CALM)

    def _reset(self, stream: int) -> None:
        call = self.calls.get(stream)
        if call is not None and call.task is not None:
            call.task.cancel()

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream or stream > self._last:
            raise Broken(PROTOCOL)
        self._used += len(payload)
        if self._used > WIDE // 4:
            self.send(frame(WINDOW_UPDATE, 0, 0, _number(self._used)))
            self._used = 0
        data = memoryview(payload)
        if flags & PADDED:
            data = _unpadded(data)
        if not data and not flags & END_STREAM:
            self._control()
        call = self.calls.get(stream)
        if call is None or call.is_ended:
            return
        call.room -= len(payload)
        if call.room < 0:
            raise Broken(FLOW_CONTROL)
        if len(payload) > len(data):
            self.opened(call, len(payload) - len(data))
            call.room += len(payload) - len(data)
        try:
            call.take(data, bool(flags & END_STREAM), self.cap)
        except Refused as error:
            self._end(call, error.code, str(error))
            if call.task is not None:
                call.task.cancel()

    def opened(self, call: Call, size: int) -> None:
        """Let the peer send more on a stream."""
        self.send(frame(WINDOW_UPDATE, 0, call.number, _number(size)))

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream % 2 or (stream <= self._last and stream not in self.calls):
            self._control()
            if not stream % 2:
                raise Broken(PROTOCOL)
        data = memoryview(payload)
        if flags & PADDED:
            data = _unpadded(data)
        if flags & PRIORITISED:
            data = data[5:]
        self._block = (stream, flags, bytearray(data))
        if flags & END_HEADERS:
            self._opened()

    def _continued(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise Broken(PROTOCOL)
        self._control()
        self._block[2].extend(payload)
        if len(self._block[2]) > BLOCK_CAP:
            raise Broken(CALM)
        if flags & END_HEADERS:
            self._opened()

    def _opened(self) -> None:
        assert self._block is not None
        (stream, flags, block), self._block = self._block, None
        try:
            rows = self._decoder.decode(bytes(block), raw=True)
        except (HPACKError, IndexError, ValueError):
            raise Broken(COMPRESSION) from None
        call = self.calls.get(stream)
        if call is not None:  # trailers
            call.take(memoryview(b""), True, self.cap)
            return
        if stream <= self._last:
            return
        self._last = stream
        if self.is_leaving or len(self.calls) >= STREAMS:
            self._control()
            self.send(frame(RST_STREAM, 0, stream, _number(REFUSED)))
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in rows}
        call = self.calls[stream] = Call(self, stream, headers)
        call.is_ended = bool(flags & END_STREAM)
        call.task = self.loop.create_task(self._run(call))

    def _window(self, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(FRAME_SIZE)
        size = int.from_bytes(payload, "big") & WIDE
        if size < 4_096:
            self._control()  # windows opened byte by byte
        if not stream:
            self.window += size
            if not size or self.window > WIDE:
                raise Broken(FLOW_CONTROL if size else PROTOCOL)
            for one in self.calls.values():
                one.wake()
        elif (call := self.calls.get(stream)) is not None:
            call.window += size
            if not size or call.window > WIDE:
                raise Broken(FLOW_CONTROL if size else PROTOCOL)
            call.wake()

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        self._control()
        if stream or len(payload) % 6:
            raise Broken(PROTOCOL if stream else FRAME_SIZE)
        if flags & ACK:
            return
        for at in range(0, len(payload), 6):
            key, value = int.from_bytes(payload[at : at + 2], "big"), int.from_bytes(payload[at + 2 : at + 6], "big")
            if key == 4:
                if value > WIDE:
                    raise Broken(FLOW_CONTROL)
                for call in self.calls.values():
                    call.window += value - self.initial
                    call.wake()
                self.initial = value
            elif key == 5:
                if not 16_384 <= value < 1 << 24:
                    raise Broken(PROTOCOL)
                self.frame_cap = min(value, FRAME_CAP)
        self.send(frame(SETTINGS, ACK, 0))

    # -- streams

    async def _run(self, call: Call) -> None:
        code, says = OK, ""
        try:
            await self.handler(call)
        except Refused as error:
            code, says = error.code, str(error)
        except asyncio.CancelledError:
            self.calls.pop(call.number, None)
            self._done()
            return
        except Exception as error:
            code, says = INTERNAL, type(error).__name__
        self._end(call, code, says)

    def _end(self, call: Call, code: int, says: str) -> None:
        if self.calls.pop(call.number, None) is not None:
            call.end(code, says)
            self._done()


def _unpadded(data: memoryview) -> memoryview:
    if not data or data[0] >= len(data):
        raise Broken(PROTOCOL)
    return data[1 : len(data) - data[0]]
