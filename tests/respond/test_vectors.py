"""A document out of a vector store and back: one contract for every store, and what is particular to each."""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.errors import AfterguardError, Unreachable, UsageError
from afterguard.respond.act import Act, identity
from afterguard.respond.settings import load
from afterguard.respond.vectors import opened
from afterguard.respond.vectors.chroma import Chroma
from afterguard.respond.vectors.documents import Documents
from afterguard.respond.vectors.elastic import Elastic
from afterguard.respond.vectors.postgres import Postgres
from afterguard.respond.vectors.qdrant import Qdrant

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
    assert made.before(act()) == before, "what was cut off and is begun again has the same before"
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
    with pytest.raises(Unreachable, match="not the 136 that there were"):
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


# -- PostgreSQL


@pytest.fixture
def table(pgvector: str) -> Iterator[Any]:
    """Runs statements in a database of its own; what a test makes there goes with it."""
    import psycopg

    with psycopg.connect(pgvector, autocommit=True) as base:
        base.execute("CREATE DATABASE particular")
    url = pgvector.replace("/postgres?", "/particular?")

    def run(text: str, *values: Any) -> list[Any]:
        with psycopg.connect(url, autocommit=True) as one:
            cursor = one.execute(text, values)
            return cursor.fetchall() if cursor.description else []

    run.url = url  # type: ignore[attr-defined]
    run("CREATE TABLE kb (id int PRIMARY KEY, document text, embedding real[])")
    run("INSERT INTO kb VALUES (1, 'bad', '{1,2}'), (2, 'bad', NULL), (3, 'good', '{3}'), (4, NULL, '{4}')")
    yield run
    with psycopg.connect(pgvector, autocommit=True) as base:
        base.execute("DROP DATABASE particular WITH (FORCE)")
        base.execute("DROP ROLE IF EXISTS reader")


def postgres(run: Any, **more: Any) -> Documents:
    return Documents({"kb": Postgres(**{"collection": "kb", "url": run.url, **more})})


NAMES = ["bad' OR '1'='1", 'x"; DROP TABLE kb; --', "%s", "bad%", "a\\'b", "ein schlimmes Dokument ☠", "{}", "$1", " "]


def test_a_hostile_name_is_a_value_and_nothing_else(table: Any) -> None:
    made = postgres(table)
    for name in NAMES:
        assert "no point" in made.objections(act(f"kb/{name}"))[0]
        assert made.do(act(f"kb/{name}"), 0.0)["moved"] == 0
    table("DROP TABLE kb_quarantine")
    for number, name in enumerate(NAMES):
        table("INSERT INTO kb VALUES (%s, %s)", 100 + number, name)
    for name in NAMES:
        before = made.before(act(f"kb/{name}"))
        assert made.do(act(f"kb/{name}"), 0.0)["moved"] == 1
        assert made.undo(act(f"kb/{name}"), before)["moved"] == 1
    assert table("SELECT count(*) FROM kb") == [(4 + len(NAMES),)]
    assert made.state(act("kb/a\0b")).word == "unknown" and made.objections(act("kb/\ud800"))


def test_what_would_not_come_back_is_not_touched(table: Any) -> None:
    made = postgres(table)
    table("CREATE TABLE cites (kb int REFERENCES kb (id) ON DELETE CASCADE)")
    table("INSERT INTO cites VALUES (1)")
    assert "rows of cites would be deleted" in made.objections(act())[0]
    with pytest.raises(Unreachable, match="cites"):
        made.do(act(), 0.0)
    table("DROP TABLE cites")
    table("CREATE TABLE cites (kb int REFERENCES kb (id))")
    table("INSERT INTO cites VALUES (1)")
    with pytest.raises(Unreachable, match="foreign key"):
        made.do(act(), 0.0)
    table("DROP TABLE cites")
    table("CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.document := NEW.document || '!'; RETURN NEW; END $$")  # fmt: skip
    table("CREATE TRIGGER change BEFORE INSERT ON kb FOR EACH ROW EXECUTE FUNCTION change()")
    before = made.before(act())
    made.do(act(), 0.0)
    with pytest.raises(Unreachable, match="other than they went in"):
        made.undo(act(), before)
    assert table("SELECT count(*) FROM kb_quarantine") == [(2,)] and made.state(act()).word == "in_effect"
    table("DROP TRIGGER change ON kb")
    made.undo(act(), before)
    made.do(act(), 0.0)
    table("ALTER TABLE kb ADD COLUMN lang text")
    assert "lang is in one of them only" in made.objections(act())[0]


