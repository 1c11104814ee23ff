"""Chunks of a streamed reply -> frames: raw bytes, what is said in them, and the same bytes with other text.

In: chunks as they arrive, the dialect and the content type. Out: frames whose raws joined are the bytes that came,
for any way of cutting the stream. It does not decide what to change and drops nothing by itself.

Theory of operation: a framer per content type finds where frames end and where in a frame the JSON stands;
wire/pieces.py reads it. Content type decides the framing, never a look at the bytes. What cannot be read passes as
frames without pieces and is counted as unjudged; a frame beyond the cap passes in pieces. A trailing CR waits for the
next byte, because only that tells whether LF belongs to it. Changed strings are put by wire/splice.py; where it
refuses (a key on the way stands twice, JSON that had to be mended) the decoded event is written anew, because to
leave the text unchanged would be worse.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from afterguard.model import Unjudged
from afterguard.wire import eventstream, jsonarray
from afterguard.wire.pieces import ARGUMENTS, Events, Piece, Said
from afterguard.wire.splice import Change, Cut, Put, Unspliceable, splice, steps
from afterguard.wire.sse import field

__all__ = ["CAP", "Frame", "Framer", "Piece", "framer"]

CAP = 1 << 20
"""Bytes of one frame that are held."""
Spans = Sequence[tuple[int, int, str]]
"""Character start, end, replacement; ascending, not overlapping."""
DONE = b"[DONE]"


class Form(Protocol):
    """How a kind of frame carries its JSON."""

    def body(self, frame: Frame) -> bytes: ...

    def put(self, frame: Frame, body: bytes) -> bytes: ...


class Frame(Said):
    """One frame of a stream. `raw` is what came. `reason` says why nobody could look into it, "" where somebody
    could."""

    raw: bytes = b""
    form: Form | None = None
    reason: str = ""

    def rewritten(
        self,
        texts: Mapping[int, str],
        *,
        gone: Collection[str] = (),
        puts: Sequence[tuple[str, bytes]] = (),
        spans: Mapping[int, Spans] | None = None,
    ) -> bytes:
        """The frame with other texts, by index into pieces followed by repeats.

        `gone` are slots of calls taken out, `puts` whole JSON values by place, `spans` the edits of arguments that came as
        an object and must keep their own spelling. Empty where nothing of the frame is left.
        """
        if self.form is None:
            return self.raw
        if self.is_text:
            return self.form.put(self, texts[0].encode("utf-8", "replace")) if 0 in texts else self.raw
        places = [where for slot, where in self.calls if slot in gone]
        if "" in places:
            return b""
        for where, size, is_bare in self.groups:
            cut = [place for place in places if place.startswith(where + "[")]
            if len(cut) == size:
                if is_bare:
                    return b""
                places = [place for place in places if place not in cut] + [where]
        wanted: list[Change | Put | Cut] = [Cut("response" + place) for place in places]
        wanted += self._changes(texts, spans or {}, places)
        wanted += [Put("response" + where, raw) for where, raw in puts if not _inside(where, places)]
        if not wanted:
            return self.raw
        try:
            body = splice(self.form.body(self), wanted)
        except Unspliceable:
            body = _anew(self.event, wanted)
        return self.form.put(self, body)

    def _changes(
        self, texts: Mapping[int, str], spans: Mapping[int, Spans], gone: list[str]
    ) -> list[Change | Put | Cut]:
        out: list[Change | Put | Cut] = []
        for index, text in texts.items():
            piece = self.piece(index)
            if _inside(piece.where, gone):
                continue
            where = "response" + piece.where
            if piece.kind != ARGUMENTS or type(_at(self.event, piece.where)) is str:
                out.append(Put(where, msgspec.json.encode(_clean(text))))
            elif index in spans:
                out += [Change(where, *_bytes(piece.text, start, end), new) for start, end, new in spans[index]]
            else:
                out.append(Put(where, text.encode("utf-8", "replace")))
        if texts:
            out += [Put("response" + where, raw) for where, raw in self.echoes if not _inside(where, gone)]
        return out

    def piece(self, index: int) -> Piece:
        """A piece, or behind the pieces a repeat."""
        count = len(self.pieces)
        return self.pieces[index] if index < count else self.repeats[index - count]


def _inside(where: str, places: list[str]) -> bool:
    return any(where.startswith(place) and where[len(place) : len(place) + 1] in ("", ".", "[") for place in places)


def _bytes(text: str, start: int, end: int) -> tuple[int, int]:
    first = len(text[:start].encode("utf-8", "surrogatepass"))
    return first, first + len(text[start:end].encode("utf-8", "surrogatepass"))


SURROGATES = re.compile("[\ud800-\udfff]")


def _clean(text: str) -> str:
    """The text without half characters: one replacement character each, so that lengths stay."""
    return SURROGATES.sub("\ufffd", text)


def _at(value: Any, where: str) -> Any:
    for step in steps(where):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _anew(event: Any, wanted: Sequence[Change | Put | Cut]) -> bytes:
    """The event written from its decoded values. Lists are cut from behind, so that indexes stay right."""
    try:
        holder: Any = {"": json.loads(json.dumps(event))}
        for change in sorted(wanted, key=lambda change: (isinstance(change, Cut), _order(change.where)), reverse=True):
            *path, last = ("", *steps(change.where))
            owner = holder
            for step in path:
                owner = owner[step]
            if isinstance(change, Cut):
                del owner[last]
            else:
                # A change's offsets count in a dump that splice refused to use: the arguments go rather than stay
                # unedited.
                owner[last] = msgspec.json.decode(change.raw) if isinstance(change, Put) else {}
        return json.dumps(holder[""], ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        return b"{}"


def _order(where: str) -> list[tuple[bool, int, str]]:
    return [(type(s) is int, s if type(s) is int else 0, "" if type(s) is int else str(s)) for s in steps(where)]


LONE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
STARTS = (b"{", b"[", b'"')


def _decoded(body: bytes) -> tuple[Any, bool]:
    """The JSON value, and whether it is one. Half characters, NaN and bare control characters are mended, for
    reading only."""
    try:
        return msgspec.json.decode(body), True
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        if not body.lstrip().startswith(STARTS):
            return None, False
    try:
        text = LONE.sub(rb"\\ufffd", body).decode("utf-8", "replace")
        return json.loads(text, parse_constant=lambda _: None, strict=False), True
    except (ValueError, RecursionError):
        return None, False


class Framer:
    """State of one stream: the reader of its events, and what could not be read."""

    __slots__ = ("counts", "reader")

    def __init__(self, dialect: str) -> None:
        self.reader = Events(dialect)
        self.counts: dict[str, int] = {}

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that this chunk completed."""
        raise NotImplementedError

    def close(self) -> list[Frame]:
        """What the end of the stream left over."""
        return []

    @property
    def unjudged(self) -> list[Unjudged]:
        """What passed unread so far, one row a reason."""
        return [Unjudged(reason, "response", size) for reason, size in self.counts.items()]

    def _blind(self, raw: bytes, reason: str) -> Frame:
        self.counts[reason] = self.counts.get(reason, 0) + len(raw)
        return Frame(None, raw=raw, reason=reason)

    def _read(self, raw: bytes, body: bytes, name: str, form: Form) -> Frame:
        """A frame whose data is `body`."""
        event, is_json = _decoded(body)
        if not is_json:
            return self._plain(raw, body, name, form)
        frame = Frame(event, name, raw=raw, form=form)
        if type(event) is list and event and type(event[0]) is dict and "jsonrpc" in event[0]:
            return self._marked(frame, "unknown_shape")
        return frame if self.reader.read(frame) else self._marked(frame, "unknown_shape")

    def _plain(self, raw: bytes, body: bytes, name: str, form: Form) -> Frame:
        """Data that is no JSON is text to look at, not to skip."""
        if body.strip() == DONE:
            return Frame(None, name, raw=raw, form=form, is_end=True)
        text = body.decode("utf-8", "replace")
        pieces = [Piece("plain", "text", text, "")] if text else []
        return Frame(text, name, pieces=pieces, raw=raw, form=form, is_text=True)

    def _marked(self, frame: Frame, reason: str) -> Frame:
        self.counts[reason] = self.counts.get(reason, 0) + len(frame.raw)
        frame.reason = reason
        return frame


EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
LINES = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|\Z)")
BREAKS = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"


class Sse(Framer):
    """Server-sent events. A frame ends with its blank line; comments and empty events are frames without pieces."""

    __slots__ = ("first", "held", "is_long", "seen")

    def __init__(self, dialect: str) -> None:
        super().__init__(dialect)
        self.held = bytearray()
        self.seen = 0
        self.is_long = False
        self.first = True

    def feed(self, chunk: bytes) -> list[Frame]:
        if not self.held:
            at = chunk.find(b"\n\n")
            if at >= 0 and at == len(chunk) - 2 and b"\r" not in chunk:
                return [self._frame(chunk)]
            self.held = bytearray(chunk)
        else:
            self.held += chunk
        held = self.held
        limit = len(held) - held.endswith(b"\r")
        out: list[Frame] = []
        start, at = 0, self.seen
        while (found := EVENT_END.search(held, at, limit)) is not None:
            out.append(self._frame(bytes(held[start : found.end()])))
            start = at = found.end()
        if start:
            del held[:start]
        self.seen = max(0, len(held) - 4)
        if len(held) > CAP:
            # The last bytes stay: they may be the first half of the blank line.
            out.append(self._blind(bytes(held[: self.seen]), "too_long"))
            del held[: self.seen]
            self.seen, self.is_long, self.first = 0, True, False
        return out

    def close(self) -> list[Frame]:
        raw, self.held = bytes(self.held), bytearray()
        return [self._frame(raw)] if raw else []

    def _frame(self, raw: bytes) -> Frame:
        if self.is_long:
            self.is_long = False
            return self._blind(raw, "too_long")
        if raw.startswith(b"data:") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
            self.first = False
            return self._read(raw, raw[6:-2] if raw[5:6] == b" " else raw[5:-2], "", SSE)
        lines = BREAKS.split(raw[3:] if self.first and raw.startswith(BOM) else raw)
        self.first = False
        name, data = "", []
        for line in lines:
            key, value = field(line)
            if key == b"data":
                data.append(value)
            elif key == b"event":
                name = value[:200].decode("utf-8", "replace")
        if not data:
            return Frame(None, name, raw=raw, form=SSE)
        return self._read(raw, b"\n".join(data), name, SSE)


