"""TOML with lines, and as much of a broken file as can be read.

In: a Source. Out: a Document; tables and dotted keys become nested maps, arrays of tables lists of maps. A line that is not
TOML is an error entry and reading goes on at the next. tests/code/test_toml.py holds it to the standard library's reader.
"""

from __future__ import annotations

import re

from afterguard.code.document import Document, Node
from afterguard.code.scalar import MAX_DEPTH, MAX_NODES, Errors, clean, decode, note, plain, quoted
from afterguard.model import Source

_TOKEN = re.compile(
    r"[ \t\r]*+(?:(?P<comment>\#[^\n]*+)|(?P<newline>\n)"
    r'|(?P<multi>"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}|\'\'\'(?:[^\']|\'(?!\'\'))*+\'{3,5})'
    r'|(?P<string>"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|\'[^\'\n]*+\')'
    r"|(?P<mark>[\[\]{},.=])|(?P<word>[^\s\[\]{},=\#\"'.]++)|(?P<odd>\S)|(?P<gap>\s|\Z))",
    re.S,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|\s*\n\s*|.)", re.S)
_LETTERS = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}
Token = tuple[str, str, int]


class _Table:
    """A table being built: children by name, in order. `rows` holds the tables of an array of tables."""

    __slots__ = ("children", "line", "rows")

    def __init__(self, line: int) -> None:
        self.line = line
        self.children: dict[str, tuple[Node, Node | _Table]] = {}
        self.rows: list[_Table] | None = None

    def below(self, name: str, line: int) -> _Table | None:
        """The table `name`, made when absent, its last row when it is an array; None when a value stands there."""
        found = self.children.get(name)
        if found is None:
            table = _Table(line)
            self.children[name] = (Node("text", line, name), table)
            return table
        child = found[1]
        if isinstance(child, Node):
            return None
        return child.rows[-1] if child.rows else child


class _Reader:
    def __init__(self, text: str, errors: Errors) -> None:
        self.errors = errors
        self.tokens = _tokens(text, errors)
        self.at = 0
        self.top = _Table(1)

    def peek(self) -> Token:
        return (
            self.tokens[self.at]
            if self.at < len(self.tokens)
            else ("end", "", self.tokens[-1][2] if self.tokens else 1)
        )

    def document(self) -> Node:
        here: _Table | None = self.top
        while self.at < len(self.tokens):
            kind, word, line = self.peek()
            if kind == "newline":
                self.at += 1
            elif word == "[" and kind == "mark":
                here = self._header(line)
            elif not self._pair(here, line):
                note(self.errors, line, "not TOML")
                self._skip_line()
        return _freeze(self.top)

    def _skip_line(self) -> None:
        while self.at < len(self.tokens) and self.tokens[self.at][0] != "newline":
            self.at += 1

    def _header(self, line: int) -> _Table | None:
        start = self.at
        self.at += 1
        double = self.peek()[1] == "[" and self.peek()[0] == "mark"
        self.at += double
        names = self._key()
        if not names or self.peek()[1] != "]" or len(names) > MAX_DEPTH // 2:
            self.at = start
            note(self.errors, line, "not a table header")
            self._skip_line()
            return None
        self._skip_line()
        table: _Table | None = self.top
        for name in names[:-1]:
            table = table.below(name, line) if table is not None else None
        if table is None:
            note(self.errors, line, "a table where a value stands")
            return None
        return self._row(table, names[-1], line) if double else table.below(names[-1], line)

    def _row(self, table: _Table, name: str, line: int) -> _Table | None:
        """A new row of an array of tables."""
        holder = table.children.get(name)
        if holder is None:
            made = _Table(line)
            made.rows = []
            table.children[name] = (Node("text", line, name), made)
            holder = table.children[name]
        child = holder[1]
        if isinstance(child, Node) or child.rows is None:
            note(self.errors, line, "a table where a value stands")
            return None
        child.rows.append(_Table(line))
        return child.rows[-1]

    def _key(self) -> list[str]:
        names: list[str] = []
        while self.at < len(self.tokens):
            kind, word, _ = self.tokens[self.at]
            if kind not in ("word", "string"):
                return []
            names.append(_text(word) if kind == "string" else word)
            self.at += 1
            if self.peek()[:2] != ("mark", "."):
                return names
            self.at += 1
        return []

    def _pair(self, table: _Table | None, line: int) -> bool:
        names = self._key()
        if not names or self.peek()[:2] != ("mark", "=") or len(names) > MAX_DEPTH // 2:
            return False
        self.at += 1
        value = self._value()
        if value is None:
            return False
        for name in names[:-1]:
            table = table.below(name, line) if table is not None else None
        if table is not None:
            table.children[names[-1]] = (Node("text", line, names[-1]), value)
        return True

    def _value(self) -> Node | _Table | None:
        """A value from the current token on, with an explicit stack of open arrays and inline tables."""
        stack: list[tuple[str, list[Node], _Table, list[str]]] = []
        while self.at < len(self.tokens):
            kind, word, line = self.tokens[self.at]
            done: Node | _Table | None = None
            if kind == "mark" and word in "[{":
                if len(stack) >= MAX_DEPTH // 2:
                    note(self.errors, line, f"nested deeper than {MAX_DEPTH // 2}")
                    return None
                stack.append((word, [], _Table(line), []))
                self.at += 1
                continue
            if kind == "newline" or (kind == "mark" and word == ","):
                if not stack:
                    return None
                self.at += 1
                continue
            if kind == "mark" and word in "]}":
                if not stack or (stack[-1][0] == "[") is not (word == "]"):
                    return None
                opened, items, table, _ = stack.pop()
                done = Node("list", table.line, items=tuple(items)) if opened == "[" else table
                self.at += 1
            elif stack and stack[-1][0] == "{" and not stack[-1][3]:
                names = self._key()
                if not names or self.peek()[:2] != ("mark", "="):
                    return None
                stack[-1][3].extend(names[:20])
                self.at += 1
                continue
            elif kind in ("string", "multi", "word"):
                done = self._scalar()
            else:
                return None
            if not stack:
                return done
            _store(stack[-1], done, line)
        note(self.errors, self.peek()[2], "truncated: the file ends inside a value")
        return _rescue(stack)

    def _scalar(self) -> Node:
        kind, word, line = self.tokens[self.at]
        self.at += 1
        if kind != "word":
            return quoted(_text(word), line)
        parts = [word]
        while self.at < len(self.tokens) and self.tokens[self.at][2] == line:
            following = self.tokens[self.at]
            if following[0] != "word" and following[:2] != ("mark", "."):
                break
            parts.append(following[1] if following[0] == "mark" or parts[-1] == "." else " " + following[1])
            self.at += 1
        return plain("".join(parts), line)


