"""Functions of a file by name: told apart, tied to their class, and their results filled in for one caller.

In: functions of a module and origins. Out: the same with names that differ, and origins without symbols. No walking of statements.
"""

from __future__ import annotations

import msgspec

from afterguard.code.syntax import Function, Module
from afterguard.scan.value import Atom, Value


def told_apart(module: Module) -> Module:
    """The module with functions of one name told apart by their line: two `execute` of two tools are two functions."""
    seen: set[str] = set()
    functions = []
    for function in module.functions:
        name = function.name if function.name not in seen else f"{function.name}@{function.line}"
        seen.add(name)
        functions.append(function if name == function.name else msgspec.structs.replace(function, name=name))
    return (
        module
        if len(seen) == len({f.name for f in module.functions})
        else msgspec.structs.replace(module, functions=tuple(functions))
    )


def substitute(returned: frozenset[Atom], function: str, given: dict[str, Value]) -> frozenset[Atom]:
    """What a function gives back, with its parameters replaced by what a caller passes."""
    out: set[Atom] = set()
    for atom in returned:
        if atom.kind != "param" or (function and not atom.what.startswith(function + "#")):
            out.add(atom)
            continue
        value = given.get(atom.what.rpartition("#")[2])
        if value is not None:
            out |= {one._replace(clean=one.clean | atom.clean) for one in value.atoms}
    return frozenset(out)


def is_constructor(function: Function) -> bool:
    """Whether a function makes objects of its class, so that fields are known after it."""
    last = function.name.rsplit(".", 1)[-1]
    return last in ("__init__", "constructor", "init") or last == function.name.rsplit(".", 2)[0]


def class_of(name: str) -> str:
    """The class (or enclosing function) in a qualified name."""
    return name.rpartition(".")[0] or name
