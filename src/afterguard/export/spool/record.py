"""One record of a spool as bytes, and records found again in bytes that may be damaged. Pure.

In: sequence number, times, id and body; or bytes. Out: bytes; or the next whole record and how many bytes were passed over to reach it. A record opens with a mark, so that what stands
behind a damaged one is found, and carries its own sequence number, so that the gap says exactly how many are missing. It will not repair anything.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

MARK = b"\xa9gR\x01"
HEAD = struct.Struct("<4sII")
"""Mark, length of the rest, CRC-32 of the rest."""
REST = struct.Struct("<QdQH")
"""Sequence number, seconds since the epoch, monotonic nanoseconds, length of the id."""
LONGEST = 16 << 20
"""Bytes of a record; a length above it is damage."""


class Record(NamedTuple):
    """What a producer put."""

    seq: int
    at: float
    """Seconds since the epoch when it was put."""
    tick: int
    """Monotonic nanoseconds when it was put; compares only within one boot of the machine."""
    id: str
    body: bytes


class Found(NamedTuple):
    """What lies at a place."""

    record: Record | None
    end: int
    """Where to go on."""
    skipped: int
    """Bytes passed over."""


def pack(seq: int, at: float, tick: int, id: str, body: bytes) -> bytes:
    """A record. Raises ValueError when it is longer than LONGEST or its id than 200 bytes."""
    name = id.encode("utf-8", "replace")
    if len(name) > 200 or len(body) > LONGEST - 1024:
        raise ValueError(f"a record of {len(body)} bytes with an id of {len(name)} is too long for the spool")
    rest = REST.pack(seq, at, tick, len(name)) + name + body
    return HEAD.pack(MARK, len(rest), crc32(rest)) + rest


def find(data: bytes, at: int, *, is_all: bool) -> Found:
    """The next whole record from `at` on. `is_all`: nothing will follow these bytes, so what is incomplete is damage; else it is waited for."""
    start = at
    while True:
        place = data.find(MARK, at)
        if place < 0:
            # The last three bytes may be the beginning of a mark.
            end = len(data) if is_all else max(at, len(data) - len(MARK) + 1)
            return Found(None, end, end - start)
        one = _whole(data, place)
        if isinstance(one, Record):
            return Found(one, place + HEAD.size + _length(data, place), place - start)
        if one is None and not is_all:
            return Found(None, place, place - start)
        at = place + 1


def _length(data: bytes, place: int) -> int:
    return int(HEAD.unpack_from(data, place)[1])


def _whole(data: bytes, place: int) -> Record | bool | None:
    """The record, None where bytes are missing, False where it is damaged."""
    if place + HEAD.size > len(data):
        return None
    _, length, crc = HEAD.unpack_from(data, place)
    if not REST.size <= length <= LONGEST:
        return False
    begin = place + HEAD.size
    if begin + length > len(data):
        return None
    rest = data[begin : begin + length]
    if crc32(rest) != crc:
        return False
    seq, at, tick, size = REST.unpack_from(rest)
    body = REST.size + size
    return Record(seq, at, tick, rest[REST.size : body].decode("utf-8", "replace"), rest[body:])
