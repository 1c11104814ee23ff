"""Any recorded log -> Exchange, streaming, in flat memory.

In: a path and the name it is reported under. Out: Exchanges in the order of the log; a record that exists but could not be read
comes as an Exchange of protocol "unknown" with its reason in `unjudged`, and a whole file that could not be read as a Coverage
row. It never holds more than one record, plus the replies whose stream is still open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from afterguard import files
from afterguard.model import Coverage, Exchange
from afterguard.tap import bodies, parquet, rows, table
from afterguard.tap import mapping as maps
from afterguard.tap.decode import Broken, decode, embedded
from afterguard.tap.fragments import Fragments, finish
from afterguard.tap.record import Place, exchanges, unknown
from afterguard.tap.splitter import Splitter
from afterguard.tap.when import When, when
from afterguard.wire.deltas import Deltas
from afterguard.wire.parts import Parts
from afterguard.wire.sse import Events, is_stream

HEAD = 256 << 10
WHOLE = 16 << 20
"""Bytes of a single JSON document that is decoded at once; a larger one is read element by element."""
BLOCK = 1 << 20
MESSAGE = re.compile(rb'\s*\[\s*\{\s*"(?:role|from)"\s*:')
CONTAINER = re.compile(
    rb'"(?:resourceSpans|resource_spans|resourceLogs|entries|Records|records|traces|observations|runs|data|items|results|logs|events'
    rb'|conversations|exchanges|samples|rows|value)"\s*:\s*\['
)


def recognise(path: str, head: bytes) -> str:
    """The format of a log from its first (unpacked) bytes: empty parquet binary sse jsonl json messages table unknown.
    The name decides only between a table and loose text."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        return "empty"
    if head[:4] == b"PAR1":
        return "parquet"
    if text[:1] in (b"{", b"["):
        return _json_kind(text)
    if is_stream(head):
        return "sse"
    if b"\0" in head[:4096]:
        return "binary"
    if table.is_table(path, head):
        return "table"
    lines = [embedded(line.strip())[1] for line in text.split(b"\n")[:50]]
    return "jsonl" if any(_is_record(line) for line in lines if line[:1] in (b"{", b"[")) else "unknown"


def _json_kind(text: bytes) -> str:
    """Line by line, or one document over many lines."""
    first, newline, rest = text.partition(b"\n")
    if not newline and len(text) >= HEAD:
        return "jsonl" if MESSAGE.match(text) or (text[:1] == b"{" and not CONTAINER.search(text)) else "json"
    if first.strip() in (b"[", b"{"):
        return "messages" if MESSAGE.match(text) else "json"
    if not rest.strip() and text[:1] == b"[" and not MESSAGE.match(text):
        return "json"
    if any(_is_record(line) for line in [first, *rest.split(b"\n", 20)[:20]] if line[:1] in (b"{", b"[")):
        return "jsonl"
    if first.rstrip()[-1:] in (b",", b"[", b"{", b":") and len(rest.strip()) > 0:
        return "messages" if MESSAGE.match(text) else "json"
    return "jsonl"


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(decode(line)[0], (dict, list))
    except Broken:
        return False


class Peeked:
    """A stream whose first bytes were already looked at."""

    def __init__(self, head: bytes, inner: IO[bytes]) -> None:
        self.head, self.inner = head, inner

    def read(self, size: int = -1) -> bytes:
        if self.head:
            out, self.head = self.head[: size if size >= 0 else None], self.head[size:] if size >= 0 else b""
            return out
        return self.inner.read(size)


def read(
    path: Path,
    name: str,
    note: files.Note,
    *,
    mapping: maps.Mapping | None = None,
    limits: files.Limits = files.DEFAULT,
) -> Iterator[Exchange]:
    """Exchanges of one log. Nothing is raised for bad content; a file that cannot be opened is noted."""
    try:
        stream = files.open_stream(path, name, note, limits)
    except OSError as error:
        note(Coverage(name, "unreadable", error.strerror or str(error)))
        return
    noted: list[str] = []

    def remember(row: Coverage) -> None:
        noted.append(row.reason)
        note(row)

    count = 0
    with stream:
        try:
            for count, found in enumerate(_read(path, name, remember, stream, mapping, limits), 1):  # noqa: B007
                yield found
        except OSError as error:
            remember(Coverage(name, "unreadable", error.strerror or str(error)))
    if not count and not noted:
        note(Coverage(name, "unsupported", "no records in it"))


