"""The server's side of gRPC over HTTP/2, as much of it as Envoy speaks to a door: streams of messages both ways, on the event loop of the guard.

In: bytes of a connection. Out: a `Call` for each stream, to read messages from and write messages to. It knows no service, compresses nothing and pushes nothing.

Why not the published gRPC server: it hands every message through three threads, which costs more time than judging it does (bench/doors.py). HPACK, the part of HTTP/2 with a memory, is the package hpack.

Theory of operation. A connection is an asyncio.Protocol. Frames are read as they come (http2_frames.py); each stream is a Call that drives its own handler (grpc_call.py). What a peer may make this process hold or do
is bounded: the size of frames, of header blocks and of messages, the number of streams and of connections, unread bytes of a stream (its window is not opened again before they are read) and of all streams of the process
together (`Held.room`), what waits to be sent, the time for which a message may wait to be sent, and what costs the peer little (control frames, resets, frames without content, errors that make us reset a stream) a second. What
is beyond a bound, or against RFC 9113, ends the connection with the error code that says so.

A peer that waits for no answer, because it only shows what passes, has other work to do, and to be woken for each of its packets slows it down: the kernel wakes us on its time. Such a connection is read in turns, with rests between
them (`Connection.rests`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from hpack import Decoder
from hpack.exceptions import HPACKError

from afterguard.guard.door import Room
from afterguard.guard.grpc_call import IDLE, WINDOW, Call, Handler, Refused
from afterguard.guard.http2_frames import (
    ACK,
    CALM,
    CLOSED,
    COMPRESSION,
    CONTINUATION,
    DATA,
    DRIBBLE,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL,
    FRAME_SIZE,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    PADDED,
    PING,
    PREFACE,
    PRIORITISED,
    PROTOCOL,
    PUSH_PROMISE,
    REFUSED,
    RST_STREAM,
    SETTINGS,
    WIDE,
    WINDOW_UPDATE,
    Broken,
    frame,
    headers_of,
    number,
    sized,
    unpadded,
)

FRAME_CAP = 256 << 10
"""Bytes of one frame we take."""
BLOCK_CAP = 16 << 10
"""Bytes of a header block, packed. gRPC's metadata is small, and unpacking what is made for it costs a second a megabyte."""
LIST_CAP = 64 << 10
"""Bytes of a header block, unpacked."""
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
OUT_CAP = 8 << 20
"""Bytes waiting to be sent above which the connection ends: its peer asks and does not read."""
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


class Held:
    """What all connections of a process share."""

    def __init__(self, room: int, on_broken: Callable[[int], None] = lambda _: None) -> None:
        self.lines: set[Connection] = set()
        self.room = Room(room)
        """Bytes that may lie unread."""
        self.on_broken = on_broken
        """Told the error code of a connection that was ended for what its peer did."""


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
        settings = b"".join(key.to_bytes(2, "big") + number(value) for key, value in rows)
        self.transport.write(frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, number(WIDE - 65_535)))

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
        self.transport.write(frame(GOAWAY, 0, 0, number(self._last) + number(code)))
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
        self.send(frame(GOAWAY, 0, 0, number(WIDE) + number(NO_ERROR)) + frame(PING, 0, 0, FAREWELL))
        self.loop.call_later(PARTING, self._part)

    def _part(self) -> None:
        """The peer has heard it, or says nothing: take no more streams."""
        if self._is_parted or self._is_closed:
            return
        self._is_parted = True
        self.send(frame(GOAWAY, 0, 0, number(self._last) + number(NO_ERROR)))
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
            self.send(frame(WINDOW_UPDATE, 0, 0, number(self._used)))
            self._used = 0
        data = memoryview(payload)
        if flags & PADDED:
            data = unpadded(data)
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
            data = unpadded(data)
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
            headers = headers_of(self._decoder.decode(sized(block), raw=True))
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
            self.send(frame(RST_STREAM, 0, stream, number(PROTOCOL if headers is None else REFUSED)))
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
