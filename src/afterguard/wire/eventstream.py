"""Amazon's binary event stream (application/vnd.amazon.eventstream), cut anywhere.

In: chunks as they arrive. Out: messages with their raw bytes, headers and payload; `encode` writes one. It does not
look into payloads.

A message is a prelude (total length, length of the headers, CRC-32 of these eight bytes), headers, payload, CRC-32 of
all before, all numbers big-endian. A message whose own checksum is wrong keeps its bytes and says so. A wrong prelude
means that no later length can be trusted either: from there on bytes pass as they come.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

PRELUDE = struct.Struct(">III")
SHORT = struct.Struct(">H")
LAST = struct.Struct(">I")
LEAST = 16
"""Bytes of a message with neither headers nor payload."""
MOST = 24 << 20
"""Bytes of a message that are believed; the service itself stops at 16 MiB of payload."""
FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Header value types of fixed length; 6 (bytes) and 7 (string) carry their length."""


class Message(NamedTuple):
    """One message, or bytes that could not be read as one: `bad` is the reason, "" where it is fine."""

    raw: bytes
    headers: bytes = b""
    payload: bytes = b""
    bad: str = ""


class Messages:
    """State of one stream. Messages above the cap pass in pieces, marked too_long."""

    __slots__ = ("cap", "held", "is_lost", "skip")

    def __init__(self, cap: int = 1 << 20) -> None:
        self.cap = cap
        self.held = bytearray()
        self.skip = 0
        """Bytes of an over-long message that are still to come."""
        self.is_lost = False

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that this chunk completed."""
        self.held += chunk
        data = memoryview(self.held).toreadonly()
        out: list[Message] = []
        at = 0
        try:
            while at < len(data):
                end = self._next(data, at, out)
                if end == at:
                    break
                at = end
        finally:
            data.release()
        if at:
            del self.held[:at]
        return out

    def _next(self, data: memoryview, at: int, out: list[Message]) -> int:
        """Take one message; its end, or `at` again where it is not there yet."""
        left = len(data) - at
        if self.is_lost or self.skip:
            taken = left if self.is_lost else min(left, self.skip)
            self.skip -= 0 if self.is_lost else taken
            out.append(Message(bytes(data[at : at + taken]), bad="bad_encoding" if self.is_lost else "too_long"))
            return at + taken
        if left < PRELUDE.size:
            return at
        total: int
        total, size, check = PRELUDE.unpack_from(data, at)
        if zlib.crc32(data[at : at + 8]) != check or not LEAST + size <= total <= MOST:
            self.is_lost = True
            return self._next(data, at, out)
        if total > self.cap:
            self.skip = total
            return self._next(data, at, out)
        if left < total:
            return at
        raw = bytes(data[at : at + total])
        if zlib.crc32(raw[:-4]) != LAST.unpack_from(raw, total - 4)[0]:
            out.append(Message(raw, bad="bad_encoding"))
        else:
            out.append(Message(raw, raw[12 : 12 + size], raw[12 + size : -4]))
        return at + total

    def close(self) -> list[Message]:
        """The bytes that the end of the stream left over, if any."""
        rest, self.held = bytes(self.held), bytearray()
        return [Message(rest, bad="truncated")] if rest else []


def parse(headers: bytes) -> dict[str, str]:
    """The string headers by name; what is malformed ends the reading."""
    out: dict[str, str] = {}
    at, end = 0, len(headers)
    while at < end:
        name = headers[at + 1 : at + 1 + headers[at]]
        at += 1 + headers[at]
        if at >= end:
            break
        kind = headers[at]
        at += 1
        size = FIXED.get(kind)
        if size is None:
            if kind not in (6, 7) or at + 2 > end:
                break
            size = SHORT.unpack_from(headers, at)[0]
            at += 2
        if kind == 7:
            out[name.decode("utf-8", "replace")] = headers[at : at + size].decode("utf-8", "replace")
        at += size
    return out


def encode(headers: bytes | Mapping[str, str], payload: bytes) -> bytes:
    """One message. Headers are given as strings, or as the bytes of a message that was read."""
    given = headers if isinstance(headers, bytes) else b"".join(map(_header, headers.items()))
    total = LEAST + len(given) + len(payload)
    start = struct.pack(">II", total, len(given))
    body = b"".join((start, LAST.pack(zlib.crc32(start)), given, payload))
    return body + LAST.pack(zlib.crc32(body))


def _header(pair: tuple[str, str]) -> bytes:
    name, value = pair[0].encode()[:255], pair[1].encode()[:32767]
    return bytes((len(name),)) + name + b"\x07" + SHORT.pack(len(value)) + value
