"""Plain YAML of a person, as scalars, lists and maps that remember their line.

In: bytes. Out: the top map, or UsageError with file and line. Events of the YAML parser are read one by one, so that no
tag is ever constructed and anchors, aliases, depth and size are refused before they cost anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from afterguard.errors import UsageError

BYTES = 1 << 20
DEPTH = 6
ENTRIES = 2000


class Answer(msgspec.Struct, frozen=True):
    """A value with its 1-based line; `kind` is text, list or map."""

    kind: str
    line: int
    text: str = ""
    quoted: bool = False
    items: list[Answer] = []
    fields: dict[str, Answer] = {}


def read(data: bytes, path: str) -> dict[str, Answer]:
    """The top-level map of a YAML file; empty for an empty file. Raises UsageError."""
    if len(data) > BYTES:
        raise _refuse(path, 1, f"the file has {len(data)} bytes; answers need less than {BYTES}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refuse(path, data[: error.start].count(b"\n") + 1, "the file is not UTF-8 text") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _document(_Events(yaml.parse(text, Loader=loader), path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "this is not YAML"
        raise _refuse(path, mark.line + 1 if mark else 1, str(problem)[:200]) from None


class _Events:
    """The events of one file, refused when there are too many of them."""

    def __init__(self, events: Iterator[Any], path: str) -> None:
        self.events, self.path, self.seen = events, path, 0

    def next(self) -> Any:
        event = next(self.events)
        self.seen += 1
        line = _line(event)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refuse(self.path, line, "anchors and aliases are not read here; write the value out")
        if getattr(event, "tag", None) and not isinstance(event, yaml.DocumentStartEvent):
            raise _refuse(self.path, line, "tags (!...) are not read here; write the plain value")
        if self.seen > ENTRIES:
            raise _refuse(self.path, line, f"more than {ENTRIES} entries; this is not a file of answers")
        return event


def _document(events: _Events) -> dict[str, Answer]:
    event = events.next()
    while isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent)):
        event = events.next()
    if isinstance(event, yaml.StreamEndEvent):
        return {}
    top = _value(events, event, 1)
    if top.kind == "text" and top.text.strip() in ("", "~", "null") and not top.quoted:
        return {}
    if top.kind != "map":
        raise _refuse(events.path, top.line, "the file must be a list of `key: value` lines")
    while not isinstance(event := events.next(), yaml.StreamEndEvent):
        if isinstance(event, yaml.DocumentStartEvent):
            raise _refuse(events.path, _line(event), "a second document (---) follows; keep one")
    return top.fields


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1 if event.start_mark else 1


def _value(events: _Events, event: Any, depth: int) -> Answer:
    line = _line(event)
    if depth > DEPTH:
        raise _refuse(events.path, line, f"nested deeper than {DEPTH} levels")
    if isinstance(event, yaml.ScalarEvent):
        return Answer("text", line, event.value, bool(event.style))
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(inner := events.next(), yaml.SequenceEndEvent):
            items.append(_value(events, inner, depth + 1))
        return Answer("list", line, items=items)
    fields: dict[str, Answer] = {}
    while not isinstance(inner := events.next(), yaml.MappingEndEvent):
        key_line = _line(inner)
        if not isinstance(inner, yaml.ScalarEvent):
            raise _refuse(events.path, key_line, "a key must be a plain word")
        if inner.value in fields:
            raise _refuse(events.path, key_line, f"{inner.value[:60]!r} is answered twice")
        value = _value(events, events.next(), depth + 1)
        fields[inner.value] = msgspec.structs.replace(value, line=key_line)
    return Answer("map", line, fields=fields)


def _refuse(path: str, line: int, sentence: str) -> UsageError:
    return UsageError(
        f"{path}:{line}: {sentence}",
        hint="Start again from the questionnaire that `afterguard onboard` writes.",
        slug="business-file",
    )
