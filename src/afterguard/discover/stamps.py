"""Times as logs write them: text in, seconds since the epoch in UTC out, and whether the zone was written down.

An unknown zone is read as UTC and marked, never guessed; a syslog line has no year, so its time orders lines and spans days
but is not a date. Reads no clock.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple

MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
CLF = re.compile(r"(\d{1,2})[/-]([A-Za-z]{3})[/-](\d{4})[: ](\d{2}):(\d{2}):(\d{2})(?:[.,]\d+)?(?: ?([+-]\d{4}|Z))?")
ISO = re.compile(
    r"(\d{4})[-/](\d{2})[-/](\d{2})[T _](\d{2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?(?: ?(Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
)
SYSLOG = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d{2}):(\d{2}):(\d{2})")
DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})")
EPOCH = re.compile(r"\d{9,10}(?:\.\d{1,9})?|\d{13}|\d{16}|\d{19}")
UNDATED_YEAR = 2000
EARLIEST = 946_684_800.0 + 366 * 86_400
LATEST = 4_102_444_800.0


class Stamp(NamedTuple):
    """Seconds since the epoch; `zoned` when the log said which zone; `dated` when it said which year."""

    seconds: float
    zoned: bool = True
    dated: bool = True


def read(text: str) -> Stamp | None:
    """The time a field holds, None when it holds none. Accepts CLF, ISO 8601, epoch in s, ms, us or ns, syslog, days."""
    text = text.strip().strip("[]")
    if not text or len(text) > 64:
        return None
    if text[0].isdigit() and EPOCH.fullmatch(text):
        return _epoch(text)
    return _minute(text[:64])


@lru_cache(maxsize=4096)
def _minute(text: str) -> Stamp | None:
    found = ISO.match(text)
    if found:
        year, month, day, hour, minute, second, zone = found.groups()
        return _stamp(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), zone)
    found = CLF.match(text)
    if found:
        day, name, year, hour, minute, second, zone = found.groups()
        return _stamp(int(year), MONTHS.get(name.lower(), 0), int(day), int(hour), int(minute), int(second), zone)
    found = SYSLOG.match(text)
    if found:
        name, day, hour, minute, second = found.groups()
        stamp = _stamp(UNDATED_YEAR, MONTHS.get(name.lower(), 0), int(day), int(hour), int(minute), int(second), None)
        return stamp._replace(dated=False) if stamp else None
    found = DAY.fullmatch(text)
    if found:
        return _stamp(int(found[1]), int(found[2]), int(found[3]), 0, 0, 0, None)
    return None


def _epoch(text: str) -> Stamp | None:
    whole = text.partition(".")[0]
    value = float(text)
    scale = {13: 1e3, 16: 1e6, 19: 1e9}.get(len(whole), 1.0)
    seconds = value / scale
    return Stamp(seconds) if EARLIEST <= seconds <= LATEST else None


def _stamp(year: int, month: int, day: int, hour: int, minute: int, second: int, zone: str | None) -> Stamp | None:
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=_zone(zone))
        return Stamp(moment.timestamp(), zone is not None)
    except (ValueError, OverflowError):
        return None


def _zone(text: str | None) -> timezone:
    if text is None or text in ("Z", "UTC", "GMT"):
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def hour(seconds: float) -> str:
    """The UTC hour a time falls in, "2026-11-03T14"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H")
