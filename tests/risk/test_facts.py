"""Counted facts: counted means counted, told is marked told."""

from __future__ import annotations

from afterguard.model import (
    App,
    Asset,
    AssetKind,
    Certainty,
    Confidence,
    Coverage,
    Evidence,
    Finding,
    Incident,
    Lookback,
    Severity,
    Survey,
)
from afterguard.risk.business import Business, parse
from afterguard.risk.facts import TOLD, facts

SEEN = (Evidence("a", 1, "x"),)


def key(path: str, secret: str) -> Finding:
    return Finding(
        "hard-coded-key",
        Severity.high,
        Confidence.high,
        path,
        1,
        ("CWE-798",),
        "m",
        "f",
        fingerprint=path,
        attributes={"secret_hash": secret},
    )


def incident(kind: str, first: float | None, last: float | None, identifiers: int) -> Incident:
    return Incident(kind, kind, kind, Severity.high, Confidence.high, first, last, (), identifiers, (), "")


def shown(survey: Survey, past: Lookback | None = None, business: Business | None = None) -> dict[str, str]:
    return {fact.label: fact.value for fact in facts(survey, past, business or Business())}


def test_one_key_in_three_files_is_one_key() -> None:
    survey = Survey(App("a"), findings=(key("a", "1"), key("b", "1"), key("c", "2")))
    assert shown(survey)["keys written in files"] == "2"


def test_incidents_lead_and_identifiers_are_not_people() -> None:
    past = Lookback(
        500,
        (incident("pii_of_another", 0.0, 3 * 86400.0, 7), incident("secret_in_output", None, None, 0)),
        {"truncated": 4},
        {"email": 12},
    )
    rows = facts(Survey(App("a")), past, Business())
    assert (rows[0].label, rows[0].value) == ("suspected incidents", "2")
    table = {fact.label: fact.value for fact in rows}
    assert table["longest suspected incident, first to last sighting"] == "3 days"
    assert table["distinct identifiers seen in suspected incidents (at most)"] == "7"
    assert table["distinct secrets seen in conversations (at most)"] == "1"
    assert table["distinct identifiers merely present"] == "12 (email 12)"
    assert table["parts of recorded traffic nobody could judge"] == "4"
    assert not any("people" in fact.label for fact in rows)


def test_told_facts_are_marked_and_unknown_limits_are_shown() -> None:
    tool = Asset(AssetKind.tool, "issueRefund", Certainty.declared, SEEN)
    survey = Survey(App("a"), (tool,), coverage=(Coverage("x", "binary", count=3),))
    rows = {
        fact.label: fact
        for fact in facts(survey, None, parse(b"records: {contact: 10k-40k, health: unknown}\naction_limit: 500"))
    }
    assert rows["people whose records it can reach"].value == "10k to 40k (contact, health unknown)"
    assert rows["people whose records it can reach"].source == TOLD
    assert not rows["people whose records it can reach"].measured
    assert rows["money its tools can move in one action"].value == "USD 500"
    assert rows["money its tools can move in a day"].value == "unknown"
    assert rows["files or parts that were not read"].value == "3"


def test_open_endpoints_and_unapproved_tools_are_counted_by_place() -> None:
    survey = Survey(
        App("a"),
        findings=(
            Finding("x", Severity.high, Confidence.high, "a", 1, ("CWE-306",), "m", "f"),
            Finding("y", Severity.high, Confidence.high, "a", 2, ("LLM06:2025",), "m", "f"),
            Finding("permissive-cors", Severity.high, Confidence.high, "a", 4, ("LLM06:2025",), "m", "f"),
            Finding("shadow-ai-traffic", Severity.low, Confidence.high, "a", 3, (), "m", "f", asset="provider:x"),
        ),
    )
    table = shown(survey)
    assert table["AI endpoints or servers open without a login"] == "1"
    assert table["places where a tool acts without a person agreeing"] == "1"
    assert table["AI services seen in traffic that no file given explains"] == "1"


def test_nothing_counted_is_nothing_said() -> None:
    assert facts(Survey(App("a")), None, Business()) == ()
