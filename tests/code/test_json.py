"""JSON with lines, and what other tools let pass for JSON."""

from __future__ import annotations

import json as reference
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.code import json
from afterguard.code.document import Document, Node
from afterguard.model import Source


def parse(text: str) -> Document:
    return json.parse(Source("x.json", text.encode("utf-8", "surrogatepass"), "json"))


def plain(node: Node) -> Any:
    if node.kind == "map":
        return {key.text: plain(value) for key, value in node.fields}
    if node.kind == "list":
        return [plain(item) for item in node.items]
    return (
        {"null": None, "true": True, "false": False}.get(node.text, node.text)
        if node.kind in ("null", "bool")
        else node.text
    )


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.booleans(), st.booleans())
def test_it_agrees_with_the_standard_library(value: Any, ascii_only: bool, indent: bool) -> None:
    text = reference.dumps(value, ensure_ascii=ascii_only, indent=2 if indent else None)
    document = parse(text)
    assert not document.errors
    assert plain(document.roots[0]) == reference.loads(text)


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(0, 200))
def test_a_cut_file_gives_what_was_read_and_says_so(value: Any, cut: int) -> None:
    text = reference.dumps({"first": 1, "value": [value]})
    document = parse(text[: 12 + cut])
    assert document.roots[0].string("first") == "1"
    assert document.errors or 12 + cut >= len(text)


def test_lines_comments_and_trailing_commas() -> None:
    root = parse('{\n // c\n "a": [1,\n 2,], /* x\n y */\n "b": {"c": true,},\n}\n').roots[0]
    found = root.get("a")
    assert found is not None and [item.line for item in found.items] == [3, 4]
    value = root.get("b", "c")
    assert value is not None and (value.kind, value.line) == ("bool", 6)


def test_several_values_and_json5_words() -> None:
    document = parse("{a: 'x'}\n{\"b\": NaN}\n")
    assert [plain(root) for root in document.roots] == [{"a": "x"}, {"b": "NaN"}]
    assert document.roots[1].line == 2


def test_templates_are_unresolved() -> None:
    root = parse('{"a": "${env:KEY}", "b": "plain $5", "c": "{{x}}"}').roots[0]
    assert [value.resolved for _, value in root.fields] == [False, True, False]
