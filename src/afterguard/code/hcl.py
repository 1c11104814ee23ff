"""HCL (Terraform, Packer, Nomad) with lines; variable defaults and locals of the same file put in.

In: a Source. Out: a Document whose root is a map of blocks: `resource "aws_x" "y" {}` is resource -> aws_x -> y -> body.
A here-document has "|" as tag: its text starts on the line
after its node's. An expression that is no literal keeps its text and is unresolved; `jsonencode(x)` and its like are x itself. With
`variables` of the files beside it, `parse` resolves those too. Nothing is evaluated beyond names.
"""

from __future__ import annotations

import re
from itertools import islice

import tree_sitter
import tree_sitter_hcl

from afterguard.code.document import Document, Node, walk
from afterguard.code.json import read as read_json
from afterguard.code.scalar import MAX_DEPTH, MAX_NODES, Errors, decode, note, plain, quoted
from afterguard.model import Source

_LANGUAGE = tree_sitter.Language(tree_sitter_hcl.language())
_THROUGH = {
    "jsonencode",
    "yamlencode",
    "tomap",
    "toset",
    "tolist",
    "tostring",
    "sensitive",
    "nonsensitive",
    "trimspace",
}
_REFERENCE = re.compile(r"((?:var|local)\.[A-Za-z_][\w-]{0,100})((?:\.[A-Za-z_][\w-]{0,100}){0,6})\Z")
_INSERT = re.compile(r"\$\{\s*((?:var|local)\.[A-Za-z_][\w-]{0,100})\s*\}")
_MAX_TEXT = 65_536
_MAX_ADDED = 20_000
_MAX_FILE = 1 << 20
_DEPTH = MAX_DEPTH // 2
Values = dict[str, Node]


def parse(source: Source, variables: Values | None = None) -> Document:
    """The blocks with a line on every node. `variables` maps "var.x" to a node. Never raises."""
    errors: Errors = []
    text = decode(source.data, errors)
    if len(text) > _MAX_FILE:
        note(errors, text.count("\n", 0, _MAX_FILE) + 1, f"longer than {_MAX_FILE} characters; the rest was not read")
        text = text[:_MAX_FILE]
    tree = tree_sitter.Parser(_LANGUAGE).parse(text.encode())
    reader = _Reader(errors)
    _broken(tree.root_node, errors)
    body = next((child for child in tree.root_node.children if child.type in ("body", "object")), None)
    root = reader.body(body, 1, 0) if body is not None else Node("map", 1)
    values = {**defaults(root), **(variables or {})}
    if source.path.endswith(".tfvars"):
        values = variables or {}
    return Document(source.path, "hcl", (_Resolver(values).tree(root) if values else root,), tuple(errors))


def defaults(root: Node) -> Values:
    """The defaults of variables and the locals of a parsed file: "var.name" and "local.name" to their nodes."""
    out: Values = {}
    for key, block in root.fields:
        if key.text == "variable":
            for name, body in block.fields:
                default = body.get("default")
                if default is not None and default.kind != "null":
                    out[f"var.{name.text}"] = default
        elif key.text == "locals":
            out.update((f"local.{name.text}", value) for name, value in block.fields)
    return out


