"""Chroma, by its HTTP interface (v2): a collection beside the one that is searched.

In: its settings. Out: `opened`, a store. A record is its id, embedding, text, metadata and address; all of it is compared after each move, the embedding but for its last bits: a
collection that is searched by cosine gives those back now so, now so. `field: _id` means that a record is its own document. A text is looked for in the
record's own, unless `text` names a key of the metadata. Source: the OpenAPI description that the server shows (chromadb 1.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from afterguard.files import secret
from afterguard.respond.vectors.moving import PAGE, Point, mark, move
from afterguard.respond.vectors.store import MOST, NEAREST, Name, Store, Vectors, failed
from afterguard.respond.vectors.web import Door, segment

ASIDE = "-quarantine"
OWN = "_id"
LONGEST = 10_000_000
"""Records of a collection that are looked through."""
ALL = ("documents", "metadatas", "embeddings", "uris")


class Chroma(Vectors, frozen=True, kw_only=True, tag="chroma"):
    """A collection of Chroma."""

    url: Name
    tenant: Name = "default_tenant"
    database: Name = "default_database"
    token: str = ""
    """File with a token, where one is asked for."""
    header: Name = "x-chroma-token"
    """Where the token goes; as `authorization` it is sent as a Bearer."""
    plain: bool = False
    """Whether http:// beyond this machine is taken."""
    ca_file: str = ""
    """Certificates that are trusted instead of the system's."""


class _Collection(msgspec.Struct):
    id: str


Metadata = dict[str, Any]
Embedding = list[float]


class _Rows(msgspec.Struct):
    ids: list[str]
    embeddings: list[Embedding | None] | None = None
    documents: list[str | None] | None = None
    metadatas: list[Metadata | None] | None = None
    uris: list[str | None] | None = None


class _Near(msgspec.Struct):
    ids: list[list[str]]
    metadatas: list[list[Metadata | None]] | None = None


class _Record(msgspec.Struct, frozen=True):
    id: str
    embedding: Embedding | None
    document: str | None
    metadata: Metadata | None
    uri: str | None


@contextmanager
def opened(settings: Chroma) -> Iterator[Store]:
    """A store. Raises UsageError, Unreachable."""
    headers = {}
    if settings.token:
        is_bearer = settings.header.lower() == "authorization"
        headers[settings.header] = ("Bearer " if is_bearer else "") + secret(settings.token)
    yield _Chroma(Door(settings.url, headers, is_plain=settings.plain, ca_file=settings.ca_file), settings)


