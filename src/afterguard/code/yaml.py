"""YAML with lines: many documents, anchors and merge keys with caps, custom tags, templates neutralised.

In: a Source. Out: a Document; a broken document gives what was read before the break, and reading goes on at the next
`---`. A block scalar has its style, "|" or ">", as tag: its text starts on the line after its node's. Built from parser events with an explicit stack: no object is ever constructed, no depth exhausts the stack, an alias
is shared (and counted as if it were copied), a cyclic or exploding one becomes an unresolved null with an error entry.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import yaml

from afterguard.code.document import Document, Node
from afterguard.code.scalar import MAX_DEPTH, MAX_NODES, Errors, decode, note, plain, quoted
from afterguard.code.template import Hidden, hide, is_template
from afterguard.model import Source

MAX_ALIASED = 100_000
"""Nodes that aliases and merge keys of one file may add, counted as if they were copied."""
MAX_RESTARTS = 50
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NEXT = re.compile(r"^---(?=\s)", re.M)
_BREAK = re.compile("\n")
_REFERENCES = {"!Ref", "!Sub", "!GetAtt", "!ImportValue", "!FindInMap", "!Join", "!If", "!Select", "!reference", "!env"}


def parse(source: Source) -> Document:
    """The document with a line on every node. Never raises."""
    errors: Errors = []
    text = decode(source.data, errors)
    roots = read(text, errors)
    return Document(source.path, "yaml", roots, tuple(errors))


def read(text: str, errors: Errors) -> tuple[Node, ...]:
    """The documents of a YAML text, templates shown as written; problems are appended to `errors`."""
    if not is_template(text):
        return _Builder(errors, None).read(text)
    first: Errors = []
    hidden = hide(text)
    roots = _Builder(first, hidden).read(hidden.text)
    if first:
        strict: Errors = []
        harder = hide(text, whole_lines=True)
        again = _Builder(strict, harder).read(harder.text)
        if len(strict) < len(first) or (len(strict) == len(first) and strict[0][0] > first[0][0]):
            roots, first = again, strict
    errors.extend(first)
    return roots


class _Frame:
    __slots__ = ("anchor", "fields", "height", "items", "key", "line", "map", "merges", "tag", "weight")

    def __init__(self, line: int, is_map: bool, anchor: str | None, tag: str) -> None:
        self.line, self.map, self.anchor, self.tag = line, is_map, anchor, tag
        self.fields: list[tuple[Node, Node]] = []
        self.items: list[Node] = []
        self.merges: list[Node] = []
        self.key: Node | None = None
        self.weight = 1
        self.height = 0


class _Builder:
    """Events of one text become nodes. `weights` holds, for an anchor, its node, its size and its height."""

    def __init__(self, errors: Errors, hidden: Hidden | None) -> None:
        self.errors, self.hidden = errors, hidden
        self.roots: list[Node] = []
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        self.count = 0
        self.aliased = 0
        self.offset = 0

    def read(self, text: str) -> tuple[Node, ...]:
        start = 0
        begins: list[int] = []
        for _ in range(MAX_RESTARTS):
            failed = self._attempt(text[start:] if start else text)
            if failed is None or self.count > MAX_NODES:
                break
            begins = begins or [0, *(found.end() for found in _BREAK.finditer(text))]
            following = _NEXT.search(text, max(start + 3, begins[min(failed, len(begins)) - 1]))
            if following is None:
                break
            start = following.start()
            self.offset = bisect_right(begins, start) - 1
        return tuple(self.roots)

    def _attempt(self, text: str) -> int | None:
        """Read as far as it goes; the line of the break, None when the text was read to its end."""
        self.stack, self.anchors = [], {}
        line = self.offset + 1
        try:
            for event in _events(text):
                line = event.start_mark.line + 1 + self.offset
                if not self._take(event, line):
                    break
            else:
                return None
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 + self.offset if mark is not None else line
            note(self.errors, line, str(getattr(error, "problem", None) or "not YAML"))
        except (RecursionError, ValueError) as error:
            note(self.errors, line, f"not YAML: {type(error).__name__}")
        while self.stack:
            self._close()
        return line

    def _take(self, event: Any, line: int) -> bool:
        """Use one event; False stops the reading of this document."""
        kind = type(event).__name__
        if kind == "ScalarEvent":
            node = self._scalar(event, line)
            if event.anchor:
                self.anchors[event.anchor] = (node, 1, 0)
            self._add(node, 1, 0)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            if len(self.stack) >= MAX_DEPTH:
                note(self.errors, line, f"nested deeper than {MAX_DEPTH}")
                return False
            frame = _Frame(line, kind[0] == "M", event.anchor, _tag(event.tag))
            if event.anchor:
                self.anchors.pop(event.anchor, None)
            self.stack.append(frame)
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self._close()
        elif kind == "AliasEvent":
            self._alias(event.anchor, line)
        elif kind == "DocumentStartEvent":
            self.anchors = {}
        self.count += 1
        if self.count > MAX_NODES:
            note(self.errors, line, f"more than {MAX_NODES} values; the rest was not read")
            return False
        return True

    def _scalar(self, event: Any, line: int) -> Node:
        text, tag = event.value, _tag(event.tag)
        hidden = self.hidden
        if hidden is not None and hidden.has(text):
            return Node("text", line, hidden.show(text), resolved=False, tag=tag)
        if event.style in ("|", ">") and not tag:
            return quoted(text, line, event.style)
        if event.style or tag:
            node = quoted(text, line, tag)
            if tag in _REFERENCES or tag.startswith("!Fn::"):
                return Node("text", line, text, resolved=tag == "!Sub" and node.resolved, tag=tag)
            return node
        return plain(text, line)

    def _alias(self, name: str, line: int) -> None:
        node, weight, height = self.anchors.get(name, (None, 0, 0))
        if node is None:
            cyclic = any(frame.anchor == name for frame in self.stack)
            note(self.errors, line, f"cyclic anchor {name[:60]}" if cyclic else f"unknown anchor {name[:60]}")
        elif self.aliased + weight > MAX_ALIASED or len(self.stack) + height >= MAX_DEPTH:
            note(self.errors, line, f"alias {name[:60]} expands too far")
        else:
            self.aliased += weight
            self._add(node, weight, height)
            return
        self._add(Node("null", line, f"*{name[:60]}", resolved=False), 1, 0)

    def _add(self, node: Node, weight: int, height: int) -> None:
        if not self.stack:
            self.roots.append(node)
            return
        frame = self.stack[-1]
        frame.weight += weight
        frame.height = max(frame.height, height + 1)
        if not frame.map:
            frame.items.append(node)
        elif frame.key is None:
            frame.key = node if node.kind == "text" or node.kind in ("map", "list") else _as_key(node)
        elif frame.key.text == "<<":
            frame.merges.append(node)
            frame.key = None
        else:
            frame.fields.append((frame.key, node))
            frame.key = None

    def _close(self) -> None:
        frame = self.stack.pop()
        resolved = frame.tag not in _REFERENCES
        if frame.map:
            if frame.key is not None:
                frame.fields.append((frame.key, Node("null", frame.key.line)))
            fields = tuple(frame.fields) if not frame.merges else tuple(_merged(frame))
            node = Node("map", frame.line, fields=fields, resolved=resolved, tag=frame.tag)
        else:
            node = Node("list", frame.line, items=tuple(frame.items), resolved=resolved, tag=frame.tag)
        if frame.anchor:
            self.anchors[frame.anchor] = (node, frame.weight, frame.height)
        self._add(node, frame.weight, frame.height)


def _events(text: str) -> Iterator[Any]:
    loader = _LOADER(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _as_key(node: Node) -> Node:
    return Node("text", node.line, node.text, resolved=node.resolved, tag=node.tag)


def _tag(tag: str | None) -> str:
    """A custom tag as written; the standard ones say nothing."""
    return "" if not tag or tag == "!" or tag.startswith("tag:yaml.org") else tag


def _merged(frame: _Frame) -> Iterator[tuple[Node, Node]]:
    """Fields of merge keys first, so that the map's own fields win; of a list the earlier one wins."""
    own = {key.text for key, _ in frame.fields}
    for merge in reversed(frame.merges):
        for one in reversed(merge.items) if merge.kind == "list" else (merge,):
            for key, value in one.fields:
                if key.text not in own:
                    yield key, value
    yield from frame.fields
