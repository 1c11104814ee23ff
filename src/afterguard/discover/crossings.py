"""Web routes that run a model in another file -> ai_endpoint Assets, once the walk is over.

In: one Crossing a parsed file: what its functions call, which of them run a model, its routes. Out: Assets, inferred, for routes
that get to a model through functions of other files. Names are matched by function with its module's file name or with its
class, subclasses included; packages are not resolved, and what is looked up in a table or a container is not followed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from afterguard.code.mentions import stem
from afterguard.discover.endpoints import RELATIONS, handlers, is_served, routes
from afterguard.discover.facts import Facts
from afterguard.discover.reach import Reach, Thing, edges
from afterguard.model import Asset, AssetKind, Certainty, Evidence

STEPS = 6
"""Calls from file to file between a route and a model."""
THINGS = 12
CALLEES = 400
"""Callees kept for one function; more than that is a table, not a handler."""
_RUNS = (AssetKind.agent, AssetKind.model_artifact)
FITTING = 20
"""Functions one callee can mean; more, and its name says nothing."""
Place = tuple[int, str]


class Crossing(msgspec.Struct, frozen=True):
    """One file as routes of other files see it."""

    stem: str
    calls: dict[str, frozenset[str]]
    """Function -> what it calls, names resolved within the file, and the functions of the file it gets to."""
    runs: dict[str, frozenset[Thing]]
    """Functions that run a model or an agent, with what they run."""
    bases: dict[str, tuple[str, ...]]
    routes: tuple[tuple[str, Evidence, str, tuple[str, ...]], ...] = ()
    """(name, evidence, handler, functions) of routes that nothing in their own file explains."""


def crossing(facts: Facts, reach: Reach) -> Crossing:
    """What a file says for the others. Call it after every finder has marked what it found."""
    calls: dict[str, set[str]] = defaultdict(set)
    for function, call in facts.calls:
        if len(calls[function.name]) < CALLEES:
            calls[function.name].add(facts.full(call.text, function.name))
    runs: dict[str, frozenset[Thing]] = {}
    for name in facts.functions:
        marked = reach.marks.get(name, set())
        if name and (name in reach.runs or any(kind in _RUNS for kind, _ in marked)):
            runs[name] = frozenset(sorted(reach.of(name))[:THINGS])
    kept = {name: frozenset(found) for name, found in calls.items()}
    open_routes = []
    for route in routes(facts):
        names = handlers(facts, route)
        if names and not is_served(reach, route, names):
            near = {other for name in names for other in reach.family(name)}
            title = f"{route.method} {route.path}".strip()
            open_routes.append((title, facts.evidence(route.line), route.function, tuple(sorted(near))))
    return Crossing(stem(facts.path), kept, runs, dict(facts.classes), tuple(open_routes))


def find(crossings: Iterable[Crossing]) -> Iterator[Asset]:
    """Routes that get to a model in another file."""
    every = list(crossings)
    if not any(one.routes for one in every):
        return
    known = _spread(every)
    for at, one in enumerate(every):
        for name, evidence, handler, functions in one.routes:
            things: set[Thing] = set()
            found = False
            for function in functions:
                if (at, function) in known:
                    found, things = True, things | known[at, function]
            if found:
                yield Asset(
                    AssetKind.ai_endpoint,
                    name[:200],
                    Certainty.inferred,
                    (evidence,),
                    tuple(edges(things, RELATIONS)),
                    attributes={"handler": handler} if handler else {},
                )


def _spread(every: list[Crossing]) -> dict[Place, frozenset[Thing]]:
    """Every function that gets to a model within STEPS calls, with what it runs."""
    known: dict[Place, frozenset[Thing]] = {
        (at, name): things for at, one in enumerate(every) for name, things in one.runs.items()
    }
    callers = _callers(every)
    edge = list(known)
    for _ in range(STEPS):
        fresh: list[Place] = []
        for place in edge:
            for caller in callers.get(place, ()):
                if caller not in known:
                    known[caller] = known[place]
                    fresh.append(caller)
        edge = fresh
    return known


def wanted(crossings: Iterable[Crossing], layers: Iterable[Crossing] = ()) -> frozenset[str]:
    """Modules and classes whose functions open routes call, or files between them and a model: where to look next."""
    callees: set[str] = set()
    for one in crossings:
        for _, _, _, functions in one.routes:
            callees.update(callee for function in functions for callee in one.calls.get(function, ()))
    for one in layers:
        callees.update(callee for found in one.calls.values() for callee in found)
    out = {word for callee in callees for word in re.split(r"[./:()\[\]]+", callee.rstrip("()"))[:-1]}
    return frozenset(word for word in out if len(word) > 2 and word.isidentifier())


def _callers(every: list[Crossing]) -> dict[Place, list[Place]]:
    """Function -> functions that call it, over all files."""
    heirs = _heirs(every)
    named = _Named(every, heirs)
    out: dict[Place, list[Place]] = defaultdict(list)
    for at, one in enumerate(every):
        for caller, callees in one.calls.items():
            mine = heirs.get(caller.rpartition(".")[0].rpartition(".")[2], frozenset())
            for callee in callees:
                for place in named.places(callee, at, mine):
                    if place != (at, caller):
                        out[place].append((at, caller))
    return out


class _Named:
    """Functions of all files by what a callee can call them: own file, file name, class, or a telling name alone."""

    def __init__(self, every: list[Crossing], heirs: dict[str, frozenset[str]]) -> None:
        self.own: dict[tuple[str, int], list[Place]] = defaultdict(list)
        self.by_file: dict[tuple[str, str], list[Place]] = defaultdict(list)
        self.by_class: dict[tuple[str, str], list[Place]] = defaultdict(list)
        self.telling: dict[str, list[Place]] = defaultdict(list)
        for at, one in enumerate(every):
            for name in {*one.calls, *one.runs} - {""}:
                last, owner = name.rpartition(".")[2], name.rpartition(".")[0].rpartition(".")[2]
                if owner not in one.bases:
                    self.own[last, at].append((at, name))
                    if "." not in name:
                        self.by_file[last, one.stem].append((at, name))
                    continue
                for kin in heirs.get(owner, (owner,)):
                    self.by_class[last, kin].append((at, name))
                if len(re.findall(r"[A-Za-z][a-z]{2,}", last)) >= 2:
                    self.telling[last].append((at, name))

    def places(self, callee: str, at: int, mine: frozenset[str]) -> list[Place]:
        """What a callee in file `at`, in a class with the ancestors `mine`, can be; nothing where too much fits."""
        words = re.split(r"[./:()\[\]]+", callee.rstrip("()"))
        last, before = words[-1], words[:-1]
        found: list[Place] = []
        if not any(before):
            found += self.own.get((last, at), ())
        if before in (["self"], ["this"], ["cls"]):
            before = sorted(mine)
        for word in set(before) - {""}:
            found += self.by_file.get((last, word), ())
            found += self.by_class.get((last, word), ())
        if not found and len(before) == 1 and not re.search(r"[(/]|^\.", callee):
            found += self.telling.get(last, ())
        return found if len(found) <= FITTING else []


def _heirs(every: list[Crossing]) -> dict[str, frozenset[str]]:
    """Class -> it and the classes it inherits from, by plain name."""
    bases: dict[str, set[str]] = defaultdict(set)
    for one in every:
        for name, named in one.bases.items():
            bases[name.rpartition(".")[2]].update(_last(re.sub(r"\[.*", "", base)) for base in named)
    out = {}
    for name in bases:
        seen = [name]
        for one_name in seen:
            seen.extend(other for other in bases.get(one_name, ()) if other not in seen and len(seen) < 20)
        out[name] = frozenset(seen)
    return out


def _last(name: str) -> str:
    return name.rstrip("()").rpartition(".")[2].rpartition("/")[2]
