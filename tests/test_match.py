"""Sigma's grammar: what matches, what is refused, and that no rule is slow."""

from __future__ import annotations

import base64
import fnmatch
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from soon import soon

from afterguard.errors import UsageError
from afterguard.match import compile
from afterguard.match.linear import Refused, search


def hit(field: str, value: Any, held: Any) -> bool:
    return compile({"s": {field: value}})({field.split("|")[0]: held})


@pytest.mark.parametrize(
    ("field", "value", "held", "wanted"),
    [
        ("f", "Abc", "aBC", True),
        ("f|cased", "Abc", "abc", False),
        ("f|cased", "Abc", "Abc", True),
        ("f", ["a", "b"], "B", True),
        ("f", "a*c", "abbbC", True),
        ("f", "a*c", "abcd", False),
        ("f", "a?c", "abc", True),
        ("f", "a?c", "ac", False),
        ("f", r"a\*c", "a*c", True),
        ("f", r"a\*c", "abc", False),
        ("f", r"a\\*", "a\\xyz", True),
        ("f", r"c:\temp", r"C:\Temp", True),
        ("f", None, None, True),
        ("f", None, "", False),
        ("f", "", "", True),
        ("f", 5, 5.0, True),
        ("f", 5, "5", True),
        ("f", True, "true", True),
        ("f", "x", ["y", "X"], True),
        ("f", "x", [], False),
        ("f|contains", ["bc", "zz"], "aBCd", True),
        ("f|contains|all", ["bc", "zz"], "aBCd", False),
        ("f|contains|all", ["bc", "d"], "aBCd", True),
        ("f|contains", "b?d*f", "abcdxxfg", True),
        ("f|startswith", "ab", "ABc", True),
        ("f|endswith", "bc", "aBC", True),
        ("f|endswith", "bc", "bcd", False),
        ("f|re", "^a.c$", "abc", True),
        ("f|re", "A", "a", False),
        ("f|re|i", "A", "a", True),
        ("f|lt", 5, 4, True),
        ("f|gte", 5, "5", True),
        ("f|gt", 5, "x", False),
        ("f|gte", "medium", "high", True),
        ("f|gte", "medium", "low", False),
        ("f|lt", "high", "critical", False),
        ("f|exists", True, "x", True),
        ("f|exists", False, None, True),
        ("f|cidr", "10.0.0.0/8", "10.2.3.4", True),
        ("f|cidr", "10.0.0.0/8", "11.2.3.4", False),
        ("f|cidr", "10.0.0.0/8", "no address", False),
        ("f|neq", "a", "b", True),
        ("f|neq", ["a", "b"], "b", False),
        ("f|base64", "foo", "Zm9v", True),
        ("f|windash|contains", " -enc", "x /enc y", True),
        ("f", "x", {"a": 1}, False),
    ],
)
def test_values_and_modifiers(field: str, value: Any, held: Any, wanted: bool) -> None:
    assert hit(field, value, held) is wanted


@given(st.binary(min_size=3, max_size=20), st.binary(max_size=5), st.binary(max_size=5))
def test_base64offset_finds_a_text_at_any_offset(inner: bytes, before: bytes, after: bytes) -> None:
    text = inner.decode("latin-1")
    coded = base64.b64encode(before + text.encode() + after).decode()
    assert hit("f|base64offset|contains", text, coded)


def test_fieldref() -> None:
    match = compile({"s": {"a|fieldref": "b"}})
    assert match({"a": "X", "b": "x"}) and not match({"a": "X", "b": "y"}) and match.fields == {"a", "b"}
    assert compile({"s": {"a|fieldref|endswith": "b"}})({"a": "me@corp", "b": "@corp"})


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("yes", True),
        ("not yes", False),
        ("not not yes", True),
        ("no or yes and yes", True),
        ("(no or yes) and no", False),
        ("yes and not (no or no)", True),
        ("1 of them", True),
        ("any of s*", True),
        ("all of them", False),
        ("all of s*", False),
        ("1 of n*", False),
        (["no", "yes"], True),
        ("YES and yes", None),
        ("yes yes", None),
        ("(yes", None),
        ("yes and", None),
        ("1 of x*", None),
        ("yes | count() > 5", None),
        ("", None),
        ("(" * 100 + "yes" + ")" * 100, None),
    ],
)
def test_conditions(condition: Any, wanted: bool | None) -> None:
    detection = {
        "yes": {"f": 1},
        "no": {"f": 2},
        "s1": {"f": 1},
        "s2": {"f": 2},
        "_h": {"f": 3},
        "condition": condition,
    }
    if wanted is None:
        with pytest.raises(UsageError, match="rule r1"):
            compile(detection, "r1")
    else:
        assert compile(detection, "r1")({"f": 1}) is wanted


