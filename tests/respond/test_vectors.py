"""A document out of a vector store and back: one contract for every store, and what is particular to each."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afterguard.errors import Unreachable
from afterguard.respond.act import Act, identity
from afterguard.respond.vectors import opened
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


def test_a_document_is_found_by_the_hash_that_alerts_show(place: Any) -> None:
    made = Documents({"kb": place.settings}, lambda text: f"#{len(text)}-{text[5:8]}")
    whole = place.dump()
    target = act("kb/#18-101")
    before = made.before(target)
    assert before["document"] == "bad" and made.do(target, 0.0)["moved"] == 133
    again = Documents({"kb": place.settings}, made.named)
    assert again.state(target).word == "in_effect", "another process finds it where it is now"
    again.undo(target, before)
    assert place.dump() == whole
    assert "no point" in made.objections(act("#99-999"))[0]


def test_what_was_written_meanwhile_is_not_lost(place: Any) -> None:
    made = Documents({"kb": place.settings})
    before = made.before(act())
    made.do(act(), 0.0)
    written = [one._replace(text=f"written anew {one.n}") for one in stores.rows() if one.document == "bad"][:3]
    place.put(written)
    anew = place.dump()
    assert made.state(act()).word == "not", "it is searched again, and that is seen"
    with pytest.raises(Unreachable, match="again meanwhile"):
        made.undo(act(), before)
    assert {key: value for key, value in place.dump().items() if key in anew} == anew, "nothing was overwritten"
    again = made.before(act())
    made.do(act(), 0.0)
    assert made.state(act()).word == "in_effect"
    with pytest.raises(Unreachable, match="not the 3 that there were"):
        made.undo(act(), again)
    assert {key: value for key, value in place.dump().items() if key in anew} == anew, "the newer one is back"
    assert len(place.dump()) == 200


class Cut(Exception):
    """The moment a process is killed."""


@pytest.mark.parametrize("kind", ["qdrant", "chroma", "opensearch"])
def test_a_crash_at_any_point_loses_nothing(kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """What moves page by page is cut off before and after each writing; done again it goes on. PostgreSQL moves in one transaction."""
    chroma = request.getfixturevalue("chroma") if kind == "chroma" else ""
    monkeypatch.setattr("afterguard.respond.vectors.moving.PAGE", 8)
    with stores.started(kind, tmp_path, chroma=chroma) as place:
        monkeypatch.setattr(sys.modules[type(place.settings).__module__], "PAGE", 8)
        place.put(stores.rows(30))
        whole = place.dump()
        for back in (False, True):
            for step in range(1, 40):
                with opened(place.settings) as store:
                    calls = 0

                    def counted(does: Any, is_after: bool, end: int = step) -> Any:
                        def call(*told: Any, **more: Any) -> Any:
                            nonlocal calls
                            calls += 1
                            if calls == end and not is_after:
                                raise Cut
                            out = does(*told, **more)
                            if calls == end:
                                raise Cut
                            return out

                        return call

                    for name in ("make", "put", "drop"):
                        monkeypatch.setattr(store, name, counted(getattr(store, name), step % 2 == 0))
                    with contextlib.suppress(Cut, Unreachable):
                        store.move("bad", back)
                        break
                here = place.dump()
                with opened(place.settings) as store:
                    there = [one.id for one in store.page("bad", True)] if store.is_there(True) else []
                    assert len(here) == 30 or store.count("bad", True) >= 30 - len(here), (step, len(here), there)
            else:
                raise AssertionError("it never came to its end")
            assert len(place.dump()) == (30 if back else 10)
        assert place.dump() == whole
