"""What the watch raises has a title, taxonomy ids with their edition, and a place in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterguard import names
from afterguard.watch.cooling import FAMILY
from afterguard.watch.kinds import KINDS, NEVER, RULES
from afterguard.watch.merge import TITLES

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "rules.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_titled_and_documented(kind: str) -> None:
    assert kind in TITLES and f"### {kind}\n" in PAGE


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.kind}-{rule.measure}")
def test_a_rule_is_whole(rule: object) -> None:
    assert rule in RULES
    for one in RULES:
        assert all(names.is_taxonomy(identifier) for identifier in one.taxonomies)
        assert len(one.floors) == 4 and sorted(one.floors, key=lambda f: (f == NEVER, f))
        least = 2 if one.measure == "active_hours" else 3  # a day has no three times as many hours
        assert one.says and one.would_change and one.times >= least


def test_no_two_rules_share_a_measure_of_one_scope() -> None:
    pairs = [(scope, rule.measure) for rule in RULES for scope in rule.scopes]
    assert len(pairs) == len(set(pairs))


def test_families_name_kinds_that_exist() -> None:
    assert set(FAMILY) <= set(KINDS)
