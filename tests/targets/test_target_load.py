"""Target files that are wrong: each gets a sentence with the place and what to write, and nothing of it turns up later as a reply that cannot be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.errors import UsageError
from afterguard.targets.load import load

HEAD = "format: afterguard.target/1\nname: desk\nurl: https://h.example/ask\n"
TEMPLATE = HEAD + "kind: template\ntemplate:\n  body: {q: '{{prompt}}'}\n"


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("", "no map", "begin with"), ("[1]", "no map", "begin with"), ("a: [", "T.yaml:2: not YAML", "indentation"),
        ("name: x\n", "T.yaml:1: the target has no url", "add url: ..."), (HEAD + "kindd: openai\n", "T.yaml:4: no such key: kindd", "did you mean 'kind'?"),
        (HEAD + "knows:\n  purpose: x\n  canary: []\n", "T.yaml:6", "did you mean 'canaries'?"), (HEAD + "timeout: soon\n", "T.yaml:4", "docs"),
        (HEAD + "timeout: 0\n", "T.yaml:4", "docs"), (HEAD + "timeout: 1e9\n", "T.yaml:4", "docs"), (HEAD + "limits:\n  requests: -1\n", "T.yaml:5", "docs"),
        (HEAD + "limits: {per_second: .nan}\n", "T.yaml:4", "docs"), (HEAD + "kind: carrier-pigeon\n", "T.yaml:4", "docs"),
        (HEAD + "headers: {authorization: 'Bearer ${MY_TOKEN}'}\n", "T.yaml:4: MY_TOKEN is not set", "export MY_TOKEN"),
        (HEAD + "headers: {'a b': c}\n", "header 'a b'", "letters"), (HEAD + "headers: {a: '${BROKEN}'}\n", "header 'a'", "one line"),
        (HEAD + "kind: template\n", "needs a template", "{{prompt}}"), (HEAD + "kind: mcp\n", "belong together", "tool"),
        (TEMPLATE.replace("prompt", "promt"), "nothing is called {{promt}}", "{{prompt}}"), (TEMPLATE.replace("{{prompt}}", "x"), "no place for the prompt", "{{prompt}}"),
        (TEMPLATE + "  reply: answer\n", "template.reply: 'answer' is no path", ".answer"), (TEMPLATE + "  stream: .a[x]\n", "template.stream", "as"),
        (TEMPLATE + "  form: true\n  body: 5\n".replace("  body: 5\n", "") + "guarded: nowhere\n", "guarded is no address", "https"),
        (TEMPLATE.replace("{q: '{{prompt}}'}", "{q: {a: '{{prompt}}'}}") + "  form: true\n", "flat", "JSON"),
        (TEMPLATE + "open: {url: 'https://other.example/x'}\n", "another host", "/session"), (TEMPLATE + "open: {url: /x, take: id}\n", "open.take", "as"),
        (HEAD.replace("https://h.example/ask", "ftp://h/x"), "url is no address", "https"), (HEAD.replace("https", "h ttps"), "url is no address", "https"),
        (HEAD.replace("h.example", "u:p@h.example"), "url is no address", "https"), (HEAD.replace("h.example", "[::1"), "url is no address", "https"),
        (TEMPLATE.replace("h.example", "{{conversation}}.example"), "the host is fixed", "path"), (TEMPLATE.replace("kind: template", "kind: websocket"), "WebSocket", "wss"),
        (TEMPLATE.replace("kind: template", "kind: openai"), "a template, but kind openai", "leave the template out"),
        ("a: &a [x]\nb: *a\n", "anchors", "write the value out"), ("x: !!python/object:os.system {}\n", "tags", "leave the tag out"),
        ("a:\n" + "".join(" " * n + "a:\n" for n in range(1, 60)), "nested deeper", "flatter"), ("[" * 100_000, "nested deeper", "flatter"),
        ("x: 1\nx: 2\n", "T.yaml:2: 'x' stands here twice", "keep one"), ("#" * 2_000_000, "larger than a mebibyte", "is it"), ("a: \x00", "not YAML", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, says: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)) as told:
        load(text, "T.yaml", {"BROKEN": "secret-a\nb"})
    assert hint in told.value.hint and told.value.slug == "bad-target" and "secret-a" not in str(told.value)


def test_a_billion_laughs_is_refused() -> None:
    laughs = "a: &a [lol,lol]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)}]\n" for n in range(20)
    )
    with pytest.raises(UsageError, match=r"T\.yaml:1: anchors"):
        load(laughs, "T.yaml", {})


def test_secrets_come_from_the_environment_wherever_something_is_sent() -> None:
    text = (
        TEMPLATE
        + "  query: {key: '${KEY}'}\nheaders: {a: 'x ${KEY}'}\nopen: {url: '/s/${KEY}', body: {k: '${KEY}'}}\nguarded: 'http://127.0.0.1:9/${KEY}'\n"
    )
    found = load(text, "T.yaml", {"KEY": "k1"})
    assert found.template and found.template.query == {"key": "k1"} and found.headers == {"a": "x k1"}
    assert found.open and found.open.url == "/s/k1" and found.open.body == {"k": "k1"} and found.guarded.endswith("/k1")


def test_through_a_door_that_is_not_named() -> None:
    with pytest.raises(UsageError, match="names no door") as told:
        load(HEAD, "T.yaml", {}).through("guarded")
    assert "guarded: URL" in told.value.hint


keys = st.sampled_from(["format", "name", "url", "kind", "template", "body", "query", "reply", "open", "take", "mcp", "tool", "headers", "limits", "requests", "knows", "guarded", "timeout", "x"])  # fmt: skip
leaves = st.sampled_from(["afterguard.target/1", "https://h/", "wss://h/", "template", "websocket", "mcp", "{{prompt}}", "${A}", ".a[0]", "true", "1e999", "-1", ".inf", "''"]) | st.text(max_size=6).map(repr)  # fmt: skip
trees = st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=5).map(lambda d: "{" + ", ".join(f"{k}: {v}" for k, v in d.items()) + "}") | st.lists(inner, max_size=3).map(lambda one: "[" + ", ".join(one) + "]"), max_leaves=15)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        trees,
        trees.map(lambda one: HEAD + f"template: {one}\nopen: {one}\n"),
        trees.map(lambda one: HEAD + one),
    )
)
def test_any_text_is_a_target_or_a_usage_error(text: str) -> None:
    try:
        found: Any = load(text, "T.yaml", {"A": "a"})
    except UsageError as error:
        assert error.hint and error.slug == "bad-target"
    else:
        assert found.host


def test_the_command_says_where_it_would_speak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from afterguard.cli.run import run

    file = tmp_path / "T.yaml"
    file.write_text(HEAD + "guarded: http://guard.example:8080/ask\n")
    for more, host in (([], "to h.example"), (["--through", "guarded"], "to guard.example")):
        assert run(["attack", str(file), "--dry-run", *more]) == 0
        assert host in capsys.readouterr().err
    file.write_text(HEAD)
    assert run(["attack", str(file), "--dry-run", "--through", "guarded"]) == 2
    assert "guarded: URL" in capsys.readouterr().err
