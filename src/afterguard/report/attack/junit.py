"""JUnit XML of an attack, for CI systems that show test results: one test case a technique.

In: an Assessment and its findings. Out: XML. A technique that succeeded is a failure with its conversation, one that was not tried or showed nothing is skipped, the rest passed. What is not assessed is never a pass.
"""

from __future__ import annotations

from typing import IO

from afterguard.attack.assessment import Assessment
from afterguard.attack.findings import Weakness, said
from afterguard.model import SEVERITIES, Family, Severity
from afterguard.report.attack import words
from afterguard.report.junit import attribute, text


def render(found: Assessment, weak: tuple[Weakness, ...], out: IO[str], *, fail_on: Severity = Severity.low) -> None:
    """Write the XML. Weaknesses below `fail_on` are listed as passed cases with their text in system-out."""
    by = {one.family.technique: one for one in weak}
    fails = {name for name, one in by.items() if SEVERITIES.index(one.finding.severity) >= SEVERITIES.index(fail_on)}
    skipped = [one for one in found.families if not one.share.of]
    counts = f'tests="{len(found.families)}" failures="{len(fails)}" errors="0" skipped="{len(skipped)}"'
    name = attribute(f"afterguard attack {found.target}")
    out.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    out.write(f'<testsuites {counts}>\n<testsuite name={name} time="{found.seconds:.3f}" {counts}>\n')
    out.writelines(_case(one, by.get(one.technique), one.technique in fails) for one in found.families)
    if found.stopped:
        out.write(f"<system-err>{text(f'ended because {found.stopped}')}</system-err>\n")
    out.write("</testsuite>\n</testsuites>\n")


def _case(family: Family, weak: Weakness | None, fails: bool) -> str:
    head = f"<testcase classname={attribute(family.kind or 'attack')} name={attribute(family.technique)}>"
    if weak is None:
        if not family.share.of:
            why = words.reason(family.skipped) if family.skipped else f"not assessed: {words.unassessed(family)}"
            return f"{head}<skipped message={attribute(why)}/></testcase>\n"
        return f"{head}<system-out>{text(said(family))}</system-out></testcase>\n"
    told = text(_told(weak))
    if not fails:
        return f"{head}<system-out>{told}</system-out></testcase>\n"
    return f"{head}<failure type={attribute(weak.finding.severity)} message={attribute(weak.finding.message)}>{told}</failure></testcase>\n"


def _told(weak: Weakness) -> str:
    one = weak.finding
    rows = [f"{one.severity} {one.title}: {said(weak.family)}", f"Fix: {one.fix}", weak.rule_note, weak.rule]
    for hit in weak.hits[:1]:
        rows += [f"{hit.id}, shown by {hit.oracle}: {hit.evidence}", *(f"{line.who}: {line.text}" for line in words.transcript(hit))]  # fmt: skip
    return "\n".join(row for row in rows if row)
