"""One request on its way through the reverse proxy: from the first byte that came in to the last that went out.

In: an ASGI request and the door it came through. Out: ASGI messages, and what the session decided. It knows HTTP, waiting and failing; what is said and what becomes of it is the session's.

Theory of operation. Three ways through: observed (bytes pass, what they said is handed over to be judged later), whole (the reply is held until it is judged) and streamed (released piece by piece). Whoever
fails in between, the route says whether the rest passes or is refused; either way it is counted. Whether the client has left is watched only once an answer takes long.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from afterguard.guard import probe
from afterguard.guard.credentials import Source, region_of
from afterguard.guard.session import STREAMS, Answer, Session
from afterguard.guard.sigv4 import signed
from afterguard.guard.upstream import Reply, UpstreamBroken, UpstreamUnreachable, forwardable
from afterguard.guard.visit import Visit
from afterguard.wire.encoding import BadEncoding, decoder
from afterguard.wire.refusal import refused

if TYPE_CHECKING:
    from afterguard.guard.proxy import Proxy

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
REQUEST_CAP = 32 << 20
"""Bytes of a request body; more is refused with 413."""
REPLY_CAP = 32 << 20
"""Bytes of a whole reply that is held for judgement; what is longer passes unjudged or is refused, as the route says."""
PATIENCE = 0.05
"""Seconds after which the door begins to watch whether the client has left."""
TOKEN = b"x-afterguard-token"
DECISION = b"x-afterguard-decision"
SERVICES = {"bedrock": "bedrock", "sagemaker": "sagemaker"}
"""Kinds of mounts whose requests are signed anew, and the service the signature is for."""
DROPPED = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", TOKEN})
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

    def __init__(self, made: probe.Canned) -> None:
        self.status = 200
        self.headers = [(b"content-type", made.content_type.encode())]
        if made.encoding:
            self.headers.append((b"content-encoding", made.encoding.encode()))
        self.ended = False
        third = len(made.body) // 3 + 1
        self._chunks = [made.body[at : at + third] for at in range(0, len(made.body), third)]

    async def chunk(self) -> bytes:
        """The next piece, b"" at the end."""
        return self._chunks.pop(0) if self._chunks else b""

    def cancel(self) -> None:
        """Nobody needs the rest."""
        self._chunks.clear()


class Passage(Visit):
    """One request on its way."""

    __slots__ = (
        "client_gone",
        "door",
        "is_begun",
        "is_sent",
        "path",
        "receive",
        "reply",
        "scope",
        "send",
        "task",
        "watcher",
    )

    def __init__(
        self,
        door: Proxy,
        session: Session,
        scope: Scope,
        receive: Receive,
        send: Send,
        started: float,
        wall: float,
        path: str,
    ) -> None:
        super().__init__(door.desk, session, started, wall)
        self.door = door
        self.scope = scope
        self.receive = receive
        self.send = send
        self.path = path
        self.task: asyncio.Task[Any] | None = None
        self.is_begun = False
        """Whether the client has been given a status."""
        self.reply: Reply | Canned | None = None
        self.client_gone = False
        self.watcher: asyncio.Task[None] | None = None
        self.is_sent = False
        """Whether the request was read whole and sent on."""

    async def run(self) -> None:
        self.task = asyncio.current_task()
        try:
            body = await self._body()
            if body is None:
                return
            self.body = body
            if self.session.ruling.is_inline:
                await self._inline()
            else:
                await self._observed()
        except asyncio.CancelledError:
            if not self.client_gone:
                raise
        except UpstreamUnreachable as error:
            await self._upstream_failed(error.reason, 502)
        except UpstreamBroken as error:
            await self._upstream_failed(error.reason, 502)
        finally:
            self._unwatch()
            await self.leave()

    async def _body(self) -> bytes | None:
        message = await self.receive()
        if message["type"] == "http.disconnect":
            self._gone()
            return None
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body
        pieces = [body]
        size = len(body)
        while message.get("more_body"):
            message = await self.receive()
            if message["type"] == "http.disconnect":
                self._gone()
                return None
            piece = message.get("body", b"")
            size += len(piece)
            if size > REQUEST_CAP:
                self.session.fail("too_long")
                await self._say(
                    Answer(
                        *refused(
                            self.session.spot, "the request is too large for the guard", "afterguard_too_large", 413
                        )
                    )
                )
                return None
            pieces.append(piece)
        return b"".join(pieces)

    def _encoding(self) -> str:
        """Content-Encoding of the request."""
        for name, value in self.scope["headers"]:
            if name == b"content-encoding":
                return str(value.decode("latin-1"))
        return ""

    def _gone(self) -> None:
        self.client_gone = True
        self.desk.metrics.add("afterguard_client_gone_total", self.route.name)

    # -- observed: bytes pass, judgement comes later

    async def _observed(self) -> None:
        session = self.session
        kept: list[bytes] = []
        size = 0
        status, content_type, encoding = 0, "", ""
        try:
            reply = await self._sent(self.body)
            status = reply.status
            content_type, encoding = typed(reply.headers)
            await self._start(reply.status, reply.headers)
            is_ended = False
            while not is_ended:
                chunk = await reply.chunk()
                if not chunk or self.client_gone:
                    await self._finish()
                    break
                if size < REPLY_CAP:
                    kept.append(chunk)
                    size += len(chunk)
                is_ended = reply.ended
                await self.send({"type": "http.response.body", "body": chunk, "more_body": not is_ended})
        finally:
            session.status = status
            if size >= REPLY_CAP:
                session.parts.skip("too_long", "response", size)
            self.passed(self._encoding(), status, content_type, encoding, kept)

    # -- inline: nothing passes unjudged

    async def _inline(self) -> None:
        ready = await self.ask(self.body, self._encoding())
        if isinstance(ready, Answer):
            await self._say(ready)
            return
        reply = await self._sent(ready)
        content_type, encoding = typed(reply.headers)
        if (
            self.session.may_stream
            and content_type.startswith(STREAMS)
            and reply.status < 400
            and is_readable(encoding)
        ):
            await self._streamed(reply, content_type, encoding)
        else:
            await self._whole(reply, encoding)

    async def _whole(self, reply: Reply | Canned, encoding: str) -> None:
        pieces: list[bytes] = []
        size = 0
        async for chunk in self._chunks(reply):
            pieces.append(chunk)
            size += len(chunk)
            if size > REPLY_CAP:
                await self._too_long(reply, pieces)
                return
        body = b"".join(pieces)
        if self.client_gone:
            return
        ready = await self.answer(reply.status, body, encoding)
        if self.session.again is not None:
            following, self.session.again = self.session.again, None
            reply = await self._sent(following)
            await self._whole(reply, typed(reply.headers)[1])
            return
        if isinstance(ready, Answer):
            await self._say(ready)
            return
        headers = self.session.heads
        if ready is not body:
            headers = [
                (n, v) for n, v in headers if n.lower() not in (b"content-encoding", b"etag", b"digest", b"content-md5")
            ]
        await self._start(reply.status, headers, len(ready))
        await self.send({"type": "http.response.body", "body": ready})

    async def _too_long(self, reply: Reply | Canned, pieces: list[bytes]) -> None:
        refusal = self.failed("too_long")
        if refusal is not None:
            reply.cancel()
            await self._say(refusal)
            return
        await self._unseen(reply, pieces)

    async def _unseen(self, reply: Reply | Canned, pieces: list[bytes]) -> None:
        """Pass a reply as it comes."""
        await self._start(reply.status, reply.headers)
        for piece in pieces:
            await self._more(piece)
        async for chunk in self._chunks(reply):
            await self._more(chunk)
        await self._finish()

    async def _streamed(self, reply: Reply | Canned, content_type: str, encoding: str) -> None:
        headers = reply.headers
        if not self.begin(reply.status, content_type, encoding):
            await self._unseen(reply, [])
            return
        if encoding and encoding != "identity":
            headers = [(n, v) for n, v in headers if n.lower() != b"content-encoding"]
        await self._start(reply.status, headers)
        self.watch()
        async for chunk in self._chunks(reply):
            await self._more(self.feed(chunk))
            if self.is_stopped:
                reply.cancel()
                break
        if not self.client_gone:
            async for piece in self.last():
                await self._more(piece)
        await self._finish()

    # -- HTTP

    async def _sent(self, body: bytes) -> Reply | Canned:
        scope = self.scope
        upstream = self.door.upstreams[self.route.name]
        headers = forwardable(scope["headers"], DROPPED)
        if body is not self.body:
            headers = [(n, v) for n, v in headers if n not in (b"content-encoding", b"digest", b"content-md5")]
        if self.session.ruling.is_inline:
            headers = [(n, v) for n, v in headers if n != b"accept-encoding"]
            headers.append((b"accept-encoding", b"identity"))
        raw: bytes = scope.get("raw_path") or (f"/{self.route.name}" + self.path).encode("latin-1", "replace")
        target = self.session.target(raw[len(self.route.name) + 1 :])
        if not target and not upstream.origin.base:
            target = b"/"
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        if self.route.kind in SERVICES:
            headers = self._signed(target, headers, body)
        self.is_sent = True
        reply: Reply | Canned
        if self.cell is not None:
            reply = Canned(probe.reply(self.cell, self.desk.brain.key))
        else:
            reply = await upstream.send(scope["method"].encode(), target, headers, body)
        self.reply = reply
        self.session.status, self.session.heads = reply.status, reply.headers
        return reply

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
            self.scope["method"], upstream.path + path, query, [*kept, (b"host", host.encode())], body,
            access_key=held.access_key, secret_key=held.secret_key, session_token=held.session_token,
            region=self.route.region or region_of(host.partition(":")[0]), service=SERVICES[self.route.kind], time=moment,
        )  # fmt: skip
        return [(n, v) for n, v in signed_headers if n.lower() != b"host"]

    async def _chunks(self, reply: Reply | Canned) -> Any:
        while True:
            chunk = await reply.chunk()
            if not chunk or self.client_gone:
                return
            yield chunk

    async def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]], length: int = -1) -> None:
        kept = forwardable(
            headers, (b"content-length", b"transfer-encoding") if length >= 0 else (b"transfer-encoding",)
        )
        if length >= 0:
            kept.append((b"content-length", str(length).encode()))
        elif self.session.ruling.is_inline:
            kept = [(n, v) for n, v in kept if n.lower() != b"content-length"]
        kept.append((DECISION, self.session.id.encode()))
        self.is_begun = True
        await self.send({"type": "http.response.start", "status": status, "headers": kept})

    async def _more(self, chunk: bytes) -> None:
        if chunk:
            await self.send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _finish(self) -> None:
        await self.send({"type": "http.response.body", "body": b""})

    async def _say(self, answer: Answer) -> None:
        self.session.status = answer.status
        self.is_begun = True
        headers = [(n, v) for n, v in answer.headers if n != DECISION]
        headers.append((DECISION, self.session.id.encode()))
        await answered(self.send, answer._replace(headers=headers))

    async def _upstream_failed(self, reason: str, status: int) -> None:
        self.desk.metrics.add("afterguard_upstream_errors_total", self.route.name, reason)
        self.session.parts.skip("upstream_" + reason, "response")
        if self.client_gone:
            return
        if not self.is_begun:
            said = f"the upstream of /{self.route.name} did not answer ({reason})"
            await self._say(Answer(*refused(self.session.spot, said, "afterguard_upstream", status)))
            return
        # The status is already sent, so an honest end is a broken one: close without the last chunk.
        raise ConnectionResetError(reason)

    # -- has the client left?

    def watch(self) -> None:
        """The answer takes long: look out for the client's leaving."""
        if self.watcher is None and self.is_sent:
            self.watcher = asyncio.get_running_loop().create_task(self._until_gone())

    async def _until_gone(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while (await self.receive())["type"] != "http.disconnect":
                pass
            self._gone()
            if self.reply is not None:
                self.reply.cancel()
            elif self.task is not None:
                self.task.cancel()  # it waits for the upstream's first byte

    def _unwatch(self) -> None:
        if self.watcher is not None:
            self.watcher.cancel()
            self.watcher = None


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
