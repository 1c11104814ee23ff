"""JUnit XML of a posture scan, for CI systems that show test results: one test case a check and finding.

In: a Survey. Out: XML. A finding is a failure, a check that could not tell is skipped, a check that broke is an error, the rest
passed. Characters XML 1.0 does not allow are made visible first.
"""

from __future__ import annotations

from typing import IO
from xml.sax.saxutils import escape, quoteattr

from afterguard.model import SEVERITIES, Finding, Severity, Survey
from afterguard.report import words
from afterguard.report.json import ordered_findings
from afterguard.safe import visible


def render(survey: Survey, out: IO[str], *, fail_on: Severity = Severity.low) -> None:
    """Write the XML. Findings below `fail_on` are listed as passed cases with their text in system-out."""
    floor = SEVERITIES.index(fail_on)
    found = ordered_findings(survey.findings)
    hit = {item.rule for item in found}
    cases = [_finding(item, SEVERITIES.index(item.severity) >= floor) for item in found]
    cases += [_check(name, outcome) for name, outcome in sorted(survey.checks.items()) if name not in hit]
    failures = sum(SEVERITIES.index(item.severity) >= floor for item in found)
    outcomes = [outcome for name, outcome in survey.checks.items() if name not in hit]
    errors = outcomes.count("error")
    skipped = outcomes.count("not_available") + outcomes.count("not_applicable")
    name = attribute(f"afterguard scan {survey.app.name}".strip())
    counts = f'tests="{len(cases)}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
    out.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    out.write(f"<testsuites {counts}>\n<testsuite name={name} {counts}>\n")
    out.writelines(cases)
    out.write("</testsuite>\n</testsuites>\n")


def _finding(item: Finding, fails: bool) -> str:
    place = words.place(item.path, item.line)
    head = f"<testcase classname={attribute(item.rule)} name={attribute(place)} file={attribute(item.path)}>"
    told = text(f"{item.severity} {item.rule} {place}\n{item.message}\nFix: {item.fix}")
    if not fails:
        return f"{head}<system-out>{told}</system-out></testcase>\n"
    return f"{head}<failure type={attribute(item.severity)} message={attribute(item.message)}>{told}</failure></testcase>\n"


def _check(name: str, outcome: str) -> str:
    head = f'<testcase classname={attribute(name)} name="check"'
    if outcome == "error":
        return f'{head}><error message="the check broke; nothing is known"/></testcase>\n'
    if outcome in ("not_available", "not_applicable"):
        return f"{head}><skipped message={attribute(words.plain(outcome))}/></testcase>\n"
    return f"{head}/>\n"


def text(value: str) -> str:
    """Text of an element."""
    return escape(visible(value))


def attribute(value: str) -> str:
    """A value with its quotes."""
    return quoteattr(visible(str(value)))
