"""One request and its answer on a client's connection: uvicorn's cycle, with the two calls that every exchange makes written for few headers and no waiting.

In: ASGI messages of the application. Out: bytes of an HTTP/1.1 answer. It refuses, as uvicorn does, what would be more or other than one answer; what goes wrong in the
application, and how the connection goes on, is uvicorn's.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

TOKEN = bytes({*b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"})
"""Characters of a header's name (RFC 9110, section 5.6.2)."""
BODILESS = (204, 304)
_LINES: dict[bytes, bytes] = {}
"""Names of headers seen to be good, with what their line starts with. Only so many, and only short ones, are remembered."""


def _line(name: bytes) -> bytes:
    if not name or name.translate(None, TOKEN):
        raise RuntimeError("Invalid HTTP header name.")
    start = name.lower() + b": "
    if len(_LINES) < 1024 and len(name) < 64:
        _LINES[name] = start
    return start


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    async def send(self, message: Any) -> None:
        """Take an ASGI message of the answer."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected ASGI message 'http.response.start', but got '{kind}'.")
            self._begin(message["status"], message.get("headers", ()))
        elif self.response_complete or kind != "http.response.body":
            raise RuntimeError(f"Unexpected ASGI message '{kind}'.")
        else:
            self._go_on(message.get("body", b""), message.get("more_body", False))

    def _begin(self, status: int, headers: Any) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        parts = [STATUS_LINE[status]]
        count = 2
        is_closed = False
        for name, value in headers:
            start = _LINES.get(name) or _line(name)
            if start == b"content-length: " and self.chunked_encoding is None:
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif start == b"transfer-encoding: " and value.lower() == b"chunked":
                self.expected_content_length = 0
                self.chunked_encoding = True
            elif start == b"connection: " and b"close" in [option.strip() for option in value.lower().split(b",")]:
                self.keep_alive = False
                is_closed = True
            parts += (start, value, b"\r\n")
            count += 1
        if not self.keep_alive and not is_closed:
            parts.append(b"connection: close\r\n")
            count += 1
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in BODILESS:
            self.chunked_encoding = True
            parts.append(b"transfer-encoding: chunked\r\n")
            count += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        # Whatever a value holds, there are as many line ends as lines.
        if len(head) - len(head.translate(None, b"\r\n\0")) != 2 * count:
            raise RuntimeError("Invalid HTTP header value.")
        self.transport.write(head)

    def _go_on(self, body: bytes, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        elif self.chunked_encoding:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                data += b"0\r\n\r\n"
            if data:
                self.transport.write(data)
        else:
            if len(body) > self.expected_content_length:
                raise RuntimeError("Response content longer than Content-Length")
            self.expected_content_length -= len(body)
            if body:
                self.transport.write(body)
        if more:
            return
        if self.expected_content_length:
            raise RuntimeError("Response content shorter than Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    async def receive(self) -> Any:
        """The next piece of the request, without waiting where it is there whole."""
        if self.more_body or self.disconnected or self.response_complete or not self.message_event.is_set():
            return await super().receive()
        self.message_event.clear()
        message: MutableMapping[str, Any] = {"type": "http.request", "body": bytes(self.body), "more_body": False}
        self.body = bytearray()
        return message