def _read(
    path: Path, name: str, note: files.Note, stream: IO[bytes], mapping: maps.Mapping | None, limits: files.Limits
) -> Iterator[Exchange]:
    head = _head(stream)
    kind = recognise(name, head)
    whole: IO[bytes] = Peeked(head, stream)  # type: ignore[assignment]
    found: Iterator[tuple[Any, Place]]
    if kind == "empty":
        note(Coverage(name, "unsupported", "the log is empty"))
        return
    if kind in ("binary", "unknown"):
        note(
            Coverage(
                name, "binary" if kind == "binary" else "unsupported", "no known log format; --map describes others"
            )
        )
        return
    if kind == "sse":
        yield from _streams(whole, name)
        return
    if kind == "parquet":
        found = ((row, Place(name, number, len(row) * 16)) for number, row in parquet.rows(path, name, note))
    elif kind == "table":
        found = _table(whole, name, head, limits, is_mapped=mapping is not None)
    elif kind == "jsonl":
        found = _lines(whole, name, limits)
    else:
        found = _document(whole, name, limits, kind)
    yield from _mapped(found, mapping) if mapping else _records(found, name, note)


def _head(stream: IO[bytes]) -> bytes:
    """The first HEAD bytes; a packed stream may give them in pieces."""
    head = b""
    while len(head) < HEAD:
        more = stream.read(HEAD - len(head))
        if not more:
            break
        head += more
    return head


def _mapped(found: Iterator[tuple[Any, Place]], mapping: maps.Mapping) -> Iterator[Exchange]:
    for record, place in found:
        if isinstance(record, Broken):
            yield unknown(place, str(record))
        else:
            yield from maps.exchanges(mapping, record, place)


def _records(found: Iterator[tuple[Any, Place]], name: str, note: files.Note) -> Iterator[Exchange]:
    fragments = Fragments()
    others = 0
    for record, place in found:
        if isinstance(record, Broken):
            yield unknown(place, str(record))
        elif isinstance(record, Exchange):
            yield record
        elif fragments.takes(record):
            yield from fragments.feed(record, place)
        else:
            for one in exchanges(record, place):
                if one is None:
                    others += 1
                else:
                    yield one
    yield from fragments.close()
    if others:
        note(Coverage(name, "excluded", "requests or spans that speak of no AI", count=others))


def _decoded(data: bytes, place: Place, last: bool = False) -> tuple[Any, Place]:
    try:
        record, mended = decode(data)
        return record, place._replace(mended=mended) if mended else place
    except Broken as broken:
        return (Broken("truncated") if last else broken), place


def _lines(stream: IO[bytes], name: str, limits: files.Limits) -> Iterator[tuple[Any, Place]]:
    """Records a line each; a broken last line that does not end like a record was cut off."""
    broken: tuple[Any, Place] | None = None
    is_open = False
    for number, data, cut in files.lines(stream, limits.line_bytes):
        if broken:
            yield broken
            broken = None
        if cut:
            yield Broken("too_long"), Place(name, number, cut)
        elif data and not data.isspace():
            prefix = b""
            if data[:1] != b"{":
                prefix, data = embedded(data.strip())
            found = _decoded(data, Place(name, number, len(data), moment=_moment(prefix)))
            if isinstance(found[0], Broken):
                broken, is_open = found, data[:1] in (b"{", b"[") and data.rstrip()[-1:] not in (b"}", b"]")
            else:
                yield found
    if broken:
        yield (Broken("truncated") if is_open else broken[0]), broken[1]


