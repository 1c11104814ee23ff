"""SARIF 2.1.0 (OASIS Standard, 27 March 2020) of a posture scan, as code-scanning services take it.

In: a Survey. Out: one SARIF log. Rule ids, fingerprints and paths are stable, so a service that reads two runs joins them.
What was not read or could not be checked is a notification of the invocation. It writes no absolute path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from afterguard import __version__, names
from afterguard.model import SEVERITIES, Asset, Coverage, Finding, Severity, Survey
from afterguard.report import words
from afterguard.report.json import dumps, ordered_findings
from afterguard.safe import encodable, visible

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
HOME = "https://github.com/afterguard/afterguard"
RULES = HOME + "/blob/main/docs/reference/rules.md#"
LEVELS = {
    Severity.critical: "error",
    Severity.high: "error",
    Severity.medium: "warning",
    Severity.low: "note",
    Severity.info: "note",
}
SCORES = {
    Severity.critical: "9.5",
    Severity.high: "8.0",
    Severity.medium: "5.5",
    Severity.low: "3.0",
    Severity.info: "0.0",
}
"""GitHub's `security-severity` bands: critical above 9.0, high above 7.0, medium above 4.0."""
NOTIFICATIONS = 1000

Json = dict[str, Any]


class Kind(NamedTuple):
    """What the findings come from, and the page that explains their rules."""

    name: str
    rules: str


SCAN = Kind("scan", RULES)


def document(
    survey: Survey, *, created_at: float | None = None, suppressed: Mapping[str, str] | None = None, kind: Kind = SCAN
) -> Json:
    """The SARIF log. What a person set aside is written too, as an accepted suppression; `suppressed`: fingerprint -> reason."""
    reasons = {**{item.fingerprint: "suppressed" for item in survey.suppressed}, **(suppressed or {})}
    findings = ordered_findings((*survey.findings, *survey.suppressed))
    rules = sorted({item.rule for item in findings})
    taxa = _Taxa(identifier for item in findings for identifier in item.taxonomies)
    run: Json = {
        "tool": {"driver": _driver(rules, findings, taxa, kind)},
        "automationDetails": {"id": f"afterguard/{kind.name}/{quote(encodable(survey.app.name), safe='')}/"},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The path that was scanned."}}},
        "invocations": [_invocation(survey, created_at)],
        "results": [_result(item, rules, taxa, survey.assets, reasons) for item in findings],
    }
    if taxa.components:
        run["taxonomies"] = taxa.components
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def render(
    survey: Survey, out: IO[str], *, created_at: float | None = None, suppressed: Mapping[str, str] | None = None
) -> None:
    """Write the SARIF log, indented."""
    out.write(dumps(document(survey, created_at=created_at, suppressed=suppressed)))


def uri(path: str) -> str:
    """A relative, percent-encoded URI reference of a POSIX path (RFC 3986, 4.2)."""
    clean = "/".join(part for part in encodable(path).split("/") if part not in ("", "."))
    return quote(clean, safe="/~!")


class _Taxa:
    """The taxonomies a run refers to, as SARIF tool components, and references into them."""

    def __init__(self, identifiers: Iterable[str]) -> None:
        self.places: dict[str, tuple[int, int]] = {}
        self.components: list[Json] = []
        index: dict[str, int] = {}
        for identifier in sorted(set(identifiers)):
            name, version = _taxonomy(identifier)
            key = f"{name} {version}"
            if key not in index:
                index[key] = len(self.components)
                self.components.append(
                    {"name": name, "version": version, "shortDescription": {"text": key.strip()}, "taxa": []}
                )
            taxa = self.components[index[key]]["taxa"]
            taxa.append({"id": identifier, "shortDescription": {"text": names.describe(identifier)}})
            self.places[identifier] = (index[key], len(taxa) - 1)

    def reference(self, identifier: str) -> Json:
        component, taxon = self.places[identifier]
        name = self.components[component]["name"]
        return {"id": identifier, "index": taxon, "toolComponent": {"name": name, "index": component}}


def _taxonomy(identifier: str) -> tuple[str, str]:
    if identifier.startswith("CWE-"):
        return "CWE", "4"
    if identifier.startswith("AML."):
        return "MITRE ATLAS", names.ATLAS_EDITION.rsplit(" ", 1)[-1]
    year = identifier.rpartition(":")[2] if ":" in identifier else ""
    if identifier.startswith("ASI"):
        return "OWASP Top 10 for Agentic Applications", year
    if identifier.startswith("LLM"):
        return "OWASP Top 10 for LLM Applications " + year, year
    return "other", year