class _Chroma:
    """See Store and moving.Pages."""

    def __init__(self, door: Door, settings: Chroma) -> None:
        self.door, self.settings = door, settings
        self.root = f"/api/v2/tenants/{segment(settings.tenant)}/databases/{segment(settings.database)}/collections"
        self._ids: dict[bool, str] = {}

    def objections(self) -> list[str]:
        return [] if self.is_there(aside=False) else [f"there is no collection {self.settings.collection}"]

    def count(self, document: str, aside: bool) -> int:
        if not self.is_there(aside):
            return 0
        count = 0
        for rows in self._each(aside, self._of(document), ()):
            count += len(rows)
            if count > MOST:
                break
        return count

    def marks(self, document: str) -> Iterator[str]:
        for aside in filter(self.is_there, (False, True)):
            for rows in self._each(aside, self._of(document), ALL):
                yield from (_point(one).mark for one in rows)

    def texts(self) -> Iterator[tuple[str, str]]:
        for aside in filter(self.is_there, (False, True)):
            for rows in self._each(aside, {}, ("documents", "metadatas")):
                for one in rows:
                    text = (one.metadata or {}).get(self.settings.text) if self.settings.text else one.document
                    document = self._document(one.id, one.metadata)
                    if isinstance(text, str) and isinstance(document, str):
                        yield document, text

    def move(self, document: str, back: bool) -> int:
        return move(self, document, back)

    def found(self, document: str) -> int | None:
        points = self.page(document, aside=True) if self.is_there(aside=True) else []
        if not points or points[0].kept.embedding is None:
            return None
        asked = {"query_embeddings": [points[0].kept.embedding], "n_results": NEAREST, "include": ["metadatas"]}
        near = self._asked(False, "query", _Near, asked)
        ids = near.ids[0] if near.ids else []
        told: Sequence[Metadata | None] = near.metadatas[0] if near.metadatas else [None] * len(ids)
        return sum(bool(self._document(one, metadata) == document) for one, metadata in zip(ids, told, strict=False))

    # -- pages

    def is_there(self, aside: bool) -> bool:
        if aside not in self._ids:
            found = self.door.look("GET", f"{self.root}/{segment(self._name(aside))}", _Collection)
            if found is None:
                return False
            self._ids[aside] = found.id
        return True

    def make(self) -> None:
        if not self.is_there(aside=True):
            body = msgspec.json.encode({"name": self._name(True), "get_or_create": True})
            self._ids[True] = self.door.ask("POST", self.root, _Collection, body).id

    def page(self, document: str, aside: bool) -> list[Point]:
        return [_point(one) for one in self._got(aside, {**self._of(document), "limit": PAGE}, ALL)]

    def have(self, ids: Sequence[str | int], aside: bool) -> Mapping[str | int, Point]:
        return {one.id: _point(one) for one in self._got(aside, {"ids": ids}, ALL)}

    def put(self, points: Sequence[Point], aside: bool) -> None:
        rows: list[_Record] = [one.kept for one in points]
        body = {
            "ids": [one.id for one in rows],
            "embeddings": [one.embedding for one in rows],
            "documents": [one.document for one in rows],
            "metadatas": [one.metadata for one in rows],
            "uris": [one.uri for one in rows],
        }
        self._asked(aside, "add", object, body)

    def drop(self, points: Sequence[Point], aside: bool) -> int:
        self._asked(aside, "delete", object, {"ids": [one.id for one in points]})
        return len(points)

    def _name(self, aside: bool) -> str:
        return self.settings.collection + (ASIDE if aside else "")

    def _of(self, document: str) -> dict[str, Any]:
        if self.settings.field == OWN:
            return {"ids": [document]}
        return {"where": {self.settings.field: {"$eq": document}}}

    def _document(self, id: str, metadata: Metadata | None) -> Any:
        return id if self.settings.field == OWN else (metadata or {}).get(self.settings.field)

    def _asked(self, aside: bool, what: str, kind: type[Any], body: dict[str, Any]) -> Any:
        if not self.is_there(aside):
            raise failed(f"there is no collection {self._name(aside)}")
        return self.door.ask("POST", f"{self.root}/{segment(self._ids[aside])}/{what}", kind, msgspec.json.encode(body))

    def _got(self, aside: bool, of: dict[str, Any], include: Sequence[str]) -> list[_Record]:
        rows: _Rows = self._asked(aside, "get", _Rows, {**of, "include": include})
        count = len(rows.ids)
        columns = [one if one is not None else [None] * count for one in (rows.embeddings, rows.documents, rows.metadatas, rows.uris)]  # fmt: skip
        if len(set(rows.ids)) != count or any(len(one) != count for one in columns):
            raise failed("its answer holds columns of different lengths, or an id twice", "is it the store that respond.yaml says?")  # fmt: skip
        return [_Record(*one) for one in zip(rows.ids, *columns, strict=True)]

    def _each(self, aside: bool, of: dict[str, Any], include: Sequence[str]) -> Iterator[list[_Record]]:
        size, at = (PAGE if include else PAGE * 16), 0
        while True:
            rows = self._got(aside, {**of, "limit": size, "offset": at}, include)
            yield rows
            at += len(rows)
            if len(rows) != size or at > LONGEST:
                return


def _point(one: _Record) -> Point:
    return Point(one.id, mark(one.id, one.document, one.metadata, one.uri), tuple(one.embedding or ()), one)
