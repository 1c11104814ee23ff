"""JavaScript and TypeScript, JSX and TSX, -> Module, by the tree-sitter grammars.

In: a Source. Out: a Module. Names are resolved through import, require, dynamic import() and destructuring of those. A JSX
element is a call with its attributes as fields. Types are looked at only as annotations of parameters. It resolves no paths.
"""

from __future__ import annotations

from tree_sitter import Node

from afterguard.code.expression import dotted
from afterguard.code.javascript_values import CLASSES, Values
from afterguard.code.syntax import Class, Expr, Import, Module, Param, Statement
from afterguard.code.tree import parser
from afterguard.model import Source

_BODIES = {
    "statement_block",
    "program",
    "switch_body",
    "switch_case",
    "switch_default",
    "else_clause",
    "finally_clause",
}
_BODIES |= {
    "catch_clause",
    "labeled_statement",
    "try_statement",
    "export_statement",
    "internal_module",
    "ambient_declaration",
}
_FUNCTIONS = {"function_declaration", "generator_function_declaration", "method_definition"}
_SKIPPED = {
    "comment",
    "interface_declaration",
    "type_alias_declaration",
    "enum_declaration",
    "function_signature",
    "html_comment",
}


def parse(source: Source) -> Module:
    """The module of a .js, .jsx, .mjs, .ts or .tsx file. Never raises."""
    name = source.path.lower()
    if source.kind == "typescript" and name.endswith(".tsx"):
        return Script(source, "typescript").build(parser("tree_sitter_typescript", "language_tsx"))
    if source.kind == "typescript":
        return Script(source, "typescript").build(parser("tree_sitter_typescript", "language_typescript"))
    return Script(source, "javascript").build(parser("tree_sitter_javascript"))


