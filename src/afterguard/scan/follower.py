"""Value flow through one file: which values came from a model, a user or an AI client, and what is done with them.

In: a syntax.Module of any language, its physical lines, and what is known of other files. Out: `Flow`: every call with the
origins of its arguments, every assignment and return. It follows source order, through assignments, text put together, fields,
calls and returns; a function is followed once, with its parameters as symbols that are filled in from all its callers.
It does not model branches, aliasing or time, and never guesses from a variable's name alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from afterguard.code.syntax import Expr, Function, Module, Statement, walk
from afterguard.scan.flow import NOWHERE, External, Flow, Held, Seen
from afterguard.scan.guards import guarded, names_in
from afterguard.scan.recognise import cleans, fold, is_ai_package, is_model_call, is_user_text, uses_ai, words
from afterguard.scan.scopes import class_of, is_constructor, substitute, told_apart
from afterguard.scan.tools import tool_functions
from afterguard.scan.value import EMPTY, Atom, Value, cleaned, of, parts_of, union

DEPTH = 40
"""Expressions nested deeper than this are taken as the union of their parts."""
CHAIN = 24
"""Calls of one function of the file by another that are followed in a row."""
ADDS = {
    "append", "extend", "add", "update", "push", "insert", "unshift", "concat", "write", "put", "set", "addall", "offer",
}  # fmt: skip
CALLABLE = (
    "pipeline", "llm", "chain", "predict", "react", "openai", "chat", "generator", "chainofthought", "huggingface",
)  # fmt: skip
"""Objects of AI packages that run a model when they are called."""
ARGUMENTS = (".function.arguments", "toolcall.arguments", "toolcall.args", "functioncall.arguments", "functioncall.args", "tooluse.input")  # fmt: skip
"""Shapes in which every provider hands over the arguments that a model chose for a tool."""
CALLBACKS = {
    "then", "map", "foreach", "filter", "flatmap", "subscribe", "reduce", "tap", "finally", "let", "also", "ifpresent", "find", "findlast",
}  # fmt: skip


def follow(module: Module | None, lines: list[str], external: External = NOWHERE) -> Flow:
    """Follow every value of a module once. Pure and bounded; an empty Flow for no module."""
    if module is None or not module.functions:
        return Flow(module)
    module = told_apart(module)
    flow = Flow(module)
    _Follower(module, lines, external, flow).run()
    return flow


class _Follower:
    """State of one walk through a file."""

    def __init__(self, module: Module, lines: list[str], external: External, flow: Flow) -> None:
        self.module, self.lines, self.external, self.flow = module, lines, external, flow
        flow.with_ai = self.with_ai = uses_ai(module)
        flow.tools = tool_functions(module)
        for function in module.functions:
            if function.name in external.tools and "_" in function.name:
                flow.tools.setdefault(function.name, "declared to the model in another file")
        self.functions = {function.name: function for function in module.functions}
        self.classes = {klass.name for klass in module.classes}
        self.enums = {klass.name for klass in module.classes if any("enum" in base.lower() for base in klass.bases)}
        self.fields: dict[str, Value] = {}
        self.globals: dict[str, Value] = {}
        self.done: dict[str, frozenset[Atom]] = {}
        self.busy: list[str] = []
        self.learnt = self.again = False
        self.setters: dict[str, str] = {}
        """React: name of a state's setter -> name of the state."""
        self.states: dict[str, frozenset[Atom]] = {}
        self.envs: dict[str, dict[str, Value]] = {}
        self.imported = {one.alias or one.name or one.module for one in module.imports}
        self.stem = module.path.rsplit("/", 1)[-1].split(".", 1)[0]

    def run(self) -> None:
        """Twice where the first walk learnt something that earlier statements should have known."""
        self._walk()
        if self.learnt:
            self.learnt, self.again = False, True
            self.flow.calls, self.flow.assigned, self.flow.returned, self.flow.maps = [], [], [], []
            self.done, self.envs, self.globals = {}, {}, {}
            self._walk()
        self._incoming()
        self.flow.returns = self.done

    def _walk(self) -> None:
        top = self.module.functions[0]
        for klass in self.module.classes:
            env: dict[str, Value] = {}
            for statement in klass.body:
                self._statement(statement, Function(klass.name, klass.line, klass.end_line), env)
            for name, value in env.items():
                self.fields[f"{klass.name}.{name}"] = value
        self._function(top)
        ordered = sorted(self.module.functions[1:], key=lambda f: not is_constructor(f))
        for function in ordered:
            self._function(function)

    def _incoming(self) -> None:
        for function in self.module.functions:
            if function.name in self.flow.tools:
                for param in function.params:
                    if param.name not in ("self", "this", "cls", "ctx", "context", "config", "runtime"):
                        atom = Atom("tool", f"{function.name}({param.name})", function.line)
                        self.flow.passed.setdefault(f"{function.name}#{param.name}", set()).add(atom)
            last = function.name.rsplit(".", 1)[-1]
            for dotted, given in self.external.incoming.get(last, ()):
                if self.stem in parts_of(dotted):
                    self._bind(function, given)

    def _bind(self, function: Function, given: Iterable[tuple[str, frozenset[Atom]]]) -> None:
        params = [p.name for p in function.params if p.name not in ("self", "cls", "this")]
        for key, atoms in given:
            name = params[int(key)] if key.isdigit() and int(key) < len(params) else key
            if name in params or key == "*":
                for one in params if key == "*" else [name]:
                    self.flow.passed.setdefault(f"{function.name}#{one}", set()).update(atoms)

    def _function(self, function: Function) -> frozenset[Atom]:
        if function.name in self.done:
            return self.done[function.name]
        if function.name in self.busy or len(self.busy) > CHAIN:
            return frozenset()
        self.busy.append(function.name)
        env = {
            param.name: Value(
                frozenset({Atom("param", f"{function.name}#{param.name}", function.line)}), param.annotation
            )
            for param in function.params
            if param.name
        }
        if not function.name:
            env = self.globals
        self.envs[function.name] = env
        out: set[Atom] = set()
        for statement in function.body:
            value = self._statement(statement, function, env)
            if statement.kind == "return":
                out |= value.atoms
        self.busy.pop()
        self.done[function.name] = union([Value(frozenset(out))])
        return self.done[function.name]

    def _statement(self, statement: Statement, function: Function, env: dict[str, Value]) -> Value:
        value = self._value(statement.value, function, env, 0)
        if statement.kind == "call" and statement.value is not None and statement.value.kind == "call":
            self._verified(statement.value, function, env)
        if statement.kind == "other" and statement.value is not None:
            self._guard(statement.value, function, env)
        elif statement.kind in ("assign", "for"):
            if len(statement.targets) == 2 and value.name.lower().endswith("usestate()"):
                self.setters[statement.targets[1]] = statement.targets[0]
                value = Value(value.atoms | self.states.get(statement.targets[0], frozenset()))
            counted = statement.kind == "for" and value.name == "enumerate()" and len(statement.targets) > 1
            if counted:
                self._assign(statement.targets[0], EMPTY, statement, function, env)
            for target in statement.targets[1:] if counted else statement.targets:
                kept = value if len(statement.targets) == 1 and statement.kind == "assign" else Value(value.atoms, "")
                self._assign(target, kept, statement, function, env)
        elif statement.kind == "return":
            self.flow.returned.append((function, statement, value))
        return value

    def _assign(
        self, target: str, value: Value, statement: Statement, function: Function, env: dict[str, Value]
    ) -> None:
        self.flow.assigned.append((function, statement, target, value))
        if target.startswith(("self.", "this.")):
            key = f"{class_of(function.name)}.{target.split('.', 1)[1]}"
            before = self.fields.get(key)
            if value.atoms - (before.atoms if before else frozenset()):
                self.learnt = True
            self.fields[key] = Value(union((value, before)), value.name) if self.again and before else value
        elif "." in target or "[" in target:
            base = re.split(r"[.\[]", target, maxsplit=1)[0]
            before = self._look(base, function, env)
            env[target] = value
            if base in env or value.atoms:
                env[base] = Value(union((before, value)), before.name)
        else:
            env[target] = value

    def _look(self, name: str, function: Function, env: dict[str, Value]) -> Value:
        """The value of a dotted name: the longest known prefix, its fields sharing its origins."""
        klass = class_of(function.name)
        bare = name.split(".", 1)[1] if name.startswith(("self.", "this.")) else name
        parts = bare.split(".")
        for cut in range(min(len(parts), 8), 0, -1):
            prefix = ".".join(parts[:cut])
            found = None if bare is not name else env.get(prefix)
            if found is None:
                found = self.fields.get(f"{klass}.{prefix}")
            if found is None and bare is name and env is not self.globals:
                found = self._outer(prefix, function)
            if found is not None:
                rest = parts[cut:]
                if rest and fold(rest[-1]) in words().metadata and of(found.atoms, ("model", "param")):
                    return Value(frozenset(a for a in found.atoms if a.kind in ("handle", "param")), "")
                if rest and rest[-1] in ("name", "stem") and fold(found.name).rsplit(".", 1)[-1] == "path":
                    return Value(cleaned(found.atoms, frozenset({"path"})), "")
                return found if not rest else Value(found.atoms, ".".join((found.name, *rest)) if found.name else "")
        return EMPTY

    def _outer(self, name: str, function: Function) -> Value | None:
        """A variable of an enclosing function or of the module."""
        scope = function.name
        while scope:
            scope = scope.rpartition(".")[0]
            found = self.envs[scope].get(name) if scope in self.envs else None
            if found is not None:
                return found
        return self.globals.get(name)

    def _value(self, expr: Expr | None, function: Function, env: dict[str, Value], depth: int) -> Value:
        if expr is None or expr.kind in ("number", "bool", "none"):
            return EMPTY
        if expr.kind == "text":
            return Value(text=expr.text[:4000])
        if expr.kind == "name" and expr.base is None:
            return self._name(expr, function, env)
        if depth > DEPTH:
            return Value(union(self._name(e, function, env) for e in walk(expr) if e.kind == "name"))
        if expr.kind == "call":
            return self._call(expr, function, env, depth)
        if expr.kind == "name":
            return self._attribute(expr, self._value(expr.base, function, env, depth + 1))
        parts = [self._value(part, function, env, depth + 1) for part in expr.parts]
        fields = [(key, self._value(field, function, env, depth + 1)) for key, field in expr.fields]
        parts += [value for _, value in fields]
        if expr.kind == "map" and fields:
            self.flow.maps.append(Held(function, expr, dict(fields)))
        if expr.base is not None:
            parts.append(self._value(expr.base, function, env, depth + 1))
        if expr.kind == "index" and len(parts) > 1 and fold(parts[1].text) in words().metadata:
            return EMPTY
        if expr.kind == "index" and len(parts) > 1:
            named = self._look(expr.text, function, env) if expr.text else EMPTY
            return Value(union((parts[0], named)), parts[0].name)
        if expr.kind == "other" and len(expr.parts) == 1 and not expr.fields:
            return parts[0]
        if expr.kind == "other" and len(expr.parts) > 2:
            return Value(self._conditional(expr, function, parts))
        text = "".join(part.text for part in parts) if expr.kind == "join" else ""
        return Value(union(parts), "", text[:4000])

    def _attribute(self, expr: Expr, held: Value) -> Value:
        """A field of a value that is not a plain name: reply().choices[0].text."""
        last = expr.text.rpartition(".")[2]
        name = f"{held.name}.{last}" if held.name else expr.text
        if fold(last) in words().metadata and of(held.atoms, ("model", "param")):
            return Value(frozenset(a for a in held.atoms if a.kind in ("handle", "param")), name)
        if last in ("name", "stem") and "path" in fold(held.name).rsplit(".", 1)[-1]:
            return Value(cleaned(held.atoms, frozenset({"path"})), name)
        if not held.atoms and is_user_text(fold(name)):
            return Value(frozenset({Atom("user", expr.text, expr.line)}), name)
        return Value(held.atoms, name)

    def _conditional(self, expr: Expr, function: Function, parts: list[Value]) -> frozenset[Atom]:
        atoms = union(parts)
        for part in expr.parts:
            if part.kind in ("other", "call") and any(guarded(part, self._text(expr))):
                return cleaned(atoms, frozenset({"any"}))
        return atoms

    def _name(self, expr: Expr, function: Function, env: dict[str, Value]) -> Value:
        found = self._look(expr.text, function, env)
        if fold(expr.text).endswith(ARGUMENTS) and not of(found.atoms, ("model", "tool")):
            return Value(found.atoms | {Atom("tool", expr.text, expr.line)}, found.name)
        if found is not EMPTY:
            return found
        if is_user_text(fold(expr.text)):
            return Value(frozenset({Atom("user", expr.text, expr.line)}), expr.text)
        if is_ai_package(expr.text):
            return Value(frozenset({Atom("handle", expr.text, expr.line)}), expr.text)
        return Value(frozenset(), expr.text)

    def _call(self, expr: Expr, function: Function, env: dict[str, Value], depth: int) -> Value:
        receiver, name = self._receiver(expr, function, env, depth)
        args = tuple(self._argument(part, expr, receiver, function, env, depth) for part in expr.parts)
        keys = tuple((key, self._value(field, function, env, depth + 1)) for key, field in expr.fields)
        folded = fold(name)
        handle = of(receiver.atoms, ("handle",)) is not None
        constants = [value.text for value in (*args, *(v for _, v in keys), receiver) if value.text]
        is_model = is_model_call(name, handle or is_ai_package(name), self.with_ai, constants)
        if not is_model and handle and expr.base is None and "." not in expr.text and name.endswith("()()"):
            is_model = any(word in folded for word in CALLABLE) and not any(
                word in folded for word in words().not_models
            )
        seen = Seen(function, expr, name, folded, receiver, args, keys, is_model)
        self.flow.calls.append(seen)
        self._mutate(expr, seen, function, env)
        self._callbacks(seen)
        return self._result(seen, function)

    def _argument(
        self, part: Expr, call: Expr, receiver: Value, function: Function, env: dict[str, Value], depth: int
    ) -> Value:
        """An argument's value; within rows.map(row => ...) the name of the row holds what the rows hold."""
        name = part.text[1:-1] if part.kind == "lambda" and part.text.startswith("(") else ""
        if not name or fold(call.text.rsplit(".", 1)[-1]) not in CALLBACKS:
            return self._value(part, function, env, depth + 1)
        before, env[name] = env.get(name, EMPTY), Value(receiver.atoms)
        value = self._value(part, function, env, depth + 1)
        env[name] = before
        return value

    def _receiver(self, expr: Expr, function: Function, env: dict[str, Value], depth: int) -> tuple[Value, str]:
        """The object a method is called on and the callee's name with that object's own name put in."""
        head, dot, last = expr.text.rpartition(".")
        if expr.base is not None:
            receiver = self._value(expr.base, function, env, depth + 1)
            return receiver, f"{receiver.name}.{last}" if receiver.name and dot else expr.text
        if not dot:
            held = self._look(expr.text, function, env)
            return held, held.name + "()" if held.name else expr.text
        receiver = self._name(Expr("name", expr.line, head), function, env)
        return receiver, f"{receiver.name}.{last}" if receiver.name else expr.text

    def _result(self, seen: Seen, function: Function) -> Value:
        named = seen.name + "()"
        if seen.is_model:
            return Value(frozenset({Atom("model", seen.call.text or seen.name, seen.call.line)}), named)
        if words().user_calls.match(seen.folded) or is_user_text(seen.folded):
            return Value(frozenset({Atom("user", seen.call.text, seen.call.line)}), named)
        if seen.call.text in self.enums:
            return Value(frozenset(), named)
        if seen.folded.endswith("promisify") and seen.args:
            return seen.args[0]
        local = self._local(seen, function)
        if local is not None:
            return self._called(local, seen)
        given = union((seen.receiver, *seen.args, *(value for _, value in seen.keys)))
        known = self._elsewhere(seen)
        if known is not None:
            return Value(known, named)
        kinds = cleans(seen.name)
        if kinds and seen.call.parts and seen.call.parts[0].kind == "lambda":
            kinds = frozenset()  # list.find(x => ...) gives an element, text.find("x") a position
        if kinds:
            return Value(cleaned(given, kinds), named)
        last = seen.folded.rsplit(".", 1)[-1]
        if last == "get" and seen.args and fold(seen.args[0].text) in words().metadata:
            return EMPTY
        if last in ("get", "getordefault") and seen.args and not self._is_type(seen.call.text):
            given = union((seen.receiver, *seen.args[1:]))
        if is_ai_package(seen.name):
            given = given | {Atom("handle", seen.name, seen.call.line)}
        elif self._may_be_ours(seen.name) and not of(seen.receiver.atoms, ("handle", "model", "tool", "user")):
            given = given | {Atom("ret", seen.name, seen.call.line)}
        return Value(given, named)

    def _may_be_ours(self, text: str) -> bool:
        root = re.split(r"[.(]", text.lstrip("./@"), maxsplit=1)[0]
        return "." in text and not is_ai_package(text) and root not in ("json", "os", "re", "subprocess", "logging")

    def _is_type(self, text: str) -> bool:
        """Whether a callee's first word is a module or a class: Paths.get builds, COMMANDS.get looks up."""
        first = text.split(".")[0]
        return first in self.imported or (first[:1].isupper() and first[1:2].islower())

    def _local(self, seen: Seen, function: Function) -> Function | None:
        """The function of this file that a call means."""
        text = seen.call.text
        for lead in ("self.", "this.", "cls."):
            if text.startswith(lead):
                return self.functions.get(f"{class_of(function.name)}.{text[len(lead) :]}")
        if "." not in text:
            scope = function.name
            while scope:
                found = self.functions.get(f"{scope}.{text}")
                if found:
                    return found
                scope = scope.rpartition(".")[0]
            return self.functions.get(text) or self.functions.get(f"{text}.__init__")
        plain = seen.name.replace("()", "")
        return self.functions.get(plain) if plain.split(".")[0] in self.classes else None

    def _called(self, local: Function, seen: Seen) -> Value:
        given = [(str(i), value.atoms) for i, value in enumerate(seen.args)]
        given += [(key, value.atoms) for key, value in seen.keys]
        self._bind(local, given)
        self.flow.called.add(local.name)
        returned = self._function(local)
        params = [p.name for p in local.params if p.name not in ("self", "cls", "this")]
        by_param = {params[i]: value for i, value in enumerate(seen.args) if i < len(params)}
        by_param.update(dict(seen.keys))
        atoms = substitute(returned, local.name, by_param)
        name = seen.name + "()" if local.name.endswith("__init__") or local.name in self.classes else ""
        return Value(cleaned(atoms, cleans(seen.name) - {"all"}), name)

    def _elsewhere(self, seen: Seen) -> frozenset[Atom] | None:
        """What a function of another file gives back, None when none is known by that name."""
        last = seen.call.text.rsplit(".", 1)[-1]
        for stem, params, returned in self.external.returns.get(last, ()):
            if stem != self.stem and stem in parts_of(seen.name):
                by_param = {params[i]: value for i, value in enumerate(seen.args) if i < len(params)}
                by_param.update(dict(seen.keys))
                return substitute(returned, "", by_param)
        return None

    def _mutate(self, expr: Expr, seen: Seen, function: Function, env: dict[str, Value]) -> None:
        head, dot, last = expr.text.rpartition(".")
        if not dot or fold(last) not in ADDS or expr.base is not None:
            return
        added = union((*seen.args, *(value for _, value in seen.keys)))
        if added:
            held = Value(union((seen.receiver, Value(added))), seen.receiver.name)
            if head.startswith(("self.", "this.")):
                self.fields[f"{class_of(function.name)}.{head.split('.', 1)[1]}"] = held
            else:
                env[head] = held

    def _callbacks(self, seen: Seen) -> None:
        """reply.then(text => ...): the callback's parameter is the receiver; setState(x): the state is x."""
        last = seen.folded.rsplit(".", 1)[-1]
        for part in seen.call.parts:
            if part.kind == "lambda" and part.text in self.functions and last in CALLBACKS:
                self._bind(self.functions[part.text], [("0", seen.receiver.atoms)])
        state = self.setters.get(seen.call.text)
        if state and seen.args and seen.args[0].atoms - self.states.get(state, frozenset()):
            self.states[state] = union((Value(self.states.get(state, frozenset())), seen.args[0]))
            self.learnt = True

    def _text(self, expr: Expr) -> str:
        last = min(max(expr.end_line, expr.line), expr.line + 3)
        return " ".join(self.lines[expr.line - 1 : last])[:600]

    def _guard(self, test: Expr, function: Function, env: dict[str, Value]) -> None:
        """A test of a value against an allow-list, a full pattern or a root folder makes it safe from here on."""
        for name, kinds in guarded(test, self._text(test)):
            held = self._look(name, function, env)
            if held.atoms:
                env[name] = Value(cleaned(held.atoms, kinds), held.name)

    def _verified(self, call: Expr, function: Function, env: dict[str, Value]) -> None:
        """validate_sql(statement) as a statement of its own: it raises, or what follows is safe."""
        last = fold(call.text.rsplit(".", 1)[-1])
        if last == "relativeto":  # raises where the path leaves the folder
            self._guard(call, function, env)
        if last.startswith(("validate", "ensure", "assert", "verify", "check", "require")) and not last.startswith(
            "requires"
        ):
            for part in call.parts:
                for name in names_in(part):
                    held = self._look(name, function, env)
                    if held.atoms and not of(held.atoms, ("handle",)):
                        env[name] = Value(cleaned(held.atoms, frozenset({"any"})), held.name)
