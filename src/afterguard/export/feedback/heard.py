"""What a SIEM says of one alert, and how its document is read: values by path, times, words, and which alerts it is about.

In: a decoded document, which nobody vouches for. Out: `Word`, what a shape made of it; `Heard`, the same for one alert of ours. An id counts only where a field holds it and nothing else: a text that quotes one names no alert.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from afterguard.export.row import SCORES, SEVERITIES
from afterguard.model import Severity
from afterguard.watch.triage import MEANS, UNDETERMINED

MOST = 1_000
"""Elements of a list that are looked at."""
LATEST = 1e11
"""Seconds since the epoch that can still be a time; larger numbers are milliseconds."""
LONG = 500
"""Letters of a text that are kept."""
NAME = re.compile(r"(al-[0-9a-f]{32})(?:\.([0-9]{1,9}))?")
PLACES = (
    "id", "orig_id", "event_id", "orig_event_id", "event.id", "kibana.alert.original_event.id", "kibana.alert.ancestors.id", "signal.ancestors.id", "_id",
    "finding_info.uid", "finding_info_list.uid", "finding_info_list{}.uid", "metadata.uid", "externalId", "deviceExternalId", "ExternalID",
    "DeviceExternalID", "cef.extensions.externalId", "attributes.afterguard.id", "afterguard.id", "afterguard_id", "AfterguardId",
)  # fmt: skip
"""Where our formats write an alert's id, and where SIEMs keep it when they make something of their own of the event."""
REVISIONS = ("revision", "afterguard.revision", "unmapped.afterguard.revision")
ENTITIES = ("entities", "afterguard.entities", "unmapped.afterguard.entities")
WORDS = {
    "true positive": "true_positive", "benign positive": "benign_positive", "benign true positive": "benign_positive",
    "false positive": "false_positive", "duplicate": "duplicate", "undetermined": UNDETERMINED,
}  # fmt: skip


class Word(NamedTuple):
    """What one document says, whomever it is about."""

    system: str
    what: str = ""
    """A disposition, or `undetermined`: nobody holds to what was said before; "" where it says nothing, or nothing we know."""
    value: str = ""
    """As it stands there; "" where it says nothing."""
    at: float = 0.0
    """When it was said; 0 where that is not known."""
    who: str = ""
    ref: str = ""
    """Which document it is, by the system's own name."""
    reason: str = ""


class Seen(msgspec.Struct, frozen=True):
    """The alert as whoever judged it saw it."""

    severity: Severity
    count: int
    last_seen: float
    means: frozenset[str]
    """Tools, documents and servers."""


class Heard(NamedTuple):
    """What was said of one alert."""

    alert: str
    revision: int
    """Which revision was judged; 0 where that is not known."""
    word: Word
    seen: Seen | None = None


def values(held: Any, path: str) -> Iterator[Any]:
    """Everything that stands at a path, whether its parts are nested or written with dots; lists are walked."""
    if isinstance(held, list):
        for one in held[:MOST]:
            if isinstance(one, dict):
                yield from values(one, path)
    elif isinstance(held, dict):
        if path in held:
            found = held[path]
            yield from found[:MOST] if isinstance(found, list) else (found,)
            return
        head, dot, rest = path.partition(".")
        while dot:
            if head in held:
                yield from values(held[head], rest)
            more, dot, rest = rest.partition(".")
            head = f"{head}.{more}"


def text(held: Any, *paths: str) -> str:
    """The first text or number of these paths as a text, "" where there is none."""
    for path in paths:
        for one in values(held, path):
            if isinstance(one, (str, int)) and not isinstance(one, bool) and str(one).strip():
                return str(one).strip()[:LONG]
    return ""


def number(held: Any, *paths: str) -> float | None:
    """The first finite number of these paths, also where it is written as a text."""
    for path in paths:
        for one in values(held, path):
            found = _number(one)
            if found is not None:
                return found
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value if not isinstance(value, str) else value[:40])
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and abs(found) < 1e18 else None


def moment(held: Any, *paths: str) -> float:
    """The newest time at the first of these paths that has one, in seconds since the epoch; 0 where there is none. A time without a zone is UTC."""
    for path in paths:
        found = max((as_moment(one) for one in values(held, path)), default=0.0)
        if found > 0:
            return found
    return 0.0


def as_moment(value: Any) -> float:
    """A value as seconds since the epoch, 0 where it is no time."""
    found = _number(value)
    if found is not None:
        seconds = found / 1_000 if found > LATEST else found
    else:
        try:
            one = datetime.fromisoformat(value[:40]) if isinstance(value, str) else None
            seconds = 0.0 if one is None else (one if one.tzinfo else one.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            seconds = 0.0
    return seconds if 0 < seconds < LATEST else 0.0


def worded(value: str) -> str:
    """The disposition that a value names, in whatever spelling: TruePositive, true_positive, "True Positive - Suspicious Activity"; "" for any other."""
    words = " ".join(re.findall(r"[A-Z]?[a-z]+|[A-Z]+", value[:LONG])).lower()
    return next((what for word, what in WORDS.items() if words == word or words.startswith(word + " ")), "")


def names(found: Iterable[Any]) -> dict[str, int]:
    """Alerts that values name -> the newest revision named, 0 where none is."""
    out: dict[str, int] = {}
    for one in found:
        match = NAME.fullmatch(one.strip()) if isinstance(one, str) else None
        if match and len(out) < MOST:
            out[match[1]] = max(out.get(match[1], 0), int(match[2] or 0))
    return out


def named(document: Any) -> dict[str, int]:
    """Alerts that a document is about -> which revision."""
    found = names(one for place in PLACES for one in values(document, place))
    if len(found) == 1 and not (revision := next(iter(found.values()))):
        revision = int(max(0.0, min(number(document, *REVISIONS) or 0.0, 1e9)))
        found = dict.fromkeys(found, revision)
    return found


def seen(document: Any) -> Seen | None:
    """The alert as a document of one of our formats shows it; None where it does not show enough."""
    severity = _severity(document)
    count = number(document, "afterguard.count", "count")
    last = moment(document, "last_seen", "event.end", "end_time")
    if severity is None or count is None or count < 1 or not last:
        return None
    means = [one.get("name") for path in ENTITIES for one in values(document, path) if isinstance(one, dict) and one.get("kind") in MEANS]  # fmt: skip
    flat = [one.partition(":") for one in values(document, "entity") if isinstance(one, str)]
    means += [name for kind, _, name in flat if kind in MEANS]
    return Seen(severity, int(min(count, 1e15)), last, frozenset(one for one in means if isinstance(one, str)))


def _severity(document: Any) -> Severity | None:
    """Only from fields that are ours: a SIEM writes the severity of its own rule into `severity`."""
    found = number(document, "severity_id")
    if found is not None:
        known = SEVERITIES.get(int(found))
        return Severity(known) if known else None
    found = number(document, "event.severity")
    if found is None:
        return None
    return next((Severity(name) for name, score in SCORES.items() if (score * 10 or 1) == int(found)), None)