def test_a_session_that_ends_in_the_middle_moves_nothing(table: Any) -> None:
    made = postgres(table)
    before = made.before(act())
    for when, on in (("AFTER DELETE", "kb"), ("BEFORE INSERT", "kb_quarantine")):
        table("CREATE TABLE IF NOT EXISTS kb_quarantine AS SELECT * FROM kb WITH NO DATA")
        table("CREATE OR REPLACE FUNCTION ends() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$")  # fmt: skip
        table(f"CREATE TRIGGER ends {when} ON {on} FOR EACH ROW EXECUTE FUNCTION ends()")
        with pytest.raises(Unreachable, match="terminating connection"):
            made.do(act(), 0.0)
        assert made.before(act()) == before and table("SELECT count(*) FROM kb_quarantine") == [(0,)]
        table(f"DROP TRIGGER ends ON {on}")
    assert made.do(act(), 0.0)["moved"] == 2


def test_documents_that_are_numbers_and_rows_that_are_hidden(table: Any) -> None:
    made = Documents(
        {"kb": Postgres(collection="kb", url=table.url, field="id", text="document")}, lambda text: f"#{text}"
    )
    assert "no point" in made.objections(act("kb/x"))[0]
    seen = postgres(table, field="id", searched="kb")
    assert seen.objections(act("kb/3")) == [] and seen.state(act("kb/3")).word == "not"
    before = made.before(act("kb/#good"))
    assert before["document"] == "3" and made.do(act("kb/#good"), 0.0)["moved"] == 1
    assert made.state(act("kb/#good")).word == "in_effect" and made.undo(act("kb/#good"), before)["moved"] == 1
    table("CREATE TABLE child () INHERITS (kb)")
    assert "inherit" in made.objections(act("kb/3"))[0]
    table("DROP TABLE child")
    table("DROP TABLE kb_quarantine")
    table("CREATE ROLE reader LOGIN")
    table("GRANT ALL ON kb TO reader")
    table("GRANT CREATE ON SCHEMA public TO reader")
    table("ALTER TABLE kb ENABLE ROW LEVEL SECURITY")
    table("CREATE POLICY few ON kb TO reader USING (id < 2)")
    half = Documents({"kb": Postgres(collection="kb", url=table.url.replace("postgres@", "reader@"))})
    assert "row-level security" in half.objections(act())[0] and half.state(act()).word == "unknown"


def test_partitions_views_and_rights(table: Any) -> None:
    table("CREATE TABLE parts (id bigint GENERATED ALWAYS AS IDENTITY, document text, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)")  # fmt: skip
    table("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)")
    table("CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)")
    table("INSERT INTO parts (document, at) SELECT CASE WHEN mod(n, 2) = 0 THEN 'bad' ELSE 'good' END, n FROM generate_series(0, 19) AS n")  # fmt: skip
    whole = table("SELECT tableoid::regclass::text, * FROM parts ORDER BY id")
    made = postgres(table, collection="public.parts")
    before = made.before(act())
    assert made.do(act(), 0.0)["moved"] == 10 and made.undo(act(), before)["moved"] == 10
    assert table("SELECT tableoid::regclass::text, * FROM parts ORDER BY id") == whole
    table("CREATE VIEW seen AS SELECT * FROM kb")
    table("CREATE MATERIALIZED VIEW kept AS SELECT * FROM kb")
    assert "is no table" in postgres(table, collection="seen").objections(act())[0]
    assert "no table" in postgres(table, collection="nowhere.kb").objections(act())[0]
    assert "operator does not exist" in postgres(table, vector="embedding").objections(act())[0], "there is no pgvector"
    assert "nowhere" in postgres(table, searched="nowhere").objections(act())[0]
    assert "no column nothing" in postgres(table, field="nothing").objections(act())[0]
    made = postgres(table, searched="kept")
    made.do(act(), 0.0)
    assert made.state(act()).word == "not", "the application reads what was kept before"
    table("REFRESH MATERIALIZED VIEW kept")
    assert made.state(act()).word == "in_effect"
    table("CREATE ROLE reader LOGIN")
    table("GRANT SELECT ON kb, kb_quarantine TO reader")
    weak = Documents({"kb": Postgres(collection="kb", url=table.url.replace("postgres@", "reader@"))})
    assert "may not" in weak.objections(act())[0]
    with pytest.raises(Unreachable, match="may not"):
        weak.undo(act(), {})
    table("GRANT INSERT, DELETE ON kb, kb_quarantine TO reader")
    assert weak.objections(act()) == [] and weak.undo(act(), {})["moved"] == 2, "no right to make tables is needed"
    assert weak.do(act(), 0.0)["moved"] == 2 and weak.state(act()).word == "in_effect"
    table("DROP TABLE kb_quarantine CASCADE")
    table("INSERT INTO kb VALUES (9, 'bad')")
    assert "may not make tables" in weak.objections(act())[0]
    with pytest.raises(Unreachable, match="may not make tables"):
        weak.do(act(), 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"collection": "kb; DROP TABLE kb"}, {"collection": 'kb"'}, {"collection": "a.b.c"}, {"collection": "k" * 60}, {"collection": "kb."}, {"field": "document'"}, {"field": "meta..x"},
        {"vector": "a.b"}, {"searched": "x y"}, {"text": "t)"}, {"url": "host=x"}, {"distance": "<=>; SELECT"}, {"sort": "x"},
    ],
)  # fmt: skip
def test_names_in_settings_are_names(wrong: dict[str, str]) -> None:
    told = {"kind": "postgres", "collection": "kb", "url": "postgresql://x@y/z", **wrong}
    with pytest.raises(UsageError):
        load(json.dumps({"format": "afterguard.respond/1", "vectors": {"kb": told}}), "respond.yaml")


