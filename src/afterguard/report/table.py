"""What a person sees in the terminal after discover, scan and lookback.

In: a Survey or a Lookback. Out: text, coloured only where the stream is a terminal and NO_COLOR is unset (Rich decides).
Everything read from files is stripped of terminal escapes, bidi and zero-width characters. It ends by naming the next command.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import IO

from rich.console import Console
from rich.text import Text as Line

from afterguard.model import SEVERITIES, Coverage, Lookback, Severity, Survey
from afterguard.report import json as documents
from afterguard.report import words
from afterguard.safe import line, terminal

STYLES = {
    Severity.critical: "bold red",
    Severity.high: "red",
    Severity.medium: "yellow",
    Severity.low: "cyan",
    Severity.info: "dim",
}


def console(out: IO[str], *, width: int | None = None, color: bool | None = None) -> Console:
    """A console on a stream; `color` None leaves it to the terminal and NO_COLOR."""
    return Console(
        file=out,
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        no_color=True if color is False else None,
        force_terminal=True if color else None,
    )


def render(
    result: Survey | Lookback,
    out: IO[str],
    *,
    what: str = "",
    next_command: str = "",
    verbose: bool = False,
    color: bool | None = None,
) -> None:
    """Print the result; `what` is "discover" (default) or "scan" for a Survey. `verbose` lists every coverage row."""
    screen = console(out, color=color)
    if isinstance(result, Lookback):
        _lookback(screen, result)
    elif what == "scan":
        _scan(screen, result)
    else:
        _discover(screen, result)
    _coverage(screen, result.coverage, verbose)
    if next_command:
        screen.print()
        screen.print(Line.assemble(("Next: ", "bold"), line(next_command)))


def _discover(screen: Console, survey: Survey) -> None:
    assets = documents.ordered_assets(survey.assets)
    app = line(survey.app.name) or "this tree"
    screen.print(Line(f"{app}: {words.count(len(assets), 'AI asset')} in {words.count(survey.files, 'file')}", "bold"))
    for kind, group in groupby(assets, key=lambda item: item.kind):
        rows = list(group)
        screen.print()
        screen.print(Line(f"{words.kind(kind, len(rows))} ({len(rows)})", "bold"))
        for item in rows:
            place = item.evidence[0] if item.evidence else None
            more = f" and {len(item.evidence) - 1} more" if len(item.evidence) > 1 else ""
            where = words.place(place.path, place.line) if place else "no evidence"
            screen.print(
                Line.assemble("  ", line(item.name, 60), ("  " + item.confidence + "  ", "dim"), line(where) + more)
            )


def _scan(screen: Console, survey: Survey) -> None:
    findings = documents.ordered_findings(survey.findings)
    counts = Counter(item.severity for item in findings)
    parts = [f"{counts[level]} {level}" for level in reversed(SEVERITIES) if counts[level]]
    screen.print(
        Line(f"{words.count(len(findings), 'finding')}" + (": " + ", ".join(parts) if parts else ""), style="bold")
    )
    for item in findings:
        screen.print()
        screen.print(
            Line.assemble(
                (item.severity.upper(), STYLES[item.severity]),
                "  ",
                (line(item.rule), "bold"),
                "  ",
                line(words.place(item.path, item.line)),
            )
        )
        screen.print("  " + line(item.message))
        if item.snippet:
            screen.print(Line("  > " + line(item.snippet, 200), "dim"))
        screen.print(Line.assemble("  ", ("fix ", "green"), line(item.fix)))
    if survey.suppressed:
        screen.print()
        screen.print(f"{words.count(len(survey.suppressed), 'finding')} set aside by a suppression")
    undecided = {name: out for name, out in sorted(survey.checks.items()) if out in ("not_available", "error")}
    if undecided:
        screen.print()
        screen.print(f"{words.count(len(undecided), 'check')} could not tell: " + line(", ".join(undecided)))


def _lookback(screen: Console, result: Lookback) -> None:
    screen.print(
        Line(
            f"{words.count(len(result.incidents), 'suspected incident')} in {words.count(result.exchanges, 'exchange')}",
            "bold",
        )
    )
    if result.first_seen is not None and result.last_seen is not None:
        screen.print(f"from {words.moment(result.first_seen)} to {words.moment(result.last_seen)}")
    for item in documents.ordered_incidents(result.incidents):
        screen.print()
        title = line(item.title or item.kind)
        screen.print(Line.assemble((item.severity.upper(), STYLES[item.severity]), "  ", (title, "bold")))
        screen.print(
            "  "
            + line(
                f"{words.span(item.first_seen, item.last_seen)}; {words.count(item.count or len(item.exchange_ids), 'exchange')}; "
                f"{words.count(item.identifiers, 'distinct identifier')} seen"
            )
        )
        if item.rule:
            screen.print("  why " + line(item.rule))
        if item.excerpt:
            screen.print(Line("  > " + line(item.excerpt, 240), "dim"))
        if item.would_change:
            screen.print("  would change it: " + line(item.would_change))
    if result.unjudged:
        screen.print()
        total = sum(result.unjudged.values())
        by_reason = ", ".join(f"{words.plain(reason)} {n}" for reason, n in sorted(result.unjudged.items()))
        screen.print(line(f"{words.count(total, 'part')} could not be judged: {by_reason}"))
    if result.change_request:
        screen.print()
        screen.print("Prompts were not logged here. This change would log them:", style="bold")
        screen.print()
        screen.print(terminal(result.change_request))


def _coverage(screen: Console, rows: Iterable[Coverage], verbose: bool) -> None:
    gaps = sorted(rows, key=lambda row: (row.reason, row.path))
    if not gaps:
        return
    counts: Counter[str] = Counter()
    for row in gaps:
        counts[row.reason] += row.count
    screen.print()
    reasons = ", ".join(f"{words.plain(reason)} {n}" for reason, n in sorted(counts.items()))
    screen.print(line(f"Not read: {reasons}" + ("" if verbose else " (-v lists them)")))
    for row in gaps if verbose else ():
        screen.print(Line(f"  {line(row.path)}  {line(words.plain(row.reason))}  {line(row.detail)}", "dim"))
