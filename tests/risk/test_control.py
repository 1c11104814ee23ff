"""Decisions: paired with the years they are judged against, priced with their friction, never better than free."""

from __future__ import annotations

import numpy as np
import pytest

from afterguard.model import App, Asset, AssetKind, Certainty, Confidence, Evidence, Finding, Lookback, Severity, Survey
from afterguard.risk.business import Business, parse
from afterguard.risk.control import after, avoided, controls, decisions, effects
from afterguard.risk.portfolio import Model, build

KINDS = ("provider", "model", "prompt", "tool", "vector_store", "secret_reference", "model_artifact")
ASSETS = tuple(Asset(AssetKind(kind), f"a {kind}", Certainty.declared, (Evidence("a", 1, "x"),)) for kind in KINDS)
KEY = Finding(
    "hard-coded-key", Severity.critical, Confidence.high, "a.py", 1, ("CWE-798",), "m", "f", fingerprint="fp-key"
)
TOOL = Finding(
    "tool-without-approval", Severity.high, Confidence.high, "a.py", 2, ("LLM06:2025",), "m", "f", fingerprint="fp-tool"
)
SURVEY = Survey(App("a"), ASSETS, (KEY, TOOL))


def model(business: Business | None = None, *, years: int = 20_000, survey: Survey = SURVEY) -> Model:
    return build(survey, None, business or Business(), seed=1, years=years)


def test_three_decisions_and_one_is_to_do_nothing() -> None:
    first, second, nothing = decisions(model(), SURVEY, None, Business())
    assert nothing.id == "do-nothing"
    assert (nothing.cost, nothing.avoided.high, nothing.chance_net_positive) == (0, 0, 0)
    for one in (first, second):
        assert one.avoided.low <= one.avoided.mid <= one.avoided.high
        assert one.cost > 0
        assert 0 <= one.chance_net_positive <= 1
        assert one.one_in_twenty_after is not None and nothing.one_in_twenty_after is not None
        assert one.one_in_twenty_after <= nothing.one_in_twenty_after
        assert one.factors and all(factor.grade in "ABCD" for factor in one.factors)
    single = [one.cost_of_waiting_a_week for one in (first, second)]
    assert max(single) <= nothing.cost_of_waiting_a_week <= sum(single) + 1e-9


def test_a_decision_names_the_findings_it_closes() -> None:
    keys = next(one for one in controls() if one.id == "take-keys-out")
    from afterguard.risk.control import closes

    assert closes(keys, model(), SURVEY) == ("fp-key",)


def test_every_control_only_ever_removes_loss_from_every_single_year() -> None:
    one = model()
    before = one.sums()
    for control in controls():
        changed = after(one, effects(one, (control,), SURVEY, Business()))
        assert (changed <= before + 1e-6).all(), control.id
        assert (avoided(one, (control,), SURVEY, Business()) >= 0).all()


def test_two_controls_avoid_less_than_the_sum_and_more_than_either() -> None:
    one = model()
    named = {control.id: control for control in controls()}
    pair = (named["ask-before-acting"], named["guard-in-line"])
    single = [float(np.mean(avoided(one, (control,), SURVEY, Business()))) for control in pair]
    both = float(np.mean(avoided(one, pair, SURVEY, Business())))
    assert max(single) <= both <= sum(single) * (1 + 1e-9)


def test_the_paired_years_agree_with_the_expected_loss_avoided() -> None:
    business = parse(b"annual_revenue: 500k\nprovider_quota_month: 3000")
    one = model(business, years=400_000)
    for control in controls():
        expected = float(np.mean(avoided(one, (control,), SURVEY, business)))
        paired = float(np.mean(one.sums() - after(one, effects(one, (control,), SURVEY, business))))
        assert paired == pytest.approx(expected, rel=0.25, abs=30), control.id


def test_a_paired_difference_is_less_noisy_than_two_separate_runs() -> None:
    control = next(one for one in controls() if one.id == "guard-in-line")
    paired, separate = [], []
    for seed in range(12):
        one, other = (build(SURVEY, None, Business(), seed=number, years=2000) for number in (seed, 100 + seed))
        changed = after(one, effects(one, (control,), SURVEY, Business()))
        paired.append(float(np.mean(one.sums() - changed)))
        separate.append(float(np.mean(other.sums() - changed)))
    assert np.std(paired) < 0.7 * np.std(separate)


def test_wrongly_blocked_requests_are_a_cost_and_unknown_ones_are_said() -> None:
    def guard(business: Business, past: Lookback | None = None) -> tuple[float, float, str]:
        from afterguard.risk.control import _worth

        control = next(one for one in controls() if one.id == "guard-in-line")
        worth = _worth(model(business), control, SURVEY, past, business)
        return float(np.mean(worth.blocking)), float(np.mean(worth.cost)), worth.note

    assert guard(Business())[0] == 0
    assert "requests_per_day is unknown" in guard(Business())[2]
    few, many = (
        guard(parse(f"requests_per_day: {count}\nblocked_request_cost: 2".encode())) for count in (100, 10_000)
    )
    assert many[0] == pytest.approx(100 * few[0])
    assert many[1] > few[1] and few[2] == ""
    counted = guard(Business(), Lookback(1400, (), {}, first_seen=0.0, last_seen=14 * 86400.0))
    assert counted[0] > 0


def test_a_hard_limit_at_the_provider_is_a_ceiling() -> None:
    one = model(parse(b"provider_spend_month: 100"))
    control = next(one for one in controls() if one.id == "take-keys-out")
    changed = effects(one, (control,), SURVEY, parse(b"provider_spend_month: 100"))
    caps = [form.cap.max() for effect in changed for form in effect.forms if form.id == "bill"]
    assert caps and max(caps) == 200


def test_nothing_to_decide_is_said_with_one_row() -> None:
    empty = Survey(App("a"))
    rows = decisions(model(survey=empty), empty, None, Business())
    assert [one.id for one in rows] == ["do-nothing"]
    assert rows[0].cost_of_waiting_a_week == 0
