"""The door inside an SDK: an httpx transport around the one that talks to the provider.

In: an inner transport (of httpx or httpx2), the guard inside this process, a route. Out: a transport that judges what the SDK sends and gets, streams included, without a hop. It makes no connection itself, and
it imports no HTTP library: classes come from the one whose request it is given.

Theory of operation. What the policy refuses is answered here with the provider's own error, which the SDK turns into its own exception and does not try again. An SDK tries a call again after
a lost connection, 408, 409, 429 and 5xx; it says so in a header. Such a call waits for its next try (PATIENCE), and is judged, counted and written down once. A stream is judged as it is read;
closing it early ends it at the provider as well.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from afterguard.guard.asgi import Kept
from afterguard.guard.inside import REPLY_CAP, REQUEST_CAP, Call, Inside
from afterguard.guard.passage import is_readable
from afterguard.guard.route import Route
from afterguard.guard.session import SILENT, STREAMS, Answer
from afterguard.guard.who import KEY_HEADERS
from afterguard.wire.endpoint import endpoint

RETRY = "x-stainless-retry-count"
"""How often the SDK has tried before."""
AGAIN = frozenset({408, 409, 429})
PATIENCE = 90.0
"""Seconds a failed call waits for the SDK's next try; SDKs wait for at most a minute."""
WAITING = 1_000
"""Calls that wait for their next try."""
DECISION = "x-afterguard-decision"
CHANGED = ("content-encoding", "content-length", "transfer-encoding", "etag", "digest", "content-md5")
"""Headers that are no longer true of a body that was edited."""


class Tried(NamedTuple):
    """A judged request."""

    call: Call
    body: bytes
    ready: bytes
    """The body to send."""


class Door:
    """What the transport of threads and that of event loops share."""

    def __init__(self, inner: Any, inside: Inside, route: Route) -> None:
        self.inner = inner
        self.inside = inside
        self.route = route
        self._tried: OrderedDict[bytes, Tried] = OrderedDict()
        self._lock = threading.Lock()

    def _call(self, request: Any) -> Call:
        """The exchange of a request."""
        path, _, query = request.url.raw_path.decode("latin-1").partition("?")
        spot = endpoint(self.route.kind, request.method, path, query)
        return Call(self.inside, self.route, spot, [(name.lower(), value) for name, value in request.headers.raw])

    def _again(self, request: Any, body: bytes) -> Tried | None:
        """The same call, where the SDK tries it again."""
        if request.headers.get(RETRY, "0") == "0":
            return None
        with self._lock:
            found = self._tried.pop(_name(request, body), None)
        if found is None or found.call.has_left:
            return None
        found.call.resume()
        return found

    def _failed(self, request: Any, tried: Tried, status: int) -> None:
        """Perhaps there is another try."""
        if status:
            tried.call.answer(status, b"")
        else:
            tried.call.skip("upstream_error", "response")
        tried.call.pause(PATIENCE)
        with self._lock:
            self._tried[_name(request, tried.body)] = tried
            while len(self._tried) > WAITING:
                self._tried.popitem(last=False)  # it is over when its time is

    def _unread(self, call: Call, request: Any) -> bool:
        """Whether this is nothing that is judged, and perhaps too large to be read: an upload, a list of models."""
        if call.spot.operation not in SILENT:
            return False
        size = request.headers.get("content-length", "0")
        if size != "0":
            call.skip("unsupported_operation", "request", int(size) if size.isdigit() else 0)
        return True

    def _is_stream(self, response: Any) -> bool:
        told = response.headers.get("content-type", "").lower()
        return told.startswith(STREAMS) and response.status_code < 400 and is_readable(_encoding(response))


