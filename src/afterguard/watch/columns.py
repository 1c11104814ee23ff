"""Events of one slice of time -> columns: one number a measure and event, and whom each event belongs to.

In: events in order of time, and what is unusually large or far from the application's topics. Out: `Columns`. Everything after
this works on whole columns.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from zlib import crc32

import numpy as np

from afterguard.watch.event import Event
from afterguard.watch.seen import Numbers

MEASURES = (
    "requests",
    "tokens",
    "cost",
    "seconds",
    "errors",
    "refused",
    "hits",
    "invalid",
    "listings",
    "heavy",
    "off_topic",
    "even_gaps",
    "active_hours",
    "repeats",
    "moves",
    "money",
    "under_limit",
    "refunds",
    "trouble",
    "strange_moves",
    "new_payees",
    "new_documents",
    "new_shapes",
    "new_addresses",
    "new_places",
    "identities",
    "new_identities",
    "newcomers",
    "switches",
)
AT = {name: place for place, name in enumerate(MEASURES)}
LISTS = frozenset({"models", "list_models", "models.list"})
UNDER = 0.9
"""From this share of a limit on an amount counts as just under it."""
VALUES = 64
"""Documents, moves or calls of one event that are looked at."""


class Column:
    """The values of one field: `events` says which event each of them belongs to."""

    __slots__ = ("events", "hashes", "values")

    def __init__(self, values: Sequence[Hashable], events: Numbers, hashes: Numbers) -> None:
        self.values = values
        self.events = events
        self.hashes = hashes


class Columns:
    """One slice."""

    def __init__(self, events: Sequence[Event], limits: Sequence[float]) -> None:
        self.events = events
        self.times = np.array([event.time for event in events])
        self.measures = np.zeros((len(events), len(MEASURES)), dtype=np.float32)
        self.fields = _fields(events)
        self._counts()
        self._moves(limits)

    def _counts(self) -> None:
        put = self.measures
        rows = [
            (
                e.input_tokens + e.output_tokens,
                e.cost,
                e.seconds,
                e.outcome == "error" or e.status >= 500,
                e.outcome == "refused",
                bool(e.hits) or e.outcome == "blocked",
                e.invalid,
                e.operation in LISTS,
            )
            for e in self.events
        ]
        put[:, AT["requests"]] = 1
        known = np.nan_to_num(np.array(rows, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        put[:, AT["tokens"] : AT["listings"] + 1] = np.clip(known, 0, 1e12)
        went_through = 1 - put[:, AT["errors"]]
        put[:, AT["trouble"]] = np.maximum(put[:, AT["refused"]], put[:, AT["hits"]]) * went_through

    def _moves(self, limits: Sequence[float]) -> None:
        for row, event in enumerate(self.events):
            for move in event.moves[:VALUES]:
                amount = move.amount if 0 <= move.amount < 1e12 else 0.0
                put = self.measures[row]
                put[AT["moves"]] += 1
                put[AT["money"]] += amount
                put[AT["refunds"]] += move.is_refund
                put[AT["under_limit"]] += any(UNDER * limit <= amount < limit for limit in limits)


def _fields(events: Sequence[Event]) -> dict[str, Column]:
    fields = {
        name: _texts([getattr(event, name) for event in events])
        for name in (
            "key",
            "user",
            "address",
            "network",
            "tenant",
            "conversation",
            "model",
            "device",
            "client",
            "prompt",
        )
    }
    fields["region"] = _texts([event.region for event in events])
    fields["who"] = _texts([e.user or e.device or (e.key + e.address) for e in events])
    fields["shape"] = _numbers([event.shape for event in events])
    # A step made again because it failed is neither a loop nor a template.
    went = [e.outcome != "error" and e.status < 500 for e in events]
    fields["template"] = _numbers([e.shape if ok else 0 for e, ok in zip(events, went, strict=True)])
    fields["step"] = _numbers([_step(e) if ok else 0 for e, ok in zip(events, went, strict=True)])
    fields["document"] = _many([event.documents[:VALUES] for event in events])
    fields["payee"] = _many([tuple(m.payee for m in e.moves[:VALUES] if m.payee) for e in events])
    fields["app"] = _texts(["app"] * len(events))
    return fields


def _step(event: Event) -> int:
    """What a turn of a conversation does: the template of its text and the tools it calls."""
    return (
        event.shape ^ crc32(" ".join(event.calls[:VALUES]).encode("utf-8", "replace"))
        if event.shape or event.calls
        else 0
    )


def _texts(values: list[str]) -> Column:
    known = {value: crc32(value.encode("utf-8", "replace")) for value in set(values)}
    hashes = list(map(known.__getitem__, values))
    where = np.flatnonzero(np.fromiter(map(bool, values), dtype=bool, count=len(values)))
    if len(where) == len(values):
        return Column(values, where, np.array(hashes, dtype=np.uint64))
    return Column([values[i] for i in where], where, np.array(hashes, dtype=np.uint64)[where])


def _numbers(values: list[int]) -> Column:
    all_ = np.array([value & 0xFFFFFFFFFFFFFFFF for value in values], dtype=np.uint64)
    where = np.flatnonzero(all_)
    return Column(all_[where].tolist(), where, all_[where] % np.uint64(0xFFFFFFFB))


def _many(values: list[tuple[str, ...]]) -> Column:
    events = [row for row, some in enumerate(values) for _ in some]
    flat = [value for some in values for value in some]
    hashes = [crc32(value.encode("utf-8", "replace")) for value in flat]
    return Column(flat, np.array(events, dtype=np.int64), np.array(hashes, dtype=np.uint64))
