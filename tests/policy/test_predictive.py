"""Actions of predictive models: what they come to, together and alone, and what a policy file may say of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from afterguard.detect import Context
from afterguard.errors import UsageError
from afterguard.model import Action, Exchange, Verdict
from afterguard.policy.decide import decide
from afterguard.policy.document import schema
from afterguard.policy.explain import explain
from afterguard.policy.load import Policy, load
from afterguard.policy.trial import judged, trials


def policy(*rules: dict[str, Any], tests: tuple[dict[str, Any], ...] = ()) -> Policy:
    made = [
        {"id": f"r{n}", "says": "a sentence", "detection": {"s": {"prediction.rows|gte": 1}}, **rule}
        for n, rule in enumerate(rules)
    ]
    return load(json.dumps({"format": "afterguard.policy/1", "name": "t", "rules": made, "tests": list(tests)}))


def asked(**prediction: Any) -> dict[str, Any]:
    return {
        "prediction": {
            "features": {"age": 30, "kind": "new", "gone": None},
            "score": 0.7,
            "decision": "deny",
            **prediction,
        }
    }


def verdict(made: Policy, at: str, **prediction: Any) -> Verdict:
    whole = load(
        json.dumps(
            {
                "format": "afterguard.policy/1", "name": "x", "rules": [{"id": "a", "says": "s", "detection": {"s": {"at": "never"}}, "action": "flag"}],
                "tests": [{"name": "n", "exchange": asked(**prediction), "expect": {"action": "allow"}}],
            }
        )
    )  # fmt: skip
    side = next(iter(judged(whole.document.tests[0], whole, lambda _: None, lambda: Context(str))))  # type: ignore[arg-type,return-value]
    return decide(side.exchange, (), made, at, {"mode": "enforce"})


def test_what_the_rules_want_is_done_together() -> None:
    made = policy(
        {"action": "round", "digits": 3}, {"action": "round", "digits": 1}, {"action": "withhold", "detection": {"s": {"prediction.score|gte": 0.9}}},
        {"action": "pin_version", "version": "7", "at": "request"}, {"action": "step_up"},
    )  # fmt: skip
    found = verdict(made, "request")
    assert (found.action, found.digits, found.withheld, found.version, found.step_up) == (
        Action.step_up,
        1,
        False,
        "7",
        "r4",
    )
    found = verdict(made, "response", score=0.95)
    assert found.withheld and found.version == "" and found.answer is None


@pytest.mark.parametrize(
    ("field", "value", "holds"),
    [
        ("prediction.feature.age|gt", 29, True), ("prediction.feature.age|gt", 30, False), ("prediction.feature.kind", "new", True),
        ("prediction.feature.none|exists", True, False), ("prediction.decision", "deny", True), ("prediction.features", "kind", True),
        ("prediction.version", "", True),
    ],
)  # fmt: skip
def test_fields(field: str, value: Any, holds: bool) -> None:
    made = policy({"action": "withhold", "detection": {"s": {field: value}}})
    assert (verdict(made, "response").action is Action.withhold) is holds


def test_language_models_have_no_scores() -> None:
    made = policy({"action": "withhold", "detection": {"s": {"exchange.status": 0}}})
    found = decide(Exchange("x", "", 0, "openai"), (), made, "response", {"mode": "enforce"})
    assert (found.action, found.withheld) == (Action.flag, False)


def test_shadow_changes_nothing() -> None:
    made = policy({"action": "withhold", "stage": "shadow"}, {"action": "round"})
    found = verdict(made, "response")
    assert (found.action, found.would, found.withheld, found.digits) == (Action.round, Action.withhold, False, 2)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"action": "pin_version"}, "needs a version"),
        ({"action": "pin_version", "version": "1", "at": "response"}, "comes from"),
        ({"action": "round", "digits": 99}, "digits"),
        ({"action": "withold"}, "action"),
    ],
)
def test_what_cannot_be(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        policy(rule)


def test_tests_and_explain() -> None:
    made = policy(
        {"action": "withhold"}, {"action": "block", "detection": {"s": {"prediction.feature.age|gt": 120}}},
        tests=(
            {"name": "usual", "exchange": asked(), "expect": {"action": "withhold"}},
            {"name": "old", "exchange": asked(features={"age": 130}), "expect": {"action": "block", "rule": "r1"}},
            {"name": "wrong", "exchange": asked(), "expect": {"action": "block"}},
        ),
    )  # fmt: skip
    found = list(trials(made, lambda _: None, lambda: Context(str)))  # type: ignore[arg-type,return-value]
    assert [bool(one.why) for one in found] == [False, False, True]
    side = found[0].sides[0]
    assert "scores: withheld" in explain(side.exchange, side.hits, made, "response", {"mode": "enforce"})


def test_the_schema_knows_them() -> None:
    text = json.dumps(schema())
    assert all(f'"{word}"' in text for word in ("round", "withhold", "pin_version", "step_up", "digits", "answer"))
