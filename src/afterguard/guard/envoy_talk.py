"""What passed over one connection between an Envoy and a model: bytes in both directions -> exchanges.

In: events of Envoy's tap transport socket (TraceWrapper in envoy_messages.py), in order. Out: each exchange as soon as its reply is whole. It opens nothing and judges nothing.

Theory of operation. Envoy speaks HTTP/1.1 to a model, one exchange at a time over each connection, so a reply belongs to the oldest request without one. Envoy counts the bytes of both directions
in `seq_num`: where a number is missing, bytes are, and nothing after them can be told apart (Broken). The same where the bytes are no HTTP/1.1. What is kept of a body is bounded, per body and over
all connections of the process (Room); what is beyond is counted with the exchange. `mark` is the last place between two exchanges: who reads the trace again from there misses nothing and sees nothing twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from afterguard.guard.door import Room
from afterguard.guard.envoy_exchange import HEADERS_CAP, HEADERS_MOST
from afterguard.guard.passage import REPLY_CAP, REQUEST_CAP

TARGET_CAP = 64 << 10
OPEN = 16
"""Requests without a reply; HTTP/1.1 as Envoy speaks it has one."""


class Broken(Exception):
    """What follows on this connection cannot be told apart any more."""


class Mark(NamedTuple):
    """A place in a trace."""

    offset: int
    """Where the record begins."""
    seq: int
    """The first event of it that is not done with."""


FIRST = Mark(0, 1)


class Words:
    """A message as it passes, up to a cap."""

    def __init__(self, cap: int, room: Room) -> None:
        self.cap, self.room = cap, room
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.size = 0
        self.cut = ""
        """Why not all of the body is here; "" where it is."""
        self.cut_size = 0
        self.is_whole = False
        self._heads = 0

    def header(self, name: bytes, value: bytes) -> None:
        """One more header. Raises Broken where there are too many."""
        self._heads += len(name) + len(value)
        if len(self.headers) >= HEADERS_MOST or self._heads > HEADERS_CAP:
            raise Broken("headers")
        self.headers.append((name.lower(), value))

    def body(self, piece: bytes) -> None:
        """More of the body."""
        if not self.cut:
            self.cut = (
                "too_long" if self.size + len(piece) > self.cap else "" if self.room.take(len(piece)) else "overload"
            )
        if self.cut:
            self.cut_size += len(piece)
            return
        self.pieces.append(piece)
        self.size += len(piece)


class Heard:
    """An exchange as it was overheard."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.method = ""
        self.target = b""
        self.status = 0
        """0 until the head of a reply has come."""
        self.asked = Words(REQUEST_CAP, room)
        self.given = Words(REPLY_CAP, room)
        self.began = self.ended = 0.0
        """Envoy's clock, seconds."""

    def leave(self) -> None:
        """Its bytes are needed no more."""
        self.room.left += self.asked.size + self.given.size


class _Requests:
    """What the parser of requests calls."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    def on_message_begin(self) -> None:
        if len(self.talk.open) >= OPEN:
            raise Broken("order")
        self.talk.open.append(Heard(self.talk.room))

    def on_url(self, piece: bytes) -> None:
        self.talk.open[-1].target += piece
        if len(self.talk.open[-1].target) > TARGET_CAP:
            raise Broken("headers")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.talk.open[-1].asked.header(name, value)

    def on_headers_complete(self) -> None:
        one = self.talk.open[-1]
        one.method = self.talk.requests.get_method().decode("latin-1")
        if one.method in ("HEAD", "CONNECT"):
            raise Broken("method")  # whether a reply has a body then, its bytes do not say

    def on_body(self, piece: bytes) -> None:
        self.talk.open[-1].asked.body(piece)

    def on_message_complete(self) -> None:
        self.talk.open[-1].asked.is_whole = True


class _Replies:
    """What the parser of replies calls."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    def on_message_begin(self) -> None:
        if not self.talk.open:
            raise Broken("order")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.talk.open[0].given.header(name, value)

    def on_headers_complete(self) -> None:
        one, status = self.talk.open[0], self.talk.replies.get_status_code()
        if status == 101:
            raise Broken("upgrade")
        if status < 200:
            one.given.headers.clear()
        else:
            one.status = status

    def on_body(self, piece: bytes) -> None:
        self.talk.open[0].given.body(piece)

    def on_message_complete(self) -> None:
        if self.talk.open[0].status:
            self.talk.open[0].given.is_whole = True
            self.talk.done.append(self.talk.open.pop(0))


class Talk:
    """One connection. `take` each event of each record; `end` when no more will come."""

    def __init__(self, room: Room, mark: Mark = FIRST) -> None:
        self.room = room
        self.mark = mark
        self.open: list[Heard] = []
        """Exchanges under way, oldest first."""
        self.done: list[Heard] = []
        self.is_closed = False
        self._seq = mark.seq
        self.requests = HttpRequestParser(_Requests(self))
        self.replies = HttpResponseParser(_Replies(self))

    def take(self, event: Any, offset: int) -> list[Heard]:
        """What is whole with this event of the record at `offset`. Raises Broken."""
        kind = event.WhichOneof("one")
        if kind == "closed":
            self.is_closed = True
            return []
        if kind is None:
            raise Broken("empty")
        told = getattr(event, kind).data
        data: bytes = told.as_bytes
        if event.seq_num < self._seq:
            return []  # done with before
        if event.seq_num != self._seq or told.truncated:
            raise Broken("gap")
        self._seq += len(data)
        self._feed(self.requests if kind == "write" else self.replies, data)
        found, self.done = self.done, []
        when = event.timestamp.seconds + event.timestamp.nanos / 1e9
        for one in (*found, *self.open):
            one.began, one.ended = one.began or when, when
        if not self.open:
            self.mark = Mark(offset, self._seq)
        return found

    def _feed(self, parser: Any, data: bytes) -> None:
        try:
            parser.feed_data(data)
        except HttpParserUpgrade:
            raise Broken("upgrade") from None
        except HttpParserError as error:
            inner = error.__context__
            raise Broken(str(inner) if isinstance(inner, Broken) else "framing") from None

    def end(self) -> list[Heard]:
        """Exchanges that will not be whole. A reply that the end of its connection ends is."""
        found, self.open = self.open, []
        for one in found:
            names = {name for name, _ in one.given.headers}
            one.given.is_whole = bool(
                self.is_closed and one.status and not names & {b"content-length", b"transfer-encoding"}
            )
        return found
