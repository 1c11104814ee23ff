"""Running every check over every file: two passes, so that a value can be followed from one file into another.

In: parsed files and joined assets. Out: findings with fingerprints, what each check answered for each file, coverage rows for
checks that failed, and the findings set aside by suppressions. Pure; an exception inside a check is that check's outcome.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from afterguard.code.parse import Parsed
from afterguard.model import Asset, Coverage, Finding, Outcome
from afterguard.scan.check import Context
from afterguard.scan.checks import PLUGINS
from afterguard.scan.fingerprint import sign
from afterguard.scan.summary import Summary, summarise
from afterguard.scan.suppress import apply

_RANK = (Outcome.hit, Outcome.error, Outcome.not_available, Outcome.miss, Outcome.not_applicable)
PER_CHECK = 200
"""Findings of one check kept for one file; the rest is counted in a coverage row."""


class Examined(msgspec.Struct, frozen=True):
    """What the checks said about one file."""

    path: str
    findings: tuple[Finding, ...] = ()
    outcomes: dict[str, str] = {}
    coverage: tuple[Coverage, ...] = ()
    suppressed: tuple[Finding, ...] = ()


def context_of(parsed: Iterable[Parsed], assets: Iterable[Asset] = ()) -> Context:
    """First pass: what every file tells the others. Files may be streamed; nothing of them is kept but the summary."""
    failed: list[Coverage] = []
    summaries = [_summary(one, failed) for one in parsed]
    return Context(summaries, assets, failed)


def _summary(parsed: Parsed, failed: list[Coverage]) -> Summary:
    if is_generated(parsed):
        return Summary(parsed.source.path, "")
    try:
        return summarise(parsed)
    except Exception as error:
        # The file still gets its checks; what it means to other files is not known, and that is said.
        failed.append(_failed(parsed, "first pass", error))
        return Summary(parsed.source.path, "")


def examine(parsed: Parsed, context: Context) -> Examined:
    """Second pass: every check on one file."""
    if is_generated(parsed):
        return Examined(
            parsed.source.path,
            outcomes=dict.fromkeys((plugin.check.id for plugin in PLUGINS), str(Outcome.not_applicable)),
            coverage=(
                Coverage(parsed.source.path, "excluded", "minified or generated", bytes=len(parsed.source.data)),
            ),
        )
    findings: list[Finding] = []
    outcomes: dict[str, str] = {}
    coverage: list[Coverage] = []
    for plugin in PLUGINS:
        if parsed.source.kind not in plugin.check.kinds:
            outcomes[plugin.check.id] = Outcome.not_applicable
            continue
        try:
            found = list(_limited(plugin.look(parsed, context)))
        except Exception as error:
            outcomes[plugin.check.id] = Outcome.error
            coverage.append(_failed(parsed, plugin.check.id, error))
            continue
        if len(found) > PER_CHECK:
            coverage.append(Coverage(parsed.source.path, "cap", f"{plugin.check.id}: more than {PER_CHECK} findings"))
        findings.extend(found[:PER_CHECK])
        unread = bool(parsed.errors) and parsed.module is None and parsed.document is None
        outcomes[plugin.check.id] = Outcome.hit if found else Outcome.not_available if unread else Outcome.miss
    kept, aside = apply(parsed.source.path, context.lines(parsed), _distinct(findings))
    lines = context.lines(parsed)
    signed, hidden = sign(kept, lines, parsed.module), sign(aside, lines, parsed.module)
    return Examined(parsed.source.path, tuple(signed), outcomes, tuple(coverage), tuple(hidden))


def is_generated(parsed: Parsed) -> bool:
    """Whether a script is a bundle that no person wrote: large, with lines longer than anybody types."""
    data = parsed.source.data
    if parsed.source.kind not in ("javascript", "typescript") or len(data) < 20_000:
        return False
    return len(data) / (data.count(b"\n") + 1) > 250


def _limited(found: Iterator[Finding]) -> Iterator[Finding]:
    for number, one in enumerate(found):
        yield one
        if number >= PER_CHECK:
            return


def _failed(parsed: Parsed, check: str, error: Exception) -> Coverage:
    return Coverage(parsed.source.path, "unsupported", f"check {check} failed: {type(error).__name__}")


def _distinct(findings: Iterable[Finding]) -> list[Finding]:
    """One finding a rule and line."""
    out: dict[tuple[str, int], Finding] = {}
    for one in findings:
        out.setdefault((one.rule, one.line), one)
    return list(out.values())


class Scan(msgspec.Struct, frozen=True):
    """What the checks said about an application."""

    findings: tuple[Finding, ...]
    outcomes: dict[str, str]
    """Check id -> the strongest outcome over all files: hit, error, not_available, miss, not_applicable."""
    by_file: dict[str, dict[str, int]]
    """Check id -> outcome -> files."""
    coverage: tuple[Coverage, ...] = ()
    suppressed: tuple[Finding, ...] = ()


def gather(examined: Iterable[Examined]) -> Scan:
    """The answers of all files put together, findings by path and line."""
    findings: list[Finding] = []
    coverage: list[Coverage] = []
    suppressed: list[Finding] = []
    counts: dict[str, dict[str, int]] = {plugin.check.id: {} for plugin in PLUGINS}
    for one in examined:
        findings.extend(one.findings)
        coverage.extend(one.coverage)
        suppressed.extend(one.suppressed)
        for check, outcome in one.outcomes.items():
            row = counts[check]
            row[outcome] = row.get(outcome, 0) + 1
    outcomes = {
        check: next((str(kind) for kind in _RANK if kind in row), str(Outcome.not_applicable))
        for check, row in counts.items()
    }
    findings.sort(key=lambda one: (one.path, one.line, one.rule))
    return Scan(tuple(findings), outcomes, counts, tuple(coverage), tuple(suppressed))


def run(parsed: Sequence[Parsed], assets: Sequence[Asset] = ()) -> tuple[tuple[Finding, ...], dict[str, str]]:
    """(findings, check id -> outcome) of files held in memory. For streams use context_of, examine and gather."""
    context = context_of(parsed, assets)
    result = gather(examine(one, context) for one in parsed)
    return result.findings, result.outcomes
