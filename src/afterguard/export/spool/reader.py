"""A lane read in order, from a cursor on, while somebody else appends.

In: a Log and the lock that guards it. Out: records, and how many are missing: the gaps in the sequence numbers that are no holes. What is damaged is passed over. Only one thread reads. It acknowledges nothing: what
was read and not acknowledged is read again after `rewind`.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from afterguard.export.spool.log import HEADER, Log, Segment, is_of_this_boot
from afterguard.export.spool.record import HEAD, LONGEST, Record, find

CHUNK = 256 << 10


class Place(NamedTuple):
    """What is known of the segment that holds the expected record, at one moment."""

    segment: Segment
    end: int
    """Bytes of it that may be read."""
    is_done: bool
    """Nobody appends to it any more."""
    until: int
    """The sequence number behind its last."""


class Reader:
    """A place in a lane."""

    def __init__(self, log: Log, lock: threading.Lock, cursor: int) -> None:
        self._log, self._lock = log, lock
        self.missing = 0
        """Records that were damaged or gone; whoever counts takes them from here."""
        self.expected = cursor + 1
        """The sequence number that comes next."""
        self.path: Path | None = None
        """The file being read, which nobody may take away. Changed under the lock only."""
        self._counted = cursor
        """Gaps up to here have been counted: reading again does not count them again."""
        self._ahead: Record | None = None
        self._handle = -1
        self._buffer = b""
        self._from = self._at = 0
        """Where in the file the buffer begins, and where in the buffer to go on."""
        self._is_fresh = False

    def read(self, most: int, most_bytes: int) -> list[Record]:
        """The next records, in order; fewer or none where there are no more. At least one where there is one, however large."""
        out: list[Record] = []
        size = 0
        while len(out) < most and (one := self.peek()) is not None:
            size += len(one.body)
            if out and size > most_bytes:
                break
            self._ahead = None
            self.expected = one.seq + 1
            out.append(one)
        return out

    def peek(self) -> Record | None:
        """The next record, not yet taken."""
        while self._ahead is None and (one := self._next()) is not None:
            if one.seq >= self.expected:
                self._missed(one.seq)
                self._ahead = one
        return self._ahead

    def age(self, record: Record) -> float:
        """Seconds since a record just read was put: by the monotonic clock where that was in this boot, else by the wall clock, never below zero."""
        if self._is_fresh and (passed := time.monotonic_ns() - record.tick) >= 0:
            return passed / 1e9
        return max(0.0, time.time() - record.at)

    def rewind(self, cursor: int) -> None:
        """Go on behind the cursor."""
        self._ahead = None
        self.close()
        self.expected = cursor + 1

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._buffer = -1, b""
        with self._lock:
            self.path = None

    def _missed(self, seq: int) -> None:
        start = max(self.expected, self._counted + 1)
        if seq > start:
            with self._lock:
                holes = sum(_overlap(one, start, seq) for one in self._log.segments if one.is_hole)
            self.missing += max(0, seq - start - holes)
        self._counted = max(self._counted, seq - 1)

    def _next(self) -> Record | None:
        """The next record of the files."""
        while True:
            if (one := self._parsed(is_all=False)) is not None:
                return one
            if (place := self._place()) is None:
                return None
            is_more = self._open(place.segment) and self._fill(place.end)
            if is_more:
                continue
            if not place.is_done:
                return None
            if (one := self._parsed(is_all=True)) is not None:
                return one
            self._pass(place.until)

    def _parsed(self, *, is_all: bool) -> Record | None:
        if self._at >= len(self._buffer):
            return None
        found = find(self._buffer, self._at, is_all=is_all)
        self._at = found.end
        return found.record

    def _fill(self, end: int) -> bool:
        """Read on; False where there is nothing more."""
        rest = self._buffer[self._at :]
        self._from += self._at
        self._buffer, self._at = rest, 0
        want = CHUNK
        if len(rest) >= HEAD.size and (length := HEAD.unpack_from(rest)[1]) <= LONGEST:
            want = max(want, length)
        room = min(want, end - self._from - len(rest))
        more = os.pread(self._handle, room, self._from + len(rest)) if room > 0 else b""
        self._buffer += more
        return bool(more)

    def _open(self, segment: Segment) -> bool:
        """Whether the segment can be read."""
        if self._handle >= 0:
            return True
        if segment.is_hole:
            return False
        try:
            self._handle = os.open(segment.path, os.O_RDONLY)
            self._is_fresh = is_of_this_boot(os.pread(self._handle, HEADER.size, 0))
        except OSError:
            return self._handle >= 0
        self._from, self._at, self._buffer = HEADER.size, 0, b""
        return True

    def _place(self) -> Place | None:
        """The segment with the expected record, or the one that it will be appended to. Its file is kept from now on."""
        with self._lock:
            known = self._log.segments
            for number, one in enumerate(known):
                is_last = number + 1 == len(known)
                until = self._log.next if is_last else known[number + 1].first
                is_done = not is_last or not self._log.is_open
                if until > self.expected or not is_done:
                    if self.path is not None and self.path != one.path and self._handle >= 0:
                        os.close(self._handle)
                        self._handle, self._buffer = -1, b""
                    self.path = one.path
                    return Place(one, one.size, is_done, until)
        return None

    def _pass(self, until: int) -> None:
        """Nothing more comes from this segment: what it should have had and had not is missing."""
        self._missed(until)
        self.expected = max(self.expected, until)
        self.close()


def _overlap(hole: Segment, start: int, end: int) -> int:
    """Records of a hole from `start` on and before `end`."""
    return max(0, min(hole.first + hole.hole, end) - max(hole.first, start))
