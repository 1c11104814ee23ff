"""The elements of a huge JSON array, one at a time, in bounded memory.

In: chunks of bytes. Out: the bytes of each element with its physical line. It does not decode them. It also takes several values
written one after the other, pretty-printed or not.

Theory of operation: only strings and brackets matter. One regular expression eats whole strings and stops at brackets; a string
that the chunk leaves open is scanned again when more has come. An element that outgrows the cap is dropped while its brackets
are still counted, so that the next element is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{}]', re.DOTALL)
STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


DEPTH = 10_000
"""Brackets inside each other beyond which a document is an attack on its reader."""


class Element(NamedTuple):
    """One element: 1-based physical line, its bytes; `cut` > 0: bytes of an over-long one, data empty."""

    line: int
    data: bytes
    cut: int = 0


class Splitter:
    """State of one document. `level` 1 gives the elements of the outermost array, 0 whole values."""

    def __init__(self, cap: int, level: int = 1) -> None:
        self.cap = cap
        self.level = level
        self.depth = 0
        self.held = b""
        self.at = 0
        self.base = 0
        self.start = -1
        self.line = 1
        self.dropped = 0
        self.in_string = False
        self.is_closed = False
        self.gave_up = False
        """Whether the rest was left unread because of its depth."""
        self.strays = 0
        """Strings that are elements by themselves."""

    def feed(self, chunk: bytes) -> Iterator[Element]:
        """The elements that this chunk completed."""
        if self.is_closed:
            return
        self.held += chunk
        if self.in_string and not self._leave_string():
            return
        done = 0
        counted = 0
        while not self.is_closed:
            found = TOKEN.search(self.held, self.at)
            if not found:
                self.at = max(self.at, len(self.held))
                break
            token = found.group()
            if token == b'"':
                self.at = found.start()
                break
            self.at = found.end()
            if len(token) > 1:
                self.strays += self.start < 0
                continue
            if token in b"{[":
                if self.depth == 0 and token == b"[" and self.level == 1:
                    self.depth = 1
                    continue
                if self.start < 0:
                    self.line += self.held.count(b"\n", counted, found.start())
                    counted = self.start = found.start()
                    self.base = self.depth
                self.depth += 1
                if self.depth > DEPTH:
                    yield Element(self.line, b"", self.dropped + len(self.held) - self.start)
                    self.start, self.dropped, self.is_closed, self.gave_up = -1, 0, True, True
                continue
            self.depth -= 1
            if self.start >= 0 and self.depth <= self.base:
                yield self._element(found.end())
                done = found.end()
            self.is_closed = self.depth < 0
            self.depth = max(0, self.depth)
        self._forget(done, counted)

    def _element(self, end: int) -> Element:
        line, data, dropped = self.line, self.held[self.start : end], self.dropped
        self.start, self.dropped = -1, 0
        if dropped or len(data) > self.cap:
            return Element(line, b"", dropped + len(data))
        return Element(line, data)

    def _forget(self, done: int, counted: int) -> None:
        """Drop what is done with, and an element that has outgrown the cap."""
        if self.is_closed:
            self.held, self.at = b"", 0
            return
        keep = self.start if self.start >= 0 else self.at
        self.line += self.held.count(b"\n", counted, keep) if keep > counted else 0
        self.held = self.held[keep:]
        self.at -= keep
        if self.start >= 0:
            self.start = 0
        if len(self.held) <= self.cap:
            return
        if self.at < len(self.held):
            self.in_string = True
            self.at += 1
            tail = self.held[self.at :]
            odd = (len(tail) - len(tail.rstrip(b"\\"))) % 2
            self.dropped += len(self.held) - odd
            self.held, self.at = self.held[len(self.held) - odd :], 0
        else:
            self.dropped += len(self.held)
            self.held, self.at = b"", 0

    def _leave_string(self) -> bool:
        """Whether the string whose beginning was dropped ends in what is held."""
        found = STRING_END.match(self.held)
        if found:
            self.in_string = False
            self.at = found.end()
            return True
        odd = (len(self.held) - len(self.held.rstrip(b"\\"))) % 2
        self.dropped += len(self.held) - odd
        self.held = self.held[len(self.held) - odd :]
        return False

    def close(self) -> Iterator[Element]:
        """What the end left open: an element cut off in the middle, as over-long with its size."""
        if self.start >= 0 or self.dropped:
            yield Element(self.line, b"", self.dropped + len(self.held))
        self.start, self.held, self.dropped = -1, b"", 0