class _SseForm:
    """Data lines of an event; several become one when the event is rewritten as JSON."""

    def body(self, frame: Frame) -> bytes:
        return b"\n".join(
            value for key, value in map(field, BREAKS.split(frame.raw.removeprefix(BOM))) if key == b"data"
        )

    def put(self, frame: Frame, body: bytes) -> bytes:
        """Line breaks of the JSON stand between its values, so a blank does as well; text keeps them as data lines."""
        head = BOM if frame.raw.startswith(BOM) else b""
        parts = BREAKS.split(body) if frame.is_text else [b" ".join(BREAKS.split(body))]
        out: list[bytes] = [head]
        is_put = False
        for line in LINES.findall(frame.raw[len(head) :]):
            content = line.rstrip(b"\r\n")
            if field(content)[0] != b"data":
                out.append(line)
            elif not is_put:
                is_put = True
                end = line[len(content) :]
                start = b"data: " if content[:6] == b"data: " or len(content) < 6 else b"data:"
                # A text that begins with a blank would lose it where none stands behind the colon.
                start = b"data: " if any(part.startswith(b" ") for part in parts) else start
                out.append((end or b"\n").join(start + part for part in parts) + end)
        return b"".join(out)


SSE = _SseForm()


class Lines(Framer):
    """Newline-delimited JSON."""

    __slots__ = ("held", "is_long", "seen")

    def __init__(self, dialect: str) -> None:
        super().__init__(dialect)
        self.held = bytearray()
        self.seen = 0
        self.is_long = False

    def feed(self, chunk: bytes) -> list[Frame]:
        held = self.held
        held += chunk
        out: list[Frame] = []
        start, at = 0, self.seen
        while (end := held.find(b"\n", at)) >= 0:
            out.append(self._frame(bytes(held[start : end + 1])))
            start = at = end + 1
        if start:
            del held[:start]
        if len(held) > CAP:
            out.append(self._blind(bytes(held), "too_long"))
            held.clear()
            self.is_long = True
        self.seen = len(held)
        return out

    def close(self) -> list[Frame]:
        raw, self.held = bytes(self.held), bytearray()
        return [self._frame(raw)] if raw else []

    def _frame(self, raw: bytes) -> Frame:
        if self.is_long:
            self.is_long = False
            return self._blind(raw, "too_long")
        body = raw.rstrip(b"\r\n")
        return self._read(raw, body, "", LINE) if body.strip() else Frame(None, raw=raw, form=LINE)


class _LineForm:
    """A line and its end."""

    def body(self, frame: Frame) -> bytes:
        return frame.raw.rstrip(b"\r\n")

    def put(self, frame: Frame, body: bytes) -> bytes:
        return b" ".join(BREAKS.split(body)) + frame.raw[len(frame.raw.rstrip(b"\r\n")) :]


LINE = _LineForm()


