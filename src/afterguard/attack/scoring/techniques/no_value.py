"""A feature has no value, or none that is one: missing, null, NaN, infinite, a text where a number goes."""

from __future__ import annotations

import math

from afterguard.attack.scoring.bad import Spoil, attacked, chosen, spoiled
from afterguard.attack.scoring.contract import Aim, Attack, Cell, Pairs, Technique
from afterguard.attack.scoring.space import Draw, is_number
from afterguard.model import Severity

Found = tuple[str, Pairs] | None


def _number(aim: Aim, row: dict[str, Cell], draw: Draw) -> str:
    """A number that has to be there, preferably one that an attacker sends."""
    names = [name for name, value in row.items() if is_number(value) and _is_needed(aim, name)]
    own = [name for name in names if name in aim.changes]
    return chosen(own or names, draw) if names else ""


def _is_needed(aim: Aim, name: str) -> bool:
    feature = aim.features.get(name)
    return feature is None or (feature.required and feature.finite)


def _with(value: Cell, what: str) -> Spoil:
    def spoil(aim: Aim, row: dict[str, Cell], draw: Draw) -> Found:
        name = _number(aim, row, draw)
        return (f"{name} is {what}", spoiled(row, name, value)) if name else None

    return spoil


def _missing(aim: Aim, row: dict[str, Cell], draw: Draw) -> Found:
    name = _number(aim, row, draw)
    return (f"{name} is missing", tuple((key, value) for key, value in row.items() if key != name)) if name else None


def _emptied(aim: Aim, row: dict[str, Cell], draw: Draw) -> Found:
    """All that an attacker sends is missing."""
    names = [name for name in aim.changes if name in row and _is_needed(aim, name)]
    return ("everything that can be left out is missing", tuple((key, value) for key, value in row.items() if key not in names)) if names else None  # fmt: skip


FORMS: dict[str, Spoil] = {
    "missing": _missing,
    "not-a-number": _with(math.nan, "not a number"),
    "null": _with(None, "null"),
    "infinite": _with(math.inf, "infinite"),
    "text": _with("twelve", "a text"),
    "emptied": _emptied,
}


def attack(aim: Aim, variant: str) -> Attack:
    return (yield from attacked(aim, FORMS[variant]))


TECHNIQUE = Technique(
    id="no-value",
    title="A row without a value that it needs is decided",
    kind="evasion",
    severity=Severity.medium,
    taxonomies=("AML.T0015", "AML.T0043", "CWE-20", "CWE-1287"),
    fix="Hold every row against a schema before the model sees it, and refuse it where a value is missing, not finite or of another type; never fill in a default that decides.",
    rule="features-as-agreed",
    variants=tuple(FORMS),
    attack=attack,
    trials=lambda aim: len(FORMS),
    rows=3,
    steps=3,
    hears_refusals=True,
)
