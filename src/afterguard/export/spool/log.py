"""One lane of a spool: records in segment files, appended at the end, taken away from the front.

In: ids and bodies. Out: sequence numbers. A segment is `<first sequence number>.seg`; its first 32 bytes say that number and the boot it was written in. An evicted one becomes `<first>-<how many>.hole`, so that
its records count once, as shed, and never as damaged. A process begins a segment of its own; it never writes behind what another left, except to cut nothing off: what is damaged there is passed over by the reader.
Not thread-safe: bound.py holds the lock. It knows no bound and counts nothing.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from afterguard.export.spool.record import find, pack

HEADER = struct.Struct("<8sQ8sI4x")
"""Magic, first sequence number, boot, CRC-32 of these."""
MAGIC = b"AGspool1"


def boot() -> bytes:
    """Eight bytes that are others after the machine was started anew; zeros where nothing says so."""
    with contextlib.suppress(OSError):
        return sha256(Path("/proc/sys/kernel/random/boot_id").read_bytes()).digest()[:8]
    return bytes(8)


@dataclass
class Segment:
    """A file of the lane."""

    first: int
    path: Path
    size: int
    hole: int = 0
    """How many records were here before they were evicted."""
    is_torn: bool = False
    """Something that is no record stands at its end."""

    @property
    def is_hole(self) -> bool:
        return self.hole > 0


class Log:
    """A lane, open for appending."""

    def __init__(self, folder: Path, segment_bytes: int, at_least: int) -> None:
        """`at_least`: the next sequence number is not below it, whatever the files say."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self.segment_bytes = segment_bytes
        self.segments = segments(folder)
        self.torn = 0
        """Ends of files that were no whole record when this process began."""
        self.next = max(at_least, self._last() + 1)
        self._handle = -1
        self._unsynced: list[int] = []
        """Handles of segments that are full and not yet on the disk."""
        self._is_dirty = False
        self._drop_empty()
        self.size = sum(one.size for one in self.segments)
        """Bytes on disk."""

    @property
    def is_open(self) -> bool:
        """Whether the last segment is still appended to."""
        return self._handle >= 0

    def append(self, id: str, body: bytes) -> int:
        """The sequence number of a record written behind the others. Raises OSError and then leaves the file as it was, ValueError for a record too long."""
        data = pack(self.next, time.time(), time.monotonic_ns(), id, body)
        if self._handle < 0 or self.segments[-1].size + len(data) > self.segment_bytes + HEADER.size:
            self._roll()
        active = self.segments[-1]
        wrote = 0
        try:
            while wrote < len(data):
                wrote += os.write(self._handle, data[wrote:])
        except OSError:
            self._take_back(active)
            raise
        active.size += len(data)
        self.size += len(data)
        self._is_dirty = True
        self.next += 1
        return self.next - 1

    def _take_back(self, active: Segment) -> None:
        try:
            os.ftruncate(self._handle, active.size)
        except OSError:
            active.is_torn = True
            self._seal()

    def _roll(self) -> None:
        """Begin a segment. Raises OSError."""
        path = self.folder / f"{self.next:020d}.seg"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        head = HEADER.pack(MAGIC, self.next, boot(), 0)
        head = head[:-8] + struct.pack("<I4x", crc32(head[:-8]))
        try:
            if os.write(handle, head) != len(head):
                raise OSError(28, "no room for a segment")
        except OSError:
            os.close(handle)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self._seal()
        self.segments = [*(one for one in self.segments if one.first != self.next), Segment(self.next, path, len(head))]
        self.size = sum(one.size for one in self.segments)
        self._handle = handle
        with contextlib.suppress(OSError):
            _sync_folder(self.folder)

    def _seal(self) -> None:
        if self._handle >= 0:
            self._unsynced.append(self._handle)
            self._handle = -1

    def unsynced(self) -> list[int]:
        """Handles to be put onto the disk now and closed then. The one in use comes as a copy."""
        out, self._unsynced = self._unsynced, []
        if self._is_dirty and self._handle >= 0:
            out.append(os.dup(self._handle))
        self._is_dirty = False
        return out

    def failed(self) -> None:
        """The disk took what was written and then said no: what follows goes into another segment."""
        self._seal()

    def drop_before(self, seq: int, keep: Path | None) -> int:
        """Remove segments of which every record is below `seq`, except one that is being read; how many bytes that frees."""
        freed = 0
        while len(self.segments) > 1 and self.segments[1].first <= seq and self.segments[0].path != keep:
            freed += self.segments[0].size
            _unlink(self.segments.pop(0).path)
        self.size -= freed
        return freed

    def evict(self, after: int, keep: Path | None) -> int:
        """Empty the oldest segment of which no record is at or below `after` and that is not being read; how many records it had, 0 where there is none."""
        for place, one in enumerate(self.segments):
            if one.first <= after or one.is_hole or one.path == keep or self.count(place) == 0:
                continue
            if place == len(self.segments) - 1:
                self._seal()
            return self._emptied(place)
        return 0

    def count(self, place: int) -> int:
        """Records of a segment, from the numbers around it."""
        following = self.segments[place + 1].first if place + 1 < len(self.segments) else self.next
        return following - self.segments[place].first

    def _emptied(self, place: int) -> int:
        one, count = self.segments[place], self.count(place)
        hole = one.path.with_name(f"{one.first:020d}-{count}.hole")
        os.rename(one.path, hole)
        os.truncate(hole, 0)
        self.segments[place] = Segment(one.first, hole, 0, count)
        self.size -= one.size
        return count

    def close(self) -> None:
        """Let go of the files; syncing them first is the caller's."""
        self._seal()
        for handle in self._unsynced:
            os.close(handle)
        self._unsynced = []

    def _last(self) -> int:
        """The highest sequence number in the files. Looks at the newest file that has one."""
        highest = 0
        for one in reversed(self.segments):
            if one.is_hole:
                return max(highest, one.first + one.hole - 1)
            found, is_torn = _highest(one.path)
            self.torn += is_torn
            one.is_torn = is_torn
            highest = max(highest, found, one.first - 1)
            if found:
                return highest
        return highest

    def _drop_empty(self) -> None:
        kept = []
        for one in self.segments:
            if not one.is_hole and one.size <= HEADER.size:
                _unlink(one.path)
            else:
                kept.append(one)
        self.segments = kept


def segments(folder: Path) -> list[Segment]:
    """The files of a lane, oldest first."""
    out = []
    for path in folder.iterdir() if folder.is_dir() else ():
        first, _, count = path.stem.partition("-")
        if path.suffix == ".seg" and first.isdigit():
            out.append(Segment(int(first), path, path.stat().st_size))
        elif path.suffix == ".hole" and first.isdigit() and count.isdigit():
            out.append(Segment(int(first), path, 0, int(count)))
    return sorted(out, key=lambda one: one.first)


def is_of_this_boot(head: bytes) -> bool:
    """Whether a segment with this header was begun since the machine was started."""
    try:
        magic, _, then, crc = HEADER.unpack(head[: HEADER.size])
    except struct.error:
        return False
    return bool(magic == MAGIC and crc32(head[: HEADER.size - 8]) == crc and then == boot() and then != bytes(8))


def _highest(path: Path) -> tuple[int, bool]:
    """The highest sequence number in a segment, and whether its end is damaged."""
    data = path.read_bytes()
    at, highest, end = HEADER.size, 0, min(HEADER.size, len(data))
    while at < len(data):
        found = find(data, at, is_all=True)
        at = found.end
        if found.record is not None:
            highest, end = max(highest, found.record.seq), found.end
    return highest, end < len(data)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
