"""Playbooks: every kind of alert has one; as CACAO they hold before the official schema and before our own check, which sees what the schema lets pass."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import referencing
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard import names
from afterguard.attack import techniques
from afterguard.detect import DETECTORS, IN_CONTEXT
from afterguard.errors import UsageError
from afterguard.export import notice
from afterguard.model import Alert, Case, Confidence, Entity, Inside, Severity
from afterguard.respond import cacao
from afterguard.respond.check import check
from afterguard.respond.kinds import KINDS
from afterguard.respond.plan import Choice, plan
from afterguard.respond.playbook import UNKNOWN, fitting, load, shipped
from afterguard.watch import kinds, triage
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


def alert(kind: str, *inside: Inside, taxonomies: tuple[str, ...] = (), title: str = "t") -> Alert:
    return Alert("al-1", "f", kind, title, Severity.high, Confidence.high, 0, 0, 0, "desk", hits=inside, taxonomies=taxonomies)  # fmt: skip


def ids(*alerts: Alert) -> list[str]:
    return [one.id for one in fitting(alerts, BOOKS).books]


def raised() -> set[str]:
    """Every kind that the code can raise an alert of, as each place that raises declares it."""
    detected = {kind for one in (*DETECTORS, *IN_CONTEXT) for kind in one.kinds} - {"inventory"}
    return {*detected, *TITLES, *kinds.KINDS, kinds.OWN_RULE, *triage.KINDS, notice.KIND}


@pytest.mark.parametrize("kind", sorted(raised()))
def test_every_kind_that_can_be_raised_has_a_playbook(kind: str) -> None:
    fit = fitting([alert(kind)], BOOKS)
    assert fit.books
    # Only a rule of the SOC's own, of which nothing but the tags could say what it is about, has the answer to what nobody knows.
    assert (fit.books[0].id == UNKNOWN) == bool(fit.unmapped) == (kind == kinds.OWN_RULE)


def test_no_playbook_is_for_a_kind_that_nobody_raises_and_ids_are_its_own() -> None:
    assert {kind for one in BOOKS for kind in one.triggers} == raised()
    keys = [key for one in BOOKS for key in cacao.made(one)["workflow"]]
    assert len(keys) == len(set(keys)) and len({cacao.made(one)["id"] for one in BOOKS}) == len(BOOKS)
    assert ids(alert("denial_of_wallet"), alert("key_misuse"))[0] == "stolen-key"
    assert ids(alert("model_swap"), alert("decision_drift"))[0] == "predictive-model"
    assert ids(alert("alerts_beyond")) == ["alert-storm"]


def test_many_hits_of_somebody_take_the_playbook_of_the_worst_inside() -> None:
    leak, probe = Inside("secret_in_output", Severity.high, 1), Inside("jailbreak", Severity.medium, 40)
    assert ids(alert("hits_of_one_identity", leak, probe)) == ["data-leak", "stolen-key"]
    assert ids(alert("hits_of_one_document", Inside("injection_followed", Severity.high), leak))[0] in ("data-leak", "indirect-injection")  # fmt: skip
    # What the guard held off does not say more than what had its way, and an unknown kind not more than a known one.
    assert ids(alert("hits_of_one_identity", probe, Inside("secret_in_output", Severity.high, 2, 2))) == ["direct-injection"]  # fmt: skip
    assert ids(alert("hits_of_one_identity", Inside("new_here", Severity.critical), probe)) == ["direct-injection"]
    # A rule of the SOC's own among the hits goes by its tags.
    assert ids(alert("hits_of_one_identity", Inside("sigma_rule", Severity.high), taxonomies=("T1567",))) == ["data-leak"]  # fmt: skip


@pytest.mark.parametrize(("kind", "book"), [("identity", "direct-injection"), ("conversation", "direct-injection"), ("document", "rag-poisoning")])  # fmt: skip
def test_without_what_is_inside_it_is_the_mildest_about_such_a_one(kind: str, book: str) -> None:
    assert ids(alert(f"hits_of_one_{kind}")) == [book]
    mine = next(one for one in BOOKS if one.id == book)
    first = next(KINDS[step.do].harsh for step in mine.steps if step.phase == "contain" and not step.optional)
    assert any(step.on == kind for step in mine.steps) and first <= 2


@pytest.mark.parametrize(
    ("tag", "book"),
    [
        ("AML.T0051.001", "indirect-injection"), ("atlas.t0020", "training-poisoning"), ("attack.t1496.004", "stolen-key"), ("attack.t1567.002", "data-leak"),
        ("owasp.llm07.2025", "prompt-leak"), ("owasp-asi05", "agent-hijack"), ("cwe.1427", "direct-injection"),
    ],
)  # fmt: skip
def test_a_rule_of_the_soc_goes_by_its_tags(tag: str, book: str) -> None:
    fit = fitting([alert("sigma_rule", taxonomies=names.of_tag(tag))], BOOKS)
    assert fit.books[0].id == book and not fit.unmapped


def test_what_nobody_knows_is_said_and_comes_last() -> None:
    odd = alert("sigma_rule", title="Mail is sent", taxonomies=names.of_tag("attack.initial-access"))
    assert fitting([odd], BOOKS) == ((next(one for one in BOOKS if one.id == UNKNOWN),), ("a rule of your own, Mail is sent",))  # fmt: skip
    fit = fitting([alert("from_elsewhere"), alert("another"), alert("jailbreak")], BOOKS)
    assert [one.id for one in fit.books] == ["direct-injection", UNKNOWN] and fit.unmapped == ("from_elsewhere", "another")  # fmt: skip
    # A playbook of one's own for such a kind ends that.
    own = msgspec.structs.replace(BOOKS[0], id="mail", triggers=["sigma_rule", "from_elsewhere"])
    assert [one.id for one in fitting([odd, alert("from_elsewhere")], (*BOOKS, own)).books] == ["mail"]


def test_every_atlas_technique_that_our_own_rules_name_leads_to_a_playbook() -> None:
    named = {name for one in (*DETECTORS, *IN_CONTEXT) for name in one.taxonomies} | {name for one in kinds.RULES for name in one.taxonomies}  # fmt: skip
    named |= {name for one in techniques.ALL for name in one.taxonomies}
    lost = [name for name in named if name.startswith("AML.") and ids(alert("sigma_rule", taxonomies=(name,)))[0] == UNKNOWN]  # fmt: skip
    assert not lost
    assert all(names.is_taxonomy(name) for one in BOOKS for name in one.taxonomies)


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
    for slip in (Choice(skip=["refuse-kee"]), Choice(only=["refuse-kee"]), Choice(("contain",), ["refuse-kee"]), Choice(values={"refuse-kee": "1"})):  # fmt: skip
        with pytest.raises(UsageError, match="has no step refuse-kee"):
            plan(case, book, slip)
    many = Case("c", "t", Severity.high, 0, 0, "shop", entities=tuple(Entity("key", f"k{n}") for n in range(40)))
    assert any("more than the cap" in one for one in plan(many, book).left)


TEXT = (Path(notice.__file__).parents[1] / "catalog/playbooks/indirect-injection.yaml").read_text(encoding="utf-8")


def test_where_evidence_does_not_say_which_document_all_are_taken_and_that_is_said() -> None:
    book = next(one for one in BOOKS if one.id == "indirect-injection")
    case = Case("c", "t", Severity.high, 0, 0, "shop", entities=tuple(Entity("document", f"d{n}", "means") for n in range(3)))  # fmt: skip
    made = plan(case, book, Choice(optional=["others-aside"]))
    acts = [one for one in made.acts if one.on == "document"]
    assert [one.target for one in acts] == ["d0", "d1", "d2"] and {one.step for one in acts} == {"source-aside"}
    assert all("does not say in which of 3" in one.title for one in acts)
    assert any(one.startswith("others-aside: the case names no document beside") for one in made.left)
    known = msgspec.structs.replace(case, entities=(*case.entities[:2], Entity("document", "d2", "source")))
    acts = [one for one in plan(known, book).acts if one.on == "document"]
    assert [one.target for one in acts] == ["d2"] and "does not say" not in acts[0].title
    alone = msgspec.structs.replace(case, entities=case.entities[:1])
    (one,) = (one for one in plan(alone, book).acts if one.on == "document")
    assert one.target == "d0" and "does not say" not in one.title
    with pytest.raises(UsageError, match="the evidence stands in is not said"):
        load(TEXT.replace("    on: conversation\n", "    on: conversation\n    which: others\n"), "x")
