"""Web routes whose handler runs a model -> ai_endpoint Assets, with what the handler calls.

In: Facts, marks of everything found before. Out: Assets named "METHOD /path". The handler, or a function of the same file it
calls, must run a model, an agent or a trained predictor; a route alone is nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from afterguard.code.syntax import Expr, Function, argument, walk
from afterguard.discover.facts import Facts, last_part
from afterguard.discover.reach import Reach, Thing, edges
from afterguard.model import Asset, AssetKind, Certainty

RELATIONS = {
    AssetKind.model: "calls",
    AssetKind.agent: "calls",
    AssetKind.model_artifact: "calls",
    AssetKind.vector_store: "reads",
    AssetKind.provider: "calls",
    AssetKind.inference_server: "calls",
    AssetKind.tool: "uses",
    AssetKind.embedding_model: "calls",
}
VERBS = {"get", "post", "put", "patch", "delete", "all", "any", "websocket", "route", "api_route", "add_url_rule", "add_api_route", "handle", "handlefunc", "add_post", "add_get", "on"}  # fmt: skip
_MAPPINGS = {"PostMapping": "POST", "GetMapping": "GET", "PutMapping": "PUT", "DeleteMapping": "DELETE", "PatchMapping": "PATCH", "RequestMapping": "ANY", "POST": "POST", "GET": "GET", "PUT": "PUT", "Post": "POST", "Get": "GET", "Put": "PUT", "Path": "", "MessageMapping": "MESSAGE"}  # fmt: skip
_SERVED = re.compile(r"(^|\.)(bentoml\.)?(api|service|endpoint|web_endpoint|fastapi_endpoint)$")
_VIEW = re.compile(
    r"(HTTPRequestHandler|RequestHandler|HttpServlet|APIView|MethodView|Resource|(^|\.)View|HTTPEndpoint)$"
)


class Route(NamedTuple):
    """A registered handler; `function` is "" where it is written in place without a block."""

    method: str
    path: str
    line: int
    function: str
    inline: Expr | None = None
    router: str = ""
    """The variable it is registered on."""
    outer: str = ""
    """A handler that another file holds, as named here."""


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Routes whose handler gets to a model."""
    seen: set[tuple[str, int]] = set()
    for route in routes(facts):
        names = handlers(facts, route)
        if not is_served(reach, route, names):
            continue
        things = _things(reach, route, names)
        name = f"{route.method} {route.path}".strip()
        if (name, route.line) not in seen:
            seen.add((name, route.line))
            yield facts.asset(
                AssetKind.ai_endpoint,
                name,
                route.line,
                Certainty.declared,
                edges(things, RELATIONS),
                handler=route.function,
            )


def is_served(reach: Reach, route: Route, names: list[str]) -> bool:
    """Whether the handler runs a model, an agent or a trained predictor by itself or through functions of its file."""
    things = _things(reach, route, names)
    ran = any(reach.runs_model(name) for name in names)
    ran = ran or any(kind in (AssetKind.agent, AssetKind.model_artifact) for kind, _ in things)
    return ran or (route.inline is not None and any(kind is AssetKind.model for kind, _ in things))


def _things(reach: Reach, route: Route, names: list[str]) -> set[Thing]:
    things: set[Thing] = set()
    for name in names:
        things |= reach.of(name)
    if route.inline is not None:
        things |= reach.inside(route.inline, route.function)
    return things


def handlers(facts: Facts, route: Route) -> list[str]:
    """The functions of the file that answer a route."""
    if not route.function:
        return []
    if route.function in facts.classes:
        return [name for name in facts.functions if name.startswith(route.function + ".")]
    return [route.function]


def routes(facts: Facts) -> Iterator[Route]:
    """Every route of the file, whatever its handler does."""
    prefixes = {klass.name: _mapping(klass.decorators) for klass in facts.module.classes}
    for function in facts.module.functions:
        for decorator in function.decorators:
            yield from _decorated(facts, function, decorator, prefixes)
    for function, call in facts.calls:
        yield from _registered(facts, function, call)
    yield from _by_class(facts)
    yield from _by_file(facts)


def _by_class(facts: Facts) -> Iterator[Route]:
    """Classes of handlers whose methods are the verbs: http.server, Tornado, Django and Flask views, servlets."""
    for klass in facts.module.classes:
        if not any(_VIEW.search(base) for base in klass.bases):
            continue
        for word in ("post", "get", "put", "do_POST", "do_GET", "doPost", "doGet"):
            one = facts.functions.get(f"{klass.name}.{word}")
            if one is not None:
                yield Route(word.removeprefix("do_").removeprefix("do").upper(), klass.name, one.line, one.name)


def _mapping(decorators: tuple[Expr, ...]) -> str:
    for one in decorators:
        if last_part(one.text) in ("RequestMapping", "Path", "Controller"):
            return _path(one)
    return ""


def _path(call: Expr) -> str:
    given = argument(call, "value") or argument(call, "path") or (call.parts[0] if call.parts else None)
    if given is not None and given.kind == "list" and given.parts:
        given = given.parts[0]
    return given.text if given is not None and given.kind == "text" else ""


