"""YAML text -> plain values, with the line of each.

In: text of a policy, JSON included. Out: `Read`: the values and a line for every path into them. Scalars mean what they mean in YAML 1.2
(`no` and `on` are words, not booleans); anchors, aliases, tags, merge keys and repeated keys are refused. Depth, size and number of
values are capped, and nothing is constructed but maps, lists and scalars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import yaml

from afterguard.errors import UsageError

Path = tuple[str | int, ...]
SIZE_CAP = 1 << 20
DEPTH_CAP = 40
VALUES_CAP = 50_000
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})$")
FLOAT = re.compile(
    r"[-+]?((0|[1-9][0-9]{0,30})?\.[0-9]{1,30}([eE][-+]?[0-9]{1,3})?|(0|[1-9][0-9]{0,30})(\.[0-9]{0,30})?[eE][-+]?[0-9]{1,3})$"
)
WORDS: dict[str, Any] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Read(NamedTuple):
    """Values as written; `lines` has the 1-based line of every key and element."""

    value: Any
    lines: dict[Path, int]


def scalar(text: str) -> Any:
    """What an unquoted scalar means."""
    if text in WORDS:
        return WORDS[text]
    if INTEGER.match(text):
        return int(text)
    if FLOAT.match(text):
        return float(text)
    return text


def bad(name: str, line: int, what: str, hint: str) -> NoReturn:
    """Say where a policy is wrong and what to write instead."""
    raise UsageError(f"{name}:{line}: {what}" if line else f"{name}: {what}", hint=hint, slug="bad-policy")


def read(text: str, name: str = "policy") -> Read:
    """Values and lines of a text. Raises UsageError with the line."""
    if len(text) > SIZE_CAP:
        bad(name, 0, f"larger than {SIZE_CAP} characters", "split it into policies with a scope each")
    return _Builder(name).build(text)


class _Open:
    """A map or list that is being read."""

    __slots__ = ("key", "path", "value")

    def __init__(self, value: Any, path: Path) -> None:
        self.value, self.path = value, path
        self.key: str | None = None


class _Builder:
    """Parser events to values, with an explicit stack."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Path, int] = {(): 1}
        self.stack: list[_Open] = []
        self.root: Any = None
        self.count = self.documents = 0

    def build(self, text: str) -> Read:
        try:
            for event in _events(text):
                self.take(event, event.start_mark.line + 1)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            bad(
                self.name,
                mark.line + 1 if mark is not None else 0,
                f"not YAML: {getattr(error, 'problem', None) or 'a character that YAML does not allow'}",
                "mind indentation and colons; quote a text that holds : or #",
            )
        except (ValueError, RecursionError) as error:
            bad(self.name, 0, f"not YAML: {type(error).__name__}", "save it as UTF-8 text")
        return Read(self.root, self.lines)

    def take(self, event: Any, line: int) -> None:
        kind = type(event).__name__
        self.count += 1
        if self.count > VALUES_CAP:
            bad(self.name, line, f"more than {VALUES_CAP} values", "split it into policies with a scope each")
        if kind == "AliasEvent" or getattr(event, "anchor", None):
            bad(self.name, line, "anchors and aliases are not read", "write the value out")
        if kind == "DocumentStartEvent":
            self.documents += 1
            if self.documents > 1:
                bad(self.name, line, "a second document begins", "one policy a file")
        elif kind == "ScalarEvent":
            if event.tag not in (None, "!"):
                bad(self.name, line, "tags are not read", "leave the tag out")
            plain = event.style is None or event.style == ""
            self.add(scalar(event.value) if plain else event.value, line, event.value)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            if len(self.stack) >= DEPTH_CAP:
                bad(self.name, line, f"nested deeper than {DEPTH_CAP}", "write it flatter")
            if event.tag not in (None, "!"):
                bad(self.name, line, "tags are not read", "leave the tag out")
            value: Any = {} if kind[0] == "M" else []
            self.stack.append(_Open(value, self.add(value, line, None)))
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self.stack.pop()

    def add(self, value: Any, line: int, word: str | None) -> Path:
        """Put a value in its place; its path."""
        if not self.stack:
            self.root = value
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            path: Path = (*top.path, len(top.value))
            top.value.append(value)
            self.lines[path] = line
            return path
        if top.key is None:
            self.open_key(top, line, word)
            return ()
        path = (*top.path, top.key)
        top.value[top.key] = value
        top.key = None
        return path

    def open_key(self, top: _Open, line: int, word: str | None) -> None:
        if word is None or word == "<<":
            bad(self.name, line, "a key must be a word", "write key: value")
        if word in top.value:
            bad(self.name, line, f"{word!r} stands here twice", "keep one of them")
        top.key = word
        self.lines[(*top.path, word)] = line


def _events(text: str) -> Iterator[Any]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()
