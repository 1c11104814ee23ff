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
    """ISO 8601 (with a blank or T), an epoch number as text, a web server's time, or a mail header's."""
    value = value.strip()
    if not 8 <= len(value) <= 40:
        return None
    if value[:1].isdigit() and "-" not in value and ":" not in value:
        try:
            return epoch(float(value))
        except ValueError:
            return None
    moment = _moment(_zoned(value))
    if moment is None:
        return None
    try:
        known = moment.tzinfo is not None
        seconds = moment.timestamp() if known else moment.replace(tzinfo=UTC).timestamp()
    except (OverflowError, ValueError):
        return None
    return (seconds, known) if EARLIEST <= seconds <= LATEST else None


def _zoned(value: str) -> str:
    """UTC and GMT written out as an offset."""
    for name in (" UTC", " GMT"):
        if value.endswith(name):
            return value.removesuffix(name) + (" +0000" if value[:1].isalpha() else "+00:00")
    return value


def _moment(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        pass
    for form in FORMS:
        try:
            return datetime.strptime(value, form)
        except ValueError:
            continue
    return None


FORMS = ("%d/%b/%Y:%H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %z", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M")
"""Common log format, RFC 5322, and what spreadsheets write. Day before month is never guessed."""
