"""The one shape every programming language is parsed into, so that discover and scan read all of them alike.

A module is a flat list of facts in source order: imports, functions and statements. Expressions keep only what matters
for finding AI calls and for following a value: names, literals, calls, and "made out of" for everything else.
Lines are 1-based and physical. Nothing here runs or imports the source.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec


class Expr(msgspec.Struct, frozen=True, gc=False):
    """An expression. `kind` decides which fields mean something.

    name      `text` is the dotted name, with imports resolved: `from openai import OpenAI as O; O()` gives openai.OpenAI.
              A base that is not a name shows as its own callee: `OpenAI().chat.create` is `openai.OpenAI().chat.create`,
              `r.choices[0].text` is `r.choices[].text`; that base is then in `base`.
    text      `text` is the value of a string literal.
    number, bool, none   `text` is the literal as written ("true"/"false" in lower case).
    call      `text` is the dotted callee (as for name), `parts` the positional arguments, `fields` the keyword ones.
              A method on a call chain keeps the chain in `text`; its receiver is `base`.
    join      text put together from `parts`: +, f-string, template literal, %, .format, String.format, concat, join.
    list      `parts`. Sets and tuples too.
    map       `fields` (key, value); keys that are not literals show as "*". Object literals and struct literals too; the
              struct's type is then in `text`. A JSX element is a call with its attributes as `fields`.
    index     `parts[0]` is the base, `parts[1]` the subscript when it is an expression; `text` is the dotted name if any.
    lambda    `parts` holds the body's expression, `text` then "(first parameter)" where that is known; a body of statements is a Function of the module whose name is `text`.
    other     anything else, `parts` its sub-expressions (conditional, comparison, unary...). Await and casts are looked
              through: `await f()` is the call.
    """

    kind: str
    line: int
    text: str = ""
    parts: tuple[Expr, ...] = ()
    fields: tuple[tuple[str, Expr], ...] = ()
    base: Expr | None = None
    end_line: int = 0


class Import(msgspec.Struct, frozen=True, gc=False):
    """`from module import name as alias`; `name` empty for `import module`. `dynamic` for importlib, require(expr)."""

    module: str
    name: str
    alias: str
    line: int
    dynamic: bool = False


class Param(msgspec.Struct, frozen=True, gc=False):
    """A parameter of a function: its name, its annotation as dotted name (or "") and its default value."""

    name: str
    annotation: str = ""
    default: Expr | None = None


class Statement(msgspec.Struct, frozen=True, gc=False):
    """One statement inside a function or module.

    assign    `targets` get `value`. A destructuring has several targets; `obj.attr` and `obj["k"]` are dotted targets.
    call      a bare expression, `value`.
    return    `value`. Yields too.
    other     conditions and loops: `value` is the tested expression; their bodies follow as statements of their own.
    for       `targets` iterate over `value`.
    """

    kind: str
    line: int
    value: Expr | None = None
    targets: tuple[str, ...] = ()


class Function(msgspec.Struct, frozen=True, gc=False):
    """A function, method or handler; the module body is the function named "" (always first in Module.functions)."""

    name: str
    """Qualified: Class.method, outer.inner."""
    line: int
    end_line: int
    params: tuple[Param, ...] = ()
    body: tuple[Statement, ...] = ()
    decorators: tuple[Expr, ...] = ()
    """Decorators and annotations; as call or name expressions with resolved names."""
    doc: str = ""
    doc_line: int = 0


class Class(msgspec.Struct, frozen=True, gc=False):
    """A class with its bases as dotted, resolved names and its field assignments."""

    name: str
    line: int
    end_line: int
    bases: tuple[str, ...] = ()
    decorators: tuple[Expr, ...] = ()
    body: tuple[Statement, ...] = ()
    doc: str = ""


class Comment(msgspec.Struct, frozen=True, gc=False):
    """A comment, for inline suppressions only; its words are never evidence of an asset."""

    text: str
    line: int


class Module(msgspec.Struct, frozen=True, gc=False):
    """One parsed file."""

    path: str
    language: str
    imports: tuple[Import, ...] = ()
    functions: tuple[Function, ...] = ()
    classes: tuple[Class, ...] = ()
    errors: tuple[tuple[int, str], ...] = ()
    """(line, what) where the parser had to skip; non-empty means partly read, which is a coverage row."""
    cells: tuple[tuple[int, int], ...] = ()
    """For notebooks: (first line of the module text, physical line in the .ipynb). Lines in here are already physical."""


def walk(expr: Expr | None) -> Iterator[Expr]:
    """Every expression inside `expr`, itself first."""
    if expr is None:
        return
    stack = [expr]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(reversed([field for _, field in one.fields]))
        stack.extend(reversed(one.parts))
        if one.base is not None:
            stack.append(one.base)


def statements(module: Module) -> Iterator[tuple[Function, Statement]]:
    """Every statement with the function it stands in."""
    for function in module.functions:
        for statement in function.body:
            yield function, statement


def calls(module: Module) -> Iterator[tuple[Function, Expr]]:
    """Every call expression with the function it stands in; decorators and class bodies included."""
    for function in module.functions:
        for decorator in function.decorators:
            for one in walk(decorator):
                if one.kind == "call":
                    yield function, one
        for statement in function.body:
            for one in walk(statement.value):
                if one.kind == "call":
                    yield function, one
    top = module.functions[0] if module.functions else Function("", 1, 1)
    for klass in module.classes:
        for statement in klass.body:
            for one in walk(statement.value):
                if one.kind == "call":
                    yield top, one


def argument(call: Expr, name: str, position: int | None = None) -> Expr | None:
    """The keyword argument `name`, else the positional one, else the field of a first object-literal argument (JS)."""
    for key, value in call.fields:
        if key == name:
            return value
    if position is not None and position < len(call.parts):
        return call.parts[position]
    for part in call.parts:
        if part.kind == "map":
            for key, value in part.fields:
                if key == name:
                    return value
    return None
