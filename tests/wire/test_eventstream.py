"""Amazon's binary event stream: against a message of known bytes, cut anywhere, damaged anywhere."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.wire.eventstream import Message, Messages, encode, parse

ONE = encode({":event-type": "chunk", ":message-type": "event"}, b'{"a":1}')
STREAM = ONE + encode({}, b"") + encode({":event-type": "é"}, b"\x00\xff" * 40)


def whole(chunks: list[bytes], cap: int = 1 << 20) -> list[Message]:
    messages = Messages(cap)
    return [message for chunk in chunks for message in messages.feed(chunk)] + messages.close()


def test_smallest_message() -> None:
    # The empty message of the format's published test vectors.
    assert encode({}, b"").hex() == "000000100000000005c248eb7d98c8ff"


def test_read_and_written_back() -> None:
    found = whole([STREAM])
    assert b"".join(message.raw for message in found) == STREAM
    assert [message.payload for message in found] == [b'{"a":1}', b"", b"\x00\xff" * 40]
    assert parse(found[0].headers) == {":event-type": "chunk", ":message-type": "event"}
    assert [encode(message.headers, message.payload) for message in found] == [message.raw for message in found]


def test_headers_of_every_type() -> None:
    named = [b"\x01a" + kind for kind in (b"\0", b"\1", b"\2.", b"\3..", b"\4....", b"\5........", b"\6\0\2..")]
    named += [b"\x01a\x08........", b"\x01a\x09" + b"." * 16, b"\x01b\x07\0\2hi"]
    assert parse(b"".join(named)) == {"b": "hi"}
    assert parse(b"\x01a\x0a..\x01b\x07\0\2hi") == {} and parse(b"\x09a") == {} and parse(b"\x01a\x07\0") == {}


@pytest.mark.parametrize("at", range(len(STREAM)))
def test_cut_anywhere(at: int) -> None:
    assert whole([STREAM[:at], STREAM[at:]]) == whole([STREAM])


def test_bad_checksum_spoils_one_message() -> None:
    broken = bytearray(STREAM)
    broken[len(ONE) - 6] ^= 1
    found = whole([bytes(broken)])
    assert [message.bad for message in found] == ["bad_encoding", "", ""]
    assert b"".join(message.raw for message in found) == broken


def test_bad_prelude_spoils_the_rest() -> None:
    broken = ONE + b"\0" + STREAM
    messages = Messages()
    found = messages.feed(broken) + messages.feed(ONE)
    assert [message.bad for message in found] == ["", "bad_encoding", "bad_encoding"]
    assert b"".join(message.raw for message in found) == broken + ONE
    start = struct.pack(">II", 16, 400)
    lying = start + struct.pack(">I", zlib.crc32(start)) + b"...."
    assert [message.bad for message in whole([lying])] == ["bad_encoding"]


def test_too_long_and_truncated() -> None:
    stream = encode({}, b"x" * 500) + ONE
    messages = Messages(cap=100)
    found = []
    for at in range(0, len(stream), 7):
        found += messages.feed(stream[at : at + 7])
        assert len(messages.held) <= 100
    assert b"".join(message.raw for message in found) == stream
    assert {message.bad for message in found[:-1]} == {"too_long"} and found[-1] == whole([ONE])[0]
    assert whole([ONE[:-1]]) == [Message(ONE[:-1], bad="truncated")]


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_any_bytes(chunks: list[bytes]) -> None:
    assert b"".join(message.raw for message in whole(chunks)) == b"".join(chunks)


@given(st.integers(0, len(STREAM) - 1), st.integers(1, 255), st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_damaged_anywhere(at: int, by: int, cuts: list[int]) -> None:
    broken = bytearray(STREAM)
    broken[at] ^= by
    found = whole([bytes(broken[a:b]) for a, b in pairwise([0, *sorted(cuts), len(broken)])])
    assert b"".join(message.raw for message in found) == broken
    assert any(message.bad for message in found)


@given(st.binary(max_size=60))
def test_headers_never_raise(headers: bytes) -> None:
    parse(headers)
