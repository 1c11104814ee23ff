"""The one shape every structured document is parsed into: YAML, JSON, TOML, HCL, Compose, Helm values, CloudFormation.

A tree of nodes that remember their line. Consumers never see a format, only `Node`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Node(msgspec.Struct, frozen=True, gc=False):
    """A value with its 1-based physical line.

    `kind` is map, list, text, number, bool or null. `text` holds scalars as written (bools as "true"/"false").
    Map keys keep order and may repeat: the last one wins in `get`, all show in `fields`. HCL blocks are maps whose key is
    the block type and whose value is a map of labels: resource "aws_x" "y" {} is resource -> aws_x -> y -> body.
    `resolved` is False for templated or interpolated scalars (${...}, {{ ... }}, !Ref): the text is shown as written.
    """

    kind: str
    line: int
    text: str = ""
    fields: tuple[tuple[Node, Node], ...] = ()
    items: tuple[Node, ...] = ()
    resolved: bool = True
    tag: str = ""

    def get(self, *path: str) -> Node | None:
        """The node at the path of keys, or None."""
        node: Node | None = self
        for key in path:
            if node is None or node.kind != "map":
                return None
            node = next((value for name, value in reversed(node.fields) if name.text == key), None)
        return node

    def string(self, *path: str) -> str:
        """The scalar at the path as text, "" when absent or not a scalar."""
        node = self.get(*path)
        return node.text if node is not None and node.kind not in ("map", "list") else ""


class Document(msgspec.Struct, frozen=True, gc=False):
    """One or more documents of a file, with what could not be read as (line, what)."""

    path: str
    format: str
    roots: tuple[Node, ...]
    errors: tuple[tuple[int, str], ...] = ()


def walk(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every node below with its path of keys (list positions as decimal text), itself first."""
    stack: list[tuple[tuple[str, ...], Node]] = [(path, node)]
    while stack:
        here, one = stack.pop()
        yield here, one
        if one.kind == "map":
            stack.extend(((*here, key.text), value) for key, value in reversed(one.fields))
        elif one.kind == "list":
            stack.extend(((*here, str(i)), value) for i, value in reversed(list(enumerate(one.items))))


def scalars(node: Node) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every scalar below with its path of keys."""
    for here, one in walk(node):
        if one.kind not in ("map", "list"):
            yield here, one


def holders(node: Node) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every map and list below with its path of keys, itself first: `walk` without the scalars, several times faster."""
    stack: list[tuple[tuple[str, ...], Node]] = [((), node)]
    while stack:
        here, one = stack.pop()
        yield here, one
        if one.kind == "map":
            below = [(key.text, value) for key, value in one.fields if value.fields or value.items]
        else:
            below = [(str(i), value) for i, value in enumerate(one.items) if value.fields or value.items]
        stack.extend(((*here, name), value) for name, value in reversed(below))
