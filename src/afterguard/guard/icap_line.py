"""One connection of an ICAP client: requests as they come, replies as they are said, nothing decided.

In: a stream of bytes either way, bounds. Out: a `Head`, its body piece by piece, and the means to answer it. It knows when 204 may be said, when the client has to be told to go on, and what has to be
read before the connection can be used again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from afterguard.wire import icap
from afterguard.wire.icap import BadIcap, Data, End, Event, Head, Http, Preview, Receiver

STEP = 64 << 10
IDLE = 300.0
"""Seconds between two requests; longer than clients keep a connection, so that they close it and not we."""
HEAD_WAIT = 20.0
"""Seconds from the first byte of a request until its heads are here."""
BODY_WAIT = 600.0
"""Seconds of silence inside a body: a model may think."""
WRITE_WAIT = 60.0
"""Seconds until a client takes what was said to it."""
REST_WAIT = 2.0
"""Seconds for the rest of a body that nobody needs."""
HELD = 512 << 20
"""Bytes of bodies that all connections of a process hold together; what would be more is not judged."""


class Gone(ConnectionError):
    """The client has left, in the middle of something or between two requests."""


class Held(Protocol):
    """What all connections share."""

    held: int


class Line:
    """State of one connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shared: Held, tag: Callable[[], bytes]
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.shared = shared
        self.tag = tag
        """The ISTag of now."""
        self.receiver = Receiver()
        self.events: deque[Event] = deque()
        self.head: Head | None = None
        self.is_busy = False
        self.is_last = False
        """Whether the connection ends after this request."""
        self.is_answering = False
        """Whether a reply has begun."""
        self.may_pass = False
        """Whether 204 may be said."""
        self.is_ended = True
        """Whether the body has been read to its end."""
        self.is_previewing = False
        """Whether a preview is being read."""
        self.asks = False
        """Whether the preview has ended and the client waits to hear what becomes of the rest."""
        self.kept: list[bytes] = []
        """What was read and held of the body."""
        self._size = 0
        self.why = ""
        """Why a body is not held: too_long, overload."""

    # -- hearing

    async def next(self) -> Head | None:
        """The next request; None where there is none any more."""
        self._free()
        self.is_busy = False
        self.events.extend(self.receiver.more())
        if not self.events and self.receiver.is_idle:
            data = await self._read(IDLE)
            if not data:
                return None
            self.events.extend(self.receiver.feed(data))
        self.is_busy = True
        async with asyncio.timeout(HEAD_WAIT):
            while not self.events:
                await self._more(HEAD_WAIT)
        head = self.events.popleft()
        assert isinstance(head, Head)
        self.head = head
        self.may_pass = head.preview >= 0 or head.allows(b"204")
        self.is_answering = False
        self.is_ended = not head.has_body
        self.is_previewing = head.has_body and head.preview >= 0
        self.asks = False
        self.why = ""
        if not head.has_body:
            self.events.clear()
        return head

    async def _read(self, seconds: float) -> bytes:
        async with asyncio.timeout(seconds):
            return await self.reader.read(STEP)

    async def _more(self, seconds: float) -> None:
        self.receiver.check()
        data = await self._read(seconds)
        if not data:
            raise Gone("in the middle of a request")
        self.events.extend(self.receiver.feed(data))

    async def peek(self) -> None:
        """Read as far as the client sends unasked: its preview, where it sends one. What comes is held."""
        while self.is_previewing:
            piece = await self._piece()
            if piece:
                self._keep(piece)

    async def _piece(self) -> bytes:
        """The next of the body; b"" where a preview or the body ended."""
        while not self.events:
            await self._more(BODY_WAIT)
        event = self.events.popleft()
        if isinstance(event, Data):
            return event.value
        self.is_previewing = False
        self.asks = isinstance(event, Preview) and not event.is_whole
        self.is_ended = isinstance(event, End)
        if isinstance(event, Preview) and event.is_whole:
            self.is_ended = isinstance(self.events.popleft(), End)
        return b""

    async def go_on(self) -> None:
        """Have the client send what follows its preview. From then on 204 may be said only where it said so."""
        await self.peek()
        if self.asks:
            assert self.head is not None
            self.asks = False
            self.may_pass = self.head.allows(b"204")
            self.writer.write(icap.CONTINUE)
            self.events.extend(self.receiver.resume())

    async def rest(self) -> AsyncIterator[bytes]:
        """What has not been read of the body, as it comes."""
        await self.go_on()
        while not self.is_ended:
            piece = await self._piece()
            if piece:
                yield piece

    async def whole(self, cap: int) -> bytes | None:
        """The body, held; None where it is longer, or too much is held already: then `why` says so and `kept` has what came."""
        await self.go_on()
        while not self.is_ended:
            piece = await self._piece()
            if piece:
                self._keep(piece)
            if self._size > cap or self.shared.held > HELD:
                self.why = "too_long" if self._size > cap else "overload"
                return None
        return self.kept[0] if len(self.kept) == 1 else b"".join(self.kept)

    def _keep(self, piece: bytes) -> None:
        self.kept.append(piece)
        self._size += len(piece)
        self.shared.held += len(piece)

    def _free(self) -> None:
        self.shared.held -= self._size
        self.kept, self._size = [], 0

    # -- saying

    async def say(
        self,
        status: int,
        *headers: tuple[bytes, bytes],
        message: Http | None = None,
        kind: str = "",
        has_body: bool = False,
        body: bytes = b"",
    ) -> None:
        """A reply; its body too where it is known, else `more` and `end` follow."""
        rows = [(b"ISTag", self.tag()), *headers]
        if self.is_last:
            rows.append((b"Connection", b"close"))
        if self.asks:
            self.receiver.finish()
            self.asks, self.is_ended = False, True
        said = icap.reply(status, rows, message, kind=kind, has_body=has_body or bool(body))
        await self.write(said + (icap.body(body) if body else b""))

    async def more(self, piece: bytes) -> None:
        """A piece of the reply's body."""
        if piece:
            await self.write(icap.chunk(piece))

    async def end(self) -> None:
        """The end of the reply's body."""
        await self.write(icap.LAST)

    async def write(self, data: bytes) -> None:
        """Bytes of a reply."""
        self.is_answering = True
        self.writer.write(data)
        async with asyncio.timeout(WRITE_WAIT):
            await self.writer.drain()

    async def passed(self, *headers: tuple[bytes, bytes]) -> None:
        """Let the message pass as it came: what was held, then the rest, unread."""
        await self.peek()
        if self.may_pass and (self.is_ended or self.asks):
            await self.say(204, *headers)
            return
        async for piece in self.echoed(*headers):
            await self.more(piece)
        if self.head is not None and self.head.has_body:
            await self.end()

    async def echoed(self, *headers: tuple[bytes, bytes]) -> AsyncIterator[bytes]:
        """Say the message again, as it came; the pieces of its body, to be given on."""
        head = self.head
        assert head is not None
        await self.go_on()
        message, kind = (head.response, "res") if head.method == "RESPMOD" else (head.request, "req")
        await self.say(200, *headers, message=message or NO_HEAD, kind=kind, has_body=head.has_body)
        for piece in self.kept:
            yield piece
        async for piece in self.rest():
            yield piece

    async def settle(self) -> None:
        """After a reply: read what the client still sends of its request, or give the connection up."""
        if self.is_ended:
            return
        try:
            async with asyncio.timeout(REST_WAIT):
                async for _ in self.rest():
                    pass
        except (TimeoutError, BadIcap, ConnectionError):
            self.is_last = True

    def close(self) -> None:
        """Nothing more is said or heard."""
        self._free()
        self.writer.close()


NO_HEAD = Http(b"HTTP/1.1 200 OK", [])
"""For a RESPMOD that came without the head of its response."""
