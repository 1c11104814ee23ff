"""Vector stores built in code -> vector_store Assets with their collection where it is a literal.

In: Facts. Out: Assets by class of a store's own library or of a framework's integration of it, and by raw pgvector SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from afterguard.catalog import load
from afterguard.code.syntax import Expr, Function, argument
from afterguard.discover.facts import Facts, last_part
from afterguard.discover.reach import Reach
from afterguard.model import Asset, AssetKind, Certainty

_SQL = re.compile(
    r"(?i)\bcreate\s+extension\s+(?:if\s+not\s+exists\s+)?\"?vector\b|\bvector\s*\(\s*\d{2,5}\s*\)|<=>|<->\s*(?:%s|\$|:|\?|')"
)
_MAKERS = {
    "from_documents",
    "from_texts",
    "from_existing_index",
    "from_existing_collection",
    "load_local",
    "fromDocuments",
    "fromTexts",
    "fromExistingIndex",
    "fromExistingCollection",
    "from_embeddings",
    "builder",
    "load",
    "from_vector_store",
    "from_existing_graph",
    "construct_instance",
    "from_params",
}
_UNMISTAKABLE = re.compile(
    r"VectorStore|EmbeddingStore|DocumentStore|VectorSearch|^(FAISS|PGVector|QdrantClient|MilvusClient|PersistentClient)$"
)


@cache
def _classes() -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for store, words in load("signals/calls")["stores"].items():
        for word in words:
            out.setdefault(word, []).append(store)
    return out


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Stores by construction, then by SQL."""
    for function, call in facts.calls:
        store = store_of(facts, facts.full(call.text, function.name))
        if store:
            collection = _collection(facts, function, call)
            reach.mark(function, call, AssetKind.vector_store, store)
            yield facts.asset(AssetKind.vector_store, store, call.line, collection=collection)
    for function, expr in facts.of_kind("text"):
        if (
            expr.kind == "text"
            and len(expr.text) < 20_000
            and _SQL.search(expr.text)
            and re.search(r"(?i)select|create|alter|insert", expr.text)
        ):
            reach.mark(function, expr, AssetKind.vector_store, "pgvector")
            yield facts.asset(AssetKind.vector_store, "pgvector", expr.line, Certainty.inferred)


def store_of(facts: Facts, full: str) -> str:
    """The store a resolved callee makes or opens, "" for none."""
    signal = facts.product(full)
    if signal is None:
        return ""
    parts = [one for one in re.split(r"[.()\[\]]+", full) if one]
    last = parts[-1] if parts else ""
    if signal.kind is AssetKind.vector_store:
        made = (
            last in load("signals/calls")["stores"].get(signal.name, ())
            or last in _MAKERS
            or last == signal.name.capitalize()
        )
        return signal.name if made or (last[:1].isupper() and last in _classes()) else ""
    word = parts[-2] if last in _MAKERS and len(parts) > 1 else last
    stores = _classes().get(word, [])
    own = [store for store in stores if store == signal.name]
    if own:
        return "vertex-ai-vector-search" if signal.name == "google-vertex-ai" else own[0]
    if (
        signal.kind is AssetKind.framework
        and stores
        and word[:1].isupper()
        and word not in ("Index", "Client", "Collection", "Vector", "PersistentClient", "HttpClient")
    ):
        return stores[0]
    return ""


def _collection(facts: Facts, function: Function, call: Expr) -> str:
    for name in load("signals/calls")["collection_arguments"]:
        value = argument(call, name)
        text = facts.literal(value, function.name) if value is not None else ""
        if text and len(text) < 120 and "://" not in text:
            return text
    if (
        last_part(call.text)
        in (
            "Index",
            "index",
            "create_collection",
            "get_or_create_collection",
            "get_collection",
            "Collection",
            "read_index",
            "getOrCreateCollection",
            "createCollection",
        )
        and call.parts
    ):
        text = facts.literal(call.parts[0], function.name)
        return text if len(text) < 120 else ""
    return ""