class _Reader:
    """Syntax nodes become `Node`s, bounded in number and depth."""

    def __init__(self, errors: Errors) -> None:
        self.errors = errors
        self.count = 0

    def full(self, line: int, depth: int) -> bool:
        self.count += 1
        if self.count > MAX_NODES // 4 or depth > _DEPTH:
            if self.count == MAX_NODES // 4 + 1 or depth == _DEPTH + 1:
                note(self.errors, line, "too deep or too many values; the rest was not read")
            return True
        return False

    def body(self, node: tree_sitter.Node, line: int, depth: int) -> Node:
        fields: list[tuple[Node, Node]] = []
        for child in node.children:
            at = child.start_point[0] + 1
            if self.full(at, depth):
                break
            if child.type == "attribute" and len(child.children) >= 3:
                name = _text(child.children[0])
                fields.append((Node("text", at, name), self.value(child.children[2], depth + 1)))
            elif child.type == "block":
                fields.append(self.block(child, at, depth))
        return Node("map", line, fields=tuple(fields))

    def block(self, node: tree_sitter.Node, line: int, depth: int) -> tuple[Node, Node]:
        labels = [_text(c).strip('"') for c in node.children if c.type in ("identifier", "string_lit")][:6]
        inner = next((c for c in node.children if c.type == "body"), None)
        value = self.body(inner, line, depth + 1) if inner is not None else Node("map", line)
        for label in reversed(labels[1:]):
            value = Node("map", line, fields=((Node("text", line, label), value),))
        return Node("text", line, labels[0] if labels else ""), value

    def value(self, node: tree_sitter.Node, depth: int) -> Node:
        line = node.start_point[0] + 1
        while (
            node.type in ("expression", "literal_value", "collection_value", "template_expr") and node.child_count == 1
        ):
            node = node.children[0]
        if self.full(line, depth):
            return Node("null", line, resolved=False)
        if node.type == "tuple":
            return Node(
                "list", line, items=tuple(self.value(c, depth + 1) for c in node.children if c.type == "expression")
            )
        if node.type == "object":
            return self.object(node, line, depth)
        if node.type in ("numeric_lit", "bool_lit", "null_lit"):
            return plain(_text(node), line)
        if node.type in ("string_lit", "quoted_template"):
            return quoted(_unescape(_text(node)[1:-1]), line)
        if node.type == "heredoc_template":
            return _here_document(node, line)
        if node.type == "function_call":
            return self.call(node, line, depth)
        return Node("text", line, _text(node), resolved=False, tag="expression")

    def object(self, node: tree_sitter.Node, line: int, depth: int) -> Node:
        fields = []
        for child in node.children:
            key, value = child.child_by_field_name("key"), child.child_by_field_name("val")
            if child.type == "object_elem" and key is not None and value is not None:
                name = _text(key).strip().strip('"()')
                fields.append((Node("text", child.start_point[0] + 1, name), self.value(value, depth + 1)))
        return Node("map", line, fields=tuple(fields))

    def call(self, node: tree_sitter.Node, line: int, depth: int) -> Node:
        name = _text(node.children[0]) if node.children else ""
        holder = next((c for c in node.children if c.type == "function_arguments"), None)
        given = [c for c in holder.children if c.type == "expression"] if holder is not None else []
        if name in _THROUGH and len(given) == 1:
            return self.value(given[0], depth + 1)
        if name in ("merge", "concat", "flatten", "compact", "coalesce", "try"):
            items = tuple(self.value(c, depth + 1) for c in given)
            return Node("list", line, items=items, resolved=False, tag=name)
        return Node("text", line, _text(node), resolved=False, tag="expression")


def _here_document(node: tree_sitter.Node, line: int) -> Node:
    """The lines between the markers. A JSON body (a policy, a container definition) is read as what it says."""
    body = _text(node).split("\n", 1)[-1].rpartition("\n")[0]
    if body.lstrip()[:1] in ("{", "["):
        errors: Errors = []
        roots = read_json(body, errors, line + 1)
        if len(roots) == 1 and not errors:
            return roots[0]
    return quoted(body, line, "|")


def _text(node: tree_sitter.Node) -> str:
    return (node.text or b"")[:_MAX_TEXT].decode("utf-8", "replace")


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t", "r": "\r"}.get(m[1], m[1]), text)


def _broken(root: tree_sitter.Node, errors: Errors) -> None:
    """Note the lines that are not HCL."""
    if not root.has_error:
        return
    stack = [root]
    seen = 0
    while stack and seen < 100_000:
        node = stack.pop()
        seen += 1
        if node.is_error or node.is_missing:
            note(errors, node.start_point[0] + 1, "not HCL")
        elif node.has_error:
            stack.extend(reversed(node.children))


class _Resolver:
    """Puts names in. A name is followed a few times only, and what a name adds in all is bounded, so a circle ends."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.budget = _MAX_ADDED
        self.sizes: dict[str, int] = {}

    def tree(self, node: Node) -> Node:
        if node.kind == "map":
            fields = tuple((key, self.tree(value)) for key, value in node.fields)
            return Node("map", node.line, fields=fields, resolved=node.resolved, tag=node.tag)
        if node.kind == "list":
            items = tuple(self.tree(item) for item in node.items)
            return Node("list", node.line, items=items, resolved=node.resolved, tag=node.tag)
        return node if node.resolved else self.scalar(node)

    def scalar(self, node: Node) -> Node:
        for _ in range(4):
            named = _REFERENCE.match(node.text) if node.tag == "expression" else None
            if named:
                found = self.values.get(named[1])
                if found is not None and named[2]:
                    found = found.get(*named[2][1:].split("."))
                if found is None:
                    break
                if found.kind in ("map", "list"):
                    return self.large(node, found)
                node = Node(found.kind, node.line, found.text, resolved=found.resolved, tag=found.tag)
            elif node.tag != "expression" and "${" in node.text:
                text = _INSERT.sub(lambda m: _inserted(m, self.values), node.text)[:_MAX_TEXT]
                if text == node.text:
                    break
                node = quoted(text, node.line)
            if node.resolved:
                break
        return node

    def large(self, node: Node, found: Node) -> Node:
        """A map or list by name, as long as the copies stay within the budget."""
        if node.text not in self.sizes:
            self.sizes[node.text] = sum(1 for _ in islice(walk(found), _MAX_ADDED + 1))
        self.budget -= self.sizes[node.text]
        return found if self.budget >= 0 else node


def _inserted(found: re.Match[str], values: Values) -> str:
    value = values.get(found[1])
    if value is None or value.kind in ("map", "list", "null") or value.tag == "expression":
        return found[0]
    return value.text[:1024]
