"""The catalogue of losses holds together: sources, stages, drivers, controls, conditions."""

from __future__ import annotations

import pytest

from afterguard import catalog
from afterguard.model import (
    App,
    Asset,
    AssetKind,
    Certainty,
    Evidence,
    Lookback,
    Survey,
)
from afterguard.names import is_taxonomy
from afterguard.risk.business import Business, parse
from afterguard.risk.chain import moves_it
from afterguard.risk.control import controls
from afterguard.risk.scenario import Scenario, is_predictive, proves, says, scenarios, sources, traits, words
from afterguard.scan.checks import CHECKS

FILES = ("losses/business", "losses/controls", "losses/scenarios", "losses/sources")


def asset(kind: str, name: str, **attributes: str) -> Asset:
    return Asset(AssetKind(kind), name, Certainty.declared, (Evidence("a", 1, "x"),), attributes=attributes)


def has(*assets: Asset, past: Lookback | None = None, business: Business | None = None) -> frozenset[str]:
    return traits(Survey(App("a"), assets), past, business or Business())


@pytest.mark.parametrize("name", FILES)
def test_every_file_carries_a_date_and_its_sources(name: str) -> None:
    assert str(catalog.load(name)["dated"]).startswith("20")
    assert catalog.load(name)["sources"]


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda one: one.id)
def test_a_scenario_names_only_what_exists(scenario: Scenario) -> None:
    stages = {"attempts", *(stage.id for stage in scenario.stages)}
    table = catalog.load("losses/scenarios")["traits"]
    assert set(scenario.needs) <= set(table)
    named = {scenario.attempts.source, *(stage.source for stage in scenario.stages)}
    named |= {driver.source for driver in scenario.drivers}
    for form in scenario.forms:
        named |= {form.source, *(part.source for part in form.parts), *((form.cap.source,) if form.cap else ())}
        assert not form.trait or form.trait in table
        for part in form.parts:
            assert (part.p10 > 0) + (part.fixed > 0) + bool(part.answer) == 1
            assert part.p10 <= part.p90
            assert not part.answer or hasattr(Business(), part.answer)
            assert not part.answer or part.drop or part.assume
    assert named <= set(sources())
    for driver in scenario.drivers:
        assert driver.stage in stages
        assert 1 <= driver.factor[0] <= driver.factor[1]
        assert all(is_taxonomy(identifier) for identifier in driver.taxonomies)
    assert all(seen.stage in stages and 0 < seen.weight <= 1 for seen in scenario.seen)
    assert scenario.never_measured and scenario.title and scenario.forms


def test_ids_are_unique_and_sources_used() -> None:
    ids = [one.id for one in scenarios()]
    assert len(ids) == len(set(ids)) == 12
    text = (
        str(catalog.load("losses/scenarios"))
        + str(catalog.load("losses/controls"))
        + str(catalog.load("losses/sources"))
    )
    for name, source in sources().items():
        assert source.grade in ("A", "B", "C", "D", "owner")
        assert text.count(f"'{name}'") >= 1, name


def test_controls_close_drivers_that_exist() -> None:
    drivers = {driver.id for one in scenarios() for driver in one.drivers}
    stages = {one.id: {stage.id for stage in one.stages} for one in scenarios()}
    for control in controls():
        assert set(control.closes) <= drivers, control.id
        for guard in control.guards:
            assert all(guard.stage in stages[name] for name in guard.scenarios), control.id
            assert 0 < guard.odds[0] <= guard.odds[1] <= 1
    assert drivers <= {name for control in controls() for name in control.closes}


def test_words_are_taken_apart_and_matched_from_their_start() -> None:
    assert words("issueRefund_v2-now") == {"issue", "refund", "v2", "now"}
    assert says("secret", words("secrets_in_output"))
    assert says("logged in clear", words("prompts-logged-in-clear"))
    assert not says("ray", words("array-bound"))
    assert not says("key", words("monkey-patch"))


