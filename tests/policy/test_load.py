"""Loading: errors name line and remedy, hostile text is refused, formatting is idempotent and keeps comments."""

from __future__ import annotations

from typing import Any

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.jobs.policy_tests import run
from afterguard.policy.document import schema
from afterguard.policy.fmt import fmt
from afterguard.policy.load import load
from afterguard.policy.read import read
from afterguard.policy.shipped import EXTRA, SHIPPED, shipped, shipped_text

HEAD = "format: afterguard.policy/1\nname: test\nrules:\n"
RULE = """  - id: one
    says: a sentence
    detection:
      s: {hit.kind: k}
    action: flag
"""


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        (HEAD + RULE.replace("action", "acton"), 8, "no such key: acton", "action"),
        (HEAD + RULE.replace("action: flag", "action: flog"), 8, "flog", "schema"),
        (HEAD + RULE.replace("    action: flag\n", ""), 4, "has no action", "add action"),
        (HEAD + RULE.replace("hit.kind", "hit.knd"), 6, "hit.knd", "hit.kind"),
        (HEAD + RULE.replace("hit.kind", "hit.kind|contians"), 6, "contians", "contains"),
        (HEAD + RULE + RULE, 9, "stands here twice", "another id"),
        (HEAD + RULE.replace("flag", "reroute"), 8, "needs a model", "model"),
        (HEAD + RULE.replace("hit.kind", "exchange.model").replace("flag", "redact"), 8, "needs a place", "hit.kind"),
        (HEAD + RULE.replace("{hit.kind: k}", "[word]"), 6, "words without a field", "field"),
        (
            HEAD + RULE.replace("{hit.kind: k}", "{hit.kind: k, unjudged.reason: x}"),
            6,
            "names unjudged parts",
            "two rules",
        ),
        (
            HEAD + RULE.replace("s: {hit.kind: k}", "s: {hit.kind: k}\n      t: {hit.kind: k}\n      condition: s"),
            6,
            "does not ask",
            "",
        ),
        (HEAD + RULE.replace("id: one", "id: One!"), 4, "rules.0.id", ""),
        (HEAD + RULE + "mod: observe\n", 9, "no such key: mod", "mode"),
        (HEAD + RULE + "routes:\n  a: {mode: observe}\n  b: {mod: observe}\n", 11, "no such key: mod", "mode"),
        (HEAD + RULE + "scope: {ap: x}\n", 9, "no such key: ap", "app"),
        (HEAD + RULE + "share: 2\n", 9, "share", ""),
        (HEAD + RULE + "name: again\n", 9, "twice", ""),
        (HEAD + RULE + "app: &a x\n", 9, "anchors", ""),
        (HEAD + RULE + "app: !!python/object x\n", 9, "tags", ""),
        (HEAD + RULE + "app: [\n", 10, "not YAML", ""),
        (
            HEAD + RULE + "tests:\n- {name: t, exchange: {}, expect: {action: flag, rule: tow}}\n",
            10,
            "no rule is called tow",
            "",
        ),
        (HEAD + RULE + "---\na: b\n", 9, "second document", ""),
        ("- a\n", 1, "not a policy", "format"),
        ("format: afterguard.policy/2\nname: x\nrules: []\n", 1, "format", ""),
    ],
)
def test_an_error_names_line_and_remedy(text: str, line: int, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        load(text, "p.yaml")
    where = str(refused.value).split(" ")[0]
    assert message in str(refused.value) and hint in refused.value.hint
    assert where == f"p.yaml:{line}:", str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "\x00", "a: " + "[" * 5_000, "{" * 200, "x" * (1 << 21), "? a\n: b", "[]", "\ud800"]
)
def test_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        load(text)


@given(st.text(max_size=80))
def test_any_text_is_loaded_or_refused(text: str) -> None:
    for whole in (text, HEAD + text, HEAD + RULE + text):
        try:
            load(whole)
        except UsageError as error:
            assert error.hint


