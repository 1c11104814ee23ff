"""Hits of one cause become one incident; counting stays bounded and stable."""

from __future__ import annotations

from afterguard.model import Confidence, Exchange, Hit, Severity
from afterguard.watch.distinct import EXACT, Distinct
from afterguard.watch.merge import CAUSES_CAP, OTHER, Merger, identity, merge


def exchange(number: int) -> Exchange:
    return Exchange(f"e{number}", "log", number, "messages", time=1_000.0 + number)


def hit(number: int, cause: str = "c", severity: Severity = Severity.high, kind: str = "jailbreak") -> Hit:
    return Hit(
        "d",
        kind,
        severity,
        Confidence.high,
        f"e{number}",
        ("LLM01:2025",),
        cause=cause,
        identifiers=(f"i{number % 3}",),
    )


def test_one_incident_a_cause() -> None:
    found = list(merge([(exchange(n), hit(n)) for n in range(10)], "app"))
    assert len(found) == 1
    one = found[0]
    assert (one.count, one.identifiers, one.first_seen, one.last_seen) == (10, 3, 1_000.0, 1_009.0)
    assert one.exchange_ids[0] == "e0" and one.dwell == 9.0 and one.status == "suspected"
    assert one.id == identity("app", "jailbreak", "c")


def test_two_hits_of_one_exchange_count_once() -> None:
    found = list(merge([(exchange(1), hit(1)), (exchange(1), hit(1))], "app"))
    assert found[0].count == 1 and found[0].exchange_ids == ("e1",)


def test_worst_comes_first_and_inventory_is_no_incident() -> None:
    pairs = [(exchange(1), hit(1, "low", Severity.low)), (exchange(2), hit(2, "bad", Severity.critical))]
    pairs.append((exchange(3), hit(3, kind="inventory")))
    assert [one.cause for one in merge(pairs, "app")] == ["bad", "low"]


def test_causes_are_bounded() -> None:
    merger = Merger("app")
    for number in range(CAUSES_CAP + 50):
        merger.add(exchange(number), hit(number, f"cause {number}"))
    found = list(merger.incidents())
    assert len(found) == CAUSES_CAP + 1
    assert sum(one.count for one in found) == CAUSES_CAP + 50
    assert any(one.cause == OTHER for one in found)


def test_distinct_is_exact_then_close() -> None:
    seen = Distinct()
    for number in range(1_000):
        seen.add(f"v{number % 500}")
    assert len(seen) == 500
    for number in range(EXACT * 3):
        seen.add(f"w{number}")
    assert abs(len(seen) - (EXACT * 3 + 500)) / (EXACT * 3) < 0.08
