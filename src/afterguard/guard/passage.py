"""A request on its way through the reverse proxy, and what every way has in common.

In: a client's request and the door it came through. Out: requests to the upstream, and the head of the answer. observed.py lets everything pass and hands over what was said; inline.py lets nothing pass
unjudged. Whoever fails in between, the route says whether the rest passes or is refused; either way it is counted.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from afterguard.guard import probe, probe_reply
from afterguard.guard.client import REQUEST_CAP, Client
from afterguard.guard.credentials import Source, region_of
from afterguard.guard.session import Answer, Session
from afterguard.guard.turn import log
from afterguard.guard.upstream import Reply, Upstream, UpstreamBroken, UpstreamUnreachable, forwardable
from afterguard.guard.visit import Visit
from afterguard.sigv4 import signed
from afterguard.wire.encoding import BadEncoding, decoder
from afterguard.wire.refusal import refused

if TYPE_CHECKING:
    from afterguard.guard.proxy import Proxy

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
REPLY_CAP = 32 << 20
"""Bytes of a whole reply that is held for judgement; what is longer passes unjudged or is refused, as the route says."""
TOKEN = b"x-afterguard-token"
DECISION = b"x-afterguard-decision"
SERVICES = {"bedrock": "bedrock", "sagemaker": "sagemaker"}
"""Kinds of mounts whose requests are signed anew, and the service the signature is for."""
DROPPED = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", TOKEN})
OF_BYTES = frozenset((b"content-encoding", b"digest", b"content-md5"))
"""Fields of a request that speak of the bytes of its body."""
JSON = [(b"content-type", b"application/json")]
TEXT = [(b"content-type", b"text/plain; charset=utf-8")]
PROMETHEUS = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]


class Settings(NamedTuple):
    """How a proxy works."""

    token: bytes = b""
    """What clients must send as x-afterguard-token; empty: nothing."""
    credentials: Source | None = None
    """Of AWS, for Bedrock."""


class Canned:
    """The reply to a probe, as an upstream would give it."""

    def __init__(self, made: probe_reply.Canned) -> None:
        self.status = 200
        self.headers = [(b"content-type", made.content_type.encode())]
        if made.encoding:
            self.headers.append((b"content-encoding", made.encoding.encode()))
        self.ended = False
        third = len(made.body) // 3 + 1
        self.chunks = [made.body[at : at + third] for at in range(0, len(made.body), third)]

    async def chunk(self) -> bytes:
        """The next piece, b"" at the end."""
        return self.chunks.pop(0) if self.chunks else b""

    def cancel(self) -> None:
        """Nobody needs the rest."""
        self.chunks.clear()


class Passage(Visit):
    """One request on its way."""

    __slots__ = ("client", "door", "note", "reply")

    def __init__(self, door: Proxy, session: Session, client: Client, started: float, wall: float) -> None:
        super().__init__(door.desk, session, started, wall)
        self.door = door
        self.client = client
        self.body = client.body
        self.reply: Reply | Canned | None = None
        self.note = ""
        """Of a probe: what a call in its canned reply says."""

    def pose(self, pose: probe.Pose | None) -> None:
        """A probe stands for somebody."""
        if pose is not None:
            self.session.identity = pose.identity or self.session.identity
            self.session.conversation = pose.conversation or self.session.conversation
            self.session.posed = pose.prompt
            self.note = pose.note

    def run(self) -> None:
        """Begin."""
        if self.client.is_gone:
            Passage.gone(self)
        elif self.client.is_too_long:
            self.too_long()
        else:
            try:
                self.go()
            except Exception as error:
                self.broke(error)
            return
        self.desk.write(self.session, self.wall, time.perf_counter() - self.started, 0.0)
        self.door.left(self)

    def go(self) -> None:
        """Take the request over and the answer back."""
        raise NotImplementedError

    def hear(self) -> None:
        """There is more of the reply."""
        raise NotImplementedError

    def end(self) -> None:
        """The exchange is over."""
        raise NotImplementedError

    def news(self) -> None:
        """Called by the upstream's side when there is more of the reply."""
        try:
            self.hear()
        except Exception as error:
            self.broke(error)

    def broke(self, error: Exception) -> None:
        """It cannot go on."""
        if isinstance(error, (UpstreamUnreachable, UpstreamBroken)):
            self.upstream_failed(error.reason)
        elif isinstance(error, ConnectionResetError):  # a stream that was promised to be readable and is not
            self.client.cut()
        else:
            log.error("an exchange failed", exc_info=error)
            if not (self.client.is_gone or self.client.is_over):
                self.client.fail()
        self.end()

    def gone(self) -> None:
        """The client has left."""
        self.desk.metrics.add("afterguard_client_gone_total", self.route.name)

    def writable(self) -> None:
        """A client that was slow reads on."""

    def too_long(self) -> None:
        """Refuse a request above the cap."""
        self.session.fail("too_long")
        says = "the request is too large for the guard"
        self.say(Answer(*refused(self.session.spot, says, "afterguard_too_large", 413)))

    # -- to the upstream

    @property
    def upstream(self) -> Upstream:
        """Where the route leads."""
        return self.door.upstreams[self.route.name]

    def encoding(self) -> str:
        """Content-Encoding of the request."""
        for name, value in self.client.headers:
            if name == b"content-encoding":
                return value.decode("latin-1")
        return ""

    def target(self) -> bytes:
        """What to ask the upstream for."""
        client, upstream = self.client, self.upstream
        target = self.session.target(client.path[len(self.route.name) + 1 :])
        if not target and not upstream.origin.base:
            target = b"/"
        return target + b"?" + client.query if client.query else target

    def outgoing(self, target: bytes, body: bytes) -> list[tuple[bytes, bytes]]:
        """Headers of the request as it is sent on."""
        headers = forwardable(self.client.headers, DROPPED)
        if body is not self.body:
            headers = [pair for pair in headers if pair[0] not in OF_BYTES]
        if self.session.ruling.is_inline:
            headers = [pair for pair in headers if pair[0] != b"accept-encoding"]
            headers.append((b"accept-encoding", b"identity"))
        if self.route.kind in SERVICES:
            headers = self._signed(target, headers, body)
        return headers

    def _signed(self, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
        """The headers with the guard's own signature, where it has credentials."""
        held = self.door.settings.credentials.current() if self.door.settings.credentials else None
        if held is None:
            return headers
        upstream = urlsplit(self.route.upstream)
        host = upstream.netloc
        kept = [(n, v) for n, v in headers if n != b"authorization" and not n.startswith(b"x-amz-")]
        path, _, query = target.decode("latin-1").partition("?")
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.wall))
        signed_headers = signed(
            self.client.method.decode(), upstream.path + path, query, [*kept, (b"host", host.encode())], body,
            access_key=held.access_key, secret_key=held.secret_key, session_token=held.session_token,
            region=self.route.region or region_of(host.partition(":")[0]), service=SERVICES[self.route.kind], time=moment,
        )  # fmt: skip
        return [(n, v) for n, v in signed_headers if n.lower() != b"host"]

    def canned(self) -> Canned | None:
        """The reply to a probe, None for anything else."""
        return None if self.cell is None else Canned(probe_reply.reply(self.cell, self.desk.brain.key, self.note))

    # -- to the client

    def answers(self, status: int, headers: Iterable[tuple[bytes, bytes]], length: int = -1) -> None:
        """Begin the answer."""
        kept = forwardable(headers)
        if length >= 0 or self.session.ruling.is_inline:
            kept = [pair for pair in kept if pair[0].lower() != b"content-length"]
        if length >= 0:
            kept.append((b"content-length", b"%d" % length))
        kept.append((DECISION, self.session.id.encode()))
        self.client.begin(status, kept)

    def say(self, answer: Answer) -> None:
        """Give an answer of the guard's own."""
        self.session.status = answer.status
        headers = [pair for pair in answer.headers if pair[0] not in (DECISION, b"content-length")]
        headers += ((DECISION, self.session.id.encode()), (b"content-length", b"%d" % len(answer.body)))
        self.client.begin(answer.status, headers)
        self.client.write(answer.body, more=False)

    def upstream_failed(self, reason: str) -> None:
        """The upstream did not answer, or broke off."""
        self.session.parts.skip("upstream_" + reason, "response")
        if self.client.is_gone:
            return  # nothing is wrong with the upstream: nobody waits for it any more
        self.desk.metrics.add("afterguard_upstream_errors_total", self.route.name, reason)
        if self.client.is_begun:
            # The status is already sent, so an honest end is a broken one: close without the last chunk.
            self.client.cut()
            return
        said = f"the upstream of /{self.route.name} did not answer ({reason})"
        self.say(Answer(*refused(self.session.spot, said, "afterguard_upstream", 502)))


async def answered(send: Send, answer: Answer) -> None:
    headers = [(n, v) for n, v in answer.headers if n != b"content-length"]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def is_readable(encoding: str) -> bool:
    """Whether a stream in this encoding can be read as it comes; what cannot is held whole, and unjudged."""
    try:
        decoder(encoding, 1)
    except BadEncoding:
        return False
    return True


def typed(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str]:
    """(content type, content encoding) of a reply, lower case."""
    kind = encoding = ""
    for name, value in headers:
        lower = name.lower()
        if lower == b"content-type":
            kind = value.decode("latin-1").lower()
        elif lower == b"content-encoding":
            encoding = value.decode("latin-1").lower().strip()
    return kind, encoding


__all__ = ["DECISION", "JSON", "REPLY_CAP", "REQUEST_CAP", "TEXT", "TOKEN", "Passage", "Receive", "Scope", "Send", "answered", "is_readable", "typed"]  # fmt: skip
