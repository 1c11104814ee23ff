"""The door around an ASGI application's own chats.

In: an application, the guard inside this process, its endpoints. Out: an application that judges what comes to those endpoints and what they answer, streams included. All other paths are not
touched, and bodies that nothing was edited in are the application's own bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from afterguard.guard.inside import REPLY_CAP, REQUEST_CAP, Call, Inside
from afterguard.guard.passage import DECISION, answered, is_readable, typed
from afterguard.guard.route import Route
from afterguard.guard.session import STREAMS, Answer
from afterguard.wire.endpoint import endpoint

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
BEYOND = ("http.response.pathsend", "http.response.zerocopysend", "http.response.trailers")
"""Ways to answer that go around whoever stands between: not offered to a guarded endpoint."""


def place(rows: Sequence[tuple[str, Route]], path: str) -> Route | None:
    """The route of a path: the row that names it, or the longest one that ends in /* and holds it."""
    found, length = None, -1
    for told, route in rows:
        if told == path:
            return route
        if told.endswith("/*") and path.startswith(told[:-1]) and len(told) > length:
            found, length = route, len(told)
    return found


class Guarded:
    """The application, guarded."""

    def __init__(self, app: App, inside: Inside, endpoints: Sequence[tuple[str, Route]]) -> None:
        self.app = app
        self.inside = inside
        self.endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = place(self.endpoints, scope.get("path", "")) if scope["type"] in ("http", "websocket") else None
        if route is None:
            await self.app(scope, receive, send)
            return
        spot = endpoint(route.kind, scope.get("method", "GET"), scope["path"], scope["query_string"].decode("latin-1"))
        call = Call(self.inside, route, spot, scope["headers"])
        call.asks_once = True
        try:
            if scope["type"] == "websocket":
                await self._socket(call, scope, receive, send)
            elif call.ruling.is_inline:
                await self._inline(call, scope, receive, send)
            else:
                await self._observed(call, scope, receive, send)
        finally:
            call.leave()

    async def _socket(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        """Nobody here reads sockets: counted, and closed where the route fails closed."""
        if call.refusal("websocket") is None or not call.ruling.is_inline:
            await self.app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": "the guard cannot judge sockets"})

    async def _observed(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        asked, said = Kept(REQUEST_CAP), Kept(REPLY_CAP)
        status, content_type, encoding = 0, "", ""

        async def hears() -> Message:
            message = await receive()
            asked.add(message.get("body", b""))
            return message

        async def says(message: Message) -> None:
            nonlocal status, content_type, encoding
            if message["type"] == "http.response.start":
                status = message["status"]
                content_type, encoding = typed(message["headers"])
            elif message["type"] == "http.response.body":
                said.add(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, hears, says)
        finally:
            for where, kept in (("request", asked), ("response", said)):
                if kept.is_cut:
                    call.skip("too_long", where, kept.size)
            body = b"".join(asked.pieces)
            call.passed(body, header(scope, b"content-encoding"), status, content_type, encoding, said.pieces)

    async def _inline(self, call: Call, scope: Scope, receive: Receive, send: Send) -> None:
        body, has_more = await self._body(receive)
        if body is None:
            return
        if len(body) <= REQUEST_CAP:
            ready = await call.ask(body, header(scope, b"content-encoding")).awaited()
        else:
            ready = call.refusal("too_long") or body
        if isinstance(ready, Answer):
            await answered(send, ready)
            return
        reply = Reply(call, send)
        hears = replayed(ready, receive, has_more=has_more)
        await self.app(inner(scope, ready, is_same=ready is body), hears, reply.says)
        await reply.end()

    async def _body(self, receive: Receive) -> tuple[bytes | None, bool]:
        """(the body, or its beginning where it is too long; whether there is more of it). None where the client has gone."""
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None, False
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            has_more = bool(message.get("more_body"))
            if not has_more or size > REQUEST_CAP:
                return b"".join(pieces), has_more


class Kept:
    """Pieces of a body that passes, up to a cap."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.size = 0
        self.pieces: list[bytes] = []

    @property
    def is_cut(self) -> bool:
        """Whether there was more."""
        return self.size > self.cap

    def add(self, piece: bytes) -> None:
        """One more piece."""
        if piece and self.size <= self.cap:
            self.pieces.append(piece)
        self.size += len(piece)


class Reply:
    """What the application answers, on its way through."""

    def __init__(self, call: Call, send: Send) -> None:
        self.call = call
        self.send = send
        self.start: Message | None = None
        """Held until it is known what follows."""
        self.way = ""
        """whole, stream, or passing: unjudged."""
        self.pieces: list[bytes] = []
        self.size = 0
        self.encoding = ""
        self.is_done = False

    async def says(self, message: Message) -> None:
        """The application sends a message."""
        kind = message["type"]
        if kind == "http.response.start":
            await self._started(message)
        elif kind == "http.response.body":
            await self._more(message.get("body", b""), bool(message.get("more_body")))
        else:
            await self.send(message)

    async def _started(self, message: Message) -> None:
        headers = message["headers"] = [(bytes(n), bytes(v)) for n, v in message.get("headers", ())]
        self.start = message
        content_type, self.encoding = typed(headers)
        if content_type.startswith(STREAMS) and message["status"] < 400 and is_readable(self.encoding):
            begun = await self.call.begin(message["status"], content_type, self.encoding).awaited()
            self.way = "stream" if begun else "passing"
            dropped = (b"content-length", b"content-encoding") if begun else ()
            await self._open([(n, v) for n, v in headers if n.lower() not in dropped])
        else:
            self.way = "whole"

    async def _open(self, headers: list[tuple[bytes, bytes]]) -> None:
        assert self.start is not None
        message, self.start = self.start, None
        await self.send({**message, "headers": [*headers, (DECISION, self.call.id.encode())]})

    async def _more(self, piece: bytes, is_more: bool) -> None:
        if self.is_done:
            return
        if self.way == "passing":
            await self.send({"type": "http.response.body", "body": piece, "more_body": is_more})
            self.is_done = not is_more
        elif self.way == "stream":
            await self._fed(piece, is_more)
        else:
            await self._held(piece, is_more)

    async def _fed(self, piece: bytes, is_more: bool) -> None:
        ready = await self.call.feed(piece).awaited() if piece else b""
        if ready:
            await self.send({"type": "http.response.body", "body": ready, "more_body": True})
        if not is_more or self.call.is_stopped:
            self.is_done = True
            left = await self.call.last().awaited()
            await self.send({"type": "http.response.body", "body": left})

    async def _held(self, piece: bytes, is_more: bool) -> None:
        self.pieces.append(piece)
        self.size += len(piece)
        if self.size > REPLY_CAP:
            await self._too_long(is_more)
        elif not is_more:
            await self._whole()

    async def _too_long(self, is_more: bool) -> None:
        assert self.start is not None
        refusal = self.call.refusal("too_long")
        if refusal is not None:
            self.is_done = True
            await answered(self.send, refusal)
            return
        self.way = "passing"
        await self._open(self.start["headers"])
        held, self.pieces = b"".join(self.pieces), []
        await self._more(held, is_more)

    async def _whole(self) -> None:
        assert self.start is not None
        self.is_done = True
        body = b"".join(self.pieces)
        ready = await self.call.answer(self.start["status"], body, self.encoding).awaited()
        if isinstance(ready, Answer):
            await answered(self.send, ready)
            return
        await self._open(measured(self.start["headers"], ready, is_same=ready is body))
        await self.send({"type": "http.response.body", "body": ready})

    async def end(self) -> None:
        """The application has returned. What it never finished is not finished here either."""
        if self.start is not None and not self.is_done:
            self.call.skip("truncated", "response", self.size)


def measured(headers: list[tuple[bytes, bytes]], body: bytes, *, is_same: bool) -> list[tuple[bytes, bytes]]:
    """The headers of a whole reply, right for its body."""
    if is_same:
        return headers
    gone = (b"content-length", b"content-encoding", b"etag", b"digest", b"content-md5")
    return [*((n, v) for n, v in headers if n.lower() not in gone), (b"content-length", str(len(body)).encode())]


def header(scope: Scope, wanted: bytes) -> str:
    """A header of the request, "" where it has none."""
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def inner(scope: Scope, body: bytes, *, is_same: bool) -> Scope:
    """The scope as the application gets it: no way to answer around the guard, lengths that are right, a reply that can be read."""
    gone = {b"accept-encoding"} if is_same else {b"accept-encoding", b"content-length", b"content-encoding"}
    headers = [(name, value) for name, value in scope["headers"] if name not in gone]
    if not is_same:
        headers.append((b"content-length", str(len(body)).encode()))
    known = scope.get("extensions") or {}
    return {**scope, "headers": headers, "extensions": {k: v for k, v in known.items() if k not in BEYOND}}


def replayed(body: bytes, receive: Receive, *, has_more: bool) -> Receive:
    """The body, once, and then whatever else the server has to say: more of the body where it was too long to be read."""
    is_told = False

    async def hears() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": has_more}

    return hears
