"""The door around a WSGI application's own chats.

In: an application, the guard inside this process, its endpoints. Out: an application that judges what comes to those endpoints and what they answer, streams included. All other paths are not
touched. It may be called from any number of threads at once: all judging is done by the guard's one thread.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from http.client import responses
from typing import Any

from afterguard.guard.asgi import Kept, place
from afterguard.guard.inside import REPLY_CAP, REQUEST_CAP, Call, Inside
from afterguard.guard.passage import DECISION, is_readable
from afterguard.guard.route import Route
from afterguard.guard.session import STREAMS, Answer
from afterguard.wire.endpoint import endpoint

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, Start], Iterable[bytes]]
Headers = list[tuple[str, str]]
CHANGED = ("content-length", "content-encoding", "etag", "digest", "content-md5")
"""Headers that are no longer true of a body that was edited."""


class Guarded:
    """The application, guarded."""

    def __init__(self, app: App, inside: Inside, endpoints: Sequence[tuple[str, Route]]) -> None:
        self.app = app
        self.inside = inside
        self.endpoints = endpoints

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        route = place(self.endpoints, path)
        if route is None:
            return self.app(environ, start_response)
        spot = endpoint(route.kind, environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""))
        call = Call(self.inside, route, spot, _headers(environ))
        call.asks_once = True
        try:
            body = _body(environ)
            if body is None:
                return self._unread(call, environ, start_response)
            if call.ruling.is_inline:
                return self._inline(call, environ, start_response, body)
            return Observed(self, call, environ, start_response, body)
        except BaseException:
            call.leave()
            raise

    def _unread(self, call: Call, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """A body that is too long to be held: the application reads it itself, or nobody does."""
        refusal = call.refusal("too_long")
        call.leave()
        if refusal is None or not call.ruling.is_inline:
            return self.app(environ, start_response)
        return _said(refusal, start_response)

    def _inline(self, call: Call, environ: Environ, start_response: Start, body: bytes) -> Iterable[bytes]:
        ready = call.ask(body, environ.get("HTTP_CONTENT_ENCODING", "")).wait()
        if isinstance(ready, Answer):
            call.leave()
            return _said(ready, start_response)
        reply = Reply(call, start_response)
        reply.open(self.app(_inner(environ, ready, is_same=ready is body), reply.start_response))
        return reply


class Observed:
    """A reply that passes as it comes, and is judged after it."""

    def __init__(self, door: Guarded, call: Call, environ: Environ, start_response: Start, body: bytes) -> None:
        self.call = call
        self.body = body
        self.encoding = environ.get("HTTP_CONTENT_ENCODING", "")
        self.status = 0
        self.content_type = self.reply_encoding = ""
        self.kept = Kept(REPLY_CAP)
        self._start = start_response
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        self.rows = door.app(environ, self._started)

    def _started(self, status: str, headers: Headers, *more: Any) -> Callable[[bytes], object]:
        self.status = int(status[:3])
        self.content_type, self.reply_encoding = _typed(headers)
        write = self._start(status, headers, *more)

        def keeping(piece: bytes) -> object:
            self.kept.add(piece)
            return write(piece)

        return keeping

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self.rows:
                self.kept.add(piece)
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """The server has sent all, or the client has gone. Not every server says so (uvicorn's WSGI does not): the end of the rows says it as well."""
        if self.call.has_left:
            return
        try:
            _close(self.rows)
        finally:
            if self.kept.is_cut:
                self.call.skip("too_long", "response", self.kept.size)
            self.call.passed(
                self.body, self.encoding, self.status, self.content_type, self.reply_encoding, self.kept.pieces
            )
            self.call.leave()


class Reply:
    """What the application answers, on its way through."""

    def __init__(self, call: Call, start_response: Start) -> None:
        self.call = call
        self._start = start_response
        self.status = ""
        self.headers: Headers = []
        self.more: tuple[Any, ...] = ()
        self.written: list[bytes] = []
        """What came through the callable `write`, which few applications use."""
        self.rows: Iterable[bytes] = ()

    def start_response(self, status: str, headers: Headers, *more: Any) -> Callable[[bytes], object]:
        """What the application calls: held until it is known what follows."""
        self.status, self.headers, self.more = status, list(headers), more
        return self.written.append

    def open(self, rows: Iterable[bytes]) -> None:
        """What the application returned."""
        self.rows = rows

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._judged()
        finally:
            self.close()

    def _judged(self) -> Iterator[bytes]:
        rows = iter(self.rows)
        first = next(rows, b"")  # an application may say its status only now
        code = int(self.status[:3])
        content_type, encoding = _typed(self.headers)
        is_stream = content_type.startswith(STREAMS) and code < 400 and is_readable(encoding)
        if is_stream and self.call.begin(code, content_type, encoding).wait():
            yield from self._streamed(self._all(first, rows))
        elif is_stream:
            self._open(self.headers)
            yield from self._all(first, rows)
        else:
            yield from self._whole(code, encoding, self._all(first, rows))

    def _all(self, first: bytes, rows: Iterator[bytes]) -> Iterator[bytes]:
        yield from self.written
        yield first
        yield from rows

    def _open(self, headers: Headers) -> None:
        decision = (DECISION.decode(), self.call.id)
        self._start(self.status, [*headers, decision], *self.more)

    def _streamed(self, rows: Iterator[bytes]) -> Iterator[bytes]:
        self._open([(n, v) for n, v in self.headers if n.lower() not in ("content-length", "content-encoding")])
        for piece in rows:
            ready = self.call.feed(piece).wait() if piece else b""
            if ready:
                yield ready
            if self.call.is_stopped:
                break
        yield self.call.last().wait()

    def _whole(self, code: int, encoding: str, rows: Iterator[bytes]) -> Iterator[bytes]:
        pieces: list[bytes] = []
        size = 0
        for piece in rows:
            pieces.append(piece)
            size += len(piece)
            if size > REPLY_CAP:
                refusal = self.call.refusal("too_long")
                if refusal is not None:
                    yield from _said(refusal, self._start)
                else:
                    self._open(self.headers)
                    yield from pieces
                    yield from rows
                return
        body = b"".join(pieces)
        ready = self.call.answer(code, body, encoding).wait()
        if isinstance(ready, Answer):
            yield from _said(ready, self._start)
            return
        headers = self.headers
        if ready is not body:
            headers = [(n, v) for n, v in headers if n.lower() not in CHANGED]
            headers.append(("content-length", str(len(ready))))
        self._open(headers)
        yield ready

    def close(self) -> None:
        """The server has sent all, or the client has gone; see `Observed.close`."""
        if self.call.has_left:
            return
        try:
            _close(self.rows)
        finally:
            self.call.leave()


def _close(rows: Iterable[bytes]) -> None:
    close = getattr(rows, "close", None)
    if close is not None:
        close()


def _said(answer: Answer, start_response: Start) -> list[bytes]:
    headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in answer.headers]
    start_response(f"{answer.status} {responses.get(answer.status, 'Refused')}", headers)
    return [answer.body]


