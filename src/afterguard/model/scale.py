"""How bad, how sure, how certain: the words that everything is graded with."""

from __future__ import annotations

from enum import StrEnum


class Severity(StrEnum):
    """How bad it is if true. Order with `SEVERITIES.index`."""

    info = "info"
    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"


SEVERITIES = tuple(Severity)


class Confidence(StrEnum):
    """How sure Afterguard is of a finding, hit or incident."""

    low = "low"
    medium = "medium"
    high = "high"


class Certainty(StrEnum):
    """How an asset is known: written down, concluded from signs, or seen without being understood."""

    declared = "declared"
    inferred = "inferred"
    unresolved = "unresolved"


class Outcome(StrEnum):
    """What a check answered. "Could not tell" is data."""

    hit = "hit"
    miss = "miss"
    not_applicable = "not_applicable"
    not_available = "not_available"
    error = "error"
