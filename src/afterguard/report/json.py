"""The versioned JSON documents: afterguard.discover/1, lookback/1, scan/1, onboard/1.

In: a Survey, a Lookback or an OnboardResult. Out: one JSON document; every field is described in docs/reference/json.md.
Fields are only ever added. Fields named there as "always" are written even when empty. It does not redact: the nouns
already hold redacted text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import msgspec

from afterguard.model import (
    SEVERITIES,
    AppResult,
    Asset,
    Coverage,
    Finding,
    Incident,
    Lookback,
    OnboardResult,
    Survey,
)
from afterguard.report import words
from afterguard.safe import encodable

Json = dict[str, Any]


def plain(value: Any) -> Any:
    """Structs as dicts, tuples as lists."""
    return msgspec.to_builtins(value)


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(str(key)): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value


def dumps(value: Any, *, indent: int = 2) -> str:
    """JSON text, indented, ending in a newline; `indent` 0 gives one line. NaN and infinities become null."""
    value = _dated(value)
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        data = msgspec.json.encode(_encodable(value))
    return (msgspec.json.format(data, indent=indent) if indent else data).decode() + "\n"


TIMES = {"first_seen", "last_seen", "created_at", "previous_time", "started", "finished", "log_first", "log_last"}


def _dated(value: Any) -> Any:
    """The document with its times as RFC 3339 text; a time no calendar has is null."""
    if isinstance(value, dict):
        return {key: _moment(one) if key in TIMES else _dated(one) for key, one in value.items()}
    return [_dated(one) for one in value] if isinstance(value, list) else value


def _moment(value: Any) -> Any:
    return (words.iso(value) or None) if isinstance(value, (int, float)) else value


def asset(item: Asset) -> Json:
    """An asset; `kind name confidence evidence edges` always."""
    return {**plain(item), "evidence": [plain(seen) for seen in item.evidence], "edges": plain(list(item.edges))}


def finding(item: Finding) -> Json:
    """A finding; `rule severity confidence path line taxonomies message fix fingerprint` always."""
    return {**plain(item), "fingerprint": item.fingerprint}


def incident(item: Incident) -> Json:
    """An incident; `kind severity first_seen last_seen exchange_ids identifiers taxonomies excerpt status` always."""
    return {**plain(item), "status": item.status, "count": item.count, "dwell_seconds": item.dwell}


def coverage(rows: Iterable[Coverage]) -> list[Json]:
    """Coverage rows by path; `path reason count` always."""
    ordered = sorted(rows, key=lambda row: (row.path, row.reason, row.detail))
    return [{**plain(row), "count": row.count} for row in ordered]


def ordered_assets(items: Iterable[Asset]) -> list[Asset]:
    """By kind, then name."""
    return sorted(items, key=lambda item: (item.kind, item.name))


def ordered_findings(items: Iterable[Finding]) -> list[Finding]:
    """Worst first, then by place."""
    return sorted(items, key=lambda item: (-SEVERITIES.index(item.severity), item.path, item.line, item.rule))


def ordered_incidents(items: Iterable[Incident]) -> list[Incident]:
    """Worst first, then by first sighting."""
    return sorted(items, key=lambda item: (-SEVERITIES.index(item.severity), item.first_seen or 0.0, item.id))


def discover_document(survey: Survey) -> Json:
    """afterguard.discover/1"""
    return {
        "format": "afterguard.discover/1",
        "app": survey.app.name,
        "assets": [asset(item) for item in ordered_assets(survey.assets)],
        "coverage": coverage(survey.coverage),
        "files": survey.files,
        "bytes": survey.bytes,
    }


def scan_document(survey: Survey) -> Json:
    """afterguard.scan/1"""
    return {
        "format": "afterguard.scan/1",
        "app": survey.app.name,
        "findings": [finding(item) for item in ordered_findings(survey.findings)],
        "suppressed": [finding(item) for item in ordered_findings(survey.suppressed)],
        "coverage": coverage(survey.coverage),
        "checks": plain(dict(sorted(survey.checks.items()))),
        "files": survey.files,
        "bytes": survey.bytes,
    }


def lookback_document(lookback: Lookback) -> Json:
    """afterguard.lookback/1"""
    rest = plain(lookback)
    return {
        "format": "afterguard.lookback/1",
        **rest,
        "exchanges": lookback.exchanges,
        "incidents": [incident(item) for item in ordered_incidents(lookback.incidents)],
        "unjudged": plain(dict(sorted(lookback.unjudged.items()))),
        "coverage": coverage(lookback.coverage),
    }


def app_document(result: AppResult) -> Json:
    """One entry of `apps` in afterguard.onboard/1."""
    rest = plain(result)
    rest.pop("survey", None)
    return {
        "app": result.survey.app.name,
        **rest,
        "discover": discover_document(result.survey),
        "scan": scan_document(result.survey),
        "lookback": lookback_document(result.lookback) if result.lookback else None,
        "loss": plain(result.loss) if result.loss else None,
    }


def onboard_document(result: OnboardResult) -> Json:
    """afterguard.onboard/1"""
    rest = plain(result)
    return {"format": "afterguard.onboard/1", **rest, "apps": [app_document(item) for item in result.apps]}


def document(result: Survey | Lookback | OnboardResult, *, what: str = "") -> Json:
    """The document of a result; `what` tells a Survey's two documents apart: "discover" (default) or "scan"."""
    if isinstance(result, OnboardResult):
        return onboard_document(result)
    if isinstance(result, Lookback):
        return lookback_document(result)
    return scan_document(result) if what == "scan" else discover_document(result)


def render(result: Survey | Lookback | OnboardResult, out: IO[str], *, what: str = "") -> None:
    """Write the document, indented."""
    out.write(dumps(document(result, what=what)))
