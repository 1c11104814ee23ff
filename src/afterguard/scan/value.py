"""What is known of a value while a file is followed: where it came from, what it was made safe for, what it is.

In and out: small immutable tuples and set arithmetic over them. Nothing here knows a language or a sink.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

NOTHING: frozenset[str] = frozenset()
CAP = 24
"""Origins kept for one value: beyond it more would not change a verdict."""


class Atom(NamedTuple):
    """One origin of a value.

    kind   model (a reply), tool (an argument a model chose for a tool), user (words that came in with a request), handle (an
           AI client or chain), param (a parameter, `what` is function#name), ret (result of a function of another file).
    what   the call, parameter or function named; line where it stands.
    clean  kinds of sink it was made safe for; "any" for all of them.
    """

    kind: str
    what: str
    line: int
    clean: frozenset[str] = NOTHING


class Value(NamedTuple):
    """A value: its origins, the resolved name of what it is (openai.OpenAI()), its text when it is a literal."""

    atoms: frozenset[Atom] = frozenset()
    name: str = ""
    text: str = ""


EMPTY = Value()


@lru_cache(maxsize=1 << 16)
def parts_of(dotted: str) -> frozenset[str]:
    """The plain names a dotted name or path is made of. The same ones are asked for over and over while files are compared."""
    return frozenset(re.split(r"[./:()]+", dotted))


def union(values: Iterable[Value]) -> frozenset[Atom]:
    """All origins of several values, at most CAP of them."""
    out: set[Atom] = set()
    for value in values:
        out |= value.atoms
        if len(out) > CAP:
            return frozenset(sorted(out, key=lambda atom: (atom.kind, atom.line, atom.what, sorted(atom.clean)))[:CAP])
    return frozenset(out)


def cleaned(atoms: frozenset[Atom], kinds: frozenset[str]) -> frozenset[Atom]:
    """The origins after a sanitiser; "all" leaves only client objects."""
    if "all" in kinds:
        return frozenset()
    return frozenset(atom._replace(clean=atom.clean | kinds) for atom in atoms)


def of(atoms: frozenset[Atom], kinds: tuple[str, ...], sink: str = "") -> Atom | None:
    """The first origin of one of `kinds` that was not made safe for `sink`."""
    found = [a for a in atoms if a.kind in kinds and not (sink and (sink in a.clean or "any" in a.clean))]
    return min(found, key=lambda atom: (kinds.index(atom.kind), atom.line, atom.what)) if found else None