def test_revision_depends_on_what_it_says_and_not_on_how_it_is_written() -> None:
    one = load(HEAD + RULE)
    assert one.revision == load(HEAD + RULE + "# a comment\n").revision == load(fmt(HEAD + RULE)).revision
    assert one.revision != load(HEAD + RULE.replace("flag", "block")).revision
    assert one.revision.startswith("test@")


def test_words_that_yaml_1_1_takes_for_booleans_stay_words() -> None:
    assert read("a: no\nb: on\nc: 1_000\nd: 07\ne: 1e3\nf: 'true'").value == {
        "a": "no", "b": "on", "c": "1_000", "d": "07", "e": 1000.0, "f": "true",
    }  # fmt: skip


@pytest.mark.parametrize("name", (*SHIPPED, EXTRA))
def test_shipped_policies_pass_their_tests_fit_the_schema_and_are_formatted(name: str) -> None:
    failed = [(one.name, one.why) for one in run(shipped(name)) if one.why]
    assert not failed
    text = shipped_text(name)
    assert fmt(text) == text
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(yaml.safe_load(text), schema())


def test_the_schema_refuses_an_unknown_key() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(HEAD + RULE.replace("action", "acton")), schema())


COMMENTED = """# top
format: afterguard.policy/1   # which
name: test
# before rules
rules:
  # about one
  - says: a sentence
    id: one     # its name
    # about the detection
    detection:
      s:
        hit.kind: [a,   b] # kinds
      # before the condition
      condition: s
    action: flag
# at the end
"""


def test_formatting_keeps_comments() -> None:
    once = fmt(COMMENTED)
    assert fmt(once) == once
    assert [line.split("#")[1] for line in COMMENTED.splitlines() if "#" in line] == [
        line.split("#")[1] for line in once.splitlines() if "#" in line
    ] or sorted(line.split("#")[1] for line in COMMENTED.splitlines() if "#" in line) == sorted(
        line.split("#")[1] for line in once.splitlines() if "#" in line
    )
    assert once.index("# about one") < once.index("- id: one  # its name") < once.index("# about the detection")


VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(max_size=12)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=200, deadline=None)
@given(VALUE, st.sampled_from(["tests", "rules", "x", "routes"]))
def test_formatting_twice_changes_nothing(value: Any, key: str) -> None:
    text = yaml.safe_dump({key: value, "name": [value]}, allow_unicode=True)
    try:
        once = fmt(text)
    except UsageError:
        return
    assert fmt(once) == once
    assert msgspec.json.encode(read(once).value) is not None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["# c", "a: 1", "b:", "  - x", "  # d", "  - {y: 2} # e", "c: |", "  text # no", "d: 'q # no' # f", ""]
        ),
        max_size=10,
    )
)
def test_formatting_loses_no_comment(rows: list[str]) -> None:
    text = "\n".join(rows) + "\n"
    try:
        once = fmt(text)
    except UsageError:
        return
    assert fmt(once) == once


def test_failing_tests_say_what_they_got() -> None:
    text = (
        HEAD
        + RULE
        + """tests:
  - {name: a, exchange: {hits: [{kind: k}]}, expect: {action: block}}
  - {name: b, exchange: {hits: [{kind: k}]}, expect: {action: flag, rule: one}}
  - {name: c, exchange: {messages: 5}, expect: {action: flag}}
  - {name: d, exchange: {hist: []}, expect: {action: flag}}
  - {name: e, exchange: {messages: [{role: user, content: hi}], x: 1}, expect: {action: flag}}
  - {name: f, exchange: {request: {zzz: 1}}, expect: {action: flag}}
  - {name: g, exchange: {messages: [{role: user, content: hi}]}, expect: {action: allow, gone: hi}}
  - {name: h, exchange: {messages: [{role: user, content: hi}]}, expect: {action: allow, kept: ho}}
"""
    )
    why = {one.name: one.why for one in run(load(text))}
    assert why["a"] == "expected block, got flag by one" and why["b"] == ""
    assert all("cannot be run" in why[name] for name in "cdef")
    assert "still there" in why["g"] and "is gone" in why["h"]
