"""One growing JSON array from chunks of bytes, cut anywhere: Gemini's stream without `alt=sse`.

In: chunks as they arrive. Out: (raw bytes, start, end) for each element that is an object or a list: the element is
raw[start:end], what stands before it in raw is the comma and blanks since the element before. It decodes nothing and
does not insist on valid JSON: brackets and strings are enough to know where an element ends. A document that is no
array is one element.

An element above the cap passes in pieces with start = end = 0, as does what follows the last element.
"""

from __future__ import annotations

import re

TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\]]', re.DOTALL)
IN_STRING = re.compile(rb'["\\]')
Element = tuple[bytes, int, int]


class Array:
    """State of one stream."""

    __slots__ = ("base", "cap", "depth", "held", "is_long", "is_string", "seen", "start")

    def __init__(self, cap: int = 1 << 20) -> None:
        self.cap = cap
        self.held = bytearray()
        self.seen = 0
        self.depth = 0
        self.base = -1
        """Depth at which elements stand: 1 in an array, 0 in any other document, -1 before the first bracket."""
        self.start = -1
        """Where the element began in `held`, -1 outside of one."""
        self.is_string = False
        self.is_long = False

    def feed(self, chunk: bytes) -> list[Element]:
        """The elements that this chunk completed."""
        self.held += chunk
        out: list[Element] = []
        while True:
            end = self._end()
            if end < 0:
                break
            self._give(end, out)
        if len(self.held) > self.cap:
            self.is_long = self.start >= 0
            out.append((bytes(self.held[: self.seen]), 0, 0))
            del self.held[: self.seen]
            self.seen, self.start = 0, 0 if self.is_long else -1
        return out

    def _give(self, end: int, out: list[Element]) -> None:
        raw = bytes(self.held[:end])
        del self.held[:end]
        out.append((raw, 0, 0) if self.is_long else (raw, self.start, end))
        self.seen, self.start, self.is_long = 0, -1, False

    def close(self) -> list[Element]:
        """What is left: the closing bracket, and an element that was never finished."""
        rest, self.held, self.seen = bytes(self.held), bytearray(), 0
        return [(rest, 0, 0)] if rest else []

    def _end(self) -> int:
        """The end of the element being read, -1 where it is not there yet. `seen` says how far the bytes are
        understood."""
        held = self.held
        while True:
            if self.is_string:
                found = IN_STRING.search(held, self.seen)
                if found is None:
                    self.seen = len(held)
                    return -1
                if found.group() == b"\\":
                    if found.end() == len(held):
                        self.seen = found.start()
                        return -1
                    self.seen = found.end() + 1
                    continue
                self.is_string, self.seen = False, found.end()
                continue
            found = TOKEN.search(held, self.seen)
            if found is None:
                self.seen = len(held)
                return -1
            self.seen = found.end()
            token = held[found.start()]
            if token == 0x22:
                self.is_string = found.end() - found.start() == 1
            elif token in b"{[":
                self._open(token, found.start())
            elif self._close():
                return self.seen

    def _open(self, token: int, at: int) -> None:
        if self.base < 0:
            self.base = 1 if token == 0x5B else 0
            if self.base:
                self.depth = 1
                return
        if self.depth == self.base:
            self.start = at
        self.depth += 1

    def _close(self) -> bool:
        """Whether this bracket ends an element."""
        if self.depth > 0:
            self.depth -= 1
        return self.depth == self.base and self.start >= 0
