"""Variables in files: .env, INI and properties."""

from __future__ import annotations

from afterguard.code import env
from afterguard.code.document import Node
from afterguard.model import Source


def read(data: bytes, kind: str = "env") -> Node:
    return env.parse(Source("x", data, kind)).roots[0]


def test_quotes_comments_and_exports() -> None:
    root = read(b'# c\nexport A="x # y" # c\nB=1 # k\nC=\'$z\'\nD=${A}\n\nE="one\ntwo"\nF=a=b\n')
    assert [(key.text, value.text, key.line) for key, value in root.fields] == [
        ("A", "x # y", 2), ("B", "1", 3), ("C", "$z", 4), ("D", "${A}", 5), ("E", "one\ntwo", 7), ("F", "a=b", 9),
    ]  # fmt: skip
    assert [value.resolved for _, value in root.fields] == [True, True, True, False, True, True]


def test_sections_and_continuations() -> None:
    root = read(b"top=1\n[a.b]\nk: v\nlong=x,\\\n  y\n; c\n[c]\nz = 2 ; c\n", "ini")
    assert root.string("top") == "1"
    assert root.string("a.b", "k") == "v"
    assert root.string("a.b", "long") == "x,y"
    assert root.string("c", "z") == "2"


def test_what_is_neither_is_said() -> None:
    document = env.parse(Source(".env", b"A=1\n???\n", "env"))
    assert document.errors == ((2, "neither a pair, a section nor a comment"),)