def test_settings_of_every_store_are_read() -> None:
    text = """
format: afterguard.respond/1
vectors:
  a: {kind: qdrant, path: /q, collection: kb}
  b: {kind: postgres, url: "postgresql://soc@db/app", collection: public.langchain_pg_embedding, field: cmetadata.source, text: document, vector: embedding}
  c: {kind: chroma, url: "http://127.0.0.1:8000", collection: kb, field: source}
  d: {kind: elastic, url: "https://es:9200", collection: kb, field: metadata.source.keyword, api_key: /key}
"""
    assert [type(one).__name__ for one in load(text, "r").vectors.values()] == ["Qdrant", "Postgres", "Chroma", "Elastic"]  # fmt: skip
    for wrong in ("{kind: pinecone, collection: kb}", "{kind: qdrant, collection: kb}", "{kind: chroma, collection: kb}"):  # fmt: skip
        with pytest.raises(UsageError):
            load(f"format: afterguard.respond/1\nvectors: {{a: {wrong}}}", "r")


# -- Elasticsearch and OpenSearch


def test_an_index_that_would_not_give_it_back_is_not_touched(tmp_path: Path) -> None:
    pytest.importorskip("osmem_server")
    with stores.servers.opensearch(tmp_path) as port:
        url = f"http://127.0.0.1:{port}"

        def objected(mappings: dict[str, Any], field: str = "document", name: str = "kb", vector: str = "") -> str:
            with contextlib.suppress(OSError):
                stores.asked(f"{url}/kb", method="DELETE")
            stores.asked(f"{url}/kb", {"mappings": mappings}, "PUT")
            made = Documents({"kb": Elastic(collection=name, url=url, field=field, vector=vector)})
            with pytest.raises(Unreachable):
                made.do(act(), 0.0)
            return made.objections(act())[0]

        keyword = {"properties": {"document": {"type": "keyword"}}}
        assert "no search by vector" in objected(
            {"properties": {"document": {"type": "keyword"}, "text": {"type": "text"}}}, vector="text"
        )
        assert "of type text" in objected({"properties": {"document": {"type": "text"}}})
        assert "of type unknown" in objected({"properties": {}})
        assert "whole _source" in objected({**keyword, "_source": {"excludes": ["vector"]}})
        assert "whole _source" in objected({**keyword, "_source": {"enabled": False}})
        stores.asked(f"{url}/kb-2", {"mappings": keyword}, "PUT")
        assert "2 indices" in objected(keyword, name="kb*")
        assert "no index" in objected(keyword, name="elsewhere")


def test_who_writes_while_it_is_moved_loses_nothing(tmp_path: Path) -> None:
    with stores.started("opensearch", tmp_path) as place:
        place.put(stores.rows(30))
        with opened(place.settings) as store:
            whole = place.dump()
            page = store.page("bad", False)
            place.put([stores.rows(30)[1]._replace(text="newer")])
            assert store.drop(page, False) == len(page) - 1, "what was written since it was read stays"
            assert place.dump()["i1"][0]["text"] == "newer" and len(place.dump()) == 11
            place.put(stores.rows(30))
            assert place.dump() == whole


# -- what answers is not to be trusted


