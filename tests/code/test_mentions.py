"""Files that name each other are told from their import lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.code.mentions import belongs, imported, stem


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import os, app.tools\n", {"os", "tools"}),
        ("from app.tools import run, stop as halt\n", {"tools", "run", "stop"}),
        ("  from . import llm\n", {"llm"}),
        ("import { run } from './lib/tools';\n", {"tools"}),
        ("const t = require('../tools/index.js')\n", {"tools"}),
        ("const t = await import('./tools.mjs')\n", {"tools"}),
        ("# nothing here\nfrom_import = 1\n", set()),
    ],
)
def test_imports(text: str, names: set[str]) -> None:
    assert names <= imported(text.encode())
    assert bool(imported(text.encode())) is bool(names)


def test_a_package_is_imported_by_its_folder() -> None:
    assert [stem(path) for path in ("a/b.py", "a/__init__.py", "src/tools/index.ts", "x.test.ts")] == [
        "b",
        "a",
        "tools",
        "x",
    ]


def test_either_direction_and_folders() -> None:
    none: frozenset[str] = frozenset()
    assert belongs("app/tools.py", b"", none, frozenset({"tools"}), ())
    assert belongs("main.py", b"from app import chat\n", frozenset({"chat"}), none, ())
    assert belongs("svc/Run.java", b"", none, none, {"svc"})
    assert not belongs("svc/run.py", b"import os\n", frozenset({"chat"}), frozenset({"rag"}), {"svc"})


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    assert all(imported(data))
