"""A Python syntax tree -> functions, classes, statements and expressions of syntax.py.

In: lists of `ast` statements. Out: one Module. Nesting deeper than `DEPTH` is cut and listed as an error.
"""

from __future__ import annotations

import ast

from afterguard.code.expression import dotted, joined, plain
from afterguard.code.syntax import Class, Expr, Function, Import, Module, Param, Statement

DEPTH = 120
_DYNAMIC = {"importlib.import_module", "import_module", "__import__", "builtins.__import__", "importlib.__import__"}
_Def = ast.FunctionDef | ast.AsyncFunctionDef


class Builder:
    """Collects one module. Theory: statements are flattened in source order with a stack of their own; expressions recurse
    to `DEPTH`; functions found on the way are queued, each with the scope of imported names it stands in."""

    def __init__(self, path: str, language: str, errors: list[tuple[int, str]]) -> None:
        self.path, self.language, self.errors = path, language, errors
        self.imports: list[Import] = []
        self.functions: list[Function] = []
        self.classes: list[Class] = []
        self.body: list[Statement] = []
        self.scope: dict[str, str] = {}
        self.constants: dict[str, str] = {}
        self.queue: list[tuple[str, _Def, dict[str, str]]] = []
        self.pending: list[Statement] = []
        self.depth = 0
        self.cut = False

    def add(self, statements: list[ast.stmt]) -> None:
        """Add top-level statements, and what they hold."""
        self.note_imports(statements, self.scope)
        for node in statements:
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.constants[target.id] = node.value.value
        self.flatten(statements, self.body, "")
        while self.queue:
            name, node, scope = self.queue.pop(0)
            self.function(name, node, scope)

    def module(self, lines: int) -> Module:
        """The collected module."""
        if self.cut:
            self.errors.append((1, f"nested deeper than {DEPTH} levels; the inside was not read"))
        top = Function("", 1, lines, body=tuple(self.body))
        return Module(
            self.path,
            self.language,
            tuple(self.imports),
            (top, *self.functions),
            tuple(self.classes),
            tuple(self.errors),
        )

    def note_imports(self, statements: list[ast.stmt], scope: dict[str, str]) -> None:
        """Put every import below `statements`, functions and classes not entered, into `scope`."""
        stack: list[ast.stmt] = list(statements)
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Import):
                for alias in node.names:
                    scope[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                for alias in node.names:
                    joined = module + alias.name if module.endswith(".") else f"{module}.{alias.name}"
                    scope[alias.asname or alias.name] = joined
            elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                stack.extend(reversed(_blocks(node)))

    def function(self, name: str, node: _Def, outer: dict[str, str]) -> None:
        """Add one function and queue those inside it."""
        names = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        names += [one for one in (node.args.vararg, node.args.kwarg) if one]
        taken = {one.arg for one in names}
        scope = (
            {key: value for key, value in outer.items() if key not in taken} if taken & outer.keys() else dict(outer)
        )
        self.note_imports(node.body, scope)
        before, self.scope = self.scope, outer
        params = self.params(node.args)
        decorators = tuple(self.expr(one) for one in node.decorator_list)
        self.scope = scope
        body: list[Statement] = []
        self.flatten(node.body, body, name)
        self.scope = before
        doc, line = _doc(node.body)
        self.functions.append(
            Function(name, node.lineno, node.end_lineno or node.lineno, params, tuple(body), decorators, doc, line)
        )

    def params(self, args: ast.arguments) -> tuple[Param, ...]:
        ordered = [*args.posonlyargs, *args.args]
        defaults: list[ast.expr | None] = [None] * (len(ordered) - len(args.defaults)) + list(args.defaults)
        pairs = [*zip(ordered, defaults), *zip(args.kwonlyargs, args.kw_defaults)]
        pairs += [(one, None) for one in (args.vararg, args.kwarg) if one]
        out = []
        for one, default in pairs:
            value = self.expr(default) if default is not None else None
            out.append(Param(one.arg, self.annotation(one.annotation), value))
        return tuple(out)

    def annotation(self, node: ast.expr | None) -> str:
        if node is None:
            return ""
        if isinstance(node, ast.Constant):
            return str(node.value)[:200] if isinstance(node.value, str) else ""
        if isinstance(node, ast.Subscript):
            inner = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
            outer = self.expr(node.value).text
            wraps = outer.rsplit(".", 1)[-1] in ("Optional", "Annotated", "Final", "ClassVar")
            return self.expr(inner).text if wraps and isinstance(inner, (ast.Name, ast.Attribute)) else outer
        return self.expr(node).text

    def flatten(self, statements: list[ast.stmt], out: list[Statement], prefix: str) -> None:
        """Append statements to `out` in source order; functions are queued, classes added."""
        stack = list(reversed(statements))
        while stack:
            node = stack.pop()
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.queue.append((f"{prefix}.{node.name}" if prefix else node.name, node, self.scope))
            elif isinstance(node, ast.ClassDef):
                self.klass(node, prefix)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                self.import_(node)
            else:
                found = self.statement(node)
                out.extend(self.pending)
                self.pending.clear()
                out.extend(found)
                stack.extend(reversed(_blocks(node)))

    def klass(self, node: ast.ClassDef, prefix: str) -> None:
        name = f"{prefix}.{node.name}" if prefix else node.name
        bases = tuple(self.expr(one).text for one in node.bases)
        decorators = tuple(self.expr(one) for one in node.decorator_list)
        body: list[Statement] = []
        self.depth += 10
        if self.depth < DEPTH:
            self.note_imports(node.body, self.scope)
            self.flatten(node.body, body, name)
        else:
            self.cut = True
        self.depth -= 10
        end = node.end_lineno or node.lineno
        self.classes.append(Class(name, node.lineno, end, bases, decorators, tuple(body), _doc(node.body)[0]))

    def import_(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                bound = alias.asname or alias.name.split(".")[0]
                self.imports.append(Import(alias.name, "", bound, node.lineno))
            else:
                module = "." * node.level + (node.module or "")
                self.imports.append(Import(module, alias.name, alias.asname or alias.name, node.lineno))

    def statement(self, node: ast.stmt) -> list[Statement]:
        line = node.lineno
        if isinstance(node, ast.Assign):
            targets = tuple(name for one in node.targets for name in self.targets(one))
            return [Statement("assign", line, self.bound(node.value, targets), targets)]
        if isinstance(node, ast.AnnAssign):
            if node.value is None:
                return []
            return [Statement("assign", line, self.expr(node.value), self.targets(node.target))]
        if isinstance(node, ast.AugAssign):
            both = (self.expr(node.target), self.expr(node.value))
            kind = "join" if isinstance(node.op, ast.Add) else "other"
            return [Statement("assign", line, Expr(kind, line, parts=both), self.targets(node.target))]
        if isinstance(node, ast.Return):
            return [Statement("return", line, self.expr(node.value) if node.value else None)]
        if isinstance(node, ast.Expr):
            if isinstance(node.value, (ast.Yield, ast.YieldFrom)):
                return [Statement("return", line, self.expr(node.value.value) if node.value.value else None)]
            return [Statement("call", line, self.expr(node.value))]
        if isinstance(node, (ast.For, ast.AsyncFor)):
            return [Statement("for", line, self.expr(node.iter), self.targets(node.target))]
        if isinstance(node, (ast.With, ast.AsyncWith)):
            return [self.with_item(one, line) for one in node.items]
        value = getattr(node, "test", None) or getattr(node, "subject", None) or getattr(node, "exc", None)
        return [Statement("other", line, self.expr(value))] if value is not None else []

    def with_item(self, item: ast.withitem, line: int) -> Statement:
        if item.optional_vars is None:
            return Statement("call", line, self.expr(item.context_expr))
        return Statement("assign", line, self.expr(item.context_expr), self.targets(item.optional_vars))

    def bound(self, node: ast.expr, targets: tuple[str, ...]) -> Expr:
        """The value; `x = import_module("y")` also binds the name x to y."""
        value = self.expr(node)
        if isinstance(node, ast.Call) and value.kind == "name" and len(targets) == 1 and value.base is None:
            self.scope[targets[0]] = value.text
        return value

    def targets(self, node: ast.expr) -> tuple[str, ...]:
        if isinstance(node, (ast.Tuple, ast.List)):
            return tuple(name for one in node.elts[:200] for name in self.targets(one)) if self.depth < DEPTH else ()
        if isinstance(node, ast.Starred):
            return self.targets(node.value)
        if isinstance(node, ast.Name):
            return (node.id,)
        if isinstance(node, ast.Subscript):
            key = node.slice.value if isinstance(node.slice, ast.Constant) else "*"
            return (f"{self.expr(node.value).text}.{str(key)[:100]}",)
        return (self.expr(node).text,)

    def expr(self, node: ast.expr | None) -> Expr:
        """One expression."""
        if node is None:
            return Expr("none", 0)
        if self.depth >= DEPTH:
            self.cut = True
            return Expr("other", node.lineno)
        self.depth += 1
        try:
            return self._expr(node)
        finally:
            self.depth -= 1

    def _expr(self, node: ast.expr) -> Expr:
        line, end = node.lineno, node.end_lineno or node.lineno
        if isinstance(node, ast.Constant):
            return _constant(node, line, end)
        if isinstance(node, ast.Name):
            return Expr("name", line, self.scope.get(node.id, node.id))
        if isinstance(node, ast.Attribute):
            base = self.expr(node.value)
            return Expr("name", line, f"{dotted(base)}.{node.attr}", base=None if plain(base) else base, end_line=end)
        if isinstance(node, ast.Call):
            return self.call(node, line, end)
        if isinstance(node, (ast.Await, ast.Starred, ast.FormattedValue)):
            return self.expr(node.value)
        if isinstance(node, ast.JoinedStr):
            return joined(tuple(self.expr(one) for one in node.values), line, end)
        if isinstance(node, ast.BinOp):
            return self.binary(node, line, end)
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return Expr("list", line, parts=tuple(self.expr(one) for one in node.elts), end_line=end)
        if isinstance(node, ast.Dict):
            return self.map(node, line, end)
        if isinstance(node, ast.Subscript):
            return self.index(node, line, end)
        if isinstance(node, ast.Lambda):
            return Expr("lambda", line, parts=(self.expr(node.body),), end_line=end)
        if isinstance(node, ast.NamedExpr):
            value = self.expr(node.value)
            self.pending.append(Statement("assign", line, value, (node.target.id,)))
            return value
        return Expr("other", line, parts=tuple(self.expr(one) for one in _inner(node)), end_line=end)

    def index(self, node: ast.Subscript, line: int, end: int) -> Expr:
        base = self.expr(node.value)
        sub = () if isinstance(node.slice, ast.Slice) else (self.expr(node.slice),)
        return Expr("index", line, dotted(base), parts=(base, *sub), end_line=end)

    def map(self, node: ast.Dict, line: int, end: int) -> Expr:
        fields = []
        for key, value in zip(node.keys, node.values):
            literal = isinstance(key, ast.Constant) and isinstance(key.value, str)
            name = key.value if isinstance(key, ast.Constant) and literal else "*"
            fields.append((str(name), self.expr(value)))
        return Expr("map", line, fields=tuple(fields), end_line=end)

    def binary(self, node: ast.BinOp, line: int, end: int) -> Expr:
        if not isinstance(node.op, ast.Add):
            left = self.expr(node.left)
            kind = "join" if isinstance(node.op, ast.Mod) and left.kind in ("text", "join") else "other"
            right = self.expr(node.right)
            parts = right.parts if right.kind == "list" and kind == "join" else (right,)
            return Expr(kind, line, parts=(left, *parts), end_line=end)
        right_parts: list[ast.expr] = []
        one: ast.expr = node
        while isinstance(one, ast.BinOp) and isinstance(one.op, ast.Add):
            right_parts.append(one.right)
            one = one.left
        right_parts.append(one)
        return joined(tuple(self.expr(part) for part in reversed(right_parts)), line, end)

    def call(self, node: ast.Call, line: int, end: int) -> Expr:
        callee = self.expr(node.func)
        parts = tuple(self.expr(one) for one in node.args)
        fields = tuple((one.arg or "*", self.expr(one.value)) for one in node.keywords)
        name = dotted(callee)
        if name in _DYNAMIC:
            return self.dynamic(name, parts, line, end)
        if name == "getattr" and len(parts) > 1 and parts[1].kind == "text":
            return Expr("name", line, f"{dotted(parts[0])}.{parts[1].text}", base=None if plain(parts[0]) else parts[0])
        receiver = self.receiver(node.func, callee)
        if isinstance(node.func, ast.Attribute) and receiver is not None:
            wanted = node.func.attr in ("format", "join", "format_map") and receiver.kind in ("text", "join")
            if wanted or (node.func.attr == "format" and receiver.kind == "name"):
                return Expr("join", line, parts=(receiver, *parts), fields=fields, end_line=end)
        base = receiver if receiver is not None and not plain(receiver) else None
        return Expr("call", line, name, parts, fields, base, end)

    def receiver(self, func: ast.expr, callee: Expr) -> Expr | None:
        if not isinstance(func, ast.Attribute):
            return callee if callee.kind not in ("name", "other") else None
        if callee.base is not None:
            return callee.base
        return self.expr(func.value) if func.attr == "format" else None

    def dynamic(self, name: str, parts: tuple[Expr, ...], line: int, end: int) -> Expr:
        """An import made by a call: the name it gives where the argument is a literal or a constant of the file."""
        first = parts[0] if parts else None
        module = ""
        if first is not None:
            module = first.text if first.kind == "text" else self.constants.get(first.text, "")
        self.imports.append(Import(module, "", "", line, dynamic=True))
        if not module:
            return Expr("call", line, name, parts, end_line=end)
        return Expr("name", line, module.split(".")[0] if name.endswith("__import__") else module, end_line=end)


def _constant(node: ast.Constant, line: int, end: int) -> Expr:
    value = node.value
    if isinstance(value, str):
        return Expr("text", line, value, end_line=end)
    if isinstance(value, bytes):
        return Expr("text", line, value.decode("latin-1"), end_line=end)
    if isinstance(value, bool):
        return Expr("bool", line, "true" if value else "false")
    if isinstance(value, int):
        # str() of an int above 4300 digits raises; such a literal says nothing here.
        return Expr("number", line, str(value) if value.bit_length() < 4096 else "inf")
    if isinstance(value, (float, complex)):
        return Expr("number", line, str(value))
    return Expr("none", line)


def _blocks(node: ast.stmt) -> list[ast.stmt]:
    """Statements below a compound statement, in source order."""
    out: list[ast.stmt] = []
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        for one in getattr(node, name, ()):
            if isinstance(one, ast.stmt):
                out.append(one)
            else:
                out.extend(one.body)
    return out


def _inner(node: ast.expr) -> list[ast.expr]:
    """Expressions directly inside one, comprehension clauses included."""
    out: list[ast.expr] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            out.append(child)
        elif isinstance(child, ast.comprehension):
            out.extend([child.iter, *child.ifs])
    return out


def _doc(body: list[ast.stmt]) -> tuple[str, int]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return first.value.value, first.lineno
    return "", 0
