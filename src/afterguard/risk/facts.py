"""Counted facts that lead the page: numbers somebody counted or told, before any that is estimated.

In: survey, look-back, business facts. Out: Fact rows, the most telling first. Nothing here is a probability, and a count
of identifiers is never called a number of people.
"""

from __future__ import annotations

import math

from afterguard.model import AssetKind, Fact, Finding, Incident, Lookback, Survey
from afterguard.risk.business import Business
from afterguard.risk.chain import is_known
from afterguard.risk.figures import ends, short, span
from afterguard.risk.scenario import says, traits, words
from afterguard.risk.severity import answer_of

TOLD = "business.yaml: told, not counted"
RECORDS = "recorded traffic"
SCAN = "files given"
DAY = 86400.0
LEADING = (
    "suspected incidents",
    "people whose records it can reach",
    "money its tools can move in one action",
    "keys written in files",
    "AI endpoints or servers open without a login",
    "longest suspected incident, first to last sighting",
)
COUNTED = (
    ("keys written in files", ("hardcoded", "hard coded", "secret prompt"), ("CWE-798",)),
    ("AI endpoints or servers open without a login", ("unauthenticated", "without auth", "exposed"), ("CWE-306",)),
    ("places where a tool acts without a person agreeing", ("without approval", "dangerous tool"), ("LLM06:2025",)),
)
"""Label, words of the rules counted, taxonomy ids that stand in for rules the catalogue does not name."""


def facts(survey: Survey, lookback: Lookback | None, business: Business) -> tuple[Fact, ...]:
    """The counted facts of one application; a count of zero is shown only where zero was really counted."""
    past = _past(lookback) if lookback is not None and lookback.exchanges else []
    rows = (*past, *_told(survey, lookback, business), *_found(survey, lookback), *_unseen(survey, lookback))
    return tuple(sorted(rows, key=_place))


def _place(fact: Fact) -> tuple[bool, int]:
    """What can be reached and lost comes first; an open question comes last. Otherwise the order in which it was counted."""
    return fact.value == "unknown", LEADING.index(fact.label) if fact.label in LEADING else len(LEADING)


def _past(lookback: Lookback) -> list[Fact]:
    incidents = lookback.incidents
    of = f"{RECORDS}, {lookback.exchanges} exchanges"
    rows = [Fact("suspected incidents", str(len(incidents)), of)]
    dwells = [one.dwell for one in incidents if one.dwell is not None and math.isfinite(one.dwell)]
    if dwells:
        rows.append(Fact("longest suspected incident, first to last sighting", _days(max(dwells)), of))
    identifiers = sum(incident.identifiers for incident in incidents if not _is_secret(incident))
    if identifiers:
        rows.append(Fact("distinct identifiers seen in suspected incidents (at most)", str(identifiers), of))
    secrets = sum(max(1, incident.identifiers) for incident in incidents if _is_secret(incident))
    if secrets:
        rows.append(Fact("distinct secrets seen in conversations (at most)", str(secrets), of))
    present = sum(lookback.inventory.values())
    if present:
        classes = ", ".join(
            f"{name.replace('_', ' ')} {count}" for name, count in sorted(lookback.inventory.items())[:6]
        )
        rows.append(Fact("distinct identifiers merely present", f"{present} ({classes})", of))
    return rows


def _is_secret(incident: Incident) -> bool:
    return any(says(word, words(incident.kind)) for word in ("secret", "credential"))


def _days(seconds: float) -> str:
    days = seconds / DAY
    if days >= 1:
        return f"{short(days)} day{'' if short(days) == '1' else 's'}"
    return f"{short(seconds / 3600)} hours" if seconds >= 3600 else f"{short(seconds / 60)} minutes"


def _told(survey: Survey, lookback: Lookback | None, business: Business) -> list[Fact]:
    rows = []
    records = answer_of(business, "records")
    if records is not None:
        held = [name for name, count in business.records.items() if count.high > 0]
        unknown = f", {', '.join(business.records_unknown)} unknown" if business.records_unknown else ""
        rows.append(
            Fact(
                "people whose records it can reach",
                f"{ends(records)} ({', '.join(held)}{unknown})",
                TOLD,
                False,
            )
        )
    for label, count in (
        ("customers it serves", business.customers),
        ("people who use it in a month", business.users_per_month),
    ):
        if count is not None:
            rows.append(Fact(label, ends(count), TOLD, False))
    if "money_tools" in traits(survey, lookback, business):
        for label, limit in (("in one action", business.action_limit), ("in a day", business.daily_limit)):
            if limit is None:
                value = "unknown"
            else:
                value = span(limit, business.currency)
            rows.append(Fact(f"money its tools can move {label}", value, TOLD, False))
    return rows


def _found(survey: Survey, lookback: Lookback | None) -> list[Fact]:
    rows = []
    for label, entries, identifiers in COUNTED:
        places = {_identity(one) for one in survey.findings if _belongs(one, entries, identifiers)}
        if places:
            rows.append(Fact(label, str(len(places)), SCAN))
    for kind, label in ((AssetKind.provider, "AI providers in use"), (AssetKind.model, "models in use")):
        count = sum(asset.kind == kind for asset in survey.assets)
        if count:
            rows.append(Fact(label, str(count), SCAN))
    return rows


def _belongs(finding: Finding, entries: tuple[str, ...], identifiers: tuple[str, ...]) -> bool:
    found = words(finding.rule)
    if any(says(entry, found) for entry in entries):
        return True
    return not is_known(finding.rule) and any(name in identifiers for name in finding.taxonomies)


def _identity(finding: Finding) -> str:
    """A key pasted in three files is one key where the scan says so."""
    named = finding.attributes.get("secret_hash") or finding.attributes.get("secret")
    return named or finding.fingerprint or f"{finding.path}:{finding.line}"


def _unseen(survey: Survey, lookback: Lookback | None) -> list[Fact]:
    rows = []
    shadow = {one.asset or one.message for one in survey.findings if one.rule == "shadow-ai-traffic"}
    if shadow:
        rows.append(Fact("AI services seen in traffic that no file given explains", str(len(shadow)), RECORDS))
    unjudged = sum(lookback.unjudged.values()) if lookback else 0
    if unjudged:
        rows.append(Fact("parts of recorded traffic nobody could judge", str(unjudged), RECORDS))
    unread = sum(row.count for row in survey.coverage if row.reason != "excluded")
    if unread:
        rows.append(Fact("files or parts that were not read", str(unread), SCAN))
    return rows
