"""Verdicts: which rule wins, what is edited, what modes make of it, and that it is fast."""

from __future__ import annotations

import importlib.util
import sys
import timeit
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.model import ACTIONS, Action, Confidence, Edit, Exchange, Severity, Span, Unjudged, Verdict
from afterguard.policy import decide, settings, shipped
from afterguard.policy.explain import explain

_spec = importlib.util.spec_from_file_location("policy_exchanges", Path(__file__).with_name("exchanges.py"))
assert _spec is not None and _spec.loader is not None
ex = sys.modules.setdefault("policy_exchanges", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(ex)
ENFORCE, exchange, hit, policy, rule = ex.ENFORCE, ex.exchange, ex.hit, ex.policy, ex.rule
KIND = "{s: {hit.kind: k}}"


def verdict(text: str, hits: list[Any], at: str = "request", facts: dict[str, Any] = ENFORCE, **more: Any) -> Verdict:
    return decide(exchange(**more), hits, policy(text), at, facts)


def test_the_strongest_action_wins_and_the_first_rule_with_it_determines() -> None:
    rules = "\n".join(
        rule(action, KIND, id=name)
        for name, action in (("a", "flag"), ("b", "block"), ("c", "block"), ("d", "throttle"), ("e", "allow"))
    )
    found = verdict(rules, [hit("k")])
    assert (found.action, found.would, found.rule, found.matched) == ("block", "block", "b", ("b", "c", "d", "a", "e"))
    assert found.says == "a sentence" and found.policy.startswith("test@") and len(found.policy) == 17


def test_modes() -> None:
    text = rule("block", KIND)
    for facts, action in (
        ({}, "flag"),
        ({"mode": "shadow"}, "flag"),
        ({"mode": "enforce"}, "block"),
        ({"mode": "share"}, "flag"),
    ):
        found = verdict(text, [hit("k")], facts=facts)
        assert (found.action, found.would, found.rule) == (action, "block", "r1")
    shared = policy(text, mode="share", share=0.3)
    assert decide(exchange(), [hit("k")], shared, "request", {"bucket": 0.29}).action == "block"
    assert decide(exchange(), [hit("k")], shared, "request", {"bucket": 0.3}).action == "flag"


def test_routes_change_what_holds() -> None:
    one = policy(
        rule("block", KIND), routes='{"chat*": {mode: enforce, on_error: closed, budget: 7}, "*": {share: 0.5}}'
    )
    assert decide(exchange(), [hit("k")], one, "request", {"route": "chat/a"}).action == "block"
    assert decide(exchange(), [hit("k")], one, "request", {"route": "other"}).action == "flag"
    assert settings(one, "chat") == settings(one, "chat")
    assert (settings(one, "chat").on_error, settings(one, "chat").budget, settings(one, "x").share) == (
        "closed",
        7,
        0.5,
    )


def test_a_rule_in_shadow_only_says_what_it_would_do() -> None:
    rules = rule("block", KIND, id="a", stage="shadow") + "\n" + rule("redact", KIND, id="b")
    found = verdict(rules, [hit("k", 1, (0, 3))])
    assert (found.action, found.rule, found.would) == ("redact", "b", "block")
    alone = verdict(rule("block", KIND, stage="shadow"), [hit("k")])
    assert (alone.action, alone.rule, alone.would) == ("flag", "r1", "block")


def test_edits_are_ordered_merged_and_aligned_to_characters() -> None:
    text = "\n".join(
        rule(action, f"{{s: {{hit.kind: {action}}}}}", id=action) for action in ("redact", "neutralise", "tokenise")
    )
    hits = [
        hit("redact", 3, (9, 15), data_classes=("secret",)),
        hit("neutralise", 3, (13, 99)),
        hit("redact", 3, (7, 8), data_classes=("x", "y")),
    ]
    found = decide(exchange(), hits, policy(text), "response", ENFORCE)
    assert found.edits == (Edit(3, Span(6, 8), "[removed: redact]", "redact"), Edit(3, Span(9, 20), "", "neutralise"))
    seen = []
    facts = {**ENFORCE, "placeholder": lambda kind, value: seen.append((kind, value)) or "<1>"}
    found = decide(exchange(), [hit("tokenise", 1, (0, 3), data_classes=("word",))], policy(text), "request", facts)
    assert found.edits == (Edit(1, Span(0, 3), "<1>", "tokenise"),) and seen == [("word", "Pay")]
    assert (
        decide(exchange(), [hit("tokenise", 1, (0, 3))], policy(text), "request", ENFORCE).edits[0].new
        == "[removed: tokenise]"
    )


def test_an_edit_without_a_place_here_is_a_flag() -> None:
    text = rule("neutralise", KIND)
    assert verdict(text, [hit("k")]).action == "flag"
    assert verdict(text, [hit("k", 2, (0, 3))], at="response").action == "flag"
    assert verdict(text, [hit("k", 3, (0, 3))], at="request").action == "flag"
    assert verdict(text, [hit("k", 99, (0, 3))]).action == "flag"
    assert verdict(text, [hit("k", 2, (3, 3))]).action == "flag"
    assert verdict(text, [hit("k", 2, (0, 3))]).action == "neutralise"


def test_a_replacement_can_be_written() -> None:
    found = verdict(rule("redact", KIND, replacement="'<{kind}>'"), [hit("k", 1, (0, 3))])
    assert found.edits[0].new == "<k>"


def test_where_a_rule_looks() -> None:
    tool, user, nowhere = hit("k", 2, (0, 3)), hit("k", 1, (0, 3)), hit("k")
    for at, side, one, wanted in (
        ("tool", "request", tool, True), ("tool", "request", user, False), ("tool", "response", tool, False),
        ("request", "response", user, False), ("response", "request", user, False), ("identity", "request", nowhere, True),
        ("identity", "request", user, False), ("any", "response", user, True),
    ):  # fmt: skip
        found = verdict(rule("block", KIND, at=at), [one], at=side)
        assert (found.action == "block") is wanted, (at, side)


def test_calls_are_taken_out_where_they_belong_to_the_hit() -> None:
    text = rule("step_down", KIND, at="call")
    named = hit("k", 2, (0, 3), rule="an argument of send_money came only from text in read_file")
    assert verdict(text, [named], at="response").calls == (1,)
    assert verdict(text, [hit("k", 2, (0, 3), rule="nothing named")], at="response").action == "allow"
    anywhere = rule("step_down", KIND)
    assert verdict(anywhere, [hit("k", 2, (0, 3), rule="nothing named")], at="response").calls == (1, 2)
    past = verdict(anywhere, [hit("k", 2, (0, 3), rule="read_file was called")], at="response")
    assert (past.action, past.calls) == ("flag", ())


def test_calls_by_themselves() -> None:
    text = rule("ask", "{s: {call.tool: send_*, call.arguments.amount|gt: 4, call.arguments.by.name: x}}")
    found = verdict(text, [], at="response")
    assert (found.action, found.calls) == ("ask", (1,))
    assert verdict(text, [], at="request").action == "allow"
    assert verdict(rule("step_down", "{s: {call.readable: false}}"), [], at="response").calls == (2,)
    pair = rule("step_down", "{s: {hit.kind: k, call.tool: send_money}}")
    both = hit("k", rule="get_balance, send_money")
    assert verdict(pair, [both], at="response").calls == (1,)


def test_tools_are_taken_from_the_offer() -> None:
    assert verdict(rule("step_down", KIND), [hit("k")]).tools == ("send_money", "delete_account")
    assert verdict(rule("step_down", KIND, tools="[read_*]"), [hit("k")]).tools == ("read_file",)
    assert verdict(rule("step_down", KIND, tools="[x]"), [hit("k")]).action == "flag"


def test_what_could_not_be_judged() -> None:
    text = rule("block", "{s: {unjudged.reason: bad_json, unjudged.where|startswith: request}}")
    parts = (Unjudged("image", "request.messages[0]"), Unjudged("bad_json", "request"))
    assert verdict(text, [], unjudged=parts).action == "block"
    assert verdict(text, [], unjudged=parts[:1]).action == "allow"


def test_the_whole_exchange_and_facts() -> None:
    text = rule(
        "reroute",
        "{known: {exchange.provider: [azure]}, big: {fact.spent|gte: 10}, condition: not known and big}",
        model="safe-1",
    )
    found = verdict(text, [], facts={**ENFORCE, "fields": {"spent": 12}})
    assert (found.action, found.model) == ("reroute", "safe-1")
    assert verdict(text, [], facts=ENFORCE).action == "allow"
    assert verdict(rule("throttle", "{s: {request.tools: delete_account}}", wait=9), []).wait == 9
    assert verdict(rule("throttle", "{s: {identity: eve}}"), [], facts={**ENFORCE, "identity": "eve"}).wait == 60


def test_scopes() -> None:
    inside = rule("block", KIND, scope="{route: [chat*], environment: prod}")
    assert verdict(inside, [hit("k")], facts={**ENFORCE, "route": "chat1", "environment": "prod"}).action == "block"
    assert verdict(inside, [hit("k")], facts={**ENFORCE, "route": "chat1"}).action == "allow"
    whole = policy(rule("block", KIND), scope="{app: shop}")
    assert decide(exchange(), [hit("k")], whole, "request", ENFORCE) is whole.nothing
    assert decide(exchange(app="shop"), [hit("k")], whole, "request", ENFORCE).action == "block"


def test_confidence_is_compared_by_order() -> None:
    text = rule("block", "{s: {hit.kind: k, hit.confidence|gte: medium, hit.severity|lt: critical}}")
    for confidence, severity, wanted in (("low", "high", False), ("medium", "high", True), ("high", "critical", False)):
        one = hit("k", confidence=Confidence(confidence), severity=Severity(severity))
        assert (verdict(text, [one]).action == "block") is wanted


def test_nothing_is_built_where_nothing_was_seen() -> None:
    for name in ("starter", "strict"):
        one = shipped(name)
        quiet = exchange(calls=())
        assert decide(quiet, (), one, "request", {}) is one.nothing
        nothing, something = (
            min(timeit.repeat(lambda q=quiet, o=one, h=hits: decide(q, h, o, "request", {}), number=500, repeat=5))
            for hits in ((), (hit("k"),))
        )
        assert nothing < something / 4


KINDS = ["secret_in_output", "injection_ignored", "jailbreak", "inventory", "canary_leak", "unexplained_tool_call", "x"]


@given(
    st.lists(
        st.builds(
            hit,
            st.sampled_from(KINDS),
            st.integers(-2, 5),
            st.tuples(st.integers(-3, 50), st.integers(-3, 50)),
            confidence=st.sampled_from(list(Confidence)),
            rule=st.text(max_size=30),
        ),
        max_size=8,
    ),
    st.sampled_from(["starter", "strict"]),
    st.sampled_from(["request", "response"]),
    st.sampled_from(["observe", "shadow", "enforce"]),
)
def test_any_hits_get_a_sound_verdict(hits: list[Any], name: str, at: str, mode: str) -> None:
    one = exchange()
    found = decide(one, hits, shipped(name), at, {"mode": mode})
    assert ACTIONS.index(found.action) <= ACTIONS.index(found.would)
    if mode != "enforce":
        assert ACTIONS.index(found.action) <= ACTIONS.index(Action.flag)
        assert not (found.edits or found.calls or found.tools)
    for before, after in zip(found.edits, found.edits[1:]):
        assert (before.text, before.span.end) <= (after.text, after.span.start) or before.text < after.text
    for edit in found.edits:
        data = one.texts[edit.text].value.encode()
        assert 0 <= edit.span.start < edit.span.end <= len(data)
        (data[: edit.span.start] + edit.new.encode() + data[edit.span.end :]).decode()
    assert (found.rule in explain(one, hits, shipped(name), at, {"mode": mode})) or not found.rule


def test_explanations_name_rules_and_selections() -> None:
    one = policy(rule("neutralise", "{kind: {hit.kind: k}, sure: {hit.confidence: high}, condition: kind and sure}"))
    text = explain(exchange(), [hit("k", 2, (0, 3), confidence=Confidence.low)], one, "request", {})
    assert "r1: asked 1 times, did not match" in text and "yes kind" in text and "no  sure" in text
    text = explain(exchange(), [hit("k", 2, (0, 3))], one, "request", ENFORCE)
    assert "determined by r1" in text and "edit: text 2" in text
    assert "not asked, no hit of kind k" in explain(exchange(), [], one, "request", {})
    assert "comes to flag" in explain(exchange(), [hit("k", 2, (0, 3))], one, "response", {})


@pytest.mark.parametrize("name", ["starter", "strict"])
def test_shipped_policies_answer_every_kind(name: str) -> None:
    from afterguard.detect import DETECTORS

    for kind in {kind for one in DETECTORS for kind in one.kinds} - {"inventory"}:
        found = [
            decide(exchange(), [hit(kind, 3, (0, 3))], shipped(name), at, ENFORCE) for at in ("request", "response")
        ]
        assert any(one.action != Action.allow for one in found), kind
    assert (
        decide(Exchange("e", "s", 1, "openai"), [hit("inventory")], shipped(name), "request", ENFORCE).action == "allow"
    )


def test_an_unknown_name_is_no_policy() -> None:
    with pytest.raises(UsageError, match="no policy"):
        shipped("stricter")
