"""JSON documents that commands write -> the things in them that a SOC is told.

In: a decoded document (afterguard.scan/1, attack/1, onboard/1, case-export/1, alerts/1, cases/1, a line of `scan --format jsonl`), when it was written. Out: findings, cases, alerts and what was done, in the order of the document; what is not
whole is counted by `Unread`. It opens nothing. discover's document has assets and no weaknesses: nothing of it is an event.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from afterguard.export import row
from afterguard.model import Alert, Case, Deed, Finding, Found

Held = dict[str, Any]
S = TypeVar("S", bound=msgspec.Struct)


class Unread(Exception):
    """Rows of a document that are not what they should be."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


def is_document(held: Any) -> bool:
    """Whether something of it can be told."""
    return isinstance(held, dict) and (_name(held) in READERS or _is_row(held))


def things(held: Held, at: float) -> Iterator[Alert | Case | Deed | Found]:
    """What is in it; `at`: when it was written, for a document that does not say so. Raises Unread at the end, where rows were left out."""
    reader = _row if _is_row(held) else READERS[_name(held)]
    lost = 0
    for one in reader(held, at):
        if one is None:
            lost += 1
        else:
            yield one
    if lost:
        raise Unread(lost)


def _name(held: Held) -> str:
    found = held.get("format")
    return found if isinstance(found, str) else ""


def _is_row(held: Held) -> bool:
    return _name(held) == "afterguard.scan/1" and held.get("type") == "finding"


def _row(held: Held, at: float) -> Iterator[Found | None]:
    yield _found(held, row.text(held, "app"), at)


def _scan(held: Held, at: float) -> Iterator[Found | None]:
    app = row.text(held, "app")
    for one in _list(held, "findings"):
        yield _found(one, app, at)
    for one in _list(held, "suppressed"):
        yield _found(one, app, at, is_set_aside=True)


def _attack(held: Held, at: float) -> Iterator[Found | None]:
    ended = row.number(held, "ended") or at
    for one in _list(held, "findings"):
        yield _found(one, row.text(held, "target"), ended)


def _onboard(held: Held, at: float) -> Iterator[Found | None]:
    when = _moment(row.text(held, "created_at")) or at
    for app in row.rows(held, "apps"):
        yield from _scan(row.part(app, "scan"), when)


def _case(held: Held, at: float) -> Iterator[Alert | Case | Deed | None]:
    yield _as(held.get("case"), Case)
    yield from _alerts(held, at)
    for one in _list(held, "deeds"):
        yield _as(one, Deed)


def _alerts(held: Held, at: float) -> Iterator[Alert | None]:
    for one in _list(held, "alerts"):
        yield _as(one, Alert)


def _cases(held: Held, at: float) -> Iterator[Case | None]:
    for one in _list(held, "cases"):
        yield _as(one, Case)


READERS = {
    "afterguard.scan/1": _scan,
    "afterguard.attack/1": _attack,
    "afterguard.onboard/1": _onboard,
    "afterguard.case-export/1": _case,
    "afterguard.alerts/1": _alerts,
    "afterguard.cases/1": _cases,
}


def _found(held: Any, app: str, at: float, is_set_aside: bool = False) -> Found | None:
    one = _as(held, Finding)
    return Found(row.finding_id(one), app or "unknown", at, one, is_set_aside) if one is not None else None


def _as(held: Any, kind: type[S]) -> S | None:
    try:
        return msgspec.convert(held, kind)
    except (msgspec.ValidationError, RecursionError):
        return None


def _list(held: Held, name: str) -> Sequence[Any]:
    found = held.get(name)
    return found if isinstance(found, list) else []


def _moment(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return found.timestamp() if found.tzinfo is not None and found.year > 1970 else 0.0
