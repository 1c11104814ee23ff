"""Running the checks: outcomes, coverage, suppression, fingerprints, and no exception on anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard import names
from afterguard.code.document import Document, Node
from afterguard.code.parse import Parsed, parse
from afterguard.code.syntax import Class, Expr, Function, Import, Module, Param, Statement
from afterguard.model import Finding, Outcome, Source
from afterguard.scan import CHECKS, context_of, examine, gather, run
from afterguard.scan import checks as listed

EVAL = """
from openai import OpenAI

client = OpenAI()


def compute(question):
    reply = client.chat.completions.create(model="m", max_tokens=9, messages=[{"role": "user", "content": question}])
    return eval(reply.choices[0].message.content)
"""


def source(text: str, path: str = "app.py", kind: str = "python") -> Parsed:
    return parse(Source(path, text.encode(), kind, len(text)))


def found(text: str, path: str = "app.py", kind: str = "python") -> list[Finding]:
    return list(run([source(text, path, kind)])[0])


def test_checks_are_described() -> None:
    ids = [check.id for check in CHECKS]
    assert len(set(ids)) == len(ids) >= 25
    for check in CHECKS:
        assert check.id == check.id.lower() and "_" not in check.id
        assert check.title and check.why and check.fix and check.kinds
        assert check.taxonomies and all(names.is_taxonomy(one) for one in check.taxonomies), check.id
        assert any(one.startswith("CWE-") for one in check.taxonomies), check.id


def test_fingerprints_survive_line_moves() -> None:
    before = found(EVAL)
    after = found("# a\n\n\n" + EVAL.replace("    return eval", "    # moved\n    return  eval"))
    assert [one.fingerprint for one in before] == [one.fingerprint for one in after]
    assert before[0].line != after[0].line
    assert all(one.fingerprint.startswith("v1:") and len(one.fingerprint) == 35 for one in before)


def test_fingerprints_tell_equal_lines_apart_and_change_with_the_code() -> None:
    twice = found(EVAL + "    eval(reply.choices[0].message.content)\n    eval(reply.choices[0].message.content)\n")
    assert len({one.fingerprint for one in twice}) == len(twice) == 3
    other = found(EVAL.replace("compute", "calculate"))
    assert {one.fingerprint for one in found(EVAL)}.isdisjoint(one.fingerprint for one in other)
    moved = found(EVAL, path="other.py")
    assert {one.fingerprint for one in found(EVAL)}.isdisjoint(one.fingerprint for one in moved)


@pytest.mark.parametrize(
    ("comment", "kept"),
    [
        ("  # afterguard: ignore[model-output-to-eval] runs in a locked container", []),
        ("  # afterguard: ignore[*] runs in a locked container", []),
        ("  # afterguard: ignore[missing-output-limit] wrong rule", ["model-output-to-eval"]),
        ("  # afterguard: ignore[model-output-to-eval]", ["model-output-to-eval", "suppression-without-reason"]),
    ],
)
def test_suppressions_need_a_reason(comment: str, kept: list[str]) -> None:
    parsed = source(EVAL.replace("message.content)", "message.content)" + comment))
    examined = examine(parsed, context_of([parsed]))
    assert sorted(one.rule for one in examined.findings) == kept
    assert len(examined.suppressed) == (0 if kept else 1)
    assert all(one.fingerprint for one in examined.suppressed)


def test_suppression_on_the_line_above_in_other_comment_styles() -> None:
    for text, path, kind in (
        (
            "ENV A=1\n# afterguard: ignore[unpinned-model] mirrored and scanned nightly\nFROM ollama/ollama:latest\n",
            "Dockerfile",
            "dockerfile",
        ),
        (
            "services:\n  a:\n    image: ollama/ollama:latest # afterguard: ignore[unpinned-model] laboratory only\n",
            "c.yaml",
            "yaml",
        ),
    ):
        parsed = source(text, path, kind)
        examined = examine(parsed, context_of([parsed]))
        assert not examined.findings and len(examined.suppressed) == 1, path
    script = 'import OpenAI from "openai";\nconst c = new OpenAI();\nasync function f() {\n  const r = await c.responses.create({ max_output_tokens: 5 });\n  /* afterguard: ignore[model-output-to-eval] own sandbox */\n  eval(r.output_text);\n}\n'
    parsed = source(script, "a.ts", "typescript")
    assert not examine(parsed, context_of([parsed])).findings


def test_every_check_answers_for_every_file() -> None:
    parsed = [source(EVAL), source("a: 1\n", "a.yaml", "yaml"), source("text", "a.bin", "binary")]
    context = context_of(parsed)
    result = gather(examine(one, context) for one in parsed)
    assert set(result.outcomes) == {check.id for check in CHECKS}
    assert set(result.outcomes.values()) <= {str(one) for one in Outcome}
    assert result.outcomes["model-output-to-eval"] == "hit"
    assert result.outcomes["wildcard-iam"] == "miss"
    assert all(sum(row.values()) == 3 for row in result.by_file.values())


def test_a_check_that_fails_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_parsed: Parsed, _context: object) -> Iterator[Finding]:
        raise RuntimeError("no")
        yield

    first, *rest = listed.PLUGINS
    monkeypatch.setattr("afterguard.scan.examination.PLUGINS", (first._replace(look=broken), *rest))
    parsed = source(EVAL)
    examined = examine(parsed, context_of([parsed]))
    assert examined.outcomes[first.check.id] == "error"
    assert examined.coverage[0].path == "app.py" and first.check.id in examined.coverage[0].detail


def test_bundles_are_left_out_and_said_so() -> None:
    parsed = source("eval(x);" * 20_000, "bundle.js", "javascript")
    examined = examine(parsed, context_of([parsed]))
    assert not examined.findings and examined.coverage[0].reason == "excluded"


def test_snippets_hide_secrets() -> None:
    key = "sk-proj-" + "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA" * 2 + "T3BlbkFJ" + "qW7eR5tY3uI1oP9aS2dF4gH6jK8lZ0xC"
    one = next(
        one
        for one in found(f'from openai import OpenAI\nclient = OpenAI(api_key="{key}")\n')
        if one.rule == "hardcoded-secret"
    )
    assert key[:20] not in one.snippet and key[:20] not in one.message
    assert len(one.snippet) <= 200


NAMES = st.sampled_from(
    ["a", "reply", "self.x", "openai.OpenAI", "client.chat.completions.create", "eval", "os.system", "subprocess.run", "open",
     "db.execute", "tool", "app.post", "messages", "x.y[].z", "useState", "", "..", "role", "content", "description", "command"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=12), st.sampled_from(["system", "/chat", "npx", "*", "-y", "a/b", "true", "You are a {input}"])
)
KINDS = st.sampled_from(
    ["name", "text", "number", "bool", "none", "call", "join", "list", "map", "index", "lambda", "other"]
)


def _node(
    kind: str, text: str, parts: list[Expr], fields: list[tuple[str, Expr]], base: Expr | None, line: int
) -> Expr:
    return Expr(kind, line, text, tuple(parts), tuple(fields), base, line)


EXPRESSIONS = st.recursive(
    st.builds(Expr, KINDS, st.integers(0, 30), NAMES),
    lambda inner: st.builds(
        _node,
        KINDS,
        NAMES | TEXTS,
        st.lists(inner, max_size=3),
        st.lists(st.tuples(NAMES, inner), max_size=3),
        st.none() | inner,
        st.integers(0, 30),
    ),
    max_leaves=12,
)
STATEMENTS = st.builds(
    Statement,
    st.sampled_from(["assign", "call", "return", "other", "for"]),
    st.integers(0, 30),
    st.none() | EXPRESSIONS,
    st.lists(NAMES, max_size=2).map(tuple),
)
FUNCTIONS = st.builds(
    Function,
    NAMES,
    st.integers(0, 30),
    st.integers(0, 30),
    st.lists(st.builds(Param, NAMES, NAMES), max_size=2).map(tuple),
    st.lists(STATEMENTS, max_size=4).map(tuple),
    st.lists(EXPRESSIONS, max_size=1).map(tuple),
    TEXTS,
    st.integers(0, 30),
)
MODULES = st.builds(
    Module,
    st.sampled_from(["a.py", "app/api/chat/route.ts"]),
    st.just("python"),
    st.lists(st.builds(Import, NAMES, NAMES, NAMES, st.integers(0, 9)), max_size=2).map(tuple),
    st.lists(FUNCTIONS, max_size=4).map(tuple),
    st.lists(
        st.builds(Class, NAMES, st.integers(0, 9), st.integers(0, 9), st.lists(NAMES, max_size=1).map(tuple)),
        max_size=1,
    ).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(MODULES, st.sampled_from(["python", "typescript", "java", "go", "notebook"]), st.binary(max_size=200))
def test_checks_never_raise_on_any_syntax(module: Module, kind: str, data: bytes) -> None:
    parsed = Parsed(Source(module.path, data, kind, len(data)), module=module)
    context = context_of([parsed])
    examined = examine(parsed, context)
    assert "error" not in examined.outcomes.values(), examined.coverage


KEYS = st.sampled_from(
    ["services", "image", "ports", "mcpServers", "command", "args", "resource", "aws_s3_bucket_acl", "acl", "Statement", "Action",
     "Effect", "apiVersion", "kind", "spec", "type", "Resources", "description", "name", "trust_remote_code", "auto_map", "ingress"]
)  # fmt: skip
SCALARS = st.builds(
    Node,
    st.sampled_from(["text", "number", "bool", "null"]),
    st.integers(0, 20),
    TEXTS
    | KEYS
    | st.sampled_from(
        ["Service", "LoadBalancer", "0.0.0.0/0", "99999999999999999999", "ollama/ollama:latest", "11434:11434"]
    ),
)


def _map(rows: list[tuple[str, Node]]) -> Node:
    return Node("map", 1, fields=tuple((Node("text", 1, key), value) for key, value in rows))


NODES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(st.tuples(KEYS, inner), max_size=4).map(_map),
        st.lists(inner, max_size=3).map(lambda items: Node("list", 1, items=tuple(items))),
    ),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None)
@given(NODES, st.sampled_from(["yaml", "json", "hcl", "toml", "dockerfile", "env", "manifest"]), st.text(max_size=200))
def test_checks_never_raise_on_any_document(root: Node, kind: str, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    parsed = Parsed(Source("a/b." + kind, data, kind, len(data)), document=Document("a", kind, (root,)))
    examined = examine(parsed, context_of([parsed]))
    assert "error" not in examined.outcomes.values(), examined.coverage


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400), st.sampled_from(["csv", "log", "text", "script", "manifest", "binary"]))
def test_checks_never_raise_on_any_text(text: str, kind: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    parsed = Parsed(Source("data/train/requirements.txt", data, kind, len(data)))
    examined = examine(parsed, context_of([parsed]))
    assert "error" not in examined.outcomes.values(), examined.coverage


def test_deep_expressions_and_long_call_chains_are_bounded() -> None:
    deep = Expr("name", 1, "reply")
    for _ in range(3_000):
        deep = Expr("other", 1, parts=(deep,))
    functions = [Function("", 1, 1, body=(Statement("call", 1, Expr("call", 1, "eval", (deep,))),))]
    functions += [
        Function(
            f"f{n}",
            1,
            1,
            (Param("x"),),
            (Statement("return", 1, Expr("call", 1, f"f{n + 1}", (Expr("name", 1, "x"),))),),
        )
        for n in range(2_000)
    ]
    parsed = Parsed(Source("a.py", b"x\n", "python", 2), module=Module("a.py", "python", functions=tuple(functions)))
    assert "error" not in examine(parsed, context_of([parsed])).outcomes.values()
