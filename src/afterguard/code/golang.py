"""Go -> Module, by the tree-sitter grammar.

In: a Source. Out: a Module. Package names are resolved to import paths: `openai.NewClient` is
`github.com/sashabaranov/go-openai.NewClient`. Struct types are classes whose fields are assigned the name of their type.
Composite literals are maps when they have keys, and calls of their type at the same time are not: the type is in `text`.
"""

from __future__ import annotations

import re

from tree_sitter import Node

from afterguard.code.expression import called, dotted, joined, member
from afterguard.code.syntax import Class, Expr, Import, Module, Param, Statement
from afterguard.code.tree import TreeBuilder, parser
from afterguard.model import Source

_BUILT_IN = {"string", "bool", "byte", "rune", "error", "any", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr", "float32", "float64", "complex64", "complex128", "map", "chan", "func", "interface", "struct"}  # fmt: skip
_BODIES = {"source_file", "block", "statement_list", "expression_case", "default_case", "type_case", "communication_case", "labeled_statement", "const_declaration", "var_declaration", "var_spec_list", "ERROR"}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def parse(source: Source) -> Module:
    """The module of a .go file. Never raises."""
    return Go(source).build(parser("tree_sitter_go"))


class Go(TreeBuilder):
    """Collects one Go file."""

    language = "go"

    def statement(self, node: Node, out: list[Statement]) -> list[Node]:
        kind, line = node.type, self.line(node)
        if kind == "import_declaration":
            self.import_(node)
        elif kind == "function_declaration":
            self.later(self.text(node.child_by_field_name("name")), node)
        elif kind == "method_declaration":
            receiver = node.child_by_field_name("receiver")
            owner = re.sub(r"\[.*", "", self.text(receiver).strip("() ").rpartition(" ")[2].lstrip("*"))
            self.later(f"{owner}.{self.text(node.child_by_field_name('name'))}", node)
        elif kind == "type_declaration":
            for child in node.named_children:
                self.klass(child)
        elif kind in ("const_spec", "var_spec", "short_var_declaration", "assignment_statement"):
            self.assign(node, out)
        elif kind == "return_statement":
            out.extend(Statement("return", line, one) for one in self.listed(_first(node)))
        elif kind in ("expression_statement", "go_statement", "defer_statement", "send_statement", "inc_statement"):
            out.extend(Statement("call", line, self.expr(child)) for child in node.named_children[:2])
        elif kind == "for_statement":
            return self.loop(node, out)
        elif kind in ("if_statement", "expression_switch_statement", "type_switch_statement", "select_statement"):
            return self.branch(node, out)
        elif kind in _BODIES:
            return list(node.named_children)
        return []

    def branch(self, node: Node, out: list[Statement]) -> list[Node]:
        first = [one for one in (node.child_by_field_name("initializer"),) if one is not None]
        tested = node.child_by_field_name("condition") or node.child_by_field_name("value")
        if tested is not None:
            if first:
                self.flatten(first, out, self.prefix)
                first = []
            out.append(Statement("other", self.line(node), self.expr(tested)))
        skipped = {one.id for one in (*first, tested, node.child_by_field_name("initializer")) if one is not None}
        return first + [child for child in node.named_children if child.id not in skipped]

    def loop(self, node: Node, out: list[Statement]) -> list[Node]:
        for child in node.named_children:
            if child.type == "range_clause":
                left = child.child_by_field_name("left")
                names = tuple(dotted(one) for one in self.listed(left)) if left is not None else ()
                out.append(Statement("for", self.line(child), self.expr(child.child_by_field_name("right")), names))
            elif child.type == "for_clause":
                first = child.child_by_field_name("initializer")
                self.flatten([first] if first is not None else [], out, self.prefix)
        body = node.child_by_field_name("body")
        return [body] if body is not None else []

    def import_(self, node: Node) -> None:
        stack = list(reversed(node.named_children))
        while stack:
            one = stack.pop()
            if one.type == "import_spec_list":
                stack.extend(reversed(one.named_children))
            elif one.type == "import_spec":
                path = self.text(one.child_by_field_name("path")).strip('"`')
                alias = self.text(one.child_by_field_name("name")) or package_name(path)
                self.imports.append(Import(path, "", alias, self.line(one)))
                if alias not in (".", "_"):
                    self.scope[alias] = path

    def klass(self, node: Node) -> None:
        name = self.text(node.child_by_field_name("name"))
        held = node.child_by_field_name("type")
        if not name or held is None:
            return
        body: list[Statement] = []
        stack = list(held.named_children) if held.type == "struct_type" else []
        for one in stack:
            for field in one.named_children:
                kind = self.type_of(field.child_by_field_name("type"))
                for named in field.children_by_field_name("name"):
                    if "." in kind or (kind.isidentifier() and kind not in _BUILT_IN):
                        line = self.line(field)
                        body.append(Statement("assign", line, Expr("name", line, kind), (self.text(named),)))
        self.classes.append(
            Class(name, self.line(node), self.end(node), (), (), tuple(body), self.doc(node.parent or node)[0])
        )

    def type_of(self, node: Node | None) -> str:
        text = re.sub(r"\[.*?\]", "", self.text(node)[:300]).lstrip("*&. ")
        head, dot, rest = text.partition(".")
        return self.scope.get(head, head) + dot + rest if dot else head

    def assign(self, node: Node, out: list[Statement]) -> None:
        line = self.line(node)
        left, right = (
            node.child_by_field_name("left"),
            node.child_by_field_name("right") or node.child_by_field_name("value"),
        )
        names = (
            [self.text(one) for one in node.children_by_field_name("name")]
            if left is None
            else [dotted(one).replace("[]", ".*") for one in self.listed(left)]
        )
        values = self.listed(right)
        if not values:
            kind = self.type_of(node.child_by_field_name("type"))
            if "." in kind and names:
                out.append(Statement("assign", line, Expr("name", line, kind), tuple(names)))
            return
        operator = node.child_by_field_name("operator")
        if operator is not None and operator.type == "+=":
            values = [Expr("join", line, parts=(Expr("name", line, names[0]), values[0]))]
        if len(values) == len(names):
            out.extend(Statement("assign", line, value, (name,)) for name, value in zip(names, values))
        else:
            out.append(Statement("assign", line, values[0], tuple(names)))

    def listed(self, node: Node | None) -> list[Expr]:
        if node is None:
            return []
        return [self.expr(one) for one in node.named_children] if node.type == "expression_list" else [self.expr(node)]

    def function(self, name: str, node: Node) -> None:
        params: list[Param] = []
        for field in ("receiver", "parameters"):
            held = node.child_by_field_name(field)
            for one in held.named_children if held is not None else ():
                kind = self.type_of(one.child_by_field_name("type"))
                params.extend(Param(self.text(named), kind) for named in one.children_by_field_name("name"))
        body = node.child_by_field_name("body")
        self.add_function(name, node, tuple(params), [body] if body is not None else [])

    def convert(self, node: Node) -> Expr:
        kind, line, end = node.type, self.line(node), self.end(node)
        if kind in ("identifier", "field_identifier", "package_identifier", "type_identifier", "blank_identifier"):
            name = self.text(node)
            return Expr("name", line, self.scope.get(name, name))
        if kind in ("interpreted_string_literal", "raw_string_literal"):
            return Expr("text", line, self.literal(node), end_line=end)
        if kind in ("int_literal", "float_literal", "imaginary_literal", "rune_literal"):
            return Expr("number", line, self.text(node)[:60])
        if kind in ("true", "false"):
            return Expr("bool", line, kind)
        if kind == "nil":
            return Expr("none", line)
        if kind in ("selector_expression", "qualified_type"):
            base = self.expr(node.child_by_field_name("operand") or node.named_child(0))
            return member(base, self.text(node.child_by_field_name("field") or node.named_children[-1]), line, end)
        if kind == "call_expression":
            return self.call(node, line, end)
        if kind == "composite_literal":
            return self.composite(
                node.child_by_field_name("body"), line, self.type_of(node.child_by_field_name("type"))
            )
        if kind == "literal_value":
            return self.composite(node, line, "")
        return self.rare(node, line, end)

    def rare(self, node: Node, line: int, end: int) -> Expr:
        kind = node.type
        if (
            kind
            in (
                "parenthesized_expression",
                "literal_element",
                "unary_expression",
                "type_assertion_expression",
                "variadic_argument",
            )
            and node.named_children
        ):
            return self.expr(node.child_by_field_name("operand") or node.named_children[0])
        if kind == "index_expression":
            base = self.expr(node.child_by_field_name("operand"))
            return Expr("index", line, dotted(base), (base, self.expr(node.child_by_field_name("index"))), end_line=end)
        if kind == "binary_expression" and self.is_plus(node):
            return self.flat_join(node, "left", "right", self.is_plus)
        if kind == "func_literal":
            return Expr("lambda", line, self.later(f"{self.callee or 'func'}@{line}", node), end_line=end)
        if kind in ("comment", "block") or kind.endswith("_type"):
            return Expr("other", line)
        return Expr(
            "other",
            line,
            parts=tuple(self.expr(one) for one in node.named_children if one.type != "comment"),
            end_line=end,
        )

    def composite(self, node: Node | None, line: int, kind: str) -> Expr:
        fields: list[tuple[str, Expr]] = []
        parts: list[Expr] = []
        for child in node.named_children if node is not None else ():
            if child.type == "keyed_element" and child.named_child_count > 1:
                key, value = child.named_children[0], child.named_children[1]
                first = key.named_children[0] if key.named_children else key
                name = self.literal(first) if first.type.endswith("string_literal") else self.text(key)[:100]
                fields.append((name, self.expr(value)))
            elif child.type != "comment":
                parts.append(self.expr(child))
        if parts and not fields:
            return Expr("list", line, kind, tuple(parts), end_line=self.end(node) if node is not None else line)
        return Expr(
            "map", line, kind, tuple(parts), tuple(fields), end_line=self.end(node) if node is not None else line
        )

    def call(self, node: Node, line: int, end: int) -> Expr:
        callee = self.expr(node.child_by_field_name("function"))
        name = dotted(callee)
        before, self.callee = self.callee, name.rpartition(".")[2].rstrip("()")
        held = node.child_by_field_name("arguments")
        parts = (
            tuple(self.expr(one) for one in held.named_children if one.type != "comment") if held is not None else ()
        )
        self.callee = before
        if name in ("fmt.Sprintf", "fmt.Sprint", "fmt.Sprintln", "strings.Join", "fmt.Errorf"):
            return joined(parts, line, end)
        if name in ("string", "[]byte") and len(parts) == 1:
            return parts[0]
        return called(callee, parts, (), line, end)

    def is_plus(self, node: Node) -> bool:
        operator = node.child_by_field_name("operator")
        return operator is not None and operator.type == "+"

    def literal(self, node: Node) -> str:
        out: list[str] = []
        for child in node.named_children:
            text = self.text(child)
            out.append(_ESCAPES.get(text[1:2], text[1:]) if child.type == "escape_sequence" else text)
        return "".join(out)


def package_name(path: str) -> str:
    """The name a Go package most likely has: the last part of its path without version and `go-`."""
    parts = [part for part in path.split("/") if part]
    if len(parts) > 1 and re.fullmatch(r"v\d+", parts[-1]):
        parts.pop()
    last = re.sub(r"\.v\d+$", "", parts[-1]) if parts else ""
    return re.sub(r"^go-|-go$|\.go$", "", last).replace("-", "")


def _first(node: Node) -> Node | None:
    """The first named child, None for a bare `return`."""
    return node.named_child(0) if node.named_child_count else None
