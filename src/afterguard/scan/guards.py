"""Tests that make a value safe: allow-lists, full patterns, root folders, validators.

In: a tested expression and the source text it stands in. Out: which names are safe for which sinks afterwards. Whether a test leaves
the function when it fails is not looked at; a name that is tested is taken to be handled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.syntax import Expr, walk
from afterguard.scan.recognise import cleans, fold

_MEMBER = re.compile(r"\bin\b|\.(includes|has|contains|containsKey|Contains|some|indexOf)\s*\(|slices\.Contains")
_PATH_GUARDS = {"isrelativeto", "relativeto", "startswith", "commonpath", "commonprefix", "hasprefix", "islocal"}


def guarded(test: Expr, text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """(name, kinds of sink it is safe for from here on) for every check that a test makes."""
    for one in walk(test):
        if one.kind == "other" and len(one.parts) == 2 and _MEMBER.search(text):
            left, right = one.parts
            if left.kind in ("name", "index", "call") and right.kind in ("name", "list", "map", "call"):
                yield from ((name, frozenset({"any"})) for name in names_in(left))
        elif one.kind == "call":
            yield from _call_guard(one)


def _call_guard(call: Expr) -> Iterator[tuple[str, frozenset[str]]]:
    last = fold(call.text.rsplit(".", 1)[-1])
    receiver = call.text.rpartition(".")[0]
    if last in ("fullmatch", "match", "test", "matches", "matchstring"):
        pattern = next((part.text for part in walk(call) if part.kind == "text"), "")
        if last in ("fullmatch", "matches", "matchstring", "test") or pattern.endswith(("$", "\\Z")):
            yield from ((name, frozenset({"any"})) for part in call.parts for name in names_in(part))
    elif last in ("includes", "has", "contains", "containskey") and call.parts and call.parts[-1].kind != "text":
        for name in names_in(call.parts[-1]):
            if name != receiver:
                yield name, frozenset({"any"})
    elif last in _PATH_GUARDS:
        held = receiver.partition(".")[0] if "(" in receiver else ""  # resolved.resolve().relative_to(root)
        inner = names_in(call.base) if call.base is not None else []
        for name in (receiver, held, *inner, *(n for part in call.parts for n in names_in(part))):
            if name:
                yield name, frozenset({"path"})
    elif cleans(call.text) == frozenset({"any"}) or last.startswith(("isvalid", "isallowed", "issafe")):
        yield from ((name, frozenset({"any"})) for part in call.parts for name in names_in(part))


def names_in(expr: Expr) -> list[str]:
    """Names inside an expression; cmd.split()[0] is about cmd."""
    out = [one.text for one in walk(expr) if one.kind in ("name", "index") and one.text and one.base is None]
    return out + [
        one.text.rpartition(".")[0] for one in walk(expr) if one.kind == "call" and one.base is None and "." in one.text
    ]
