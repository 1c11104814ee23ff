"""SARIF 2.1.0 of an attack: a result for each technique that succeeded, its conversation as a thread flow, its fix and its rule.

In: an Assessment and its findings. Out: one SARIF log, as report/sarif.py makes it of a scan. What was not tried is a notification of the invocation.
"""

from __future__ import annotations

from typing import IO

from afterguard.attack.assessment import Assessment, Hit
from afterguard.attack.findings import Weakness, checks
from afterguard.model import App, Coverage, Survey
from afterguard.report import sarif
from afterguard.report.attack import words
from afterguard.report.json import dumps
from afterguard.safe import visible

ATTACK = sarif.Kind("attack", sarif.HOME + "/blob/main/docs/reference/techniques.md#")
HITS = 3
"""Conversations of one result."""


def document(found: Assessment, weak: tuple[Weakness, ...]) -> sarif.Json:
    """The SARIF log."""
    log = sarif.document(survey(found, weak), created_at=found.ended or None, kind=ATTACK)
    by = {one.finding.fingerprint: one for one in weak}
    for result in log["runs"][0]["results"]:
        one = by[result["partialFingerprints"]["afterguard/v1"]]
        if one.hits:
            result["codeFlows"] = [_flow(hit) for hit in one.hits[:HITS]]
        # What was counted and not what was said: the conversation stands in the flow.
        result["properties"] |= {**one.finding.attributes, "policyRule": one.rule, "policyNote": one.rule_note}
    return log


def render(found: Assessment, weak: tuple[Weakness, ...], out: IO[str]) -> None:
    """Write the SARIF log, indented."""
    out.write(dumps(document(found, weak)))


def survey(found: Assessment, weak: tuple[Weakness, ...]) -> Survey:
    """The findings of an attack as the reports of a scan take them."""
    skipped = (Coverage(one.technique, "not_tried", words.reason(one.skipped)) for one in found.families if one.skipped)
    stopped = (Coverage("(run)", "not_tried", found.stopped),) if found.stopped else ()
    return Survey(App(found.target), (), tuple(one.finding for one in weak), (*stopped, *skipped), checks=checks(found))


def _flow(hit: Hit) -> sarif.Json:
    steps = [
        {
            "location": {
                "message": {"text": visible(f"{said.who}{f' ({said.where})' if said.where else ''}: {said.text}")}
            }
        }
        for said in words.transcript(hit)
    ]
    return {
        "message": {"text": visible(f"{hit.id}: {hit.oracle}: {hit.evidence}")},
        "threadFlows": [{"locations": steps}],
    }
