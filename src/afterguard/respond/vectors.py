"""A document's vectors moved out of the collection that is searched, into one beside it, and back. Qdrant, over HTTP or embedded.

In: an act, the stores that respond.yaml names. Out: points moved, never deleted before they are seen in the other place; the collection asked again. A target is STORE/DOCUMENT, or DOCUMENT where there is
one store. A document is called as the store calls it, or by the keyed hash that alerts show: then every point's text is hashed as the guard hashes what it sees, and the document of the one that fits is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afterguard.errors import Unreachable, UsageError
from afterguard.respond.act import Act
from afterguard.respond.engine import State
from afterguard.respond.settings import Vectors

ASIDE = "-quarantine"
PAGE = 256
MOST = 100_000
"""Points of one document."""
HASHED = 1_000_000
"""Points whose text is hashed to find a document by what alerts call it."""
Named = Callable[[str], str]
"""Text of a point -> the name the guard gives it in decisions and alerts."""


class Documents:
    """See engine.Adapter."""

    def __init__(self, stores: Mapping[str, Vectors], folder: Path, named: Named | None = None) -> None:
        self.stores, self.folder, self.named = stores, folder, named
        self._known: dict[str, str] = {}
        """Target -> the document it stands for, once it was found."""

    def objections(self, act: Act) -> list[str]:
        """See Adapter."""
        try:
            name, document = self._store(act)
            with _open(name) as client:
                if not client.collection_exists(name.collection):
                    return [f"there is no collection {name.collection}"]
                document = self._meant(client, name, document)
                count = _count(client, name.collection, name, document)
                aside = name.collection + ASIDE
                if not count and not (client.collection_exists(aside) and _count(client, aside, name, document)):
                    return [f"no point of {name.collection} has {name.field} = {document}"]
                return [f"{count} points are more than {MOST}"] if count > MOST else []
        except (UsageError, Unreachable) as error:
            return [f"{error}"]

    def before(self, act: Act) -> dict[str, Any]:
        """See Adapter."""
        store, document = self._store(act)
        with _open(store) as client:
            document = self._meant(client, store, document)
            return {
                "document": document,
                "collection": store.collection,
                "points": _count(client, store.collection, store, document),
            }

    def do(self, act: Act, until: float) -> dict[str, Any]:
        """See Adapter."""
        store, document = self._store(act)
        with _open(store) as client:
            document = self._meant(client, store, document)
            return {
                "document": document,
                "moved": _move(client, store, document, store.collection, store.collection + ASIDE),
            }

    def undo(self, act: Act, before: dict[str, Any]) -> dict[str, Any]:
        """See Adapter."""
        store, document = self._store(act)
        with _open(store) as client:
            document = str(before.get("document") or document)
            return {"moved": _move(client, store, document, store.collection + ASIDE, store.collection)}

    def state(self, act: Act) -> State:
        """See Adapter."""
        try:
            store, document = self._store(act)
            with _open(store) as client:
                document = self._meant(client, store, document)
                here = _count(client, store.collection, store, document)
                aside = store.collection + ASIDE
                there = _count(client, aside, store, document) if client.collection_exists(aside) else 0
        except (UsageError, Unreachable) as error:
            return State("unknown", f"{error}")
        says = f"{here} of its points are in {store.collection}, {there} beside it"
        return State("in_effect" if not here and there else "not", says)

    def is_repeatable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def is_provable(self, act: Act) -> bool:
        """See Adapter."""
        return True

    def _meant(self, client: Any, store: Vectors, document: str) -> str:
        """The store's own name of a document that an alert names by its hash; as it is where nothing fits."""
        if self.named is None or not store.text:
            return document
        if document not in self._known:
            places = [one for one in (store.collection, store.collection + ASIDE) if client.collection_exists(one)]
            if any(_count(client, one, store, document) for one in places):
                return document
            found = next((one for place in places for one in _hashed(client, place, store, document, self.named)), "")
            if not found:
                return document
            self._known[document] = found
        return self._known[document]

    def _store(self, act: Act) -> tuple[Vectors, str]:
        name, _, document = act.target.partition("/")
        if name in self.stores and document:
            return self.stores[name], document
        if len(self.stores) == 1:
            return next(iter(self.stores.values())), act.target
        raise UsageError(f"{act.target} names no vector store of respond.yaml", hint=f"STORE/DOCUMENT, one of {', '.join(self.stores)}", slug="no-such-store")  # fmt: skip


@contextmanager
def _open(store: Vectors) -> Iterator[Any]:
    """A client. Raises UsageError without the library, Unreachable for whatever the server does."""
    try:
        from qdrant_client import QdrantClient
    except ImportError:
        raise UsageError("Qdrant needs its client", hint="pip install 'afterguard[qdrant]'", slug="missing-extra") from None  # fmt: skip
    client = None
    try:
        client = QdrantClient(url=store.url, timeout=20) if store.url else QdrantClient(path=store.path)
        yield client
    except (UsageError, Unreachable):
        raise
    except Exception as error:  # whatever the client raises when the server is away or says no
        raise Unreachable(f"the vector store does not do it: {str(error)[:200]}", hint="is it there, and may we write?", slug="vectors-failed") from None  # fmt: skip
    finally:
        if client is not None:
            client.close()


def _hashed(client: Any, collection: str, store: Vectors, name: str, named: Named) -> Iterator[str]:
    """Documents of points whose text has this name."""
    at, seen = None, 0
    while seen < HASHED:
        rows, at = client.scroll(collection, limit=PAGE, offset=at, with_payload=[store.field, store.text])
        for one in rows:
            text, document = (one.payload or {}).get(store.text), (one.payload or {}).get(store.field)
            if isinstance(text, str) and isinstance(document, str) and named(text) == name:
                yield document
        seen += len(rows)
        if at is None:
            return


def _filter(store: Vectors, document: str) -> Any:
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key=store.field, match=models.MatchValue(value=document))])


def _count(client: Any, collection: str, store: Vectors, document: str) -> int:
    return int(client.count(collection, count_filter=_filter(store, document), exact=True).count)


def _move(client: Any, store: Vectors, document: str, source: str, target: str) -> int:
    """Copied, seen there, then taken away here: a crash in between leaves a point in both places, and doing it again mends that."""
    from qdrant_client import models

    if not client.collection_exists(source):
        return 0
    if not client.collection_exists(target):
        client.create_collection(target, vectors_config=client.get_collection(source).config.params.vectors)
    moved = 0
    while moved <= MOST:
        rows, _ = client.scroll(source, scroll_filter=_filter(store, document), limit=PAGE, with_payload=True, with_vectors=True)  # fmt: skip
        if not rows:
            return moved
        points = [models.PointStruct(id=one.id, vector=one.vector, payload=one.payload) for one in rows]
        client.upsert(target, points=points, wait=True)
        ids = [one.id for one in rows]
        if len(client.retrieve(target, ids=ids)) != len(set(ids)):
            raise Unreachable("points that were copied are not seen there", hint="nothing was taken away; look at the store", slug="vectors-failed")  # fmt: skip
        client.delete(source, points_selector=models.PointIdsList(points=ids), wait=True)
        moved += len(ids)
    return moved
