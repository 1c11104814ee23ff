"""The server side of one client connection: uvicorn's HTTP/1.1 protocol, made strict and bounded.

In: bytes from a client. Out: requests to the ASGI application; a refusal to whoever does not speak HTTP. It will not judge, route or log a request.

What llhttp refuses by itself (both framings, two lengths, lengths and chunk sizes that are not plain numbers, folded lines, bare LF or CR, control
characters) is answered 400 and the connection closed. Added here: a transfer coding other than `chunked`, or any in HTTP/1.0; more or fewer
than one Host; trailers are dropped instead of joining the headers; heads, trailers and chunk extensions are bounded; bytes behind an upgrade are never
read as a request, while an offer to speak HTTP/2 (Java's clients make it on every request) is passed over and the body read as usual; a head that does not come to an end, a body
that stops, a client that reads nothing and an idle connection are closed by one sweep. A refusal is never written into the middle of another answer.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import unquote

import msgspec
import uvicorn
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from afterguard.guard.connection import watch_peer
from afterguard.guard.cycle import Cycle

LAST = 1.0
"""Seconds that a connection stays open while the process is leaving, when the head of its answer had promised that it would: a client that uses it at once must not find it closed."""
Refusal = Callable[[bytes, int, str], tuple[bytes, bytes]]
"""(path, status, reason) -> (content type, body): how the provider behind this path says no."""


def refusal(path: bytes, status: int, reason: str) -> tuple[bytes, bytes]:
    """An error that the clients of OpenAI and of Anthropic both read as one of theirs."""
    said = f"The guard could not read this request: {reason.replace('_', ' ')}."
    error = {"type": "invalid_request_error", "code": reason, "message": said}
    return b"application/json", json.dumps({"type": "error", "error": error}).encode()


class Bounds(msgspec.Struct, frozen=True):
    """What one client connection may take. Seconds and bytes."""

    header_bytes: int = 64 * 1024
    head: float = 20.0
    """From the first byte of a head to its last."""
    body: float = 60.0
    """Between two reads of a request's body, while the application wants it."""
    request: float = 600.0
    """From the first byte of a request to the last of its body."""
    keep_alive: float = 75.0
    """A connection without a request. Longer than clients keep theirs, so that they close first."""
    unread: float = 600.0
    """A client that takes nothing of its answer for this long is gone."""


class Gate:
    """What the connections of one process share."""

    def __init__(self, bounds: Bounds | None = None, refuse: Refusal = refusal) -> None:
        self.bounds = bounds or Bounds()
        self.refuse = refuse
        self.draining = False
        self.refused: Counter[str] = Counter()
        """Requests that never reached the application, by reason; and connections the sweep closed."""


class GatedConfig(uvicorn.Config):
    """uvicorn's configuration with a Gate."""

    gate: Gate


