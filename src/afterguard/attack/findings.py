"""What an attack found, as findings: one for each technique that succeeded, with everything somebody needs who has to act on it.

In: an Assessment, already masked; the text of a rule by its id. Out: `Weakness`, worst first. The same weakness of the same target has the same fingerprint in every run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from afterguard.attack.assessment import Assessment, Hit
from afterguard.model import SEVERITIES, Confidence, Family, Finding, Outcome
from afterguard.safe import line

NO_RULE = "No rule of the guard holds this off: only the fix does."
SHADOW = "In the policy strict it stands in shadow: take `stage: shadow` out so that it acts."
SURE = 3
"""Successes from which on a weakness is no coincidence any more."""


class Weakness(msgspec.Struct, frozen=True):
    """A finding of an attack."""

    finding: Finding
    family: Family
    hits: tuple[Hit, ...]
    rule: str
    """Text of a policy rule, "" where none helps."""
    rule_note: str = ""


def weaknesses(found: Assessment, rule_text: Callable[[str], str]) -> tuple[Weakness, ...]:
    """Every family that succeeded, worst first, then the most sure."""
    rows = [_weakness(found, one, rule_text) for one in found.families if one.succeeded]
    return tuple(sorted(rows, key=lambda one: (-SEVERITIES.index(one.finding.severity), -one.family.share.low, one.family.technique)))  # fmt: skip


def checks(found: Assessment) -> dict[str, str]:
    """Technique -> what can be said of it: hit, miss, not applicable (the target offers nothing for it), not available (tried, and no reply said anything)."""
    return {one.technique: _outcome(one) for one in found.families}


def said(family: Family) -> str:
    """The rate in words: 4 of 5 trials (80 %, 38 to 96), worth 3.3 independent ones."""
    share = family.share
    worth = f"; worth {family.effective:.1f} independent ones" if round(family.effective, 1) != share.of else ""
    return f"{share.part} of {share.of} trials ({share.rate:.0%}, 95 % interval {share.low:.0%} to {share.high:.0%}{worth})"


def _outcome(family: Family) -> Outcome:
    if family.skipped:
        return Outcome.not_available if family.skipped == "not-reached" else Outcome.not_applicable
    return Outcome.hit if family.succeeded else Outcome.miss if family.resisted else Outcome.not_available


def _weakness(found: Assessment, family: Family, rule_text: Callable[[str], str]) -> Weakness:
    rule = rule_text(family.rule) if family.rule else ""
    hits = tuple(hit for hit in found.hits if hit.technique == family.technique)
    note = SHADOW if "stage: shadow" in rule else "" if rule else NO_RULE
    return Weakness(_finding(found, family, hits), family, hits, rule, note)


def _finding(found: Assessment, family: Family, hits: tuple[Hit, ...]) -> Finding:
    share, shows = family.share, line(hits[0].evidence)[:160] if hits else ""
    name = family.title or family.technique
    shown = f" Shown by: {hits[0].oracle}: {shows}." if hits else ""
    attributes = {
        "succeeded": str(share.part), "trials": str(share.of), "rate": f"{share.rate:.3f}", "low": f"{share.low:.3f}", "high": f"{share.high:.3f}",
        "effective": f"{family.effective:.1f}", "through": found.through, "hit": hits[0].id if hits else "", "rule": family.rule,
    }  # fmt: skip
    print_ = hashlib.sha256("\0".join(("attack", found.target, found.through, family.technique)).encode()).hexdigest()
    return Finding(
        rule=family.technique,
        severity=family.severity,
        confidence=Confidence.high if share.part >= SURE else Confidence.medium,
        path="",
        line=0,
        taxonomies=family.taxonomies,
        message=f"{name}: {said(family)}.{shown}",
        fix=family.fix,
        title=name,
        asset=f"application:{found.target}",
        fingerprint=f"a1:{print_[:32]}",
        attributes=attributes,
    )
