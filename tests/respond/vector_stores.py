"""Vector stores that tests start themselves, each with rows in it: Qdrant embedded, PostgreSQL with pgvector, Chroma, and one that answers as OpenSearch does.

In: a folder. Out: a `Place`: the settings of respond.yaml for it, the search that an application makes, all that it holds. pgvector and Chroma come from the package registry, into environments of their own in the
user's cache; where they cannot be had the tests skip and say why. The OpenSearch-compatible one is osmem, an independent server; it knows no search by vector, so a labelled stand-in before it answers that one
question, by counting distances over what osmem holds, in the words of OpenSearch or of Elasticsearch.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import importlib.util
import json
import math
import shutil
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from environments import environment
from ports import free_port

from afterguard.respond.vectors.chroma import Chroma
from afterguard.respond.vectors.elastic import Elastic
from afterguard.respond.vectors.postgres import Postgres
from afterguard.respond.vectors.qdrant import Qdrant
from afterguard.respond.vectors.store import Vectors


def module(name: str, *path: str) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1].joinpath(*path))
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


servers = module("respond_servers", "export", "servers_here.py")
databases = module("respond_store_conftest", "store", "conftest.py")

CHROMA = ("chromadb==1.5.9",)
PGVECTOR = ("pgserver==0.1.4",)
KINDS = ("qdrant", "postgres", "postgres-json", "chroma", "elastic", "opensearch")
NAME = "handbook"


class Row(NamedTuple):
    """A point as tests write it."""

    n: int
    document: str
    text: str
    vector: tuple[float, ...]


class Place(NamedTuple):
    """A store, and what an application does with it."""

    settings: Vectors
    put: Callable[[Sequence[Row]], None]
    search: Callable[[Sequence[float]], list[str]]
    """Documents of the nearest points."""
    dump: Callable[[], dict[str, Any]]
    """Everything that is searched, by id: text, metadata and vector, as the store gives them."""


def rows(count: int = 200) -> list[Row]:
    """Two of three are of the bad document, and nearest to the first of its own."""
    return [Row(n, "good" if n % 3 == 0 else "bad", f"part {n} of a text", (1.0, 0.1 * (n % 7) + 0.013, 1 / (n + 1))) for n in range(count)]  # fmt: skip


def near(left: Sequence[float], right: Sequence[float]) -> float:
    """Distance by angle."""
    return -sum(a * b for a, b in zip(left, right, strict=True)) / math.hypot(*left) / math.hypot(*right)


@contextlib.contextmanager
def started(kind: str, folder: Path, postgres: str = "", chroma: str = "") -> Iterator[Place]:
    """A store of a kind, empty."""
    made = {"qdrant": _qdrant, "chroma": _chroma, "elastic": _elastic, "opensearch": _elastic}.get(kind, _postgres)
    with made(kind, folder, postgres or chroma) as place:
        yield place


# -- Qdrant


@contextlib.contextmanager
def _qdrant(kind: str, folder: Path, url: str) -> Iterator[Place]:
    qdrant = pytest.importorskip("qdrant_client")

    @contextlib.contextmanager
    def open_() -> Iterator[Any]:
        client = qdrant.QdrantClient(path=str(folder / "q"))
        yield client
        client.close()

    def put(some: Sequence[Row]) -> None:
        with open_() as client:
            client.upsert(NAME, [qdrant.models.PointStruct(id=one.n, vector=list(one.vector), payload={"document": one.document, "text": one.text, "n": one.n}) for one in some])  # fmt: skip

    def search(vector: Sequence[float]) -> list[str]:
        with open_() as client:
            return [one.payload["document"] for one in client.query_points(NAME, list(vector), limit=10).points]

    def dump() -> dict[str, Any]:
        with open_() as client:
            found = client.scroll(NAME, limit=1_000, with_payload=True, with_vectors=True)[0]
            return {str(one.id): (one.payload, [round(x, 5) for x in one.vector]) for one in found}

    with open_() as client:
        client.create_collection(NAME, vectors_config=qdrant.models.VectorParams(size=3, distance=qdrant.models.Distance.EUCLID))  # fmt: skip
    yield Place(Qdrant(collection=NAME, path=str(folder / "q"), text="text"), put, search, dump)


# -- PostgreSQL


@contextlib.contextmanager
def pgvector() -> Iterator[str]:
    """A real PostgreSQL with pgvector: its URL. Its programs are laid where the user that runs them can read them."""
    pytest.importorskip("psycopg", reason="the psycopg package is not installed")
    python = environment("pgvector", *PGVECTOR)
    site = next(python.parent.parent.glob("lib/python*/site-packages"))
    folder = Path(tempfile.mkdtemp(prefix="pgvector", dir="/tmp"))
    try:
        folder.chmod(0o755)
        shutil.copytree(site / "pgserver", folder / "pgserver")
        shutil.copytree(site / "pgserver.libs", folder / "pgserver.libs")
        with databases.running(folder / "pgserver" / "pginstall" / "bin") as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _postgres(kind: str, folder: Path, url: str) -> Iterator[Place]:
    import psycopg
    from psycopg import sql

    is_json = kind == "postgres-json"
    name = "".join(one if one.isalnum() else "_" for one in f"Kb_{folder.name}")[:40]
    table = sql.Identifier("public", name)
    meta = ", meta json" if is_json else ', "Document" varchar(40), n bigint GENERATED ALWAYS AS IDENTITY, twice int GENERATED ALWAYS AS (1 + length(text)) STORED'  # fmt: skip

    def run(text: str, *values: Any, **more: Any) -> list[Any]:
        with psycopg.connect(url, autocommit=True) as base:
            cursor = base.execute(sql.SQL(text).format(table=table, **more), values)
            return cursor.fetchall() if cursor.description else []

    def put(some: Sequence[Row]) -> None:
        with psycopg.connect(url) as base, base.cursor() as cursor:
            for one in some:
                vector = str(list(one.vector))
                if is_json:
                    cursor.execute(sql.SQL("INSERT INTO {} (id, text, embedding, meta) VALUES (%s, %s, %s, %s)").format(table), (f"i{one.n}", one.text, vector, json.dumps({"of": {"source": one.document}, "n": 0.1})))  # fmt: skip
                else:
                    cursor.execute(sql.SQL('INSERT INTO {} (id, text, embedding, "Document") VALUES (%s, %s, %s, %s)').format(table), (f"i{one.n}", one.text, vector, one.document))  # fmt: skip

    field = sql.SQL("meta #>> '{{of,source}}'").format() if is_json else sql.Identifier("Document")

    def search(vector: Sequence[float]) -> list[str]:
        return [row[0] for row in run("SELECT {field} FROM {table} ORDER BY embedding <=> %s LIMIT 10", str(list(vector)), field=field)]  # fmt: skip

    def dump() -> dict[str, Any]:
        return {row[0]: row[1] for row in run("SELECT id, t::text FROM {table} AS t")}

    run("CREATE EXTENSION IF NOT EXISTS vector")
    run("CREATE TABLE {table} (id text PRIMARY KEY, text text NOT NULL, embedding vector(3)" + meta + ")")
    run("CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")
    told = Postgres(collection=f"public.{name}", url=url, field="meta.of.source" if is_json else "Document", text="text", vector="embedding")  # fmt: skip
    try:
        yield Place(told, put, search, dump)
    finally:
        run("DROP TABLE IF EXISTS {table}, {aside}", aside=sql.Identifier("public", name + "_quarantine"))


# -- Chroma


@contextlib.contextmanager
def chroma_server(folder: Path) -> Iterator[str]:
    """A real Chroma: its address."""
    python = environment("chroma", *CHROMA)
    port = free_port()
    words = [str(python.parent / "chroma"), "run", "--path", str(folder / "data"), "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    with servers.running(words, folder / "log", ANONYMIZED_TELEMETRY="False"):
        servers.wait_for(lambda: servers.answers(port), "Chroma", 120)
        yield f"http://127.0.0.1:{port}"


def asked(url: str, body: Any = None, method: str = "") -> Any:
    """JSON from an address."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, {"content-type": "application/json"}, method=method or None), timeout=30) as reply:  # fmt: skip
        return json.loads(reply.read() or b"null")


