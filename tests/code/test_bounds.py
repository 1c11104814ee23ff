"""What a parser may cost: bytes that make many nodes are cut with a row, blanks and comments without end stay linear."""

from __future__ import annotations

import pytest
from soon import soon

from afterguard.code.parse import MAX_WORDS, parse
from afterguard.model import Source

HEADS = {
    "json": '{"model": "gpt-4o", "a": ',
    "toml": 'model = "gpt-4o"\nx = ',
    "yaml": "model: gpt-4o\n",
    "env": "A=b\n",
}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("unit", [" ", "\t", " \x0b", "/* ", "\\"])
def test_blanks_and_open_comments_are_read_once(kind: str, unit: str) -> None:
    data = (HEADS[kind] + unit * 300_000).encode()
    with soon():
        parse(Source(f"a.{kind}", data, kind, len(data)))


def test_a_file_of_single_letters_is_cut_with_an_error() -> None:
    data = b"import openai\n" + b"a\n" * MAX_WORDS
    parsed = parse(Source("a.py", data, "python", len(data)))
    assert parsed.source.data == data
    assert "only the first" in parsed.errors[0][1]
    assert parsed.module is not None
    assert parsed.module.imports