def _moment(prefix: bytes) -> When | None:
    """The time before a line's JSON: its first one or two words."""
    words = prefix.decode("utf-8", "replace").strip("[ ").split()[:2] if prefix else []
    tried = (when(" ".join(words[:end]).strip("[],:")) for end in range(len(words), 0, -1))
    return next((found for found in tried if found), None)


def _table(
    stream: IO[bytes], name: str, head: bytes, limits: files.Limits, is_mapped: bool
) -> Iterator[tuple[Any, Place]]:
    """Rows as objects; rows of a table of predictions as finished Exchanges."""
    names: list[str] = []
    plan: rows.Plan | None = None
    is_first = True
    for line, cells, size in table.rows(stream, head, limits.line_bytes):
        place = Place(name, line, size)
        if cells is None:
            yield Broken("unknown_shape"), place
        elif not line:
            names = cells
        else:
            if is_first:
                plan = rows.Plan(names)
                plan, is_first = plan if not is_mapped and plan.fits(cells) else None, False
            yield plan.exchange(cells, place) if plan else table.record(names, cells), place


def _document(stream: IO[bytes], name: str, limits: files.Limits, kind: str) -> Iterator[tuple[Any, Place]]:
    """One JSON document: whole where it is small, else its elements."""
    start = b""
    while len(start) <= WHOLE:
        more = stream.read(BLOCK)
        if not more:
            break
        start += more
    is_array = start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
    if len(start) <= WHOLE and (kind == "messages" or not is_array):
        record, place = _decoded(start, Place(name, 1, len(start)), last=True)
        if not isinstance(record, Broken) or kind == "messages":
            yield record, place
            return
    inside = None if is_array else CONTAINER.search(start)
    skipped = start.count(b"\n", 0, inside.end()) if inside and len(start) > WHOLE else 0
    level = 1 if is_array or skipped or (inside and len(start) > WHOLE) else 0
    if inside and len(start) > WHOLE:
        start = start[inside.end() - 1 :]
    yield from _elements(start, stream, name, Splitter(limits.line_bytes, level), skipped)


def _elements(
    start: bytes, stream: IO[bytes], name: str, splitter: Splitter, skipped: int
) -> Iterator[tuple[Any, Place]]:
    chunk = start
    while chunk:
        for line, data, cut in splitter.feed(chunk):
            place = Place(name, line + skipped, cut or len(data))
            yield (Broken("too_long"), place) if cut else _decoded(data, place)
        chunk = b"" if splitter.is_closed else stream.read(BLOCK)
    for line, _, cut in splitter.close():
        yield Broken("truncated"), Place(name, line + skipped, cut)
    if splitter.gave_up:
        yield Broken("truncated"), Place(name, splitter.line + skipped, 0)
    if splitter.strays:
        yield Broken("unknown_shape"), Place(name, 1, splitter.strays)


def _streams(stream: IO[bytes], name: str) -> Iterator[Exchange]:
    """A capture of one event stream or several after each other."""
    events, grown, parts, line, size = Events(), Deltas(), Parts(), 1, 0
    ended = False
    while not ended:
        chunk = stream.read(BLOCK)
        ended = not chunk
        for event in events.feed(chunk) if chunk else events.close():
            if grown.is_done and event.data.strip() == "[DONE]":
                continue
            if size and _begins_anew(grown, event.data):
                yield finish(grown, Place(name, line, size), {})
                grown, line, size = Deltas(), event.line, 0
            bodies.take(grown, event.data, parts, "response")
            size += len(event.data)
            if event.cut:
                yield unknown(Place(name, event.line, event.cut), "too_long")
        for row in parts.unjudged:
            yield unknown(Place(name, line, row.bytes), row.reason)
        parts = Parts()
    if size:
        yield finish(grown, Place(name, line, size), {})


def _begins_anew(grown: Deltas, data: str) -> bool:
    if grown.is_done:
        return True
    if data[:1] != "{":
        return False
    try:
        value = decode(data.encode("utf-8", "replace"))[0]
    except Broken:
        return False
    return isinstance(value, dict) and grown.begins_anew(value)
