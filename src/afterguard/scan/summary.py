"""What one file tells the others: what its functions give back, and what it passes to functions it does not hold.

In: a parsed file. Out: `Summary`, small enough to keep for every file of an application, and the join of all of them.
Matching between files is by function name and module name; it does not resolve packages or inheritance.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from afterguard.code.manifest import packages
from afterguard.code.parse import Parsed
from afterguard.scan.approval import is_app_wide
from afterguard.scan.flow import External, Flow
from afterguard.scan.follower import follow
from afterguard.scan.protection import app_wide
from afterguard.scan.recognise import uses_ai
from afterguard.scan.tools import declared_tools
from afterguard.scan.value import Atom, parts_of

CARRIED = ("model", "tool", "user", "ret")


class Summary(msgspec.Struct, frozen=True):
    """One file as others see it."""

    path: str
    stem: str
    has_ai: bool = False
    returns: tuple[tuple[str, tuple[str, ...], frozenset[Atom]], ...] = ()
    """(function's last name, parameter names, origins of the result; a parameter's origin as kind param)."""
    passes: tuple[tuple[str, tuple[tuple[str, frozenset[Atom]], ...]], ...] = ()
    """(dotted callee, origins by position or keyword) of calls that leave the file with model or user text."""
    auth: bool = False
    """Authentication is registered here for every route of the application."""
    limit: bool = False
    """A rate limit is registered here for every route of the application."""
    approves: bool = False
    """Agents are made here so that a person approves their tools."""
    tools: frozenset[str] = frozenset()
    """Names declared to a model as tools."""
    locked: frozenset[tuple[str, str]] = frozenset()
    """(ecosystem, package) that a lock file here fixes to a version."""
    rendered: tuple[tuple[str, str, frozenset[Atom]], ...] = ()
    """(template file, variable, origins) handed to a template."""


def summarise(parsed: Parsed) -> Summary:
    """The summary of a file. Pure; an empty one for what is not code."""
    path = parsed.source.path
    stem = path.rsplit("/", 1)[-1].split(".", 1)[0]
    if stem in ("__init__", "index", "mod"):
        stem = path.rsplit("/", 2)[-2] if "/" in path else stem
    module = parsed.module
    locked = frozenset((one.ecosystem, one.name.lower()) for one in packages(parsed) if one.lock and one.version)
    if module is None:
        return Summary(path, stem, locked=locked)
    lines = parsed.source.data.decode("utf-8", "replace").split("\n")
    flow = follow(module, lines)
    auth, limit = app_wide(lines)
    return Summary(
        path,
        stem,
        uses_ai(module) or any(seen.is_model for seen in flow.calls),
        _returns(flow),
        _passes(flow),
        auth,
        limit,
        is_app_wide(lines),
        frozenset(declared_tools(module)),
        locked,
        _rendered(flow),
    )


def _returns(flow: Flow) -> tuple[tuple[str, tuple[str, ...], frozenset[Atom]], ...]:
    out = []
    functions = {one.name: one for one in flow.module.functions} if flow.module else {}
    for name, atoms in flow.returns.items():
        kept = frozenset(atom for atom in atoms if atom.kind in ("model", "user", "param", "handle", "ret"))
        if name and name in functions:
            params = tuple(p.name for p in functions[name].params if p.name not in ("self", "cls", "this"))
            out.append((name.rsplit(".", 1)[-1], params, kept))
    return tuple(out)


def _passes(flow: Flow) -> tuple[tuple[str, tuple[tuple[str, frozenset[Atom]], ...]], ...]:
    out = []
    for seen in flow.calls:
        given = []
        for key, value in (*((str(i), v) for i, v in enumerate(seen.args)), *seen.keys):
            atoms = frozenset(a for a in flow.resolve(value.atoms) if a.kind in CARRIED) if value.atoms else frozenset()
            if atoms:
                given.append((key, atoms))
        if given and not seen.is_model:
            out.append((seen.name, tuple(given)))
    return tuple(out)


def _rendered(flow: Flow) -> tuple[tuple[str, str, frozenset[Atom]], ...]:
    out = []
    for seen in flow.calls:
        if seen.folded.endswith(("rendertemplate", "templateresponse", ".render", "render")):
            name = next(
                (value.text for value in seen.args if value.text.endswith((".html", ".htm", ".j2", ".jinja"))), ""
            )
            for key, value in seen.keys:
                atoms = frozenset(a for a in flow.resolve(value.atoms) if a.kind in ("model", "ret"))
                if atoms:
                    out.append((name.rsplit("/", 1)[-1], key, atoms))
    return tuple(out)


def known_elsewhere(summaries: Iterable[Summary]) -> External:
    """The join of all summaries: results by function name, and what reaches a function from other files."""
    returns: dict[str, list[tuple[str, tuple[str, ...], frozenset[Atom]]]] = {}
    kept = list(summaries)
    for one in kept:
        for name, params, atoms in one.returns:
            returns.setdefault(name, []).append((one.stem, params, atoms))
    resolved = {name: tuple((s, p, _settled(a, returns, 0)) for s, p, a in rows) for name, rows in returns.items()}
    incoming: dict[str, list[tuple[str, tuple[tuple[str, frozenset[Atom]], ...]]]] = {}
    for one in kept:
        for callee, given in one.passes:
            last = callee.rsplit(".", 1)[-1]
            if last in returns:
                settled = tuple((key, _settled(atoms, returns, 0)) for key, atoms in given)
                incoming.setdefault(last, []).append((callee, settled))
    tools = frozenset(name for one in kept for name in one.tools)
    return External(resolved, {name: tuple(rows) for name, rows in incoming.items()}, tools)


def _settled(
    atoms: frozenset[Atom], returns: dict[str, list[tuple[str, tuple[str, ...], frozenset[Atom]]]], depth: int
) -> frozenset[Atom]:
    """Origins with results of other files' functions put in; at most three files in a row."""
    out: set[Atom] = set()
    for atom in atoms:
        if atom.kind != "ret":
            out.add(atom)
            continue
        for stem, _, found in returns.get(atom.what.rsplit(".", 1)[-1], ()):
            if depth < 3 and stem in parts_of(atom.what):
                inner = frozenset(a for a in found if a.kind != "param")
                out |= {a._replace(clean=a.clean | atom.clean) for a in _settled(inner, returns, depth + 1)}
    return frozenset(out)
