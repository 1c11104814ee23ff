"""Findings, assets or incidents as CSV (RFC 4180) for a spreadsheet.

In: a Survey or a Lookback. Out: a header and one row each. A cell that a spreadsheet would take for a formula starts with an
apostrophe; invisible characters are made visible.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import IO

from afterguard.model import Lookback, Survey
from afterguard.report import words
from afterguard.report.json import ordered_assets, ordered_findings, ordered_incidents
from afterguard.safe import cell


def render(result: Survey | Lookback, out: IO[str], *, what: str = "") -> None:
    """Write incidents, findings (`what` "scan") or assets (the default)."""
    if isinstance(result, Lookback):
        rows = incidents(result)
    else:
        rows = findings(result) if what == "scan" else assets(result)
    csv.writer(out, lineterminator="\r\n").writerows([cell(value) for value in row] for row in rows)


def findings(survey: Survey) -> list[Sequence[str]]:
    """Rows of findings, the header first."""
    head = ("severity", "confidence", "rule", "path", "line", "message", "fix", "taxonomies", "asset", "fingerprint")
    return [head, *[
        (one.severity, one.confidence, one.rule, one.path, str(one.line), one.message, one.fix, " ".join(one.taxonomies), one.asset, one.fingerprint)
        for one in ordered_findings(survey.findings)
    ]]  # fmt: skip


def assets(survey: Survey) -> list[Sequence[str]]:
    """Rows of assets, the header first."""
    head = ("kind", "name", "confidence", "owner", "path", "line", "evidence")
    rows: list[Sequence[str]] = [head]
    for one in ordered_assets(survey.assets):
        first = one.evidence[0] if one.evidence else None
        place = (first.path, str(first.line)) if first else ("", "")
        rows.append((one.kind, one.name, one.confidence, one.owner, *place, str(len(one.evidence))))
    return rows


def incidents(lookback: Lookback) -> list[Sequence[str]]:
    """Rows of suspected incidents, the header first."""
    head = ("status", "severity", "confidence", "kind", "title", "first_seen", "last_seen", "exchanges", "identifiers", "taxonomies", "excerpt")  # fmt: skip
    return [head, *[
        (one.status, one.severity, one.confidence, one.kind, one.title, words.iso(one.first_seen), words.iso(one.last_seen),
         str(one.count or len(one.exchange_ids)), str(one.identifiers), " ".join(one.taxonomies), one.excerpt)
        for one in ordered_incidents(lookback.incidents)
    ]]  # fmt: skip
