"""Playbooks: every kind of alert has one; as CACAO they hold before the official schema and before our own check, which sees what the schema lets pass."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.model import Case, Entity, Severity
from afterguard.respond import cacao
from afterguard.respond.check import check
from afterguard.respond.plan import Choice, plan
from afterguard.respond.playbook import fitting, load, shipped
from afterguard.watch.merge import TITLES

FILES = json.loads((Path(__file__).parents[1] / "schemas" / "cacao-2.0.schemas.json").read_text())["files"]
REGISTRY = referencing.Registry().with_resources((one["$id"], referencing.Resource.from_contents(one)) for one in FILES.values())  # fmt: skip
OFFICIAL = jsonschema.Draft7Validator(FILES["playbook.json"], registry=REGISTRY)
BOOKS = shipped()


def rules(found: Any) -> set[str]:
    return {one.rule for one in check(found)}


@pytest.mark.parametrize("book", BOOKS, ids=lambda one: one.id)
def test_each_playbook_holds_before_the_official_schema_and_our_check(book: Any) -> None:
    made = cacao.made(book)
    assert not list(OFFICIAL.iter_errors(made))
    assert check(made) == ()
    assert cacao.written(book) == cacao.written(book)
    for step in book.steps:
        if step.phase == "contain" and step.do not in ("ask",):
            assert any(
                "undo" in row for one in made["workflow"].values() for row in one.get("step_extensions", {}).values()
            )


def test_every_kind_of_alert_has_a_playbook_and_ids_are_its_own() -> None:
    triggers = {kind for one in BOOKS for kind in one.triggers}
    assert triggers == set(TITLES)
    ids = [key for one in BOOKS for key in cacao.made(one)["workflow"]]
    assert len(ids) == len(set(ids)) and len({cacao.made(one)["id"] for one in BOOKS}) == len(BOOKS)
    assert fitting(["denial_of_wallet", "key_misuse"], BOOKS)[0].id == "stolen-key"
    assert fitting(["model_swap", "decision_drift"], BOOKS)[0].id == "predictive-model"


def broken(change: Any) -> Any:
    found = copy.deepcopy(cacao.made(BOOKS[0]))
    change(found)
    return found


def first(found: Any, kind: str = "action") -> Any:
    return next(one for one in found["workflow"].values() if one["type"] == kind)


def strange(found: Any) -> None:
    found["workflow"]["decision-1"] = {"type": "decision", "next_step": "nowhere"}


def nowhere(found: Any) -> None:
    first(found)["on_completion"] = "action--00000000-0000-4000-8000-000000000000"


def circle(found: Any) -> None:
    keys = [key for key, one in found["workflow"].items() if one["type"] == "action"]
    found["workflow"][keys[1]]["on_completion"] = keys[0]


def no_agent(found: Any) -> None:
    found["agent_definitions"] = {"group--00000000-0000-4000-8000-000000000000": {"type": "group", "name": "x"}}


def variable(found: Any) -> None:
    first(found)["commands"][0]["command"] = "stop __nobody__:value"


def secret(found: Any) -> None:
    found["playbook_variables"]["__api_key__"] = {"type": "string", "value": "sk-live-1234567890"}


def header(found: Any) -> None:
    first(found)["commands"][0] = {"type": "http-api", "command": "POST /x HTTP/1.1", "headers": {"Authorization": ["Bearer abc"]}}  # fmt: skip


def no_undo(found: Any) -> None:
    for one in found["workflow"].values():
        one.pop("step_extensions", None)


def no_time(found: Any) -> None:
    del first(found)["timeout"]


def endless(found: Any) -> None:
    key = "while-condition--00000000-0000-4000-8000-000000000001"
    end = next(key for key, one in found["workflow"].items() if one["type"] == "end")
    found["workflow"][key] = {
        "type": "while-condition",
        "condition": "__case__:value = 'x'",
        "on_true": end,
        "on_completion": end,
    }
    first(found)["on_completion"] = key


def two_starts(found: Any) -> None:
    found["workflow"]["start--00000000-0000-4000-8000-000000000002"] = {**first(found, "start")}


def typed(found: Any) -> None:
    found["playbook_variables"]["__count__"] = {"type": "integer", "value": "many"}


def command(found: Any) -> None:
    first(found)["commands"][0]["type"] = "jupyter-nb"


def open_end(found: Any) -> None:
    del first(found)["on_completion"]


LET_PASS = (
    (strange, "step-type"), (nowhere, "dangling"), (nowhere, "unreachable"), (circle, "loop"), (no_agent, "agent"), (variable, "variable"), (secret, "secret"),
    (header, "secret"), (no_undo, "undo"), (no_time, "timeout"), (endless, "unbounded-while"), (two_starts, "start"), (typed, "variable"), (command, "command"),
    (open_end, "no-end"),
)  # fmt: skip


@pytest.mark.parametrize(("change", "rule"), LET_PASS, ids=lambda one: getattr(one, "__name__", one))
def test_what_the_official_schema_lets_pass_is_seen(change: Any, rule: str) -> None:
    found = broken(change)
    assert not list(OFFICIAL.iter_errors(found)), "the official schema sees it too: not an example"
    assert rule in rules(found)


def mutated(value: Any, draw: Any) -> Any:
    """The value with something else somewhere in it."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(value, key=str)))
        return {**value, key: mutated(value[key], draw)}
    if isinstance(value, list) and value and draw(st.booleans()):
        return [mutated(value[0], draw), *value[1:]]
    return draw(st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=9) | st.lists(st.text(max_size=3), max_size=2) | st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_file_makes_the_check_stumble(data: Any) -> None:
    found: Any = cacao.made(BOOKS[0])
    for _ in range(data.draw(st.integers(1, 3))):
        found = mutated(found, data.draw)
    for one in check(found):
        assert one.where and one.says


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=80).map(lambda b: b.decode("latin-1")))
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    with pytest.raises(UsageError):
        load(text, "p.yaml")


