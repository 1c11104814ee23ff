"""JSON lines that are still being written, followed across rotation and restarts.

In: the path of a log that is rotated to `.1`, `.2`... Out: whole lines with the place where they stand. A line that is not whole yet waits. Lines that were rotated away before they were read are told as a gap, never skipped in silence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

MOST = 4 << 20
"""Bytes of one line; a longer one is told as a gap."""
PIECE = 1 << 20


class Cursor(msgspec.Struct, frozen=True):
    """How far a log was read: which file, by its inode, and to which byte."""

    inode: int = 0
    at: int = 0


class Line(msgspec.Struct, frozen=True, gc=False):
    """One line, or a gap before it (`data` empty)."""

    data: bytes
    file: str
    at: int
    gap: str = ""


class Tail:
    """One log."""

    def __init__(self, path: Path, cursor: Cursor | None = None) -> None:
        self.path = path
        self.cursor = cursor or Cursor()

    def lines(self, most: int = 10_000) -> Iterator[Line]:
        """What is there now, at most so many lines, oldest first. The cursor moves with each line that was taken."""
        count = 0
        files = self._files()
        known = [at for at, (_, inode) in enumerate(files) if inode == self.cursor.inode]
        if self.cursor.inode and not known and files:
            yield Line(b"", str(files[0][0]), 0, "rotated away before it was read")
        for path, inode in files[known[0] if known else 0 :]:
            start = self.cursor.at if inode == self.cursor.inode else 0
            try:
                stream = path.open("rb")
            except OSError:
                continue  # rotated meanwhile: found under its next name with the next look
            with stream:
                if os.fstat(stream.fileno()).st_ino != inode:
                    return
                if start > os.fstat(stream.fileno()).st_size:
                    yield Line(b"", str(path), start, "became shorter than it was")
                    start, self.cursor = 0, Cursor(inode, 0)
                stream.seek(start)
                for line in _whole(stream, str(path), start):
                    self.cursor = Cursor(inode, line.at + max(1, len(line.data) + 1) if not line.gap else line.at)
                    yield line
                    count += 1
                    if count >= most:
                        return
                if self.cursor.inode != inode:
                    self.cursor = Cursor(inode, start)

    def _files(self) -> list[tuple[Path, int]]:
        """The log and what was rotated of it, oldest first, with inodes."""
        found = []
        for path in [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, 100))]:
            try:
                found.append((path, path.stat().st_ino))
            except OSError:
                if path is not self.path:
                    break
        return found[::-1]


def _whole(stream: object, name: str, at: int) -> Iterator[Line]:
    rest, is_long = b"", False
    while piece := stream.read(PIECE):  # type: ignore[attr-defined]
        rest += piece
        *whole, rest = rest.split(b"\n")
        for data in whole:
            if is_long:
                at, is_long = at + len(data) + 1, False
                yield Line(b"", name, at, f"a line of more than {MOST >> 20} MiB")
                continue
            yield Line(data, name, at)
            at += len(data) + 1
        if len(rest) > MOST:
            at, rest, is_long = at + len(rest), b"", True
