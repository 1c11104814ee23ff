"""Printing untrusted text: nothing can steer a terminal, reorder a line, hide, become markup or become a formula."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from afterguard import safe

TEXT = st.text(st.characters(codec=None), max_size=80) | st.lists(
    st.sampled_from(["\x1b[31m", "\x1b]8;;x\x07", "`", "```", "|", "\\", "](", "![", "<b>", "\u202e", "\u200b", "\n", "# ", "- ", "1. ", "=", "@x", "https://e.x", "www.e.x", "&lt;", "\ud800", " "]),
    max_size=14,
).map("".join)  # fmt: skip
ALLOWED = {"paragraph", "text", "code_inline", "inline", "softbreak"}


def kinds(source: str) -> set[str]:
    """Kinds of everything CommonMark sees in a text, HTML and links on."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(source)
    flat = [*tokens, *(child for token in tokens for child in token.children or ())]
    return {re.sub("_(open|close)$", "", token.type) for token in flat}


@given(TEXT)
def test_terminal_text_has_no_control_left(value: str) -> None:
    out = safe.terminal(value)
    assert not safe.UNSEEN.search(out)
    out.encode()


@given(TEXT)
def test_a_line_is_one_line(value: str) -> None:
    out = safe.line(value, 20)
    assert len(out) <= 20 and "\n" not in out and "\r" not in out


@given(TEXT)
def test_visible_text_loses_nothing_unseen(value: str) -> None:
    out = safe.visible(value)
    assert not safe.UNSEEN.search(out)
    assert len(safe.UNSEEN.findall(value)) <= out.count("⟨U+")


@given(TEXT)
def test_markdown_prints_as_it_stands(value: str) -> None:
    out = safe.markdown(value)
    assert kinds(out) <= ALLOWED
    assert "\n" not in out
    table = f"| a | b |\n| --- | --- |\n| {out} | x |"
    assert kinds(table) <= ALLOWED | {"table", "thead", "tbody", "tr", "th", "td"}
    html = MarkdownIt("commonmark").enable("table").render(table)
    assert html.count("<td>") == 2 and "<td>x</td>" in html


@given(TEXT)
def test_a_code_span_holds_everything(value: str) -> None:
    out = safe.code_span(value)
    assert kinds(out) <= {"paragraph", "inline", "code_inline"}


@given(TEXT)
def test_no_cell_is_a_formula(value: str) -> None:
    assert not safe.cell(value).lstrip().startswith(("=", "+", "-", "@"))


def test_examples() -> None:
    assert safe.terminal("\x1b[31mred\x1b[0m \x1b]8;;https://e.x\x07link\x1b]8;;\x07") == "red link"
    assert safe.visible("a\u202eb") == "a⟨U+202E⟩b"
    assert safe.markdown("see https://e.x") == "`see https://e.x`"
    assert safe.markdown("a_b <c> [d](e)") == r"a\_b \<c\> \[d\](e)"
    assert safe.markdown("1. first") == r"1\. first"
    assert safe.markdown("0.1.0") == "0.1.0" and safe.markdown("- x") == r"\- x" and safe.markdown("==") == r"\=="
    assert safe.code_span("a ` b | c") == "``a ` b ¦ c``"
    assert safe.cell("=1+1") == "'=1+1" and safe.cell("plain") == "plain"
    assert safe.encodable("a\udc80") == "a\\udc80"


def test_hiding_text_behind_an_unfinished_escape_does_not_work() -> None:
    assert "rm -rf" in safe.terminal("\x1b]0;rm -rf /")
