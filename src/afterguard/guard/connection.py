"""One connection of the data path to an upstream, and the reply that comes over it.

In: the bytes of one request at a time, then whatever the peer sends. Out: a `Reply` with status and headers, its body chunk by chunk.
It will not open connections, choose between them, or try anything twice; that is `upstream`.

How it works. A connection is an `asyncio.Protocol` with one response parser (llhttp, strict). The parser's callbacks append to the `Reply` in hand;
whoever awaits it is woken, or whoever asked to be told is called, once for each read of the socket, however many chunks were in it. The moment a reply is whole its connection goes back to
the pool, so a slow reader holds bytes and not a connection. There is no timer for each request: the pool's sweep looks at the times written
down here. The rules that keep two requests apart: bytes that nobody asked for close the connection; a connection is used again only after a
reply with a declared end, with nothing of the request left unsent and nothing left over behind the reply.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from afterguard.guard.batch import JOINED, Batch, Cork

Header = tuple[bytes, bytes]

UNREAD = 256 * 1024
"""Bytes of a reply that may lie here unread before the upstream is told to wait."""
INFORMATIONAL = 32
"""Most 1xx replies before the real one."""


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one pool. Times in seconds, sizes in bytes."""

    connections: int = 1024
    waiting: int = 1024
    """Requests that may wait for a connection; one more is unreachable ("busy") at once."""
    connect: float = 10.0
    """For name, connection, proxy and TLS together; also the longest wait for a free connection."""
    idle: float = 30.0
    """An unused connection is closed after this."""
    header_bytes: int = 64 * 1024
    """Head of a reply, and its trailers, and what may stand between two pieces of its body."""
    first_byte: float = 600.0
    """From the request to the head of the reply. Models think for minutes."""
    idle_read: float = 300.0
    """Between two reads of a body."""
    unread: float = 600.0
    """A reply whose reader takes nothing for this long is given up ("stalled")."""


class UpstreamUnreachable(Exception):
    """No connection. `reason`: refused dns tls timeout proxy busy. The request was not sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UpstreamBroken(Exception):
    """The exchange failed after it began. `reason`: no_answer reset truncated tls framing headers status timeout stalled cancelled unsendable."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unsendable(UpstreamBroken):
    """The request itself is not one HTTP message: a line break or NUL in a header, a blank in the target. Nothing was sent."""

    def __init__(self, detail: str) -> None:
        super().__init__("unsendable")
        self.detail = detail


class Pool(Protocol):
    """Who opened a connection and takes it back."""

    loop: asyncio.AbstractEventLoop
    batch: Batch
    limits: Limits

    def give_back(self, connection: Connection) -> None: ...

    def forget(self, connection: Connection) -> None: ...

    def again(self, connection: Connection, reply: Reply) -> bool:
        """Whether the request of `reply`, to which no byte was answered, is sent once more."""


