"""Frames of HTTP/2 (RFC 9113): numbers, and the little that is done to a frame or a header block without knowing the connection.

In and out: bytes. It holds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITISED, ACK = 1, 4, 8, 32, 1
NO_ERROR, PROTOCOL, FLOW_CONTROL, CLOSED, FRAME_SIZE, REFUSED, COMPRESSION, CALM = 0, 1, 3, 5, 6, 7, 9, 11
WIDE = (1 << 31) - 1
DRIBBLE = 256
"""Bytes of DATA below which a frame that completes nothing is counted as costing little."""


class Broken(Exception):
    """End the connection with an error code of HTTP/2."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def headers_of(rows: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """Metadata by name, the last of a name; None where it is against RFC 9113, 8.2 and 8.3: a name that is empty or in capitals, a pseudo-header twice or behind others."""
    found: dict[str, str] = {}
    is_past = False
    for raw, value in rows:
        name = raw.decode("latin-1")
        is_pseudo = name[:1] == ":"
        if not name or name != name.lower() or (is_pseudo and is_past) or (is_pseudo and name in found):
            return None
        is_past = is_past or not is_pseudo
        found[name] = value.decode("latin-1")
    return found


def sized(block: bytes) -> bytes:
    """A header block that changes the size of its table twice at most (RFC 7541, 4.2): thousands of changes cost the peer a byte each. Raises ValueError."""
    at = count = 0
    while at < len(block) and block[at] & 0xE0 == 0x20:
        count += 1
        if count > 2:
            raise ValueError("too many table sizes")
        at += 1
        if block[at - 1] & 31 == 31:
            while at < len(block) and block[at] & 0x80:
                at += 1
            at += 1
    return block


def unpadded(data: memoryview) -> memoryview:
    if not data or data[0] >= len(data):
        raise Broken(PROTOCOL)
    return data[1 : len(data) - data[0]]
