"""What was seen in one file: calls with the origins of their arguments, assignments, returns, and who passes what to whom.

In: the records that follower makes. Out: `Flow`, which answers what reaches a value once every caller is known. It holds no language
and no sink.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from afterguard.code.syntax import Expr, Function, Module, Statement
from afterguard.scan.value import EMPTY, Atom, Value, of


class External(NamedTuple):
    """What other files are known to do: by last word of a function's name, (file stem, parameters, origins of its result)."""

    returns: Mapping[str, tuple[tuple[str, tuple[str, ...], frozenset[Atom]], ...]]
    incoming: Mapping[str, tuple[tuple[str, tuple[tuple[str, frozenset[Atom]], ...]], ...]]
    """By last word of a callee: (dotted callee, origins by position or keyword) of calls that carry model or user text."""
    tools: frozenset[str] = frozenset()
    """Names that some file declares to a model as tools."""


NOWHERE = External({}, {})


class Seen(NamedTuple):
    """A call: `name` with imports and objects resolved, origins of receiver, positional and keyword arguments."""

    function: Function
    call: Expr
    name: str
    folded: str
    receiver: Value
    args: tuple[Value, ...]
    keys: tuple[tuple[str, Value], ...]
    is_model: bool

    def key(self, *names: str) -> Value:
        """The keyword argument of one of the names."""
        return next((value for name, value in self.keys if name in names), EMPTY)


class Held(NamedTuple):
    """A map written out in the source: its values by key."""

    function: Function
    expr: Expr
    fields: dict[str, Value]


class Flow:
    """What was seen in one file. `resolve` replaces parameters by what callers pass."""

    def __init__(self, module: Module | None) -> None:
        self.module = module
        self.calls: list[Seen] = []
        self.assigned: list[tuple[Function, Statement, str, Value]] = []
        self.returned: list[tuple[Function, Statement, Value]] = []
        self.maps: list[Held] = []
        self.called: set[str] = set()
        """Functions of the file that are called in it."""
        self.returns: dict[str, frozenset[Atom]] = {}
        self.tools: dict[str, str] = {}
        """Functions a model can call, with the reason."""
        self.passed: dict[str, set[Atom]] = {}
        """function#parameter -> origins its callers pass."""
        self.with_ai = False

    def resolve(self, atoms: Iterable[Atom]) -> frozenset[Atom]:
        """Origins with every parameter replaced by what reaches it, as far as is known."""
        out: set[Atom] = set()
        todo = [(atom, atom.clean) for atom in atoms]
        met: set[tuple[str, frozenset[str]]] = set()
        while todo and len(met) < 400:
            atom, clean = todo.pop()
            if atom.kind != "param":
                out.add(atom._replace(clean=atom.clean | clean))
                continue
            if (atom.what, clean) in met:
                continue
            met.add((atom.what, clean))
            out.add(atom._replace(clean=clean))
            todo.extend((source, source.clean | clean) for source in self.passed.get(atom.what, ()))
        return frozenset(out)

    def tainted(self, value: Value, sink: str, kinds: tuple[str, ...] = ("model", "tool")) -> Atom | None:
        """The origin that makes a value dangerous for a sink, None when nothing does."""
        return of(self.resolve(value.atoms), kinds, sink) if value.atoms else None
