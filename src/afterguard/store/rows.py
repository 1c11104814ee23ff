"""Structs <-> rows: what can be asked for by column stands in columns, the whole struct in `body` as JSON.

In: model structs, already redacted. Out: tuples every database takes: no NUL, no lone surrogate, no number beyond 64 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from afterguard.model import Asset, Coverage, Finding, Hit, Incident

LARGEST = (1 << 63) - 1
OF_RUN = ("id", "run", "tenant", "app")
ASSET = (*OF_RUN, "kind", "name", "identity", "confidence", "owner", "first_seen", "last_seen", "body")
EVIDENCE = (*OF_RUN, "asset", "path", "line", "matched", "source")
FINDING = (*OF_RUN, "fingerprint", "rule", "severity", "confidence", "path", "line", "suppressed", "body")
INCIDENT = (*OF_RUN, "incident", "kind", "cause", "severity", "confidence", "status", "first_seen", "last_seen", "seen", "identifiers", "body")  # fmt: skip
HIT = (*OF_RUN, "exchange", "detector", "kind", "severity", "cause", "body")
COVERAGE = (*OF_RUN, "path", "reason", "detail", "seen", "bytes")
Made = Callable[[], str]
Owned = tuple[str, str, str]


def text(value: str) -> str:
    """Text both databases take."""
    return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def whole(value: int) -> int:
    """A count that fits a column."""
    return max(-LARGEST, min(value, LARGEST))


def real(value: float | None) -> float | None:
    """A number that fits a column, None for what is none."""
    return value if value is not None and math.isfinite(value) else None


def body(value: Any) -> str:
    """The struct as JSON."""
    try:
        return msgspec.json.encode(value).decode("utf-8")
    except (UnicodeEncodeError, ValueError, OverflowError):
        return msgspec.json.encode(_clean(msgspec.to_builtins(value))).decode("utf-8")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    return value


def identity(kind: str, name: str) -> str:
    """What an asset is compared by between runs."""
    return text(f"{kind}:{' '.join(name.split()).casefold()}")


def assets(found: Iterable[Asset], run: Owned, made: Made, places: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows of assets; rows of their evidence are added to `places`."""
    for one in found:
        key = made()
        for place in one.evidence:
            places.append((made(), *run, key, text(place.path), whole(place.line), text(place.matched), place.source))
        yield (
            key, *run, one.kind.value, text(one.name), identity(one.kind.value, one.name), one.confidence.value,
            text(one.owner), real(one.first_seen), real(one.last_seen), body(one),
        )  # fmt: skip


def findings(found: Iterable[Finding], run: Owned, made: Made, suppressed: int) -> Iterator[tuple[Any, ...]]:
    """Rows of findings; `suppressed` 1 for those set aside."""
    for one in found:
        print_of = one.fingerprint or f"{one.rule}|{one.path}|{one.message}"[:400]
        yield (
            made(), *run, text(print_of), text(one.rule), one.severity.value, one.confidence.value, text(one.path),
            whole(one.line), suppressed, body(one),
        )  # fmt: skip


def incidents(found: Iterable[Incident], run: Owned, made: Made) -> Iterator[tuple[Any, ...]]:
    """Rows of incidents."""
    for one in found:
        yield (
            made(), *run, text(one.id), text(one.kind), text(one.cause), one.severity.value, one.confidence.value,
            text(one.status), real(one.first_seen), real(one.last_seen), whole(one.count), whole(one.identifiers), body(one),
        )  # fmt: skip


def hits(found: Iterable[Hit], run: Owned, made: Made) -> Iterator[tuple[Any, ...]]:
    """Rows of hits."""
    for one in found:
        yield (
            made(),
            *run,
            text(one.exchange),
            text(one.detector),
            text(one.kind),
            one.severity.value,
            text(one.cause),
            body(one),
        )


def coverage(found: Iterable[Coverage], run: Owned, made: Made) -> Iterator[tuple[Any, ...]]:
    """Rows of what was not read."""
    for one in found:
        yield (made(), *run, text(one.path), text(one.reason), text(one.detail), whole(one.count), whole(one.bytes))
