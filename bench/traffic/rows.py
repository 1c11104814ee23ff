"""Columns that become events: what is drawn as arrays is held as arrays until the last moment.

In: dicts of arrays of one length. Out: such dicts joined, cut and sorted, and lists of `Event`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np

from afterguard.watch.event import Event

from .draw import Ints

Rows = dict[str, Any]
"""Column name -> array. Columns of identities hold hashes (0: unknown), texts and tuples are object arrays; `campaign` (0: ordinary) is the truth and no part of an event."""

PREFIX = {"key": "k", "user": "u", "address": "a", "network": "n", "device": "d", "conversation": "c"}
"""Columns of hashes, and the letter their names begin with, so that a name says what it names wherever it stands."""
FIELDS = Event.__struct_fields__
DEFAULTS: dict[str, Any] = dict(
    zip(FIELDS[len(FIELDS) - len(Event.__struct_defaults__) :], Event.__struct_defaults__, strict=True)
) | {"campaign": 0}
TEXTS = {"id", "app", "tenant", "route", "region", "client", "model", "version", "prompt", "operation", "outcome"} | {
    "hits",
    "moves",
    "calls",
    "documents",
    "features",
    "decision",
    "score",
}


def length(rows: Rows) -> int:
    return len(rows["time"])


def filled(name: str, n: int) -> Any:
    """A column of what an event has where nobody says."""
    if name in PREFIX:
        return np.zeros(n, dtype=np.uint64)
    if name in TEXTS:
        out = np.empty(n, dtype=object)
        out.fill(DEFAULTS[name])
        return out
    return np.full(n, DEFAULTS[name], dtype=np.uint64 if name in ("asked", "shape", "answer") else None)


def join(parts: Iterable[Rows]) -> Rows:
    """One table below another; a column one of them lacks is filled."""
    many = [part for part in parts if length(part)]
    if len(many) == 1:
        return many[0]
    columns = {"time": None} | {name: None for part in many for name in part}
    return {
        name: np.concatenate([part[name] if name in part else filled(name, length(part)) for part in many])
        if many
        else np.empty(0)
        for name in columns
    }


def take(rows: Rows, which: Any) -> Rows:
    return {name: column[which] for name, column in rows.items()}


def by_time(rows: Rows) -> Rows:
    return take(rows, np.argsort(rows["time"], kind="stable"))


def name_of(column: str, value: int) -> str:
    """How an identity is written in an event."""
    return f"{PREFIX[column]}{value:x}" if value else ""


def names(column: str, values: list[int]) -> list[str]:
    letter = PREFIX[column]
    return [f"{letter}{value:x}" if value else "" for value in values]


def to_events(rows: Rows, first: int) -> tuple[list[Event], list[int]]:
    """Events in the order of the rows, numbered from `first`, and beside each the number of its campaign."""
    n = length(rows)
    columns: list[Any] = []
    for field in FIELDS:
        if field == "id":
            columns.append([f"e{number:x}" for number in range(first, first + n)])
        elif field not in rows:
            columns.append(repeat(DEFAULTS[field], n))
        elif field in PREFIX:
            columns.append(names(field, rows[field].tolist()))
        else:
            columns.append(rows[field].tolist())
    truth: Ints = rows["campaign"] if "campaign" in rows else np.zeros(n, dtype=np.int64)
    return list(map(Event, *columns)), truth.tolist()
