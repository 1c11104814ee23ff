"""Files of feature rows held against a schema, before a model is asked about them.

In: paths, a schema, names of columns that are no features. Out: what is otherwise than agreed, by kind and feature, with how many rows and where the first stands; and each row that is as agreed, for whoever wants to go
on with those. It streams: memory does not grow with the file. A row that cannot be read is counted, and is never as agreed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from afterguard import files
from afterguard.detect.feature_schema import Checked, Schema
from afterguard.model import Batch, Hit, Severity
from afterguard.tap import feature_rows
from afterguard.tap.feature_rows import Record
from afterguard.wire import table
from afterguard.wire.table import Unreadable

CHUNK = 512
FORMAT = "afterguard.rows/1"
SHOWN = 200
"""Kinds and features that are told apart; more are counted."""
Write = Callable[[dict[str, Any]], object]


class Found(msgspec.Struct):
    """One way in which rows are otherwise than agreed."""

    kind: str
    feature: str
    severity: Severity
    rows: int
    first: str
    """FILE:LINE."""
    says: str


class Result(msgspec.Struct):
    """What was found in all files."""

    format: str = FORMAT
    rows: int = 0
    good: int = 0
    unread: int = 0
    """Rows that could not be read."""
    first_unread: str = ""
    findings: list[Found] = []
    more: int = 0
    """Hits of further kinds and features."""


def check(
    paths: Sequence[Path],
    schema: Schema,
    note: files.Note,
    *,
    ignore: Collection[str] = (),
    limits: files.Limits = files.DEFAULT,
    write: Write | None = None,
    progress: Callable[[int, int], None] = lambda count, done: None,
) -> Result:
    """Hold every row against the schema."""
    result, checked = Result(), Checked(schema)
    known: dict[tuple[str, str], Found] = {}
    texts = frozenset(name for name, one in schema.features.items() if one.kind == "text")
    for entry in files.walk(list(paths), note, limits):
        rows = feature_rows.read(entry.full, entry.path, note, limits, texts=texts)
        for some in feature_rows.chunks(rows, CHUNK):
            for number, record, hits in _judged(some, checked, frozenset(ignore)):
                result.rows += 1
                if record is None:
                    result.unread += 1
                    result.first_unread = result.first_unread or f"{entry.path}:{number}"
                elif not hits:
                    result.good += 1
                    if write is not None:
                        write(record)
                for hit in hits:
                    _add(result, known, hit, f"{entry.path}:{number}")
            progress(result.rows, 0)
    result.findings = sorted(known.values(), key=lambda one: -one.rows)
    return result


def _judged(
    some: Sequence[Record], checked: Checked, ignore: Collection[str]
) -> Iterator[tuple[int, dict[str, Any] | None, list[Hit]]]:
    """(number, row, hits) of each: all at once, and one by one where something is wrong with any of them."""
    good = [one for _, one in some if one is not None]
    if len(good) == len(some) and not _hits([_features(one, ignore) for one in good], checked):
        yield from ((number, record, []) for number, record in some)
        return
    for number, record in some:
        found = [] if record is None else _hits([_features(record, ignore)], checked)
        yield (number, None, []) if found is None else (number, record, found)


def _features(record: dict[str, Any], ignore: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ignore} if ignore else record


def _hits(rows: list[dict[str, Any]], checked: Checked) -> list[Hit] | None:
    """None where they are no rows that anybody could judge."""
    try:
        made = table.of_records(rows)
    except Unreadable:
        return None
    return checked.look(Batch(made.names, made.kinds, made.numbers, made.texts), "")


def _add(result: Result, known: dict[tuple[str, str], Found], hit: Hit, where: str) -> None:
    feature = hit.cause.removeprefix("feature ")
    found = known.get((hit.kind, feature))
    if found is not None:
        found.rows += 1
    elif len(known) < SHOWN:
        known[hit.kind, feature] = Found(hit.kind, feature, hit.severity, 1, where, hit.rule)
    else:
        result.more += 1


def lines(result: Result) -> Iterator[str]:
    """The result for a person."""
    for one in result.findings:
        yield f"{one.rows:>9,} rows  {one.kind:<20} {one.says}   first: {one.first}"
    if result.more:
        yield f"{result.more:,} hits of further kinds and features"
    if result.unread:
        yield f"{result.unread:>9,} rows could not be read   first: {result.first_unread}"
