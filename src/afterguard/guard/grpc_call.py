"""One call of gRPC: a stream of HTTP/2 and the handler that answers it.

In: pieces of DATA, as the connection (http2.py) hands them over. Out: messages to the handler, and its answers as frames.

Theory of operation. A stream has a coroutine, its handler, which reads from a queue of whole messages. The stream itself drives it, with no task of asyncio:
a message that comes lets the handler run on at once, in the same turn of the loop, until it waits for the next one. It may wait for a message (`Call.read`), for room to send (`Call.write`), for its turn (`asyncio.sleep(0)`) and for
any Future; what needs a task of its own, such as asyncio.timeout, belongs into one that the handler then waits for.

A stream that the peer resets, or whose connection is lost, has its handler cancelled once (CancelledError is raised where it waits, or where it waits next), and not any more after the handler has said (`Call.part`) that it is only
writing down what was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from afterguard.guard.http2_frames import (
    DATA,
    DRIBBLE,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    NO_ERROR,
    RST_STREAM,
    WINDOW_UPDATE,
    frame,
    number,
)

if TYPE_CHECKING:
    from afterguard.guard.http2 import Connection

WINDOW = 4 << 20
"""Bytes of a stream that may come before they are read."""
BODY = 256 << 10
"""A message above this is taken for a body that whoever reads it keeps: it counts as held until the stream ends, up to KEPT bytes a stream."""
KEPT = 64 << 20
MESSAGES = 10_000
"""Messages of a stream that may lie unread."""
STALL = 30.0
"""Seconds for which a message may wait until the peer takes it."""
IDLE = 900.0
"""Seconds for which a stream may say nothing, and a connection may lie without one."""
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


Handler = Callable[["Call"], Coroutine[Any, Any, None]]


class Wait:
    """What a handler waits for that is not a Future."""

    def __await__(self) -> Generator[Wait, None, None]:
        yield self


MESSAGE, SPACE = Wait(), Wait()
"""A message to read, and room to send one."""


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
        data = b"\0" + number(len(message)) + message
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
            self.line.send(frame(RST_STREAM, 0, self.number, number(NO_ERROR)))

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
            self.line.send(frame(WINDOW_UPDATE, 0, self.number, number(self._owed)))
            self._owed = 0
