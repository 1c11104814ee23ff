"""A document out of a vector store and back: one contract for every store, and what is particular to each."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterguard.respond.act import Act, identity
from afterguard.respond.vectors.documents import Documents

if "respond_vector_stores" not in sys.modules:
    spec = importlib.util.spec_from_file_location("respond_vector_stores", Path(__file__).with_name("vector_stores.py"))
    assert spec and spec.loader
    sys.modules["respond_vector_stores"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules["respond_vector_stores"])
stores: Any = sys.modules["respond_vector_stores"]

VECTOR = (1.0, 0.113, 0.5)
"""The first of the bad document's own."""


@pytest.fixture(scope="module")
def pgvector() -> Iterator[str]:
    with stores.pgvector() as url:
        yield url


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with stores.chroma_server(tmp_path_factory.mktemp("chroma")) as url:
        yield url


@pytest.fixture(params=stores.KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store with 200 points in it, 133 of them of the bad document."""
    kind = request.param
    postgres = request.getfixturevalue("pgvector") if kind.startswith("postgres") else ""
    chroma = request.getfixturevalue("chroma") if kind == "chroma" else ""
    with stores.started(kind, tmp_path, postgres, chroma) as made:
        made.put(stores.rows())
        yield made


def act(target: str = "bad") -> Act:
    return Act(identity("c", "b", "s", target), "c", "b", "s", "contain", "quarantine_document", "document", target, "t", timeout=5.0)  # fmt: skip


def test_it_is_hidden_from_the_search_and_comes_back_as_it_was(place: Any) -> None:
    made = Documents({"kb": place.settings})
    whole, near = place.dump(), place.search(VECTOR)
    assert len(whole) == 200 and "bad" in near
    assert made.objections(act()) == [] and made.objections(act("kb/bad")) == []
    before = made.before(act())
    assert before["points"] == 133 and made.state(act()).word == "not"
    assert made.do(act(), 0.0)["moved"] == 133
    state = made.state(act())
    assert state.word == "in_effect" and "a search with its own vector finds 0 of them" in state.says
    assert set(place.search(VECTOR)) == {"good"} and len(place.dump()) == 67
    assert made.do(act(), 0.0)["moved"] == 0 and made.objections(act()) == [], "once more does nothing"
    assert made.undo(act(), before)["moved"] == 133
    assert place.dump() == whole and place.search(VECTOR) == near
    assert made.undo(act(), before)["moved"] == 0 and made.state(act()).word == "not"
    assert made.objections(act("nobody"))