def _driver(rules: list[str], findings: list[Finding], taxa: _Taxa, kind: Kind) -> Json:
    return {
        "name": "Afterguard",
        "version": __version__,
        "semanticVersion": __version__,
        "informationUri": HOME,
        "rules": [_rule(rule, [item for item in findings if item.rule == rule], taxa, kind) for rule in rules],
        "notifications": [
            {"id": "not-read", "shortDescription": {"text": "A path, or a part of it, that was not read."}},
            {"id": "not-told", "shortDescription": {"text": "A check that could not tell."}},
        ],
    }


def _rule(rule: str, findings: list[Finding], taxa: _Taxa, kind: Kind) -> Json:
    worst = max((item.severity for item in findings), key=SEVERITIES.index)
    identifiers = sorted({identifier for item in findings for identifier in item.taxonomies})
    title = encodable(next((item.title for item in findings if item.title), words.plain(rule)))
    sure = max((item.confidence for item in findings), key=("low", "medium", "high").index)
    return {
        "id": encodable(rule),
        "name": "".join(part.capitalize() for part in rule.replace("_", "-").split("-")),
        "shortDescription": {"text": visible(title)},
        "fullDescription": {"text": visible(title)},
        "help": {"text": visible(findings[0].fix)},
        "helpUri": kind.rules + quote(encodable(rule).replace("-", "_"), safe=""),
        "defaultConfiguration": {"level": LEVELS[worst]},
        "properties": {
            "tags": ["security", "ai", *identifiers],
            "security-severity": SCORES[worst],
            "precision": {"low": "low", "medium": "medium", "high": "high"}[sure],
        },
        "relationships": [{"target": taxa.reference(name), "kinds": ["relevant"]} for name in identifiers],
    }


def _result(
    item: Finding, rules: list[str], taxa: _Taxa, assets: tuple[Asset, ...], suppressed: Mapping[str, str]
) -> Json:
    out: Json = {
        "ruleId": encodable(item.rule),
        "ruleIndex": rules.index(item.rule),
        "level": LEVELS[item.severity],
        "message": {"text": visible(f"{item.message}\nFix: {item.fix}" if item.fix else item.message)},
        "locations": _locations(item, assets),
        "taxa": [taxa.reference(name) for name in sorted(set(item.taxonomies))],
        "properties": {
            "severity": str(item.severity),
            "confidence": str(item.confidence),
            "security-severity": SCORES[item.severity],
        },
    }
    if item.fingerprint:
        out["partialFingerprints"] = {"afterguard/v1": encodable(item.fingerprint)}
    if item.asset:
        out["properties"]["asset"] = visible(item.asset)
    if item.fingerprint in suppressed:
        out["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": visible(suppressed[item.fingerprint])}
        ]
    return out


def _locations(item: Finding, assets: tuple[Asset, ...]) -> list[Json]:
    path, line, end = item.path, item.line, item.end_line
    if not path:
        owner = next((one for one in assets if f"{one.kind}:{one.name}" == item.asset and one.evidence), None)
        if owner is None:
            name = visible(item.asset or "application")
            return [{"logicalLocations": [{"name": name, "fullyQualifiedName": name}]}]
        path, line, end = owner.evidence[0].path, owner.evidence[0].line, 0
    place: Json = {"artifactLocation": {"uri": uri(path), "uriBaseId": "SRCROOT"}}
    if line > 0:
        region: Json = {"startLine": line}
        if end > line:
            region["endLine"] = end
        if item.snippet:
            region["snippet"] = {"text": visible(item.snippet)}
        place["region"] = region
    return [{"physicalLocation": place}]


def _invocation(survey: Survey, created_at: float | None) -> Json:
    rows = sorted(survey.coverage, key=lambda row: (row.path, row.reason))
    told = [_not_read(row) for row in rows[:NOTIFICATIONS]]
    if len(rows) > NOTIFICATIONS:
        told.append(_notice("not-read", f"{len(rows) - NOTIFICATIONS} more paths were not read; the JSON lists them."))
    for check, outcome in sorted(survey.checks.items()):
        if outcome in ("not_available", "error"):
            told.append(_notice("not-told", f"Check {check}: {words.plain(outcome)}."))
    out: Json = {"executionSuccessful": True, "toolExecutionNotifications": told}
    if words.iso(created_at):
        out["endTimeUtc"] = words.iso(created_at)
    return out


def _not_read(row: Coverage) -> Json:
    text = f"{row.path}: {words.plain(row.reason)}" + (f", {row.detail}" if row.detail else "")
    notice = _notice("not-read", text)
    if uri(row.path):
        place = {"artifactLocation": {"uri": uri(row.path), "uriBaseId": "SRCROOT"}}
        notice["locations"] = [{"physicalLocation": place}]
    return notice


def _notice(identifier: str, text: str) -> Json:
    return {"descriptor": {"id": identifier}, "level": "warning", "message": {"text": visible(text)}}
