"""The HTTP/1.1 client of the data path: one origin and its pool of connections.

In: method, target, headers, whole body. Out: a `Reply` with status and headers, and its body chunk by chunk.
It will not follow redirects, decode contents, keep cookies, speak HTTP/2, upgrade to a WebSocket, or repeat a request that may have been read:
the one silent retry is for a connection out of the pool that the peer closes at once and without a byte, which is its idle time-out crossing our request.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from afterguard.errors import UsageError
from afterguard.guard.batch import Batch
from afterguard.guard.connection import (
    Connection,
    Header,
    Limits,
    Reply,
    Unsendable,
    UpstreamBroken,
    UpstreamUnreachable,
)

__all__ = ["Limits", "Reply", "Unsendable", "Upstream", "UpstreamBroken", "UpstreamUnreachable", "forwardable"]

RACE_S = 1.0
"""How soon after a request a reused connection must close for it to be the old race with the peer's idle time-out."""
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade "
    b"http2-settings expect".split()
)
"""Fields of one hop (RFC 9110, 7.6.1), and `expect`, which is answered at the door."""
USUAL = (b"keep-alive", b"close")
"""What `Connection` nearly always says: nothing of other fields."""
END_TO_END = frozenset((b"content-length", b"content-type", b"content-encoding"))
"""What `Connection` may not name: taking these away would change how the rest is read."""
OURS = HOP_BY_HOP | {b"host", b"content-length"}
"""Fields of a request that only this client writes."""
BODILESS = frozenset((b"GET", b"HEAD", b"DELETE", b"OPTIONS"))
"""Methods that say nothing of a length when there is no body."""
TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Origin(NamedTuple):
    """Where requests go."""

    secure: bool
    host: str
    port: int
    authority: bytes
    """What the Host field says."""
    base: bytes
    """Path put before every target, without a slash at the end."""


class Proxy(NamedTuple):
    """An HTTP proxy that opens tunnels."""

    host: str
    port: int
    authorization: bytes
    """Value of Proxy-Authorization, "" without credentials."""


def forwardable(headers: Iterable[Header], drop: Collection[bytes] = ()) -> list[Header]:
    """The headers that may pass to the next hop, in order and as spelled. `drop`: lower-case names to leave out as well."""
    kept = []
    named: set[bytes] | None = None
    for pair in headers:
        name = pair[0].lower()
        if name in HOP_BY_HOP:
            if name == b"connection" and pair[1] not in USUAL:
                options = {option.strip() for option in pair[1].lower().split(b",")}
                named = options if named is None else named | options
        elif name not in drop:
            kept.append(pair)
    if named is None or not (named := named - HOP_BY_HOP - END_TO_END - {b"close", b""}):
        return kept
    return [pair for pair in kept if pair[0].lower() not in named]


def origin(url: str) -> Origin:
    """`https://host[:port][/base]` taken apart. Raises UsageError."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _not_an_origin(url) from error
    odd = parts.query or parts.fragment or parts.username is not None or not url.isascii() or not url.isprintable()
    if parts.scheme not in ("http", "https") or not host or port == 0 or odd or " " in url:
        raise _not_an_origin(url)
    secure = parts.scheme == "https"
    authority = parts.netloc.lower().removesuffix(":443" if secure else ":80").removesuffix(":")
    return Origin(secure, host, port or (443 if secure else 80), authority.encode(), parts.path.rstrip("/").encode())


def _not_an_origin(url: str) -> UsageError:
    hint = "Write http:// or https://, the host, and where needed a port and a path; credentials belong in headers."
    return UsageError(
        f"{url.rpartition('@')[2]} is not an origin to send requests to", hint=hint, slug="guard-upstream"
    )


def tunnel(url: str) -> Proxy | None:
    """`http://[user:password@]host[:port]` taken apart; None for "". Raises UsageError."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme != "http" or not url.isascii() or not url.isprintable() or parts.path.strip("/"):
        hint = (
            "Write http://host:port or http://user:password@host:port; only plain HTTP proxies with CONNECT are known."
        )
        raise UsageError(f"{url.rpartition('@')[2]} is not a proxy", hint=hint, slug="guard-proxy")
    authorization = b""
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(credentials.encode())
    return Proxy(host, port or 80, authorization)


class _Tunnel(asyncio.Protocol):
    """Reads a proxy's answer to CONNECT: its first line, and nothing behind its head."""

    def __init__(self, answered: asyncio.Future[bool]) -> None:
        self.answered = answered
        self.got = b""

    def data_received(self, data: bytes) -> None:
        self.got += data
        end = self.got.find(b"\r\n\r\n")
        if end < 0 and len(self.got) < 16384:
            return
        first = self.got.split(b"\r\n", 1)[0].split(b" ", 2)
        good = end + 4 == len(self.got) and len(first) > 1 and first[0].startswith(b"HTTP/1.") and first[1] == b"200"
        self._answer(good)

    def connection_lost(self, error: Exception | None) -> None:
        self._answer(False)

    def _answer(self, good: bool) -> None:
        if not self.answered.done():
            self.answered.set_result(good)


