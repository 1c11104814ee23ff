"""TOML held to the standard library's reader, with lines, and what is left of a broken file."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.code import toml
from afterguard.code.document import Document, Node
from afterguard.model import Source


def parse(text: str) -> Document:
    return toml.parse(Source("x.toml", text.encode(), "toml"))


def plain(node: Node) -> Any:
    if node.kind == "map":
        return {key.text: plain(value) for key, value in node.fields}
    if node.kind == "list":
        return [plain(item) for item in node.items]
    return node.text


def texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: texts(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [texts(inner) for inner in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


SAMPLE = """
title = "x # y"  # c
a.b.c = 1
dates = [2024-01-01, 2024-05-27]
multi = \"\"\"
one
two\\
   three\"\"\"
raw = 'C:\\n'
'quoted key' = true
[server.main]
hosts = [
  "a", # first
  "b",
]
inline = { x = 1, y.z = "q" }
[[rows]]
n = 1
[rows.sub]
k = "v"
[[rows]]
n = 2
"""


def test_it_agrees_with_the_standard_library() -> None:
    document = parse(SAMPLE)
    assert not document.errors
    assert plain(document.roots[0]) == texts(tomllib.loads(SAMPLE))


def test_lines() -> None:
    root = parse(SAMPLE).roots[0]
    hosts = root.get("server", "main", "hosts")
    assert hosts is not None and [item.line for item in hosts.items] == [13, 14]
    rows = root.get("rows")
    assert rows is not None and [row.line for row in rows.items] == [17, 21]
    assert [key.line for key, _ in rows.items[0].fields] == [18, 19]


KEYS = st.text("abcdef-_", min_size=1, max_size=5)
SCALARS = st.one_of(st.text(max_size=10), st.integers(-(10**6), 10**6), st.booleans())


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        KEYS, st.dictionaries(KEYS, st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), max_size=4), max_size=4
    )
)
def test_generated_tables_agree(tables: dict[str, dict[str, Any]]) -> None:
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    text = "\n".join(lines).replace("\x7f", "\\u007f")
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    document = parse(text)
    assert not document.errors
    assert plain(document.roots[0]) == texts(expected)


def test_a_broken_line_costs_only_itself() -> None:
    document = parse("a = 1\nthis is not toml\n[t]\nb = [1, 2\n")
    assert document.roots[0].string("a") == "1"
    assert plain(document.roots[0])["t"] == {"b": ["1", "2"]}
    assert [line for line, _ in document.errors][:1] == [2]
