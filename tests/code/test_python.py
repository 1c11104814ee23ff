"""Python and notebooks become the one syntax: names resolved through imports, lines physical, broken files piece by piece."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.code.parse import parse
from afterguard.code.syntax import Expr, Module, calls, walk
from afterguard.model import Source


def module(text: str | bytes, kind: str = "python") -> Module:
    data = text.encode() if isinstance(text, str) else text
    found = parse(Source("a.py", data, kind)).module
    assert found is not None
    return found


def callees(text: str) -> list[str]:
    return [call.text for _, call in calls(module(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from openai import OpenAI as O\nO()", ["openai.OpenAI"]),
        ("import a.b as c\nc.f()", ["a.b.f"]),
        ("import a.b\na.b.f()", ["a.b.f"]),
        ("from .x import y\ny()", [".x.y"]),
        ("from . import y\ny()", [".y"]),
        ("import importlib\nm = importlib.import_module('anthropic')\nm.Anthropic()", ["anthropic.Anthropic"]),
        ("__import__('openai').OpenAI()", ["openai.OpenAI"]),
        ("import openai\ngetattr(openai, 'Open' + 'AI')()", ["openai.OpenAI"]),
        ("NAME = 'groq'\nimport importlib\nimportlib.import_module(NAME).Groq()", ["groq.Groq"]),
        ("from x import f\ndef g(f): f()", ["f"]),
        ("def g():\n    from x import f\n    f()", ["x.f"]),
        ("from openai import OpenAI\nOpenAI().chat.create()", ["openai.OpenAI().chat.create", "openai.OpenAI"]),
        ("async def f():\n    x = await g(1)", ["g"]),
    ],
)
def test_names_are_resolved(text: str, expected: list[str]) -> None:
    assert callees(text) == expected


def test_dynamic_imports_are_imports() -> None:
    found = module("import importlib\nimportlib.import_module('openai')\nimportlib.import_module(x)")
    assert [(one.module, one.dynamic) for one in found.imports] == [("importlib", False), ("openai", True), ("", True)]


def value(text: str) -> Expr:
    found = module(text).functions[0].body[-1].value
    assert found is not None
    return found


def test_text_put_together() -> None:
    assert value("x = 'a' 'b' + 'c'").text == "abc"
    assert [part.kind for part in value("x = f'a{y}b'").parts] == ["text", "name", "text"]
    for text in ("x = 'a %s' % y", "x = 'a' + y", "x = 'a {}'.format(y)", "x = ','.join(y)", "x = T.format(y)"):
        assert value(text).kind == "join", text


def test_functions_are_flat_and_qualified() -> None:
    found = module(
        "class A:\n    x = 1\n    def m(self, q: str = 'd'):\n        def inner(): pass\n        return q\nasync def f(): pass\n"
    )
    assert [one.name for one in found.functions] == ["", "A.m", "f", "A.m.inner"] or {
        one.name for one in found.functions
    } == {"", "A.m", "f", "A.m.inner"}
    method = next(one for one in found.functions if one.name == "A.m")
    assert [(p.name, p.annotation, p.default.text if p.default else None) for p in method.params] == [
        ("self", "", None),
        ("q", "str", "d"),
    ]
    assert found.classes[0].body[0].targets == ("x",)


def test_broken_file_is_read_piece_by_piece() -> None:
    found = module(
        "import openai\nprint 'old'\ndef f():\n    print 'x'\n    openai.OpenAI()\n}{\nfrom torch import load\n"
    )
    assert [one.module for one in found.imports] == ["openai", "torch"]
    assert "openai.OpenAI" in [call.text for _, call in calls(found)]
    assert {line for line, _ in found.errors} >= {2, 4, 6}


def test_null_bytes_marks_and_encodings() -> None:
    assert module(b"import openai\0\n").imports[0].module == "openai"
    assert module(b"\xef\xbb\xbfimport openai\n").imports[0].module == "openai"
    assert module(b"# -*- coding: latin-1 -*-\nx='\xe9'\nimport openai\n").errors == ()
    assert module(b"x='\xe9'\nimport openai\n").errors[0][1].startswith("not UTF-8")
    assert module("import openai\r\nx = 1\r\n").imports[0].line == 1


def test_only_the_first_part_of_an_enormous_file_is_read() -> None:
    found = module(b"import openai\n" + (b"x = '" + b"a" * 60 + b"'\n") * 40_000)
    assert found.imports and "bytes were parsed" in found.errors[0][1]


def notebook(*cells: object, language: str = "python") -> bytes:
    held = [{"cell_type": "code", "source": cell} for cell in cells]
    return json.dumps({"cells": held, "metadata": {"kernelspec": {"language": language}}}, indent=1).encode()


def test_notebook_lines_are_physical() -> None:
    data = notebook(
        ["!pip install x\n", "import openai\n", "c = openai.OpenAI()\n"],
        "%%time\nimport torch\ntorch.load('m')",
        ["%%bash\n", "import no"],
    )
    found = module(data, "notebook")
    lines = data.decode().split("\n")
    assert {one.module for one in found.imports} == {"openai", "torch"}
    for one in found.imports:
        assert f"import {one.module}" in lines[one.line - 1]
    for _, call in calls(found):
        assert call.text.rsplit(".", 1)[-1] in lines[call.line - 1]


def test_notebook_with_a_broken_cell_or_another_language() -> None:
    assert [one.module for one in module(notebook("def (", "import openai"), "notebook").imports] == ["openai"]
    other = module(notebook("library(x)", language="R"), "notebook")
    assert other.functions == () and other.errors
    assert module(b"[1, 2", "notebook").errors


HOSTILE = {
    "brackets": b"x = " + b"[" * 20_000,
    "plus": b"x = " + b"1+" * 30_000 + b"1",
    "dots": b"x" + b".a" * 20_000,
    "calls": b"x" + b"()" * 20_000,
    "elif": b"if a: pass\n" + b"elif a: pass\n" * 3_000,
    "lambda": b"x=" + b"lambda:" * 20_000 + b"1",
    "not": b"x=" + b"not " * 20_000 + b"1",
    "classes": b"".join(b" " * i + b"class A:\n" for i in range(90)) + b" " * 90 + b"pass\n",
    "digits": b"x=" + b"9" * 50_000,
    "surrogate": b"x='\\ud800'\nimport openai",
    "quotes": b'"""' * 3_001,
    "line": b"x='" + b"a" * 1_000_000 + b"'",
    "old": b"print 'x'\n" * 2_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_a_module(name: str) -> None:
    found = module(HOSTILE[name])
    assert found.language == "python"
    for _, call in calls(found):
        assert len(list(walk(call))) < 1_000_000


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_junk_never_raises(data: bytes) -> None:
    module(data)
    module(data, "notebook")


SAMPLE = "import openai as o\n@d(1)\ndef f(a, *b, c=1, **k):\n    with g() as h, i:\n        for x, (y, *z) in h: yield f'{x!r:>{y}}'\n    try: pass\n    except* E as e: raise\n    match a:\n        case {'k': v}: return (q := v)[1:2]\nclass A(B, m=C): x: int = [i for i in j if i]\n"


@given(st.integers(0, len(SAMPLE)), st.integers(0, 30), st.text(max_size=10))
@settings(max_examples=200, deadline=None)
def test_damaged_files_never_raise(at: int, cut: int, put: str) -> None:
    text = SAMPLE[:at] + put + SAMPLE[at + cut :]
    module(text.encode("utf-8", "surrogatepass"))