class Transport(Door):
    """For clients of threads."""

    def handle_request(self, request: Any) -> Any:
        """One try of a call."""
        call = self._call(request)
        if self._unread(call, request):
            try:
                return self.inner.handle_request(request)
            finally:
                call.leave()
        body = request.read()
        if not call.ruling.is_inline:
            return self._observed(call, request, body)
        tried = self._again(request, body)
        if tried is None:
            asked: bytes | Answer
            if len(body) > REQUEST_CAP:
                asked = call.refusal("too_long") or body
            else:
                asked = call.ask(body, request.headers.get("content-encoding", "")).wait()
            if isinstance(asked, Answer):
                call.leave()
                return _said(request, asked)
            tried = Tried(call, body, asked)
        return self._inline(request, tried)

    def _observed(self, call: Call, request: Any, body: bytes) -> Any:
        try:
            response = self.inner.handle_request(request)
        except BaseException:
            call.skip("upstream_error", "response")
            call.passed(body, request.headers.get("content-encoding", ""), 0, "", "", [])
            call.leave()
            raise
        response.stream = _stream(request, Watched)(response, call, request, body)
        return response

    def _inline(self, request: Any, tried: Tried) -> Any:
        try:
            response = self.inner.handle_request(_remade(request, tried.body, tried.ready))
        except Exception:
            self._failed(request, tried, 0)
            raise
        except BaseException:
            tried.call.leave()
            raise
        if response.status_code in AGAIN or response.status_code >= 500:
            self._failed(request, tried, response.status_code)
            return response
        try:
            return self._judged(request, tried.call, response)
        except BaseException:
            response.stream.close()
            tried.call.leave()
            raise

    def _judged(self, request: Any, call: Call, response: Any) -> Any:
        if self._is_stream(response):
            kind = response.headers.get("content-type", "").lower()
            begun = call.begin(response.status_code, kind, _encoding(response)).wait()
            return _streaming(request, call, response, begun, Judged, Rest)
        pieces: list[bytes] = []
        size = 0
        rows = iter(response.stream)
        for piece in rows:
            pieces.append(piece)
            size += len(piece)
            if size > REPLY_CAP:
                refusal = call.refusal("too_long")
                if refusal is None:
                    response.stream = _stream(request, Rest)(response.stream, call, pieces, rows)
                    return response
                response.stream.close()
                call.leave()
                return _said(request, refusal)
        response.stream.close()
        body = b"".join(pieces)
        ready = call.answer(response.status_code, body, _encoding(response)).wait()
        following = call.again
        if following is not None:
            return self._judged(request, call, self.inner.handle_request(_remade(request, b"", following)))
        call.leave()
        return _whole(request, call, response, body, ready)

    def close(self) -> None:
        """No more calls."""
        self.inner.close()

    def __enter__(self) -> Transport:
        self.inner.__enter__()
        return self

    def __exit__(self, *why: Any) -> None:
        self.inner.__exit__(*why)


