"""ICAP (RFC 3507) as a server hears it: bytes of one connection become events, what the server says becomes bytes.

In: bytes as they come, cut anywhere. Out: `Head`, `Data`, `Preview`, `End`; and the other way the heads and chunks of a reply. It opens nothing, waits for nothing and keeps no body.

Theory of operation. A request is an ICAP head, then the encapsulated HTTP heads whose places the header Encapsulated says, then perhaps one chunked body. A body may come as a preview first: its
end is a `Preview`. Where that was not the whole (no `ieof`) the server chooses: `resume` after 100 Continue, and the rest follows; or `finish`, and the next request follows. Whatever can be read in
two ways is refused with `BadIcap`: two Encapsulated, offsets that do not fall on the end of a head, a preview longer than promised, bare line ends, names that are no tokens. After that the
connection can not be read any further.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]
HEAD_CAP = 64 << 10
"""Bytes of an ICAP head."""
HTTP_CAP = 256 << 10
"""Bytes of the encapsulated HTTP heads together."""
LINE_CAP = 4 << 10
"""Bytes of a chunk's size with its extensions."""
TRAILER_CAP = 16 << 10
PREVIEW_CAP = 64 << 10
NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")
NUMBER = re.compile(rb"[0-9]{1,9}\Z")
SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\r\n]*)?\Z")
REQUEST = re.compile(rb"([A-Z]{1,32}) (icaps?://[\x21-\x7e]{1,8000}|\*) ICAP/(\d\.\d)\Z")
IEOF = re.compile(rb";[ \t]*ieof[ \t]*(?:;|\Z)")
ORDERS = {
    "REQMOD": (("req-hdr",), ("req-body", "null-body")),
    "RESPMOD": (("req-hdr", "res-hdr"), ("res-body", "null-body")),
    "OPTIONS": ((), ("opt-body", "null-body")),
}
"""Sections a method may have, in this order, and what may close them. Heads of RESPMOD may be missing."""
REASONS = {
    100: "Continue", 200: "OK", 204: "No Content", 400: "Bad Request", 403: "Forbidden", 404: "Service Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 500: "Server Error", 503: "Service Overloaded",
    505: "Version Not Supported",
}  # fmt: skip
LAST = b"0\r\n\r\n"
CONTINUE = b"ICAP/1.0 100 Continue\r\n\r\n"