class Reply:
    """What the upstream answers to one request, as it comes. `headers` and `trailers` are spelled as received."""

    __slots__ = (
        "body",
        "connection",
        "done",
        "error",
        "head",
        "headed",
        "headers",
        "headless",
        "opening",
        "pending",
        "reason",
        "status",
        "tell",
        "trailers",
        "tried",
        "unreachable",
        "unread",
        "waiter",
    )

    def __init__(self, head: bytes, body: bytes, headless: bool, tell: Callable[[], None] | None = None) -> None:
        self.head = head
        self.body = body
        self.headless = headless
        self.tell = tell
        """Called when there is something new: the head, some of the body, the end, a failure. None: it is awaited."""
        self.status = 0
        self.reason = b""
        self.headers: list[Header] = []
        self.trailers: list[Header] = []
        self.connection: Connection | None = None
        """Whose bytes these are, until the last of them."""
        self.opening: asyncio.Task[None] | None = None
        """What opens a connection for it."""
        self.waiter: asyncio.Future[None] | None = None
        self.pending: list[bytes] = []
        self.unread = 0
        self.headed = False
        self.done = False
        """Nothing more will come; what has come may still lie in `pending`."""
        self.error = ""
        """Why it is broken, or why nothing could be asked (`unreachable`)."""
        self.unreachable = False
        self.tried = False
        """Whether it was sent before, on a connection that turned out to be closed."""

    @property
    def ended(self) -> bool:
        """Nothing more will come: the last byte has been handed out. False also means "not known yet"."""
        return self.done and not self.pending and not self.error

    def news(self) -> None:
        """There is something new."""
        if self.tell is not None:
            self.tell()
        elif (waiter := self.waiter) is not None and not waiter.done():
            waiter.set_result(None)

    def failure(self) -> Exception:
        """What is raised for `error`."""
        return UpstreamUnreachable(self.error) if self.unreachable else UpstreamBroken(self.error)

    def take(self) -> bytes:
        """What has come since the last call, b"" where nothing has."""
        pending = self.pending
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        pending.clear()
        self.unread = 0
        return data

    async def begun(self) -> None:
        """Wait for status and headers. Raises UpstreamUnreachable and UpstreamBroken; cancelling it closes the connection."""
        try:
            while not (self.headed or self.error):
                await self._new()
        except BaseException:
            self.cancel()
            raise
        if not self.headed:
            raise self.failure()

    async def chunk(self) -> bytes:
        """What has come since the last call, at least one byte; b"" at the end. Raises UpstreamBroken after the last good byte."""
        while not self.pending:
            if self.error:
                raise UpstreamBroken(self.error)
            if self.done:
                return b""
            await self._new()
        data = self.take()
        self.go_on()
        return data

    async def _new(self) -> None:
        self.waiter = waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        finally:
            self.waiter = None

    def hold(self) -> None:
        """The reader's own reader is slow: the upstream is to wait."""
        if (connection := self.connection) is not None and not connection.paused:
            connection.paused = True
            connection.transport.pause_reading()

    def go_on(self) -> None:
        """The reader takes more."""
        if (connection := self.connection) is not None and connection.paused:
            connection.resume()

    def fail(self, reason: str, *, unreachable: bool = False) -> None:
        """It ends here, broken."""
        if not self.done:
            self.error, self.unreachable, self.done = reason, unreachable, True
            self.news()
            self.tell = None

    def cancel(self) -> None:
        """The reader has left: closes the upstream connection at once, unless the reply is whole and the connection no longer ours."""
        self.tell = None
        if (connection := self.connection) is not None:
            connection.fail("cancelled")
        elif not self.done:
            if self.opening is not None:
                self.opening.cancel()
            self.fail("cancelled")


class _Stop(Exception):
    """Raised inside a parser callback to end the connection; the argument is the reason."""