class AsyncTransport(Door):
    """For clients of event loops: the same, awaited."""

    async def handle_async_request(self, request: Any) -> Any:
        """One try of a call."""
        call = self._call(request)
        if self._unread(call, request):
            try:
                return await self.inner.handle_async_request(request)
            finally:
                call.leave()
        body = await request.aread()
        if not call.ruling.is_inline:
            return await self._observed(call, request, body)
        tried = self._again(request, body)
        if tried is None:
            asked: bytes | Answer
            try:
                if len(body) > REQUEST_CAP:
                    asked = call.refusal("too_long") or body
                else:
                    asked = await call.ask(body, request.headers.get("content-encoding", "")).awaited()
            except BaseException:
                call.leave()
                raise
            if isinstance(asked, Answer):
                call.leave()
                return _said(request, asked)
            tried = Tried(call, body, asked)
        return await self._inline(request, tried)

    async def _observed(self, call: Call, request: Any, body: bytes) -> Any:
        try:
            response = await self.inner.handle_async_request(request)
        except BaseException:
            call.skip("upstream_error", "response")
            call.passed(body, request.headers.get("content-encoding", ""), 0, "", "", [])
            call.leave()
            raise
        response.stream = _stream(request, AsyncWatched)(response, call, request, body)
        return response

    async def _inline(self, request: Any, tried: Tried) -> Any:
        try:
            response = await self.inner.handle_async_request(_remade(request, tried.body, tried.ready))
        except Exception:
            self._failed(request, tried, 0)
            raise
        except BaseException:
            tried.call.leave()
            raise
        if response.status_code in AGAIN or response.status_code >= 500:
            self._failed(request, tried, response.status_code)
            return response
        try:
            return await self._judged(request, tried.call, response)
        except BaseException:
            tried.call.leave()
            await response.stream.aclose()
            raise

    async def _judged(self, request: Any, call: Call, response: Any) -> Any:
        if self._is_stream(response):
            kind = response.headers.get("content-type", "").lower()
            begun = await call.begin(response.status_code, kind, _encoding(response)).awaited()
            return _streaming(request, call, response, begun, AsyncJudged, AsyncRest)
        pieces: list[bytes] = []
        size = 0
        rows = aiter(response.stream)
        async for piece in rows:
            pieces.append(piece)
            size += len(piece)
            if size > REPLY_CAP:
                refusal = call.refusal("too_long")
                if refusal is None:
                    response.stream = _stream(request, AsyncRest)(response.stream, call, pieces, rows)
                    return response
                await response.stream.aclose()
                call.leave()
                return _said(request, refusal)
        await response.stream.aclose()
        body = b"".join(pieces)
        ready = await call.answer(response.status_code, body, _encoding(response)).awaited()
        following = call.again
        if following is not None:
            found = await self.inner.handle_async_request(_remade(request, b"", following))
            return await self._judged(request, call, found)
        call.leave()
        return _whole(request, call, response, body, ready)

    async def aclose(self) -> None:
        """No more calls."""
        await self.inner.aclose()

    async def __aenter__(self) -> AsyncTransport:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *why: Any) -> None:
        await self.inner.__aexit__(*why)


# -- streams of replies


class Left:
    """A stream that nobody reads to its end, or closes, is over when it is forgotten."""

    call: Call

    def __del__(self) -> None:
        self.call.leave()


class Judged(Left):
    """A reply that is judged as it is read."""

    def __init__(self, inner: Any, call: Call, broken: type[Exception]) -> None:
        self.inner = inner
        self.call = call
        self.broken = broken

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self.inner:
                ready = self.call.feed(piece).wait()
                if ready:
                    yield ready
                if self.call.is_stopped:
                    break
            yield self.call.last().wait()
        except ConnectionResetError as error:
            raise self.broken(str(error)) from error

    def close(self) -> None:
        """Read to its end, or not wanted any more."""
        self.inner.close()
        self.call.leave()


class AsyncJudged(Left):
    """The same, awaited."""

    def __init__(self, inner: Any, call: Call, broken: type[Exception]) -> None:
        self.inner = inner
        self.call = call
        self.broken = broken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self.inner:
                ready = await self.call.feed(piece).awaited()
                if ready:
                    yield ready
                if self.call.is_stopped:
                    break
            yield await self.call.last().awaited()
        except ConnectionResetError as error:
            raise self.broken(str(error)) from error

    async def aclose(self) -> None:
        """Read to its end, or not wanted any more."""
        self.call.leave()
        await self.inner.aclose()


class Rest(Left):
    """A reply that passes unjudged, of which the beginning was read already."""

    def __init__(self, inner: Any, call: Call, pieces: list[bytes], rows: Any) -> None:
        self.inner = inner
        self.call = call
        self.pieces = pieces
        self.rows = rows

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces
        yield from self.rows

    def close(self) -> None:
        """Read to its end, or not wanted any more."""
        self.inner.close()
        self.call.leave()


