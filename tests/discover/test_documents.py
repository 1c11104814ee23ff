"""Records out of large JSON documents: the quick way and the token way agree, damage ends in a note."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.discover import documents
from afterguard.files import Line
from afterguard.model import Coverage

NAMES = frozenset({"Records", "entries"})


def lines(text: str) -> Iterator[Line]:
    return iter([Line(number, one.encode("utf-8", "replace")) for number, one in enumerate(text.split("\n"), 1)])


def both(text: str) -> tuple[list[bytes], list[bytes], list[str]]:
    notes: list[Coverage] = []
    quick = [data for _, data in documents.records(lines(text), NAMES, "p", notes.append)]
    slow = [data for _, data in documents.scanned(lines(text), NAMES, "p", notes.append)]
    return quick, slow, [one.reason for one in notes]


def parsed(found: list[bytes]) -> list[object]:
    return [json.loads(one) for one in found]


RECORD = st.dictionaries(
    st.sampled_from(["a", "Records", 'q"uote', "b{"]),
    st.recursive(
        st.one_of(st.text(max_size=8), st.integers(), st.none()), lambda one: st.lists(one, max_size=3), max_leaves=5
    ),
    max_size=3,
)


@given(st.lists(RECORD, max_size=5), st.sampled_from([None, 1]), st.sampled_from(["Records", "log", "root"]))
def test_both_ways_agree(records: list[dict[str, object]], indent: int | None, shape: str) -> None:
    value = {"Records": {"Records": records}, "log": {"log": {"version": "1", "entries": records}}, "root": records}[
        shape
    ]
    text = json.dumps(value, indent=indent)
    quick, slow, notes = both(text)
    assert parsed(quick) == parsed(slow) == records
    assert notes == []


@pytest.mark.parametrize("text", ['{"Records": [{"a": 1}, {"b"', '{"Records": [{"a": 1}', '[{"a": 1}, '])
def test_a_document_that_ends_early_gives_what_came_before(text: str) -> None:
    quick, slow, notes = both(text)
    assert parsed(quick) == parsed(slow) == [{"a": 1}]
    assert notes == ["truncated", "truncated"]


def test_nesting_and_size_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert both("[" * 5000)[2] == ["depth", "depth"]
    monkeypatch.setattr(documents, "CAP", 20)
    quick, slow, notes = both('{"Records": [{"a": "%s"}, {"b": 1}]}' % ("x" * 50))
    assert parsed(quick) == parsed(slow) == [{"b": 1}]
    assert notes == ["too_large", "too_large"]
    notes.clear()
    found: list[Coverage] = []
    assert list(documents.records(iter([Line(1, b"", 99)]), NAMES, "p", found.append)) == []
    assert [one.bytes for one in found] == [99]


@given(st.text(alphabet='{}[]":,\\aR \n', max_size=60))
def test_any_text(text: str) -> None:
    both(text)
