"""The door for a proxy that inspects TLS and speaks ICAP (RFC 3507), proven with Squid: `guard.door: icap=HOST:PORT`.

In: connections of the proxy. Out: its requests and replies judged, changed or answered. What a request is about is said by its address: a mount by the host it leads to, other providers by the catalogue,
any other host passes at once and unread.

Theory of operation. A REQMOD makes an exchange. If the request goes on it waits here for its reply: the REQMOD's answer carries X-Afterguard-Link, which the proxy shows again in the RESPMOD of the same
transaction. A link that another process gave (another worker, or the guard that is just being replaced) leads over a local socket to that process. A RESPMOD without a link is judged alone, and counted as
`request_unseen`; an exchange whose reply does not come in time is written down as `response_not_seen`.

The services: /reqmod and /respmod belong together; /reqmod-alone is for a proxy that sends requests only.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import re
import socket
import time
from collections import OrderedDict
from hashlib import blake2b
from urllib.parse import urlsplit

from afterguard.guard import probe
from afterguard.guard.door import Given
from afterguard.guard.hosts import Hosts
from afterguard.guard.icap_exchange import LINK, Asked, Crossing, asked
from afterguard.guard.icap_line import WRITE_WAIT, Gone, Line
from afterguard.guard.listening import BACKLOG, shared, stop
from afterguard.wire import icap
from afterguard.wire.endpoint import endpoint
from afterguard.wire.icap import BadIcap, Head, Http

SERVICES = {"/reqmod": "REQMOD", "/reqmod-alone": "REQMOD", "/respmod": "RESPMOD"}
TOKEN = b"x-afterguard-token"
MOST = 2_000
"""Connections at once."""
PARKED = 4_000
"""Exchanges that wait for their reply; the oldest give way."""
LINGER = 600.0
"""Seconds until a reply that has not come will not come."""
LOOK = 5.0
DRAIN = 10.0
"""Seconds that exchanges under way get when the guard stops."""
PARTING = 1.0
"""Seconds that an idle connection gets for a last request: one may be on its way."""
OPTIONS_TTL = 3600
LINKED = re.compile(r"([0-9a-f]{16})\.([0-9A-Za-z-]{1,64})\Z")


class Icap:
    """The door."""

    def __init__(self, given: Given, address: str) -> None:
        self.desk = given.desk
        self.hosts = Hosts(given.mounts)
        self.token = given.token
        self.address = address
        self.name = os.urandom(8).hex()
        """Of this process, in the links it gives."""
        self.parked: OrderedDict[str, Crossing] = OrderedDict()
        self.held = 0
        self.lines: dict[Line, asyncio.Task[None]] = {}
        self.is_closing = False
        self._servers: list[asyncio.Server] = []
        self._socket: socket.socket | None = None
        self._looking: asyncio.Task[None] | None = None

    # -- listening

    async def start(self) -> int:
        """Listen; the port."""
        self._socket = shared(self.address)
        self._servers = [await asyncio.start_server(self._connected, sock=self._socket, backlog=BACKLOG)]
        with contextlib.suppress(OSError):  # where there are no such sockets, links to other processes lead nowhere
            self._servers.append(
                await asyncio.start_unix_server(self._connected, sock=local(self.name, is_server=True))
            )
        self._looking = asyncio.get_running_loop().create_task(self._look())
        return int(self._socket.getsockname()[1])

    async def close(self) -> None:
        """Take nothing new, let what is under way end."""
        self.is_closing = True
        if self._servers and self._socket is not None:
            await stop(self._servers[0], self._socket, self._stream)
        loop = asyncio.get_running_loop()
        now = loop.time()
        for line in self.lines:
            line.is_last = True
        while (self.lines and loop.time() < now + PARTING) or (self._is_busy() and loop.time() < now + DRAIN):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        for server in self._servers[1:]:
            server.close()
        tasks = list(self.lines.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._looking is not None:
            self._looking.cancel()
        for name in list(self.parked):
            await self._given_up(name)

    def _stream(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), self._connected)

    def _is_busy(self) -> bool:
        return bool(self.parked) or any(line.is_busy for line in self.lines)

    async def _look(self) -> None:
        """Give up on replies that do not come."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK)
            while self.parked and next(iter(self.parked.values())).since < loop.time() - LINGER:
                await self._given_up(next(iter(self.parked)))

    async def _given_up(self, name: str) -> None:
        crossing = self.parked.pop(name, None)
        if crossing is not None:
            crossing.unanswered()
            await crossing.leave()

    # -- one connection

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer, self, self.tag)
        line.is_last = self.is_closing
        task = asyncio.current_task()
        assert task is not None
        self.lines[line] = task
        try:
            if len(self.lines) > MOST:
                self._count("too_many_connections")
                await line.say(503)
            else:
                await self._serve(line)
        except asyncio.CancelledError:
            if not self.is_closing:
                raise
        finally:
            del self.lines[line]
            line.close()

    async def _serve(self, line: Line) -> None:
        try:
            while True:
                head = await line.next()
                if head is None:
                    return
                line.is_last = (
                    line.is_last or self.is_closing or b"close" in head.headers.get(b"connection", b"").lower()
                )
                await self._answer(line, head)
                await line.settle()
                if line.is_last:
                    return
        except BadIcap as error:
            self._count("bad_request")
            await self._complain(line, error.status, str(error))
        except TimeoutError:
            if line.is_busy:
                self._count("slow")
                await self._complain(line, 408, "too slow")
        except ConnectionError as error:
            if line.is_busy and isinstance(error, Gone):
                self._count("client_gone")

    async def _complain(self, line: Line, status: int, why: str) -> None:
        """The last that is said on a connection. Where a reply has begun it can only be broken off."""
        line.is_last = True
        if not line.is_answering:
            with contextlib.suppress(ConnectionError, TimeoutError):
                await line.say(status, (b"X-Afterguard-Why", why.encode()))

    def _count(self, why: str) -> None:
        self.desk.metrics.add("afterguard_refused_total", "icap_" + why)

    async def _answer(self, line: Line, head: Head) -> None:
        service = urlsplit(head.uri).path.rstrip("/")
        if head.method == "OPTIONS":
            await self._options(line, service)
        elif service not in SERVICES:
            self._count("no_service")
            await line.say(404)
        elif SERVICES[service] != head.method:
            await line.say(405)
        elif self.token and not hmac.compare_digest(head.headers.get(TOKEN, b""), self.token):
            self._count("no_token")
            await line.say(403)
        elif head.method == "REQMOD":
            await self._request(line, head, is_alone=service == "/reqmod-alone")
        else:
            await self._reply(line, head)

    def tag(self) -> bytes:
        """The ISTag: what was said under another one may be said differently now."""
        policy = self.desk.brain.policy
        known = f"{self.desk.version} {policy.revision if policy is not None else 'none'}"
        return b'"%s"' % blake2b(known.encode(), digest_size=12).hexdigest().encode()

    async def _options(self, line: Line, service: str) -> None:
        if service not in SERVICES:
            await line.say(404)
            return
        offered = [
            (b"Methods", SERVICES[service].encode()),
            (b"Service", b"Afterguard"),
            (b"Max-Connections", str(MOST).encode()),
            (b"Options-TTL", str(OPTIONS_TTL).encode()),
            (b"Allow", b"204"),
        ]
        if SERVICES[service] == "REQMOD":
            # Not for replies: while Squid 5.7 waits at a preview, a reply of more than 64 KiB gets stuck in it for good (its bug 5352).
            offered += [(b"Preview", b"0"), (b"Transfer-Preview", b"*")]
        await line.say(200, *offered)

    # -- exchanges

    def _crossing(self, head: Http, started: float) -> Crossing | None:
        """A new exchange; None where its host is no AI's."""
        where: Asked = asked(head)
        if where.method == "CONNECT":
            return None
        place = self.hosts.find(where.scheme, where.host, where.port, where.path)
        if place is None:
            return None
        headers = [(name.lower(), value) for name, value in head.headers]
        spot = endpoint(place.route.kind, where.method, place.path, where.query)
        session = self.desk.session(place.route, spot, headers)
        session.can_ask_again = False  # the model is asked by the proxy, once
        wall = time.time()
        made = Crossing(self.desk, session, started, wall)
        made.below, made.is_parked, made.since = place.path, False, 0.0
        made.encoding = head.get(b"content-encoding").decode("latin-1").lower()
        value = head.get(probe.HEADER)
        if value:
            made.cell = probe.verified(value, self.desk.brain.key, wall)
        return made

    async def _request(self, line: Line, head: Head, *, is_alone: bool) -> None:
        assert head.request is not None
        crossing = self._crossing(head.request, time.perf_counter())
        if crossing is None:
            await line.passed()
            return
        link = f"{self.name}.{crossing.session.id}".encode()
        self.desk.open[crossing] = None
        try:
            is_sent = await crossing.request(line, link)
            crossing.is_parked = is_sent and not is_alone
            if crossing.is_parked:
                await self._park(crossing)
            elif is_sent:
                crossing.unanswered()
        except ConnectionError:
            self.desk.metrics.add("afterguard_client_gone_total", crossing.route.name)
            raise
        finally:
            del self.desk.open[crossing]
            if not crossing.is_parked:
                await crossing.leave()

    async def _park(self, crossing: Crossing) -> None:
        crossing.since = asyncio.get_running_loop().time()
        self.parked[crossing.session.id] = crossing
        while len(self.parked) > PARKED:
            await self._given_up(next(iter(self.parked)))

    async def _reply(self, line: Line, head: Head) -> None:
        link = LINKED.match(head.headers.get(LINK.lower(), b"").decode("latin-1"))
        if link is not None and link[1] != self.name:
            if await self._led_on(line, head, link[1]):
                return
            link = None
        crossing = self.parked.pop(link[2], None) if link is not None else None
        if crossing is None:
            crossing = self._crossing(head.request, time.perf_counter()) if head.request is not None else None
            if crossing is None:
                await line.passed()
                return
            crossing.session.parts.skip("request_unseen", "request")
        self.desk.open[crossing] = None
        try:
            await crossing.reply(line)
        finally:
            del self.desk.open[crossing]
            await crossing.leave()

    async def _led_on(self, line: Line, head: Head, name: str) -> bool:
        """Have the process that saw the request answer; False where it is not there any more."""
        try:
            reader, writer = await asyncio.open_unix_connection(sock=local(name))
        except OSError:
            return False
        back = asyncio.create_task(self._back(line, reader))
        try:
            line.is_last = True
            await self._lead(line, head, writer)
            await back
        finally:
            back.cancel()
            writer.close()
        return True

    async def _lead(self, line: Line, head: Head, writer: asyncio.StreamWriter) -> None:
        """A request for another process. Where the client breaks off, so does this."""
        await line.go_on()
        writer.write(led(head))
        for piece in line.kept:
            writer.write(icap.chunk(piece))
        async for piece in line.rest():
            try:
                writer.write(icap.chunk(piece))
                async with asyncio.timeout(WRITE_WAIT):
                    await writer.drain()
            except (ConnectionError, TimeoutError):
                return  # it has said what it had to say
        if head.has_body:
            writer.write(icap.LAST)

    async def _back(self, line: Line, reader: asyncio.StreamReader) -> None:
        line.is_answering = True
        while data := await reader.read(1 << 16):
            await line.write(data)


def led(head: Head) -> bytes:
    """The heads of a request for another process: without a preview, and the last on its connection."""
    first, *rows = head.raw[0].split(b"\r\n")
    kept = [row for row in rows if row.partition(b":")[0].lower() not in (b"preview", b"connection")]
    return b"\r\n".join((first, *kept, b"Connection: close", b"", b"")) + head.raw[1]


def local(name: str, *, is_server: bool = False) -> socket.socket:
    """A socket of, or to, a process on this machine: in Linux's abstract namespace, so that nothing is left behind. Raises OSError."""
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("no local sockets here")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        address = f"\0afterguard-icap-{name}"
        if is_server:
            made.bind(address)
        else:
            made.connect(address)
    except OSError:
        made.close()
        raise
    return made
