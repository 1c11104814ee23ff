"""An attack's result for a terminal: rates with intervals, worst first, hits, what was not tried and why.

In: an Assessment. Out: text; whoever prints it takes control characters out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from afterguard.attack.assessment import Assessment
from afterguard.attack.findings import Weakness
from afterguard.model import SEVERITIES, Family
from afterguard.report.attack import words
from afterguard.safe import line, terminal


def render(found: Assessment, weak: tuple[Weakness, ...], out: IO[str]) -> None:
    """Write the table."""
    out.write(terminal("\n".join(_lines(found, weak)) + "\n"))


def _lines(found: Assessment, weak: tuple[Weakness, ...]) -> Iterator[str]:
    way = " through the guard's door" if found.through == "guarded" else ""
    yield f"{found.target}{way}: {found.requests} requests, {found.seconds:.0f} s" + (f"; ended because {found.stopped}" if found.stopped else "")  # fmt: skip
    if found.manner:
        yield f"The application {found.manner}: nothing it says shows anything."
    tried = sorted((one for one in found.families if not one.skipped), key=_order)
    yield from map(_rate, tried)
    for one in found.families:
        if one.skipped:
            yield f"  not tried      {one.title or one.technique} ({one.skipped}: {words.reason(one.skipped)})"
    yield from (f"  hit {hit.id}: {hit.oracle}: {line(hit.evidence)[:160]}" for hit in found.hits)
    yield from (f"  fix {one.finding.severity:<8} {one.finding.title}: {one.finding.fix} {_rule(one)}" for one in weak)
    yield from (f"  left behind by {one.trial}: {line(one.what)}" for one in found.left)


def _order(one: Family) -> tuple[bool, int, float, str]:
    return not one.succeeded, -SEVERITIES.index(one.severity), -one.share.low, one.technique


def _rate(one: Family) -> str:
    share = one.share
    blocked = f", {one.blocked} of them held off before the model" if one.blocked else ""
    worth = f", worth {one.effective:.1f}" if round(one.effective, 1) != share.of else ""
    reasons = words.unassessed(one)
    return f"  {share.part} of {share.of:<3} [{share.low:.0%}, {share.high:.0%}]{worth}  {one.title or one.technique}{blocked}" + (f"; not assessed: {reasons}" if reasons else "")  # fmt: skip


def _rule(one: Weakness) -> str:
    return f"Until then rule {one.finding.attributes['rule']}. {one.rule_note}".strip() if one.rule else one.rule_note
