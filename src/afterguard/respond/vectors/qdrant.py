"""Qdrant, over HTTP or embedded: a collection beside the one that is searched.

In: its settings. Out: `opened`, a store. Of a point its id, its payload and the direction of its vectors are compared after each move: a collection that is searched by cosine gives them back with another
length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from afterguard.errors import AfterguardError, UsageError
from afterguard.files import secret
from afterguard.respond.vectors.moving import PAGE, Point, mark, move
from afterguard.respond.vectors.store import NEAREST, Store, Vectors, failed

ASIDE = "-quarantine"
PATIENCE = 20
"""Seconds for one answer."""


class Qdrant(Vectors, frozen=True, kw_only=True, tag="qdrant"):
    """A collection of Qdrant."""

    url: str = ""
    path: str = ""
    """Folder of an embedded one."""
    api_key: str = ""
    """File with the key."""

    def __post_init__(self) -> None:
        if bool(self.url) == bool(self.path):
            raise ValueError("qdrant needs a url or a path, and not both")


@contextmanager
def opened(settings: Qdrant) -> Iterator[Store]:
    """A store. Raises UsageError without the library, Unreachable for whatever the server does."""
    try:
        from qdrant_client import QdrantClient
    except ImportError:
        raise UsageError("Qdrant needs its client", hint="pip install 'afterguard[qdrant]'", slug="missing-extra") from None  # fmt: skip
    client = None
    try:
        key = secret(settings.api_key) if settings.api_key else None
        client = QdrantClient(url=settings.url, api_key=key, timeout=PATIENCE, check_compatibility=False) if settings.url else QdrantClient(path=settings.path)  # fmt: skip
        yield _Qdrant(client, settings)
    except AfterguardError:
        raise
    except Exception as error:  # whatever the client raises when the server is away or says no
        raise failed(str(error)) from None
    finally:
        if client is not None:
            client.close()


class _Qdrant:
    """See Store and moving.Pages."""

    def __init__(self, client: Any, settings: Qdrant) -> None:
        self.client, self.settings = client, settings

    def objections(self) -> list[str]:
        return [] if self.is_there(aside=False) else [f"there is no collection {self.settings.collection}"]

    def count(self, document: str, aside: bool) -> int:
        if not self.is_there(aside):
            return 0
        return int(self.client.count(self._name(aside), count_filter=self._of(document), exact=True).count)

    def marks(self, document: str) -> Iterator[str]:
        for aside in filter(self.is_there, (False, True)):
            for rows in self._scrolled(aside, scroll_filter=self._of(document), with_payload=True):
                yield from (mark(one.id, one.payload) for one in rows)

    def texts(self) -> Iterator[tuple[str, str]]:
        field, text = self.settings.field, self.settings.text
        for aside in filter(self.is_there, (False, True) if text else ()):
            for rows in self._scrolled(aside, with_payload=[field, text]):
                for one in rows:
                    found = (one.payload or {}).get(field), (one.payload or {}).get(text)
                    if isinstance(found[0], str) and isinstance(found[1], str):
                        yield found[0], found[1]

    def move(self, document: str, back: bool) -> int:
        return move(self, document, back)

    def found(self, document: str) -> int | None:
        aside = self.page(document, aside=True) if self.is_there(aside=True) else []
        if not aside:
            return None
        vector, using = aside[0].kept.vector, None
        if isinstance(vector, dict):
            using, vector = next(iter(vector.items()), (None, None))
        if vector is None:
            return None
        near = self.client.query_points(self._name(False), query=vector, using=using, limit=NEAREST, with_payload=[self.settings.field])  # fmt: skip
        return sum(bool((one.payload or {}).get(self.settings.field) == document) for one in near.points)

    # -- pages

    def is_there(self, aside: bool) -> bool:
        return bool(self.client.collection_exists(self._name(aside)))

    def make(self) -> None:
        if not self.is_there(aside=True):
            known = self.client.get_collection(self._name(False)).config.params
            self.client.create_collection(self._name(True), vectors_config=known.vectors, sparse_vectors_config=known.sparse_vectors)  # fmt: skip

    def page(self, document: str, aside: bool) -> list[Point]:
        rows, _ = self.client.scroll(self._name(aside), scroll_filter=self._of(document), limit=PAGE, with_payload=True, with_vectors=True)  # fmt: skip
        return [_point(one) for one in rows]

    def have(self, ids: Sequence[str | int], aside: bool) -> Mapping[str | int, Point]:
        rows = self.client.retrieve(self._name(aside), ids=list(ids), with_payload=True, with_vectors=True)
        return {one.id: _point(one) for one in rows}

    def put(self, points: Sequence[Point], aside: bool) -> None:
        self.client.upsert(self._name(aside), points=[one.kept for one in points], wait=True)

    def drop(self, points: Sequence[Point], aside: bool) -> int:
        from qdrant_client import models

        ids: list[Any] = [one.id for one in points]
        self.client.delete(self._name(aside), points_selector=models.PointIdsList(points=ids), wait=True)
        return len(ids)

    def _name(self, aside: bool) -> str:
        return self.settings.collection + (ASIDE if aside else "")

    def _of(self, document: str) -> Any:
        from qdrant_client import models

        return models.Filter(must=[models.FieldCondition(key=self.settings.field, match=models.MatchValue(value=document))])  # fmt: skip

    def _scrolled(self, aside: bool, **more: Any) -> Iterator[list[Any]]:
        at = None
        while True:
            rows, at = self.client.scroll(self._name(aside), limit=PAGE, offset=at, **more)
            yield rows
            if at is None:
                return


def _point(one: Any) -> Point:
    from qdrant_client import models

    return Point(one.id, mark(one.id, one.payload), _direction(one.vector), models.PointStruct(id=one.id, vector=one.vector, payload=one.payload))  # fmt: skip


def _direction(vector: Any) -> tuple[float, ...]:
    """Of the point's dense vectors, one after another."""
    dense = [vector] if isinstance(vector, list) else [one for _, one in sorted((vector or {}).items()) if isinstance(one, list)]  # fmt: skip
    flat = [one for one in dense if all(isinstance(number, int | float) for number in one)]
    return tuple(number / (math.hypot(*one) or 1.0) for one in flat for number in one)
