"""Findings that a person has set aside in the source: `afterguard: ignore[rule-id] reason` in a comment.

In: the physical lines of a file and its findings. Out: what remains, what was set aside, and a finding for each suppression
without a reason, which then does not count. A suppression stands on the finding's line or on the line above.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, CONFIG, Check
from afterguard.scan.snippet import shown

_MARK = re.compile(
    r"(?:#|//|/\*|<!--|--|;|\{#)\s*afterguard:\s*ignore\[([a-z0-9*,\s-]{1,400})\]\s*(.{0,400})", re.IGNORECASE
)
_END = re.compile(r"\s*(?:\*/|-->|#\}|\\n\"?,?).*$")
CHECK = Check(
    id="suppression-without-reason",
    title="Suppression without a reason",
    severity=Severity.low,
    taxonomies=("CWE-1059",),
    why="A finding that was waved away without a reason comes back as an incident without an explanation.",
    fix="Say after the brackets why the finding does not apply here.",
    kinds=(*CODE, *CONFIG),
)


class Suppression(NamedTuple):
    """One comment: the rules it names, the reason given, its line."""

    rules: frozenset[str]
    reason: str
    line: int


def marks(lines: list[str]) -> dict[int, Suppression]:
    """Suppressions by the line they stand on."""
    out: dict[int, Suppression] = {}
    for number, text in enumerate(lines, start=1):
        if "afterguard:" not in text:
            continue
        found = _MARK.search(text[:4000])
        if found:
            rules = frozenset(word.strip() for word in found.group(1).lower().split(",") if word.strip())
            out[number] = Suppression(rules, _END.sub("", found.group(2)).strip(" :-"), number)
    return out


def apply(path: str, lines: list[str], findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding]]:
    """(kept, set aside). A suppression without reason keeps its finding and adds one of its own."""
    found = marks(lines)
    kept: list[Finding] = []
    aside: list[Finding] = []
    for one in findings:
        near = [found[n] for n in (one.line, one.line - 1) if n in found]
        if any(mark.reason and (one.rule in mark.rules or "*" in mark.rules) for mark in near):
            aside.append(one)
        else:
            kept.append(one)
    kept.extend(_unreasoned(path, lines, mark) for mark in found.values() if not mark.reason)
    return kept, aside


def _unreasoned(path: str, lines: list[str], mark: Suppression) -> Finding:
    return Finding(
        rule=CHECK.id,
        severity=CHECK.severity,
        confidence=Confidence.high,
        path=path,
        line=mark.line,
        taxonomies=CHECK.taxonomies,
        message=f"The suppression of {', '.join(sorted(mark.rules))} gives no reason, so it does not count.",
        fix=CHECK.fix,
        title=CHECK.title,
        snippet=shown(lines[mark.line - 1]),
    )
