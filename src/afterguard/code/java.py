"""Java -> Module, by the tree-sitter grammar.

In: a Source. Out: a Module. Types are resolved through single-class imports; a field or local without a value is assigned the name
of its imported type, so that calls on it can be followed. It reads no class path.
"""

from __future__ import annotations

from tree_sitter import Node

from afterguard.code.expression import called, dotted, joined, member
from afterguard.code.syntax import Class, Expr, Import, Module, Param, Statement
from afterguard.code.tree import TreeBuilder, parser
from afterguard.model import Source

_TYPES = {
    "class_declaration",
    "interface_declaration",
    "enum_declaration",
    "record_declaration",
    "annotation_type_declaration",
}
_METHODS = {"method_declaration", "constructor_declaration", "compact_constructor_declaration"}
_BODIES = {"program", "block", "constructor_body", "class_body", "interface_body", "enum_body", "enum_body_declarations", "try_statement", "try_with_resources_statement", "catch_clause", "finally_clause", "switch_block", "switch_block_statement_group", "switch_rule", "labeled_statement", "synchronized_statement", "static_initializer", "ERROR", "resource_specification"}  # fmt: skip
_NUMBERS = {"decimal_integer_literal", "hex_integer_literal", "decimal_floating_point_literal", "octal_integer_literal"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def parse(source: Source) -> Module:
    """The module of a .java file. Never raises."""
    return Java(source).build(parser("tree_sitter_java"))


class Java(TreeBuilder):
    """Collects one Java file."""

    language = "java"

    def statement(self, node: Node, out: list[Statement]) -> list[Node]:
        kind, line = node.type, self.line(node)
        if kind == "import_declaration":
            self.import_(node)
        elif kind in _TYPES:
            self.klass(node)
        elif kind in _METHODS:
            self.later(self.text(node.child_by_field_name("name")), node)
        elif kind in ("local_variable_declaration", "field_declaration"):
            self.declare(node, out)
        elif kind == "resource":
            value = self.expr(node.child_by_field_name("value"))
            out.append(Statement("assign", line, value, (self.text(node.child_by_field_name("name")),)))
        elif kind == "expression_statement":
            self.bare(node.named_child(0), out)
        elif kind in ("return_statement", "throw_statement", "yield_statement"):
            given = self.expr(node.named_children[0]) if node.named_child_count else None
            out.append(Statement("other" if kind == "throw_statement" else "return", line, given))
        elif kind == "enhanced_for_statement":
            name = self.text(node.child_by_field_name("name"))
            out.append(Statement("for", line, self.expr(node.child_by_field_name("value")), (name,)))
            return [one for one in (node.child_by_field_name("body"),) if one is not None]
        elif kind in ("if_statement", "while_statement", "do_statement", "for_statement", "switch_expression"):
            tested = node.child_by_field_name("condition")
            if tested is not None:
                out.append(Statement("other", line, self.expr(tested)))
            fields = (node.child_by_field_name(name) for name in ("init", "consequence", "body", "alternative"))
            return [one for one in fields if one is not None]
        elif kind in _BODIES:
            return list(node.named_children)
        return []

    def import_(self, node: Node) -> None:
        named = next((one for one in node.named_children if "identifier" in one.type), None)
        text = self.text(named)
        static = any(child.type == "static" for child in node.children)
        if any(child.type == "asterisk" for child in node.named_children):
            self.imports.append(Import(text, "*", "", self.line(node)))
            return
        module, _, name = text.rpartition(".")
        self.imports.append(Import(module if static else text, name if static else "", name, self.line(node)))
        self.scope[name] = text

    def klass(self, node: Node) -> None:
        name = self.text(node.child_by_field_name("name"))
        full = f"{self.prefix}.{name}" if self.prefix else name
        bases: list[str] = []
        for field in ("superclass", "interfaces"):
            held = node.child_by_field_name(field)
            for one in self.types(held) if held is not None else ():
                bases.append(one)
        for child in node.named_children:
            if child.type == "extends_interfaces":
                bases.extend(self.types(child))
        body: list[Statement] = []
        inside = node.child_by_field_name("body")
        if inside is not None:
            self.depth += 5
            if self.depth < 90:
                self.flatten([inside], body, full)
            else:
                self.cut = True
            self.depth -= 5
        marks = self.annotations(node)
        self.classes.append(
            Class(full, self.line(node), self.end(node), tuple(bases), marks, tuple(body), self.doc(node)[0])
        )

    def types(self, node: Node) -> list[str]:
        stack = list(node.named_children)
        out: list[str] = []
        while stack and len(out) < 50:
            one = stack.pop(0)
            if one.type == "type_list":
                stack = list(one.named_children) + stack
            else:
                out.append(self.type_of(one))
        return out

    def type_of(self, node: Node | None) -> str:
        """The resolved name of a type, its arguments dropped."""
        text = self.text(node)[:300].partition("<")[0].strip()
        head, dot, rest = text.partition(".")
        return self.scope.get(head, head) + dot + rest

    def annotations(self, node: Node) -> tuple[Expr, ...]:
        held = next((child for child in node.children if child.type == "modifiers"), None)
        if held is None:
            return ()
        return tuple(self.expr(one) for one in held.named_children if one.type in ("annotation", "marker_annotation"))

    def declare(self, node: Node, out: list[Statement]) -> None:
        kind = self.type_of(node.child_by_field_name("type"))
        for child in node.children_by_field_name("declarator"):
            name = self.text(child.child_by_field_name("name"))
            value = child.child_by_field_name("value")
            marks = self.annotations(node)
            if value is not None:
                out.append(Statement("assign", self.line(child), self.expr(value), (name,)))
            elif marks and marks[0].kind == "call" and marks[0].text.endswith("Value"):
                out.append(Statement("assign", self.line(child), marks[0], (name,)))
            elif "." in kind:
                out.append(Statement("assign", self.line(child), Expr("name", self.line(child), kind), (name,)))

    def bare(self, node: Node | None, out: list[Statement]) -> None:
        if node is None:
            return
        line = self.line(node)
        if node.type == "assignment_expression":
            value = self.expr(node.child_by_field_name("right"))
            left = self.expr(node.child_by_field_name("left"))
            operator = node.child_by_field_name("operator")
            if operator is not None and operator.type == "+=":
                value = Expr("join", line, parts=(left, value))
            out.append(Statement("assign", line, value, (dotted(left).replace("[]", ".*"),)))
        elif node.type == "switch_expression":
            self.flatten(list(node.named_children), out, self.prefix)
        else:
            out.append(Statement("call", line, self.expr(node)))

    def function(self, name: str, node: Node) -> None:
        params: list[Param] = []
        listed = node.child_by_field_name("parameters")
        if listed is not None and listed.type == "identifier":
            params.append(Param(self.text(listed)))
        for child in listed.named_children if listed is not None else ():
            if child.type in ("formal_parameter", "spread_parameter"):
                kind = self.type_of(child.child_by_field_name("type"))
                params.append(Param(self.text(child.child_by_field_name("name")), kind))
            elif child.type == "identifier":
                params.append(Param(self.text(child)))
        self.prefix = name.rpartition(".")[0]
        marks = self.annotations(node)
        body = node.child_by_field_name("body")
        if body is not None and body.type not in ("block", "constructor_body"):
            self.add_function(name, node, tuple(params), [], marks, body)
        else:
            self.add_function(name, node, tuple(params), [body] if body is not None else [], marks)

    def convert(self, node: Node) -> Expr:
        kind, line, end = node.type, self.line(node), self.end(node)
        if kind in ("identifier", "type_identifier"):
            name = self.text(node)
            return Expr("name", line, self.scope.get(name, name))
        if kind in ("this", "super"):
            return Expr("name", line, kind)
        if kind == "string_literal":
            return Expr("text", line, self.literal(node), end_line=end)
        if kind in _NUMBERS:
            return Expr("number", line, self.text(node)[:60])
        if kind in ("true", "false"):
            return Expr("bool", line, kind)
        if kind == "null_literal":
            return Expr("none", line)
        if kind in ("field_access", "scoped_identifier", "scoped_type_identifier"):
            return self.field(node, line, end)
        if kind == "method_invocation":
            return self.invoke(node, line, end)
        if kind == "object_creation_expression":
            held = node.child_by_field_name("arguments")
            parts = tuple(self.inner(held)) if held is not None else ()
            inside = next((child for child in node.named_children if child.type == "class_body"), None)
            if inside is not None:
                self.flatten([inside], [], self.prefix)
            return Expr("call", line, self.type_of(node.child_by_field_name("type")), parts, end_line=end)
        return self.rare(node, line, end)

    def rare(self, node: Node, line: int, end: int) -> Expr:
        kind = node.type
        if kind in ("parenthesized_expression", "condition") and node.named_child_count:
            return self.expr(node.named_children[0])
        if kind == "cast_expression":
            return self.expr(node.child_by_field_name("value"))
        if kind == "binary_expression" and self.is_plus(node):
            return self.flat_join(node, "left", "right", self.is_plus)
        if kind in ("annotation", "marker_annotation"):
            return self.annotation(node, line, end)
        if kind in ("array_initializer", "element_value_array_initializer"):
            return Expr("list", line, parts=tuple(self.inner(node)), end_line=end)
        if kind == "array_creation_expression":
            value = node.child_by_field_name("value")
            return self.expr(value) if value is not None else Expr("list", line)
        if kind == "array_access":
            base = self.expr(node.child_by_field_name("array"))
            return Expr("index", line, dotted(base), (base, self.expr(node.child_by_field_name("index"))), end_line=end)
        if kind == "lambda_expression":
            body = node.child_by_field_name("body")
            if body is not None and body.type != "block":
                return Expr("lambda", line, parts=(self.expr(body),), end_line=end)
            return Expr("lambda", line, self.later(f"{self.callee or 'lambda'}@{line}", node), end_line=end)
        if kind == "method_reference":
            return Expr("name", line, self.text(node).replace("::", ".")[:200])
        if kind in ("block", "switch_block", "line_comment", "block_comment", "class_literal"):
            return Expr("other", line)
        return Expr("other", line, parts=tuple(self.inner(node)), end_line=end)

    def field(self, node: Node, line: int, end: int) -> Expr:
        last = node.child_by_field_name("field") or node.child_by_field_name("name") or node.named_children[-1]
        base = self.expr(node.child_by_field_name("object") or node.child_by_field_name("scope") or node.named_child(0))
        return member(base, self.text(last), line, end)

    def invoke(self, node: Node, line: int, end: int) -> Expr:
        name = self.text(node.child_by_field_name("name"))
        held = node.child_by_field_name("object")
        callee = (
            member(self.expr(held), name, line, end)
            if held is not None
            else Expr("name", line, self.scope.get(name, name))
        )
        before, self.callee = self.callee, name
        arguments = node.child_by_field_name("arguments")
        parts = tuple(self.inner(arguments)) if arguments is not None else ()
        self.callee = before
        joins = name in ("format", "concat", "formatted", "join") and (
            callee.text.startswith(("String.", "str.", "MessageFormat.")) or name in ("formatted", "concat")
        )
        if joins:
            held_parts = (callee.base,) if callee.base is not None else ()
            return joined((*held_parts, *parts), line, end)
        return called(callee, parts, (), line, end)

    def annotation(self, node: Node, line: int, end: int) -> Expr:
        name = self.type_of(node.child_by_field_name("name"))
        held = node.child_by_field_name("arguments")
        parts: list[Expr] = []
        fields: list[tuple[str, Expr]] = []
        for child in held.named_children if held is not None else ():
            if child.type == "element_value_pair":
                fields.append(
                    (self.text(child.child_by_field_name("key")), self.expr(child.child_by_field_name("value")))
                )
            else:
                parts.append(self.expr(child))
        return Expr("call", line, name, tuple(parts), tuple(fields), end_line=end)

    def inner(self, node: Node) -> list[Expr]:
        return [self.expr(child) for child in node.named_children if "comment" not in child.type]

    def is_plus(self, node: Node) -> bool:
        operator = node.child_by_field_name("operator")
        return operator is not None and operator.type == "+"

    def literal(self, node: Node) -> str:
        out: list[str] = []
        for child in node.named_children:
            text = self.text(child)
            out.append(_ESCAPES.get(text[1:], text[1:]) if child.type == "escape_sequence" else text)
        return "".join(out)
