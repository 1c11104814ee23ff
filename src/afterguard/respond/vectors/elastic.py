"""Elasticsearch and OpenSearch, by their HTTP interface: an index beside the one that is searched.

In: its settings. Out: `opened`, a store. What is moved is `_source` as it is written there, with id and routing; it is deleted only as long as nobody wrote to it since it was read (`if_seq_no`). The index beside it maps
the document's name and nothing else. Where `_source` does not hold everything (excludes, synthetic), nothing is moved.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec

from afterguard.files import secret
from afterguard.respond.vectors.moving import PAGE, Point, mark, move
from afterguard.respond.vectors.store import NEAREST, Name, Store, Vectors, failed
from afterguard.respond.vectors.web import Door, segment

ASIDE = "-quarantine"
FLAT = bytes.maketrans(b"\r\n", b"  ")
"""A line break in JSON can only be a blank: in the bulk format it would end the document."""
LONGEST = 10_000_000
"""Documents of an index that are looked through."""
LINES = "application/x-ndjson"
EXACT = ("keyword", "constant_keyword", "wildcard")
"""Types of fields that are compared whole."""
VECTORS = ("dense_vector", "knn_vector")
KEEPS = ((9, 2), "elasticsearch")
"""From here on a reply leaves vectors out of `_source` unless asked not to."""


class Elastic(Vectors, frozen=True, kw_only=True, tag="elastic"):
    """An index, or an alias of one, of Elasticsearch or OpenSearch."""

    url: Name
    vector: str = ""
    """The field of the vectors: with it a search by one is asked whether it still finds the document."""
    api_key: str = ""
    """File with a key, sent as `Authorization: ApiKey`."""
    user: str = ""
    """A user name, where there is no key."""
    password: str = ""
    """File with that user's password."""
    plain: bool = False
    """Whether http:// beyond this machine is taken."""
    ca_file: str = ""
    """Certificates that are trusted instead of the system's."""


class _Version(msgspec.Struct):
    number: str = ""
    distribution: str = "elasticsearch"


class _Root(msgspec.Struct):
    version: _Version


class _Index(msgspec.Struct):
    mappings: dict[str, Any] = {}


class _Hit(msgspec.Struct):
    id: str = msgspec.field(name="_id")
    source: msgspec.Raw = msgspec.field(name="_source", default=msgspec.Raw(b"{}"))
    routing: str | None = msgspec.field(name="_routing", default=None)
    seq: int = msgspec.field(name="_seq_no", default=-1)
    term: int = msgspec.field(name="_primary_term", default=0)
    fields: dict[str, list[Any]] = {}


class _Hits(msgspec.Struct):
    hits: list[_Hit]


class _Shards(msgspec.Struct):
    failed: int = 0


class _Found(msgspec.Struct):
    hits: _Hits
    timed_out: bool = False
    shards: _Shards = msgspec.field(name="_shards", default_factory=_Shards)
    scroll: str = msgspec.field(name="_scroll_id", default="")


class _Count(msgspec.Struct):
    count: int
    shards: _Shards = msgspec.field(name="_shards", default_factory=_Shards)


class _Outcome(msgspec.Struct):
    status: int = 0
    error: Any = None


class _Bulk(msgspec.Struct):
    items: list[dict[Literal["create", "delete"], _Outcome]]


@contextmanager
def opened(settings: Elastic) -> Iterator[Store]:
    """A store. Raises UsageError, Unreachable."""
    headers = {}
    if settings.api_key:
        headers["authorization"] = f"ApiKey {secret(settings.api_key)}"
    elif settings.user:
        pair = f"{settings.user}:{secret(settings.password) if settings.password else ''}"
        headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
    yield _Elastic(Door(settings.url, headers, is_plain=settings.plain, ca_file=settings.ca_file), settings)


