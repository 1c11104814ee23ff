"""Elements of huge documents: the same as a whole parse finds, however the bytes are cut."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.tap.splitter import Element, Splitter

VALUE = st.recursive(
    st.one_of(st.none(), st.integers(-9, 9), st.text(alphabet=st.sampled_from(list('"\\[]{},:\n é')), max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(alphabet='a"\\{', max_size=3), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip
ELEMENTS = st.lists(
    st.one_of(st.lists(VALUE, max_size=3), st.dictionaries(st.text(max_size=3), VALUE, max_size=3)), max_size=5
)


def split(data: bytes, step: int, cap: int = 1 << 20, level: int = 1) -> list[Element]:
    splitter = Splitter(cap, level)
    found = [element for at in range(0, len(data), step) for element in splitter.feed(data[at : at + step])]
    return found + list(splitter.close())


@settings(max_examples=300, deadline=None)
@given(ELEMENTS, st.integers(1, 40), st.sampled_from([None, 0, 2]))
def test_elements_are_those_of_a_whole_parse(items: list[Any], step: int, indent: int | None) -> None:
    data = json.dumps(items, indent=indent, ensure_ascii=False).encode()
    found = split(data, step)
    assert [json.loads(element.data) for element in found] == items
    for element in found:
        line = data.split(b"\n")[element.line - 1]
        assert line.strip()[:1] in (b"{", b"[")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=3), VALUE, max_size=3), max_size=4), st.integers(1, 30))
def test_values_after_each_other(items: list[Any], step: int) -> None:
    data = "\n".join(json.dumps(item, indent=1) for item in items).encode()
    assert [json.loads(element.data) for element in split(data, step)] == items


@settings(max_examples=200, deadline=None)
@given(ELEMENTS, st.integers(1, 30), st.integers(1, 30))
def test_long_elements_are_counted_and_the_rest_found(items: list[Any], step: int, cap: int) -> None:
    data = json.dumps(items).encode()
    found = split(data, step, cap)
    assert len(found) == len(items)
    for item, element in zip(items, found):
        if element.cut:
            assert not element.data and element.cut == len(json.dumps(item).encode()) > cap
        else:
            assert json.loads(element.data) == item


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.integers(1, 40), st.integers(1, 50))
def test_any_bytes(data: bytes, step: int, cap: int) -> None:
    splitter = Splitter(cap)
    for at in range(0, len(data), step):
        list(splitter.feed(data[at : at + step]))
        assert len(splitter.held) <= cap + step
    list(splitter.close())


def test_truncated() -> None:
    found = split(b'[{"a": 1}, {"b": "open', 5)
    assert [element.cut for element in found] == [0, 11]


def test_brackets_without_end() -> None:
    found = split(b"[" * 3_000_000, 1 << 16)
    assert [element.cut > 0 for element in found] == [True]
