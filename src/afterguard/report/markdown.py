"""The onboarding report as short Markdown, fit for a ticket; and findings as a table for a job summary.

In: an OnboardResult or a Survey. Out: CommonMark with tables. Everything read from outside is escaped so that it prints as it stands: no link,
no image, no HTML, no mention. Lists are cut with a count; report.json holds all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from afterguard import names
from afterguard.model import AppResult, Changed, Incident, Lookback, OnboardResult, Severity, Survey
from afterguard.report import view, words
from afterguard.report.json import ordered_assets, ordered_findings, ordered_incidents
from afterguard.safe import code_span
from afterguard.safe import markdown as safe

ROWS = 25
MARKS = {
    Severity.critical: "◆ critical",
    Severity.high: "▲ high",
    Severity.medium: "■ medium",
    Severity.low: "● low",
    Severity.info: "○ info",
}


def render(result: OnboardResult | Survey | Lookback, out: IO[str], *, what: str = "") -> None:
    """Write the report of a whole run, or the table of one Survey (`what` "discover" or "scan") or Lookback."""
    if isinstance(result, OnboardResult):
        lines = _onboard(result)
    elif isinstance(result, Lookback):
        lines = ["# Suspected incidents", "", *_incidents(result)]
    else:
        lines = _findings(result) if what == "scan" else _assets(result)
    out.write("\n".join(lines).rstrip("\n") + "\n")


render_onboard = render


def _onboard(result: OnboardResult) -> list[str]:
    lines = [f"Afterguard report, {words.moment(result.created_at)}, version {safe(result.version)}", ""]
    if len(result.apps) > 1:
        lines += ["# AI applications, the most urgent first", ""]
        lines += _table(
            ("Application", "Suspected incidents", "Findings", "If it happens", "Chance"), map(_ranked, result.apps)
        )
    for app in result.apps:
        lines += _app(app)
    lines += _data(result)
    if result.next_command:
        lines += [f"Next: {code_span(result.next_command)}", ""]
    return lines


def _ranked(app: AppResult) -> tuple[str, ...]:
    money = view.figures(app.loss) if app.loss else None
    seen = view.tally(app.lookback.incidents) if app.lookback else "no traffic given"
    cost = (safe(money.if_it_happens), money.chance) if money else ("not calculated", "")
    return (safe(app.survey.app.name, 80), seen, view.tally(app.survey.findings), *cost)


def _app(app: AppResult) -> list[str]:
    lines = [f"# {safe(app.survey.app.name, 120) or 'Unnamed application'}", "", safe(app.summary, 400), ""]
    if app.change:
        lines += [view.changed(app.change), ""]
    lines += [*_facts(app), *_money(app), *_decisions(app), *_unknowns(app)]
    if app.change:
        lines += _changes("New", app.change.new) + _changes("Fixed", app.change.fixed)
        lines += _changes("Not examined this time", app.change.not_examined)
    lines += ["## Suspected incidents", ""]
    lines += _incidents(app.lookback) if app.lookback else ["No recorded traffic was given.", ""]
    return [*lines, "## Findings", "", *_finding_groups(app), *_inventory(app), *_gaps(app)]


def _facts(app: AppResult) -> list[str]:
    rows = [f"- **{safe(fact.value)}** {safe(fact.label)} ({safe(fact.source)})" for fact in view.facts(app)]  # fmt: skip
    if app.lookback:
        found = words.count(len(app.lookback.incidents), "suspected incident")
        rows.insert(0, f"- **{found}** in {words.count(app.lookback.exchanges, 'exchange')}")
    return [*rows, ""] if rows else []


def _money(app: AppResult) -> list[str]:
    if not app.loss:
        return ["The loss was not calculated.", ""]
    f = view.figures(app.loss)
    return [
        f"If it happens it costs **{safe(f.if_it_happens)}** ({safe(f.if_detail)}). Chance of a loss within a year: **{f.chance}**. "
        f"One year in twenty is worse than **{safe(f.bad_year)}**. {f.basis}",
        "",
    ]


def _decisions(app: AppResult) -> list[str]:
    money = view.currency(app)
    lines = []
    for number, one in enumerate(view.decisions(app), 1):
        parts = []
        if not one.is_nothing:
            parts.append(f"avoids {words.between(one.avoided.low, one.avoided.high, money)} a year")
            parts.append(f"costs {words.money(one.cost, money, digits=2)}")
        wait = "each week of it costs" if one.is_nothing else "a week of waiting costs"
        parts.append(f"{wait} {words.money(one.cost_of_waiting_a_week, money, digits=2)}")
        lines.append(
            f"{number}. **{safe(one.title)}** {safe(one.note)} {safe(words.sentence('; '.join(parts)))}".rstrip()
        )
    return ["## Decisions", "", *lines, ""] if lines else []


def _unknowns(app: AppResult) -> list[str]:
    rows = [
        f"- {safe(words.sentence(one.question))} {safe(words.sentence(one.effect))}".rstrip()
        for one in app.unknowns[:6]
    ]
    if app.loss and app.loss.not_measured:
        rows += ["- Not measured: " + "; ".join(safe(one) for one in app.loss.not_measured)]
    return ["## What would change this", "", *rows, ""] if rows else []


def _changes(title: str, rows: tuple[Changed, ...]) -> list[str]:
    shown = [f"- {safe(row.severity or row.what)} {safe(row.title)} {code_span(row.where) if row.where else ''}".rstrip() for row in rows[:ROWS]]  # fmt: skip
    more = [f"- {len(rows) - ROWS} more"] if len(rows) > ROWS else []
    return [f"## {title}", "", *shown, *more, ""] if rows else []


def _incidents(look: Lookback) -> list[str]:
    items = ordered_incidents(look.incidents)
    lines: list[str] = []
    for item in items[:ROWS]:
        lines += _incident(item)
    if len(items) > ROWS:
        lines += [f"{len(items) - ROWS} more in report.json.", ""]
    if not items:
        lines += [f"None found in {words.count(look.exchanges, 'exchange')}.", ""]
    if look.unjudged:
        told = ", ".join(f"{words.plain(reason)} {number}" for reason, number in sorted(look.unjudged.items()))
        lines += [f"Could not be judged: {safe(told)}.", ""]
    if look.change_request:
        lines += ["Prompts were not logged; report.html holds the change that would log them.", ""]
    return lines


def _incident(item: Incident) -> list[str]:
    touched = words.count(item.count or len(item.exchange_ids), "exchange")
    lines = [
        f"### {MARKS[item.severity]}: {safe(item.title or words.plain(item.kind))}",
        "",
        f"{safe(item.status.capitalize())}, confidence {item.confidence}. {words.span(item.first_seen, item.last_seen)}. {touched}, "
        f"{words.count(item.identifiers, 'distinct identifier')} seen.",
        "",
    ]
    if item.excerpt:
        lines += [f"> {code_span(item.excerpt, 240)}", ""]
    if item.rule:
        lines += [f"Why: {safe(item.rule)}", ""]
    if item.would_change:
        lines += [f"Would change it: {safe(item.would_change)}", ""]
    return [*lines, ", ".join(safe(names.describe(name)) for name in item.taxonomies), ""]


def _finding_groups(app: AppResult) -> list[str]:
    groups = view.groups(app.survey.findings, view.deltas(app), view.currency(app), places=5)
    lines: list[str] = []
    for group in groups[:ROWS]:
        cost = f", adds about {safe(group.delta)} a year" if group.delta else ""
        lines.append(f"- **{MARKS[group.severity]}** {safe(group.title)} ({safe(group.rule)}, {words.count(group.total, 'place')}{cost})")  # fmt: skip
        lines += [f"  - {code_span(words.place(row.path, row.line))} {safe(row.message, 300)}" for row in group.rows]
        if group.more:
            lines.append(f"  - {group.more} more")
        if group.fix:
            lines.append(f"  - Fix: {safe(group.fix, 300)}")
    left = sum(group.total for group in groups[ROWS:])
    if left:
        lines.append(f"- {left} findings of more rules in report.json")
    return [*(lines or ["None."]), ""]


def _inventory(app: AppResult) -> list[str]:
    counts: dict[str, int] = {}
    for item in ordered_assets(app.survey.assets):
        counts[item.kind] = counts.get(item.kind, 0) + 1
    told = ", ".join(f"{number} {words.kind(kind, number).lower()}" for kind, number in counts.items())
    guesses = len(view.guessed(app.survey.assets))
    return ["## Inventory", "", f"{safe(told) or 'No assets'}. {guesses} of them are guesses.", ""]


def _gaps(app: AppResult) -> list[str]:
    gaps = view.gaps(view.all_coverage(app))
    told = ", ".join(f"{words.plain(gap.reason)} {gap.total}" for gap in gaps)
    undecided = [name for outcome, ids in view.outcomes(app.survey.checks) if outcome in ("not_available", "error") for name in ids]  # fmt: skip
    lines = ["## Not read", "", f"{safe(told)}." if told else "Everything that was given was read.", ""]
    return lines + ([f"Checks that could not tell: {safe(', '.join(undecided))}.", ""] if undecided else [])


def _data(result: OnboardResult) -> list[str]:
    rows = [(safe(row.what), safe(row.kept), safe(row.who), safe(row.how_long)) for row in result.data_sheet]
    return (
        ["# What was read and kept", "", *_table(("Read", "Kept", "Who can read it", "How long"), rows)] if rows else []
    )


def _findings(survey: Survey) -> list[str]:
    rows = [
        (MARKS[item.severity], safe(item.rule), code_span(words.place(item.path, item.line)), safe(item.message, 300), safe(item.fix, 300))
        for item in ordered_findings(survey.findings)
    ]  # fmt: skip
    return ["# Findings", "", *_table(("Severity", "Rule", "Where", "What", "Fix"), rows)]


def _assets(survey: Survey) -> list[str]:
    rows = [
        (words.kind(item.kind), safe(item.name, 120), str(item.confidence), code_span(words.place(item.evidence[0].path, item.evidence[0].line)) if item.evidence else "")
        for item in ordered_assets(survey.assets)
    ]  # fmt: skip
    return ["# AI assets", "", *_table(("Kind", "Name", "Known how", "Evidence"), rows)]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    body = ["| " + " | ".join(row) + " |" for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *body, ""]
