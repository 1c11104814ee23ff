"""The draft names its evidence, stays in observe mode and survives hostile names."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from afterguard.model import (
    App,
    Asset,
    AssetKind,
    Certainty,
    Confidence,
    Evidence,
    Finding,
    Incident,
    Lookback,
    Severity,
    Survey,
)
from afterguard.policy.draft import RESPONSES, draft
from afterguard.policy.load import load


def incident(kind: str) -> Incident:
    return Incident("i", kind, "t", Severity.high, Confidence.high, 0.0, 1.0, ("1",), 0, ("LLM01:2025",), "")


def test_every_rule_names_its_evidence_and_nothing_enforces() -> None:
    tool = Finding(
        "dangerous-tool-without-approval", Severity.high, Confidence.high, "a.py", 1, (), "m", "f", asset="tool:pay"
    )
    provider = Asset(AssetKind.provider, "openai", Certainty.declared, (Evidence("a.py", 1, "openai"),))
    survey = Survey(App("chat"), (provider,), (tool,))
    lookback = Lookback(
        2, (incident("secret_in_output"), incident("injection_followed"), incident("injection_ignored")), {}
    )
    policy = yaml.safe_load(draft(survey, lookback))
    assert policy["mode"] == "observe"
    ids = [rule["id"] for rule in policy["rules"]]
    assert ids == [
        "no-secrets-in-answers",
        "orders-from-outsiders",
        "acting-tools-need-a-person",
        "only-known-providers",
    ]
    assert all(rule["because"] and rule["action"] for rule in policy["rules"])
    assert policy["rules"][1]["because"].startswith("2 suspected")


def test_nothing_found_is_an_empty_draft() -> None:
    assert yaml.safe_load(draft(Survey(App("x")), None))["rules"] == []


@given(st.text(max_size=60), st.sampled_from([*RESPONSES, "unknown_kind"]))
def test_hostile_names_stay_yaml(name: str, kind: str) -> None:
    text = draft(Survey(App(name or "x")), Lookback(1, (incident(kind),), {}))
    assert yaml.safe_load(text)["format"] == "afterguard.policy/1"
    assert len(load(text).rules) == (kind in RESPONSES)


def test_every_draft_rule_loads() -> None:
    tool = Finding(
        "dangerous-tool-without-approval", Severity.high, Confidence.high, "a.py", 1, (), "m", "f", asset="tool:pay*"
    )
    provider = Asset(AssetKind.provider, "openai", Certainty.declared, (Evidence("a.py", 1, "openai"),))
    lookback = Lookback(2, tuple(incident(kind) for kind in RESPONSES), {})
    policy = load(draft(Survey(App("chat"), (provider,), (tool,)), lookback))
    assert {one.at for one in policy.rules} == {"request", "response", "tool", "call", "identity"}
    assert policy.document.mode == "observe"
