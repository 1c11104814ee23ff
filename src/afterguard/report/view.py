"""What the pages say, worked out once for HTML and Markdown: figures in words, groups, caps.

In: an AppResult. Out: small frozen records of plain text and numbers. It formats; it does not escape and computes no risk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from afterguard import names
from afterguard.model import (
    SEVERITIES,
    AppResult,
    Asset,
    Certainty,
    Change,
    Coverage,
    Decision,
    Fact,
    Finding,
    Incident,
    Loss,
    Outcome,
    Range,
    Severity,
)
from afterguard.report import words
from afterguard.report.json import ordered_assets, ordered_findings, ordered_incidents
from afterguard.risk.figures import carried_by_priors

GROUPS, PLACES, INCIDENTS, ASSETS, GAPS = 60, 20, 60, 300, 120


class Figures(NamedTuple):
    """The money of the first page, rounded as far as it is known."""

    if_it_happens: str
    if_detail: str
    chance: str
    bad_year: str
    expected: str
    basis: str
    mostly_priors: bool


class Group(NamedTuple):
    """Findings of one rule and severity."""

    rule: str
    title: str
    severity: Severity
    confidence: str
    total: int
    rows: tuple[Finding, ...]
    more: int
    fix: str
    """The fix where all share one, else ""."""
    taxonomies: tuple[str, ...]
    delta: str


class Gap(NamedTuple):
    """Coverage rows of one reason."""

    reason: str
    total: int
    rows: tuple[Coverage, ...]
    more: int


def figures(loss: Loss) -> Figures:
    """The loss in words; ranges with two digits where priors carry more than half of it (the rule is risk.figures')."""
    if not loss.scenarios:
        return Figures("no figure", "", "no figure", "no figure", "no figure", loss.note, False)
    priors = carried_by_priors(loss)
    band, unit = loss.if_it_happens, loss.currency
    spread = words.between(band.low, band.high, unit)
    share = words.percent(loss.prior_share)
    basis = (
        f"{share} of the expected loss rests on industry figures and assumptions, not on this application's own facts. "
        "So these are ranges with two digits; read the facts above first."
        if priors
        else f"{share} of the expected loss rests on industry figures; the rest on this application's own facts."
    )
    return Figures(
        if_it_happens=spread if priors else words.money(band.mid, unit),
        if_detail="in 8 of 10 simulated losses" if priors else f"8 of 10 simulated losses: {spread}",
        chance=_share(loss.chance_of_loss, loss.chance_range if priors else None),
        bad_year=_amount(loss.one_in_twenty, loss.twenty_range if priors else None, unit, priors),
        expected=_amount(loss.annual_mean, loss.mean_range if priors else None, unit, priors),
        basis=f"{basis} {loss.note}".strip(),
        mostly_priors=priors,
    )


def _share(value: float, spread: Range | None) -> str:
    if spread is None:
        return words.percent(value)
    low, high = words.percent(spread.low), words.percent(spread.high)
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def _amount(value: float, spread: Range | None, unit: str, priors: bool) -> str:
    if spread is None:
        return words.money(value, unit, digits=2 if priors else 3)
    return words.between(spread.low, spread.high, unit)


def facts(result: AppResult) -> tuple[Fact, ...]:
    """Counted facts in the order given, without the one the pages count themselves."""
    found = result.loss.facts if result.loss else ()
    return tuple(one for one in found if not (result.lookback and one.label.lower() == "suspected incidents"))


def deltas(result: AppResult) -> dict[str, float]:
    """Fingerprint or incident id -> expected loss a year it adds."""
    return result.loss.deltas if result.loss else {}


def decisions(result: AppResult) -> tuple[Decision, ...]:
    """Three at most; "do nothing" is always one of them where it was given."""
    given = result.loss.decisions if result.loss else ()
    idle = [one for one in given if one.is_nothing][:1]
    active = [one for one in given if not one.is_nothing]
    return (*active[: 3 - len(idle)], *idle)


def severities(items: Iterable[Finding | Incident]) -> list[tuple[Severity, int]]:
    """(severity, how many), worst first, those that occur."""
    counts = Counter(item.severity for item in items)
    return [(level, counts[level]) for level in reversed(SEVERITIES) if counts[level]]


def tally(items: Iterable[Finding | Incident]) -> str:
    """`2 critical, 3 high`, or "none"."""
    return ", ".join(f"{number:,} {level}" for level, number in severities(items)) or "none"


def groups(
    findings: Iterable[Finding], deltas: Mapping[str, float], currency: str, *, places: int = PLACES
) -> list[Group]:
    """Findings by severity and rule, worst and most costly first, each cut after `places` rows."""
    found: dict[tuple[Severity, str], list[Finding]] = {}
    for item in ordered_findings(findings):
        found.setdefault((item.severity, item.rule), []).append(item)
    out = [_group(rows, deltas, currency, places) for rows in found.values()]
    cost = {(g.severity, g.rule): sum(deltas.get(f.fingerprint, 0.0) for f in found[g.severity, g.rule]) for g in out}
    return sorted(out, key=lambda g: (-SEVERITIES.index(g.severity), -cost[g.severity, g.rule], -g.total, g.rule))


def _group(rows: list[Finding], deltas: Mapping[str, float], currency: str, places: int) -> Group:
    first = rows[0]
    fixes = {item.fix for item in rows}
    taxonomies = sorted({name for item in rows for name in item.taxonomies})
    levels = ("low", "medium", "high")
    return Group(
        rule=first.rule,
        title=first.title or words.plain(first.rule).capitalize(),
        severity=first.severity,
        confidence=str(max((item.confidence for item in rows), key=levels.index)),
        total=len(rows),
        rows=tuple(rows[:places]),
        more=max(0, len(rows) - places),
        fix=first.fix if len(fixes) == 1 else "",
        taxonomies=tuple(names.describe(name) for name in taxonomies),
        delta=delta((item.fingerprint for item in rows), deltas, currency),
    )


def delta(keys: Iterable[str], deltas: Mapping[str, float], currency: str) -> str:
    """Expected loss a year that these carry, in words; "" where not known."""
    known = [deltas[key] for key in keys if key and key in deltas]
    return words.money(sum(known), currency, digits=2) if known and sum(known) > 0 else ""


def gaps(rows: Iterable[Coverage]) -> list[Gap]:
    """Coverage by reason, the most frequent first, each cut."""
    found: dict[str, list[Coverage]] = {}
    for row in sorted(rows, key=lambda one: (one.path, one.detail)):
        found.setdefault(row.reason, []).append(row)
    out = [
        Gap(reason, sum(row.count for row in same), tuple(same[:GAPS]), max(0, len(same) - GAPS))
        for reason, same in found.items()
    ]
    return sorted(out, key=lambda gap: (-gap.total, gap.reason))


def all_coverage(result: AppResult) -> tuple[Coverage, ...]:
    """What was not read of the tree and of the logs."""
    return result.survey.coverage + (result.lookback.coverage if result.lookback else ())


def outcomes(checks: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """(outcome, ids of checks) for all five outcomes, and any other word found."""
    known = [str(one) for one in Outcome]
    order = known + sorted({str(value) for value in checks.values()} - set(known))
    return [(outcome, sorted(name for name, got in checks.items() if got == outcome)) for outcome in order]


def guessed(assets: Iterable[Asset]) -> list[Asset]:
    """Assets nobody wrote down."""
    return [item for item in ordered_assets(assets) if item.confidence != Certainty.declared]


def incidents(result: AppResult) -> list[Incident]:
    """Suspected incidents, worst first."""
    return ordered_incidents(result.lookback.incidents) if result.lookback else []


def changed(change: Change) -> str:
    """One line on what moved since the run before."""
    kept = sum(change.unchanged.values())
    since = words.moment(change.previous_time) if change.previous_time is not None else "the run before"
    parts = [f"{len(change.new):,} new", f"{len(change.fixed):,} fixed", f"{kept:,} unchanged"]
    if change.not_examined:
        parts.append(f"{len(change.not_examined):,} not examined this time")
    return f"Since {since}: " + ", ".join(parts) + "."


def currency(result: AppResult) -> str:
    """The currency of the loss, US dollars where none was calculated."""
    return result.loss.currency if result.loss else "USD"