@contextlib.contextmanager
def _chroma(kind: str, folder: Path, url: str) -> Iterator[Place]:
    root = f"{url}/api/v2/tenants/default_tenant/databases/default_database/collections"
    name = f"{NAME}-{folder.name}"[:50].rstrip("_.-")
    here = f"{root}/{asked(root, {'name': name, 'configuration': {'hnsw': {'space': 'cosine'}}})['id']}"

    def put(some: Sequence[Row]) -> None:
        body = {"ids": [f"i{one.n}" for one in some], "embeddings": [one.vector for one in some], "documents": [one.text if one.n % 5 else None for one in some],
                "metadatas": [{"document": one.document, "n": one.n, "f": 0.1, "b": True} for one in some], "uris": [f"file:{one.n}" if one.n % 4 == 0 else None for one in some]}  # fmt: skip
        asked(f"{here}/upsert", body)

    def search(vector: Sequence[float]) -> list[str]:
        found = asked(f"{here}/query", {"query_embeddings": [vector], "n_results": 10, "include": ["metadatas"]})
        return [one["document"] for one in found["metadatas"][0]]

    def dump() -> dict[str, Any]:
        found = asked(f"{here}/get", {"include": ["documents", "metadatas", "embeddings", "uris"]})
        found["embeddings"] = [[round(number, 5) for number in one] for one in found["embeddings"]]
        return {one: rest for one, *rest in zip(*(found[key] for key in ("ids", "documents", "metadatas", "embeddings", "uris")), strict=True)}  # fmt: skip

    yield Place(Chroma(collection=name, url=url), put, search, dump)


