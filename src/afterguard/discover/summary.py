"""What one parsed file says to the others: constants, objects, what its functions reach, routes and mounts, open names.

In: Facts and Reach after every finder has marked what it found. Out: a Summary of plain names, bounded, without syntax trees, so that a
whole tree of them fits in memory. It looks into no other file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

import msgspec

from afterguard.code.syntax import Expr, Function, argument, walk
from afterguard.discover import endpoints
from afterguard.discover.facts import Facts, last_part
from afterguard.discover.reach import Reach, Thing
from afterguard.model import Asset, AssetKind, Certainty

CONSTANTS = 2_000
FUNCTIONS = 2_000
REFERENCES = 300
"""Names kept for one function; more than that is a table, not a handler."""
THINGS = 40
VALUES = 4
MARK = "unresolved:"
ANY = "?."
"""Starts a name whose object nothing is known about: `vn.write_sql` of an untyped parameter."""
_TEXT = 200
_MOUNTS = {"include_router", "register_blueprint", "use", "mount", "route", "register_router"}
_PLAIN = {
    "str",
    "int",
    "float",
    "bool",
    "dict",
    "list",
    "bytes",
    "string",
    "number",
    "any",
    "Any",
    "None",
    "object",
    "",
}
_PROSE = re.compile(r"\s|\A.{201}", re.S)
_CUT = re.compile(r"[.(\[]")
_FROM_SETTINGS = re.compile(r"BaseSettings$")


class Link(msgspec.Struct, frozen=True, gc=False):
    """An import: names that start with `prefix` are `name` (or anything, when empty) of `module`."""

    prefix: str
    module: str
    name: str
    alias: str


class Doing(msgspec.Struct, frozen=True, gc=False):
    """What a function does by itself: whether it runs a model, what it reaches, the names it uses, fully spelled."""

    runs: bool
    things: tuple[Thing, ...]
    references: tuple[str, ...]
    line: int
    shown: str
    """The words of its first line, masked."""
    returns: str = ""
    """What it returns when that is a call or a name: `Settings()`."""


class Path(msgspec.Struct, frozen=True, gc=False):
    """A route as registered: `functions` of this file answer it, or `outer`, a name of another file."""

    method: str
    path: str
    line: int
    router: str
    functions: tuple[str, ...]
    outer: str
    shown: str
    """The words of the line, masked."""
    handler: str
    references: tuple[str, ...] = ()
    """Names used by a handler written in place."""


class Mount(msgspec.Struct, frozen=True, gc=False):
    """Routes of `router` are served below `prefix` of `parent`."""

    parent: str
    router: str
    prefix: str
    replaces: bool = False
    """Its prefix stands instead of the one the router was made with."""


class Summary(msgspec.Struct, frozen=True, gc=False):
    """One file as the others see it."""

    path: str
    language: str
    links: tuple[Link, ...]
    constants: dict[str, tuple[str, ...]]
    """NAME, Class.attribute or map.key -> texts it can be; `unresolved:` ones name what would have to be known."""
    objects: dict[str, str]
    """Module variable or Class.attribute -> what it is made by: `Settings()`, `app.llm.client`."""
    held: dict[str, tuple[Thing, ...]]
    """Module variable or Class.attribute -> what was found inside its value."""
    functions: dict[str, Doing]
    tools: dict[str, str]
    """Function -> the name it is offered to a model under."""
    bases: dict[str, tuple[str, ...]]
    from_environment: frozenset[str]
    """Classes whose empty fields are filled from variables of the environment."""
    routes: tuple[Path, ...]
    mounts: tuple[Mount, ...]
    prefixes: dict[str, str]
    """Router -> the prefix it was made with; routes of this file have it already."""
    open_names: dict[str, str]
    """Name of an unresolved asset of this file -> the name to look for in others."""
    lists: dict[str, tuple[str, ...]]
    """Agent -> every name that stands where it is built."""
    handed: dict[str, tuple[str, ...]]
    """Agent -> names in its list of tools."""


def summarise(facts: Facts, reach: Reach, assets: Iterable[Asset]) -> Summary:
    """Call it after every finder; `assets` are those of this file."""
    found = list(assets)
    objects, held = _objects(facts, reach)
    return Summary(
        facts.path,
        facts.language,
        _links(facts),
        _constants(facts),
        objects,
        held,
        {name: _doing(facts, reach, name) for name in list(facts.functions)[:FUNCTIONS] if name},
        _tools(facts, found),
        {name: bases for name, bases in facts.classes.items() if bases},
        frozenset(name for name, bases in facts.classes.items() if any(map(_FROM_SETTINGS.search, bases))),
        tuple(_routes(facts, reach)),
        tuple(_mounts(facts)),
        _prefixes(facts),
        _open(facts, found),
        *_lists(facts, found),
    )


def _links(facts: Facts) -> tuple[Link, ...]:
    out = []
    for one in facts.module.imports[:1000]:
        name = "" if one.name in ("", "default") else one.name
        mark = "" if one.module.endswith(".") else "."
        shown = one.alias if one.name == "default" else name
        prefix = f"{one.module}{mark}{shown}" if shown and shown != "*" else one.module
        out.append(Link(prefix, one.module, one.name, one.alias))
    return tuple(sorted(out, key=lambda one: -len(one.prefix)))


def _constants(facts: Facts) -> dict[str, tuple[str, ...]]:
    out: dict[str, tuple[str, ...]] = {}
    for (scope, target), values in facts.values.items():
        if scope and not scope.startswith("class "):
            continue
        name = f"{scope[6:]}.{target}" if scope else target
        for value in values[:VALUES]:
            _constant(facts, out, name, value, scope, 2)
        if len(out) >= CONSTANTS:
            break
    return out


def _constant(facts: Facts, out: dict[str, tuple[str, ...]], name: str, value: Expr, scope: str, depth: int) -> None:
    if value.kind == "map" and depth:
        for key, inner in value.fields[:100]:
            _constant(facts, out, f"{name}.{key}", inner, scope, depth - 1)
        return
    if value.kind == "call" and argument(value, "default") is not None and last_part(value.text) in ("Field", "field"):
        value = argument(value, "default") or value
    if value.kind == "call" and value.fields and depth:
        for key, inner in value.fields[:50]:
            if inner.kind == "text" and not _PROSE.search(inner.text):
                out.setdefault(f"{name}.{key}", (inner.text[:_TEXT],))
    where = f"{scope[6:]}." if scope else ""
    texts = [
        one.text[:_TEXT]
        for one in facts.texts(value, where)
        if one.text and (one.text.startswith(MARK) or not _PROSE.search(one.text))
    ]
    if texts:
        out[name] = tuple(dict.fromkeys((*out.get(name, ()), *texts)))[:VALUES]


def _objects(facts: Facts, reach: Reach) -> tuple[dict[str, str], dict[str, tuple[Thing, ...]]]:
    objects: dict[str, str] = {}
    held: dict[str, tuple[Thing, ...]] = {}
    for (scope, target), values in facts.values.items():
        if (scope and not scope.startswith("class ")) or len(objects) >= CONSTANTS:
            continue
        name = f"{scope[6:]}.{target}" if scope else target
        for value in values[:VALUES]:
            inside = facts.origin.get(id(value), scope[6:] + "." if scope else "")
            if value.kind in ("call", "name"):
                text = spelled(facts, value.text, inside) + ("()" if value.kind == "call" else "")
                objects.setdefault(name, text[:_TEXT])
            things = reach.inside(value, inside) if reach.lines else set()
            if things:
                held[name] = tuple(sorted({*held.get(name, ()), *things}))[:THINGS]
    for function in facts.module.functions:
        owner = facts.owner(function.name)
        if owner and function.name.endswith((".constructor", ".__init__")):
            for param in function.params:
                if param.annotation not in _PLAIN:
                    objects.setdefault(f"{owner}.{param.name}", f"{_type(param.annotation)}()")
    return objects, held


def _type(annotation: str) -> str:
    """The class an annotation names: `Annotated[Service, Depends()]` and `Service | None` are Service."""
    inner = re.match(r"(?:typing\.)?(?:Annotated|Optional)\[([\w./@-]+)", annotation)
    return inner.group(1) if inner else re.split(r"[\[<|?]", annotation)[0].strip(" *&")


def spelled(facts: Facts, name: str, function: str) -> str:
    """A name with its root replaced by the class its parameter is annotated with, or by what made it."""
    if _imported(facts, name):
        return name
    root, mark, rest = name.partition(".")
    if root in ("self", "this", "cls"):
        owner = facts.owner(function)
        full = facts.full(name, function)
        return full if not full.startswith(root + ".") else f"{owner}.{rest}" if owner else ""
    here = function
    while function:
        holder = facts.functions.get(function)
        for param in holder.params if holder else ():
            if param.name == root:
                kind = _type(param.annotation)
                return f"{kind}(){mark}{rest}" if kind not in _PLAIN else f"{ANY}{rest}" if rest and not kind else ""
        function = function.rpartition(".")[0]
    return facts.full(name, here)


def _imported(facts: Facts, name: str) -> bool:
    """Whether a name was spelled out by an import: then `app.settings` is the package, whatever a variable `app` is."""
    known: set[str] | None = getattr(facts, "_prefixes", None)
    if known is None:
        known = facts._prefixes = {one.prefix for one in _links(facts)}  # type: ignore[attr-defined]
    if "." not in name and "/" not in name:
        return False
    cuts = [found.start() for found in _CUT.finditer(name)] + [len(name)]
    return any(name[:cut] in known and ("." in name[:cut] or "/" in name[:cut]) for cut in cuts)


def _doing(facts: Facts, reach: Reach, name: str) -> Doing:
    things = set(reach.marks.get(name, ()))
    for used in reach.used.get(name, ()) if reach.lines else ():
        things |= reach.through(used, name)
    texts = _texts_of(facts).get(name, {})
    open_ones = [text for text in texts if "." in text or "/" in text or text in _known(facts)]
    references = dict.fromkeys(spelled(facts, text, name) for text in open_ones[:REFERENCES])
    references.update(dict.fromkeys(reach.called(name)))
    returned = ""
    for statement in facts.functions[name].body:
        value = statement.value
        if statement.kind == "return" and value is not None and value.kind in ("call", "name"):
            returned = spelled(facts, value.text, name) + ("()" if value.kind == "call" else "")
    return Doing(
        name in reach.runs,
        tuple(sorted(things))[:THINGS],
        tuple(one[:_TEXT] for one in references if one),
        facts.functions[name].line,
        facts.evidence(facts.functions[name].line).matched,
        returned[:_TEXT],
    )


def _known(facts: Facts) -> set[str]:
    """Plain names that can mean something beyond a function: everything that is no local variable or built-in."""
    found: set[str] | None = getattr(facts, "_known_names", None)
    if found is None:
        found = {*facts.functions, *facts.classes, *(one.alias for one in facts.module.imports)}
        found |= {target for scope, target in facts.values if not scope}
        if facts.language in ("java", "kotlin", "go"):
            found |= {text for group in _texts_of(facts).values() for text in group if text[:1].isalpha()}
            found |= {target for scope, target in facts.values if scope.startswith("class ")}
        facts._known_names = found  # type: ignore[attr-defined]
    return found


def _texts_of(facts: Facts) -> dict[str, dict[str, None]]:
    """Function -> dotted names it uses, in order."""
    found: dict[str, dict[str, None]] | None = getattr(facts, "_texts_of", None)
    if found is None:
        found = defaultdict(dict)
        for function, expr in facts.of_kind("call", "name"):
            if expr.text:
                found[function.name][expr.text] = None
        facts._texts_of = found  # type: ignore[attr-defined]
    return found


def _names_in(facts: Facts, expr: Expr | None, function: str) -> tuple[str, ...]:
    out: dict[str, None] = {}
    for number, one in enumerate(walk(expr)):
        if number > 500 or len(out) >= REFERENCES:
            break
        if one.kind in ("name", "call") and one.text:
            out[spelled(facts, one.text, function)[:_TEXT]] = None
            for value in facts.look(one.text, function)[:2] if one.kind == "name" else ():
                if value.kind == "list":
                    out.update((spelled(facts, part.text, function), None) for part in value.parts[:100] if part.text)
    return tuple(one for one in out if one)


def _tools(facts: Facts, assets: list[Asset]) -> dict[str, str]:
    by_line = {asset.evidence[0].line: asset.name for asset in assets if asset.kind is AssetKind.tool}
    out = {}
    for function in facts.module.functions:
        if function.name and function.line in by_line:
            out[function.name] = by_line[function.line]
    return out


def _routes(facts: Facts, reach: Reach) -> Iterable[Path]:
    for route in endpoints.routes(facts):
        holder = "" if route.inline is None else route.function
        functions: list[str] = []
        if route.function and route.inline is None:
            own = route.function in facts.classes
            functions = (
                [one for one in facts.functions if one.startswith(route.function + ".")] if own else [route.function]
            )
        yield Path(
            route.method,
            route.path,
            route.line,
            route.router,
            tuple(functions[:50]),
            spelled(facts, route.outer, "")[:_TEXT] if route.outer else "",
            facts.evidence(route.line).matched,
            route.function,
            _names_in(facts, route.inline, holder),
        )


def _mounts(facts: Facts) -> Iterable[Mount]:
    for function, call in facts.calls:
        parent, _, word = call.text.rpartition(".")
        if word not in _MOUNTS or not parent:
            continue
        names = [one for one in (*call.parts, *(v for _, v in call.fields)) if one.kind in ("name", "call")]
        prefix = next((one.text for one in call.parts if one.kind == "text" and one.text.startswith("/")), "")
        for key in ("prefix", "url_prefix", "path"):
            prefix = facts.literal(argument(call, key), function.name) or prefix
        if not names:
            continue
        router = names[-1] if word in ("use", "route", "mount") else names[0]
        text = router.text
        if router.kind == "call" and last_part(text) == "require" and router.parts:
            text = router.parts[0].text
        prefix = prefix if prefix.startswith("/") else ""
        yield Mount(parent, text[:_TEXT], prefix, bool(prefix) and word == "register_blueprint")


def _prefixes(facts: Facts) -> dict[str, str]:
    out = {}
    for (scope, target), values in facts.values.items():
        for value in values[:2] if not scope else ():
            if value.kind == "call" and value.fields:
                given = facts.literal(argument(value, "prefix") or argument(value, "url_prefix"))
                if given.startswith("/"):
                    out[target] = given.rstrip("/")
    return out


def _open(facts: Facts, assets: list[Asset]) -> dict[str, str]:
    """Unresolved names of models, spelled as another file would know them. Parameters are nobody else's names."""
    out: dict[str, str] = {}
    for asset in assets:
        if asset.confidence is not Certainty.unresolved or not asset.name.startswith(MARK):
            continue
        text = asset.name[len(MARK) :].removesuffix(" variable")
        function = _at(facts, asset.evidence[0].line)
        full = spelled(facts, text, function)
        if full and re.fullmatch(r"[\w.@/$~#()\[\]\-]{1,200}", full):
            out[asset.name] = full
    return out


def _at(facts: Facts, line: int) -> str:
    """The innermost function around a line."""
    best: Function | None = None
    for one in facts.module.functions:
        if one.name and one.line <= line <= one.end_line and (best is None or one.line >= best.line):
            best = one
    return best.name if best else ""


def _lists(facts: Facts, assets: list[Asset]) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    agents = {one.evidence[0].line: one for one in assets if one.kind is AssetKind.agent}
    near: dict[str, tuple[str, ...]] = {}
    handed: dict[str, tuple[str, ...]] = {}
    for function, call in facts.calls if agents else ():
        asset = agents.get(call.line)
        if asset is None:
            continue
        names = _names_in(facts, call, function.name)
        near[asset.name] = tuple(dict.fromkeys((*near.get(asset.name, ()), *names)))[:REFERENCES]
        given = argument(call, "tools") or argument(call, "functions")
        for held in facts.resolve(given, function.name) if given is not None else ():
            parts = held.parts[:100] if held.kind == "list" else ()
            tools = [spelled(facts, part.text, function.name) for part in parts if part.kind == "name"]
            handed[asset.name] = tuple(dict.fromkeys((*handed.get(asset.name, ()), *filter(None, tools))))
    return near, handed
