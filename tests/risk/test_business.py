"""business.yaml: every answer a person may write, and every wrong one with file, line and a way out."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.model import Range
from afterguard.risk.amount import amount, number
from afterguard.risk.business import Business, parse, questions, template

DOC = Path(__file__).parents[2] / "docs" / "reference" / "business.md"

FULL = """
currency: eur
per_usd: 0.92
industry: retail
country: de
annual_revenue: 20M-50M
revenue_through_app: [1M, 3M]
customers: 40k
users_per_month: "5,000"
requests_per_day: 2_000
blocked_request_cost: 0.50
records: {contact: 40k, financial: unknown, health: [100, 300]}
action_limit: 500
daily_limit: 10k
incident_hour_cost: 500 - 2000
provider_spend_month: 1200
provider_quota_month: none
decisions_per_day: 0
decision_amount: 1e3
regulated: [gdpr, ai-act]
listed: no
audience: Customers
response: plan
appetite: 250k
applications:
  fraud:
    decisions_per_day: 3000
    provider_quota_month: 400
    records: {contact: [5, 7]}
"""


def test_every_kind_of_answer_is_read() -> None:
    business = parse(FULL.encode())
    assert business.currency == "EUR"
    assert business.country == "DE"
    assert business.annual_revenue == Range(20e6, math.sqrt(20e6 * 50e6), 50e6)
    assert business.revenue_through_app is not None and business.revenue_through_app.high == 3e6
    assert business.users_per_month == Range(5000, 5000, 5000)
    assert business.records == {"contact": Range(40e3, 40e3, 40e3), "health": Range(100, math.sqrt(30_000), 300)}
    assert business.records_unknown == ("financial",)
    assert business.no_quota and business.provider_quota_month is None
    assert business.decision_amount == Range(1000, 1000, 1000)
    assert business.regulated == ("gdpr", "ai_act")
    assert business.listed is False
    assert business.audience == "customers"
    assert not any(line.startswith(("per_usd", "listed")) for line in business.unknown())


def test_answers_of_one_application_lie_over_the_others() -> None:
    business = parse(FULL.encode()).for_app("fraud")
    assert business.decisions_per_day == Range(3000, 3000, 3000)
    assert business.provider_quota_month == Range(400, 400, 400)
    assert business.currency == "EUR"
    assert parse(FULL.encode()).for_app("other").decisions_per_day == Range(0, 0, 0)


def test_the_questionnaire_parses_and_leaves_everything_unknown() -> None:
    business = parse(template().encode())
    assert business == Business(records_unknown=business.records_unknown)
    assert len(business.unknown()) == len(questions()) - 2  # the currency has a default, per_usd does not matter for it
    for question in questions():
        assert f"\n{question['key']}:" in template()
        assert f"\n# {question['key']}: {question['example']}" in template()


def test_every_example_of_the_questionnaire_is_a_valid_answer() -> None:
    lines = "\n".join(f"{question['key']}: {question['example']}" for question in questions())
    assert parse(lines.encode()).appetite == Range(250e3, 250e3, 250e3)


@pytest.mark.parametrize(
    "empty", [b"", b"\n", b"# nothing\n", b"---\n", b"\xef\xbb\xbf", b"~", b"applications:\n", b"{}"]
)
def test_an_empty_file_is_all_unknown(empty: bytes) -> None:
    assert parse(empty) == Business()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("anual_revenue: 3", 1, "anual_revenue"),
        ("\n\nannual_revenue: -3", 3, "negative"),
        ("annual_revenue: .nan", 1, "not a number"),
        ("annual_revenue: .inf", 1, "not a number"),
        ("annual_revenue: 1e16", 1, "larger than anything"),
        ("annual_revenue: 999999999999999999", 1, "larger than anything"),
        ("annual_revenue: " + "9" * 5000, 1, "longer than a number"),
        ("annual_revenue: 1,5", 1, "not a number"),
        ("annual_revenue: true", 1, "not a number"),
        ("annual_revenue: [1, 2, 3]", 1, "range"),
        ("annual_revenue: {a: 1}", 1, "range"),
        ("annual_revenue: 50-10", 1, "backwards"),
        ("annual_revenue: 1-2-3", 1, "low-high"),
        ("industry: retial", 1, "did you mean retail"),
        ("industry: [retail]", 1, "one value"),
        ("listed: maybe", 1, "neither yes nor no"),
        ("currency: dollars", 1, "code of 3 letters"),
        ("currency: XXX", 0, "no rate"),
        ("per_usd: 0", 1, "above zero"),
        ("records: {passport: 3}", 1, "none of"),
        ("records:\n  contact: 3\n  contact: 4", 3, "twice"),
        ("records: [1]", 1, "one line for each class"),
        ("regulated: {gdpr: 1}", 1, "list of words"),
        ("regulated: [grpd]", 1, "did you mean gdpr"),
        ("a: &x 1\nb: *x", 1, "anchors"),
        ("a: *x", 1, "anchors"),
        ("a: !!python/object/apply:os.system [ls]", 1, "tags"),
        ("currency: USD\n---\ncurrency: EUR", 2, "second document"),
        ("- a\n- b", 1, "key: value"),
        ("just words", 1, "key: value"),
        ("a: [", 0, ""),
        ("\ta: 1", 1, ""),
        ("? [a]\n: 1", 1, "plain word"),
        ("applications: [x]", 1, "block of answers"),
        ("applications: {x: 3}", 1, "not a block"),
        ("applications:\n  x:\n    currency: EUR", 3, "same for every application"),
        ("applications:\n  x:\n    applications: {}", 3, "applications"),
        ("a: " + "[" * 3000, 0, ""),
        ("a: [" + "1, " * 5000 + "]", 1, "entries"),
        ("x" * (1 << 20) + ": 1", 1, "bytes"),
    ],
)
def test_a_wrong_answer_names_file_line_and_way_out(text: str, line: int, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text.encode(), "facts/business.yaml")
    message = str(caught.value)
    assert message.startswith(f"facts/business.yaml:{line}:" if line else "facts/business.yaml:")
    assert words in message
    assert caught.value.hint
    assert len(message) < 400


def test_a_near_miss_of_a_key_is_told() -> None:
    with pytest.raises(UsageError) as caught:
        parse(b"currency: USD\nanual_revenue: 3\n")
    assert caught.value.hint == "Did you mean annual_revenue?"


def test_broken_encoding_is_told_with_its_line() -> None:
    with pytest.raises(UsageError, match=r":2: the file is not UTF-8"):
        parse(b"currency: USD\nindustry: \xff\n")


def test_an_alias_bomb_is_refused_at_once() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
    )
    with pytest.raises(UsageError, match="anchors"):
        parse(bomb.encode())


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
@example(b"records: {contact: }")
@example(b"\x00")
@example("annual_revenue: ٣".encode())
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    try:
        parse(data)
    except UsageError:
        pass


KEYS = st.sampled_from([question["key"] for question in questions()] + ["applications", "nonsense"])
VALUES = st.recursive(
    st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_answers_parse_to_bounded_numbers_or_are_refused(answers: dict[str, object]) -> None:
    import yaml

    try:
        business = parse(yaml.safe_dump(answers).encode())
    except UsageError:
        return
    for question in questions():
        value = getattr(business, question["key"])
        if isinstance(value, Range):
            assert 0 <= value.low <= value.mid <= value.high <= 1e15


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500", 500),
        ("10k", 10e3),
        ("1.5M", 1.5e6),
        ("2bn", 2e9),
        ("10,000", 1e4),
        ("1 000 000", 1e6),
        ("3e5", 3e5),
        ("0", 0),
    ],
)
def test_numbers_as_people_write_them(text: str, value: float) -> None:
    assert number(text) == value


@given(st.floats(0, 1e15), st.floats(0, 1e15))
def test_a_range_keeps_its_order(first: float, second: float) -> None:
    low, high = sorted((round(first, 2), round(second, 2)))
    try:
        value = amount(f"{low:.2f} to {high:.2f}")
    except ValueError:
        return
    assert value.low <= value.mid <= value.high


def test_every_key_and_every_word_is_in_the_reference() -> None:
    text = DOC.read_text(encoding="utf-8")
    for question in questions():
        assert f"### `{question['key']}`" in text, question["key"]
        for word in question.get("words", ()):
            assert f"`{word}`" in text, word
    assert "### `applications`" in text
    keys = [line[5:-1] for line in text.splitlines() if line.startswith("### `")]
    assert keys == [*(question["key"] for question in questions()), "applications"]
