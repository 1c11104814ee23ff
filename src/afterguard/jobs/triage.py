"""What is shown of what was found: dated exceptions, persona, severity floor, baseline.

In: a Survey or Lookback, the configuration, today, an earlier JSON result. Out: the same with less shown; what was set aside is
counted in `suppressed`, expired exceptions come back and are named. Nothing is deleted from the store by this.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from afterguard import files
from afterguard.config import Config, Suppression
from afterguard.errors import UsageError
from afterguard.model import SEVERITIES, Finding, Lookback, Severity, Survey
from afterguard.scan import CHECKS

BASELINE_BYTES = 96 << 20


class Baseline(msgspec.Struct, frozen=True):
    """Identities that an earlier result already reported."""

    fingerprints: frozenset[str] = frozenset()
    incidents: frozenset[str] = frozenset()
    assets: frozenset[tuple[str, str]] = frozenset()


NO_BASELINE = Baseline()


def read_baseline(path: Path) -> Baseline:
    """Identities of an earlier discover, scan, lookback or onboard JSON. Raises UsageError."""
    try:
        document = msgspec.json.decode(files.named(path, BASELINE_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"cannot read baseline {path}: {error}",
            hint="give a result written with --format json",
            slug="bad-baseline",
        ) from None
    if not isinstance(document, dict) or not str(document.get("format", "")).startswith("afterguard."):
        raise UsageError(
            f"{path} is no result of Afterguard", hint="give a result written with --format json", slug="bad-baseline"
        )
    parts: list[dict[str, Any]] = [document]
    for app in _rows(document, "apps"):
        parts += [
            part for part in (app.get("discover"), app.get("scan"), app.get("lookback")) if isinstance(part, dict)
        ]
    return Baseline(
        frozenset(
            str(row.get("fingerprint")) for part in parts for row in _rows(part, "findings") if row.get("fingerprint")
        ),
        frozenset(str(row.get("id")) for part in parts for row in _rows(part, "incidents") if row.get("id")),
        frozenset((str(row.get("kind")), str(row.get("name"))) for part in parts for row in _rows(part, "assets")),
    )


def _rows(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    rows = document.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def survey(result: Survey, config: Config, today: date, baseline: Baseline = NO_BASELINE) -> Survey:
    """The Survey with what is not to be shown moved to `suppressed` or left out (baseline, severity, persona)."""
    kept: list[Finding] = []
    aside = list(result.suppressed)
    for one in result.findings:
        if any(holds(exception, one, today) for exception in config.suppress):
            aside.append(one)
        elif one.fingerprint not in baseline.fingerprints and _wanted(one, config):
            kept.append(one)
    assets = tuple(one for one in result.assets if (str(one.kind), one.name) not in baseline.assets)
    return msgspec.structs.replace(result, findings=tuple(kept), suppressed=tuple(aside), assets=assets)


def lookback(result: Lookback, config: Config, baseline: Baseline = NO_BASELINE) -> Lookback:
    """The Lookback without incidents of the baseline or below the severity floor."""
    kept = tuple(
        one
        for one in result.incidents
        if one.id not in baseline.incidents and _at_least(one.severity, config.scan.min_severity)
    )
    return msgspec.structs.replace(result, incidents=kept)


def holds(exception: Suppression, finding: Finding, today: date) -> bool:
    """Whether a dated exception covers a finding on a day."""
    return (
        exception.expires >= today
        and fnmatch.fnmatchcase(finding.rule, exception.rule)
        and fnmatch.fnmatchcase(finding.path, exception.path)
    )


def expired(exceptions: Sequence[Suppression], today: date) -> list[str]:
    """A sentence for each exception that no longer holds."""
    return [
        f"the exception for {one.rule} on {one.path} ended on {one.expires}: {one.reason}"
        for one in exceptions
        if one.expires < today
    ]


def _wanted(finding: Finding, config: Config) -> bool:
    auditor_only = {check.id for check in CHECKS if check.persona == "auditor"}
    return (
        finding.rule not in config.scan.disable
        and _at_least(finding.severity, config.scan.min_severity)
        and (config.scan.persona == "auditor" or finding.rule not in auditor_only)
    )


def _at_least(severity: Severity, floor: Severity) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(floor)
