"""Server-sent events from chunks of bytes, cut anywhere.

In: chunks as they arrive. Out: events. Framing is that of the HTML standard, section 9.2: lines end in CR, LF or CRLF; one blank after
the colon is dropped; data lines join by newline; comments are keep-alives; a byte order mark at the start is dropped. Beyond
the standard, a last event that was never terminated is given by `close`, because recorded streams end where the tap ended.
It does not look into the data.

Theory of operation: `rest` holds the bytes of the line not yet ended. A chunk that ends in CR leaves the question whether LF
follows to the next one, so that CR stays in `rest`. UTF-8 is decoded line by line, therefore never in half a character. A line that outgrows the
cap moves to `long`, and the rest of it is only counted.
"""

from __future__ import annotations

import re
from typing import NamedTuple

BREAK = re.compile(rb"\r\n|\n|\r")
CAP = 8 << 20
"""Bytes of one event, and of one unfinished line, that are kept; beyond, the event is cut and says so."""


def field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a line; the name of a comment is empty."""
    name, _, value = line.partition(b":")
    return name, value[1:] if value[:1] == b" " else value


class Event(NamedTuple):
    """One event: its type ("" where none was named), its data, its id; `cut` bytes were dropped by the cap; the 1-based
    physical line of its first data."""

    name: str
    data: str
    id: str = ""
    cut: int = 0
    line: int = 0


class Events:
    """State of one stream."""

    __slots__ = ("bad", "cap", "cut", "data", "first", "id", "line", "long", "name", "number", "rest", "size")

    def __init__(self, cap: int = CAP) -> None:
        self.cap = cap
        self.rest = b""
        self.long = b""
        self.data: list[bytes] = []
        self.size = 0
        self.cut = 0
        self.name = ""
        self.id = ""
        self.first = True
        self.number = 0
        self.line = 0
        self.bad = 0
        """Lines that were not UTF-8; they are given with replacement characters."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completed."""
        held = self.rest + chunk if self.rest else chunk
        if self.first and held:
            if len(held) < 3 and b"\xef\xbb\xbf".startswith(held):
                self.rest = held
                return []
            held = held.removeprefix(b"\xef\xbb\xbf")
            self.first = False
        tail = b""
        if held.endswith(b"\r"):
            held, tail = held[:-1], b"\r"
        out: list[Event] = []
        *lines, last = BREAK.split(held)
        if self.long and lines:
            self.cut += len(lines[0])
            lines[0], self.long = self.long, b""
        for line in lines:
            self._line(line, out)
        if self.long:
            self.cut += len(last)
            last = b""
        elif len(last) > self.cap:
            self.cut += len(last) - self.cap
            self.long, last = last[: self.cap], b""
        self.rest = last + tail
        return out

    def close(self) -> list[Event]:
        """The event that the end of the stream left open, if any."""
        out: list[Event] = []
        if self.long:
            self._line(self.long, out)
            self.cut += len(self.rest)
        for line in BREAK.split(self.rest) if not self.long else ():
            if line:
                self._line(line, out)
        self.rest = self.long = b""
        self._line(b"", out)
        return out

    def _line(self, line: bytes, out: list[Event]) -> None:
        self.number += 1
        if not line:
            if self.data or self.cut:
                out.append(Event(self.name, self._text(b"\n".join(self.data)), self.id, self.cut, self.line))
            self.data, self.size, self.name, self.cut = [], 0, "", 0
            return
        key, value = field(line)
        if key == b"data":
            self.line = self.line if self.data else self.number
            room = self.cap - self.size
            if len(value) > room:
                self.cut += len(value) - max(0, room)
                value = value[: max(0, room)]
            self.size += len(value) + 1
            if value or len(self.data) < 10_000:
                self.data.append(value)
        elif key == b"event":
            self.name = self._text(value[:200])
        elif key == b"id" and b"\0" not in value:
            self.id = self._text(value[:200])

    def _text(self, value: bytes) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            self.bad += 1
            return value.decode("utf-8", "replace")


def is_stream(head: str | bytes) -> bool:
    """Whether a text begins like a recorded event stream."""
    start = (
        head[:400].lstrip() if isinstance(head, str) else head[:400].decode("utf-8", "replace").lstrip("\ufeff \r\n\t")
    )
    return START.match(start) is not None


START = re.compile(r"(?:(?::[^\r\n]*|(?:id|retry|event):[^\r\n]*)[\r\n]+){0,8}(?:data|event):")
