"""Files inside zip and tar archives, read in place: nothing is extracted, sizes that the archive states are not believed.

In: a path or bytes. Out: `Source` objects; every member that was left out becomes part of a Coverage row. One damaged or
encrypted member does not cost the others. Caps hold for an archive together with the archives inside it.
"""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from afterguard.files import EXCLUDED_FOLDERS, MINIFIED, Limits, Note, Regular, kind_of, open_file, unpacked
from afterguard.files import why as why_of
from afterguard.model import Coverage, Source

ARCHIVES = (".zip", ".whl", ".jar", ".war", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".nupkg", ".egg")


def archive_kind(path: str, data: bytes) -> str:
    """ "zip" or "tar" for archives that hold files of an application; "" for everything else (model files included)."""
    if not path.lower().endswith(ARCHIVES):
        return ""
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if data[:2] == b"\x1f\x8b" or data[:3] == b"BZh" or data[:6] == b"\xfd7zXZ\0" or data[257:262] == b"ustar":
        return "tar"
    return ""


class _Archive:
    """What one archive, with those inside it, may still cost."""

    def __init__(self, note: Note, limits: Limits) -> None:
        self.note, self.limits = note, limits
        self.budget = limits.archive_bytes
        self.count = 0

    def take(self, size: int) -> None:
        """Raise _Spent when this many bytes more are too many."""
        self.budget -= size
        if self.budget < 0:
            raise _Spent("bomb", f"unpacks to more than {self.limits.archive_bytes} bytes; the rest was not read")

    def member(self) -> None:
        """Raise _Spent when one member more is too many."""
        self.count += 1
        if self.count > self.limits.archive_members:
            raise _Spent("cap", f"more than {self.limits.archive_members} members; the rest was not read")


class _Spent(Exception):
    """The archive is left here: (reason, detail) of the coverage row."""


BROKEN = (OSError, EOFError, ValueError, RecursionError, struct.error, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)  # fmt: skip
ZIP_DIRECTORY = 32 << 20
"""Bytes of the list of members of a zip archive; a member takes 50 or more, and ten times that in memory."""
Opener = Callable[[], "IO[bytes] | None"]


def members(path: str, where: Path | bytes, note: Note, limits: Limits) -> Iterator[Source]:
    state = _Archive(note, limits)
    try:
        yield from _inside_of(path, where, state, 1)
    except _Spent as spent:
        note(Coverage(path, *spent.args))


def _inside_of(path: str, where: Path | bytes, state: _Archive, depth: int) -> Iterator[Source]:
    passed: Counter[str] = Counter()
    try:
        for name, size, opener in _open_members(where, state):
            state.member()
            why = _passed(name, opener)
            if why:
                passed[why] += 1
                continue
            data = _member(f"{path}!/{name}", size, opener, state)
            if data is None:
                continue
            if not archive_kind(name, data):
                yield Source(f"{path}!/{name}", data, kind_of(name, data), size)
            elif depth < state.limits.archive_depth:
                yield from _inside_of(f"{path}!/{name}", data, state, depth + 1)
            else:
                state.note(
                    Coverage(f"{path}!/{name}", "depth", f"archives nested deeper than {state.limits.archive_depth}")
                )
    except BROKEN as error:
        state.note(Coverage(path, "unreadable", f"archive: {why_of(error)}"))
    for why, count in passed.items():
        state.note(Coverage(path, "excluded", why, count=count))


def _passed(name: str, opener: Opener | None) -> str:
    """Why a member is not looked at, "" where it is."""
    if opener is None:
        return "links and devices in the archive"
    if any(part in EXCLUDED_FOLDERS for part in name.split("/")[:-1]) or MINIFIED.search(name):
        return "vendored, generated or minified files in the archive"
    return ""


def _member(full: str, size: int, opener: Opener | None, state: _Archive) -> bytes | None:
    """The first bytes of a member; None, with a note, where it cannot be read."""
    cap = state.limits.source_bytes
    try:
        handle = opener() if opener else None
        if handle is None:
            return None
        with handle:
            data = handle.read(cap + 1)
    except NotImplementedError as error:
        state.note(Coverage(full, "unsupported", str(error)))
        return None
    except BROKEN as error:
        state.note(Coverage(full, "unreadable", why_of(error)))
        return None
    except RuntimeError as error:
        state.note(Coverage(full, "encrypted", str(error)))
        return None
    state.take(len(data))
    if len(data) > cap:
        left = max(0, size - cap)
        state.note(Coverage(full, "too_large", f"read the first {cap} of {size} bytes", bytes=left))
        data = data[:cap]
    return data


def _open_members(where: Path | bytes, state: _Archive) -> Iterator[tuple[str, int, Opener | None]]:
    handle: IO[bytes] = open_file(where) if isinstance(where, Path) else io.BytesIO(where)
    with handle:
        head = handle.read(6)
        handle.seek(0)
        if head[:2] == b"PK":
            yield from _zip_members(handle)
            return
        counted: IO[bytes] = _Counted(unpacked(handle, head) or handle, state)  # type: ignore[assignment]
        with tarfile.open(fileobj=counted, mode="r|") as tar:
            for member in tar:
                if not member.isdir():
                    yield member.name, member.size, partial(tar.extractfile, member) if member.isfile() else None
                tar.members.clear()  # type: ignore[attr-defined]


def _zip_members(handle: IO[bytes]) -> Iterator[tuple[str, int, Opener | None]]:
    with zipfile.ZipFile(_Sparing(handle)) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield info.filename, info.file_size, partial(archive.open, info)


class _Sparing:
    """A file that refuses to be read in one huge piece, as a forged list of members makes the reader do."""

    def __init__(self, inner: IO[bytes]) -> None:
        self.inner = inner
        self.seek, self.tell, self.seekable, self.close = inner.seek, inner.tell, inner.seekable, inner.close

    def read(self, size: int = -1) -> bytes:
        if size > ZIP_DIRECTORY:
            raise ValueError(f"a list of members above {ZIP_DIRECTORY} bytes")
        return self.inner.read(size)


class _Counted:
    """What a tar archive is read through: all of it counts, members that are only skipped too."""

    def __init__(self, inner: IO[bytes], state: _Archive) -> None:
        self.inner, self.state = inner, state
        self.is_packed = not isinstance(inner, (Regular, io.BytesIO))

    def read(self, size: int = -1) -> bytes:
        data = self.inner.read(size)
        if self.is_packed:
            self.state.take(len(data))
        return data

    def close(self) -> None:
        self.inner.close()