class Array(Framer):
    """One growing JSON array; an element and what stands before it is a frame."""

    __slots__ = ("elements",)

    def __init__(self, dialect: str) -> None:
        super().__init__(dialect)
        self.elements = jsonarray.Array(CAP)

    def feed(self, chunk: bytes) -> list[Frame]:
        return [self._frame(*element) for element in self.elements.feed(chunk)]

    def close(self) -> list[Frame]:
        out = []
        for raw, _, _ in self.elements.close():
            is_fine = self.elements.start < 0 and not raw.strip(b" \t\r\n,[]")
            frame = Frame(None, raw=raw) if is_fine else self._blind(raw, "bad_json")
            frame.is_end = is_fine and b"]" in raw
            out.append(frame)
        return out

    def _frame(self, raw: bytes, start: int, end: int) -> Frame:
        if not end:
            return self._blind(raw, "too_long")
        body = raw[start:end]
        frame = self._read(raw, body, "", _ArrayForm(start))
        if frame.is_text or raw[:start].strip(b" \t\r\n,[\xef\xbb\xbf"):
            # No text frame stands among elements of JSON: such bytes cannot be put back safely.
            return self._blind(raw, "bad_json")
        return frame


class _ArrayForm:
    """An element behind its comma. It is never taken out whole, so commas stay right."""

    __slots__ = ("start",)

    def __init__(self, start: int) -> None:
        self.start = start

    def body(self, frame: Frame) -> bytes:
        return frame.raw[self.start :]

    def put(self, frame: Frame, body: bytes) -> bytes:
        return frame.raw[: self.start] + body


class Binary(Framer):
    """Amazon's event stream: Converse payloads, or a model's own events in base64 (InvokeModel)."""

    __slots__ = ("messages",)

    def __init__(self, dialect: str) -> None:
        super().__init__(dialect)
        self.messages = eventstream.Messages(CAP)

    def feed(self, chunk: bytes) -> list[Frame]:
        return [self._frame(message) for message in self.messages.feed(chunk)]

    def close(self) -> list[Frame]:
        return [self._frame(message) for message in self.messages.close()]

    def _frame(self, message: eventstream.Message) -> Frame:
        if message.bad:
            return self._blind(message.raw, message.bad)
        headers = eventstream.parse(message.headers)
        name = headers.get(":event-type") or headers.get(":exception-type", "")
        if not message.payload:
            return Frame(None, name, raw=message.raw)
        if headers.get(":message-type", "event") != "event":
            return Frame(None, name, raw=message.raw, is_end=True)
        outer, is_json = _decoded(message.payload)
        inner = outer.get("bytes") if type(outer) is dict else None
        if type(inner) is str:
            try:
                body = b64decode(inner, validate=True)
            except ValueError:
                return self._blind(message.raw, "bad_encoding")
            return self._read(message.raw, body, name, _Binary(message, is_inner=True))
        if not is_json:
            return self._blind(message.raw, "bad_json")
        return self._read(message.raw, message.payload, name, _Binary(message, is_inner=False))


class _Binary:
    """A message's payload, or the event in it; headers keep their bytes, checksums are made anew."""

    __slots__ = ("is_inner", "message")

    def __init__(self, message: eventstream.Message, is_inner: bool) -> None:
        self.message = message
        self.is_inner = is_inner

    def body(self, frame: Frame) -> bytes:
        if not self.is_inner:
            return self.message.payload
        return b64decode(_decoded(self.message.payload)[0]["bytes"])

    def put(self, frame: Frame, body: bytes) -> bytes:
        if self.is_inner:
            put = [Put("response.bytes", msgspec.json.encode(b64encode(body).decode()))]
            try:
                body = splice(self.message.payload, put)
            except Unspliceable:
                body = _anew(_decoded(self.message.payload)[0], put)
        return eventstream.encode(self.message.headers, body)


class Opaque(Framer):
    """A stream nobody can read: it passes as it comes and is counted."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> list[Frame]:
        return [self._blind(chunk, "unknown_stream")] if chunk else []


FRAMERS: dict[str, type[Framer]] = {
    "text/event-stream": Sse,
    "application/x-ndjson": Lines,
    "application/ndjson": Lines,
    "application/jsonl": Lines,
    "application/x-jsonlines": Lines,
    "application/json-lines": Lines,
    "application/stream+json": Lines,
    "application/vnd.amazon.eventstream": Binary,
}


def framer(dialect: str, content_type: str) -> Framer:
    """The framer of a reply. `dialect` is an endpoint's: openai responses anthropic gemini converse invoke ollama
    mcp plain."""
    kind = content_type.partition(";")[0].strip().lower()
    found = FRAMERS.get(kind)
    if found is None and kind == "application/json":
        found = Array if dialect == "gemini" else Lines if dialect == "ollama" else None
    return (found or Opaque)(dialect)
