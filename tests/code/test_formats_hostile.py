"""Every structured format on hostile input: it never raises, ends soon, and says what it could not read."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soon import soon

from afterguard.code import dockerfile, env, hcl, json, toml, yaml
from afterguard.code.document import Document, walk
from afterguard.model import Source

PARSERS: dict[str, Callable[[Source], Document]] = {
    "yaml": yaml.parse,
    "json": json.parse,
    "toml": toml.parse,
    "hcl": hcl.parse,
    "dockerfile": dockerfile.parse,
    "env": env.parse,
    "ini": env.parse,
}
PIECES = [
    b"a: ", b"- ", b"\n", b"  ", b"{", b"}", b"[", b"]", b"&x ", b"*x", b"<<: ", b"{{ .V }}", b"{% if %}", b"---\n", b'"', b"'",
    b"${a}", b"= ", b"[[t]]\n", b'"""', b"FROM a\n", b"RUN <<E\n", b"E\n", b"\\\n", b"#c\n", b"\xff", b"\0", b",", b":", b"!Ref ",
    b"resource \"a\" \"b\" {\n", b"x = var.y\n", b"<<EOF\n", b"EOF\n", b"1e9", b"\xed\xa0\x80", b"|\n", b"\t", b"locals {\n",
]  # fmt: skip


def read(kind: str, data: bytes) -> Document:
    document = PARSERS[kind](Source("x", data, kind, len(data)))
    lines = data.count(b"\n") + 1
    for root in document.roots:
        for count, (_, node) in enumerate(walk(root)):
            assert 1 <= node.line <= lines + 1
            node.text.encode()
            if count > 50_000:
                break
    return document


@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join)))
def test_any_bytes_are_read_without_an_exception(kind: str, data: bytes) -> None:
    read(kind, data)


@pytest.mark.parametrize("kind", PARSERS)
def test_repeated_pieces_stay_linear(kind: str) -> None:
    rng = random.Random(7)
    for _ in range(6):
        pieces = rng.sample(PIECES, 3)
        data = b"".join(pieces) * (300_000 // max(1, sum(map(len, pieces))))
        print(pieces)
        with soon():
            PARSERS[kind](Source("x", data, kind, len(data)))


@pytest.mark.parametrize("kind", PARSERS)
@pytest.mark.parametrize(
    "piece",
    [
        b"[",
        b"{",
        b"- ",
        b"a: {",
        b"[[",
        b'"',
        b"'",
        b"${",
        b"{{",
        b"(",
        b"a.",
        b"\\\n",
        b"A=$A$A\n",
        b"<<A\n",
        b'"""',
        b"%{",
    ],
)
def test_a_file_of_one_piece_ends(kind: str, piece: bytes) -> None:
    data = b"a = " + piece * (300_000 // len(piece))
    with soon():
        PARSERS[kind](Source("x", data, kind, len(data)))


def test_billion_laughs_is_cut_and_said() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    document = yaml.parse(Source("x", "\n".join(lines).encode(), "yaml"))
    assert any("expands too far" in what for _, what in document.errors)
    assert sum(1 for root in document.roots for _ in walk(root)) < 300_000


def test_a_cyclic_anchor_ends_in_an_error_entry() -> None:
    document = yaml.parse(Source("x", b"a: &a\n  b: *a\n  c: [1, *a]\nd: *a\n", "yaml"))
    assert [what for _, what in document.errors] == ["cyclic anchor a", "cyclic anchor a"]
    assert document.roots[0].string("d", "c") == ""
    assert document.roots[0].get("d") == document.roots[0].get("a")


def test_merge_keys_that_explode_are_cut() -> None:
    lines = ["b0: &b0 {" + ", ".join(f"k{i}: v" for i in range(500)) + "}"]
    lines += [f"c{i}: {{<<: [{', '.join(['*b0'] * 20)}]}}" for i in range(200)]
    document = yaml.parse(Source("x", "\n".join(lines).encode(), "yaml"))
    assert any("expands too far" in what for _, what in document.errors)


def test_terraform_names_that_multiply_are_cut() -> None:
    big = ", ".join(f'"v{i}"' for i in range(3000))
    text = f"locals {{\n  a = [{big}]\n}}\n" + "\n".join(f"x{i} = local.a" for i in range(3000))
    document = hcl.parse(Source("x.tf", text.encode(), "hcl"))
    assert sum(1 for _ in walk(document.roots[0])) < 60_000


def test_a_variable_that_refers_to_itself_ends() -> None:
    document = hcl.parse(Source("x.tf", b'locals {\n a = "${local.b}"\n b = "${local.a}"\n}\nc = local.a\n', "hcl"))
    assert document.roots[0].get("c") is not None


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_depth_is_cut_with_an_entry(kind: str) -> None:
    document = PARSERS[kind](Source("x", b"[" * 100_000, kind))
    assert any("deeper" in what or "not YAML" in what for _, what in document.errors)


def test_long_numbers_and_escapes_are_only_text() -> None:
    data = b'{"a": ' + b"9" * 100_000 + b', "b": "\\ud800\\udfff\\u0000"}'
    document = json.parse(Source("x", data, "json"))
    document.roots[0].string("b").encode()
    assert not document.errors
