"""From findings, incidents and answers to a Loss: what moves it, what names it, and what must never happen."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soon import soon

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
    Loss,
    Own,
    Range,
    Severity,
    Survey,
)
from afterguard.risk.business import Business, parse
from afterguard.risk.portfolio import build
from afterguard.risk.price import NOTHING, price
from afterguard.risk.scenario import scenarios
from afterguard.risk.severity import expected
from afterguard.risk.simulate import severities

YEARS = 10_000
DAY = 86400.0
START = 1_790_000_000.0


def asset(kind: str, name: str, **attributes: str) -> Asset:
    return Asset(AssetKind(kind), name, Certainty.declared, (Evidence("a.py", 1, name),), attributes=attributes)


def finding(rule: str, *taxonomies: str, severity: str = "high", confidence: str = "high", name: str = "") -> Finding:
    return Finding(
        rule,
        Severity(severity),
        Confidence(confidence),
        "a.py",
        1,
        taxonomies,
        "m",
        "f",
        fingerprint=name or f"fp-{rule}",
    )


def incident(kind: str, name: str = "inc-1", confidence: str = "high") -> Incident:
    return Incident(
        name, kind, kind, Severity.high, Confidence(confidence), START, START + DAY, ("1",), 3, (), "x", count=1
    )


def records(*incidents: Incident, days: float = 14, inventory: dict[str, int] | None = None) -> Lookback:
    end = START + days * DAY
    return Lookback(3000, incidents, {}, inventory or {}, START, end, protocols={"openai": 3000})


ASSISTANT = (
    asset("provider", "openai"),
    asset("model", "gpt-4o"),
    asset("prompt", "system"),
    asset("tool", "issue_refund"),
    asset("vector_store", "chroma"),
    asset("secret_reference", "OPENAI_API_KEY"),
    asset("model_artifact", "fraud.pkl", task="predictive"),
)
FINDINGS = (
    finding("hard-coded-key", "CWE-798"),
    finding("tool-without-approval", "LLM06:2025"),
    finding("endpoint-without-auth", "CWE-306"),
    finding("no-rate-limit", "LLM10:2025"),
    finding("unsafe-deserialization", "CWE-502"),
    finding("user-text-concatenated", "LLM01:2025"),
    finding("pii-in-prompt", "LLM02:2025", severity="medium", confidence="low"),
)


def priced(
    findings: tuple[Finding, ...] = (),
    past: Lookback | None = None,
    business: Business | None = None,
    *,
    assets: tuple[Asset, ...] = ASSISTANT,
    seed: int = 1,
    years: int = YEARS,
) -> Loss:
    survey = Survey(App("shop"), assets, findings)
    return price(survey, past, business or Business(), seed=seed, years=years)


def row(loss: Loss, name: str):  # type: ignore[no-untyped-def]
    return next(one for one in loss.scenarios if one.id == name)


def test_every_scenario_can_apply_and_is_priced() -> None:
    loss = priced(FINDINGS)
    assert {one.id for one in loss.scenarios} == {one.id for one in scenarios()}
    assert loss.annual_mean > 0
    assert 0 < loss.chance_of_loss < 1
    assert loss.if_it_happens.low < loss.if_it_happens.mid < loss.if_it_happens.high
    assert len(loss.decisions) == 3


def test_a_predictive_model_alone_has_no_language_model_losses() -> None:
    loss = priced(assets=(asset("model", "churn.joblib", framework="scikit-learn"), asset("framework", "xgboost")))
    assert {one.id for one in loss.scenarios} == {
        "evasion-fraud",
        "model-extraction",
        "silent-drift",
        "regulatory-finding",
    }


def test_no_scenario_is_an_honest_sentence_and_no_figure() -> None:
    loss = priced(assets=())
    assert loss.scenarios == ()
    assert loss.note == NOTHING
    assert (loss.annual_mean, loss.chance_of_loss, loss.one_in_twenty) == (0, 0, 0)
    assert [one.id for one in loss.decisions] == ["do-nothing"]


def test_the_same_input_gives_the_same_bytes() -> None:
    first, second = (msgspec.json.encode(priced(FINDINGS, records(incident("exfil_link")))) for _ in range(2))
    assert first == second
    assert first != msgspec.json.encode(priced(FINDINGS, records(incident("exfil_link")), seed=2))


def test_bare_breach_scenarios_add_up_to_the_published_base_rate() -> None:
    """IRIS times IBM: 1.2 to 2.0 % a year for a breach with an AI part."""
    loss = priced(years=200_000)
    rates = build(Survey(App("a"), ASSISTANT), None, Business(), seed=1, years=200_000)
    breach = ("sensitive-disclosure", "injected-action", "supply-chain")
    total = sum(float(np.mean(one.process.rate)) for one in rates.priced if one.scenario.id in breach)
    assert 0.012 <= total <= 0.020
    assert loss.years == 200_000


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from(FINDINGS), max_size=6, unique_by=lambda one: one.rule),
    st.sampled_from(FINDINGS),
    st.booleans(),
)
def test_more_findings_never_lower_a_loss(some: list[Finding], more: Finding, seen: bool) -> None:
    past = records(incident("unexplained_tool_call")) if seen else None
    before = priced(tuple(some), past, years=2000)
    after = priced((*some, more), past, years=2000)
    for one in before.scenarios:
        assert row(after, one.id).annual_mean >= one.annual_mean * (1 - 1e-9)
    assert after.annual_mean >= before.annual_mean * (1 - 1e-9)
    assert after.chance_of_loss >= before.chance_of_loss


def test_more_incidents_never_lower_a_rate_and_name_themselves() -> None:
    last = 0.0
    for count in range(1, 5):
        loss = priced((), records(*(incident("exfil_link", f"inc-{number}") for number in range(count))))
        one = row(loss, "sensitive-disclosure")
        assert one.frequency.mid >= last
        last = one.frequency.mid
        assert one.driven_by == tuple(f"inc-{number}" for number in range(count))
        measured = [factor for factor in one.factors if factor.measured]
        assert measured and measured[0].grade == "A"
        assert set(loss.deltas) == {f"inc-{number}" for number in range(count)} and min(loss.deltas.values()) > 0


def test_a_surer_incident_counts_for_more() -> None:
    rates = [
        row(priced((), records(incident("exfil_link", confidence=sure))), "sensitive-disclosure").frequency.high
        for sure in ("low", "medium", "high")
    ]
    assert rates == sorted(rates)


def test_what_a_person_said_of_an_incident_counts() -> None:
    def rate(status: str) -> float:
        one = msgspec.structs.replace(incident("exfil_link"), status=status)
        return row(priced((), records(one)), "sensitive-disclosure").frequency.high

    assert rate("confirmed") > rate("suspected") > rate("dismissed")
    assert rate("dismissed") == row(priced((), records()), "sensitive-disclosure").frequency.high


def test_what_was_found_without_a_scenario_and_checks_that_could_not_tell_are_said() -> None:
    survey = Survey(
        App("shop"), ASSISTANT, (finding("a-new-rule"),), checks={"public-bucket": "not_available", "x": "miss"}
    )
    past = msgspec.structs.replace(records(incident("a_new_kind")), change_request="# log prompts")
    said = price(survey, past, Business(), seed=1, years=2000).not_measured
    for words in (
        "a-new-rule: found here",
        "a new kind: found here",
        "public-bucket: the check could not tell",
        "never logged",
    ):
        assert any(words in line for line in said), words


def test_incidents_over_a_longer_time_mean_a_lower_rate() -> None:
    short, long = (
        row(priced((), records(incident("exfil_link"), days=days)), "sensitive-disclosure").frequency.high
        for days in (7, 700)
    )
    assert long < short


def test_personal_data_merely_present_is_no_incident_but_bounds_the_size() -> None:
    none, some = priced((), records()), priced((), records(inventory={"email": 5_000_000}))
    assert row(some, "sensitive-disclosure").frequency == row(none, "sensitive-disclosure").frequency
    assert row(some, "sensitive-disclosure").severity.mid > row(none, "sensitive-disclosure").severity.mid
    assert any("5000000 counted" in one.value for one in row(some, "sensitive-disclosure").factors)


def test_records_without_times_are_said_to_be_assumed() -> None:
    past = msgspec.structs.replace(records(incident("exfil_link")), first_seen=None, last_seen=None)
    assert any("30 days were assumed" in line for line in priced((), past).not_measured)
    assert any("no recorded traffic" in line for line in priced(()).not_measured)


def test_every_moved_number_names_its_driver_and_others_name_none() -> None:
    loss = priced((FINDINGS[0],))
    assert row(loss, "key-theft").driven_by == ("fp-hard-coded-key",)
    assert row(loss, "silent-drift").driven_by == ()
    assert any("fp-hard-coded-key" in factor.value for factor in row(loss, "key-theft").factors)
    assert loss.deltas["fp-hard-coded-key"] > 0
    for one in loss.scenarios:
        for factor in one.factors:
            assert factor.grade in ("A", "B", "C", "D", "owner")
            assert factor.source and 2000 < factor.year < 2100


def test_a_driver_counts_once_however_many_findings_name_it() -> None:
    one = priced((finding("hard-coded-key", "CWE-798"),))
    many = priced(tuple(finding("hard-coded-key", "CWE-798", name=f"fp-{number}") for number in range(50)))
    assert row(many, "key-theft").annual_mean == row(one, "key-theft").annual_mean
    assert len(row(many, "key-theft").driven_by) == 50
    assert sum(many.deltas.values()) == pytest.approx(one.deltas["fp-hard-coded-key"])


def test_weak_findings_move_less_and_information_moves_nothing() -> None:
    means = [
        row(priced((finding("hard-coded-key", "CWE-798", severity=level),)), "key-theft").annual_mean
        for level in ("info", "low", "medium", "high", "critical")
    ]
    assert means == sorted(means)
    assert means[0] == row(priced(), "key-theft").annual_mean


def test_a_quota_caps_the_bill_and_says_so() -> None:
    free = row(priced((FINDINGS[0],)), "key-theft")
    held = row(priced((FINDINGS[0],), business=parse(b"provider_quota_month: 2000")), "key-theft")
    assert held.severity.high < free.severity.high
    assert held.annual_mean < free.annual_mean
    assert held.capped_by.startswith("provider_quota_month")
    assert free.capped_by == ""


@settings(max_examples=8, deadline=None)
@given(
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    st.sampled_from(["provider_quota_month", "annual_revenue", "daily_limit"]),
)
def test_a_lower_ceiling_never_raises_the_loss(first: int, second: int, name: str) -> None:
    low, high = sorted((first, second))
    losses = [priced(FINDINGS, business=parse(f"{name}: {value}".encode()), years=2000) for value in (low, high)]
    assert losses[0].annual_mean <= losses[1].annual_mean * (1 + 1e-9)
    assert losses[0].one_in_twenty <= losses[1].one_in_twenty * (1 + 1e-9)


@pytest.mark.parametrize("value", ["0", "1", "1e15"])
def test_extreme_answers_give_finite_figures(value: str) -> None:
    names = (
        "annual_revenue revenue_through_app customers requests_per_day blocked_request_cost records action_limit daily_limit "
        "incident_hour_cost provider_spend_month provider_quota_month decisions_per_day decision_amount appetite"
    )
    business = parse("\n".join(f"{name}: {value}" for name in names.split()).encode())
    loss = priced(FINDINGS, records(incident("exfil_link")), business)
    shown = msgspec.json.decode(msgspec.json.encode(loss))
    assert _finite(shown)


def _finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(_finite(one) for one in value.values())
    if isinstance(value, list):
        return all(_finite(one) for one in value)
    return not isinstance(value, float) or math.isfinite(value)


def test_one_dollar_of_revenue_is_the_most_a_year_can_cost() -> None:
    loss = priced(FINDINGS, business=parse(b"annual_revenue: 1"))
    assert loss.annual_mean <= 1 and loss.curve[-1][0] <= 1


def test_unknown_answers_are_listed_with_what_they_leave_open() -> None:
    loss = priced()
    assert any(line.startswith("records: ") for line in loss.unknown_business)
    assert any("lost sales" in line and "left out" in line for line in loss.unknown_business)
    known = priced(business=parse(b"records: 100\nrevenue_through_app: 5M"))
    assert not any(line.startswith(("records", "lost sales")) for line in known.unknown_business)


def test_own_answers_and_own_records_lower_the_share_of_priors() -> None:
    bare = priced()
    told = priced(
        business=parse(
            b"records: 100\naction_limit: 50\nincident_hour_cost: 10\ndecision_amount: 5\ndecisions_per_day: 9"
        )
    )
    seen = priced((), records(incident("exfil_link"), incident("unexplained_tool_call", "inc-2")))
    assert bare.prior_share == pytest.approx(1.0)
    assert told.prior_share < bare.prior_share
    assert seen.prior_share < bare.prior_share


def test_currency_scales_published_amounts_and_not_the_answers() -> None:
    dollars, yen = priced(), priced(business=parse(b"currency: JPY\nper_usd: 100"))
    assert yen.annual_mean == pytest.approx(100 * dollars.annual_mean, rel=1e-9)
    both = [
        parse(f"currency: {name}\nper_usd: 100\naction_limit: 50\ndaily_limit: 50".encode()) for name in ("USD", "JPY")
    ]
    assert both[0].rate == both[1].rate == 100
    assert yen.currency == "JPY"


def test_expected_cost_agrees_with_priced_events() -> None:
    business = parse(b"annual_revenue: 3M\nprovider_quota_month: 4000\nrecords: 5000")
    model = build(Survey(App("a"), ASSISTANT, FINDINGS), None, business, seed=1, years=2000)
    for one in model.priced:
        k = np.arange(200_000) % model.size
        got = severities(one.process, 9, k, np.arange(200_000, dtype=np.uint64))[0].mean()
        assert float(np.mean(expected(one.process.forms, one.process.cap))) == pytest.approx(got, rel=0.12), (
            one.scenario.id
        )


def test_sales_are_lost_only_where_the_class_of_data_hurts() -> None:
    def forms(records: str) -> set[str]:
        business = parse(f"revenue_through_app: 5M\nrecords: {{{records}: 100}}".encode())
        model = build(Survey(App("a"), ASSISTANT), None, business, seed=1, years=2000)
        one = next(one for one in model.priced if one.scenario.id == "sensitive-disclosure")
        return {form.id for form in one.process.forms}

    assert "sales" in forms("financial")
    assert "sales" not in forms("internal")


def test_curve_and_band_are_ordered() -> None:
    loss = priced(FINDINGS, years=50_000)
    points = [loss for loss, _ in loss.curve]
    chances = [chance for _, chance in loss.curve]
    assert points == sorted(points) and chances == sorted(chances, reverse=True)
    assert all(0 <= low <= high <= 1 for _, low, high in loss.band)
    for (at, chance), (point, low, high) in zip(loss.curve, loss.band, strict=True):
        assert at == point and low - 1e-9 <= chance <= high + 1e-9
    assert loss.mean_range is not None and loss.mean_range.low < loss.annual_mean < loss.mean_range.high * 3
    assert loss.twenty_range is not None and loss.twenty_range.low <= loss.one_in_twenty <= loss.twenty_range.high


def test_the_appetite_line_gets_its_chance() -> None:
    loss = priced(FINDINGS, business=parse(b"appetite: 10k"))
    assert loss.appetite == 10_000
    assert loss.chance_over_appetite is not None and 0 < loss.chance_over_appetite <= loss.chance_of_loss


def test_an_application_has_its_own_answers() -> None:
    business = parse(b"applications:\n  shop:\n    appetite: 5\n")
    assert priced(business=business).appetite == 5
    survey = Survey(App("other"), ASSISTANT)
    assert price(survey, None, business, seed=1, years=2000).appetite is None
    assert price(survey, None, business, seed=1, years=2000, app="shop").appetite == 5


def test_odd_times_in_records_do_no_harm() -> None:
    for first, last in ((math.inf, 0.0), (5.0, 1.0), (0.0, 0.0), (-1e300, 1e300)):
        past = msgspec.structs.replace(records(incident("exfil_link")), first_seen=first, last_seen=last)
        assert _finite(msgspec.json.decode(msgspec.json.encode(priced((), past, years=2000))))


def test_a_range_is_what_it_says() -> None:
    assert priced(years=1).years == 2000
    assert isinstance(priced(years=10**4).scenarios[0].frequency, Range)


TEXTS = st.text(max_size=12)
NUMBERS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(AssetKind)), TEXTS), max_size=5),
    st.lists(st.tuples(TEXTS, st.sampled_from(list(Severity)), st.sampled_from(list(Confidence))), max_size=5),
    st.lists(
        st.tuples(st.sampled_from(["pii_of_another", "exfil_link", "key_misuse", "x"]), NUMBERS, NUMBERS), max_size=5
    ),
    NUMBERS,
    NUMBERS,
    st.integers(0, 10**30),
)
def test_odd_input_never_raises_and_stays_finite(
    assets: list[tuple[AssetKind, str]],
    found: list[tuple[str, Severity, Confidence]],
    seen: list[tuple[str, float | None, float | None]],
    first: float | None,
    last: float | None,
    counted: int,
) -> None:
    survey = Survey(
        App("\ud800"),
        tuple(asset(kind.value, name) for kind, name in assets),
        tuple(Finding(rule, level, sure, "a", 1, ("LLM01:2025",), "m", "f") for rule, level, sure in found),
    )
    incidents = tuple(
        Incident(f"i{number}", kind, "t", Severity.high, Confidence.high, start, end, (), 0, (), "")
        for number, (kind, start, end) in enumerate(seen)
    )
    past = Lookback(5, incidents, {}, {"email": counted}, first, last)
    loss = price(survey, past, Business(), seed=1, years=2000)
    assert math.isfinite(loss.annual_mean) and loss.annual_mean >= 0
    assert 0 <= loss.chance_of_loss <= 1 and 0 <= loss.prior_share <= 1
    assert all(math.isfinite(one.cost) and math.isfinite(one.avoided.high) for one in loss.decisions)


def test_twenty_thousand_findings_are_priced_in_seconds() -> None:
    many = tuple(finding("hardcoded-secret", name=f"fp-{number}") for number in range(20_000))
    with soon():
        loss = priced(many, years=2000)
    assert len(row(loss, "key-theft").driven_by) == 20_000


def test_a_measured_time_takes_the_place_of_an_assumption() -> None:
    survey, mine = Survey(App("shop"), ASSISTANT, FINDINGS), {"notice_days": Own(Range(0.001, 0.002, 0.01))}
    before = price(survey, None, Business(), seed=1, years=YEARS)
    after = price(survey, None, Business(), seed=1, years=YEARS, measured=mine)
    rows = [one for one in row(after, "denial-of-wallet").factors if "days until somebody notices" in one.name]
    assert [one.grade for one in rows] == ["A"] and "measured" in rows[0].value
    assert row(after, "denial-of-wallet").severity.high < row(before, "denial-of-wallet").severity.high
    assert row(after, "silent-drift").severity == row(before, "silent-drift").severity
