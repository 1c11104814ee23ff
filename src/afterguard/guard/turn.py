"""One request on a client's connection and the answer to it, as HTTP/1.1: whose turn it is, and how an answer is framed.

In: what the connection has read of a request, and from whoever answers a status, headers and pieces of a body. Out: bytes of one answer, no more and no less: what would be longer or shorter than it
said, or more than one answer, is refused with RuntimeError. `Cycle` is a turn that an ASGI application answers; client.py has one that needs no application.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, MutableMapping
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from afterguard.guard.gate import GatedConnection

TOKEN = bytes({*b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"})
"""Characters of a header's name (RFC 9110, section 5.6.2)."""
BODILESS = (204, 304)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED, UNTIL_CLOSED = -1, -2
"""How a body without a length ends; HTTP/1.0 knows no chunks."""
HIGH_WATER = 64 * 1024
"""Bytes of a body that may wait for an application."""
_LINES: dict[bytes, bytes] = {}
"""Names of headers seen to be good, with what their line starts with. Only so many, and only short ones, are remembered."""

log = logging.getLogger("afterguard.guard")


def _line(name: bytes) -> bytes:
    if not name or name.translate(None, TOKEN):
        raise RuntimeError("Invalid HTTP header name.")
    start = name.lower() + b": "
    if len(_LINES) < 1024 and len(name) < 64:
        _LINES[name] = start
    return start