class Connection(asyncio.Protocol):
    """One connection: parser callbacks (`on_*`), transport callbacks, and one reply at a time."""

    __slots__ = (
        "cork",
        "finished",
        "heard",
        "informational",
        "keep",
        "parser",
        "paused",
        "pool",
        "quiet",
        "reply",
        "reused",
        "sent",
        "transport",
    )

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.parser = HttpResponseParser(self)
        self.transport: asyncio.Transport
        self.reply: Reply | None = None
        self.reused = False
        self.paused = False
        self.keep = False
        self.finished = False
        self.quiet = 0
        """Bytes read since the last piece of body or whole head: what an endless head, trailer or chunk extension runs up."""
        self.informational = 0
        self.sent = 0.0
        self.heard = 0.0

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.cork = Cork(self.pool.batch, self.transport)
        watch_peer(transport)

    def data_received(self, data: bytes) -> None:
        reply = self.reply
        if reply is None:
            self.transport.abort()
            return
        self.heard = self.pool.loop.time()
        self.quiet += len(data)
        try:
            self.parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.finished:
                self.fail(_why(error))
                return
            self.keep = False
        if self.finished:
            self.settle(reply)
        elif self.quiet > self.pool.limits.header_bytes:
            self.fail("headers")
        elif reply.headed:
            reply.news()

    def connection_lost(self, error: Exception | None) -> None:
        if (reply := self.reply) is not None:
            if error is None and reply.headed and not self.keep and not _has_end(reply.headers):
                self.finish(reply)
            elif (reason := self._lost(reply, error)) != "no_answer" or not self.pool.again(self, reply):
                self.fail(reason)
        self.pool.forget(self)
        self.parser = None  # type: ignore[assignment] # it holds our methods: without this only the collector frees us

    def _lost(self, reply: Reply, error: Exception | None) -> str:
        if isinstance(error, ssl.SSLError):
            return "tls"
        if not reply.headed and not self.quiet:
            return "no_answer"
        return "truncated" if error is None else "reset"

    # The parser's side.

    def on_message_begin(self) -> None:
        if self.finished:
            raise _Stop("framing")

    def on_status(self, reason: bytes) -> None:
        assert self.reply is not None
        self.reply.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        reply = self.reply
        assert reply is not None
        if reply.headed:
            reply.trailers.append((name, value))
        else:
            reply.headers.append((name, value))

    def on_headers_complete(self) -> None:
        reply, parser = self.reply, self.parser
        assert reply is not None
        status = parser.get_status_code()
        if self.quiet > (cap := self.pool.limits.header_bytes) and _size(reply.headers) > cap:
            raise _Stop("headers")
        if status < 200:
            self._inform(reply, status)
            return
        if status > 599:
            raise _Stop("status")
        for name, value in reply.headers:
            if len(name) == 17 and name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
                raise _Stop("framing")
        reply.status = status
        reply.headed = True
        self.quiet = 0
        self.keep = parser.should_keep_alive()
        if reply.headless:
            self.keep = False
            self.finished = True

    def _inform(self, reply: Reply, status: int) -> None:
        self.informational += 1
        if status < 100 or status == 101 or self.informational > INFORMATIONAL:
            raise _Stop("status")
        reply.headers.clear()
        reply.reason = b""

    def on_body(self, body: bytes) -> None:
        reply = self.reply
        assert reply is not None
        if self.finished:
            return
        self.quiet = 0
        reply.pending.append(body)
        reply.unread += len(body)
        if reply.unread > UNREAD and not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.reply is not None and self.reply.headed:
            self.finished = True

    # The pool's side.

    def begin(self, reply: Reply) -> None:
        """Send the request of a reply."""
        self.reply = reply
        reply.connection = self
        self.finished = False
        self.quiet = self.informational = 0
        self.sent = self.heard = self.pool.loop.time()
        if len(reply.body) <= JOINED:
            self.cork.write(reply.head + reply.body)
        else:
            self.cork.write(reply.head)
            self.cork.write(reply.body)

    def settle(self, reply: Reply) -> None:
        """The reply is whole: back to the pool, or closed."""
        transport = self.transport
        if self.paused:
            self.paused = False
            transport.resume_reading()
        self.reply = reply.connection = None
        if self.keep and not transport.is_closing() and not self.cork.waiting and not transport.get_write_buffer_size():
            self.pool.give_back(self)
        else:
            transport.abort()
        self.finish(reply)

    def finish(self, reply: Reply) -> None:
        """Nothing more will come."""
        self.reply = reply.connection = None
        reply.done = True
        reply.news()
        reply.tell = None

    def fail(self, reason: str) -> None:
        """The reply ends here, broken; so does the connection."""
        self.keep = False
        reply, self.reply = self.reply, None
        self.transport.abort()
        if reply is not None:
            reply.connection = None
            reply.fail(reason)

    def resume(self) -> None:
        self.paused = False
        self.heard = self.pool.loop.time()
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def overdue(self, now: float, limits: Limits) -> str:
        """Why this connection has taken too long, or ""."""
        reply = self.reply
        if reply is None:
            return "idle" if now - self.heard > limits.idle else ""
        if self.paused:
            return "stalled" if now - self.heard > limits.unread else ""
        if not reply.headed:
            return "timeout" if now - self.sent > limits.first_byte else ""
        return "timeout" if now - self.heard > limits.idle_read else ""


def _why(error: Exception) -> str:
    """The reason inside a parser error."""
    cause = error.__context__
    if isinstance(cause, _Stop):
        return str(cause)
    return "status" if isinstance(error, HttpParserUpgrade) else "framing"


def _size(headers: list[Header]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)


def _has_end(headers: list[Header]) -> bool:
    """The head says where the body ends."""
    return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in headers)


def watch_peer(transport: asyncio.BaseTransport) -> None:
    """Have the kernel probe a silent peer, so that one that is gone without a word is noticed within two minutes."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
    except (OSError, AttributeError):
        return  # a platform without these options: the time-outs above remain
