"""One growing JSON array, cut anywhere."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from afterguard.wire.jsonarray import Array, Element

DOCUMENT = b'[{"a": "x]}\\"\\\\", "b": [1, {"c": 2}]}\n,\r\n{"d": "\xc3\xa9"},[3]\n]\n'


def whole(chunks: list[bytes], cap: int = 1 << 20) -> list[Element]:
    array = Array(cap)
    return [element for chunk in chunks for element in array.feed(chunk)] + array.close()


def test_elements() -> None:
    found = whole([DOCUMENT])
    assert b"".join(raw for raw, _, _ in found) == DOCUMENT
    assert [json.loads(raw[start:end]) for raw, start, end in found if end] == json.loads(DOCUMENT)
    assert found[-1] == (b"\n]\n", 0, 0)


def test_a_document_that_is_no_array() -> None:
    assert whole([b' {"error": {"code": 400}}\n']) == [(b' {"error": {"code": 400}}', 1, 25), (b"\n", 0, 0)]


def test_cut_anywhere() -> None:
    for at in range(len(DOCUMENT)):
        assert whole([DOCUMENT[:at], DOCUMENT[at:]]) == whole([DOCUMENT])
    assert whole([bytes((byte,)) for byte in DOCUMENT]) == whole([DOCUMENT])


def test_bounded() -> None:
    document = json.dumps([{"a": "x" * 900 + '\\"' * 50}, {"b": 1}]).encode()
    array = Array(cap=100)
    found = []
    for at in range(0, len(document), 9):
        found += array.feed(document[at : at + 9])
        assert len(array.held) <= 110
    found += array.close()
    assert b"".join(raw for raw, _, _ in found) == document
    assert [raw[start:end] for raw, start, end in found if end] == [b'{"b": 1}']


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), max_size=4), st.lists(st.integers(0, 200)))
def test_any_array(values: list[dict[str, Any]], cuts: list[int]) -> None:
    document = json.dumps(values, ensure_ascii=False).encode()
    chunks = [document[a:b] for a, b in pairwise([0, *sorted(min(cut, len(document)) for cut in cuts), len(document)])]
    found = whole(chunks)
    assert b"".join(raw for raw, _, _ in found) == document
    assert [json.loads(raw[start:end]) for raw, start, end in found if end] == values


@given(st.lists(st.text(alphabet='[]{}",\\ a1', max_size=20), max_size=8))
def test_any_bytes(texts: list[str]) -> None:
    chunks = [text.encode() for text in texts]
    assert b"".join(raw for raw, _, _ in whole(chunks)) == b"".join(chunks)
    assert [e for e in whole(chunks) if e[2]] == [e for e in whole([b"".join(chunks)]) if e[2]]
