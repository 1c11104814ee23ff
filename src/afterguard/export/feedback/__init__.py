"""What SIEMs say of our alerts, in their own shapes. Pure: bytes in, structs out.

In: one JSON document, a list, JSON lines, or what a search answers. Out: `Found`: what was heard of which alert, and what says nothing we know, counted. To add a SIEM, write its file and add it to SHAPES.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

import msgspec

from afterguard.export.feedback import elastic, ocsf, sentinel, splunk
from afterguard.export.feedback.heard import Heard, Seen, Word, named, seen
from afterguard.watch.triage import UNDETERMINED

CAP = 32 << 20
"""Bytes of one file or answer."""
MOST = 50_000
"""Documents of one file or answer."""
VALUES = 50
SHAPES: tuple[Callable[[dict[str, Any]], Word | None], ...] = (sentinel.read, elastic.read, splunk.read, ocsf.read)
"""Asked in this order: a finding that Splunk made of an OCSF event has the fields of both."""

__all__ = ["CAP", "Found", "Heard", "Seen", "Word", "documents", "read"]


class Found(msgspec.Struct):
    """What documents said. What says nothing is counted by why."""

    documents: int = 0
    heard: list[Heard] = []
    silent: int = 0
    """Nobody has judged them."""
    unknown: dict[str, int] = {}
    """Values that are no disposition we know -> how many."""
    unnamed: int = 0
    """They name no alert of ours."""
    strange: int = 0
    """No shape that is known here."""
    unread: int = 0
    """No JSON, or beyond MOST."""


def read(data: bytes | Iterable[Any]) -> Found:
    """Everything that a file, or documents, say."""
    out = Found()
    unknown: Counter[str] = Counter()
    for one in documents(data) if isinstance(data, bytes) else (inner for whole in data for inner in _opened(whole)):
        out.documents += 1
        if one is None or out.documents > MOST:
            out.unread += 1
            continue
        word = next((word for shape in SHAPES if (word := shape(one)) is not None), None) if isinstance(one, dict) else None  # fmt: skip
        if word is None:
            out.strange += 1
        elif not word.what and word.value:
            unknown[f"{word.system}: {word.value[:100]}"] += 1
        elif not word.what or (word.what == UNDETERMINED and not word.at):
            out.silent += 1
        elif found := named(one) | (sentinel.about(one) if word.system == "sentinel" else {}):
            shown = seen(one) if len(found) == 1 else None
            out.heard += [Heard(name, revision, word, shown) for name, revision in found.items()]
        else:
            out.unnamed += 1
    out.unknown = dict(unknown.most_common(VALUES))
    if rest := unknown.total() - sum(out.unknown.values()):
        out.unknown["others"] = rest
    return out


def documents(data: bytes) -> Iterator[Any]:
    """Each document of a file; None for a line that is no JSON."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        yield from _opened(msgspec.json.decode(data))
        return
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        lines = BytesIO(data)
    for line in lines:
        if not line.strip():
            continue
        try:
            yield from _opened(msgspec.json.decode(line))
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            yield None


def _opened(whole: Any) -> Iterator[Any]:
    """What an answer of a search holds: Azure's `value`, Elasticsearch's `hits`, Splunk's `results` or `result`."""
    if isinstance(whole, list):
        for one in whole:
            yield from _opened(one) if isinstance(one, dict) else (one,)
        return
    if not isinstance(whole, dict):
        yield whole
        return
    hits = whole.get("hits")
    inside = hits.get("hits") if isinstance(hits, dict) else whole.get("value", whole.get("results"))
    if isinstance(inside, list) and "class_uid" not in whole and "properties" not in whole:
        for one in inside:
            yield _hit(one)
    elif isinstance(whole.get("result"), dict):
        if whole.get("preview") is not True:  # what a search shows before it is done comes again
            yield whole["result"]
    else:
        yield _hit(whole)


def _hit(one: Any) -> Any:
    """A hit of a search as one document."""
    source = one.get("_source") if isinstance(one, dict) else None
    fields = one.get("fields") if isinstance(one, dict) else None
    if not isinstance(source, dict) and not (isinstance(fields, dict) and "_index" in one):
        return one
    inner = fields if isinstance(fields, dict) else {}
    return inner | (source if isinstance(source, dict) else {}) | {"_id": one.get("_id")}