class Script(Values):
    """Collects one module of JavaScript or TypeScript."""

    def __init__(self, source: Source, language: str) -> None:
        super().__init__(source)
        self.language = language

    def statement(self, node: Node, out: list[Statement]) -> list[Node]:
        kind = node.type
        if kind in _SKIPPED:
            return []
        if kind == "import_statement":
            self.import_(node)
        elif kind in ("lexical_declaration", "variable_declaration"):
            for child in node.named_children:
                if child.type == "variable_declarator":
                    self.declare(child, out)
        elif kind in _FUNCTIONS:
            self.later(self.text(node.child_by_field_name("name")).strip("\"'[]"), node)
        elif kind in CLASSES:
            self.klass(node)
        elif kind == "expression_statement":
            self.bare(node, out)
        elif kind in ("return_statement", "throw_statement"):
            value = self.expr(node.named_children[0]) if node.named_child_count else None
            out.append(Statement("return" if kind == "return_statement" else "other", self.line(node), value))
        else:
            return self.compound(node, out)
        return []

    def compound(self, node: Node, out: list[Statement]) -> list[Node]:
        kind, line = node.type, self.line(node)
        if kind == "for_in_statement":
            left = node.child_by_field_name("left")
            value = self.expr(node.child_by_field_name("right"))
            out.append(Statement("for", line, value, self.targets(left)))
            return _given(node.child_by_field_name("body"))
        if kind in ("if_statement", "while_statement", "do_statement", "switch_statement", "for_statement"):
            tested = node.child_by_field_name("condition") or node.child_by_field_name("value")
            first = _given(node.child_by_field_name("initializer"))
            if tested is not None and tested.type != "empty_statement":
                out.append(Statement("other", line, self.expr(tested)))
            names = ("consequence", "body", "alternative")
            return first + [one for name in names for one in _given(node.child_by_field_name(name))]
        if kind == "export_statement":
            value_node = node.child_by_field_name("value")
            if value_node is not None:
                value = self.named_value(value_node, "default")
                out.append(Statement("assign", line, value, ("default",)))
                return []
            if node.child_by_field_name("source") is not None:
                self.imports.append(Import(self.literal(node.child_by_field_name("source")), "*", "", line))
                return []
            for child in node.children:
                if child.type == "decorator":
                    continue
            return _given(node.child_by_field_name("declaration"))
        if kind in _BODIES or kind == "ERROR":
            return list(node.named_children)
        if kind in ("call_expression", "new_expression", "assignment_expression", "await_expression"):
            out.append(Statement("call", line, self.expr(node)))
        return []

    def import_(self, node: Node) -> None:
        source = node.child_by_field_name("source")
        line = self.line(node)
        if source is None:
            for child in node.named_children:
                if child.type == "import_require_clause":
                    module = self.literal(child.child_by_field_name("source"))
                    self.bind(self.text(child.named_children[0]), module, "", line)
            return
        module = self.literal(source)
        clause = next((child for child in node.named_children if child.type == "import_clause"), None)
        if clause is None:
            self.imports.append(Import(module, "", "", line))
            return
        for child in clause.named_children:
            if child.type == "identifier":
                self.bind(self.text(child), module, "default", line)
            elif child.type == "namespace_import":
                self.bind(self.text(child.named_children[0]) if child.named_children else "", module, "", line)
            elif child.type == "named_imports":
                for one in child.named_children:
                    name = self.text(one.child_by_field_name("name"))
                    self.bind(self.text(one.child_by_field_name("alias")) or name, module, name, line)

    def bind(self, alias: str, module: str, name: str, line: int, dynamic: bool = False) -> None:
        """Record an import and what its local name stands for; a default import goes by the name it is given."""
        self.imports.append(Import(module, name, alias, line, dynamic))
        if alias:
            shown = alias if name == "default" else name
            self.scope[alias] = f"{module}.{shown}" if shown else module

    def declare(self, node: Node, out: list[Statement]) -> None:
        """One `name = value` of a declaration."""
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None or value is None:
            return
        line = self.line(node)
        module = self.required(value)
        if module and name.type == "identifier":
            self.bind(self.text(name), module, "", line)
            return
        if module and name.type == "object_pattern":
            for key, alias in self.pattern(name):
                self.bind(alias, module, key, line)
            return
        found = self.named_value(value, self.text(name) if name.type == "identifier" else "")
        out.append(Statement("assign", line, found, self.targets(name)))

    def bare(self, node: Node, out: list[Statement]) -> None:
        inner = node.named_children[0] if node.named_child_count else None
        if inner is None:
            return
        line = self.line(inner)
        if inner.type in ("assignment_expression", "augmented_assignment_expression"):
            left, right = inner.child_by_field_name("left"), inner.child_by_field_name("right")
            if left is None or right is None:
                return
            targets = self.targets(left)
            value = self.named_value(right, targets[0].rsplit(".", 1)[-1] if targets else "")
            if inner.type.startswith("augmented"):
                value = Expr("join", line, parts=(self.expr(left), value))
            out.append(Statement("assign", line, value, targets))
        elif inner.type == "yield_expression":
            out.append(Statement("return", line, self.expr(inner.named_children[0]) if inner.named_children else None))
        elif inner.type == "sequence_expression":
            out.extend(Statement("call", self.line(one), self.expr(one)) for one in inner.named_children)
        else:
            out.append(Statement("call", line, self.expr(inner)))

    def klass(self, node: Node) -> None:
        name = self.text(node.child_by_field_name("name")) or "class"
        full = f"{self.prefix}.{name}" if self.prefix else name
        bases: list[str] = []
        decorators = [self.expr(child) for child in node.children if child.type == "decorator"]
        parent = node.parent
        if parent is not None and parent.type == "export_statement":
            decorators += [self.expr(child) for child in parent.children if child.type == "decorator"]
        body: list[Statement] = []
        before, self.prefix = self.prefix, full
        for child in node.children:
            if child.type == "class_heritage":
                bases.extend(self.heritage(child))
            elif child.type == "class_body":
                self.members(child, body)
        self.prefix = before
        self.classes.append(
            Class(
                full, self.line(node), self.end(node), tuple(bases), tuple(decorators), tuple(body), self.doc(node)[0]
            )
        )

    def heritage(self, node: Node) -> list[str]:
        out: list[str] = []
        for child in node.named_children:
            inner = child.named_children if child.type in ("extends_clause", "implements_clause") else [child]
            out.extend(dotted(self.expr(one)) for one in inner if one.type != "type_arguments")
        return out

    def members(self, node: Node, out: list[Statement]) -> None:
        for child in node.named_children:
            if child.type == "method_definition":
                self.later(self.text(child.child_by_field_name("name")).strip("\"'"), child)
            elif child.type in ("field_definition", "public_field_definition"):
                name = self.text(child.child_by_field_name("property") or child.child_by_field_name("name"))
                value = child.child_by_field_name("value")
                if value is not None:
                    out.append(Statement("assign", self.line(child), self.named_value(value, name), (name,)))

    def function(self, name: str, node: Node) -> None:
        params: list[Param] = []
        single = node.child_by_field_name("parameter")
        if single is not None:
            params.append(Param(self.text(single)))
        listed = node.child_by_field_name("parameters")
        for child in listed.named_children if listed is not None else ():
            params.extend(self.param(child))
        self.prefix = name.rpartition(".")[0]
        decorators = self.decorators(node)
        body = node.child_by_field_name("body")
        if body is not None and body.type != "statement_block":
            self.add_function(name, node, tuple(params), [], decorators, body)
        else:
            self.add_function(name, node, tuple(params), _given(body), decorators)

    def decorators(self, node: Node) -> tuple[Expr, ...]:
        out: list[Expr] = []
        before = node.prev_named_sibling
        while before is not None and before.type == "decorator":
            out.insert(0, self.expr(before))
            before = before.prev_named_sibling
        return tuple(out)

    def param(self, node: Node) -> list[Param]:
        annotation = ""
        default = None
        kind = node.child_by_field_name("type")
        if kind is not None:
            annotation = self.text(kind).lstrip(": ")[:200]
        value = node.child_by_field_name("value") or node.child_by_field_name("right")
        if value is not None:
            default = self.expr(value)
        inner = node.child_by_field_name("pattern") or node.child_by_field_name("left") or node
        names = self.targets(inner)
        return [Param(name, annotation, default) for name in names]

    def targets(self, node: Node | None) -> tuple[str, ...]:
        if node is None:
            return ()
        if node.type in ("identifier", "shorthand_property_identifier_pattern"):
            return (self.text(node),)
        if node.type in ("object_pattern", "array_pattern"):
            return tuple(alias for _, alias in self.pattern(node))
        if node.type == "rest_pattern" and node.named_children:
            return self.targets(node.named_children[0])
        if node.type == "subscript_expression":
            key = node.child_by_field_name("index")
            shown = self.literal(key) if key is not None and key.type == "string" else "*"
            return (f"{dotted(self.expr(node.child_by_field_name('object')))}.{shown}",)
        if node.type == "member_expression":
            return (dotted(self.expr(node)),)
        return ()

    def pattern(self, node: Node) -> list[tuple[str, str]]:
        """(key, local name) of a destructuring."""
        out: list[tuple[str, str]] = []
        stack: list[tuple[str, Node]] = [("", node)]
        while stack and len(out) < 500:
            key, one = stack.pop()
            if one.type in ("identifier", "shorthand_property_identifier_pattern"):
                out.append((key or self.text(one), self.text(one)))
            elif one.type == "pair_pattern":
                value = one.child_by_field_name("value")
                stack.extend((self.text(one.child_by_field_name("key")), child) for child in _given(value))
            elif one.type in ("object_assignment_pattern", "assignment_pattern"):
                stack.extend((key, child) for child in _given(one.child_by_field_name("left")))
            else:
                stack.extend((key, child) for child in reversed(one.named_children))
        return out


def _given(node: Node | None) -> list[Node]:
    return [node] if node is not None else []
