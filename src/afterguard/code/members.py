"""Members of ZIP and TAR data found by their own headers, for model files whose directory lies or is cut off.

In: bytes, perhaps only the first part of a file. Out: members with their first bytes unpacked, within caps. Damaged
checksums, wrong flags and names that differ from the directory do not matter: the headers before the data decide, as the
most lenient loader would. Nothing is written anywhere.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

MAX_MEMBERS = 5_000
MAX_UNPACKED = 64 << 20
"""Bytes unpacked from one archive in all."""


class Member(NamedTuple):
    """A member with the bytes that could be unpacked; `problem` says why they may not be all."""

    name: str
    data: bytes
    problem: str = ""


def zip_names(data: bytes) -> list[str]:
    """Names in the headers before the data, in order."""
    return [name for name, *_ in _headers(data)]


def zip_members(data: bytes, cap: int = 4 << 20) -> Iterator[Member]:
    """Members with up to `cap` bytes each."""
    budget = MAX_UNPACKED
    for name, method, flags, size, start in _headers(data):
        stop = start + size if size else _next(data, start)
        packed = data[start : min(stop, start + cap if method == 0 else stop)]
        if flags & 1:
            yield Member(name, b"", "encrypted")
        elif method == 0:
            yield Member(name, packed[:cap])
            budget -= len(packed)
        elif method == 8:
            unpacked, problem = inflate(packed, min(cap, budget), -15)
            budget -= len(unpacked)
            yield Member(name, unpacked, problem)
        else:
            yield Member(name, b"", f"compression method {method}")
        if budget <= 0:
            return


def _headers(data: bytes) -> Iterator[tuple[str, int, int, int, int]]:
    """(name, method, flags, packed size or 0, start of the data)."""
    at = data.find(b"PK\x03\x04")
    for _ in range(MAX_MEMBERS):
        if at < 0 or at + 30 > len(data):
            return
        flags, method = (
            int.from_bytes(data[at + 6 : at + 8], "little"),
            int.from_bytes(data[at + 8 : at + 10], "little"),
        )
        size = int.from_bytes(data[at + 18 : at + 22], "little")
        name_size, extra = (int.from_bytes(data[at + i : at + i + 2], "little") for i in (26, 28))
        name = data[at + 30 : at + 30 + name_size].decode("utf-8", "replace")
        start = at + 30 + name_size + extra
        size = 0 if size == 0xFFFFFFFF else size
        if name and not name.endswith("/"):
            yield name, method, flags, size, start
        jump = start + size
        if size and data[jump : jump + 4] in (b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"):
            at = data.find(b"PK\x03\x04", jump)
        else:
            at = data.find(b"PK\x03\x04", start)


def _next(data: bytes, start: int) -> int:
    """Where the data of a member of unknown size ends: at the next header or descriptor."""
    ends = [found for mark in (b"PK\x03\x04", b"PK\x07\x08", b"PK\x01\x02") if (found := data.find(mark, start)) >= 0]
    return min(ends, default=len(data))


def inflate(packed: bytes, cap: int, window: int = 47) -> tuple[bytes, str]:
    """Unpacked bytes up to `cap`, and a problem. `window` 47 takes zlib and gzip, -15 a bare stream."""
    machine = zlib.decompressobj(window)
    try:
        data = machine.decompress(packed, max(1, cap))
    except zlib.error as error:
        return b"", str(error)
    return data, "" if machine.eof else "cut"


def tar_members(data: bytes, cap: int = 4 << 20) -> Iterator[Member]:
    """Members of tar data with up to `cap` bytes each; ends quietly where the data ends."""
    budget = MAX_UNPACKED
    try:
        with tarfile.open(fileobj=BytesIO(data), mode="r:") as archive:
            for number, member in enumerate(archive):
                if number >= MAX_MEMBERS or budget <= 0:
                    return
                opened = archive.extractfile(member) if member.isreg() else None
                if opened is not None:
                    content = opened.read(cap)
                    budget -= len(content)
                    yield Member(member.name, content)
    except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, RecursionError):
        return