def test_a_playbook_that_contains_before_it_keeps_evidence_is_refused() -> None:
    text = cacao_yaml = next(iter(Path("src/afterguard/catalog/playbooks").glob("stolen-key.yaml"))).read_text() if Path("src").is_dir() else ""  # fmt: skip
    assert cacao_yaml
    for old, new, says in (
        ("do: snapshot", "do: quarantine_identity\n    on: key\n    approvals: 1\n    ttl: 5", "must not"),
        ("    ttl: 86400\n", "", "has no end"),
        ("    approvals: 1\n    ttl", "    ttl", "asks nobody"),
        ("do: cap_quota", "do: cap_kota", "nothing is called"),
        ("phase: money", "phase: notify", "nothing is said of money"),
        ("hook: rotate-key", "hook: ''", "needs a hook"),
    ):
        with pytest.raises(UsageError, match=says):
            load(text.replace(old, new, 1) if old in text else text, "p.yaml")


def test_a_plan_is_pure_capped_and_says_what_it_leaves_out() -> None:
    case = Case("c", "t", Severity.high, 0, 0, "shop", kinds=("key_misuse",), entities=(Entity("key", "k1"), Entity("key", "k1", "target"), Entity("identity", "victim", "target")))  # fmt: skip
    book = next(one for one in BOOKS if one.id == "stolen-key")
    made = plan(case, book)
    assert made == plan(case, book) and [one.target for one in made.acts if one.on == "key"] == ["k1", "k1"]
    assert any("only on request" in one for one in made.left)
    assert {one.step for one in plan(case, book, Choice(only=["refuse-key"])).acts} == {"keep-state", "refuse-key"}
    many = Case("c", "t", Severity.high, 0, 0, "shop", entities=tuple(Entity("key", f"k{n}") for n in range(40)))
    assert any("more than the cap" in one for one in plan(many, book).left)
