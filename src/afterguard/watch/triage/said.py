"""What people said of alerts, and how long it holds: suppressions with a reason and an end, dispositions, owners.

In: rows that people wrote, an alert. Out: why it is told to nobody, or "". What a person set aside comes back when it grows into something else: see `hides`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from afterguard.errors import UsageError
from afterguard.match import Matcher, compile
from afterguard.model import SEVERITIES, Alert, Severity

LONGEST = 366 * 86_400.0
GROWN = 4.0
"""How many times as much a day as when it was set aside is news."""
DISPOSITIONS = ("true_positive", "false_positive", "benign_positive", "duplicate")
UNDETERMINED = "undetermined"
"""Takes back what was said: it hides nothing and teaches nothing."""
MEANS = ("tool", "document", "server")
"""Kinds of entities that make an alert another one where they were not there when it was set aside."""
HIDING = frozenset({"false_positive", "benign_positive", "duplicate"})


class Suppression(msgspec.Struct, frozen=True, omit_defaults=True):
    """Alerts that match are told to nobody until it ends. They are counted."""

    id: str
    detection: dict[str, Any]
    """In the matcher's grammar, over `fields`: a map of fields, or named selections with a condition."""
    reason: str
    who: str
    created: float
    expires: float


class Disposition(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person, a ticket or a SIEM said of one alert."""

    fingerprint: str
    what: str
    who: str
    at: float
    reason: str = ""
    detector: str = ""
    kind: str = ""
    severity: Severity = Severity.medium
    a_day: float = 1.0
    """How many exchanges a day it stood for then."""
    means: tuple[str, ...] = ()
    """Tools, documents and servers it was about then."""
    until: float = 0.0
    """When it no longer hides anything; 0 for ever."""
    revision: int = 0
    """Which revision of the alert was judged; 0 where that is not known."""
    ref: str = ""
    """Of a SIEM: the document it stands in."""


def disposed(alert: Alert, what: str, who: str, at: float, reason: str, until: float = 0.0) -> Disposition:
    """What a person says of an alert as it stands now."""
    a_day = alert.count / max(1.0, (alert.last_seen - alert.first_seen) / 86_400)
    means = tuple(one.name for one in alert.entities if one.kind in MEANS)
    return Disposition(alert.fingerprint, what, who, at, reason, alert.detector, alert.kind, alert.severity, a_day, means, until, alert.revision)  # fmt: skip


class Owner(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who gets the alerts that match; the first one wins."""

    owner: str
    detection: dict[str, Any] = {}


FIELDS = ("kind", "app", "tenant", "severity", "confidence", "detector", "cause", "rule", "mount", "model", "fingerprint", "count", "risk", "owner")  # fmt: skip


def fields(alert: Alert) -> dict[str, Any]:
    """An alert as the matcher sees it. Entities stand under their kind."""
    out: dict[str, Any] = {name: getattr(alert, name) for name in FIELDS}
    for one in alert.entities:
        out.setdefault(one.kind, [])
        if isinstance(out[one.kind], list):
            out[one.kind].append(one.name)
    out["taxonomies"] = list(alert.taxonomies)
    return out


class Said:
    """All of it, compiled."""

    def __init__(
        self,
        suppressions: tuple[Suppression, ...] = (),
        dispositions: tuple[Disposition, ...] = (),
        owners: tuple[Owner, ...] = (),
    ) -> None:
        self.suppressions = [(one, _compiled(one.detection, one.id)) for one in suppressions if checked(one)]
        self.owners = [(one.owner, _compiled(one.detection, one.owner) if one.detection else None) for one in owners]
        self.newest: dict[str, Disposition] = {}
        self.verdicts: dict[tuple[str, str], tuple[int, int]] = {}
        for one in sorted(dispositions, key=lambda d: d.at):
            self.add(one)

    def add(self, one: Disposition) -> None:
        """Take in one more. The newest of a fingerprint holds, and counts for its detector."""
        old = self.newest.get(one.fingerprint)
        if old is not None:
            self._count(old, -1)
        self.newest[one.fingerprint] = one
        self._count(one, 1)

    def _count(self, one: Disposition, by: int) -> None:
        good, bad = self.verdicts.get((one.detector, one.kind), (0, 0))
        if one.what == "true_positive":
            good += by
        elif one.what == "false_positive":
            bad += by
        self.verdicts[one.detector, one.kind] = (max(0, good), max(0, bad))

    def owner(self, alert: Alert) -> str:
        """Whose it is, "" where no row says."""
        seen = fields(alert)
        return next((name for name, test in self.owners if test is None or test(seen)), "")

    def hides(self, alert: Alert, a_day: float, now: float) -> str:
        """Why an alert is told to nobody, or ""."""
        seen = fields(alert)
        for one, test in self.suppressions:
            if one.created <= now < one.expires and test(seen):
                return f"suppressed by {one.who}: {one.reason}"
        said = self.newest.get(alert.fingerprint)
        if said is None or said.what not in HIDING or (said.until and now >= said.until):
            return ""
        is_worse = SEVERITIES.index(alert.severity) > SEVERITIES.index(said.severity)
        is_more = a_day > GROWN * max(1.0, said.a_day)
        is_other = any(one.name not in said.means for one in alert.entities if one.kind in MEANS)  # fmt: skip
        return "" if is_worse or is_more or is_other else f"{said.what.replace('_', ' ')} says {said.who}"


def checked(one: Suppression) -> bool:
    """True, or UsageError for a suppression without reason, owner or end."""
    if not one.reason.strip() or not one.who.strip():
        raise UsageError(f"suppression {one.id} says not why, or not who", hint="give --reason and --by", slug="bad-suppression")  # fmt: skip
    if not one.created < one.expires <= one.created + LONGEST:
        raise UsageError(f"suppression {one.id} has no end within a year", hint="--days takes more than 0 and 366 at most", slug="bad-suppression")  # fmt: skip
    return True


def _compiled(detection: Mapping[str, Any], name: str) -> Matcher:
    return compile(dict(detection) if "condition" in detection else {"all": dict(detection)}, name)
