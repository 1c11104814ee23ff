"""Imports of a pickle without unpickling: every protocol, hidden names, broken and hostile streams."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
import pickletools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soon import soon

from afterguard.code.pickle_opcodes import is_pickle, streams, walk


class Runs:
    """Pickles as a call of os.system."""

    def __reduce__(self) -> Any:
        return os.system, ("id",)


class Evaluates:
    def __reduce__(self) -> Any:
        return builtins.eval, ("1+1",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_shows_with_its_argument(protocol: int) -> None:
    found = walk(pickle.dumps([1, {"a": Runs()}, Evaluates()], protocol))
    assert found.complete
    named = {(one.module, one.name, one.called, one.arguments) for one in found.imports}
    assert (os.name if os.name == "nt" else "posix", "system", True, ("id",)) in named
    assert any(one.name == "eval" and one.called for one in found.imports)


@pytest.mark.parametrize("protocol", range(6))
@settings(max_examples=25, deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=300)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.tuples(inner, inner),
            st.dictionaries(st.text(max_size=5), inner, max_size=3),
        ),
        max_leaves=12,
    )
)
def test_plain_data_is_read_to_its_end_without_imports(protocol: int, value: Any) -> None:
    data = pickle.dumps(value, protocol)
    found = walk(data)
    assert found.complete and found.end == len(data)
    assert not [one for one in found.imports if one.module not in ("builtins", "__builtin__", "_codecs")]
    assert found.operations == sum(1 for _ in pickletools.genops(data))


def test_names_through_the_memo() -> None:
    data = b"\x80\x04\x8c\x05posix\x940\x8c\x06system\x940h\x00h\x01\x93\x8c\x02id\x85R."
    assert [(one.module, one.name, one.called) for one in walk(data).imports] == [("posix", "system", True)]


def test_a_computed_name_is_a_question_mark() -> None:
    data = b"\x80\x04]]\x93)R."
    assert walk(data).imports[0].module == "?"


def test_inst_and_obj_are_calls() -> None:
    assert walk(b"(S'id'\nios\nsystem\n.").imports[0].called
    assert walk(b"(cos\nsystem\nS'id'\no.").imports[0].called


def test_imports_before_a_break_count() -> None:
    found = walk(pickle.dumps(Runs(), 4)[:-1] + b"\xff\xff")
    assert found.imports and not found.complete and found.problem


def test_pickles_in_a_row() -> None:
    data = pickle.dumps(1, 2) + pickle.dumps(collections.OrderedDict(), 2) + pickle.dumps(Runs(), 2)
    assert [len(found.imports) for found in streams(data)] == [0, 1, 1]


def test_other_content_is_no_pickle() -> None:
    for data in (
        b"",
        b".",
        b"hello world",
        b"{}",
        b"import os\n",
        b"(c) 2024 Somebody\n",
        b"\x80abc",
        b"ID,name\n1,x\n",
        b"]\n",
    ):
        assert not is_pickle(data), data


@pytest.mark.parametrize(
    "piece", [b"(", b"K\x01", b"K\x01\x94", b"2", b"]2", b"(t", b"\x93", b"cos\nsystem\n", b")\x85", b"h\x00"]
)
def test_floods_end_soon(piece: bytes) -> None:
    data = b"\x80\x04N" + piece * (400_000 // len(piece))
    with soon():
        walk(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    found = walk(data)
    assert 0 <= found.end <= len(data)
    is_pickle(data)
    list(streams(data))
