"""JSON with lines: comments, trailing commas, JSON5 words and several values in a file are taken; nothing is refused.

In: a Source. Out: a Document; a truncated file gives what was read and an error entry. One pass, no recursion.
"""

from __future__ import annotations

import re
from json.decoder import scanstring  # type: ignore[attr-defined]

from afterguard.code.document import Document, Node
from afterguard.code.scalar import MAX_DEPTH, MAX_NODES, Errors, clean, decode, note, plain, quoted
from afterguard.model import Source

_TOKEN = re.compile(
    r"""[ \t\r,]*+(?:(?P<string>"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+")|(?P<mark>[\[\]{}:\n])|(?P<word>[^\s,:\[\]{}"'/]++)"""
    r"""|(?P<single>'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+')|(?P<comment>//[^\n]*+|/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z))|(?P<odd>\S)|(?P<gap>\s|\Z))"""
)
_WORDS = {"true": "bool", "false": "bool", "null": "null"}


class _Frame:
    """An open object or array. `key` waits for its value; `named` says that a colon followed it."""

    __slots__ = ("fields", "items", "key", "line", "map", "named")

    def __init__(self, line: int, is_map: bool) -> None:
        self.line, self.map = line, is_map
        self.fields: list[tuple[Node, Node]] = []
        self.items: list[Node] = []
        self.key: Node | None = None
        self.named = False

    def add(self, node: Node) -> None:
        if not self.map:
            self.items.append(node)
        elif self.key is None or not self.named:
            self.key, self.named = node, False
        else:
            self.fields.append((self.key, node))
            self.key, self.named = None, False

    def close(self) -> Node:
        if self.map:
            return Node("map", self.line, fields=tuple(self.fields))
        return Node("list", self.line, items=tuple(self.items))


def parse(source: Source) -> Document:
    """The document with a line on every node. Never raises."""
    errors: Errors = []
    roots = read(decode(source.data, errors, keep=True), errors)
    return Document(source.path, "json", roots, tuple(errors))


def read(text: str, errors: Errors, line: int = 1) -> tuple[Node, ...]:
    """The values of a JSON text; problems are appended to `errors`."""
    top = _Frame(line, False)
    stack = [top]
    frame = top
    count = skipped = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        word = token.group(kind or 0)
        if kind == "mark":
            if word == "\n":
                line += 1
            elif word == ":":
                frame.named = True
            elif word in "{[":
                if len(stack) > MAX_DEPTH:
                    skipped += 1
                    continue
                frame = _Frame(line, word == "{")
                stack.append(frame)
                count += 1
            elif skipped:
                skipped -= 1
            elif len(stack) == 1 or frame.map is not (word == "}"):
                note(errors, line, f"unexpected {word}")
            else:
                stack.pop()
                stack[-1].add(frame.close())
                frame = stack[-1]
        elif kind == "comment":
            line += word.count("\n")
        elif kind == "odd":
            note(errors, line, "unterminated string" if word in "\"'" else f"unexpected character {word!r}")
        elif kind != "gap" and not skipped:
            frame.add(_scalar(kind or "", word, line))
            count += 1
            if count > MAX_NODES:
                note(errors, line, f"more than {MAX_NODES} values; the rest was not read")
                break
    return _finish(stack, line, errors, bool(skipped))


def _scalar(kind: str, word: str, line: int) -> Node:
    if kind == "word":
        form = _WORDS.get(word)
        return Node(form, line, word) if form else plain(word, line)
    if "\\" not in word:
        return quoted(word[1:-1], line)
    if kind == "single":
        return quoted(word[1:-1].replace("\\'", "'"), line)
    try:
        return quoted(clean(scanstring(word, 1, False)[0]), line)
    except ValueError:
        return quoted(word[1:-1], line)


def _finish(stack: list[_Frame], line: int, errors: Errors, too_deep: bool) -> tuple[Node, ...]:
    if too_deep or len(stack) > MAX_DEPTH:
        note(errors, line, f"nested deeper than {MAX_DEPTH}")
    if len(stack) > 1:
        note(errors, line, "truncated: the file ends inside an object or array")
    while len(stack) > 1:
        node = stack.pop().close()
        stack[-1].add(node)
    return tuple(stack[0].items)