class Upstream:
    """A pool of connections to one origin. Belongs to the event loop in which it is first used."""

    loop: asyncio.AbstractEventLoop
    batch: Batch

    def __init__(
        self, url: str, *, tls: ssl.SSLContext | None = None, proxy: str = "", limits: Limits | None = None
    ) -> None:
        self.origin = origin(url)
        if self.origin.secure and tls is None:
            hint = "Give the context of guard.tls.client_context()."
            raise UsageError(f"{url} needs TLS, and there is no TLS context", hint=hint, slug="guard-upstream")
        self.limits = limits or Limits()
        self._tls = tls if self.origin.secure else None
        self._proxy = tunnel(proxy)
        self._base = self.origin.base
        self._after_target = b" HTTP/1.1\r\nhost: " + self.origin.authority + b"\r\n"
        self._idle: dict[Connection, None] = {}
        self._open: set[Connection] = set()
        self._slots = 0
        self._queue: deque[asyncio.Future[Connection | None]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed = False
        times = self.limits.idle, self.limits.first_byte, self.limits.idle_read, self.limits.unread
        self._interval = min(1.0, *(time / 4 for time in times))

    def start(
        self,
        method: bytes,
        target: bytes,
        headers: Sequence[Header],
        body: bytes = b"",
        tell: Callable[[], None] | None = None,
    ) -> Reply:
        """Send a request; what will be the reply. `tell`: see Reply. Raises Unsendable."""
        reply = Reply(self._head(method, target, headers, body), body, method == b"HEAD", tell)
        connection = self._reusable()
        if connection is not None:
            connection.begin(reply)
        else:
            self._open_for(reply)
        return reply

    async def send(self, method: bytes, target: bytes, headers: Sequence[Header], body: bytes = b"") -> Reply:
        """The same, with the head of the answer. Raises Unsendable, UpstreamUnreachable, UpstreamBroken. Cancelling it closes the connection."""
        reply = self.start(method, target, headers, body)
        await reply.begun()
        return reply

    async def close(self) -> None:
        """Close every connection; what is under way breaks. The pool can not be used again."""
        self._closed = True
        for connection in list(self._open):
            connection.fail("cancelled")
        while self._queue:
            if not (turn := self._queue.popleft()).done():
                turn.set_exception(UpstreamUnreachable("busy"))
        for opening in self._opening:
            opening.cancel()
        for _ in range(10):  # turns of the loop in which the sockets close; under TLS it takes more than one
            if self._open:
                await asyncio.sleep(0)
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _open_for(self, reply: Reply) -> None:
        reply.opening = task = asyncio.get_running_loop().create_task(self._opened_for(reply))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _opened_for(self, reply: Reply) -> None:
        """Sends a request as soon as there is a connection."""
        try:
            connection = await self._acquire()
        except UpstreamUnreachable as error:
            reply.fail(error.reason, unreachable=True)
            return
        except BaseException:
            reply.fail("busy", unreachable=True)
            raise
        reply.opening = None
        connection.begin(reply)

    def again(self, connection: Connection, reply: Reply) -> bool:
        """The peer closed an idle connection just as we used it, with nothing of an answer, and at once: then the request goes out once more."""
        was_race = connection.reused and self.loop.time() - connection.sent < RACE_S
        if not was_race or reply.tried or self._closed:
            return False
        reply.tried = True
        reply.connection = connection.reply = None
        self._open_for(reply)
        return True

    def _head(self, method: bytes, target: bytes, headers: Sequence[Header], body: bytes) -> bytes:
        """Request line and fields; refuses whatever would make it more, or other, than one request."""
        parts = [method, b" ", self._base, target, self._after_target]
        count = 3
        for name, value in headers:
            if start := _STARTS.get(name) or _start(name):
                parts += (start, value, b"\r\n")
                count += 1
        if body or method not in BODILESS:
            parts.append(b"content-length: %d\r\n" % len(body))
            count += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * count:
            raise Unsendable("line break or NUL in a header or in the target")
        if not method or method.translate(None, TOKEN):
            raise Unsendable("the method is not a token")
        if (
            (target[:1] not in (b"/", b"?") and (target or not self._base))
            or b" " in target
            or (self._base and _leaves(target))
        ):
            raise Unsendable("the target is not a path, or leaves the origin's base path")
        return head

    # Connections. A slot is counted for each one open or opening; whoever waits is handed a connection or a slot.

    def _reusable(self) -> Connection | None:
        """The connection that was given back last, so that the others grow old and go."""
        idle = self._idle
        while idle:
            connection = idle.popitem()[0]
            if not connection.transport.is_closing():
                connection.reused = True
                return connection
        return None

    async def _acquire(self) -> Connection:
        """A new connection, or one that comes free when there may be no more."""
        if self._slots >= self.limits.connections:
            while (ready := await self._turn()) is not None:
                if not ready.transport.is_closing():
                    ready.reused = True
                    return ready
        else:
            self._slots += 1
        try:
            return await self._connect()
        except BaseException:
            self._free_slot()
            raise

    async def _turn(self) -> Connection | None:
        """Waits for a free connection, or for a slot (None)."""
        if len(self._queue) >= self.limits.waiting:
            raise UpstreamUnreachable("busy")
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(self.limits.connect):
                return await turn
        except BaseException as error:
            self._pass_on(turn)
            if isinstance(error, TimeoutError):
                raise UpstreamUnreachable("busy") from None
            raise

    def _pass_on(self, turn: asyncio.Future[Connection | None]) -> None:
        """Whoever was given something and can not use it any more hands it to the next."""
        if not turn.done():
            turn.cancel()
        elif not turn.cancelled() and turn.exception() is None:
            if (ready := turn.result()) is None:
                self._free_slot()
            elif not ready.transport.is_closing():
                self.give_back(ready)
        if turn in self._queue:
            self._queue.remove(turn)

    def give_back(self, connection: Connection) -> None:
        """A connection is free."""
        if self._closed:
            connection.transport.abort()
            return
        while self._queue:
            if not (turn := self._queue.popleft()).done():
                turn.set_result(connection)
                return
        self._idle[connection] = None

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""
        self._idle.pop(connection, None)
        if connection in self._open:
            self._open.discard(connection)
            self._free_slot()

    def _free_slot(self) -> None:
        while self._queue:
            if not (turn := self._queue.popleft()).done():
                turn.set_result(None)
                return
        self._slots -= 1

    async def _connect(self) -> Connection:
        """Opens one; the slot is counted already."""
        loop = asyncio.get_running_loop()
        if getattr(self, "loop", None) is not loop:
            self.loop, self.batch = loop, Batch(loop)
        connection = Connection(self)
        try:
            async with asyncio.timeout(self.limits.connect):
                await (self._through_proxy if self._proxy else self._directly)(connection)
            if self._closed or connection.parser is None:
                raise UpstreamUnreachable("refused")
        except BaseException as error:
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
            if isinstance(error, (OSError, UpstreamUnreachable)):
                raise UpstreamUnreachable(_unreachable(error, self._tls, self._proxy)) from error
            raise
        self._open.add(connection)
        if self._sweeping is None:
            self._sweeping = self.loop.call_later(self._interval, self._sweep)
        return connection

    async def _directly(self, connection: Connection) -> None:
        host, port = self.origin.host, self.origin.port
        name = host if self._tls else None
        await self.loop.create_connection(lambda: connection, host, port, ssl=self._tls, server_hostname=name)

    async def _through_proxy(self, connection: Connection) -> None:
        """Asks the proxy for a tunnel, then speaks TLS, or plain HTTP, inside it."""
        proxy = self._proxy
        assert proxy is not None
        answered: asyncio.Future[bool] = self.loop.create_future()
        transport, _ = await self.loop.create_connection(lambda: _Tunnel(answered), proxy.host, proxy.port)
        try:
            host = f"[{self.origin.host}]" if ":" in self.origin.host else self.origin.host
            place = f"{host}:{self.origin.port}".encode()
            ask = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n" % (place, place)
            if proxy.authorization:
                ask += b"proxy-authorization: %b\r\n" % proxy.authorization
            transport.write(ask + b"\r\n")
            if not await answered:
                raise UpstreamUnreachable("proxy")
            inner: asyncio.BaseTransport | None = transport
            if self._tls:
                inner = await self.loop.start_tls(transport, connection, self._tls, server_hostname=self.origin.host)
            else:
                transport.set_protocol(connection)
            if inner is None:
                raise UpstreamUnreachable("tls")
            connection.connection_made(inner)
        except BaseException:
            transport.abort()
            raise

    def _sweep(self) -> None:
        """Ends what has taken too long."""
        self._sweeping = None
        now = self.loop.time()
        for connection in list(self._open):
            if reason := connection.overdue(now, self.limits):
                connection.fail(reason)
        if self._open:
            self._sweeping = self.loop.call_later(self._interval, self._sweep)


_STARTS: dict[bytes, bytes] = {}
"""Names seen to be good, with what their line starts with. Only so many, and only short ones, are remembered."""


def _start(name: bytes) -> bytes:
    """What a field's line starts with; b"" for a field that only this client writes."""
    if name.lower() in OURS:
        return b""
    if not name or name.translate(None, TOKEN):
        raise Unsendable("a header name is not a token")
    start = name + b": "
    if len(_STARTS) < 1024 and len(name) < 64:
        _STARTS[name] = start
    return start


def _leaves(target: bytes) -> bool:
    """A path with `..` in it, however written, may end above the base path."""
    path = target.partition(b"?")[0]
    return (b".." in path or b"%" in path) and b".." in unquote_to_bytes(path).replace(b"\\", b"/").split(b"/")


def _unreachable(error: Exception, tls: ssl.SSLContext | None, proxy: Proxy | None) -> str:
    """The reason for a person, from what the system said."""
    if isinstance(error, UpstreamUnreachable):
        return error.reason
    if isinstance(error, ssl.SSLError):
        return "tls"
    if isinstance(error, TimeoutError):
        return "timeout"
    if proxy:
        return "proxy"
    if isinstance(error, socket.gaierror):
        return "dns"
    return (
        "tls"
        if tls and isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError)
        else "refused"
    )