def parse(source: Source) -> Document:
    """The document with a line on every node. Never raises."""
    errors: Errors = []
    reader = _Reader(decode(source.data, errors), errors)
    return Document(source.path, "toml", (reader.document(),), tuple(errors))


def _tokens(text: str, errors: Errors) -> list[Token]:
    line = 1
    out: list[Token] = []
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup or ""
        word = found.group(kind)
        if kind not in ("comment", "gap"):
            out.append((kind, word, line))
        if kind in ("newline", "multi"):
            line += word.count("\n")
        if len(out) > MAX_NODES:
            note(errors, line, f"more than {MAX_NODES} tokens; the rest was not read")
            break
    return out


def _store(frame: tuple[str, list[Node], _Table, list[str]], value: Node | _Table | None, line: int) -> None:
    opened, items, table, names = frame
    if value is None:
        return
    if opened == "[":
        items.append(value if isinstance(value, Node) else _freeze(value))
        return
    target: _Table | None = table
    for name in names[:-1]:
        target = target.below(name, line) if target is not None else None
    if target is not None and names:
        target.children[names[-1]] = (Node("text", line, names[-1]), value)
    names.clear()


def _rescue(stack: list[tuple[str, list[Node], _Table, list[str]]]) -> Node | _Table | None:
    value: Node | _Table | None = None
    while stack:
        frame = stack.pop()
        if value is not None and (frame[0] == "[" or frame[3]):
            _store(frame, value, frame[2].line)
        value = Node("list", frame[2].line, items=tuple(frame[1])) if frame[0] == "[" else frame[2]
    return value


def _freeze(table: _Table, depth: int = 0) -> Node:
    if table.rows is not None:
        return Node("list", table.line, items=tuple(_freeze(row, depth + 1) for row in table.rows))
    if depth > MAX_DEPTH:
        return Node("null", table.line, resolved=False)
    fields = tuple(
        (key, value if isinstance(value, Node) else _freeze(value, depth + 1)) for key, value in table.children.values()
    )
    return Node("map", table.line, fields=fields)


def _text(word: str) -> str:
    multi = word[:3] in ('"""', "'''") and len(word) >= 6
    body = word[3:-3] if multi else word[1:-1]
    if multi:
        body = body[2:] if body.startswith("\r\n") else body.removeprefix("\n")
    return clean(_ESCAPE.sub(_unescape, body)) if word[0] == '"' and "\\" in body else body


def _unescape(found: re.Match[str]) -> str:
    word = found[1]
    if word[0] in "uUx" and len(word) > 1:
        code = int(word[1:], 16)
        return chr(code) if code < 0x110000 else "\ufffd"
    return "" if not word.strip() else _LETTERS.get(word, word)