def _decorated(facts: Facts, function: Function, decorator: Expr, prefixes: dict[str, str]) -> Iterator[Route]:
    word = last_part(decorator.text)
    if facts.language in ("java", "kotlin", "typescript"):
        if word in _MAPPINGS and (facts.language != "typescript" or word in ("Post", "Get", "Put")):
            base = prefixes.get(facts.owner(function.name), "").rstrip("/")
            base = f"/{base}" if base and not base.startswith("/") else base
            path = _path(decorator)
            method = _MAPPINGS[word]
            if word == "Path":
                method = next(
                    (
                        last_part(one.text)
                        for one in function.decorators
                        if last_part(one.text) in ("POST", "GET", "PUT")
                    ),
                    "ANY",
                )
            elif word in ("POST", "GET", "PUT") and any(last_part(one.text) == "Path" for one in function.decorators):
                return
            yield Route(
                method,
                base + ("/" if path and not path.startswith("/") else "") + path or "/",
                decorator.line,
                function.name,
            )
        return
    path = _path(decorator)
    if "." in decorator.text and word in VERBS and (path.startswith("/") or word == "websocket"):
        shown = _prefix(facts, decorator) + path
        router = decorator.text.rpartition(".")[0]
        yield Route(_method(word, decorator), shown, decorator.line, function.name, router=router)
    elif _SERVED.search(decorator.text) and re.search(r"bentoml|svc|modal|serve", decorator.text):
        yield Route("POST", path or "/" + function.name.rpartition(".")[2], decorator.line, function.name)


def _method(word: str, call: Expr) -> str:
    if word in ("route", "api_route", "add_url_rule", "add_api_route", "handle", "handlefunc"):
        given = argument(call, "methods")
        names = [part.text.upper() for part in given.parts if part.kind == "text"] if given is not None else []
        first = call.parts[0].text if call.parts and call.parts[0].kind == "text" else ""
        return (
            names[0]
            if names
            else first.split(" ")[0]
            if re.match(r"[A-Z]{3,7} /", first)
            else "GET"
            if word == "route"
            else "ANY"
        )
    return "ANY" if word in ("all", "any", "on") else word.removeprefix("add_").upper()


def _prefix(facts: Facts, call: Expr) -> str:
    """The prefix of the router a route hangs on, where it is made in the same file."""
    root = call.text.rpartition(".")[0]
    for value in facts.look(root, ""):
        if value.kind == "call":
            given = facts.literal(argument(value, "prefix") or argument(value, "url_prefix"))
            return given.rstrip("/") if given.startswith("/") else ""
    return ""


def _registered(facts: Facts, function: Function, call: Expr) -> Iterator[Route]:
    """app.post("/chat", handler), http.HandleFunc("/chat", handler), path("chat", view)."""
    word = last_part(call.text)
    if len(call.parts) < 2:
        return
    django = (
        word in ("path", "re_path", "url")
        and facts.language == "python"
        and re.search(r"django|^(path|re_path|url)$", call.text)
    )
    if not django and (word.lower() not in VERBS or "." not in call.text):
        return
    first = call.parts[0]
    text = facts.literal(first, function.name)
    path = text.split(" ")[-1]
    if not path.startswith("/") and not django:
        return
    handler = next((part for part in reversed(call.parts) if part.kind in ("name", "lambda", "call")), None)
    if handler is None:
        return
    method = _method(word.lower(), call) if not django else "ANY"
    router = call.text.rpartition(".")[0]
    if handler.kind == "lambda":
        yield Route(method, path, call.line, handler.text, handler if not handler.text else None, router)
        return
    for one in walk(handler):
        name = one.text.rstrip("()") if one.kind in ("name", "call") else one.text if one.kind == "lambda" else ""
        target = _target(facts, name, function.name)
        if target:
            yield Route(method, path, call.line, target, router=router)
            return
    if handler.text:
        yield Route(method, path, call.line, "", router=router, outer=handler.text.removesuffix(".as_view"))


def _target(facts: Facts, name: str, function: str) -> str:
    if not name:
        return ""
    plain = name.removesuffix(".as_view").rpartition(".")[2]
    for one in (f"{function}.{name}", name, f"{facts.owner(function)}.{plain}"):
        if one in facts.functions or one in facts.classes:
            return one
    return (
        next((one for one in (*facts.functions, *facts.classes) if one.rpartition(".")[2] == plain), "")
        if plain
        else ""
    )


def _by_file(facts: Facts) -> Iterator[Route]:
    """Next.js, SvelteKit, Nuxt and serverless handlers: the route is the file's place."""
    path = "/" + facts.path
    found = re.search(r"/(?:app|routes|src/routes)(/.*)/(?:route|\+server)\.[jt]sx?$", path)
    if found:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            if method in facts.functions:
                shown = re.sub(r"/\([^/]*\)", "", found.group(1))
                yield Route(method, shown, facts.functions[method].line, method)
        return
    found = re.search(r"/(?:pages|server)(/api/.*?)(?:/index)?(?:\.(post|get|put))?\.[jt]sx?$", path)
    if found:
        for name in ("handler", "default", "defineEventHandler"):
            if name in facts.functions:
                yield Route((found.group(2) or "ANY").upper(), found.group(1), facts.functions[name].line, name)
                return
        for one in facts.functions.values():
            if (
                one.name
                and "." not in one.name
                and (
                    ("@" in one.name and "EventHandler" in one.name)
                    or [p.name for p in one.params[:2]] == ["req", "res"]
                )
            ):
                yield Route((found.group(2) or "ANY").upper(), found.group(1), one.line, one.name)
                return
    for name in ("lambda_handler", "handler"):
        held = facts.functions.get(name)
        if held is not None and [p.name for p in held.params[:2]] in (
            ["event", "context"],
            ["event", "_context"],
            ["event", "_"],
            ["event"],
        ):
            yield Route("LAMBDA", name, one.line, name)
