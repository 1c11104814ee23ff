"""Names followed from file to file once the walk is over: models behind settings, routes behind wrappers, tools and stores elsewhere.

In: the assets of every file, unjoined, and a Summary for each program. Out: the same assets with what could be resolved put in place and
edges over files added, and web routes that reach a model in another file. What cannot be resolved stays as it is. Pure; bounded by STEPS
files a name, HOPS files and NODES functions a route.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from afterguard.discover import agents, endpoints, mounts, signals, tools, values
from afterguard.discover.lookup import Lookup
from afterguard.discover.packages import Packages
from afterguard.discover.reach import Thing, edges
from afterguard.discover.summary import Path, Summary
from afterguard.model import Asset, AssetKind, Certainty, Edge, Evidence

__all__ = ["Summary", "settle"]
HOPS = 4
NODES = 300
"""Functions looked at for one route, agent or tool."""
RELATIONS = {AssetKind.ai_endpoint: endpoints.RELATIONS, AssetKind.agent: agents.RELATIONS, AssetKind.tool: tools.RELATIONS}  # fmt: skip
_MODELS = {AssetKind.model, AssetKind.provider, AssetKind.agent, AssetKind.inference_server, AssetKind.model_artifact}
_RUN = {AssetKind.agent, AssetKind.model_artifact}

Step = tuple[str, str, int, bool]
"""File, function, files away from the start, and whether only one of several classes that it may be."""

Lead = tuple[str, tuple[str, ...], bool, set[Thing], bool]
"""File, its functions, whether only one of several classes, what its objects hold, and whether that runs a model."""


def settle(assets: Iterable[Asset], summaries: Iterable[Summary], paths: Iterable[str] = ()) -> list[Asset]:
    """Assets with names resolved over files. `paths` are the code files of the tree beside those with a summary."""
    every = list(assets)
    held = list(summaries)
    if not held:
        return every
    lookup = Lookup(held, Packages({*paths, *(one.path for one in held)}))
    named = values.settled(every, lookup)
    known = named.renamed
    walk = _Walk(lookup, known)
    out = [_with_edges(asset, walk) for asset in named.assets]
    served = mounts.Mounts(lookup)
    out = [_at_mount(asset, walk, served) for asset in out]
    out.extend(_routes(walk, served, out))
    out.extend(walk.handed(named.assets))
    return out


def runs_any(summaries: Iterable[Summary]) -> bool:
    """Whether any function of the files runs a model or an agent: without one no route can reach it."""
    return any(
        doing.runs or any(kind in _RUN for kind, _ in doing.things)
        for one in summaries
        for doing in one.functions.values()
    )


def missing(summaries: Iterable[Summary], packages: Packages) -> set[str]:
    """Files of the tree without a summary that names lead to on the way from a route that reaches no model yet."""
    lookup = Lookup(summaries, packages)
    walk = _Walk(lookup, {})
    for one in lookup.by_path.values():
        for route in one.routes:
            _reached(walk, one, route)
    return lookup.missing


class _Walk:
    """What functions get to over files. Where one of several classes may be meant, that a model is run counts, not which."""

    def __init__(self, lookup: Lookup, renamed: dict[str, dict[tuple[AssetKind, str], list[Thing]]]) -> None:
        self.lookup, self.renamed = lookup, renamed
        self.leads: dict[tuple[str, str], list[Lead]] = {}

    def gets(self, path: str, functions: Iterable[str], names: Iterable[str]) -> tuple[bool, set[Thing]]:
        """(whether a model is run, things) for functions of a file and for names used in it."""
        runs, things = False, set[Thing]()
        queue = [(path, name, 0, False) for name in functions]
        start = {(path, name) for path, name, _, _ in queue}
        for name in names:
            runs = self._named(name, (path, "", 0, False), queue, things) or runs
        seen: set[tuple[str, str]] = set()
        for step in queue:
            here, function, _, guess = step
            one = self.lookup.by_path.get(here)
            doing = one.functions.get(function) if one is not None else None
            if one is None or doing is None or (here, function) in seen or len(seen) >= NODES:
                continue
            seen.add((here, function))
            if function in one.tools and (here, function) not in start:
                things.add((AssetKind.tool, one.tools[function]))
                continue
            runs = runs or doing.runs
            things |= set() if guess else self.things(here, doing.things)
            for name in doing.references:
                runs = self._named(name, step, queue, things) or runs
        return runs or any(kind in _RUN for kind, _ in things), things

    def _named(self, name: str, step: Step, queue: list[Step], things: set[Thing]) -> bool:
        """Follow one name: queue functions it may mean, collect what objects hold. Whether it runs a model itself."""
        here, _, hops, unsure = step
        runs = False
        for path, functions, guess, found, ran in self._led(name, here):
            further, guess = hops + (path != here), guess or unsure
            if further > HOPS:
                continue
            queue.extend((path, function, further, guess) for function in functions)
            things |= set() if guess else found
            runs = runs or ran
        return runs

    def _led(self, name: str, here: str) -> list[Lead]:
        """Where a name leads, the same for every route that gets to it."""
        key = (here, name)
        if key not in self.leads:
            self.leads[key] = leads = []
            for one, symbol, guess in self.lookup.meanings(name, here):
                word = symbol.rpartition(".")[2]
                made = (symbol, *(f"{symbol}.{inner}" for inner in ("__init__", "constructor", word)))
                functions = tuple(known for known in made if known in one.functions)
                found = self.inside(one, symbol) if one.path != here else set()
                ran = word in signals.call_names("model_verbs") and any(kind in _MODELS for kind, _ in found)
                if functions or found:
                    leads.append((one.path, functions, guess, found, ran))
        return self.leads[key]

    def inside(self, one: Summary, symbol: str) -> set[Thing]:
        """What the variable or field at the head of a symbol holds."""
        parts = symbol.split(".")
        out: set[Thing] = set()
        for size in range(1, min(len(parts), 3) + 1):
            out |= self.things(one.path, one.held.get(".".join(parts[:size]), ()))
        return out

    def things(self, path: str, found: Iterable[Thing]) -> set[Thing]:
        """Things under the names they were resolved to."""
        known = self.renamed.get(path, {})
        return {new for thing in found for new in known.get(thing, [thing])}

    def handed(self, assets: list[Asset]) -> Iterator[Asset]:
        """Plain functions of other files that an agent is handed as tools."""
        seen: set[tuple[str, str]] = set()
        for asset in assets:
            for one, symbol in self.listed(asset):
                if symbol in one.tools or (one.path, symbol) in seen:
                    continue
                seen.add((one.path, symbol))
                things = self.gets(one.path, [symbol], ())[1]
                name = symbol.rpartition(".")[2]
                line, shown = one.functions[symbol].line, one.functions[symbol].shown
                yield Asset(
                    AssetKind.tool,
                    name[:200],
                    Certainty.inferred,
                    (Evidence(one.path, line, shown),),
                    tuple(edges(things, tools.RELATIONS)),
                )

    def listed(self, asset: Asset) -> Iterator[tuple[Summary, str]]:
        """Functions of other files in the tool list of an agent."""
        if asset.kind is not AssetKind.agent:
            return
        for seen in asset.evidence:
            holder = self.lookup.by_path.get(seen.path)
            for name in holder.handed.get(asset.name, ()) if holder is not None else ():
                for one, symbol, _ in self.lookup.meanings(name, seen.path):
                    if symbol in one.functions and one.path != seen.path:
                        yield one, symbol
                        break


def _with_edges(asset: Asset, walk: _Walk) -> Asset:
    """An agent, tool or endpoint of a program with its edges into other files."""
    relations = RELATIONS.get(asset.kind)
    if relations is None:
        return asset
    found: set[Thing] = set()
    for seen in asset.evidence:
        one = walk.lookup.by_path.get(seen.path)
        if one is None:
            continue
        if asset.kind is AssetKind.agent:
            found |= walk.gets(seen.path, (), one.lists.get(asset.name, ()))[1]
            found |= {(AssetKind.tool, one.tools.get(s, s.rpartition(".")[2])) for one, s in walk.listed(asset)}
        elif asset.kind is AssetKind.tool:
            functions = [name for name, title in one.tools.items() if title == asset.name]
            functions += [name for name in one.functions if name == asset.name and not functions]
            found |= walk.gets(seen.path, functions, ())[1] - {(AssetKind.tool, asset.name)}
        else:
            for route in one.routes:
                if route.line == seen.line:
                    found |= _reached(walk, one, route)[1]
    found.discard((asset.kind, asset.name))
    return _joined(asset, edges(found, relations))


def _joined(asset: Asset, more: list[Edge]) -> Asset:
    have = {(one.relation, one.kind, one.name) for one in asset.edges}
    fresh = [one for one in more if (one.relation, one.kind, one.name) not in have]
    return msgspec.structs.replace(asset, edges=(*asset.edges, *fresh)) if fresh else asset


def _reached(walk: _Walk, one: Summary, route: Path) -> tuple[bool, set[Thing]]:
    functions = list(route.functions)
    for name in functions[:]:
        functions += [other for other in one.functions if other.startswith(name + ".")][:50]
    names = (*route.references, *((route.outer,) if route.outer else ()))
    return walk.gets(one.path, functions, names)


def _at_mount(asset: Asset, walk: _Walk, served: mounts.Mounts) -> Asset:
    """An endpoint under the prefix that another file gives its router."""
    if asset.kind is not AssetKind.ai_endpoint or not asset.evidence:
        return asset
    seen = asset.evidence[0]
    one = walk.lookup.by_path.get(seen.path)
    for route in one.routes if one is not None else ():
        if one is not None and route.line == seen.line and asset.name == f"{route.method} {route.path}".strip()[:200]:
            return msgspec.structs.replace(asset, name=served.name(one, route)[:200])
    return asset


def _routes(walk: _Walk, served: mounts.Mounts, assets: list[Asset]) -> Iterator[Asset]:
    """Routes that reach a model in another file and are not known yet."""
    known: dict[str, set[int]] = defaultdict(set)
    for asset in assets:
        if asset.kind is AssetKind.ai_endpoint:
            for seen in asset.evidence:
                known[seen.path].add(seen.line)
    for path in sorted(walk.lookup.by_path):
        one = walk.lookup.by_path[path]
        for route in one.routes:
            if route.line in known[path]:
                continue
            runs, things = _reached(walk, one, route)
            if runs:
                yield Asset(
                    AssetKind.ai_endpoint,
                    served.name(one, route)[:200],
                    Certainty.inferred,
                    (Evidence(path, route.line, route.shown),),
                    tuple(edges(things, endpoints.RELATIONS)),
                    attributes={"handler": _handler(route)} if _handler(route) else {},
                )


def _handler(route: Path) -> str:
    return route.handler or re.split(r"[./]", route.outer.removesuffix("()"))[-1]
