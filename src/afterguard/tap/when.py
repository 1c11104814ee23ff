"""The moment an event gives: ISO 8601 text or an epoch number in s, ms, us or ns -> seconds since the epoch, UTC.

In: whatever a log holds under a time column. Out: (seconds, zone known) or None. It guesses no zone: a time without one is
read as UTC and marked.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

EARLIEST, LATEST = 631_152_000.0, 4_102_444_800.0
"""1990 to 2100: a number outside in every unit is not a time."""

When = tuple[float, bool]


def when(value: Any) -> When | None:
    """(seconds, zone known), or None where the value is not a time."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return epoch(value)
    if isinstance(value, str):
        return text(value)
    return None


def epoch(value: float) -> When | None:
    """An epoch number; its unit is the one that lands between 1990 and 2100."""
    for unit in (1, 1_000, 1_000_000, 1_000_000_000):
        if EARLIEST * unit <= value <= LATEST * unit:
            return value / unit, True
    return None


def text(value: str) -> When | None:
    """ISO 8601 (with a blank or T), or an epoch number as text."""
    value = value.strip()
    if len(value) > 40 or len(value) < 8:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        try:
            return epoch(float(value))
        except (ValueError, OverflowError):
            return None
    try:
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC).timestamp(), False
        return moment.timestamp(), True
    except (OverflowError, ValueError):
        return None
