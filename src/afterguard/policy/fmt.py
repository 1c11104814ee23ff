"""One way to write a policy: key order, indentation, quotes and blank lines are decided here; comments stay.

In: text of a policy. Out: text with the same values. Formatting twice changes nothing. A comment line stays above the key or element
it stood above, a comment behind a value stays behind its key; comments inside a value that is written on one line move above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from afterguard.policy.document import KINDS, keys_of
from afterguard.policy.read import Path, bad, read, scalar

WIDTH = 110
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
PLAIN = re.compile(r"[A-Za-z0-9_./$(][^\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]*$")
UNSAFE = re.compile(r": |:$| #|^[-?:] ")
UNSAFE_INSIDE = re.compile(r"[\[\]{},?:]")
BLANK_ABOVE = {
    ("rules",),
    ("tests",),
    ("rules", "*"),
    ("tests", "*"),
    ("routes",),
    ("tools",),
    ("canaries",),
    ("limits",),
}


def fmt(text: str, name: str = "policy") -> str:
    """The canonical text. Raises UsageError where it cannot be read."""
    whole = read(text, name)
    comments = _Comments(text, whole.lines)
    writer = _Writer(comments)
    writer.put(whole.value, (), 0)
    out = "\n".join([*writer.out, *comments.rest()]).strip("\n") + "\n"
    again = read(out, name)
    if msgspec.json.encode(again.value, order="sorted") != msgspec.json.encode(whole.value, order="sorted"):
        bad(name, 0, "formatting would change what it says", "leave it as it is, and report this")
    return out


class _Comments:
    """Comments by the path they belong to; each is given out once."""

    def __init__(self, text: str, lines: dict[Path, int]) -> None:
        first: dict[int, Path] = {}
        for path, number in lines.items():
            if path and number not in first:
                first[number] = path
        self.above: dict[Path, list[str]] = {}
        self.behind: dict[Path, str] = {}
        self.tail: list[str] = []
        waiting: list[str] = []
        for number, whole, comment in _found(text):
            if whole:
                waiting.append(comment)
            for path in [first[number]] if number in first and not whole else []:
                self.above[path], waiting = waiting, []
                if comment:
                    self.behind[path] = comment
                    comment = ""
            if comment and not whole:
                waiting.append(comment)
        self.tail = waiting

    def over(self, path: Path) -> list[str]:
        return self.above.pop(path, [])

    def beside(self, path: Path) -> str:
        found = self.behind.pop(path, "")
        return f"  {found}" if found else ""

    def inside(self, path: Path) -> list[str]:
        """Comments of everything below a path that is written on one line."""
        out = []
        for known in [one for one in self.above if one[: len(path)] == path and one != path]:
            out += self.above.pop(known)
        for known in [one for one in self.behind if one[: len(path)] == path and one != path]:
            out.append(self.behind.pop(known))
        return out

    def rest(self) -> list[str]:
        """What belongs to nothing below it."""
        left = [one for some in self.above.values() for one in some] + list(self.behind.values())
        return left + self.tail


def _found(text: str) -> Iterator[tuple[int, bool, str]]:
    """(1-based line, whether the comment is the whole line, comment or ""), for every line outside texts of several lines."""
    rows = text.split("\n")
    ends: dict[int, int] = {}
    covered: set[int] = set()
    for token in yaml.scan(text, Loader=_LOADER):
        start, end = token.start_mark, token.end_mark
        if isinstance(token, yaml.ScalarToken):
            last = end.line if end.column else end.line - 1
            covered.update(range(start.line + 1, last + 1))
            if end.column:
                ends[end.line] = max(ends.get(end.line, 0), end.column)
            if token.style in ("|", ">"):
                covered.update(range(start.line + 1, last + 1))
                ends[start.line] = len(rows[start.line])
        elif end.line == start.line and end.column > start.column:
            ends[end.line] = max(ends.get(end.line, 0), end.column)
    for index, row in enumerate(rows):
        if index in covered and index not in ends:
            continue
        rest = row[ends.get(index, 0) :].strip()
        comment = rest.rstrip() if rest.startswith("#") else ""
        yield index + 1, bool(comment) and index not in ends, comment


class _Writer:
    """Lines of canonical YAML."""

    def __init__(self, comments: _Comments) -> None:
        self.out: list[str] = []
        self.comments = comments

    def put(self, value: Any, path: Path, depth: int) -> None:
        """A map or list in block style; anything else as the whole document."""
        if isinstance(value, dict) and value:
            for key in _ordered(value, path):
                self.entry(f"{_text(key)}:", value[key], (*path, key), depth)
        elif isinstance(value, list) and value:
            for index, one in enumerate(value):
                self.entry("-", one, (*path, index), depth)
        else:
            self.out.append(_flow(value))

    def entry(self, head: str, value: Any, path: Path, depth: int) -> None:
        """`key: value` or `- value`, with the comments above and behind it."""
        pad = "  " * depth
        known = tuple("*" if index == 1 else one for index, one in enumerate(path))
        over = self.comments.over(path)
        if known in BLANK_ABOVE and self.out and path[1:] not in ((0,),) and self.out[-1] != "":
            self.out.append("")
        line = _flow(value)
        fits = len(pad) + len(head) + len(line) < WIDTH
        if not isinstance(value, (dict, list)) or not value or (fits and _is_small(value, path)):
            over += self.comments.inside(path)
            self.out += [pad + one for one in over]
            if isinstance(value, str) and _is_block(value):
                self.out.append(f"{pad}{head} |{_chomp(value)}{self.comments.beside(path)}".rstrip())
                self.out += [f"{pad}  {one}" if one else "" for one in value.rstrip("\n").split("\n")]
            else:
                self.out.append(f"{pad}{head} {line}{self.comments.beside(path)}")
            return
        self.out += [pad + one for one in over]
        if head == "-" and isinstance(value, dict):
            self.item(value, path, depth)
            return
        self.out.append(f"{pad}{head}{self.comments.beside(path)}")
        self.put(value, path, depth + 1)

    def item(self, value: dict[str, Any], path: Path, depth: int) -> None:
        """A map as an element of a list: its first key stands behind the dash."""
        pad = "  " * depth
        first, *_ = _ordered(value, path)
        self.out += [pad + one for one in self.comments.over((*path, first))]
        beside = self.comments.behind.pop(path, "")
        if beside:
            self.comments.behind.setdefault((*path, first), beside)
        at = len(self.out)
        self.put(value, path, depth + 1)
        while not self.out[at].strip() or self.out[at].lstrip().startswith("#"):
            at += 1
        self.out[at] = f"{pad}- {self.out[at].lstrip()}"


def _ordered(value: dict[str, Any], path: Path) -> list[str]:
    """Keys in the order of their struct, unknown ones last; elsewhere as written, a condition last."""
    pattern = tuple("*" if index == 1 else str(one) for index, one in enumerate(path))
    kind = KINDS.get(pattern)
    if kind is None:
        return sorted(value, key=lambda key: key == "condition")
    order = {key: rank for rank, key in enumerate(dict.fromkeys(_order(keys_of(kind))))}
    return sorted(value, key=lambda key: order.get(key, len(order)))


def _order(keys: list[str]) -> list[str]:
    """As a person reads: what it is, what it says, how it is carried out, and the long parts last."""
    if "format" in keys:
        head = [
            "format",
            "name",
            "app",
            "says",
            "mode",
            "share",
            "on_error",
            "budget",
            "scope",
            "routes",
            "limits",
            "freeze",
        ]
        return [*head, "canaries", "tools", "rules", "tests"]
    if "detection" in keys:
        return ["id", "says", "because", "at", "detection", "action", "stage", *keys]
    if "exchange" in keys:
        return ["name", "at", "facts", "exchange", "expect"]
    return keys


def _is_small(value: Any, path: Path) -> bool:
    """Whether a list or map may stand on one line: lists of scalars, and maps where examples and routes are described."""
    if isinstance(value, dict):
        return (path[0] == "tests" and len(path) > 2) or path[0] == "routes"
    return all(not isinstance(one, (dict, list)) for one in value) or (path[0] == "tests" and len(path) > 3)


def _flow(value: Any, inside: bool = False) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key, True)}: {_flow(one, True)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(one, True) for one in value) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value, inside) if isinstance(value, str) else repr(value)


def _is_block(value: str) -> bool:
    """Whether a text of several lines can be written as it is."""
    lines = value.rstrip("\n").split("\n")
    return (
        len(lines) > 1
        and value[:1] not in (" ", "\n", "\t")
        and len(value) - len(value.rstrip("\n")) <= 1
        and all(one == "" or (one.isprintable() and one == one.rstrip() and one[:1] != "\t") for one in lines)
    )


def _chomp(value: str) -> str:
    return "" if value.endswith("\n") else "-"


def _text(value: str, inside: bool = False) -> str:
    """A text unquoted where that means the same, else in double quotes; `inside` a list or map on one line, commas count."""
    is_plain = PLAIN.match(value) and not UNSAFE.search(value) and not (inside and UNSAFE_INSIDE.search(value))
    if is_plain and value == value.strip() and isinstance(scalar(value), str):
        return value
    quoted = msgspec.json.encode(value.encode("utf-8", "replace").decode()).decode()
    return "".join(c if c.isprintable() or c == " " else _escape(c) for c in quoted)


def _escape(c: str) -> str:
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
