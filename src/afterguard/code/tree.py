"""What the tree-sitter front ends share: parsing with caps, a stack for statements, a depth cap for expressions.

In: bytes and a grammar. Out: a TreeBuilder that a language fills in and that gives the Module. A minified file, one too
large and nesting deeper than `DEPTH` end in `errors`, never in an exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module

from tree_sitter import Language, Node, Parser, Tree

from afterguard.code.expression import joined
from afterguard.code.syntax import Class, Expr, Function, Import, Module, Param, Statement
from afterguard.model import Source

_STRAY = re.compile(rb"=>(?=\s{0,80}(?:[;,)\]}=]|$))")
MAX_BYTES = 512_000
"""The rest is not parsed: the grammars take at most about two seconds a megabyte, whatever is in it."""
DEPTH = 100


@cache
def parser(module: str, language: str = "language") -> Parser:
    """The parser of a grammar wheel."""
    return Parser(Language(getattr(import_module(module), language)()))


def tree_of(data: bytes, chosen: Parser) -> Tree | None:
    """The syntax tree, None when the parser took more steps than any program of that size needs."""
    budget = 2_000 + len(data) // 8

    def over(_offset: int, _error: bool) -> bool:
        nonlocal budget
        budget -= 1
        return budget < 0

    try:
        return chosen.parse(lambda offset, _point: data[offset : offset + 65_536], progress_callback=over)
    except ValueError:
        chosen.reset()
        return None


def without_stray_arrows(data: bytes, language: str) -> bytes:
    """`=>` taken out where it cannot stand, if there are many: on them the Java grammar takes a gigabyte for six kilobytes
    and the JavaScript grammar quadratic time. The length stays the same."""
    if language == "java":
        return data.replace(b"=>", b"  ") if data.count(b"=>") > 60 else data
    stray = _STRAY.findall(data) if language in ("javascript", "typescript") else []
    return _STRAY.sub(b"  ", data) if len(stray) > 60 else data


def is_minified(data: bytes) -> bool:
    """Whether a file was written by a machine: long lines throughout, or one enormous line."""
    return len(data) > 20_000 and len(data) > 500 * (data.count(b"\n") + 1)


class TreeBuilder:
    """Collects one module from a syntax tree. Theory: `flatten` keeps a stack of nodes; a language's `statement` turns one node
    into statements and gives back the nodes to go on with; functions found on the way are queued with their name."""

    language = ""
    limit = MAX_BYTES

    def __init__(self, source: Source) -> None:
        self.path = source.path
        self.data = source.data
        self.errors: list[tuple[int, str]] = []
        self.imports: list[Import] = []
        self.functions: list[Function] = []
        self.classes: list[Class] = []
        self.scope: dict[str, str] = {}
        self.queue: list[tuple[str, Node, dict[str, str]]] = []
        self.depth = 0
        self.cut = False
        self.prefix = ""
        self.callee = ""

    def build(self, chosen: Parser) -> Module:
        """Parse and collect."""
        data = self.data
        lines = data.count(b"\n") + 1
        if is_minified(data):
            return Module(self.path, self.language, errors=((1, "minified or generated; not read"),))
        if len(data) > self.limit:
            self.errors.append((lines, f"only the first {self.limit} bytes were parsed"))
            data = data[: self.limit]
        if b"\0" in data:
            data = data.replace(b"\0", b" ")
        self.data = data
        found = tree_of(without_stray_arrows(data, self.language), chosen)
        if found is None:
            return Module(self.path, self.language, errors=((1, "took too many steps to parse; not read"),))
        self.note_errors(found.root_node)
        body: list[Statement] = []
        self.flatten([found.root_node], body, "")
        while self.queue:
            name, node, scope = self.queue.pop()
            self.scope = scope
            self.function(name, node)
        if self.cut:
            self.errors.append((1, f"nested deeper than {DEPTH} levels; the inside was not read"))
        self.functions.sort(key=lambda one: one.line)
        return Module(
            self.path,
            self.language,
            tuple(self.imports),
            (Function("", 1, lines, body=tuple(body)), *self.functions),
            tuple(self.classes),
            tuple(self.errors),
        )

    def note_errors(self, root: Node) -> None:
        """List up to twenty places the parser skipped."""
        stack = [root] if root.has_error else []
        while stack and len(self.errors) < 20:
            node = stack.pop()
            if node.is_error or node.is_missing:
                self.errors.append((self.line(node), "syntax: this part was not understood"))
                continue
            stack.extend(child for child in reversed(node.children) if child.has_error)

    def flatten(self, nodes: list[Node], out: list[Statement], prefix: str) -> None:
        """Append the statements of `nodes` to `out` in source order."""
        before, self.prefix = self.prefix, prefix
        stack = list(reversed(nodes))
        while stack:
            node = stack.pop()
            stack.extend(reversed(self.statement(node, out)))
        self.prefix = before

    def statement(self, node: Node, out: list[Statement]) -> list[Node]:
        """Turn one node into statements; returns the nodes inside it to go on with."""
        raise NotImplementedError

    def function(self, name: str, node: Node) -> None:
        """Add one queued function."""
        raise NotImplementedError

    def convert(self, node: Node) -> Expr:
        """One expression, depth already checked."""
        raise NotImplementedError

    def expr(self, node: Node | None) -> Expr:
        """One expression, to the depth cap."""
        if node is None:
            return Expr("none", 0)
        if self.depth >= DEPTH:
            self.cut = True
            return Expr("other", self.line(node))
        self.depth += 1
        try:
            return self.convert(node)
        finally:
            self.depth -= 1

    def text(self, node: Node | None) -> str:
        return self.data[node.start_byte : node.end_byte].decode("utf-8", "replace") if node is not None else ""

    def line(self, node: Node) -> int:
        return node.start_point[0] + 1

    def end(self, node: Node) -> int:
        return node.end_point[0] + 1

    def later(self, name: str, node: Node) -> str:
        """Queue a function found here; returns its qualified name."""
        full = f"{self.prefix}.{name}" if self.prefix else name
        self.queue.append((full, node, self.scope))
        return full

    def add_function(
        self,
        name: str,
        node: Node,
        params: tuple[Param, ...],
        body: list[Node],
        decorators: tuple[Expr, ...] = (),
        value: Node | None = None,
    ) -> None:
        """Add a function with a block body, or one that is a single expression `value`."""
        statements: list[Statement] = []
        taken = {one.name for one in params} & self.scope.keys()
        if taken:
            self.scope = {key: text for key, text in self.scope.items() if key not in taken}
        if value is not None:
            self.prefix = name
            statements.append(Statement("return", self.line(value), self.expr(value)))
        self.flatten(body, statements, name)
        doc = self.doc(node)
        self.functions.append(
            Function(name, self.line(node), self.end(node), params, tuple(statements), decorators, doc[0], doc[1])
        )

    def doc(self, node: Node) -> tuple[str, int]:
        """The documentation comment before a node, with its line."""
        before = node.prev_named_sibling
        if before is None or "comment" not in before.type:
            return "", 0
        text = self.text(before)[:20_000]
        if not text.startswith("/**") and not text.startswith("//"):
            return "", 0
        lines = [one.strip().lstrip("/*").rstrip("*/").strip() for one in text.split("\n")]
        return "\n".join(one for one in lines if one), self.line(before)

    def flat_join(self, node: Node, left: str, right: str, is_plus: Callable[[Node], bool]) -> Expr:
        """A chain of + read from the left without recursion."""
        parts: list[Node] = []
        one: Node | None = node
        while one is not None and one.type == node.type and is_plus(one):
            right_node = one.child_by_field_name(right)
            if right_node is not None:
                parts.append(right_node)
            one = one.child_by_field_name(left)
        if one is not None:
            parts.append(one)
        return joined(tuple(self.expr(part) for part in reversed(parts)), self.line(node), self.end(node))
