"""Which functions of a file a model can call, so that their arguments count as written by the model.

In: a syntax.Module. Out: function name -> why. It knows the ways frameworks register tools (decorators, base classes,
registration calls, lists named tools, dispatch tables); it does not decide whether a tool is dangerous.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.syntax import Expr, Module, Statement, statements, walk
from afterguard.scan.recognise import fold

DECORATORS = {
    "tool", "functiontool", "kernelfunction", "toolplain", "registerforllm", "registertool", "registerforexecution",
    "betatool", "calltool", "skfunction", "aifunction", "mcptool", "llmtool", "agenttool", "llmcallable",
    "basetool", "aitool", "contextualtool",
}  # fmt: skip
BASES = {"basetool", "tool", "structuredtool", "functiontool", "basefunctiontool", "toolcallback", "mcptool"}
METHODS = {
    "_run",
    "_arun",
    "run",
    "arun",
    "call",
    "_call",
    "forward",
    "execute",
    "__call__",
    "invoke",
    "acall",
    "apply",
}
REGISTER = {
    "tool", "structuredtool", "fromfunction", "fromdefaults", "functiontool", "registerfunction", "addtool", "registertool",
    "bindtools", "dynamictool", "dynamicstructuredtool", "setrequesthandler", "createtool", "definetool", "functioncallback",
    "newtool", "newstructuredtool", "registertools", "addtools", "withtools", "defaulttools",
}  # fmt: skip
KEYWORDS = {"tools", "functions", "functionmap", "toolmap", "tools_list", "skills"}
_TABLES = ("tool", "functions", "function_map", "handlers", "registry", "dispatch", "available_")


def tool_functions(module: Module) -> dict[str, str]:
    """Functions a model can call, with the reason in a few words."""
    found: dict[str, str] = {}
    names = {function.name for function in module.functions if function.name}
    bases = {klass.name: klass.bases for klass in module.classes}
    for function in module.functions:
        for decorator in function.decorators:
            last = fold(decorator.text).rsplit(".", 1)[-1]
            if last in DECORATORS:
                found[function.name] = f"decorated with {decorator.text}"
        klass, _, method = function.name.rpartition(".")
        if method in METHODS and any(fold(base).rsplit(".", 1)[-1] in BASES for base in bases.get(klass, ())):
            found[function.name] = f"method of the tool class {klass}"
    for name in sorted(declared_tools(module)):
        found.update({name: "declared to the model by schema"} if name in names and name not in found else {})
    for name, reason in _registered(module):
        same = [n for n in names if n == name or n.startswith(name + "@")]
        for full in same or [n for n in names if n.endswith("." + name)]:
            found.setdefault(full, reason)
    return found


def declared_tools(module: Module) -> set[str]:
    """Names of tools that a file declares to a model as JSON schema."""
    out: set[str] = set()
    for _, statement in statements(module):
        for one in walk(statement.value):
            if one.kind == "map" and one.fields:
                held = dict(one.fields)
                if held.keys() & {"parameters", "input_schema", "inputSchema", "toolSpec"} and "name" in held:
                    out.add(held["name"].text)
    return out - {""}


def _registered(module: Module) -> Iterator[tuple[str, str]]:
    for _, statement in statements(module):
        yield from _table(statement)
        for one in walk(statement.value):
            if one.kind != "call":
                continue
            last = fold(one.text).rsplit(".", 1)[-1]
            if "agent" in last or last == "toolnode":
                given = (part for part in one.parts if part.kind == "list")
                yield from ((name, f"given to {one.text}") for part in given for name in _names(part))
            if last in REGISTER:
                yield from ((name, f"registered with {one.text}") for name in _names(one))
            for key, value in _fields(one):
                if fold(key) in KEYWORDS:
                    yield from ((name, f"listed in {key} of {one.text}") for name in _names(value))


def _fields(call: Expr) -> Iterator[tuple[str, Expr]]:
    yield from call.fields
    for part in call.parts:
        if part.kind == "map":
            yield from part.fields


def _table(statement: Statement) -> Iterator[tuple[str, str]]:
    """A list or table of functions whose name says it holds tools."""
    value = statement.value
    if statement.kind != "assign" or value is None or value.kind not in ("list", "map"):
        return
    for target in statement.targets:
        if any(word in target.lower() for word in _TABLES):
            yield from ((name, f"listed in {target}") for name in _names(value))


def _names(expr: Expr) -> Iterator[str]:
    """Functions an expression names or holds; what a lambda calls inside is not among them."""
    todo = [expr]
    while todo:
        one = todo.pop()
        if one.kind in ("name", "lambda") and one.text:
            yield one.text.removeprefix("self.").removeprefix("this.")
        if one.kind != "lambda":
            todo.extend(one.parts)
            todo.extend(value for _, value in one.fields)
            if one.base is not None:
                todo.append(one.base)
