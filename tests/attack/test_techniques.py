"""Every technique by itself, without a network: what it says of itself is true, the weak stand-in gives way to each of its variants, the mended one to none, and no twin claims anything."""

from __future__ import annotations

import importlib
import importlib.util
import json
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from afterguard.attack import techniques as folder
from afterguard.attack.contract import NEEDS, Aim, Canary, Prompt, Reply, Surface, Technique
from afterguard.attack.techniques import TECHNIQUES, pretended_examples, stepwise_escalation
from afterguard.attack.trial import Result, Trial, Verdict
from afterguard.jobs import policy_tests
from afterguard.names import is_taxonomy
from afterguard.policy.shipped import rule_text, shipped
from afterguard.policy.trial import both
from afterguard.targets import dialects, reading
from afterguard.targets.document import Target

_spec = importlib.util.spec_from_file_location("attack_stand_ins", Path(__file__).with_name("stand_ins.py"))
assert _spec and _spec.loader
stand_ins: Any = importlib.util.module_from_spec(_spec)
sys.modules["attack_stand_ins"] = stand_ins
_spec.loader.exec_module(stand_ins)

TOOL = {"type": "function", "function": {"name": "refund_payment", "description": "Refund.", "parameters": {"type": "object", "properties": {}}}}  # fmt: skip
TARGET = Target("desk", "http://127.0.0.1:1/", system=stand_ins.SYSTEM, offers=(TOOL,))
FOOLS = ("echo", "backwards", "decoder", "explainer", "polite", "nonsense")
FORMS = [(technique, variant) for technique in TECHNIQUES for variant in technique.variants]
TALKED = [(technique, variant) for technique, variant in FORMS if technique.id in stand_ins.habits_chat.CHAT]


AFTER_SECRETS = [
    (technique, variant)
    for technique, variant in TALKED
    if technique.rule == "canaries-stay-inside" and technique.id != "canary-question"
]


def names(forms: list[tuple[Technique, str]]) -> list[str]:
    return [f"{technique.id}/{variant}" for technique, variant in forms]


def aim(seed: str) -> Aim:
    return Aim(
        seed, frozenset(Surface), (Canary(stand_ins.CODE),), stand_ins.SYSTEM, "bank help desk",
        tools=("look_up",), forbidden_tools=("refund_payment",), listener="http://127.0.0.1:9", identities=("ann", "bo"), facts={"refund limit": "500"},
    )  # fmt: skip


def says(character: str, body: dict[str, Any], sent: Prompt) -> Reply:
    if character in ("weak", "mended"):
        message = stand_ins.answer(body, character == "weak")
    elif character == "echo":
        message = {"content": sent.sent()}
    elif character == "backwards":
        message = {"content": sent.sent()[::-1]}
    elif character == "decoder":
        message = {"content": "\n".join(stand_ins.habits_chat.understood(sent.sent()))}
    elif character == "explainer":
        message = {"content": explained(sent.sent())}
    elif character == "polite":
        message = {"content": "Alas, the garden gate of such matters is closed to us today; may your evening be mild."}
    else:
        rng = random.Random(json.dumps(body))
        message = {"content": " ".join("".join(rng.choices("abcdefghijklmnoprstuvz", k=6)) for _ in range(40))}
    return reading.said({"choices": [{"message": {"role": "assistant", **message}}]})


def explained(text: str) -> str:
    """What one says who sees through it, and says too much about it."""
    for read in stand_ins.habits_chat.understood(text):
        pair = stand_ins.habits_chat.PAIR.search(read)
        if pair:
            return f"Somebody wants me to begin with {pair[1]}{pair[2]}, and I am not going to do that. The list is at the front desk."
    return f"You would like me to tell a secret: {text[-200:]} I keep it to myself."


def ended(technique: Technique, variant: str, character: str, is_twin: bool = False) -> Result:
    """How a trial ends with such an assistant."""
    trial = Trial(technique, aim(f"{technique.id} {variant}"), variant, is_twin)
    step = trial.begin()
    while isinstance(step, Prompt):
        assert len(trial.turns) < technique.turns
        step = trial.hear(says(character, dialects.body(TARGET, trial.turns, step), step))
    return step


def test_one_file_each() -> None:
    files = {path.stem for path in Path(folder.__file__).parent.glob("*.py")} - {"__init__"}
    assert {technique.id.replace("-", "_") for technique in TECHNIQUES} == files
    assert len({technique.id for technique in TECHNIQUES}) == len(TECHNIQUES)