class BadIcap(ValueError):
    """What cannot be read, in a few words, and the status to say it with."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class Http(NamedTuple):
    """The head of an encapsulated HTTP message."""

    line: bytes
    headers: Headers
    """Names as they were written."""

    def get(self, name: bytes) -> bytes:
        """The first value of a header, named in lower case."""
        return next((value for key, value in self.headers if key.lower() == name), b"")

    def without(self, *names: bytes) -> Http:
        """Less some headers, named in lower case."""
        return Http(self.line, [(key, value) for key, value in self.headers if key.lower() not in names])

    def plus(self, *more: tuple[bytes, bytes]) -> Http:
        """With more headers."""
        return Http(self.line, [*self.headers, *more])

    def __bytes__(self) -> bytes:
        rows = b"".join(b"%s: %s\r\n" % row for row in self.headers)
        return self.line + b"\r\n" + rows + b"\r\n"


class Head(NamedTuple):
    """The beginning of a request."""

    method: str
    uri: str
    headers: dict[bytes, bytes]
    """Of ICAP, names in lower case; values of one name joined with a comma."""
    request: Http | None
    response: Http | None
    has_body: bool
    preview: int
    """Bytes of the preview, -1 where the body comes at once."""
    raw: tuple[bytes, bytes] = (b"", b"")
    """The ICAP head and the encapsulated heads as they came, for whoever sends them on."""

    def allows(self, what: bytes) -> bool:
        """Whether the header Allow names it: 204, 206, trailers."""
        return what in [one.strip().lower() for one in self.headers.get(b"allow", b"").split(b",")]


class Data(NamedTuple):
    """A piece of the body."""

    value: bytes


class Preview(NamedTuple):
    """The preview has ended. Where it was the whole body an `End` follows at once; else the server must `resume` or `finish`."""

    is_whole: bool


class End(NamedTuple):
    """The body has ended; also where there was none."""

    trailers: Headers


Event = Head | Data | Preview | End


class Receiver:
    """What comes over one connection. `feed` and `resume` raise BadIcap, and then nothing more is read."""

    def __init__(self) -> None:
        self._broken: BadIcap | None = None
        self._buffer = bytearray()
        self._step = self._head
        self._left = 0
        self._preview = -1
        self._size = 0
        self._in_preview = False
        self._seen = 0
        """Bytes of the buffer in which the end of a line was looked for in vain."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way and nothing of one has come."""
        return self._step == self._head and not self._buffer

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes say. Requests behind the one under way wait until it has ended."""
        self._buffer += data
        return self.more()

    def more(self) -> list[Event]:
        """What the bytes that are already here say: of one request at most."""
        self.check()
        out: list[Event] = []
        while True:
            try:
                event = self._step()
            except BadIcap as error:
                if not out:
                    raise
                # What stands before it is told first, as if it had come in a piece of its own.
                self._broken = error
                return out
            if event is None:
                return out
            out += event
            if event and isinstance(event[-1], End):
                return out

    def check(self) -> None:
        """Raise what is wrong behind the events that were told last."""
        if self._broken is not None:
            raise self._broken

    def resume(self) -> list[Event]:
        """The server has said 100 Continue: what follows of the body."""
        self._in_preview = False
        self._step = self._chunk
        return self.more()

    def finish(self) -> None:
        """The server has answered to the preview: the rest of the body will not come."""
        self._step = self._head

    # Steps: each takes what it needs from the buffer and says what it was, [] for nothing to tell, None where more has to come.

    def _head(self) -> list[Event] | None:
        while self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
        block = self._until(b"\r\n\r\n", HEAD_CAP, "the ICAP head is too long")
        if block is None:
            return None
        self._raw = block
        line, _, rest = block.partition(b"\r\n")
        found = REQUEST.match(line)
        if not found:
            raise BadIcap("this is no ICAP request line")
        if found[3] != b"1.0":
            raise BadIcap("another version of ICAP than 1.0", 505)
        self._heads = (found[1].decode(), found[2].decode(), _joined(_fields(rest)))
        method, _, headers = self._heads
        if method not in ORDERS:
            raise BadIcap("a method other than OPTIONS, REQMOD and RESPMOD", 405)
        preview = headers.get(b"preview", b"")
        if preview and not (NUMBER.match(preview) and int(preview) <= PREVIEW_CAP):
            raise BadIcap("Preview is no number, or larger than anybody offers")
        self._preview = int(preview) if preview else -1
        self._sections = sections(method, headers.get(b"encapsulated", b""))
        self._left = self._sections[-1][1]
        self._step = self._http
        return []

    def _http(self) -> list[Event] | None:
        if len(self._buffer) < self._left:
            return None
        block = self._take(self._left)
        found: dict[str, Http] = {}
        for (name, start), (_, stop) in pairwise(self._sections):
            found[name] = http(block[start:stop])
        has_body = self._sections[-1][0] != "null-body"
        method, uri, headers = self._heads
        raw = (self._raw, block)
        head = Head(method, uri, headers, found.get("req-hdr"), found.get("res-hdr"), has_body, self._preview, raw)
        if not has_body:
            self._step = self._head
            return [head, End([])]
        self._in_preview = self._preview >= 0
        self._size = 0
        self._step = self._chunk
        return [head]

    def _chunk(self) -> list[Event] | None:
        line = self._until(b"\r\n", LINE_CAP, "the size of a chunk is too long")
        if line is None:
            return None
        found = SIZE.match(line)
        if not found:
            raise BadIcap("this is no size of a chunk")
        size = int(found[1], 16)
        if size:
            self._left = size
            self._size += size
            if self._in_preview and self._size > self._preview:
                raise BadIcap("the preview is longer than it was said to be")
            self._step = self._data
            return []
        self._is_whole = bool(found[2] and IEOF.search(found[2]))
        if self._is_whole and not self._in_preview:
            raise BadIcap("ieof outside a preview")
        self._trailer_size = 0
        self._trailers: list[bytes] = []
        self._step = self._trailer
        return []

    def _data(self) -> list[Event] | None:
        if not self._buffer:
            return None
        piece = self._take(min(self._left, len(self._buffer)))
        self._left -= len(piece)
        if not self._left:
            self._step = self._behind
        return [Data(piece)]

    def _behind(self) -> list[Event] | None:
        if len(self._buffer) < 2:
            return None
        if self._take(2) != b"\r\n":
            raise BadIcap("a chunk is longer than its size")
        self._step = self._chunk
        return []

    def _trailer(self) -> list[Event] | None:
        line = self._until(b"\r\n", TRAILER_CAP - self._trailer_size, "the trailers are too long")
        if line is None:
            return None
        if line:
            self._trailer_size += len(line) + 2
            self._trailers.append(line)
            return []
        trailers = _fields(b"\r\n".join(self._trailers))
        if not self._in_preview:
            self._step = self._head
            return [End(trailers)]
        if self._is_whole:
            self._step = self._head
            return [Preview(True), End(trailers)]
        self._step = self._wait
        return [Preview(False)]

    def _wait(self) -> list[Event] | None:
        if len(self._buffer) > HEAD_CAP:
            raise BadIcap("more after a preview that nobody asked for")
        return None

    def _until(self, end: bytes, cap: int, why: str) -> bytes | None:
        at = self._buffer.find(end, max(0, self._seen - len(end)))
        if at > cap or (at < 0 and len(self._buffer) > cap + len(end)):
            raise BadIcap(why)
        if at < 0:
            self._seen = len(self._buffer)
            return None
        found = self._take(at)
        del self._buffer[: len(end)]
        return found

    def _take(self, size: int) -> bytes:
        self._seen = 0
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found


def sections(method: str, value: bytes) -> list[tuple[str, int]]:
    """The header Encapsulated as (section, where it begins). Raises BadIcap."""
    if not value:
        if method == "OPTIONS":
            return [("null-body", 0)]
        raise BadIcap("no Encapsulated")
    out = []
    for part in value.split(b","):
        name, _, at = part.strip().partition(b"=")
        if not NUMBER.match(at.strip()):
            raise BadIcap("an offset of Encapsulated is no number")
        out.append((name.strip().lower().decode("latin-1"), int(at)))
    heads, bodies = ORDERS[method]
    names = [name for name, _ in out]
    places = [heads.index(name) for name in names[:-1] if name in heads]
    if len(places) != len(names) - 1 or places != sorted(set(places)) or names[-1] not in bodies:
        raise BadIcap(f"Encapsulated does not fit {method}")
    if method == "REQMOD" and not places:
        raise BadIcap("REQMOD without the head of a request")
    starts = [at for _, at in out]
    if starts[0] != 0 or any(one >= two for one, two in pairwise(starts)):
        raise BadIcap("the offsets of Encapsulated do not grow from 0")
    if starts[-1] > HTTP_CAP:
        raise BadIcap("the encapsulated heads are too long")
    return out


def http(block: bytes) -> Http:
    """An encapsulated head, which ends exactly where it was said to. Raises BadIcap."""
    if block.find(b"\r\n\r\n") != len(block) - 4:
        raise BadIcap("an offset of Encapsulated does not fall on the end of a head")
    line, _, rest = block[:-4].partition(b"\r\n")
    if not line or b"\n" in line or b"\r" in line or b"\0" in line:
        raise BadIcap("an encapsulated head begins with no line")
    return Http(line, _fields(rest))


def _fields(block: bytes) -> Headers:
    """Header lines. Raises BadIcap."""
    out = []
    for line in block.split(b"\r\n") if block else ():
        name, colon, value = line.partition(b":")
        if not colon or not NAME.match(name) or b"\n" in value or b"\r" in value or b"\0" in value:
            raise BadIcap("a line of a head is no header")
        out.append((name, value.strip(b" \t")))
    return out


def _joined(rows: Headers) -> dict[bytes, bytes]:
    out: dict[bytes, bytes] = {}
    for name, value in rows:
        key = name.lower()
        if key in out and key in (b"encapsulated", b"preview"):
            raise BadIcap(f"two headers {key.decode()}")
        out[key] = out[key] + b", " + value if key in out else value
    return out


# What the server says.


def reply(
    status: int,
    headers: Iterable[tuple[bytes, bytes]] = (),
    message: Http | None = None,
    *,
    kind: str = "",
    has_body: bool = False,
) -> bytes:
    """The head of a reply. `kind` is req or res, whose head `message` is; where it `has_body`, chunks follow."""
    rows = list(headers)
    block = b""
    if message is not None:
        block = bytes(message)
        body = f"{kind}-body" if has_body else "null-body"
        rows.append((b"Encapsulated", f"{kind}-hdr=0, {body}={len(block)}".encode()))
    elif status == 200 or status >= 400:
        rows.append((b"Encapsulated", b"null-body=0"))
    line = f"ICAP/1.0 {status} {REASONS.get(status, 'Other')}".encode()
    return bytes(Http(line, rows)) + block


def chunk(data: bytes) -> bytes:
    """A piece of a body; nothing for nothing, which would be its end."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def body(data: bytes | Sequence[bytes]) -> bytes:
    """A whole body."""
    pieces = [data] if isinstance(data, bytes) else data
    return b"".join((*(chunk(piece) for piece in pieces), LAST))
