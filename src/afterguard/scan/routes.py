"""HTTP handlers of a file: which of them run a model, and whether anything identifies or limits the caller.

In: a parsed code file. Out: `Route` rows. Frameworks are told by decorators, annotations and registration calls; protection is
judged from the handler's own text and from what is registered for the whole application. A gateway in front cannot be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, Function, Module, walk
from afterguard.scan.check import Context
from afterguard.scan.flow import Flow
from afterguard.scan.protection import AUTH, LIMIT, OWN_KEYS, app_wide
from afterguard.scan.recognise import fold
from afterguard.scan.source_text import code_of

METHODS = {
    "addroutes",
    "addpost",
    "addget",
    "addroute",
    "addapiroute",
    "route",
    "get",
    "post",
    "put",
    "patch",
    "delete",
    "api_route",
    "apiroute",
    "websocket",
    "all",
    "handlefunc",
    "handle",
    "any",
}
ANNOTATIONS = {"postmapping", "getmapping", "requestmapping", "putmapping", "path", "httppost", "httpget", "apiview"}
_OWNERS = (
    "app",
    "router",
    "bp",
    "blueprint",
    "api",
    "server",
    "fastify",
    "http",
    "mux",
    "r",
    "e",
    "g",
    "routes",
    "hono",
    "group",
    "v1",
    "application",
    "web",
    "express",
    "engine",
    "srv",
    "koa",
)


class Route(NamedTuple):
    """A handler: its function's name, the line that registers it, and what protects it."""

    function: str
    line: int
    where: str
    runs_model: bool
    has_auth: bool
    has_limit: bool


def routes(parsed: Parsed, context: Context) -> list[Route]:
    """The handlers of a file. Empty for what is not code."""
    return context.kept(parsed, "routes", lambda: _routes(parsed, context))


def _routes(parsed: Parsed, context: Context) -> list[Route]:
    module = parsed.module
    if module is None:
        return []
    found = list(_declared(module))
    if not found:
        return []
    lines = context.lines(parsed)
    flow = context.flow(parsed)
    wide_auth, wide_limit = app_wide(lines)
    wide_auth = wide_auth or any(one.auth for one in context.summaries)
    wide_limit = wide_limit or any(one.limit for one in context.summaries)
    out = []
    for function, line, end, where in found:
        rows = lines[line - 1 : end]
        if function.name and not line <= function.line <= end:
            rows = rows + lines[function.line - 1 : function.end_line]
        text = "\n".join(code_of(row) for row in rows)
        own = "\n".join(row for row in text.split("\n") if not OWN_KEYS.search(row))
        out.append(
            Route(
                function.name,
                line,
                where,
                _runs_model(function, line, end, flow),
                wide_auth or bool(AUTH.search(own)),
                wide_limit or bool(LIMIT.search(text)),
            )
        )
    return out


def _declared(module: Module) -> Iterator[tuple[Function, int, int, str]]:
    for function in module.functions:
        for decorator in function.decorators:
            last = fold(decorator.text).rsplit(".", 1)[-1]
            path = _first_text(decorator)
            nest = "nestjs" in decorator.text and last in METHODS
            if (last in METHODS and "." in decorator.text and path.startswith("/")) or last in ANNOTATIONS or nest:
                yield function, min(decorator.line, function.line), function.end_line, path or decorator.text
                break
    names = {function.name: function for function in module.functions}
    for holder in module.functions:
        for statement in holder.body:
            for one in walk(statement.value):
                if one.kind == "call":
                    yield from _registered(one, holder, names)
    stem = module.path.rsplit("/", 1)[-1]
    if re.match(r"route\.[jt]sx?$", stem) or "/api/" in f"/{module.path}":
        for function in module.functions:
            if function.name in ("POST", "GET", "PUT", "handler", "default"):
                yield function, function.line, function.end_line, module.path


def _registered(call: Expr, holder: Function, names: dict[str, Function]) -> Iterator[tuple[Function, int, int, str]]:
    """app.post("/chat", handler), http.HandleFunc("/chat", handler)."""
    owner, _, last = call.text.rpartition(".")
    path = _first_text(call)
    route = path.startswith("/") or path.split(" ")[-1].startswith("/")
    if fold(last) not in METHODS or not route or len(call.parts) < 2:
        return
    bare = not owner and call.parts[-1].kind == "lambda"
    if not bare and not any(fold(owner).rsplit(".", 1)[-1].endswith(word) for word in _OWNERS):
        return
    handler = call.parts[-1]
    target = None
    if handler.kind == "name":
        target = names.get(handler.text) or next((f for n, f in names.items() if n.endswith("." + handler.text)), None)
    end = max(call.end_line, max((one.end_line or one.line for one in walk(call)), default=call.line))
    inline = [f for f in names.values() if f.name and call.line <= f.line <= end and f.end_line <= max(end, f.line)]
    target = target or (min(inline, key=lambda f: f.line) if inline else None)
    yield target or holder, call.line, end, path


def _first_text(call: Expr) -> str:
    if call.parts and call.parts[0].kind == "text":
        return call.parts[0].text
    for key, value in call.fields:
        if key in ("path", "rule", "value", "url") and value.kind == "text":
            return value.text
    return ""


def _runs_model(function: Function, line: int, end: int, flow: Flow) -> bool:
    """Whether a model runs between the lines, or in a function called from there."""
    todo = [(function.name, line, end), (function.name, function.line, function.end_line if function.name else 0)]
    met: set[str] = set()
    while todo and len(met) < 50:
        name, low, high = todo.pop()
        met.add(name)
        for seen in flow.calls:
            if not low <= seen.call.line <= high:
                continue
            if seen.is_model or any(
                atom.kind == "model" for value in (*seen.args, seen.receiver) for atom in value.atoms
            ):
                return True
            for other in flow.module.functions if flow.module else ():
                if (
                    other.name
                    and other.name not in met
                    and other.name.rsplit(".", 1)[-1] == seen.call.text.rsplit(".", 1)[-1]
                ):
                    todo.append((other.name, other.line, other.end_line))
    return any(
        atom.kind == "model"
        for owner, statement, value in flow.returned
        if owner.name == function.name and (function.name or line <= statement.line <= end)
        for atom in value.atoms
    )