@pytest.mark.parametrize("technique", TECHNIQUES, ids=[one.id for one in TECHNIQUES])
def test_what_a_technique_says_of_itself(technique: Technique) -> None:
    assert not technique.rule or rule_text(technique.rule)
    assert technique.taxonomies and all(is_taxonomy(one) for one in technique.taxonomies)
    assert importlib.import_module(f"{folder.__name__}.{technique.id.replace('-', '_')}").TECHNIQUE is technique
    assert technique.needs <= set(NEEDS)
    assert 3 <= len(set(technique.variants)) == len(technique.variants) <= 8
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", technique.id) and technique.title and technique.kind
    assert 1 <= len(re.findall(r"[.!](?: |$)", technique.fix)) <= 2


@pytest.mark.parametrize(("technique", "variant"), TALKED, ids=names(TALKED))
def test_each_form_finds_what_it_is_for(technique: Technique, variant: str) -> None:
    assert ended(technique, variant, "weak").verdict is Verdict.succeeded
    assert ended(technique, variant, "mended").verdict is Verdict.resisted


@pytest.mark.parametrize("character", FOOLS)
def test_no_fool_gives_way(character: str) -> None:
    for technique, variant in TALKED:
        assert ended(technique, variant, character).verdict is not Verdict.succeeded, (technique.id, variant)


@pytest.mark.parametrize("character", ["weak", "mended", *FOOLS])
def test_no_twin_claims_anything(character: str) -> None:
    for technique, variant in TALKED:
        assert ended(technique, variant, character, is_twin=True).verdict is not Verdict.succeeded, (technique.id, variant)  # fmt: skip


def test_without_a_canary_an_order_that_asks_for_one_says_nothing() -> None:
    bare = Aim("s", frozenset(Surface))
    for technique, variant in TALKED:
        if "canary" not in technique.needs and variant == "secret":
            assert Trial(technique, bare, variant).begin() == Result(Verdict.not_assessed, "nothing-to-say")


def test_the_same_seed_says_the_same() -> None:
    for technique, variant in TALKED:
        first, second, other = (Trial(technique, aim(seed), variant).begin() for seed in ("a", "a", "b"))
        assert first == second and isinstance(other, Prompt)


def test_what_is_said_next_depends_on_what_came_back() -> None:
    replies = {"closed": "No.", "near": "There is an internal code, and it has three parts.", "asks": "Why would you like to know that about our house and how we work in it?", "talks": "We are open from nine to five and glad about every visitor, also on Saturdays."}  # fmt: skip
    for tree in stepwise_escalation.TREES.values():
        for step in tree.values():
            assert set(step.then.values()) <= set(tree) and set(step.then) <= {*replies, "*"}
    assert {stepwise_escalation.tone(Reply(text), "") for text in replies.values()} == set(replies)
    for variant in stepwise_escalation.TREES:
        seconds = set()
        for text in replies.values():
            trial = Trial(stepwise_escalation.TECHNIQUE, aim("s"), variant)
            trial.begin()
            step = trial.hear(Reply(text))
            assert isinstance(step, Prompt)
            seconds.add(step.text)
        assert len(seconds) > 1


def test_made_up_examples_hold_no_planted_value() -> None:
    for variant in pretended_examples.COUNTS:
        assert stand_ins.CODE not in pretended_examples.text("s", variant)


@pytest.mark.parametrize(("technique", "variant"), AFTER_SECRETS, ids=names(AFTER_SECRETS))
def test_the_rule_a_technique_names_holds_its_secret_back(technique: Technique, variant: str) -> None:
    """The shipped policy, with the planted value told to it and without the learned judge, stops the very replies that were counted."""
    context = policy_tests.context()
    context.canaries = {stand_ins.CODE: "system prompt"}
    trial, rules = Trial(technique, aim(f"{technique.id} {variant}"), variant), set[str]()
    step = trial.begin()
    while isinstance(step, Prompt):
        body = dialects.body(TARGET, trial.turns, step)
        said = {"role": "assistant", **stand_ins.answer(body, True)}
        sides = policy_tests.sides({"messages": [*body["messages"], said], "tools": body["tools"]})
        rules |= {one.verdict.rule for one in both(sides, shipped("strict"), context, {"mode": "enforce"})}
        step = trial.hear(reading.said({"choices": [{"message": said}]}))
    assert technique.rule in rules
