"""Patterns of rule files: what is written apart finds what it would find as one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.catalog import load
from afterguard.detect.phrases import apart, expand, patterns
from afterguard.detect.prefilter import Pattern, Prefilter

SETS = {"ask": "(show|tell( me)?|write( (out|down))?|what.s)", "own": "(your|the) (rules|prompt)"}
WORDS = ["show", "tell me", "write down", "what's", "your rules", "the prompt", "and", ".", "shower", "Tell\tme"]


def test_a_set_written_apart_is_a_pattern_for_each_of_it() -> None:
    assert apart("{ask|}~ {own}", SETS) == [
        "(show)~ {own}",
        "(tell( me)?)~ {own}",
        "(write( (out|down))?)~ {own}",
        "(what.s)~ {own}",
    ]
    assert apart("{ask}~ {own}", SETS) == ["{ask}~ {own}"]


@pytest.fixture(scope="module")
def both() -> tuple[Prefilter, Prefilter]:
    one = [Pattern("x", expand("{ask}~ {own}", SETS), True)]
    many = [Pattern("x", expand(text, SETS), True) for text in apart("{ask|}~ {own}", SETS)]
    return Prefilter(one), Prefilter(many)


@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_the_same_is_found(both: tuple[Prefilter, Prefilter], words: list[str]) -> None:
    data = " ".join(words).encode()
    assert set(both[0].scan(data)) == set(both[1].scan(data))


def test_every_rule_file_that_writes_a_set_apart_has_that_set() -> None:
    for name in ("injection", "jailbreak", "prompt_extraction"):
        rows = [text for row in load(f"rules/{name}")["features"] for text in row["patterns"]]
        assert len(patterns(name)) >= len(rows)
        assert not any(
            "{" in one.expression.replace("{0,", "").replace("{1,", "") and "|}" in one.expression
            for one in patterns(name)
        )
