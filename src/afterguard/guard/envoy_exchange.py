"""One HTTP exchange as Envoy's external processing tells it: from the headers of the request to the end of the reply.

In: messages of Envoy in the order in which they come, one at a time. Out: the message to answer each with. It knows what Envoy does in each mode of a body and nothing of gRPC; it opens nothing.

Theory of operation. There are three ways, settled with the first message. Envoy only shows (`observability_mode`): everything is kept up to a cap, nothing is answered, and it is judged once it is over.
The route is observed but Envoy waits: the same, and each message is answered at once without a change. The route is inline: the request comes whole (Envoy keeps it, BUFFERED), and so does a reply
that is no stream, so that Envoy still has every byte if this process dies and can go on or refuse as its own fail setting says. A streamed reply comes in pieces (STREAMED): each is answered at once with
what may leave by now, which is often not what came with it. FULL_DUPLEX_STREAMED would hand the pieces over for good, after which Envoy can no longer fail open, and would have no time-out.

Envoy waits for every answer, four times an exchange. So what nobody has to wait for is left over until the answer is on its way (`settle`, `end`), and only what has to be waited for itself, another process that judges or limits that are shared,
is a task.

What cannot be done here: ask the model again (Envoy sends one request), end a stream early (what follows the legal end is swallowed), put bytes before trailers (a stream that ends in trailers while its last
events wait is broken off; Envoy drops trailers of HTTP/1 unless it is told to pass them).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

from afterguard.guard import probe, probe_reply
from afterguard.guard.desk import Desk
from afterguard.guard.door import Room
from afterguard.guard.envoy_messages import (
    BUFFERED,
    BUFFERED_PARTIAL,
    NONE,
    OVERWRITE,
    SEND,
    STREAMED,
    ProcessingResponse,
)
from afterguard.guard.passage import DECISION, REPLY_CAP, REQUEST_CAP, TOKEN, is_readable, typed
from afterguard.guard.session import SILENT, STREAMS, Answer, Session
from afterguard.guard.visit import Visit
from afterguard.wire.encoding import BadEncoding
from afterguard.wire.refusal import refused

LARGE = 256 << 10
"""A body above this may take longer to judge than Envoy waits for a message: more time is asked for."""
HEADERS_CAP = 256 << 10
HEADERS_MOST = 1_000
STALE = (b"content-encoding", b"etag", b"digest", b"content-md5")
"""What is no longer true of a body that was changed."""
Header = tuple[bytes, bytes]
_Told = TypeVar("_Told")


class Disorder(Exception):
    """What came is no message of external processing, or none that may come now."""


class Head(NamedTuple):
    """Headers of a request or a reply: what HTTP/2 writes with a colon, and the rest."""

    pseudo: dict[bytes, bytes]
    rest: list[Header]
    first: dict[bytes, bytes]
    """Of the rest, the first of each name."""

    def value(self, name: bytes) -> bytes:
        """The first of that name, b"" where there is none."""
        return self.first.get(name, b"")

    @property
    def length(self) -> int:
        """Content-Length, -1 where none is told."""
        told = self.value(b"content-length")
        return int(told) if told.isdigit() and len(told) < 16 else -1


def head(message: Any) -> Head:
    """The headers of a message. Raises Disorder where there are too many."""
    rows = message.headers.headers
    if len(rows) > HEADERS_MOST:
        raise Disorder("too many headers")
    pseudo: dict[bytes, bytes] = {}
    rest: list[Header] = []
    first: dict[bytes, bytes] = {}
    size = 0
    for row in rows:
        name, value = row.key, row.raw_value or row.value
        size += len(name) + len(value)
        if name[:1] == b":":
            pseudo[name] = value
        else:
            rest.append((name, value))
            first.setdefault(name, value)
    if size > HEADERS_CAP:
        raise Disorder("headers too large")
    return Head(pseudo, rest, first)


def at_once(request: Head, is_inline: bool) -> bytes | None:
    """The answer to the headers of a request whose body follows, as it is sent, where it is the same whatever becomes of the exchange: Envoy sends the body only behind it. None where it is not."""
    is_large = is_inline and request.length > REQUEST_CAP
    return None if is_large or probe.HEADER in request.first else _usual(is_inline, TOKEN in request.first)


@functools.cache
def _usual(is_inline: bool, has_token: bool) -> bytes:
    names = {TOKEN: b"x"} if has_token else {}
    return bytes(_noted(Head({}, [], names), is_inline, is_probe=False).SerializeToString())


class Kept:
    """A body as it passes, up to a cap."""

    def __init__(self, session: Session, where: str, cap: int, room: Room) -> None:
        self.session, self.where, self.cap, self.room = session, where, cap, room
        self.pieces: list[bytes] = []
        self.size = 0
        self.is_cut = False

    def add(self, piece: bytes) -> None:
        if self.is_cut or not piece:
            return
        reason = "too_long" if self.size + len(piece) > self.cap else "" if self.room.take(len(piece)) else "overload"
        if reason:
            self.is_cut = True
            self.session.parts.skip(reason, self.where, len(piece))
            return
        self.pieces.append(piece)
        self.size += len(piece)


class EnvoyExchange(Visit):
    """State of one exchange. `receive` until `is_over`, then `end`."""

    __slots__ = (
        "asked",
        "given",
        "head",
        "is_echo",
        "is_over",
        "is_shown",
        "path",
        "prefix",
        "reply",
        "replying",
        "way",
    )

    def __init__(
        self, desk: Desk, session: Session, request: Head, started: float, wall: float, *, is_shown: bool, prefix: bytes, room: Room
    ) -> None:  # fmt: skip
        super().__init__(desk, session, started, wall)
        session.can_ask_again = False
        self.is_shown = is_shown
        """Whether Envoy only shows what passes and takes no answer."""
        if is_shown:
            session.only_look()
        self.is_echo = not is_shown and not session.ruling.is_inline
        self.head = request
        self.prefix = prefix
        """What of the path stands before the provider's own."""
        self.path = request.pseudo.get(b":path", b"/")
        self.asked = Kept(session, "request", REQUEST_CAP, room)
        self.given = Kept(session, "response", REPLY_CAP, room)
        self.way = ""
        """How the body of the reply comes: whole, partial, stream, or "" before its headers."""
        self.reply: Head | None = None
        self.replying = "", ""
        """Content type and encoding of the reply."""
        self.is_over = False
        token = request.value(probe.HEADER)
        if token:
            self.cell = probe.verified(token, desk.brain.key, wall)

    @property
    def only_looks(self) -> bool:
        """Whether nothing waits for a judgement."""
        return self.is_shown or self.is_echo

    def more_time(self, kind: str, message: Any) -> Any | None:
        """What to say before the answer, where that may take longer than Envoy waits."""
        size = len(message.body) if kind == "request_body" and not self.only_looks else 0
        if size <= LARGE:
            return None
        answer = ProcessingResponse()
        answer.override_message_timeout.seconds = int(self.session.ruling.limit(size)) + 1
        return answer

    async def receive(self, kind: str, message: Any) -> Any | None:
        """What to answer, None where nobody waits for that. Raises Disorder."""
        if kind == "request_body":
            answer = await self._request_body(message)
        elif kind == "response_headers":
            answer = await self._response_headers(message)
        elif kind == "response_body":
            answer = await self._response_body(message)
        elif kind == "response_trailers":
            answer = await self._response_trailers()
        elif kind == "request_trailers" and self.reply is None:
            answer = ProcessingResponse()
            answer.request_trailers.SetInParent()
        else:
            raise Disorder(f"{kind} at this point")
        return None if self.is_shown else answer

    def settle(self) -> None:
        """What is left to do once an answer is on its way."""
        self.session.keep()

    async def end(self) -> None:
        """Nothing more comes: judge what passed, write it down."""
        if not self.is_over:
            self.desk.metrics.add("afterguard_client_gone_total", self.route.name)
        if self.only_looks:
            self.body = b"".join(self.asked.pieces)
            self.asked.room.left += self.asked.size + self.given.size
            content_type, encoding = self.replying
            self.passed(self._encoding(), self.session.status, content_type, encoding, self.given.pieces)
        if self.is_counted:
            await _apart(self.leave())
        else:
            self.written()

    # -- the request

    async def begin_request(self, is_last: bool) -> Any | None:
        """The answer to the headers of the request, None where nobody waits for that."""
        if self.is_shown:
            return None
        if self.head.length > REQUEST_CAP and not self.is_echo:
            self.session.fail("too_long")
            says = "the request is too large for the guard"
            return self._say(Answer(*refused(self.session.spot, says, "afterguard_too_large", 413)))
        if is_last and not self.is_echo:
            return await self._judged(b"", ProcessingResponse(), "request_headers")
        return _noted(self.head, self.session.ruling.is_inline, is_probe=self.cell is not None)

    async def _request_body(self, message: Any) -> Any:
        body: bytes = message.body
        answer = ProcessingResponse()
        if self.is_shown or (self.is_echo and self.cell is None):
            self.asked.add(body)
            answer.request_body.SetInParent()
            return answer
        if self.is_sent or self.reply is not None:
            raise Disorder("a second request body")
        if self.is_echo:
            self.asked.add(body)
            return self._probed(answer)
        return await self._judged(body, answer, "request_body")

    async def _judged(self, body: bytes, answer: Any, kind: str) -> Any:
        ready = self.ask_now(body, self._encoding())
        if ready is None:
            ready = await _apart(self.ask_rest())
        self.way = "asked"
        if isinstance(ready, Answer):
            return self._say(ready)
        if self.cell is not None:
            return await _apart(self._canned())
        common = getattr(answer, kind).response
        if kind == "request_headers":
            _clean(common.header_mutation, self.head, self.session.ruling.is_inline)
        if ready is not body:
            _changed(common, ready)
        target = self._target()
        if target:
            _set(common.header_mutation, b":path", target)
        getattr(answer, kind).SetInParent()
        return answer

    @property
    def is_sent(self) -> bool:
        """Whether the request was judged and sent on."""
        return self.way != ""

    def _encoding(self) -> str:
        return self.head.value(b"content-encoding").decode("latin-1")

    def _target(self) -> bytes:
        """The path where policy named another model in it, b"" where it stays."""
        if not self.session.model:
            return b""
        path, mark, query = self.path.partition(b"?")
        below = path[len(self.prefix) :]
        target = self.session.target(below)
        return b"" if target == below else self.prefix + target + mark + query

    # -- the reply to a probe, which no upstream gives

    def _probed(self, answer: Any) -> Any:
        """On an observed route: as an upstream would have answered."""
        assert self.cell is not None
        made = probe_reply.reply(self.cell, self.desk.brain.key)
        self.session.status = 200
        self.replying = made.content_type, made.encoding
        self.given.add(made.body)
        return self._say(Answer(200, _described(made.content_type, made.encoding), made.body))

    async def _canned(self) -> Any:
        assert self.cell is not None
        made = probe_reply.reply(self.cell, self.desk.brain.key)
        if not made.content_type.startswith(STREAMS):
            ready = await self.answer(200, made.body, made.encoding)
            if isinstance(ready, Answer):
                return self._say(ready)
            encoding = made.encoding if ready is made.body else ""
            return self._say(Answer(200, _described(made.content_type, encoding), ready))
        body = made.body
        if self.begin(200, made.content_type, made.encoding):
            body = self.feed(body) + await self._left()
        encoding = made.encoding if self.is_passing else ""
        return self._say(Answer(200, _described(made.content_type, encoding), body))

    # -- the reply

    async def _response_headers(self, message: Any) -> Any:
        if self.reply is not None:
            raise Disorder("a second reply")
        self.reply = found = head(message)
        told = found.pseudo.get(b":status", b"")
        self.session.status = int(told) if told.isdigit() and len(told) == 3 else 0
        self.replying = typed(found.rest)
        answer = ProcessingResponse()
        common = answer.response_headers.response
        _set(common.header_mutation, DECISION, self.session.id.encode())
        if not message.end_of_stream:
            return answer if self.only_looks else self._begun(answer, common)
        self.is_over = True
        if self.only_looks or not self.is_sent:
            return answer
        ready = await self._reply_judged(self.session.status, b"", "")
        return self._say(ready) if isinstance(ready, Answer) else answer

    def _begun(self, answer: Any, common: Any) -> Any:
        """Settle how the body of the reply comes."""
        assert self.reply is not None
        content_type, encoding = self.replying
        status, length = self.session.status, self.reply.length
        if not self.is_sent:
            self.session.parts.skip("truncated", "request")  # Envoy answered before it had the whole request
        if not self.is_sent or status >= 400 or self.session.spot.operation in SILENT or self.is_killed():
            return self._unread(answer)
        if content_type.startswith(STREAMS) and is_readable(encoding):
            self.way = "stream"
            self.begin(status, content_type, encoding)
            if encoding and encoding != "identity":
                common.header_mutation.remove_headers.append(b"content-encoding")
            _mode(answer, response=STREAMED)
            return answer
        if length > REPLY_CAP:
            refusal = self.failed("too_long")
            return self._unread(answer) if refusal is None else self._say(refusal)
        self.way = "whole" if length >= 0 else "partial"
        _mode(answer, response=BUFFERED if length >= 0 else BUFFERED_PARTIAL)
        return answer

    def _unread(self, answer: Any) -> Any:
        """The rest passes, and nothing of it comes here."""
        self.is_over = True
        _mode(answer, response=NONE)
        return answer

    async def _response_body(self, message: Any) -> Any:
        if self.reply is None:
            raise Disorder("a reply's body before its headers")
        body: bytes = message.body
        answer = ProcessingResponse()
        answer.response_body.SetInParent()
        if self.way == "partial" and not message.end_of_stream and not self.only_looks:
            self.is_over = True
            refusal = self.failed("too_long")
            return answer if refusal is None else self._say(refusal)
        if self.way == "stream":
            return await self._streamed(answer, body, message.end_of_stream)
        self.is_over = message.end_of_stream
        if self.only_looks:
            self.given.add(body)
            return answer
        ready = await self._reply_judged(self.session.status, body, self.replying[1])
        if isinstance(ready, Answer):
            return self._say(ready)
        if ready is not body:
            _changed(answer.response_body.response, ready)
        return answer

    async def _reply_judged(self, status: int, body: bytes, encoding: str) -> bytes | Answer:
        ready = self.answer_now(status, body, encoding)
        return ready if ready is not None else await _apart(self.answer_rest(body))

    async def _streamed(self, answer: Any, body: bytes, is_last: bool) -> Any:
        try:
            ready = self.feed(body) if body and not self.is_stopped else b""
            if is_last:
                ready += await _apart(self._left())
        except (ConnectionResetError, BadEncoding):
            return self._broken()
        self.is_over = is_last
        mutation = answer.response_body.response.body_mutation
        if ready == body:
            answer.response_body.response.ClearField("body_mutation")
        elif ready:
            mutation.body = ready
        else:
            mutation.clear_body = True
        return answer

    async def _left(self) -> bytes:
        """What leaves at the end of a stream."""
        return b"".join([piece async for piece in self.last()])

    async def _response_trailers(self) -> Any:
        if self.reply is None:
            raise Disorder("a reply's trailers before its headers")
        answer = ProcessingResponse()
        answer.response_trailers.SetInParent()
        self.is_over = True
        if self.way != "stream":
            return answer
        left = await _apart(self._left())
        if not left:
            return answer
        self.session.parts.skip("trailers", "response")
        return self._broken()

    # -- answers

    def _say(self, ready: Answer) -> Any:
        """An answer instead of the upstream's."""
        self.session.status = ready.status
        self.is_over = True
        made = ProcessingResponse()
        said = made.immediate_response
        said.status.code = ready.status
        said.body = ready.body
        said.details = "afterguard"
        for name, value in ready.headers:
            if name not in (DECISION, b"content-length"):
                _set(said.headers, name, value)
        _set(said.headers, DECISION, self.session.id.encode())
        return made

    def _broken(self) -> Any:
        """Break the reply off: an honest end would say that it is whole. The headers have left, so Envoy resets the stream."""
        return self._say(Answer(502, [], b""))


