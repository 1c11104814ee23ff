"""Why a verdict is what it is: which rule determined it, and what each selection of each rule said.

In: what decide() takes. Out: text for a person. It decides nothing by itself: rows and effects are decide()'s own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from afterguard.model import Exchange, Hit, Verdict
from afterguard.policy.decide import decide, effect, is_at, is_enforced, matches
from afterguard.policy.load import Compiled, Policy, settings
from afterguard.policy.scene import Row, Scene
from afterguard.safe import line

ROWS_SHOWN = 3
VALUE_SHOWN = 80


def explain(exchange: Exchange, hits: Sequence[Hit], policy: Policy, at: str, facts: Mapping[str, Any]) -> str:
    """The verdict, the determining rule, and every rule with the selections that held or failed."""
    verdict = decide(exchange, hits, policy, at, facts)
    scene = Scene(exchange, hits, policy, at, facts)
    here = settings(policy, facts.get("route", ""))
    mode = facts.get("mode") or here.mode
    out = [f"{policy.revision}, {at}, mode {mode}" + ("" if is_enforced(policy, facts) else ": nothing is enforced")]
    would = f" (enforced: {verdict.would})" if verdict.would is not verdict.action else ""
    out.append(f"verdict: {verdict.action}{would}")
    out.append(f"determined by {verdict.rule}: {verdict.says}" if verdict.rule else "no rule matched")
    if policy.scope is not None and not policy.scope.holds(scene.scope):
        return "\n".join([*out, "the policy's scope does not hold here"]) + "\n"
    rows: dict[int, list[Row]] = {}
    for rule, row in scene.candidates():
        rows.setdefault(rule.number, []).append(row)
    matched = matches(scene)
    for rule in policy.rules:
        out += _rule(scene, rule, rows.get(rule.number, []), matched.get(rule.number, []))
    for change in verdict.edits:
        out.append(f"edit: text {change.text}, bytes {change.span.start} to {change.span.end}, by {change.rule}")
    out += _of_scores(verdict)
    return "\n".join(out) + "\n"


def _of_scores(verdict: Verdict) -> Iterator[str]:
    """What becomes of scores and versions."""
    if verdict.withheld:
        yield "scores: withheld, the decision stays"
    elif verdict.digits >= 0:
        yield f"scores: rounded to {verdict.digits} digits behind the point"
    if verdict.version:
        yield f"version: sent to {line(verdict.version, VALUE_SHOWN)}"
    if verdict.step_up:
        how = "answered in place of the model" if verdict.answer is not None else "x-afterguard-step-up on the reply"
        yield f"step-up check by {verdict.step_up}: {how}"


def _rule(scene: Scene, rule: Compiled, rows: list[Row], held: list[Row]) -> list[str]:
    stage = "" if rule.enforced else ", in shadow"
    if held:
        found = effect(scene, rule, held)
        comes = "" if found.action is rule.action else f", comes to {found.action}: nothing to change on this side"
        head = f"+ {rule.id}: matched {len(held)} of {len(rows)}, {rule.action}{stage}{comes}"
    elif rows:
        head = f"- {rule.id}: asked {len(rows)} times, did not match{stage}"
    else:
        return [f"- {rule.id}: not asked, {_why_not(scene, rule)}{stage}"]
    return [head, *(f"    {text}" for row in (held or rows)[:ROWS_SHOWN] for text in _row(scene, rule, row))]


def _why_not(scene: Scene, rule: Compiled) -> str:
    plan = scene.policy.request if scene.at == "request" else scene.policy.response
    shown = {one.number for one in (*plan.exchange, *plan.hit, *plan.call, *plan.unjudged)}
    shown |= {one.number for some in plan.by_kind.values() for one in some}
    if rule.number not in shown:
        return f"it looks at: {rule.at}"
    if rule.kinds:
        return "no hit of kind " + ", ".join(sorted(rule.kinds))
    return {"hit": "no hits", "call": "no calls in the reply", "pair": "no hit with a call of the reply"}.get(
        rule.group, "nothing unjudged"
    )


def _row(scene: Scene, rule: Compiled, row: Row) -> list[str]:
    """One line a selection, then what the row held."""
    out = []
    if row.hit >= 0:
        hit = scene.hits[row.hit]
        out.append(f"hit {row.hit}: {hit.kind} ({hit.confidence} confidence), {line(hit.rule, VALUE_SHOWN)}")
    if row.call >= 0:
        out.append(f"call {row.call}: {line(scene.exchange.calls[row.call].name, VALUE_SHOWN)}")
    out += [f"{'yes' if test(row.event) else 'no '} {name}" for name, test in rule.matcher.selections.items()]
    if not is_at(scene, rule, row):
        out.append(f"no  at {rule.at}")
    if not scene.asked(rule):
        out.append("no  scope")
    return out