class Turn:
    """A request and its answer. The connection calls what is under "told by the connection", whoever answers what is under "the answer"."""

    __slots__ = (
        "connection",
        "expects",
        "head",
        "is_begun",
        "is_gone",
        "is_over",
        "is_whole",
        "keep_alive",
        "left",
        "method",
        "version",
    )

    def __init__(self, connection: GatedConnection, method: bytes, version: str, keep_alive: bool) -> None:
        self.connection = connection
        self.method = method
        self.version = version
        self.keep_alive = keep_alive
        self.expects = connection.expects
        """Whether the client waits for leave to send its body."""
        self.is_whole = False
        """Whether the request has come whole."""
        self.is_gone = False
        """Whether the client has left."""
        self.is_begun = False
        self.is_over = False
        self.head = b""
        """Of the answer, where it still waits for the first piece of a body."""
        self.left = 0
        """Bytes of the body to come, CHUNKED or UNTIL_CLOSED."""

    # -- told by the connection

    def start(self) -> None:
        """The answers before are given."""

    def feed(self, body: bytes) -> None:
        """A piece of the request's body."""

    def whole(self) -> None:
        """The request is whole."""
        self.is_whole = True

    def gone(self) -> None:
        """The client has left."""
        self.is_gone = True

    def writable(self) -> None:
        """A client that was slow reads on."""

    # -- the answer

    def let_send(self) -> None:
        """Tell a client that waits for it to send its body."""
        if self.expects and not self.is_gone and not self.is_begun:
            self.connection.cork.write(CONTINUE)
        self.expects = False

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Status and headers. They leave with the first piece of the body, or with `flush`."""
        if self.is_begun:
            raise RuntimeError("The answer has begun already.")
        self.is_begun = True
        self.expects = False
        parts = [STATUS_LINE[status]]
        count = 2
        left: int | None = None
        is_closed = False
        for name, value in headers:
            start = _LINES.get(name) or _line(name)
            if start == b"content-length: " and left is None:
                left = int(value)
            elif start == b"transfer-encoding: " and value.lower() == b"chunked":
                left = CHUNKED
            elif start == b"connection: " and b"close" in [option.strip() for option in value.lower().split(b",")]:
                self.keep_alive = False
                is_closed = True
            parts += (start, value, b"\r\n")
            count += 1
        if left is None and self.method != b"HEAD" and status not in BODILESS:
            left = CHUNKED if self.version == "1.1" else UNTIL_CLOSED
            if left == CHUNKED:
                parts.append(b"transfer-encoding: chunked\r\n")
                count += 1
            else:
                self.keep_alive = False
        if not self.keep_alive and not is_closed:
            parts.append(b"connection: close\r\n")
            count += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        # Whatever a value holds, there are as many line ends as lines.
        if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * count:
            raise RuntimeError("Invalid HTTP header value.")
        self.head = head
        self.left = 0 if self.method == b"HEAD" or status in BODILESS or left is None else left

    def write(self, body: bytes, *, more: bool) -> None:
        """A piece of the body, and whether there is more."""
        if not self.is_begun or self.is_over:
            raise RuntimeError("The answer has not begun, or is over.")
        left = self.left
        if left == CHUNKED:
            data = b"%b%x\r\n%b\r\n" % (self.head, len(body), body) if body else self.head
            if not more:
                data += b"0\r\n\r\n"
        elif left == UNTIL_CLOSED:
            data = self.head + body
        elif self.method == b"HEAD":
            data = self.head
        else:
            if len(body) > left or (not more and len(body) < left):
                raise RuntimeError("The body is longer or shorter than its Content-Length.")
            self.left = left - len(body)
            data = self.head + body if self.head else body
        self.head = b""
        if data:
            self.connection.cork.write(data)
        if not more:
            self._end()

    def flush(self) -> None:
        """What waits leaves now."""
        if self.head:
            self.connection.cork.write(self.head)
        self.head = b""

    def cut(self) -> None:
        """The answer cannot be finished: what was sent of it leaves, and the connection ends, so that nobody takes it for whole."""
        self.flush()
        self.keep_alive = False
        self._end()

    def fail(self) -> None:
        """Whoever should have answered has failed."""
        if self.is_begun:
            self.cut()
            return
        self.keep_alive = False
        said = b"Internal Server Error"
        self.begin(500, [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(said))])
        self.write(said, more=False)

    def _end(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.connection.over(self)


class Cycle(Turn):
    """A turn that an ASGI application answers."""

    __slots__ = ("app", "body", "event", "scope")

    def __init__(
        self,
        connection: GatedConnection,
        method: bytes,
        version: str,
        keep_alive: bool,
        scope: MutableMapping[str, Any],
        app: Any,
    ) -> None:
        super().__init__(connection, method, version, keep_alive)
        self.scope = scope
        self.app = app
        self.body = bytearray()
        self.event = asyncio.Event()
        """Something of the request has come, or nothing will come any more."""

    def start(self) -> None:
        """The answers before are given."""
        self.connection.spawn(self._run())

    def feed(self, body: bytes) -> None:
        """A piece of the request's body."""
        self.body += body
        if len(self.body) > HIGH_WATER:
            self.connection.pause_reading()
        self.event.set()

    def whole(self) -> None:
        """The request is whole."""
        self.is_whole = True
        self.event.set()

    def gone(self) -> None:
        """The client has left."""
        self.is_gone = True
        self.event.set()

    def _end(self) -> None:
        super()._end()
        self.event.set()

    async def _run(self) -> None:
        try:
            await self.app(self.scope, self.receive, self.send)
        except ConnectionResetError:  # it says so itself: this answer cannot be finished
            if not self.is_over:
                self.fail()
        except Exception:
            log.exception("an answer failed")
            if not self.is_over:
                self.fail()
        else:
            if not self.is_over and not self.is_gone:
                log.error("an answer was not finished")
                self.fail()

    async def send(self, message: Any) -> None:
        """Take an ASGI message of the answer."""
        if self.connection.is_stuck and not self.is_gone:
            await self.connection.drained()
        if self.is_gone:
            return
        kind = message["type"]
        if not self.is_begun and kind == "http.response.start":
            self.begin(message["status"], message.get("headers", ()))
        elif self.is_begun and not self.is_over and kind == "http.response.body":
            self.write(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"Unexpected ASGI message '{kind}'.")

    async def receive(self) -> Any:
        """The next piece of the request."""
        self.let_send()
        if not self.is_gone and not self.is_over:
            if not self.is_whole or not self.event.is_set():
                self.connection.resume_reading()
                await self.event.wait()
            self.event.clear()
        if self.is_gone or self.is_over:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": not self.is_whole}
