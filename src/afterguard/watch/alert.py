"""What a stateful correlation reports: one hit that stands for many exchanges.

In: nothing. Out: `Alert` and `of`, which fills a Hit whose evidence is a series rather than a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from afterguard.model import Confidence, Hit, Severity

CALLERS = 1_000
Moment = tuple[str, float | None]
"""(exchange id, time)."""


class Alert(NamedTuple):
    """A hit and the exchanges it rests on, in the order of the log."""

    hit: Hit
    exchanges: tuple[Moment, ...]


def of(
    kind: str,
    detector: str,
    taxonomies: tuple[str, ...],
    exchanges: Sequence[Moment],
    *,
    severity: Severity,
    cause: str,
    rule: str,
    would_change: str,
    confidence: Confidence = Confidence.medium,
    excerpt: str = "",
    callers: Sequence[str] = (),
) -> Alert:
    """An Alert; its hit points at the first exchange. `callers` are the keyed hashes of who did it, where they are known."""
    first = exchanges[0][0] if exchanges else ""
    hit = Hit(
        detector=detector,
        kind=kind,
        severity=severity,
        confidence=confidence,
        exchange=first,
        taxonomies=taxonomies,
        cause=cause,
        rule=rule,
        would_change=would_change,
        excerpt=excerpt or rule,
        identifiers=tuple(callers)[:CALLERS],
    )
    return Alert(hit, tuple(exchanges))
