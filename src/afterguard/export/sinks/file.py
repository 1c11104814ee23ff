"""A file: one event a line, each batch on the disk before it counts, rotated by size.

In: batches. Out: `PATH`, `PATH.1`, `PATH.2`... A line that a full disk cut off is taken back; one that a killed process left is ended, so that the next stands alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from afterguard.export.sink import Item, Limits, Plain, Sent, Settings, Unavailable

TAIL = 4 << 20


class File(Settings, frozen=True, kw_only=True, tag="file"):
    """Lines in a file."""

    path: Annotated[str, Meta(min_length=1)]
    """Where to."""
    file_mb: Annotated[int, Meta(ge=1, le=1 << 20)] = 100
    """Megabytes after which a new file is begun."""
    files: Annotated[int, Meta(ge=1, le=1_000)] = 10
    """How many are kept."""


class FileSink(Plain):
    """An open file."""

    limits = Limits(events=2_000, size=1 << 20, event=1 << 20)

    def __init__(self, settings: File) -> None:
        self._settings = settings
        self._path = Path(settings.path)
        self._handle = -1
        self._size = 0

    def send(self, batch: Sequence[Item]) -> Sent:
        """Append and sync."""
        data = b"".join(one.body.replace(b"\n", b" ") + b"\n" for one in batch)
        try:
            self._open()
            self._append(data)
            os.fdatasync(self._handle)
            if self._size >= self._settings.file_mb << 20:
                self._rotate()
        except OSError as error:
            self.close()
            raise Unavailable(f"{self._path}: {error.strerror}") from None
        return Sent()

    def has(self, id: str) -> bool | None:
        """Whether the id stands near the end of the file or of the one before it."""
        newest = (self._path, self._path.with_name(f"{self._path.name}.1"))
        return any(id.encode() in _tail(one) for one in newest)

    def close(self) -> None:
        """Close it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _open(self) -> None:
        if self._handle >= 0 and _is_same(self._handle, self._path):
            return
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._handle).st_size
        if self._size and os.pread(self._handle, 1, self._size - 1) != b"\n":
            self._append(b"\n")

    def _append(self, data: bytes) -> None:
        wrote = 0
        try:
            while wrote < len(data):
                wrote += os.write(self._handle, data[wrote:])
        except OSError:
            os.ftruncate(self._handle, self._size)
            raise
        self._size += len(data)

    def _rotate(self) -> None:
        self.close()
        for number in range(self._settings.files - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.with_name(f"{self._path.name}.{self._settings.files}").unlink(missing_ok=True)
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))


def _is_same(handle: int, path: Path) -> bool:
    """Whether nobody renamed or removed the file meanwhile."""
    try:
        return os.fstat(handle).st_ino == path.stat().st_ino
    except OSError:
        return False


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - TAIL))
            return handle.read(TAIL)
    except OSError:
        return b""