class _Refused(Exception):
    """Raised inside a parser callback: this is not a request."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Corked:
    """A transport for one answer at a time: what is written in the turn of the loop in which an answer begins leaves in one piece, head and body together. Half
    of what a small request costs is the number of times that the kernel is asked. What comes later in the same answer is a stream, and leaves at once."""

    __slots__ = ("is_over", "is_streaming", "loop", "transport", "waiting")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self.transport = transport
        self.loop = loop
        self.waiting: list[bytes] = []
        self.is_over = self.is_streaming = False

    def write(self, data: bytes) -> None:
        """Write at the end of this turn, or now."""
        if self.is_streaming:
            if not self.transport.is_closing():
                self.transport.write(data)
            return
        if not self.waiting:
            self.loop.call_soon(self.flush)
        self.is_over = False
        self.waiting.append(data)

    def ended(self) -> None:
        """The answer is whole; the next one begins anew."""
        self.is_over, self.is_streaming = True, False

    def flush(self) -> None:
        """Write what waits."""
        if self.waiting:
            self.is_streaming = not self.is_over
            waiting, self.waiting = self.waiting, []
            if not self.transport.is_closing():
                self.transport.write(b"".join(waiting))

    def is_closing(self) -> bool:
        """Whether nothing can be written any more."""
        return self.transport.is_closing()

    def close(self) -> None:
        """Write what waits, then close."""
        self.flush()
        self.transport.close()


WATCHED = frozenset((b"host", b"transfer-encoding", b"expect"))


class GatedConnection(HttpToolsProtocol):
    """One client connection."""

    config: GatedConfig

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.gate = self.config.gate
        self.corked = Corked(transport, self.loop)
        self.header_bytes = self.gate.bounds.header_bytes
        self.quiet = 0  # bytes since the last whole head or piece of body
        self.heading = True
        self.hosts = 0
        self.deaf = False  # what comes now is no request of ours
        self.again = False  # this head is to be read once more, without the upgrade it offers
        self.rereading = False
        self.begun = self.heard = time.monotonic()
        self.stuck = 0.0
        watch_peer(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        self.heard = time.monotonic()
        self.quiet += len(data)
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as error:
            self._upgraded(data[error.args[0] :])
        except HttpParserError as error:
            why = error.__context__
            self._refuse(why if isinstance(why, _Refused) else _Refused(400, "malformed_http"))
        else:
            if self.quiet > self.header_bytes:
                self._refuse(_Refused(431, "headers_too_large"))

    def pause_writing(self) -> None:
        self.stuck = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.stuck = 0.0
        super().resume_writing()

    # The parser's side.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.heading = True
        self.hosts = 0
        self.begun = time.monotonic()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.heading:
            return
        name = name.lower()
        if name in WATCHED:
            self._watch(name, value)
        self.headers.append((name, value))

    def _watch(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self.hosts += 1
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif value.lower() != b"chunked":
            raise _Refused(400, "transfer_encoding")

    def on_headers_complete(self) -> None:
        if self.quiet > self.header_bytes and self._head_size() > self.header_bytes:
            raise _Refused(431, "headers_too_large")
        version = self.parser.get_http_version()
        if version != "1.1" or self.hosts != 1:
            self._odd_version(version)
        self.quiet = 0
        self.heading = False
        upgrade = self.parser.should_upgrade()
        self.again = upgrade and self._offers_only()
        if not self.again:
            self._begin(version == "1.1" and not upgrade and not self.gate.draining and self.parser.should_keep_alive())

    def _odd_version(self, version: str) -> None:
        if version not in ("1.1", "1.0"):
            raise _Refused(505, "http_version")
        if self.hosts > 1 or (version == "1.1" and not self.hosts):
            raise _Refused(400, "host_missing_or_repeated")
        if any(name == b"transfer-encoding" for name, _ in self.headers):
            raise _Refused(400, "transfer_encoding")
        self.scope["http_version"] = version

    def _begin(self, keep_alive: bool) -> None:
        """Hand the request to the application, now or behind the one before."""
        scope, url = self.scope, self.url
        if b"#" in url:
            raise _Refused(400, "fragment_in_target")
        if url[:1] == b"/":
            path, _, query = url.partition(b"?")
        else:
            parts = parse_url(url)
            path, query = parts.path or b"/", parts.query or b""
        text = path.decode("ascii")
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["path"] = unquote(text) if "%" in text else text
        scope["raw_path"] = path
        scope["query_string"] = query
        before = self.cycle
        self.cycle = Cycle(
            scope=scope,
            transport=self.corked,  # type: ignore[arg-type]
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self.quiet = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.again:
            self.quiet = 0
            super().on_message_complete()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _offers_only(self) -> bool:
        """The client offers another protocol and can do without; a WebSocket and a tunnel can not."""
        return self.parser.get_method() != b"CONNECT" and self._get_upgrade() != b"websocket"

    def _upgraded(self, rest: bytes) -> None:
        """The parser has stopped behind a head that speaks of another protocol."""
        if not self.again:
            self.deaf = True
        elif self.rereading:
            self._refuse(_Refused(400, "upgrade_behind_upgrade"))
        else:
            self._read_again(rest)

    def _read_again(self, rest: bytes) -> None:
        """The same head without its offer, then what followed it."""
        lines = [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (self.parser.get_method(), self.url, b"".join(lines))
        self.parser = HttpRequestParser(self)
        self.again, self.rereading, self.quiet = False, True, 0
        self.data_received(head + rest)
        self.rereading = False

    # Closing.

    def _refuse(self, why: _Refused) -> None:
        """Answer what can not be read, and close; but only where no other answer is due before."""
        self.deaf = True
        self.gate.refused[why.reason] += 1
        cycle = self.cycle
        owed = cycle is not None and not cycle.response_complete
        if owed and (self.pipeline or not cycle.more_body):
            self.pipeline.clear()
            return  # on_response_complete closes
        if owed:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.corked.close()
                return
        self._say(why)

    def _say(self, why: _Refused) -> None:
        kind, body = self.gate.refuse(getattr(self, "url", b"").partition(b"?")[0], why.status, why.reason)
        head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (kind, len(body))
        self.corked.write(STATUS_LINE[why.status] + head + body)
        self.corked.close()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self.corked.ended()
        if self.transport.is_closing():
            return
        if self.deaf:
            self.corked.close()
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self.begun = self.heard = time.monotonic()
            if self.gate.draining:
                self.loop.call_later(LAST, self._leave)

    def last_request(self) -> None:
        """The process is leaving: the answer under way, or the next, says so to the client. One whose head is already sent has promised that the connection stays."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """What is idle is closed; what is under way ends, and is closed after it."""
        if self.cycle is None or self.cycle.response_complete:
            self.corked.close()
        else:
            self.last_request()

    def _leave(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.corked.close()

    def sweep(self, now: float) -> None:
        """Close a connection that has waited too long for its client."""
        reason = self._overdue(now)
        if reason and not self.transport.is_closing():
            self.gate.refused[reason] += 1
            self.deaf = True
            self.transport.abort()

    def _overdue(self, now: float) -> str:
        bounds, cycle = self.gate.bounds, self.cycle
        if self.stuck:
            return "client_reads_nothing" if now - self.stuck > bounds.unread else ""
        if cycle is None or cycle.response_complete:
            if self.quiet:
                return "head_incomplete" if now - self.begun > bounds.head else ""
            return "idle" if now - self.heard > bounds.keep_alive else ""
        late = now - self.heard > bounds.body or now - self.begun > bounds.request
        return "body_incomplete" if late and cycle.more_body and not self.flow.read_paused else ""