def test_lists_of_maps_and_words() -> None:
    either = compile({"s": [{"a": 1, "b": 2}, {"a": 3}]})
    assert either({"a": 1, "b": 2}) and either({"a": 3}) and not either({"a": 1})
    words = compile({"s": ["evil", "w?rse"]})
    assert words.has_keywords and words({"x": "so EVIL"}) and words({"x": ["a worse b"]}) and not words({"x": "good"})
    assert not compile({"s": {"|all": ["evil", "worse"]}})({"x": "evil"})


@pytest.mark.parametrize(
    "detection",
    [
        None,
        {},
        {"condition": "x"},
        {"a": {}},
        {"a": []},
        {"a": 5},
        {"a": {"f|contians": "x"}},
        {"a": {"f": []}},
        {"a": {"f": {"x": 1}}},
        {"a": {"f|re": "("}},
        {"a": {"f|re": r"(a)\1"}},
        {"a": {"f|re": "(?=a)"}},
        {"a": {"f|re": "((a{1000}){1000}){1000}"}},
        {"a": {"f|re": "((?:){1000}){1000}"}},
        {"a": {"f|re": "(" * 490 + ")" * 490}},
        {"a": {"f|gt": "x"}},
        {"a": {"f|cidr": "x"}},
        {"a": {"f|exists": "x"}},
        {"a": {"f|i": "x"}},
        {"a": {"f|contains|re": "x"}},
        {"a": {"|contains": "x"}},
        {"a": {"f": 1}, "b": {"f": 1}},
        {"a": {"f": 1}, "timeframe": "5m", "condition": "a"},
        {"a": {"f": "x" * 5_000}},
    ],
)
def test_bad_rules_say_what_to_do(detection: Any) -> None:
    with pytest.raises(UsageError, match="rule bad") as refused:
        compile(detection, "bad")
    assert refused.value.hint


def test_the_nearest_modifier_is_named() -> None:
    with pytest.raises(UsageError) as refused:
        compile({"a": {"f|contians": "x"}}, "bad")
    assert "contains" in refused.value.hint


def test_what_a_rule_requires() -> None:
    detection = {"s": {"hit.kind": ["A", "b"], "x|contains": "y"}, "t": {"hit.kind": "a"}, "condition": "s and not t"}
    assert compile(detection).required == {"hit.kind": {"a", "b"}}
    assert compile({**detection, "condition": "s or t"}).required == {}
    assert compile({"s": [{"k": 1, "l": 2}, {"k": 3}]}).required == {"k": {"1", "3"}}
    assert compile({**detection, "condition": "s"}).unused == ("t",)


PIECE = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\d", r"\b", "^", "$", "(?:a|bc)", "(a|)", r"\s", "x"])
REPEAT = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "*?", "+?"])


@st.composite
def patterns(draw: st.DrawFn) -> str:
    out = ""
    for _ in range(draw(st.integers(1, 6))):
        piece = draw(PIECE)
        out += piece + ("" if piece in ("^", "$", r"\b") else draw(REPEAT))
    return f"(?:{out})+b" if draw(st.booleans()) else out


@settings(max_examples=400, deadline=None)
@given(
    patterns(), st.lists(st.text("abcx1 _é\n", max_size=12), min_size=1, max_size=4), st.sampled_from([0, re.I, re.S])
)
@example("a$", ["a\n"], 0)
def test_linear_search_says_what_re_says(pattern: str, texts: list[str], flags: int) -> None:
    occurs = search(pattern, flags)
    for text in texts:
        expected = re.compile(pattern.replace("$", r"\Z"), flags).search(text) is not None
        assert occurs(text) is expected
        assert occurs(text) is expected


@given(st.text(max_size=60))
def test_any_pattern_is_compiled_or_refused(pattern: str) -> None:
    try:
        search(pattern)("abc")
    except Refused:
        pass


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "a*a*a*a*a*b", "(.*,){20}x", "(a?){30}a{30}b"])
def test_no_expression_is_slow(pattern: str) -> None:
    occurs = search(pattern)
    with soon():
        occurs("a" * 200_000)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=12))
def test_wildcards_say_what_fnmatch_says(pattern: str, text: str) -> None:
    assert hit("f", pattern, text) is fnmatch.fnmatchcase(text, pattern)


def test_wildcards_are_never_slow() -> None:
    with soon():
        assert not hit("f", "*a" * 400 + "*b?b", "a" * 50_000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "condition"]) | st.text(max_size=6), JSON, max_size=4), JSON)
def test_any_detection_is_compiled_or_refused(detection: dict[str, Any], held: Any) -> None:
    try:
        match = compile(detection)
    except UsageError:
        return
    assert match(dict.fromkeys(match.fields, held)) in (True, False)


@given(JSON)
def test_any_event_is_answered(held: Any) -> None:
    for field in ("f", "f|contains", "f|re", "f|gte", "f|neq", "f|cased"):
        assert hit(field, "1" if field == "f|gte" else "a", held) in (True, False)
    hit("f", 10**5000 % 10**900, 10**4299)
    hit("f|gt", 1, 10**4000)