class Liar(http.server.BaseHTTPRequestHandler):
    """Says whatever the test has told it to."""

    says: list[tuple[int, bytes]]

    def _say(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        status, body = self.says[0] if len(self.says) == 1 else self.says.pop(0)
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _say  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def liar() -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    says: list[tuple[int, bytes]] = []
    with stores.serving(Liar, says=says) as url:
        yield url, says


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ids", "id", "hits", "_id", "_source", "items", "version", "kb"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
ID = st.sampled_from(["a", "b", "c"])
TEXT = st.none() | st.sampled_from(["bad", "text"])
SOURCE = st.fixed_dictionaries({}, optional={"document": TEXT, "text": TEXT, "v": st.just([1.0]) | JSON}) | JSON
HIT = st.fixed_dictionaries({"_id": ID}, optional={"_source": SOURCE, "_seq_no": st.integers(), "_primary_term": st.just(1), "_routing": TEXT, "fields": st.just({"document": ["bad"]}) | JSON})  # fmt: skip
SHAPED = st.one_of(
    st.fixed_dictionaries({"id": ID, "ids": st.lists(ID, max_size=3)}, optional={"embeddings": st.lists(st.none() | st.lists(st.floats(width=32), max_size=2), max_size=3), "documents": st.lists(TEXT, max_size=3), "metadatas": st.lists(st.just({"document": "bad"}) | JSON, max_size=3)}),
    st.fixed_dictionaries({"hits": st.fixed_dictionaries({"hits": st.lists(HIT, max_size=3)}), "count": st.integers(0, 3)}, optional={"timed_out": st.booleans(), "_scroll_id": TEXT, "version": JSON, "_shards": st.just({"failed": 1}) | JSON}),
    st.fixed_dictionaries({"items": st.lists(st.dictionaries(st.sampled_from(["create", "delete"]), st.fixed_dictionaries({"status": st.sampled_from([200, 201, 404, 409, 500])}), max_size=2), max_size=3)}),
    st.fixed_dictionaries({"kb": st.fixed_dictionaries({"mappings": st.just({"properties": {"document": {"type": "keyword"}}}) | JSON})}),
    JSON,
)  # fmt: skip
BODY = SHAPED.map(lambda found: json.dumps(found).encode()) | st.binary(max_size=60)
SAID = st.lists(st.tuples(st.sampled_from([200] * 8 + [204, 301, 404, 409, 500]), BODY), min_size=1, max_size=8)


@settings(max_examples=250, deadline=None)
@given(SAID, st.booleans())
def test_no_answer_makes_it_stumble(liar: Any, said: list[tuple[int, bytes]], is_chroma: bool) -> None:
    url, says = liar
    told = Chroma(collection="kb", url=url) if is_chroma else Elastic(collection="kb", url=url, text="text", vector="v")
    made = Documents({"kb": told}, lambda text: text)
    for does in (lambda: made.before(act()), lambda: made.do(act(), 0.0), lambda: made.undo(act(), {})):
        says[:] = said
        with contextlib.suppress(AfterguardError):
            does()
    says[:] = said
    assert made.state(act()).word in ("unknown", "not", "in_effect")
    says[:] = said
    made.objections(act())


def test_a_store_that_says_too_much_or_nothing(tmp_path: Path, liar: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url, says = liar
    monkeypatch.setattr("afterguard.respond.vectors.web.CAP", 1 << 20)
    for body in (b" " * (2 << 20), b'{"ids": ' + b"[" * 100_000, b'{"id": "x"'):
        says[:] = [(200, body)]
        for told in (Chroma(collection="kb", url=url), Elastic(collection="kb", url=url)):
            assert Documents({"kb": told}).objections(act())[0].startswith("the vector store does not do it"), body[:9]
    says[:] = [(500, b"\x1b[31mno\x1b[0m")]
    assert "says 500: no" in Documents({"kb": Chroma(collection="kb", url=url)}).objections(act())[0]
    gone = "127.0.0.1:1"
    for told in (
        Chroma(collection="kb", url=f"http://{gone}"), Elastic(collection="kb", url=f"http://{gone}"), Postgres(collection="kb", url=f"postgresql://x:secret-word@{gone}/z"), Qdrant(collection="kb", url=f"http://{gone}"),
    ):  # fmt: skip
        made = Documents({"kb": told})
        assert made.state(act()).word == "unknown" and "secret-word" not in made.state(act()).says
    assert "without TLS" in Documents({"kb": Chroma(collection="kb", url="http://10.0.0.1")}).objections(act())[0]
    assert "cannot be read" in Documents({"kb": Chroma(collection="kb", url=url, token=str(tmp_path / "no"))}).objections(act())[0]  # fmt: skip


def test_keys_are_sent_as_the_stores_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[dict[str, str]] = []

    class Ear(Liar):
        def _say(self) -> None:
            got.append({name.lower(): value for name, value in self.headers.items()})
            super()._say()

        do_GET = do_POST = _say  # noqa: N815

    (tmp_path / "key").write_text("s3cret\n")
    key = str(tmp_path / "key")
    with stores.serving(Ear, says=[(404, b"{}")]) as url:
        for told in (
            Chroma(collection="kb", url=url, token=key), Chroma(collection="kb", url=url, token=key, header="Authorization"),
            Elastic(collection="kb", url=url, api_key=key), Elastic(collection="kb", url=url, user="soc", password=key),
        ):  # fmt: skip
            assert "there is no" in Documents({"kb": told}).objections(act())[0]
    assert got[0]["x-chroma-token"] == "s3cret"
    assert [one.get("authorization") for one in got] == [None, "Bearer s3cret", "ApiKey s3cret", "Basic c29jOnMzY3JldA=="]  # fmt: skip
