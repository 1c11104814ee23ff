"""Rates that an attack measured take the place of what is assumed: with their n, shrunk, and so that nothing is counted twice."""

from __future__ import annotations

import numpy as np
import pytest

from afterguard import catalog
from afterguard.attack.techniques import TECHNIQUES
from afterguard.model import App, Asset, AssetKind, Attacked, Certainty, Confidence, Family, Finding, Severity, Survey
from afterguard.risk import chain as chains
from afterguard.risk.business import Business
from afterguard.risk.price import price
from afterguard.risk.scenario import scenarios
from afterguard.risk.tested import alike, measured, pooled

SCENARIO = next(one for one in scenarios() if one.id == "sensitive-disclosure")
JOINED = Finding("user-input-in-system-prompt", Severity.high, Confidence.high, "a.py", 1, ("LLM01:2025",), "m", "f", fingerprint="v1:1")  # fmt: skip
SURVEY = Survey(App("desk"), (Asset(AssetKind.model, "gpt-4o", Certainty.declared, ()),), (JOINED,))


def attacked(part: int, of: int, families: int = 6, kind: str = "jailbreak") -> Attacked:
    rows = (Family(f"t{n}", part, of - part, kind=kind, forms={str(f): (0, 1) for f in range(of)}, effective=float(of)) for n in range(families))  # fmt: skip
    return Attacked("desk", "r", tuple(rows), 1.0)


def chain(found: Attacked | None, findings: tuple[Finding, ...] = ()) -> chains.Chain:
    return chains.build(SCENARIO, findings, None, seed=1, size=4_000, public=np.full(4_000, 0.5), attacked=found)


def test_every_kind_and_every_sentence_of_the_catalogue_is_one_that_there_is() -> None:
    kinds = {one.kind for one in TECHNIQUES} | {"evasion", "model extraction"}  # the last two of predictive models
    for scenario in scenarios():
        stages = {stage.id for stage in scenario.stages}
        for one in scenario.tested:
            assert one.stage in stages and set(one.kinds) <= kinds
            assert not one.answers or one.answers in scenario.never_measured


def test_trials_of_one_family_are_worth_less() -> None:
    rows = [Family("a", 5, 0, effective=5.0), Family("b", 0, 5, effective=5.0)]
    hits, worth = pooled(rows)
    assert hits / worth == pytest.approx(0.5) and worth == pytest.approx(2.0), "each family always ends the same"
    assert alike([(0.5, 10.0), (0.5, 10.0)]) == 0.1 and alike([(0.0, 5.0)] * 9) == 0.5
    assert pooled([]) == (0.0, 0.0)
    assert pooled([Family("a", 0, 5, effective=5.0)] * 4)[1] == pytest.approx(4 * 5 / 3)


def test_what_was_measured_takes_the_place_of_the_prior() -> None:
    before, weak, strong = chain(None), chain(attacked(5, 5)), chain(attacked(0, 5))
    assert before.tested == () and np.mean(before.stages["complied"]) == pytest.approx(22 / 30, abs=0.01)
    assert np.mean(weak.rate) > np.mean(before.rate) * 1.15 and np.mean(strong.rate) < np.mean(before.rate) * 0.4
    (one,) = strong.tested
    assert (one.succeeded, one.trials, one.families) == (0, 30, 6) and one.worth == pytest.approx(10)
    assert one.weight == pytest.approx(10 / 14) and strong.own == pytest.approx(one.weight / 4)
    assert np.array_equal(before.attempts, strong.attempts), "nothing else moves"


def test_few_trials_or_other_kinds_say_nothing() -> None:
    for found in (attacked(1, 1, 2), attacked(5, 5, kind="evasion"), Attacked("desk", "r", (Family("t", skipped="no-canary"),))):  # fmt: skip
        assert measured(SCENARIO, found) == () and np.array_equal(chain(found).rate, chain(None).rate)


def test_a_finding_is_not_counted_on_top_of_what_was_measured_but_closing_it_helps() -> None:
    found = attacked(2, 5, 20)
    bare, moved = chain(found), chain(found, (JOINED,))
    assert moved.moves and np.mean(moved.rate) == pytest.approx(float(np.mean(bare.rate)), rel=0.05)
    assert np.mean(chain(None, (JOINED,)).rate) > np.mean(chain(None).rate) * 1.05
    left = moved.share_left(frozenset({JOINED.fingerprint}), {})
    assert np.mean(left) < 0.9


def test_the_report_says_measured_here_and_not_never_attacked() -> None:
    before = price(SURVEY, None, Business(), seed=1, years=4_000)
    after = price(SURVEY, None, Business(), seed=1, years=4_000, attacked=attacked(0, 5))
    never = {one for one in before.not_measured if "attacked" in one}
    assert len(never) == 2 and not [one for one in after.not_measured if "attacked" in one]
    assert set(before.not_measured) - set(after.not_measured) == never
    (row,) = (one for one in after.scenarios if one.id == "sensitive-disclosure")
    (factor,) = (one for one in row.factors if one.name == "chance that the model does as told")
    assert factor.grade == "A" and factor.source == "measured here, n=30" and factor.measured
    assert "0 of 30 trials of 6 families" in factor.value and after.prior_share < before.prior_share
    assert after.annual_mean < before.annual_mean
    assert catalog.load("losses/sources")["tested"]["prior"] == 4
