"""Small makers of expressions that every language front end shares.

In: expressions already read. Out: the dotted name an expression shows inside a longer one, and text put together.
"""

from __future__ import annotations

from afterguard.code.syntax import Expr


def dotted(expr: Expr) -> str:
    """How an expression shows inside a longer dotted name."""
    if expr.kind == "name":
        return expr.text
    if expr.kind == "call":
        return f"{expr.text}()"
    if expr.kind == "index":
        return f"{expr.text}[]"
    if expr.kind in ("text", "join"):
        return "str"
    if expr.kind == "other" and len(expr.parts) == 1:
        return dotted(expr.parts[0])
    return "?"


def joined(parts: tuple[Expr, ...], line: int, end: int) -> Expr:
    """Text put together; literals alone are one literal."""
    if parts and all(part.kind == "text" for part in parts):
        return Expr("text", line, "".join(part.text for part in parts), end_line=end)
    return Expr("join", line, parts=parts, end_line=end)


def plain(expr: Expr) -> bool:
    """Whether an expression is nothing but a dotted name."""
    return expr.kind == "name" and expr.base is None


def member(base: Expr, name: str, line: int, end: int) -> Expr:
    """`base.name`."""
    return Expr("name", line, f"{dotted(base)}.{name}", base=None if plain(base) else base, end_line=end)


def called(callee: Expr, parts: tuple[Expr, ...], fields: tuple[tuple[str, Expr], ...], line: int, end: int) -> Expr:
    """`callee(parts, fields)`, its receiver kept where that is more than a name."""
    base = callee.base if callee.kind == "name" else callee
    return Expr("call", line, dotted(callee), parts, fields, base, end)
