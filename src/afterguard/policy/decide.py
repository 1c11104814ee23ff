"""Exchange + Hits + Policy -> Verdict. Pure: same input, same verdict.

In: an Exchange, the Hits that are new on this side, a Policy, `at` ("request" or "response") and facts. Out: a Verdict. It touches no
bytes and raises on no exchange.

Facts, all optional: `route`, `identity`, `environment`, `conversation`, `prompt` (texts), `fields` (more values for rules, named fact.NAME), `mode`
(overrides the policy's, and `share` with it), `bucket` (0 to 1, the conversation's place for mode share), `placeholder` (called with kind and value for
tokenise), `approved` (a set of Matter: what a person has approved; it is a flag).

A rule is asked once for every row of what it names: every hit (hit.*, text.*), every call of the reply (call.*), every unjudged part
(unjudged.*), every hit with each call that belongs to it (hit.* and call.*), or once (nothing of these). It matches when it
holds for one row. round, withhold and pin_version are flags where no predictive model is asked. An edit without a place on this side, or a call or tool to take away that is not there, is a flag. What a rule asks a person about is
one Matter a row: a call of the reply, or the whole message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from afterguard.detect.provenance import has_side_effects
from afterguard.model import ACTIONS, Action, Exchange, Hit, Matter, Verdict
from afterguard.policy.edits import Place, edits
from afterguard.policy.load import EDITS, Compiled, Policy, glob, names, plan_of, settings
from afterguard.policy.scene import Row, Scene

RANK = {action: rank for rank, action in enumerate(ACTIONS)}
WAIT = 60.0
"""Seconds that throttle asks for where the rule names none."""
WITHOUT_EDITS = (Action.block,)
PREDICTIVE = (Action.round, Action.withhold, Action.pin_version)
"""Actions that only predictive models know; elsewhere they are a flag."""
PREDICTED = ("predict", "predictive")
"""Protocols of exchanges with predictive models, at a door and in a log."""


class Effect(NamedTuple):
    """What one matched rule comes to on this side."""

    rule: Compiled
    action: Action
    places: tuple[Place, ...] = ()
    calls: tuple[int, ...] = ()
    tools: tuple[str, ...] = ()
    asks: tuple[Matter, ...] = ()


def decide(exchange: Exchange, hits: Sequence[Hit], policy: Policy, at: str, facts: Mapping[str, Any]) -> Verdict:
    """The verdict on one side of an exchange."""
    plan = plan_of(policy, at, exchange)
    if not (
        plan.exchange
        or (hits and (plan.by_kind or plan.hit))
        or (plan.call and exchange.calls)
        or (plan.unjudged and exchange.unjudged)
    ):
        return policy.nothing
    scene = Scene(exchange, hits, policy, at, facts)
    if policy.scope is not None and not policy.scope.holds(scene.scope):
        return policy.nothing
    matched = matches(scene)
    if not matched:
        return policy.nothing
    effects = [effect(scene, policy.rules[number], matched[number]) for number in sorted(matched)]
    return _verdict(scene, effects, is_enforced(policy, facts))


def is_enforced(policy: Policy, facts: Mapping[str, Any]) -> bool:
    """Whether verdicts are carried out for this route and conversation."""
    here = settings(policy, facts.get("route", ""))
    mode, share = facts.get("mode"), here.share
    if mode:
        share = facts.get("share", share)
    mode = mode or here.mode
    return mode == "enforce" or (mode == "share" and facts.get("bucket", 1.0) < share)


def matches(scene: Scene) -> dict[int, list[Row]]:
    """Number of each rule that holds -> the rows it holds for."""
    matched: dict[int, list[Row]] = {}
    for rule, row in scene.candidates():
        if rule.matcher.test(row.event) and is_at(scene, rule, row) and scene.asked(rule):
            matched.setdefault(rule.number, []).append(row)
    return matched


def is_at(scene: Scene, rule: Compiled, row: Row) -> bool:
    """Whether a row stands where the rule looks."""
    if rule.at in ("any", "request", "response"):
        return True
    if rule.group not in ("hit", "pair"):
        return rule.at != "call" or bool(scene.reply_calls)
    return rule.at in scene.places(scene.hits[row.hit], row.hit)


def effect(scene: Scene, rule: Compiled, rows: Sequence[Row]) -> Effect:
    """What a rule comes to for the rows it matched."""
    if rule.action in EDITS:
        places = tuple(place for row in rows if (place := _place(scene, rule, row)) is not None)
        return Effect(rule, rule.action if places else Action.flag, places)
    if rule.action in (Action.reroute, Action.pin_version) and scene.at == "response":
        return Effect(rule, Action.flag)
    if rule.action in PREDICTIVE and scene.exchange.protocol not in PREDICTED:
        return Effect(rule, Action.flag)
    if rule.action is Action.ask:
        return _asked(scene, rule, rows)
    if rule.action is not Action.step_down:
        return Effect(rule, rule.action)
    if scene.at == "request" and not scene.reply_calls:
        tools = _tools(scene, rule)
        return Effect(rule, rule.action if tools else Action.flag, (), (), tools)
    calls = _calls(scene, rows)
    return Effect(rule, rule.action if calls else Action.flag, (), calls)


def _asked(scene: Scene, rule: Compiled, rows: Sequence[Row]) -> Effect:
    """What a person has not approved yet."""
    approved = scene.facts.get("approved", ())
    every = (Matter(rule.id, row.hit, call) for row in rows for call in _held(scene, row) or (-1,))
    left = tuple(dict.fromkeys(matter for matter in every if matter not in approved))
    calls = tuple(sorted({matter.call for matter in left if matter.call >= 0}))
    return Effect(rule, Action.ask if left else Action.flag, (), calls, (), left)


def _held(scene: Scene, row: Row) -> tuple[int, ...]:
    """Calls that wait for a person; none where the whole message does, for instance because the hit stands in what it says."""
    if row.hit >= 0 and row.call < 0 and not scene.calls_of(row.hit):
        hit = scene.hits[row.hit]
        if scene.text_of(hit) is not None and scene.is_here(hit.text):
            return ()
    return _calls(scene, [row])


def _place(scene: Scene, rule: Compiled, row: Row) -> Place | None:
    hit = scene.hits[row.hit]
    if scene.text_of(hit) is None or hit.span.end <= hit.span.start or not scene.is_here(hit.text):
        return None
    kind = hit.data_classes[0] if len(hit.data_classes) == 1 else hit.kind
    action = Action.redact if rule.action is Action.tokenise and scene.at == "response" else rule.action
    return Place(hit.text, hit.span.start, hit.span.end, action, kind, rule.id, rule.document.replacement)


def _tools(scene: Scene, rule: Compiled) -> tuple[str, ...]:
    """Tools of the offer that are taken away."""
    wanted = names(rule.document.tools)
    offered = dict.fromkeys(tool.name for tool in scene.exchange.tools)
    if not wanted:
        return tuple(name for name in offered if has_side_effects(name))
    fits = glob(wanted).match
    return tuple(name for name in offered if fits(name))


def _calls(scene: Scene, rows: Sequence[Row]) -> tuple[int, ...]:
    """Calls of the reply that are taken out: those the rows name; all, where a hit is about the reply and names none."""
    out: set[int] = set()
    for row in rows:
        if row.call >= 0:
            out.add(row.call)
        elif row.hit < 0:
            out.update(scene.reply_calls)
        else:
            own = scene.calls_of(row.hit)
            out.update(own if own or scene.names_a_call(row.hit) else scene.reply_calls)
    return tuple(sorted(out))


def _verdict(scene: Scene, effects: Sequence[Effect], enforced: bool) -> Verdict:
    would = max(effects, key=lambda one: RANK[one.action])
    done = [one for one in effects if enforced and one.rule.enforced and RANK[one.action] > RANK[Action.flag]]
    chief = max(done, key=lambda one: RANK[one.action], default=None)
    matched = tuple(one.rule.id for one in sorted(effects, key=lambda one: -RANK[one.action]))
    if chief is None:
        action = Action.flag if RANK[would.action] > RANK[Action.flag] else would.action
        return Verdict(action, would.action, would.rule.id, would.rule.says, matched, policy=scene.policy.revision)
    changes: tuple[Any, ...] = ()
    if chief.action not in WITHOUT_EDITS:
        places = [place for one in done for place in one.places]
        changes = edits(scene.exchange.texts, places, scene.facts.get("placeholder")) if places else ()
    taken = [one for one in done if one.action in (Action.step_down, Action.ask)]
    document = chief.rule.document
    return Verdict(
        action=chief.action,
        would=would.action,
        rule=chief.rule.id,
        says=chief.rule.says,
        matched=matched,
        edits=changes,
        calls=tuple(sorted({call for one in taken for call in one.calls})),
        tools=tuple(dict.fromkeys(tool for one in taken for tool in one.tools)),
        model=document.model if chief.action is Action.reroute else "",
        wait=(document.wait or WAIT) if chief.action is Action.throttle else 0.0,
        asks=tuple(matter for one in taken for matter in one.asks) if chief.action is Action.ask else (),
        **_of_scores(done),
        policy=scene.policy.revision,
    )


def _of_scores(done: Sequence[Effect]) -> dict[str, Any]:
    """What becomes of scores and versions: all that the rules want, whichever of them is the strongest."""
    out: dict[str, Any] = {}
    for one in done:
        document = one.rule.document
        if one.action is Action.round:
            out["digits"] = min(out.get("digits", document.digits), document.digits)
        elif one.action is Action.withhold:
            out["withheld"] = True
        elif one.action is Action.pin_version:
            out.setdefault("version", document.version)
        elif one.action is Action.step_up and "step_up" not in out:
            out |= {"step_up": one.rule.id, "answer": document.answer}
    return out