class AsyncRest(Rest):
    """The same, awaited."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        async for piece in self.rows:
            yield piece

    async def aclose(self) -> None:
        """Read to its end, or not wanted any more."""
        self.call.leave()
        await self.inner.aclose()


class Watched(Left):
    """A reply that passes as it comes, and is judged after it."""

    def __init__(self, response: Any, call: Call, request: Any, body: bytes) -> None:
        self.inner = response.stream
        self.call = call
        self.kept = Kept(REPLY_CAP)
        self.told = (
            body,
            request.headers.get("content-encoding", ""),
            response.status_code,
            response.headers.get("content-type", "").lower(),
            _encoding(response),
        )

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.inner:
            self.kept.add(piece)
            yield piece

    def close(self) -> None:
        """Read to its end, or not wanted any more."""
        self.inner.close()
        self._over()

    def _over(self) -> None:
        if self.call.has_left:
            return
        if self.kept.is_cut:
            self.call.skip("too_long", "response", self.kept.size)
        self.call.passed(*self.told, self.kept.pieces)
        self.call.leave()

    def __del__(self) -> None:
        self._over()


class AsyncWatched(Watched):
    """The same, awaited."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self.inner:
            self.kept.add(piece)
            yield piece

    async def aclose(self) -> None:
        """Read to its end, or not wanted any more."""
        self._over()
        await self.inner.aclose()


# -- in the words of whichever library this is


def _library(request: Any) -> Any:
    """httpx, or httpx2."""
    return sys.modules[type(request).__module__.partition(".")[0]]


@lru_cache(maxsize=64)
def _class(library: str, kind: type) -> Any:
    base = "AsyncByteStream" if hasattr(kind, "aclose") else "SyncByteStream"
    return type(kind.__name__, (kind, getattr(sys.modules[library], base)), {})


def _stream(request: Any, kind: type) -> Any:
    """A class of stream as this library wants it."""
    return _class(_library(request).__name__, kind)


def _streaming(request: Any, call: Call, response: Any, begun: bool, judged: type, rest: type) -> Any:
    """The response with its stream guarded, or let pass."""
    if begun:
        if _encoding(response) not in ("", "identity"):
            del response.headers["content-encoding"]
        if "content-length" in response.headers:
            del response.headers["content-length"]
        response.stream = _stream(request, judged)(response.stream, call, _library(request).ReadError)
    else:
        response.stream = _stream(request, rest)(response.stream, call, [], response.stream)
    response.headers[DECISION] = call.id
    return response


def _whole(request: Any, call: Call, response: Any, body: bytes, ready: bytes | Answer) -> Any:
    """The response with the reply that is to be given."""
    if isinstance(ready, Answer):
        return _said(request, ready)
    if ready is not body:
        for name in CHANGED:
            if name in response.headers:
                del response.headers[name]
    response.headers[DECISION] = call.id
    response.stream = _library(request).ByteStream(ready)
    return response


def _said(request: Any, answer: Answer) -> Any:
    """What the guard says itself."""
    return _library(request).Response(answer.status, headers=answer.headers, content=answer.body)


def _remade(request: Any, body: bytes, ready: bytes) -> Any:
    """The request to send: one whose reply can be read as it comes."""
    request.headers["accept-encoding"] = "identity"
    if ready is body:
        return request
    gone = (b"content-length", b"content-encoding", b"transfer-encoding", b"digest", b"content-md5")
    headers = [(name, value) for name, value in request.headers.raw if name.lower() not in gone]
    return type(request)(request.method, request.url, headers=headers, content=ready, extensions=request.extensions)


def _encoding(response: Any) -> str:
    return str(response.headers.get("content-encoding", "")).lower().strip()


def _name(request: Any, body: bytes) -> bytes:
    """What is the same in every try of a call."""
    digest = hashlib.blake2b(f"{request.method} {request.url}".encode(), digest_size=20)
    for name, value in request.headers.raw:
        if name.lower() in KEY_HEADERS:
            digest.update(value)
    digest.update(body)
    return digest.digest()