async def _apart(work: Coroutine[Any, Any, _Told]) -> _Told:
    """What has to be waited for itself."""
    return await asyncio.ensure_future(work)


def _noted(request: Head, is_inline: bool, *, is_probe: bool) -> Any:
    """The headers of a request are read, its body may come."""
    answer = ProcessingResponse()
    _clean(answer.request_headers.response.header_mutation, request, is_inline)
    if not is_inline and not is_probe:
        _mode(answer, request=STREAMED, response=STREAMED)
    return answer


def _clean(mutation: Any, request: Head, is_inline: bool) -> None:
    """Take out what is for the guard only; ask for a reply that can be read."""
    mutation.remove_headers.extend(name for name in (TOKEN, probe.HEADER) if name in request.first)
    if is_inline:
        _set(mutation, b"accept-encoding", b"identity")


def _described(content_type: str, encoding: str) -> list[Header]:
    made = [(b"content-type", content_type.encode())]
    return [*made, (b"content-encoding", encoding.encode())] if encoding else made


def _set(mutation: Any, name: bytes, value: bytes) -> None:
    one = mutation.set_headers.add()
    one.header.key, one.header.raw_value, one.append_action = name, value, OVERWRITE


def _changed(common: Any, body: bytes) -> None:
    """Another body in the place of one that came whole, with the headers that say so."""
    common.body_mutation.body = body
    _set(common.header_mutation, b"content-length", str(len(body)).encode())
    common.header_mutation.remove_headers.extend(STALE)


def _mode(answer: Any, *, response: int, request: int = BUFFERED) -> None:
    mode = answer.mode_override
    mode.response_header_mode = mode.response_trailer_mode = SEND
    mode.request_body_mode = request
    mode.response_body_mode = response
