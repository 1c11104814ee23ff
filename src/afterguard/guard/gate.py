"""The server side of one client connection: HTTP/1.1, strict and bounded, under uvicorn's server.

In: bytes from a client. Out: requests, as turns (turn.py): to the door where it has a place for the path, to the ASGI application otherwise; a refusal to whoever does not speak HTTP. It will not judge or log a request.

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
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import unquote

import msgspec
import uvicorn
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, parse_url
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState

from afterguard.guard.batch import Batch, Cork
from afterguard.guard.client import Client, Door
from afterguard.guard.connection import watch_peer
from afterguard.guard.turn import Cycle, Turn

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
        self.door: Door | None = None
        """Who takes requests without an application."""
        self.batch: Batch | None = None
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


WATCHED = frozenset((b"host", b"transfer-encoding", b"expect"))


class GatedConnection(asyncio.Protocol):
    """One client connection, as uvicorn's server makes them: parser callbacks (`on_*`), transport callbacks, and one turn at a time."""

    parser: HttpRequestParser
    transport: asyncio.Transport

    def __init__(
        self,
        config: GatedConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.gate = config.gate
        self.app = config.loaded_app
        self.state = app_state
        self.loop = _loop or asyncio.get_running_loop()
        self.connections = server_state.connections
        self.tasks = server_state.tasks
        self.parser = HttpRequestParser(self)
        # What follows a request that asks for the end of the connection is not read (`deaf`), and is no reason to leave that request without an answer.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.header_bytes = self.gate.bounds.header_bytes
        self.turn: Turn | None = None
        """The newest request."""
        self.answering: Turn | None = None
        """The one whose answer is due: the newest, or one before it."""
        self.pipeline: deque[Turn] = deque()
        """Requests that wait for the answers before them, the oldest at the right."""
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.expects = False
        self.quiet = 0
        """Bytes since the last whole head or piece of body."""
        self.heading = True
        self.hosts = 0
        self.deaf = False
        """What comes now is no request of ours."""
        self.again = False
        """This head is to be read once more, without the upgrade it offers."""
        self.rereading = False
        self.begun = self.heard = time.monotonic()
        self.stuck = 0.0
        self.is_stuck = False
        """Whether the client reads too slowly for more."""
        self.is_paused = False
        self._drained: asyncio.Event | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        if self.gate.batch is None or self.gate.batch.loop is not self.loop:
            self.gate.batch = Batch(self.loop)
        self.cork = Cork(self.gate.batch, self.transport)
        self.connections.add(self)  # type: ignore[arg-type]
        self.server, self.client = get_local_addr(self.transport), get_remote_addr(self.transport)
        self.peer = self.client[0] if self.client else ""
        self.scheme = "https" if is_ssl(self.transport) else "http"
        watch_peer(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.connections.discard(self)
        self.deaf = True
        turns = [*self.pipeline] if self.answering is None else [*self.pipeline, self.answering]
        self.pipeline.clear()
        for turn in reversed(turns):
            if not turn.is_over:
                turn.gone()
        self.turn = self.answering = None
        self._flows()
        self.parser = None  # type: ignore[assignment] # it holds our methods: without this only the collector frees us

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

    # Flow.

    def pause_reading(self) -> None:
        """The client is to wait."""
        if not self.is_paused:
            self.is_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The client may go on."""
        if self.is_paused:
            self.is_paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.stuck = time.monotonic()
        self.is_stuck = True

    def resume_writing(self) -> None:
        self._flows()
        if self.answering is not None:
            self.answering.writable()

    def _flows(self) -> None:
        self.stuck, self.is_stuck = 0.0, False
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    async def drained(self) -> None:
        """Wait until the client has read, or has left."""
        if self.is_stuck:
            if self._drained is None:
                self._drained = asyncio.Event()
            await self._drained.wait()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run an answer; the process does not leave before it is over."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # The parser's side.

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expects = False
        self.heading = True
        self.hosts = 0
        self.begun = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self.url += url

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
            self.expects = value.lower() == b"100-continue"
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
            keeps = version == "1.1" and not upgrade and not self.gate.draining and self.parser.should_keep_alive()
            self._begin(version, keeps)

    def _odd_version(self, version: str) -> None:
        if version not in ("1.1", "1.0"):
            raise _Refused(505, "http_version")
        if self.hosts > 1 or (version == "1.1" and not self.hosts):
            raise _Refused(400, "host_missing_or_repeated")
        if any(name == b"transfer-encoding" for name, _ in self.headers):
            raise _Refused(400, "transfer_encoding")

    def _begin(self, version: str, keep_alive: bool) -> None:
        """Hand the request on, now or behind the one before."""
        url = self.url
        if b"#" in url:
            raise _Refused(400, "fragment_in_target")
        if url[:1] == b"/":
            path, _, query = url.partition(b"?")
        else:
            parts = parse_url(url)
            path, query = parts.path or b"/", parts.query or b""
        method, door = self.parser.get_method(), self.gate.door
        place = None if door is None else door.place(path)
        turn: Turn
        if door is not None and place is not None:
            turn = Client(self, method, version, keep_alive, door, place, path, query)
        else:
            turn = Cycle(self, method, version, keep_alive, self._scope(method, version, path, query), self.app)
        before, self.turn = self.turn, turn
        if before is None or before.is_over:
            self.answering = turn
            turn.start()
        else:
            self.pause_reading()
            self.pipeline.appendleft(turn)

    def _scope(self, method: bytes, version: str, path: bytes, query: bytes) -> dict[str, Any]:
        """The request as ASGI has it."""
        text = path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "headers": self.headers,
            "state": self.state.copy(),
            "method": method.decode("ascii"),
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
        }

    def on_body(self, body: bytes) -> None:
        self.quiet = 0
        if self.turn is not None and not self.turn.is_over:
            self.turn.feed(body)

    def on_message_complete(self) -> None:
        if not self.again:
            self.quiet = 0
            if self.turn is not None and not self.turn.is_over:
                self.turn.whole()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _offers_only(self) -> bool:
        """The client offers another protocol and can do without; a WebSocket and a tunnel can not."""
        offered = [value.lower() for name, value in self.headers if name == b"upgrade"]
        return self.parser.get_method() != b"CONNECT" and offered[-1:] != [b"websocket"]

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
        turn = self.turn
        owed = turn is not None and not turn.is_over
        if turn is not None and owed and (self.pipeline or turn.is_whole):
            for waiting in self.pipeline:
                waiting.gone()
            self.pipeline.clear()
            return  # `over` closes
        if turn is not None and owed:
            turn.gone()
            if turn.is_begun:
                turn.flush()
                self.cork.close()
                return
        self._say(why)

    def _say(self, why: _Refused) -> None:
        kind, body = self.gate.refuse(self.url.partition(b"?")[0], why.status, why.reason)
        head = b"content-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (kind, len(body))
        self.cork.write(STATUS_LINE[why.status] + head + body)
        self.cork.close()

    def over(self, turn: Turn) -> None:
        """An answer is given, or broken off."""
        if self.transport.is_closing():
            return
        if self.deaf or not turn.keep_alive:
            self.deaf = True
            self.cork.close()
            return
        self.resume_reading()
        if self.pipeline:
            self.answering = self.pipeline.pop()
            self.loop.call_soon(
                self._go_on
            )  # not at once: thousands may be answered without waiting, one inside the other
            return
        self.begun = self.heard = time.monotonic()
        if self.gate.draining:
            self.loop.call_later(LAST, self._leave)

    def _go_on(self) -> None:
        """The next one's turn has come."""
        if self.answering is not None and not self.transport.is_closing():
            self.answering.start()

    def last_request(self) -> None:
        """The process is leaving: the answer under way, or the next, says so to the client. One whose head is already sent has promised that the connection stays."""
        if self.turn is not None and not self.turn.is_begun:
            self.turn.keep_alive = False

    @property
    def _is_idle(self) -> bool:
        return self.turn is None or self.turn.is_over

    def shutdown(self) -> None:
        """What is idle is closed; what is under way ends, and is closed after it."""
        if self._is_idle:
            self.cork.close()
        else:
            self.last_request()

    def _leave(self) -> None:
        if self._is_idle:
            self.cork.close()

    def sweep(self, now: float) -> None:
        """Close a connection that has waited too long for its client."""
        reason = self._overdue(now)
        if reason and not self.transport.is_closing():
            self.gate.refused[reason] += 1
            self.deaf = True
            self.transport.abort()

    def _overdue(self, now: float) -> str:
        bounds, turn = self.gate.bounds, self.turn
        if self.stuck:
            return "client_reads_nothing" if now - self.stuck > bounds.unread else ""
        if turn is None or turn.is_over:
            if self.quiet:
                return "head_incomplete" if now - self.begun > bounds.head else ""
            return "idle" if now - self.heard > bounds.keep_alive else ""
        late = now - self.heard > bounds.body or now - self.begun > bounds.request
        return "body_incomplete" if late and not turn.is_whole and not self.is_paused else ""
