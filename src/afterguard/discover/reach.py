"""Which AI things a function gets to, directly, through variables of the file or through functions of the file.

In: Facts, and marks set while assets are found. Out: (kind, name) pairs for edges. Other files are not followed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property

from afterguard.code.syntax import Expr, Function, walk
from afterguard.discover.facts import Facts
from afterguard.model import AssetKind, Edge

Thing = tuple[AssetKind, str]
DEPTH = 8


class Reach:
    """Marks of one file. `mark` while finding, `of` afterwards."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.marks: dict[str, set[Thing]] = defaultdict(set)
        self.lines: dict[int, set[Thing]] = defaultdict(set)
        self.runs: set[str] = set()
        """Functions that run a model, whichever it is."""

    def mark(self, function: Function, expr: Expr, kind: AssetKind, name: str) -> None:
        """Say that `expr` in `function` is, makes or uses a thing."""
        self.lines[expr.line].add((kind, name))
        if function.name:
            self.marks[function.name].add((kind, name))

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """Last part of a function's name -> full names."""
        out: dict[str, list[str]] = defaultdict(list)
        for name in self.facts.functions:
            out[name.rpartition(".")[2]].append(name)
        return out

    @cached_property
    def used(self) -> dict[str, set[str]]:
        """Function -> roots of the names it uses: `llm`, `self.chain`, `helper`."""
        out: dict[str, set[str]] = defaultdict(set)
        for function, expr in self.facts.of_kind("name", "call", "lambda", "index"):
            if expr.text:
                parts = re.split(r"[.(\[]", expr.text, maxsplit=2)
                out[function.name].add(parts[0])
                if len(parts) > 1:
                    out[function.name].add(".".join(parts[:2]))
        return out

    def called(self, function: str) -> list[str]:
        """Functions of the file that a function calls or hands on."""
        out: list[str] = []
        owner = self.facts.owner(function)
        for name in self.used.get(function, ()):
            plain = name.partition(".")[2] if name.startswith(("self.", "this.", "cls.")) else name
            for one in self.names.get(plain, ()):
                near = "." not in one or (owner and one.startswith(owner)) or one.startswith(function + ".")
                if one != function and (near or "." in name):
                    out.append(one)
        return out

    def family(self, function: str) -> list[str]:
        """A function with all it gets to in this file."""
        seen = [function]
        for one in seen:
            if len(seen) > 200:
                break
            seen.extend(name for name in self.called(one) if name not in seen)
        return seen

    def of(self, function: str) -> set[Thing]:
        """Everything a function gets to, its variables included."""
        out: set[Thing] = set()
        for one in self.family(function):
            out |= self.marks.get(one, set())
            for name in self.used.get(one, ()):
                out |= self.through(name, one)
        return out

    def runs_model(self, function: str) -> bool:
        """Whether a function runs a model, directly or through functions of the file."""
        return any(one in self.runs for one in self.family(function))

    def through(self, name: str, function: str, depth: int = 4) -> set[Thing]:
        """Things a variable was made from."""
        out: set[Thing] = set()
        for value in self.facts.look(name, function)[:4]:
            out |= self.inside(value, function, depth)
        return out

    def inside(self, expr: Expr | None, function: str, depth: int = 4) -> set[Thing]:
        """Things an expression holds, names followed."""
        out: set[Thing] = set()
        if expr is None or depth <= 0:
            return out
        for number, one in enumerate(walk(expr)):
            if number > 300:
                break
            out |= self.lines.get(one.line, set()) if one.kind in ("call", "map", "lambda") else set()
            if one.kind == "name" and one.text:
                parts = one.text.split(".")
                out |= self.through(parts[0], function, depth - 1)
                if len(parts) > 1:
                    out |= self.through(".".join(parts[:2]), function, depth - 1)
        return out


def edges(things: set[Thing], relations: dict[AssetKind, str]) -> list[Edge]:
    """Edges to the things whose kind has a relation, in a fixed order."""
    return [Edge(relations[kind], kind, name) for kind, name in sorted(things) if kind in relations]
