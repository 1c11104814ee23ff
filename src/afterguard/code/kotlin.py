"""Kotlin -> Module, by the tree-sitter grammar.

In: a Source. Out: a Module. Trailing lambdas are arguments; a block lambda is a function of its own. A property or constructor
parameter without a value is assigned the name of its imported type. It infers no types.
"""

from __future__ import annotations

from tree_sitter import Node

from afterguard.code.expression import called, dotted, joined, member
from afterguard.code.syntax import Class, Expr, Import, Module, Param, Statement
from afterguard.code.tree import TreeBuilder, parser
from afterguard.model import Source

_CLASSES = {"class_declaration", "object_declaration", "companion_object", "interface_declaration"}
_BODIES = {"source_file", "block", "class_body", "enum_class_body", "function_body", "try_expression", "catch_block", "finally_block", "when_entry", "ERROR", "control_structure_body", "statements", "anonymous_initializer", "getter", "setter"}  # fmt: skip
_SKIPPED = {"line_comment", "block_comment", "package_header", "modifiers", "type_alias", "multiline_comment"}
_NAMES = {"identifier", "simple_identifier", "type_identifier"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "$": "$"}


def parse(source: Source) -> Module:
    """The module of a .kt or .kts file. Never raises."""
    return Kotlin(source).build(parser("tree_sitter_kotlin"))


