"""The door for Envoy: a gRPC server for its external processing, and for the health checks it makes.

In: gRPC streams, one an HTTP exchange, from Envoys that are configured by hand or by `afterguard guard envoy-config`. Out: what envoy_exchange.py answers. It judges nothing.

Theory of operation. Which mount an exchange belongs to is told in the metadata of the gRPC stream (`x-afterguard-mount`, and in `x-afterguard-prefix` what of the path stands before the provider's own):
only Envoy writes there, a client cannot. Where nothing is told, the path says it as it does at the guard's own address, or else the host, where it is that of one upstream alone. What belongs to no mount, and
what is no external processing, ends with an error and is counted; Envoy's own fail setting then decides. Nothing waits for ever: the first message has seconds, every further one has minutes (grpc_call.IDLE): models think for long, and Envoy's own time-outs come first.

Every serving process listens on the same address (SO_REUSEPORT). While it leaves it says so to health checks, takes nothing new and lets what is under way end.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import socket
import ssl
import time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError

from afterguard.guard import grpc_call, http2_frames, tls
from afterguard.guard.brain import Ruling
from afterguard.guard.door import Given, Room
from afterguard.guard.envoy_exchange import Disorder, EnvoyExchange, Head, at_once, head
from afterguard.guard.envoy_messages import SERVICE, ProcessingRequest
from afterguard.guard.grpc_call import Call, Refused
from afterguard.guard.http2 import Connection, Held
from afterguard.guard.listening import BACKLOG, shared, stop
from afterguard.guard.route import Place
from afterguard.wire.endpoint import endpoint

MESSAGE_CAP = 33 << 20
"""Bytes of one message: a whole body and what is around it."""
FIRST = 10.0
"""Seconds until the first message of a stream."""
GRACE = 10.0
"""Seconds for what is under way when the door closes."""
STREAMS = 4_096
"""Exchanges of one process at once; one more is turned away."""
ROOM = 256 << 20
"""Bytes of exchanges that are only observed, until they are judged."""
UNREAD = 512 << 20
"""Bytes of messages that wait to be read, over all connections of a process."""
BROKEN = {
    http2_frames.REFUSED: "too_many_connections",
    http2_frames.CALM: "flood",
    http2_frames.FLOW_CONTROL: "flow_control",
    http2_frames.COMPRESSION: "bad_headers",
}
"""Why a connection was ended -> what is counted; else it is no HTTP/2."""
PROCESS, HEALTH = f"/{SERVICE}/Process", "/grpc.health.v1.Health/Check"
MOUNT, PREFIX, SECRET = "x-afterguard-mount", "x-afterguard-prefix", "x-afterguard-token"
SERVING, LEAVING = b"\x08\x01", b"\x08\x02"
"""grpc.health.v1.HealthCheckResponse, as bytes."""


class Asked(NamedTuple):
    """A request of which the headers are there."""

    head: Head
    place: Place
    ruling: Ruling
    """How strict the route is now: what was answered to the headers holds for the rest."""
    path: str
    query: str
    is_shown: bool
    """Whether Envoy only shows it."""
    is_last: bool
    """Whether it has no body."""
    started: float
    """By time.perf_counter."""
    wall: float


class ExtProc:
    """The listener. Made once a process."""

    def __init__(self, given: Given, address: str) -> None:
        self.given = given
        self.desk = given.desk
        self.address = address
        self.room = Room(ROOM)
        self.is_leaving = False
        self.by_host = _by_host(given)
        self.held = Held(UNREAD, self._broken)
        self.streams = 0
        self._server: asyncio.AbstractServer | None = None
        self._socket: socket.socket | None = None
        self._context: ssl.SSLContext | None = None

    async def start(self) -> int:
        """Listen; the port. Raises UsageError."""
        certificate, key, authority = self.given.tls
        context = tls.server_context(certificate, key, client_ca=authority) if certificate else None
        if context is not None:
            context.set_alpn_protocols(["h2"])
        self._context = context
        self._socket = shared(self.address)
        self._server = await asyncio.get_running_loop().create_server(
            self._connection, sock=self._socket, ssl=context, backlog=BACKLOG
        )
        return int(self._socket.getsockname()[1])

    def _connection(self) -> Connection:
        return Connection(self._call, MESSAGE_CAP, self.held)

    async def close(self) -> None:
        """Take nothing new, let what is under way end."""
        self.is_leaving = True
        if self._server is not None and self._socket is not None:
            await stop(self._server, self._socket, self._connection, self._context)
        for line in list(self.held.lines):
            line.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                for line in list(self.held.lines):
                    await line.gone.wait()
        for line in list(self.held.lines):
            line.transport.abort()

    def _broken(self, code: int) -> None:
        self.desk.metrics.add("afterguard_refused_total", "ext_proc_" + BROKEN.get(code, "bad_http2"))

    # -- one stream

    async def _call(self, call: Call) -> None:
        if call.path == HEALTH:
            await call.read()
            await call.write(LEAVING if self.is_leaving else SERVING)
        elif call.path != PROCESS:
            raise Refused(grpc_call.UNIMPLEMENTED, "no such service")
        elif self.streams >= STREAMS:
            self._refuse("overload", grpc_call.EXHAUSTED, "too many exchanges at once")
        else:
            self.streams += 1
            try:
                await self._process(call)
            finally:
                self.streams -= 1

    async def _process(self, call: Call) -> None:
        token = self.given.token
        if token and not hmac.compare_digest(call.metadata.get(SECRET, "").encode("latin-1"), token):
            self._refuse("no_token", grpc_call.UNAUTHENTICATED, f"send the metadata {SECRET}")
        exchange: EnvoyExchange | None = None
        try:
            asked = await self._first(call)
            if asked is None:
                return
            is_settled = asked.is_shown or asked.is_last
            ready = None if is_settled else at_once(asked.head, asked.ruling.is_inline)
            try:
                if ready is not None:
                    await self._say(call, ready)
            finally:  # and where the peer has left meanwhile it is written down
                exchange = self._opened(asked)
                self.desk.open[exchange] = None
            if ready is None:
                answer = await exchange.begin_request(asked.is_last)
                if answer is not None:
                    await call.write(answer.SerializeToString())
            await self._follow(exchange, call)
            call.end(grpc_call.OK)
            call.part()
            await asyncio.sleep(0)  # the answer leaves before the decision is written down
        except Disorder as error:
            if exchange is not None:
                exchange.session.fail("bad_peer")
            self._refuse("bad_peer", grpc_call.INVALID, str(error))
        except TimeoutError:
            self._refuse("slow_peer", grpc_call.DEADLINE, "no message for too long")
        finally:
            call.part()
            if exchange is not None:
                self.desk.open.pop(exchange, None)
                await exchange.end()

    async def _first(self, call: Call) -> Asked | None:
        """What the first message asks, None where there is none. Raises Disorder, TimeoutError, Refused."""
        kind, message, is_shown = _read(await call.read(FIRST))
        if kind == "":
            return None
        if kind != "request_headers":
            raise Disorder(f"{kind} as the first message")
        asked = self._asked(call.metadata, message, is_shown=is_shown)
        if asked is None:
            self._refuse("no_mount", grpc_call.NOT_FOUND, f"no mount: let Envoy send the metadata {MOUNT}")
            return None
        call.line.rests(is_awaited=not is_shown)
        return asked

    async def _follow(self, exchange: EnvoyExchange, call: Call) -> None:
        """Every message after the first."""
        while not exchange.is_over:
            kind, message, _ = _read(await call.read())
            if kind == "":
                return
            more = exchange.more_time(kind, message)
            if more is not None:
                await call.write(more.SerializeToString())
            answer = await exchange.receive(kind, message)
            if answer is None:
                continue
            if kind == "request_body":
                await self._say(call, answer.SerializeToString())
                exchange.settle()
            else:
                await call.write(answer.SerializeToString())

    async def _say(self, call: Call, answer: bytes) -> None:
        """Answer, and let that leave before anything else is done."""
        await call.write(answer)
        await asyncio.sleep(0)

    def _refuse(self, reason: str, code: int, says: str) -> None:
        self.desk.metrics.add("afterguard_failures_total", "all", reason, "no")
        raise Refused(code, f"afterguard: {says}")

    def _asked(self, told: dict[str, Any], message: Any, *, is_shown: bool) -> Asked | None:
        """What is asked where, None where it belongs to no mount. Raises Disorder."""
        request = head(message)
        whole = request.pseudo.get(b":path", b"/").decode("latin-1")
        path, _, query = whole.partition("?")
        place = self._place(told, path, request.pseudo.get(b":authority", b""))
        if place is None:
            return None
        ruling = self.desk.brain.ruling(place.route)
        return Asked(
            request, place, ruling, path, query, is_shown, message.end_of_stream, time.perf_counter(), time.time()
        )

    def _opened(self, asked: Asked) -> EnvoyExchange:
        """The exchange that begins."""
        request, place, path = asked.head, asked.place, asked.path
        method = request.pseudo.get(b":method", b"").decode("latin-1")
        spot = endpoint(place.route.kind, method, place.path, asked.query)
        session = self.desk.session(place.route, spot, request.rest)
        session.ruling = asked.ruling
        prefix = path[: len(path) - len(place.path)].encode("latin-1")
        return EnvoyExchange(
            self.desk, session, request, asked.started, asked.wall,
            is_shown=asked.is_shown, prefix=prefix, room=self.room,
        )  # fmt: skip

    def _place(self, told: dict[str, Any], path: str, authority: bytes) -> Place | None:
        mount = told.get(MOUNT, "")
        if mount:
            route = self.given.mounts.routes.get(mount)
            prefix = str(told.get(PREFIX, "")).rstrip("/")
            inside = not prefix or path == prefix or path.startswith(prefix + "/")
            return None if route is None else Place(route, path[len(prefix) :] if inside else path)
        found = self.given.mounts.find(path)
        if found is not None:
            return found
        route = self.by_host.get(authority.decode("latin-1").lower())
        return None if route is None else Place(route, path)


def _by_host(given: Given) -> dict[str, Any]:
    """Host -> the route that alone leads there."""
    found: dict[str, Any] = {}
    for route in given.mounts.routes.values():
        host = urlsplit(route.upstream).netloc.lower()
        found[host] = None if host in found else route
    return found


def _read(raw: bytes | None) -> tuple[str, Any, bool]:
    """(which message, the message, whether Envoy only shows it), "" at the end of the stream. Raises Disorder."""
    if raw is None:
        return "", None, False
    try:
        request = ProcessingRequest.FromString(raw)
    except DecodeError:
        raise Disorder("no message of external processing") from None
    kind = request.WhichOneof("one")
    if kind is None:
        raise Disorder("an empty message")
    return kind, getattr(request, kind), request.observability_mode
