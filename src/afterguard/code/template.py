"""Templates inside YAML: Helm, Jinja and workflow expressions, made readable without running them.

In: text with `{{ ... }}`, `${{ ... }}`, `{% ... %}`. Out: text of the same lines that a YAML parser takes, with each
expression replaced by a mark that `Hidden.show` turns back. `render` fills in `.Values` names. It evaluates no condition:
both branches of an if are read.
"""

from __future__ import annotations

import re
from json import dumps

from afterguard.code.document import Document, Node

_EXPRESSION = re.compile(
    r"\$?\{\{[^{}]{0,2000}+(?:\{[^{}]{0,500}+\}[^{}]{0,500}+){0,5}\}\}|\{%[^%]{0,2000}+%\}|\{#[^#]{0,2000}+#\}"
)
_CONTROL = re.compile(
    r"\{%|\{#|\{\{-?\s*(?:/\*|if\b|else\b|end\b|range\b|with\b|define\b|block\b|template\b|include\b|toYaml\b|tpl\b|fail\b"
    r"|required\b|\$[\w.]*\s*:?=|-?\s*\}\}|\.\s*\||[^{}]*\bn?indent\b)"
)
_MARK = re.compile("\ue000(\\d{1,7})\ue001")
_VALUES = re.compile(r"\{\{([^{}\n]{1,1000}+)\}\}")
_PATH = re.compile(r"(?<![\w.])(?:\$|\.)?\.Values((?:\.[A-Za-z_][\w-]*){1,20})")
_DEFAULT_AFTER = re.compile(r"\|\s*default\s+(\"[^\"]*\"|'[^']*'|[\w.+-]+)")
_DEFAULT_BEFORE = re.compile(r"^default\s+(\"[^\"]*\"|'[^']*'|[\w.+-]+)\s")


class Hidden:
    """A text with its expressions taken out, and what they were."""

    def __init__(self, text: str, expressions: list[str]) -> None:
        self.text, self.expressions = text, expressions

    def has(self, scalar: str) -> bool:
        """Whether a scalar of the hidden text holds an expression."""
        return "\ue000" in scalar

    def show(self, scalar: str) -> str:
        """The scalar as it was written."""
        return _MARK.sub(self._shown, scalar)

    def _shown(self, found: re.Match[str]) -> str:
        number = int(found[1])
        return self.expressions[number] if number < len(self.expressions) else found[0]


def is_template(text: str) -> bool:
    """Whether the text holds template expressions."""
    return "{{" in text or "{%" in text


def hide(text: str, whole_lines: bool = False) -> Hidden:
    """Take the expressions out. With `whole_lines` a line that is nothing but an expression is emptied as well."""
    expressions: list[str] = []

    def mark(found: re.Match[str]) -> str:
        word = found[0]
        breaks = "\n" * word.count("\n")
        before = text[max(0, found.start() - 200) : found.start()].rpartition("\n")[2]
        after = text[found.end() : found.end() + 200].partition("\n")[0]
        alone = not before.strip() and not after.strip()
        if _CONTROL.match(word) and (alone or word.startswith(("{%", "{#")) or not _is_value(word)):
            return breaks
        if alone and whole_lines:
            return breaks
        expressions.append(word)
        return f"\ue000{len(expressions) - 1}\ue001{breaks}"

    return Hidden(_EXPRESSION.sub(mark, text.replace("\ue000", " ")), expressions)


def _is_value(word: str) -> bool:
    return re.match(r"\{\{-?\s*(?:/\*|if\b|else\b|end\b|range\b|with\b|define\b|block\b|\$[\w.]*\s*:?=)", word) is None


def render(template: bytes, values: Document) -> bytes:
    """The template with every plain `.Values.a.b` replaced by its value; what is not known stays as it was.

    Lines keep their numbers. `default`, `quote` and a `toYaml` that stands alone are understood, conditions are not.
    """
    text = template.decode("utf-8", "replace")
    roots = values.roots
    if not roots or ".Values." not in text:
        return template
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if ".Values." in line and "{{" in line:
            lines[number] = _filled(line, roots[0], lines, number)
    return "\n".join(lines).encode()


def _filled(line: str, values: Node, lines: list[str], number: int) -> str:
    return _VALUES.sub(lambda found: _value(found, values, lines, number), line)


def _value(found: re.Match[str], values: Node, lines: list[str], number: int) -> str:
    expression = found[1].strip("- \t")
    if ".Values." not in expression:
        return found[0]
    path = _PATH.search(expression)
    if path is None or re.match(r"(if|else|with|range|eq|and|or|not|include|tpl|define)\b", expression):
        return found[0]
    node = values.get(*path[1][1:].split("."))
    if "toYaml" in expression:
        alone = lines[number].strip() == found[0]
        return dumps(_plain(node)) if node is not None and alone and _stands_under_key(lines, number) else found[0]
    if node is not None and node.kind in ("map", "list"):
        return found[0]
    text = node.text if node is not None and node.kind != "null" else ""
    if not text:
        default = _DEFAULT_AFTER.search(expression) or _DEFAULT_BEFORE.match(expression)
        text = default[1].strip("\"'") if default else ""
    if not text or "\n" in text:
        return found[0]
    return dumps(text) if re.search(r"\|\s*s?quote\b", expression) else text


def _stands_under_key(lines: list[str], number: int) -> bool:
    """Whether a line is the only thing below the key above it, so that a flow value can stand in its place."""
    above = next((line for line in reversed(lines[max(0, number - 5) : number]) if line.strip()), "")
    below = next((line for line in lines[number + 1 : number + 6] if line.strip() and "{{" not in line), "")
    depth = len(above) - len(above.lstrip())
    mine = len(lines[number]) - len(lines[number].lstrip())
    return above.rstrip().endswith(":") and mine > depth >= len(below) - len(below.lstrip())


def _plain(node: Node | None, depth: int = 0) -> object:
    if node is None or depth > 20:
        return None
    if node.kind == "map":
        return {key.text: _plain(value, depth + 1) for key, value in node.fields}
    if node.kind == "list":
        return [_plain(item, depth + 1) for item in node.items]
    return True if node.text == "true" else False if node.text == "false" and node.kind == "bool" else node.text
