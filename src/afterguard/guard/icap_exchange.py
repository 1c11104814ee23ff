"""One exchange at the ICAP door: a REQMOD, and the RESPMOD that belongs to it, as steps of one Visit.

In: a connection with a request whose head has come, and the address it is about. Out: what the visit says, said in ICAP: 204, the message changed, or an HTTP reply of our own. It listens nowhere and
keeps nothing between the two: the door does (icap.py).

Theory of operation. Nothing of a body is read before it is known that somebody will look at it. A request is held until it is judged. A whole reply likewise; a streamed one is answered as soon as its
head is here, and released piece by piece while the rest still comes. In mode observe nothing waits: with 204 where the client keeps a copy of its own, else piece by piece as it comes. The route says
what becomes of what is too long or could not be judged.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from afterguard.guard.icap_line import Line
from afterguard.guard.passage import DECISION, REPLY_CAP, REQUEST_CAP, is_readable, typed
from afterguard.guard.session import SILENT, STREAMS, Answer
from afterguard.guard.visit import Visit
from afterguard.wire.icap import BadIcap, Http

LINK = b"X-Afterguard-Link"
"""ICAP header that REQMOD answers with and RESPMOD brings again: Squid's adaptation_masterx_shared_names."""
OF_A_BODY = (b"content-length", b"transfer-encoding", b"content-encoding", b"digest", b"content-md5", b"etag")
"""Headers that are not true any more of a body that was changed."""


class Asked(NamedTuple):
    """Where a request goes."""

    method: str
    scheme: str
    """"" where only the path was said."""
    host: str
    port: int
    """0 where nobody said it."""
    path: str
    query: str


def asked(head: Http) -> Asked:
    """The address of an encapsulated request. Raises BadIcap."""
    parts = head.line.split(b" ")
    if len(parts) != 3 or not parts[2].startswith(b"HTTP/") or not parts[0].isalpha():
        raise BadIcap("the encapsulated head is no HTTP request")
    method, target = parts[0].decode(), parts[1].decode("latin-1")
    if method == "CONNECT":
        return Asked(method, "", target, 0, "", "")
    if target.startswith("/") or target == "*":
        target = "//" + head.get(b"host").decode("latin-1") + (target if target != "*" else "")
    try:
        url = urlsplit(target)
        port = url.port or {"http": 80, "https": 443}.get(url.scheme, 0)
        return Asked(method, url.scheme, url.hostname or "", port, url.path, url.query)
    except ValueError:
        raise BadIcap("the encapsulated request names no address") from None