class _Elastic:
    """See Store and moving.Pages."""

    def __init__(self, door: Door, settings: Elastic) -> None:
        self.door, self.settings = door, settings
        self._version: _Version | None = None

    def objections(self) -> list[str]:
        found = self.door.look("GET", f"/{segment(self._name(False))}", dict[str, _Index])
        if not found:
            return [f"there is no index {self.settings.collection}"]
        if len(found) > 1:
            return [f"{self.settings.collection} stands for {len(found)} indices: name one"]
        mappings = next(iter(found.values())).mappings
        source = mappings.get("_source") or {}
        if not isinstance(source, dict) or source.get("enabled", True) is False or source.get("mode", "stored") != "stored" or source.get("excludes") or source.get("includes"):  # fmt: skip
            return [f"{self.settings.collection} does not keep the whole _source: what is moved could not be put back"]
        field, vector = self.settings.field, self.settings.vector
        kind = _type(mappings, field)
        if field != "_id" and kind not in EXACT:
            return [f"{field} is of type {kind or 'unknown'} in {self.settings.collection}: name a keyword, as in {field}.keyword"]  # fmt: skip
        if vector and (kind := _type(mappings, vector)) not in VECTORS:
            return [f"{vector} is of type {kind or 'unknown'} in {self.settings.collection}: no search by vector"]
        return []

    def count(self, document: str, aside: bool) -> int:
        if not self.is_there(aside):
            return 0
        asked = msgspec.json.encode({"query": self._of(document)})
        found = self.door.ask("POST", f"/{segment(self._name(aside))}/_count", _Count, asked)
        if found.shards.failed:
            raise failed("not every shard answers", "wait until the index is whole")
        return found.count

    def marks(self, document: str) -> Iterator[str]:
        for aside in filter(self.is_there, (False, True)):
            for hits in self._scrolled(aside, self._of(document), True):
                yield from (_point(one).mark for one in hits)

    def texts(self) -> Iterator[tuple[str, str]]:
        if not self.settings.text:
            return
        for aside in filter(self.is_there, (False, True)):
            for hits in self._scrolled(aside, {"match_all": {}}, self.settings.text):
                for one in hits:
                    text = _walked(_decoded(one.source), self.settings.text)
                    document = self._document(one)
                    if isinstance(text, str) and isinstance(document, str):
                        yield document, text

    def move(self, document: str, back: bool) -> int:
        if found := self.objections():
            raise failed(found[0], "change the settings, or the index")
        return move(self, document, back)

    def found(self, document: str) -> int | None:
        path = self.settings.vector
        points = self.page(document, aside=True) if path and self.is_there(aside=True) else []
        vector = _walked(_decoded(points[0].kept.source), path) if points else None
        if not isinstance(vector, list):
            return None
        asked: dict[str, Any] = {"size": NEAREST, "_source": False, "fields": self._fields()}
        if self._told().distribution == "opensearch":
            asked["query"] = {"knn": {path: {"vector": vector, "k": NEAREST}}}
        else:
            asked["knn"] = {"field": path, "query_vector": vector, "k": NEAREST, "num_candidates": NEAREST * 10}
        return sum(bool(self._document(one) == document) for one in self._searched(False, asked).hits.hits)

    # -- pages

    def is_there(self, aside: bool) -> bool:
        return self.door.look("GET", f"/{segment(self._name(aside))}", dict[str, object]) is not None

    def make(self) -> None:
        if self.is_there(aside=True):
            return
        mappings: dict[str, Any] = {"dynamic": False}
        if self.settings.field != "_id":
            mappings["properties"] = self._mapped()
        self.door.ask("PUT", f"/{segment(self._name(True))}", object, msgspec.json.encode({"mappings": mappings}))

    def page(self, document: str, aside: bool) -> list[Point]:
        return self._points(aside, self._of(document), PAGE)

    def have(self, ids: Sequence[str | int], aside: bool) -> Mapping[str | int, Point]:
        return {one.id: one for one in self._points(aside, {"ids": {"values": list(ids)}}, len(ids))}

    def put(self, points: Sequence[Point], aside: bool) -> None:
        lines = []
        for one in points:
            lines += [_line("create", one.kept, {}), bytes(one.kept.source).translate(FLAT)]
        if wrong := [one for one in self._bulk(aside, lines) if not 200 <= one.status < 300]:
            raise failed(f"{wrong[0].status} {wrong[0].error}", "nothing was taken away; look at the store")

    def drop(self, points: Sequence[Point], aside: bool) -> int:
        lines = [_line("delete", one.kept, {"if_seq_no": one.kept.seq, "if_primary_term": one.kept.term}) for one in points]  # fmt: skip
        found = self._bulk(aside, lines)
        if wrong := [one for one in found if not (200 <= one.status < 300 or one.status in (404, 409))]:
            raise failed(f"{wrong[0].status} {wrong[0].error}", "it is in both places now; do it again")
        return sum(one.status != 409 for one in found)

    # -- asking

    def _name(self, aside: bool) -> str:
        return self.settings.collection + (ASIDE if aside else "")

    def _of(self, document: str) -> dict[str, Any]:
        one = {"ids": {"values": [document]}} if self.settings.field == "_id" else {"term": {self.settings.field: document}}  # fmt: skip
        return {"bool": {"filter": [one]}}

    def _fields(self) -> list[str]:
        return [] if self.settings.field == "_id" else [self.settings.field]

    def _document(self, hit: _Hit) -> Any:
        if self.settings.field == "_id":
            return hit.id
        return next(iter(hit.fields.get(self.settings.field, [])), None)

    def _mapped(self) -> dict[str, Any]:
        """The document's name and nothing else, mapped as it is in the index that is searched."""
        (index,) = self.door.ask("GET", f"/{segment(self._name(False))}", dict[str, _Index]).values()
        out: dict[str, Any] = {"type": "keyword"}
        names = self.settings.field.split(".")
        for number in range(len(names) - 1, 0, -1):
            is_beside = _type(index.mappings, ".".join(names[:number])) not in ("", "object", "nested")
            out = {"type": "keyword", "fields": {names[number]: out}} if is_beside else {"properties": {names[number]: out}}  # fmt: skip
        return {names[0]: out}

    def _told(self) -> _Version:
        if self._version is None:
            self._version = self.door.ask("GET", "/", _Root).version
        return self._version

    def _source(self) -> Any:
        told = self._told()
        number = tuple(int(one[:6]) for one in told.number.split(".")[:2] if one.isdecimal())
        return {"exclude_vectors": False} if told.distribution == KEEPS[1] and number >= KEEPS[0] else True

    def _points(self, aside: bool, query: dict[str, Any], size: int) -> list[Point]:
        asked = {"query": query, "size": size, "sort": ["_doc"], "seq_no_primary_term": True, "_source": self._source()}
        return [_point(one) for one in self._searched(aside, asked).hits.hits]

    def _searched(self, aside: bool, asked: dict[str, Any]) -> _Found:
        return _whole(self.door.ask("POST", f"/{segment(self._name(aside))}/_search", _Found, msgspec.json.encode(asked)))  # fmt: skip

    def _scrolled(self, aside: bool, query: dict[str, Any], source: Any) -> Iterator[list[_Hit]]:
        asked = {"query": query, "size": PAGE, "sort": ["_doc"], "fields": self._fields(), "_source": self._source() if source is True else [source]}  # fmt: skip
        path = f"/{segment(self._name(aside))}/_search?scroll=2m"
        found = _whole(self.door.ask("POST", path, _Found, msgspec.json.encode(asked)))
        try:
            for _ in range(LONGEST // PAGE):
                if not found.hits.hits:
                    return
                yield found.hits.hits
                if not found.scroll:
                    return
                asked = {"scroll": "2m", "scroll_id": found.scroll}
                found = _whole(self.door.ask("POST", "/_search/scroll", _Found, msgspec.json.encode(asked)))
        finally:
            if found.scroll:
                self.door.look("DELETE", "/_search/scroll", object, msgspec.json.encode({"scroll_id": [found.scroll]}))

    def _bulk(self, aside: bool, lines: Sequence[bytes]) -> list[_Outcome]:
        body = b"".join(one + b"\n" for one in lines)
        # No pipeline: what is put back is what it was, not what an ingest would make of it today.
        path = f"/{segment(self._name(aside))}/_bulk?refresh=true&pipeline=_none"
        return [next(iter(one.values()), _Outcome()) for one in self.door.ask("POST", path, _Bulk, body, LINES).items]


def _whole(found: _Found) -> _Found:
    if found.timed_out or found.shards.failed:
        raise failed("not every shard answers", "wait until the index is whole")
    return found


def _point(hit: _Hit) -> Point:
    return Point(hit.id, mark(hit.id, hit.routing, _decoded(hit.source)), (), hit)


def _line(what: str, hit: _Hit, more: Mapping[str, Any]) -> bytes:
    routing = {} if hit.routing is None else {"routing": hit.routing}
    return msgspec.json.encode({what: {"_id": hit.id, **routing, **more}})


def _decoded(source: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(source)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise failed(f"a document is not to be read: {error}") from None


def _walked(found: Any, path: str) -> Any:
    """What stands at a dotted path."""
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _type(mappings: dict[str, Any], path: str) -> str:
    """The type of a field, "" where the mapping knows none; fields of fields as in `title.keyword`."""
    found: Any = mappings
    for name in path.split("."):
        inner = {**_dict(_dict(found).get("fields")), **_dict(_dict(found).get("properties"))}
        found = inner.get(name)
    return str(_dict(found).get("type", "object" if _dict(found).get("properties") else ""))


def _dict(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}