# -- Elasticsearch and OpenSearch


class Near(http.server.BaseHTTPRequestHandler):
    """A stand-in before osmem: passes everything on, and answers a search by vector itself."""

    behind: int
    is_elastic: bool
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        told = json.loads(body) if self.path.endswith("/_search") and body else {}
        wanted = told.get("knn") if self.is_elastic else (told.get("query") or {}).get("knn")
        if wanted:
            path, vector, k = (wanted["field"], wanted["query_vector"], wanted["k"]) if self.is_elastic else next((path, one["vector"], one["k"]) for path, one in wanted.items())  # fmt: skip
            status, found = self._ask("POST", json.dumps({"size": 10_000, "fields": told.get("fields", [])}).encode())
            got = json.loads(found)
            got["hits"]["hits"].sort(key=lambda one: near(one["_source"][path], vector))
            del got["hits"]["hits"][k:]
            found = json.dumps(got).encode()
        else:
            if self.is_elastic:  # what only Elasticsearch takes
                body = body.replace(b'"_source":{"exclude_vectors":false}', b'"_source":true')
            status, found = self._ask(self.command, body)
        if self.path == "/" and self.is_elastic:
            found = json.dumps({"version": {"number": "9.2.1", "build_flavor": "default"}}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815

    def _ask(self, method: str, body: bytes) -> tuple[int, bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.behind, timeout=30)
        line.request(method, self.path, body, {"content-type": self.headers.get("content-type", "application/json")})
        reply = line.getresponse()
        found = reply.read()
        line.close()
        return reply.status, found

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(kind: type[http.server.BaseHTTPRequestHandler], **more: Any) -> Iterator[str]:
    """An HTTP server of the test's own: its address."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (kind,), more))
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}"
    finally:
        made.shutdown()
        made.server_close()
        thread.join(5)


@contextlib.contextmanager
def _elastic(kind: str, folder: Path, url: str) -> Iterator[Place]:
    pytest.importorskip("osmem_server")
    with servers.opensearch(folder) as port, serving(Near, behind=port, is_elastic=kind == "elastic") as url:

        def put(some: Sequence[Row]) -> None:
            lines = [json.dumps(part) for one in some for part in ({"index": {"_id": f"i{one.n}", "routing": f"r{one.n % 2}"}}, {"meta": {"document": one.document}, "text": one.text, "vector": one.vector})]  # fmt: skip
            assert not asked(f"{url}/{NAME}/_bulk?refresh=true", ("\n".join(lines) + "\n").encode())["errors"]

        def search(vector: Sequence[float]) -> list[str]:
            knn = {"knn": {"field": "vector", "query_vector": vector, "k": 10}} if kind == "elastic" else {"query": {"knn": {"vector": {"vector": vector, "k": 10}}}}  # fmt: skip
            return [one["_source"]["meta"]["document"] for one in asked(f"{url}/{NAME}/_search", knn)["hits"]["hits"]]

        def dump() -> dict[str, Any]:
            found = asked(f"{url}/{NAME}/_search", {"size": 10_000})["hits"]["hits"]
            return {one["_id"]: (one["_source"], one["_routing"]) for one in found}

        mapped = {"meta": {"properties": {"document": {"type": "text", "fields": {"keyword": {"type": "keyword"}}}}}, "text": {"type": "text"}, "vector": {"type": "knn_vector", "dimension": 3}}  # fmt: skip
        asked(f"{url}/{NAME}", {"settings": {"index.knn": True}, "mappings": {"properties": mapped}}, "PUT")
        told = Elastic(collection=NAME, url=url, field="meta.document.keyword", text="text", vector="vector")
        yield Place(told, put, search, dump)