class Crossing(Visit):
    """An exchange at this door."""

    __slots__ = ("below", "encoding", "is_parked", "since")

    below: str
    """The path below the mount."""
    encoding: str
    """Of the request's body."""
    is_parked: bool
    """Whether the request has passed and the reply is still to come."""
    since: float
    """When the request passed, by the loop's clock."""

    async def request(self, line: Line, link: bytes) -> bool:
        """A REQMOD. Whether the request went on, so that a reply will come."""
        told = ((LINK, link),)
        session = self.session
        if self.is_killed():
            await line.passed(*told)
            return True
        if session.spot.operation in SILENT:
            return await self._silent(line, told)
        body = await line.whole(REQUEST_CAP)
        if body is None:
            refusal = self.failed(line.why)
            await (self._refused(line, refusal) if refusal else line.passed(*told))
            return refusal is None
        if not session.ruling.is_inline:
            self.body = body
            await line.passed(*told)
            return True
        ready = await self.ask(body, self.encoding)
        if isinstance(ready, Answer):
            await self._refused(line, ready)
            return False
        await self._forward(line, body, ready, told)
        return True

    async def _silent(self, line: Line, told: tuple[tuple[bytes, bytes], ...]) -> bool:
        """A request that carries no conversation: it counts, and its body is not read."""
        if line.head is not None and line.head.has_body:
            self.session.parts.skip("unsupported_operation", "request")
        ready = await self.ask(b"") if self.session.ruling.is_inline else b""
        if isinstance(ready, Answer):
            await self._refused(line, ready)
            return False
        await line.passed(*told)
        return True

    async def _forward(self, line: Line, body: bytes, ready: bytes, told: tuple[tuple[bytes, bytes], ...]) -> None:
        assert line.head is not None and line.head.request is not None
        head = self._readdressed(line.head.request)
        if ready is body and head is line.head.request:
            await line.passed(*told)
            return
        if ready is not body:
            length = (b"Content-Length", str(len(ready)).encode())
            head = head.without(*OF_A_BODY).plus(length)
        await line.say(200, *told, message=head, kind="req", body=ready)

    def _readdressed(self, head: Http) -> Http:
        """The head with another path, where the policy chose another model and the path names it."""
        before = self.below.encode("latin-1")
        after = self.session.target(before)
        if after == before:
            return head
        method, target, version = head.line.split(b" ")
        address, question, query = target.partition(b"?")
        return Http(b" ".join((method, address.removesuffix(before) + after + question + query, version)), head.headers)

    async def _refused(self, line: Line, answer: Answer) -> None:
        """An HTTP reply of our own."""
        self.session.status = answer.status
        kept = [(n, v) for n, v in answer.headers if n not in (DECISION, b"content-length")]
        kept += [(b"content-length", str(len(answer.body)).encode()), (DECISION, self.session.id.encode())]
        message = Http(f"HTTP/1.1 {answer.status} {STATUS.get(answer.status, 'Refused')}".encode(), kept)
        await line.say(200, message=message, kind="res", body=answer.body)

    # -- the reply

    async def reply(self, line: Line) -> None:
        """A RESPMOD."""
        assert line.head is not None
        head = line.head.response
        status = status_of(head)
        session = self.session
        session.status = status
        content_type, encoding = typed(head.headers) if head is not None else ("", "")
        is_inline = session.ruling.is_inline
        try:
            if not is_inline:
                await self._observed(line, status, content_type, encoding)
            elif (
                self.is_killed()
                or head is None
                or status >= 400
                or not line.head.has_body
                or session.spot.operation in SILENT
            ):
                await line.passed()
            elif content_type.startswith(STREAMS) and is_readable(encoding):
                await self._streamed(line, head, status, content_type, encoding)
            else:
                await self._whole(line, head, status, encoding)
        except (ConnectionError, TimeoutError):
            # The client has left or the upstream broke off: the proxy does not say which. Observed is what came.
            self.desk.metrics.add("afterguard_client_gone_total", self.route.name)
            if is_inline:
                session.parts.skip("reply_cut", "response")
            raise

    async def _observed(self, line: Line, status: int, content_type: str, encoding: str) -> None:
        assert line.head is not None
        kept: list[bytes] = []
        size = 0
        try:
            if line.head.allows(b"204") and not content_type.startswith(STREAMS):
                body = await line.whole(REPLY_CAP)
                kept = list(line.kept)
                size = len(body) if body is not None else REPLY_CAP
                await line.passed()
                return
            async for piece in line.echoed():
                if size < REPLY_CAP:
                    kept.append(piece)
                    size += len(piece)
                await line.more(piece)
            if line.head.has_body:
                await line.end()
        finally:
            if size >= REPLY_CAP:
                self.session.parts.skip("too_long", "response", size)
            self.passed(self.encoding, status, content_type, encoding, kept)

    async def _whole(self, line: Line, head: Http, status: int, encoding: str) -> None:
        body = await line.whole(REPLY_CAP)
        if body is None:
            refusal = self.failed(line.why)
            await (self._refused(line, refusal) if refusal else line.passed())
            return
        ready = await self.answer(status, body, encoding)
        if isinstance(ready, Answer):
            await self._refused(line, ready)
        elif ready is body:
            await line.passed()
        else:
            more = (b"Content-Length", str(len(ready)).encode()), (DECISION, self.session.id.encode())
            await line.say(200, message=head.without(*OF_A_BODY).plus(*more), kind="res", body=ready)

    async def _streamed(self, line: Line, head: Http, status: int, content_type: str, encoding: str) -> None:
        if not self.begin(status, content_type, encoding):
            await line.passed()
            return
        await line.go_on()
        message = head.without(*OF_A_BODY).plus((DECISION, self.session.id.encode()))
        await line.say(200, message=message, kind="res", has_body=True)
        for piece in line.kept:  # a preview
            await line.more(self.feed(piece))
        if not self.is_stopped:
            async for piece in line.rest():
                await line.more(self.feed(piece))
                if self.is_stopped:
                    break
        async for piece in self.last():
            await line.more(piece)
        await line.end()

    # -- without a reply

    def unanswered(self) -> None:
        """The reply never came here, or nobody sends replies here."""
        self.session.parts.skip("response_not_seen", "response")
        if not self.session.ruling.is_inline and not self.is_handed_over:
            self.passed(self.encoding, 0, "", "", [])


STATUS = {200: "OK", 400: "Bad Request", 413: "Content Too Large", 429: "Too Many Requests", 503: "Service Unavailable"}


def status_of(head: Http | None) -> int:
    """The status of an encapsulated reply, 0 where it says none."""
    parts = head.line.split(b" ", 2) if head is not None else []
    return (
        int(parts[1])
        if len(parts) > 1 and parts[0].startswith(b"HTTP/") and parts[1].isdigit() and len(parts[1]) == 3
        else 0
    )