def _headers(environ: Environ) -> list[tuple[bytes, bytes]]:
    """The request's headers as every other door has them."""
    return [
        (name[5:].replace("_", "-").lower().encode("latin-1"), str(value).encode("latin-1", "replace"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]


def _typed(headers: Headers) -> tuple[str, str]:
    known = {name.lower(): value.lower().strip() for name, value in headers}
    return known.get("content-type", ""), known.get("content-encoding", "")


def _body(environ: Environ) -> bytes | None:
    """The request's body, None where it is too long; one of unknown length only where the server marks its end, and only as far as it may be held."""
    told = environ.get("CONTENT_LENGTH") or ""
    if told.isascii() and told.isdigit():
        if int(told[:20]) > REQUEST_CAP:
            return None
        found: bytes = environ["wsgi.input"].read(int(told))
    elif environ.get("wsgi.input_terminated"):
        found = environ["wsgi.input"].read(REQUEST_CAP + 1)
        if len(found) > REQUEST_CAP:
            environ["wsgi.input"] = _Joined(found, environ["wsgi.input"])
            return None
    else:
        found = b""
    return found


class _Joined(io.RawIOBase):
    """What was read already, and then the rest."""

    def __init__(self, first: bytes, rest: Any) -> None:
        self._first, self._rest = io.BytesIO(first), rest

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        found = self._first.read(len(into)) or self._rest.read(len(into))
        into[: len(found)] = found
        return len(found)


def _inner(environ: Environ, body: bytes, *, is_same: bool) -> Environ:
    """The environment as the application gets it: lengths that are right, a reply that can be read."""
    gone = {"HTTP_ACCEPT_ENCODING", "wsgi.file_wrapper"} | (set() if is_same else {"HTTP_CONTENT_ENCODING"})
    kept = {name: value for name, value in environ.items() if name not in gone}
    return {**kept, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
