"""What one parsed file says about its own names: what a variable holds, which library a call belongs to, where it stands.

In: Parsed. Out: Facts with look-ups that stay inside the file: constants, simple assignments, defaults of parameters and of
environment variables, fields of classes. It follows no imports into other files and no branches.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from afterguard.code.parse import Parsed
from afterguard.code.syntax import Expr, Function, Import, Module, argument, walk
from afterguard.discover import signals
from afterguard.discover.evidence import excerpt
from afterguard.discover.signals import ProductSignal
from afterguard.model import Asset, AssetKind, Certainty, Edge, Evidence

STEPS = 6
"""Assignments followed for one value."""
_ENV_CALLS = re.compile(
    r"(?:^|\.)(getenv|environ\.get|Getenv|LookupEnv|env\.get|getEnv|environ\.setdefault|config\.get|configService\.get"
    r"|viper\.Get(?:String)?|environ\.pop|env\.str|env|getProperty|os\.getenv|get_secret|decouple\.config)$"
)
_ENV_NAMES = re.compile(r"^(?:process\.env|import\.meta\.env|Bun\.env|\$env)\.(\w{2,80})$")


class Words(NamedTuple):
    """A text a value can be, with how sure that is. Unresolved ones name what would have to be known."""

    text: str
    certainty: Certainty
    line: int


class Facts:
    """Look-ups over one file, computed when first asked for."""

    def __init__(self, parsed: Parsed, module: Module) -> None:
        self.path = parsed.source.path
        self.data = parsed.source.data
        self.module = module
        self.language = module.language
        self.owners: dict[str, ProductSignal | None] = {}
        self.known: dict[tuple[str, str], str] = {}
        self.origin: dict[int, str] = {}
        """id of an assigned value -> the function it was assigned in, since names in it mean what they meant there."""

    @cached_property
    def holders(self) -> dict[int, str]:
        """id of an expression -> the variable that the value it stands in is assigned to."""
        out: dict[int, str] = {}
        for (_, target), values in self.values.items():
            for value in values:
                for one in walk(value):
                    out.setdefault(id(one), target.rpartition(".")[2])
        return out

    @cached_property
    def lines(self) -> list[bytes]:
        return self.data.split(b"\n")

    @cached_property
    def calls(self) -> list[tuple[Function, Expr]]:
        """Every call once, with the function it stands in."""
        return self.by_kind.get("call", [])

    @cached_property
    def products(self) -> list[tuple[Import, ProductSignal]]:
        """Imports of AI libraries. `guess` names (agents, camel) must import something of that library by name."""
        out = []
        for one in self.module.imports:
            signal = self.import_signal(one)
            if signal is not None:
                out.append((one, signal))
        strong = [one for one in out if "weak" not in one[1].roles]
        return out if strong else []

    def import_signal(self, one: Import) -> ProductSignal | None:
        signal = None
        if one.name and self.language in ("python", "notebook"):
            signal = signals.import_(self.language, f"{one.module}.{one.name}")
        signal = signal or signals.import_(self.language, one.module)
        if signal is not None and "guess" in signal.roles:
            known = set(signals.call_names("agents", signal.name)) | {
                "Runner",
                "function_tool",
                "handoff",
                "tool",
                "interpreter",
            }
            known |= {"ModelFactory", "RunContextWrapper", "guardrail", "input_guardrail", "trace", "ModelSettings"}
            if self.language in ("python", "notebook") and one.name not in known:
                return None
        return signal

    @cached_property
    def is_ai(self) -> bool:
        """Whether the file imports any AI library beyond doubt."""
        return bool(self.products)

    @cached_property
    def modules(self) -> list[tuple[str, ProductSignal]]:
        """(resolved prefix, library), the longest first."""
        out: dict[str, ProductSignal] = {}
        for one, signal in self.products:
            out[one.module] = signal
            if one.name and one.name not in ("default", "*"):
                out[f"{one.module}.{one.name}"] = signal
        return sorted(out.items(), key=lambda pair: -len(pair[0]))

    def product(self, full: str) -> ProductSignal | None:
        """The AI library a resolved callee belongs to."""
        if full not in self.owners:
            self.owners[full] = self._product(full)
        return self.owners[full]

    def _product(self, full: str) -> ProductSignal | None:
        for prefix, signal in self.modules:
            if full.startswith(prefix) and full[len(prefix) : len(prefix) + 1] in ("", ".", "("):
                if self.language in ("python", "notebook"):
                    return signals.import_(self.language, re.split(r"[(\[]", full, maxsplit=1)[0]) or signal
                return signal
        return None

    @cached_property
    def classes(self) -> dict[str, tuple[str, ...]]:
        return {klass.name: klass.bases for klass in self.module.classes}

    @cached_property
    def functions(self) -> dict[str, Function]:
        return {one.name: one for one in self.module.functions}

    @cached_property
    def values(self) -> dict[tuple[str, str], list[Expr]]:
        """(scope, name) -> values assigned. A scope is a function's name, "" or "class X"."""
        out: dict[tuple[str, str], list[Expr]] = defaultdict(list)
        self.origin = {}
        for klass in self.module.classes:
            for statement in klass.body:
                for target in statement.targets:
                    if statement.value is not None:
                        out[f"class {klass.name}", target].append(statement.value)
                        self.origin[id(statement.value)] = f"{klass.name}."
        for function in self.module.functions:
            owner = self.owner(function.name)
            for param in function.params:
                if param.default is not None:
                    out[function.name, param.name].append(param.default)
            for statement in function.body:
                if statement.kind != "assign" or statement.value is None:
                    continue
                self.origin[id(statement.value)] = function.name
                for target in statement.targets:
                    head, _, rest = target.partition(".")
                    typed = next((one.annotation for one in function.params if one.name == head), "") if rest else ""
                    if typed in self.classes:
                        out[f"class {typed}", rest].append(statement.value)
                    elif head in ("self", "this", "cls") and owner:
                        out[f"class {owner}", rest].append(statement.value)
                    else:
                        out[function.name, target].append(statement.value)
        return out

    def owner(self, name: str) -> str:
        """The class a function stands in, "" for none."""
        while name:
            name = name.rpartition(".")[0]
            if name in self.classes:
                return name
        return ""

    def look(self, name: str, function: str) -> list[Expr]:
        """Values a dotted name was given, nearest scope first."""
        head, _, rest = name.partition(".")
        if head in ("self", "this", "cls"):
            owner = self.owner(function)
            return self.values.get((f"class {owner}", rest), []) if owner else []
        holder = self.functions.get(function)
        typed = next((one.annotation for one in holder.params if one.name == head), "") if holder and rest else ""
        if typed in self.classes and (f"class {typed}", rest) in self.values:
            return self.values[f"class {typed}", rest]
        owner = self.owner(function)
        if owner and (f"class {owner}", name) in self.values and self.language in ("java", "kotlin"):
            return self.values[f"class {owner}", name]
        scope = function
        while True:
            found = self.values.get((scope, name))
            if found:
                return found
            if not scope:
                break
            scope = scope.rpartition(".")[0]
        if rest and head in self.classes:
            return self.values.get((f"class {head}", rest), [])
        return []

    def resolve(self, expr: Expr, function: str, steps: int = STEPS) -> list[Expr]:
        """What an expression can be, names followed; itself where nothing is known."""
        if steps <= 0:
            return [expr]
        if expr.kind == "name" and expr.base is None:
            found = self.look(expr.text, function) or self.field(expr.text, function, steps)
            out = []
            for value in found[:4]:
                if value is not expr:
                    out.extend(self.resolve(value, self.origin.get(id(value), function), steps - 1))
            return out or [expr]
        if expr.kind == "index" and len(expr.parts) > 1 and expr.parts[1].kind == "text":
            for base in self.resolve(expr.parts[0], function, steps - 1):
                hit = [value for key, value in base.fields if key == expr.parts[1].text]
                if base.kind == "map" and hit:
                    return self.resolve(hit[-1], function, steps - 1)
        return [expr]

    def field(self, name: str, function: str, steps: int) -> list[Expr]:
        """`settings.model` where settings is a map of the file, or an object of a class of the file."""
        head, mark, last = name.rpartition(".")
        if not mark or steps <= 1:
            return []
        for value in self.look(head, function)[:2]:
            if value.kind == "map":
                return [one for key, one in value.fields if key == last]
            if value.kind == "call" and value.text in self.classes:
                given = argument(value, last)
                return [given] if given is not None else self.values.get((f"class {value.text}", last), [])
        return []

    def full(self, name: str, function: str, steps: int = STEPS) -> str:
        """A dotted callee with its root variable replaced by what it was made by: client.chat -> openai.OpenAI().chat."""
        key = (name, function)
        found = self.known.get(key)
        if found is None:
            found = self._full(name, function, steps)
            if steps == STEPS:
                self.known[key] = found
        return found

    def _full(self, name: str, function: str, steps: int) -> str:
        if steps <= 0 or len(name) > 400:
            return name
        parts = re.split(r"(?=[.(\[])", name)
        for size in range(min(len(parts), 4), 0, -1):
            root = "".join(parts[:size])
            rest = "".join(parts[size:])
            made = self.maker(root, function, steps)
            if made and made != root:
                return self.full(made, function, steps - 1) + rest if len(made) < 300 else name
        return name

    def maker(self, root: str, function: str, steps: int) -> str:
        """What a variable was made by, "" when unknown."""
        for value in self.look(root, function):
            inner = next((one for one in value.parts if one.kind == "call"), None) if value.kind == "other" else value
            if inner is not None and inner.kind == "call" and not inner.text.startswith(root + "."):
                return f"{inner.text}()"
            if inner is not None and inner.kind in ("name", "index") and inner.text != root:
                made_in = self.origin.get(id(value), function)
                return self.typed(inner.text, made_in) or inner.text
        typed = self.typed(root, function)
        if typed:
            return typed
        if root.startswith(("self.", "this.")):
            return ""
        made = self.functions.get(root.removesuffix("()").removeprefix("self.")) if root.endswith("()") else None
        if made is not None and steps > 1:
            for statement in made.body:
                if (
                    statement.kind == "return"
                    and statement.value is not None
                    and statement.value.kind in ("call", "name")
                ):
                    shown = statement.value.text + ("()" if statement.value.kind == "call" else "")
                    return self.full(shown, made.name, steps - 2)
        return ""

    def typed(self, name: str, function: str) -> str:
        """`package.Class()` for a parameter of a function, or of one around it, that is annotated with an imported class."""
        while function:
            holder = self.functions.get(function)
            for param in holder.params if holder else ():
                if param.name == name:
                    return f"{param.annotation}()" if "." in param.annotation else ""
            function = function.rpartition(".")[0]
        return ""

    def variable(self, expr: Expr) -> tuple[str, Expr | None] | None:
        """(variable, default) when an expression reads an environment variable or a setting by literal name."""
        if expr.kind == "name":
            found = _ENV_NAMES.match(expr.text)
            return (found.group(1), None) if found else None
        if expr.kind == "index" and len(expr.parts) > 1 and expr.parts[1].kind == "text":
            if expr.text.endswith(
                ("environ", "process.env", "import.meta.env", "st.secrets", "secrets", "System.getenv()")
            ):
                return expr.parts[1].text, None
            return None
        if expr.kind == "call" and expr.parts and expr.parts[0].kind == "text" and _ENV_CALLS.search(expr.text):
            name = expr.parts[0].text
            if re.fullmatch(r"[A-Za-z_][\w.\-]{1,100}", name):
                default = expr.parts[1] if len(expr.parts) > 1 else argument(expr, "default")
                return name, default
        return None

    def texts(self, expr: Expr | None, function: str, steps: int = STEPS) -> list[Words]:
        """The texts a value can be. Empty where it is plainly no text."""
        if expr is None or steps <= 0:
            return []
        out: list[Words] = []
        for one in self.resolve(expr, function, steps):
            out.extend(self.words(one, function, steps))
        return out[:8]

    def words(self, one: Expr, function: str, steps: int) -> list[Words]:
        read = self.variable(one)
        if one.kind == "text":
            return [Words(one.text, Certainty.declared, one.line)]
        if read is not None:
            found = self.texts(read[1], function, steps - 1)
            sure = [word._replace(certainty=Certainty.inferred) for word in found if word.certainty != "unresolved"]
            return sure or [Words(f"unresolved:{read[0]} variable", Certainty.unresolved, one.line)]
        if one.kind == "other":
            found = [word for part in one.parts[:4] for word in self.texts(part, function, steps - 1)]
            sure = [word._replace(certainty=Certainty.inferred) for word in found if word.certainty != "unresolved"]
            return sure or found[:1]
        if one.kind == "join":
            pieces = [self.texts(part, function, steps - 1) for part in one.parts[:20]]
            if pieces and all(len(piece) == 1 and piece[0].certainty != "unresolved" for piece in pieces):
                return [Words("".join(piece[0].text for piece in pieces), Certainty.inferred, one.line)]
            return [Words("unresolved:text put together", Certainty.unresolved, one.line)]
        if one.kind == "name":
            return [Words(f"unresolved:{one.text[:80]} variable", Certainty.unresolved, one.line)]
        if one.kind == "index" and len(one.parts) > 1 and one.parts[1].kind == "text" and one.parts[0].kind == "name":
            shown = f"{one.parts[0].text}[{one.parts[1].text}]"
            return [Words(f"unresolved:{shown[:80]}", Certainty.unresolved, one.line)]
        if one.kind in ("call", "index"):
            return [Words(f"unresolved:{one.text[:80]}", Certainty.unresolved, one.line)]
        return []

    def literal(self, expr: Expr | None, function: str = "") -> str:
        """The first text a value surely or probably is, "" otherwise."""
        found = self.texts(expr, function)
        return next((one.text for one in found if one.certainty is not Certainty.unresolved), "")

    def evidence(self, line: int) -> Evidence:
        raw = self.lines[line - 1] if 0 < line <= len(self.lines) else b""
        return Evidence(self.path, line, excerpt(raw))

    def asset(
        self,
        kind: AssetKind,
        name: str,
        line: int,
        certainty: Certainty = Certainty.declared,
        edges: Iterable[Edge] = (),
        **attributes: str,
    ) -> Asset:
        """An asset with one piece of evidence; empty attributes are left out."""
        kept = {key: value for key, value in attributes.items() if value}
        return Asset(kind, name[:200], certainty, (self.evidence(line),), tuple(edges), attributes=kept)

    @cached_property
    def every(self) -> list[tuple[Function, Expr]]:
        """Every expression with the function it stands in, walked once; class bodies under the module."""
        out: list[tuple[Function, Expr]] = []
        top = self.module.functions[0] if self.module.functions else Function("", 1, 1)
        for function in self.module.functions:
            for decorator in function.decorators:
                _spread(decorator, function, out)
            for param in function.params:
                if param.default is not None:
                    _spread(param.default, function, out)
            for statement in function.body:
                if statement.value is not None:
                    _spread(statement.value, function, out)
        for klass in self.module.classes:
            for decorator in klass.decorators:
                _spread(decorator, top, out)
            for statement in klass.body:
                if statement.value is not None:
                    _spread(statement.value, top, out)
        return out

    @cached_property
    def by_kind(self) -> dict[str, list[tuple[Function, Expr]]]:
        """The same by kind of expression."""
        out: dict[str, list[tuple[Function, Expr]]] = {}
        for pair in self.every:
            out.setdefault(pair[1].kind, []).append(pair)
        return out

    def of_kind(self, *kinds: str) -> Iterator[tuple[Function, Expr]]:
        """Expressions of some kinds, kind after kind."""
        for kind in kinds:
            yield from self.by_kind.get(kind, ())


def _spread(expr: Expr, function: Function, out: list[tuple[Function, Expr]]) -> None:
    """Append an expression and everything inside it, outer before inner."""
    stack = [expr]
    while stack:
        one = stack.pop()
        out.append((function, one))
        if one.fields:
            stack.extend([field for _, field in reversed(one.fields)])
        if one.parts:
            stack.extend(reversed(one.parts))
        if one.base is not None:
            stack.append(one.base)


def last_part(name: str) -> str:
    """The last part of a dotted callee: `openai.OpenAI().chat.create` -> create."""
    return name.rstrip("()").rpartition(".")[2]
