"""Event-stream framing: every way a stream may be written and cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.wire.ndjson import Lines
from afterguard.wire.sse import Event, Events, is_stream

STREAM = "\ufeff: hi\n\ndata: one\ndata:two é😀\n\nevent: x\r\nid: 7\r\ndata:  three\r\n\r\ndata:four\r\rretry: 5\ndata\n\ndata: last".encode()


def whole(chunks: list[bytes], cap: int = 1 << 20) -> list[Event]:
    events = Events(cap)
    return [event for chunk in chunks for event in events.feed(chunk)] + events.close()


EXPECTED = [("", "one\ntwo é😀"), ("x", " three"), ("", "four"), ("", ""), ("", "last")]


def test_framing() -> None:
    found = whole([STREAM])
    assert [(event.name, event.data) for event in found] == EXPECTED
    assert [event.line for event in found] == [3, 8, 10, 13, 15]
    assert found[1].id == "7"


@pytest.mark.parametrize("at", range(len(STREAM)))
def test_cut_anywhere(at: int) -> None:
    assert [event[:2] for event in whole([STREAM[:at], STREAM[at:]])] == EXPECTED


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=20))
def test_cut_often(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert [event[:2] for event in whole([STREAM[a:b] for a, b in pairwise(places)])] == EXPECTED


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_any_cuts(chunks: list[bytes]) -> None:
    assert [e[:3] for e in whole(chunks)] == [e[:3] for e in whole([b"".join(chunks)])]


def test_bounded() -> None:
    events = Events(cap=100)
    for _ in range(1000):
        assert not events.feed(b"x" * 50)
        assert len(events.rest) <= 101
    (found,) = whole([b"data: " + b"y" * 500 + b"\n\n"], cap=100)
    assert len(found.data) == 100 and found.cut == 400


def test_what_is_a_stream() -> None:
    assert is_stream(b"event: message_start\ndata: {}\n\n") and is_stream(": ok\n\ndata:{}")
    assert not is_stream('{"data": 1}') and not is_stream("dear data: no") and not is_stream("")


@given(st.lists(st.binary(max_size=30), max_size=20))
def test_lines(chunks: list[bytes]) -> None:
    lines = Lines(cap=1000)
    found = [line for chunk in chunks for line in lines.feed(chunk)] + lines.close()
    assert [line.rstrip(b"\r") for line in found] == [
        x.rstrip(b"\r") for x in b"".join(chunks).split(b"\n") if x.strip()
    ]


def test_long_lines_are_counted() -> None:
    lines = Lines(cap=10)
    assert lines.feed(b"a" * 8) == [] and lines.feed(b"a" * 8) == [] and lines.feed(b"aa\nok\n") == [b"ok"]
    assert lines.cut == 18