def test_traits_of_an_assistant_and_of_a_score() -> None:
    assistant = has(asset("model", "gpt-4o"), asset("tool", "issue_refund"), asset("vector_store", "qdrant"))
    assert {"language_model", "tools", "money_tools", "retrieval"} <= assistant
    assert "predictive" not in assistant
    score = has(asset("framework", "scikit-learn"), asset("model_artifact", "fraud.pkl"))
    assert {"predictive", "own_weights"} <= score
    notebook = has(asset("model", "card-fraud"), asset("framework", "jupyter"), asset("inference_server", "mlflow"))
    assert "language_model" not in notebook
    assert "language_model" in has(asset("model", "card-fraud"), asset("provider", "openai"))
    assert has(asset("provider", "chatgpt.com", use="staff")) == {"provider_keys"}
    assert "language_model" not in score
    assert has() == frozenset()


def test_answers_and_records_give_traits_too() -> None:
    assert {"tools", "money_tools"} <= has(business=parse(b"action_limit: 5"))
    assert "predictive" in has(business=parse(b"decisions_per_day: 5"))
    assert has(business=parse(b"decisions_per_day: 0\naction_limit: 0")) == frozenset()
    assert "language_model" in has(past=Lookback(1, (), {}, protocols={"openai": 1}))
    assert "predictive" in has(past=Lookback(1, (), {}, protocols={"predictive": 1}))


def test_a_stated_task_decides() -> None:
    assert is_predictive(asset("model", "gpt-4o", task="predictive"))
    assert not is_predictive(asset("model", "fraud-helper", task="text-generation"))
    assert not is_predictive(asset("tool", "credit_customer"))


def test_no_rule_no_regulator() -> None:
    from afterguard.risk.scenario import applying

    survey = Survey(App("a"), (asset("model", "gpt-4o"),))
    named = {one.id for one in applying(survey, None, parse(b"regulated: [none]"))}
    assert "regulatory-finding" not in named
    assert "regulatory-finding" in {one.id for one in applying(survey, None, Business())}


def test_every_check_of_the_scan_moves_some_loss() -> None:
    for check in CHECKS:
        assert any(moves_it(driver, check.id, check.taxonomies) for one in scenarios() for driver in one.drivers), (
            check.id
        )


def moved(rule: str, *taxonomies: str) -> set[str]:
    return {
        f"{one.id}:{driver.id}" for one in scenarios() for driver in one.drivers if moves_it(driver, rule, taxonomies)
    }


def test_a_rule_known_by_name_is_not_spread_by_its_taxonomies() -> None:
    assert moved("hardcoded-secret", "LLM02:2025", "CWE-798") == {"key-theft:key-in-the-open"}
    assert "injected-action:tool-without-approval" not in moved("permissive-cors", "LLM06:2025", "CWE-942")
    assert moved("plug-in-of-someone", "CWE-798") == {"key-theft:key-in-the-open"}
    assert moved("plug-in-of-someone") == set()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("secret_in_output", {"sensitive-disclosure:reached", "key-theft:attempts"}),
        ("pii_of_another", {"sensitive-disclosure:reached"}),
        ("injection_followed", {"sensitive-disclosure:complied", "injected-action:complied"}),
        ("injection_ignored", {"sensitive-disclosure:attempts", "injected-action:attempts"}),
        ("system_prompt_leak", {"prompt-leak:complied"}),
        ("prompt_extraction", {"prompt-leak:attempts"}),
        ("unexplained_tool_call", {"injected-action:reached"}),
        ("key_misuse", {"key-theft:reached"}),
        ("model_extraction", {"model-extraction:reached"}),
        ("evasion_walk", {"evasion-fraud:reached"}),
        ("decision_drift", {"silent-drift:reached"}),
        ("burst", {"denial-of-wallet:reached"}),
        ("something_else", set()),
    ],
)
def test_an_incident_kind_proves_the_stage_it_can_prove(kind: str, expected: set[str]) -> None:
    assert {f"{one.id}:{seen.stage}" for one in scenarios() for seen in one.seen if proves(seen, kind)} == expected