class Kotlin(TreeBuilder):
    """Collects one Kotlin file."""

    language = "kotlin"
    # This grammar takes quadratic time over what is not Kotlin: 64 KB of it two seconds, 380 KB forty.
    limit = 64_000

    def statement(self, node: Node, out: list[Statement]) -> list[Node]:
        kind, line = node.type, self.line(node)
        if kind == "import":
            self.import_(node)
        elif kind in _CLASSES:
            self.klass(node)
        elif kind in ("function_declaration", "secondary_constructor"):
            self.later(self.text(node.child_by_field_name("name")) or "constructor", node)
        elif kind == "property_declaration":
            self.declare(node, out)
        elif kind == "assignment":
            self.assign(node, out)
        elif kind in ("return_expression", "throw_expression"):
            value = self.expr(node.named_children[0]) if node.named_child_count else None
            out.append(Statement("return" if kind == "return_expression" else "other", line, value))
        elif kind == "for_statement":
            children = [one for one in node.named_children if one.type not in _SKIPPED]
            if len(children) > 1:
                out.append(Statement("for", line, self.expr(children[1]), self.bound(children[0])))
            return children[2:]
        elif kind in ("if_expression", "while_statement", "do_while_statement", "when_expression"):
            return self.branch(node, out)
        elif kind in _BODIES:
            return list(node.named_children)
        elif kind not in _SKIPPED and node.is_named and kind not in _NAMES:
            out.append(Statement("call", line, self.expr(node)))
        return []

    def branch(self, node: Node, out: list[Statement]) -> list[Node]:
        children = [one for one in node.named_children if one.type not in _SKIPPED]
        tested = node.child_by_field_name("condition") or (children[0] if children else None)
        if tested is None:
            return []
        if tested.type == "when_subject":
            tested = tested.named_children[-1] if tested.named_children else tested
        if tested.type != "when_entry":
            out.append(Statement("other", self.line(node), self.expr(tested)))
        return [one for one in children if one.start_byte >= tested.end_byte or one.type == "when_entry"]

    def import_(self, node: Node) -> None:
        if not node.named_children:
            return
        text = self.text(node.named_children[0])
        if self.text(node).rstrip().endswith("*"):
            self.imports.append(Import(text, "*", "", self.line(node)))
            return
        alias = self.text(node.named_children[1]) if node.named_child_count > 1 else text.rpartition(".")[2]
        self.imports.append(Import(text, "", alias, self.line(node)))
        self.scope[alias] = text

    def klass(self, node: Node) -> None:
        name = self.text(node.child_by_field_name("name")) or "Companion"
        full = (
            self.prefix
            if node.type == "companion_object" and self.prefix
            else f"{self.prefix}.{name}"
            if self.prefix
            else name
        )
        bases: list[str] = []
        body: list[Statement] = []
        inside: list[Node] = []
        for child in node.named_children:
            if child.type == "delegation_specifiers":
                bases.extend(self.type_of(one.named_children[0]) for one in child.named_children if one.named_children)
            elif child.type == "primary_constructor":
                self.constructor(child, body)
            elif child.type in ("class_body", "enum_class_body"):
                inside.append(child)
        self.depth += 5
        if self.depth < 90:
            self.flatten(inside, body, full)
        else:
            self.cut = True
        self.depth -= 5
        marks = self.annotations(node)
        self.classes.append(
            Class(full, self.line(node), self.end(node), tuple(bases), marks, tuple(body), self.doc(node)[0])
        )

    def constructor(self, node: Node, body: list[Statement]) -> None:
        for held in node.named_children:
            for one in held.named_children if held.type == "class_parameters" else ():
                param = self.param(one)
                if param is None:
                    continue
                if param.default is not None:
                    body.append(Statement("assign", self.line(one), param.default, (param.name,)))
                elif "." in param.annotation:
                    kind = Expr("name", self.line(one), param.annotation)
                    body.append(Statement("assign", self.line(one), kind, (param.name,)))

    def param(self, node: Node) -> Param | None:
        name, kind, default = "", "", None
        for child in node.named_children:
            if child.type in ("modifiers", "parameter_modifiers"):
                continue
            if child.type in _NAMES and not name:
                name = self.text(child)
            elif "type" in child.type and not kind:
                kind = self.type_of(child)
            elif name:
                default = self.expr(child)
        return Param(name, kind, default) if name else None

    def type_of(self, node: Node) -> str:
        """The resolved name of a type or of the constructor called, its arguments dropped."""
        text = self.text(node)[:300].partition("<")[0].partition("(")[0].strip().rstrip("?")
        head, dot, rest = text.partition(".")
        return self.scope.get(head, head) + dot + rest

    def annotations(self, node: Node) -> tuple[Expr, ...]:
        held = next((child for child in node.children if child.type == "modifiers"), None)
        out = []
        for one in held.named_children if held is not None else ():
            if one.type == "annotation" and one.named_children:
                inner = one.named_children[-1]
                parts, fields = self.arguments(inner)
                out.append(Expr("call", self.line(one), self.type_of(inner), parts, fields, end_line=self.end(one)))
        return tuple(out)

    def bound(self, node: Node) -> tuple[str, ...]:
        if node.type == "multi_variable_declaration":
            return tuple(name for child in node.named_children for name in self.bound(child))
        first = next((child for child in node.named_children if child.type in _NAMES), None)
        return (self.text(first),) if first is not None else (self.text(node)[:100],)

    def declare(self, node: Node, out: list[Statement]) -> None:
        names: tuple[str, ...] = ()
        value: Node | None = None
        kind = ""
        for child in node.named_children:
            if child.type in ("variable_declaration", "multi_variable_declaration"):
                names = self.bound(child)
                typed = next((one for one in child.named_children if "type" in one.type), None)
                kind = self.type_of(typed) if typed is not None else ""
            elif names and child.type not in ("getter", "setter", "modifiers", "type_constraints", *_SKIPPED):
                value = child
        if value is not None:
            out.append(Statement("assign", self.line(node), self.expr(value), names))
        elif "." in kind and names:
            out.append(Statement("assign", self.line(node), Expr("name", self.line(node), kind), names))

    def assign(self, node: Node, out: list[Statement]) -> None:
        children = [one for one in node.named_children if one.type not in _SKIPPED]
        if len(children) < 2:
            return
        left, value = self.expr(children[0]), self.expr(children[-1])
        if any(child.type == "+=" for child in node.children):
            value = Expr("join", self.line(node), parts=(left, value))
        out.append(Statement("assign", self.line(node), value, (dotted(left).replace("[]", ".*"),)))

    def function(self, name: str, node: Node) -> None:
        params: list[Param] = []
        body: list[Node] = []
        value: Node | None = None
        for child in node.named_children:
            if child.type in ("function_value_parameters", "lambda_parameters"):
                for one in child.named_children:
                    found = self.param(one) if one.type == "parameter" else None
                    if one.type in ("variable_declaration", "identifier"):
                        found = Param(self.bound(one)[0] if one.type == "variable_declaration" else self.text(one))
                    params.extend([found] if found else [])
            elif child.type == "function_body":
                first = child.named_children[0] if child.named_children else None
                if first is not None and first.type != "block":
                    value = first
                else:
                    body.append(child)
            elif node.type == "lambda_literal" and child.type not in _SKIPPED:
                body.append(child)
        self.prefix = name.rpartition(".")[0]
        self.add_function(name, node, tuple(params), body, self.annotations(node), value)

    def convert(self, node: Node) -> Expr:
        kind, line, end = node.type, self.line(node), self.end(node)
        if kind in _NAMES:
            name = self.text(node)
            if name in ("null", "true", "false"):
                return Expr("none" if name == "null" else "bool", line, "" if name == "null" else name)
            return Expr("name", line, self.scope.get(name, name))
        if kind in ("this_expression", "super_expression"):
            return Expr("name", line, kind.partition("_")[0])
        if kind in ("string_literal", "multiline_string_literal"):
            return self.string(node, line, end)
        if kind in (
            "number_literal",
            "float_literal",
            "integer_literal",
            "real_literal",
            "long_literal",
            "hex_literal",
        ):
            return Expr("number", line, self.text(node)[:60])
        if kind in ("boolean_literal", "null_literal"):
            return Expr("bool" if kind[0] == "b" else "none", line, self.text(node) if kind[0] == "b" else "")
        if kind == "navigation_expression" and node.named_child_count > 1:
            return member(self.expr(node.named_children[0]), self.text(node.named_children[-1]), line, end)
        if kind == "call_expression":
            return self.call(node, line, end)
        if kind == "index_expression" and node.named_child_count > 1:
            base = self.expr(node.named_children[0])
            return Expr("index", line, dotted(base), (base, self.expr(node.named_children[1])), end_line=end)
        if kind == "binary_expression" and self.is_plus(node):
            return self.flat_join(node, "left", "right", self.is_plus)
        if kind == "lambda_literal":
            return self.lambda_(node, line, end)
        return self.rare(node, line, end)

    def rare(self, node: Node, line: int, end: int) -> Expr:
        kind = node.type
        through = ("parenthesized_expression", "annotated_lambda", "value_argument", "as_expression", "interpolation", "unary_expression", "spread_expression", "annotated_expression")  # fmt: skip
        if kind in through and node.named_children:
            return self.expr(node.named_children[0])
        if kind in ("anonymous_function", "object_literal"):
            self.flatten(
                [one for one in node.named_children if one.type in ("class_body", "function_body")], [], self.prefix
            )
            return Expr("lambda", line)
        if kind == "collection_literal":
            return Expr("list", line, parts=tuple(self.inner(node)), end_line=end)
        if kind in _SKIPPED or "type" in kind:
            return Expr("other", line)
        return Expr("other", line, parts=tuple(self.inner(node)), end_line=end)

    def inner(self, node: Node) -> list[Expr]:
        return [self.expr(child) for child in node.named_children if child.type not in _SKIPPED]

    def call(self, node: Node, line: int, end: int) -> Expr:
        callee = self.expr(node.named_children[0]) if node.named_children else Expr("other", line)
        before, self.callee = self.callee, dotted(callee).rpartition(".")[2].rstrip("()")
        parts, fields = self.arguments(node)
        self.callee = before
        name = dotted(callee)
        if callee.kind == "call":
            # A trailing lambda after an argument list: post("/x") { ... } is one call.
            return Expr("call", line, callee.text, (*callee.parts, *parts), (*callee.fields, *fields), callee.base, end)
        if (
            name.endswith((".format", ".trimIndent", ".trimMargin", ".plus"))
            and callee.base is not None
            and callee.base.kind in ("text", "join")
        ):
            return joined((callee.base, *parts), line, end)
        return called(callee, parts, fields, line, end)

    def arguments(self, node: Node) -> tuple[tuple[Expr, ...], tuple[tuple[str, Expr], ...]]:
        parts: list[Expr] = []
        fields: list[tuple[str, Expr]] = []
        for child in node.named_children[0:]:
            if child.type == "value_arguments":
                for one in child.named_children:
                    inner = [kid for kid in one.named_children if kid.type not in _SKIPPED]
                    if len(inner) > 1 and any(kid.type == "=" for kid in one.children):
                        fields.append((self.text(inner[0]), self.expr(inner[-1])))
                    elif inner:
                        parts.append(self.expr(inner[-1]))
            elif child.type in ("annotated_lambda", "lambda_literal"):
                parts.append(self.expr(child))
        return tuple(parts), tuple(fields)

    def lambda_(self, node: Node, line: int, end: int) -> Expr:
        body = [one for one in node.named_children if one.type not in ("lambda_parameters", *_SKIPPED)]
        declares = any(one.type in ("property_declaration", "assignment", "for_statement") for one in body)
        if len(body) == 1 and not declares:
            return Expr("lambda", line, parts=(self.expr(body[0]),), end_line=end)
        return Expr("lambda", line, self.later(f"{self.callee or 'lambda'}@{line}", node), end_line=end)

    def is_plus(self, node: Node) -> bool:
        operator = node.child_by_field_name("operator")
        return operator is not None and operator.type == "+"

    def string(self, node: Node, line: int, end: int) -> Expr:
        parts: list[Expr] = []
        for child in node.named_children:
            text = self.text(child)
            if child.type == "interpolation":
                parts.append(self.expr(child))
            elif child.type == "escape_sequence":
                parts.append(Expr("text", line, _ESCAPES.get(text[1:2], text[1:])))
            elif text != "$" and parts and parts[-1].kind == "text" and parts[-1].text == "$" and text[:1].isalpha():
                name = "".join(c if c.isalnum() or c == "_" else " " for c in text).split(" ")[0]
                parts[-1] = Expr("name", line, self.scope.get(name, name))
                parts.append(Expr("text", line, text[len(name) :]))
            else:
                parts.append(Expr("text", self.line(child), text))
        return joined(tuple(parts), line, end) if parts else Expr("text", line, "", end_line=end)
