"""Texts of a file that are sent to a model: where they stand, and the expressions they are made of.

In: a parsed file. Out: `Prompt` rows: message contents, prompt arguments, variables and settings whose name says prompt, and prompt
files. It does not follow a variable to its use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from afterguard.code.document import scalars
from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, Module, statements, walk
from afterguard.scan.check import Context
from afterguard.scan.recognise import fold

_NAME = re.compile(r"prompt|instruction|system_?message|persona|few_?shot|preamble|system_?text", re.IGNORECASE)
_KEYS = {
    "content",
    "prompt",
    "system",
    "instructions",
    "systeminstruction",
    "systemprompt",
    "preamble",
    "template",
    "systemmessage",
}
_CALLS = ("systemmessage", "humanmessage", "fromtemplate", "prompttemplate", "frommessages", "usermessage")
_FILE = re.compile(
    r"(?:^|/)(?:prompts?|instructions|personas?)(?:/|[\w.-]*\.(?:md|txt|prompt|j2|jinja2?|yaml|yml|json)$)|\.prompt$|system[_-]?prompt[\w.-]*\.(?:md|txt)$",
    re.IGNORECASE,
)


class Prompt(NamedTuple):
    """A text for a model: first and last physical line, and its expression where it stands in code."""

    line: int
    end_line: int
    expr: Expr | None
    text: str = ""


def prompts(parsed: Parsed, context: Context) -> list[Prompt]:
    """The prompts of a file, in order."""
    return context.kept(parsed, "prompts", lambda: _prompts(parsed))


def _prompts(parsed: Parsed) -> list[Prompt]:
    if parsed.module is not None:
        return list(_in_code(parsed))
    whole = bool(_FILE.search(parsed.source.path))
    if parsed.document is not None:
        out = []
        for root in parsed.document.roots:
            for path, node in scalars(root):
                named = bool(path) and (fold(path[-1]) in _KEYS or bool(_NAME.search(path[-1])))
                if node.kind == "text" and (named or whole) and len(node.text) > 15:
                    out.append(Prompt(node.line, node.line + node.text.count("\n") + 1, None, node.text))
        return out
    if whole and parsed.source.kind == "text":
        text = parsed.source.data.decode("utf-8", "replace")
        return [Prompt(1, text.count("\n") + 1, None, text)]
    return []


def _in_code(parsed: Parsed) -> Iterator[Prompt]:
    assert parsed.module is not None
    given = _given(parsed.module)
    for _, statement in statements(parsed.module):
        value = statement.value
        if value is None:
            continue
        named = statement.kind == "assign" and any(
            _NAME.search(target) or target in given for target in statement.targets
        )
        if named and value.kind in ("text", "join", "list", "map"):
            yield _prompt(value)
        for one in walk(value):
            for key, field in one.fields:
                if fold(key) in _KEYS and field.kind in ("text", "join"):
                    if (
                        one.kind == "map"
                        and fold(key) == "content"
                        and not any(k.lower() == "role" for k, _ in one.fields)
                    ):
                        continue
                    yield _prompt(field)
            if one.kind == "call" and fold(one.text).rsplit(".", 1)[-1] in _CALLS:
                for part in one.parts:
                    if part.kind in ("text", "join", "list"):
                        yield _prompt(part)


def _given(module: Module) -> frozenset[str]:
    """Names handed over as a prompt or the content of a message, whatever they are called."""
    out: set[str] = set()
    for _, statement in statements(module):
        for one in walk(statement.value) if statement.value is not None else ():
            message = one.kind != "map" or any(key.lower() == "role" for key, _ in one.fields)
            out |= {
                field.text
                for key, field in one.fields
                if fold(key) in _KEYS and field.kind == "name" and (message or fold(key) != "content")
            }
    return frozenset(out)


def _prompt(expr: Expr) -> Prompt:
    pieces = list(walk(expr))
    last = max(max(one.end_line, one.line + (one.text.count("\n") if one.kind == "text" else 0)) for one in pieces)
    text = "\n".join(one.text for one in pieces if one.kind == "text")
    return Prompt(expr.line, last, expr, text)
