"""Values of JavaScript and TypeScript: literals, calls, objects, functions as values, JSX.

In: nodes of the tree-sitter grammars. Out: expressions of syntax.py. Statements, classes and imports are in javascript.py.
"""

from __future__ import annotations

from tree_sitter import Node

from afterguard.code.expression import called, dotted, joined, member
from afterguard.code.syntax import Expr, Import
from afterguard.code.tree import TreeBuilder

LAMBDAS = {"arrow_function", "function_expression", "function", "generator_function"}
CLASSES = {"class_declaration", "abstract_class_declaration", "class"}
THROUGH = {
    "await_expression",
    "parenthesized_expression",
    "as_expression",
    "satisfies_expression",
    "non_null_expression",
}
THROUGH |= {
    "type_assertion",
    "spread_element",
    "template_substitution",
    "jsx_expression",
    "expression_statement",
    "instantiation_expression",
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "", "\n": ""}


class Values(TreeBuilder):
    """Expressions of one script."""

    def klass(self, node: Node) -> None:
        """Add a class found inside an expression."""
        raise NotImplementedError

    def required(self, node: Node) -> str:
        """The module that `require("x")`, `await import("x")` or `require("x").default` gives, else ""."""
        for _ in range(4):
            if node.type in THROUGH and node.named_child_count:
                node = node.named_children[0]
            elif node.type == "member_expression" and self.text(node.child_by_field_name("property")) == "default":
                inner = node.child_by_field_name("object")
                if inner is None:
                    return ""
                node = inner
        if node.type != "call_expression":
            return ""
        called_node = node.child_by_field_name("function")
        if called_node is None or called_node.end_byte - called_node.start_byte > 8:
            return ""
        if self.text(called_node) not in ("require", "import"):
            return ""
        arguments = node.child_by_field_name("arguments")
        first = arguments.named_children[0] if arguments is not None and arguments.named_children else None
        return self.literal(first) if first is not None and first.type in ("string", "template_string") else ""

    def named_value(self, node: Node, name: str) -> Expr:
        """A value; a function becomes one of the module under `name`."""
        inner = node
        while inner.type in THROUGH and inner.named_child_count:
            inner = inner.named_children[0]
        if inner.type in LAMBDAS and name:
            return Expr("lambda", self.line(node), self.later(name, inner), end_line=self.end(node))
        return self.expr(node)

    def literal(self, node: Node | None) -> str:
        """The value of a string literal."""
        if node is None:
            return ""
        out: list[str] = []
        for child in node.children:
            if child.type == "escape_sequence":
                out.append(_unescape(self.text(child)))
            elif child.is_named:
                out.append(self.text(child))
        return "".join(out)

    def convert(self, node: Node) -> Expr:
        kind, line, end = node.type, self.line(node), self.end(node)
        if kind in ("identifier", "property_identifier", "shorthand_property_identifier"):
            name = self.text(node)
            return Expr("name", line, self.scope.get(name, name))
        if kind in ("this", "super", "import", "undefined", "type_identifier", "private_property_identifier"):
            return Expr("name", line, self.text(node))
        if kind == "string":
            return Expr("text", line, self.literal(node), end_line=end)
        if kind == "template_string":
            return self.template(node, line, end)
        if kind in ("number", "true", "false", "null", "regex"):
            shape = {"number": "number", "true": "bool", "false": "bool", "null": "none"}.get(kind, "other")
            return Expr(shape, line, self.text(node)[:100] if shape != "other" else "")
        if kind in THROUGH:
            return self.expr(node.named_children[0]) if node.named_children else Expr("other", line)
        if kind in ("member_expression", "nested_identifier", "jsx_namespace_name"):
            base = self.expr(node.child_by_field_name("object") or node.named_child(0))
            return member(base, self.text(node.child_by_field_name("property") or node.named_children[-1]), line, end)
        if kind in ("call_expression", "new_expression"):
            return self.call(node, line, end)
        if kind == "object":
            return Expr("map", line, fields=tuple(self.fields(node)), end_line=end)
        if kind == "array":
            return Expr("list", line, parts=tuple(self.inner(node)), end_line=end)
        if kind in LAMBDAS:
            return self.lambda_(node, line, end)
        return self.rare(node, line, end)

    def rare(self, node: Node, line: int, end: int) -> Expr:
        kind = node.type
        if kind == "subscript_expression":
            base = self.expr(node.child_by_field_name("object"))
            sub = self.expr(node.child_by_field_name("index"))
            return Expr("index", line, dotted(base), (base, sub), end_line=end)
        if kind == "binary_expression" and self.is_plus(node):
            return self.flat_join(node, "left", "right", self.is_plus)
        if kind == "decorator":
            return self.expr(node.named_children[0]) if node.named_children else Expr("other", line)
        if kind in ("jsx_element", "jsx_self_closing_element"):
            return self.element(node, line, end)
        if kind == "assignment_expression":
            return self.expr(node.child_by_field_name("right"))
        if kind in CLASSES:
            self.klass(node)
            return Expr("name", line, self.text(node.child_by_field_name("name")) or "class")
        if kind in ("comment", "jsx_text", "type_annotation", "type_arguments"):
            return Expr("other", line)
        return Expr("other", line, parts=tuple(self.inner(node)), end_line=end)

    def inner(self, node: Node) -> list[Expr]:
        return [self.expr(child) for child in node.named_children if child.type not in ("comment", "jsx_text")]

    def is_plus(self, node: Node) -> bool:
        operator = node.child_by_field_name("operator")
        return operator is not None and operator.type == "+"

    def template(self, node: Node, line: int, end: int) -> Expr:
        parts: list[Expr] = []
        for child in node.named_children:
            if child.type == "template_substitution":
                parts.append(self.expr(child))
            else:
                text = self.text(child)
                parts.append(Expr("text", self.line(child), _unescape(text) if text[:1] == "\\" else text))
        return joined(tuple(parts), line, end) if parts else Expr("text", line, "", end_line=end)

    def call(self, node: Node, line: int, end: int) -> Expr:
        module = self.required(node)
        if module:
            self.imports.append(Import(module, "", "", line, dynamic=True))
            return Expr("name", line, module, end_line=end)
        callee = self.expr(node.child_by_field_name("function") or node.child_by_field_name("constructor"))
        name = dotted(callee)
        before, self.callee = self.callee, name
        arguments = node.child_by_field_name("arguments")
        if arguments is not None and arguments.type == "template_string":
            parts: tuple[Expr, ...] = (self.expr(arguments),)
        else:
            parts = tuple(self.inner(arguments)) if arguments is not None else ()
        self.callee = before
        if name == "import" or name == "require":
            self.imports.append(Import("", "", "", line, dynamic=True))
        if (
            name.endswith((".concat", ".join"))
            and callee.base is not None
            and callee.base.kind in ("text", "join", "list")
        ):
            return joined((callee.base, *parts), line, end)
        return called(callee, parts, (), line, end)

    def lambda_(self, node: Node, line: int, end: int) -> Expr:
        """A function as a value: its own Function when it has a block, else its one expression with "(first parameter)" as text."""
        body = node.child_by_field_name("body")
        if body is not None and body.type != "statement_block":
            return Expr("lambda", line, _first(node), (self.expr(body),), end_line=end)
        name = (
            self.text(node.child_by_field_name("name")) or f"{self.callee.rsplit('/', 1)[-1][:60] or 'lambda'}@{line}"
        )
        return Expr("lambda", line, self.later(name.replace("()", ""), node), end_line=end)

    def fields(self, node: Node) -> list[tuple[str, Expr]]:
        out: list[tuple[str, Expr]] = []
        for child in node.named_children:
            if child.type == "pair":
                key, value = child.child_by_field_name("key"), child.child_by_field_name("value")
                name = "*"
                if key is not None and key.type != "computed_property_name":
                    name = self.literal(key) if key.type == "string" else self.text(key)
                if value is not None:
                    out.append((name, self.named_value(value, name if name.isidentifier() else "")))
            elif child.type == "shorthand_property_identifier":
                out.append((self.text(child), self.expr(child)))
            elif child.type == "method_definition":
                name = self.text(child.child_by_field_name("name"))
                out.append((name, Expr("lambda", self.line(child), self.later(name.strip("[]\"'"), child))))
            elif child.type == "spread_element":
                out.append(("*", self.expr(child)))
        return out

    def element(self, node: Node, line: int, end: int) -> Expr:
        """A JSX element as a call of its tag: attributes are fields, children are parts."""
        head = node.child_by_field_name("open_tag") or node
        name = self.text(head.child_by_field_name("name"))
        fields: list[tuple[str, Expr]] = []
        for child in head.named_children:
            if child.type == "jsx_attribute" and child.named_children:
                value = child.named_children[1] if child.named_child_count > 1 else None
                key = self.text(child.named_children[0])
                fields.append((key, self.named_value(value, "") if value is not None else Expr("bool", line, "true")))
            elif child.type == "jsx_expression":
                fields.append(("*", self.expr(child)))
        wanted = ("jsx_element", "jsx_self_closing_element", "jsx_expression")
        children = tuple(self.expr(one) for one in node.named_children if one.type in wanted and node is not head)
        return Expr("call", line, self.scope.get(name, name), children, tuple(fields), None, end)


def _first(node: Node) -> str:
    """The first parameter's name in brackets, "" where it is none or taken apart."""
    held = node.child_by_field_name("parameter")
    listed = node.child_by_field_name("parameters")
    if held is None and listed is not None and listed.named_children:
        held = listed.named_children[0]
    if held is not None and held.type == "required_parameter":
        held = held.child_by_field_name("pattern")
    if held is None or held.type != "identifier" or held.text is None:
        return ""
    return f"({held.text.decode('utf-8', 'replace')[:60]})"


def _unescape(text: str) -> str:
    if len(text) == 2:
        return _ESCAPES.get(text[1], text[1])
    if text[:2] in ("\\u", "\\x"):
        digits = text[2:].strip("{}")
        try:
            code = int(digits, 16) if len(digits) <= 6 else 0xFFFD
        except ValueError:
            return ""
        return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else "\ufffd"
    return ""
