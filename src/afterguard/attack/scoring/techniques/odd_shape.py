"""A row that is not of the shape that was agreed: a feature twice with two values, features that are none, a very long value."""

from __future__ import annotations

from afterguard.attack.scoring.bad import Spoil, attacked, chosen, spoiled
from afterguard.attack.scoring.contract import Aim, Attack, Cell, Pairs, Technique
from afterguard.attack.scoring.space import Draw, is_number, limits
from afterguard.model import Severity

Found = tuple[str, Pairs] | None
LONG = 20_000
MANY = 50


def _twice(aim: Aim, row: dict[str, Cell], draw: Draw) -> Found:
    """Whoever checks may read the first, and the model the second."""
    names = [name for name in (aim.changes or row) if is_number(row.get(name))]
    if not names:
        return None
    name = chosen(names, draw)
    low, high = limits(aim, name)
    other = low if row[name] != low else high
    return f"{name} stands there twice, with {row[name]} and {other}", (*row.items(), (name, other))


def _extra(aim: Aim, row: dict[str, Cell], draw: Draw) -> Found:
    return f"{MANY} features that are none", (*row.items(), *((f"extra_{n}", 1) for n in range(MANY)))


def _long(aim: Aim, row: dict[str, Cell], draw: Draw) -> Found:
    texts = [name for name, value in row.items() if isinstance(value, str)]
    if texts:
        name = chosen(texts, draw)
        return f"{name} has {LONG} letters", spoiled(row, name, "x" * LONG)
    numbers = [name for name, value in row.items() if is_number(value)]
    return (f"{chosen(numbers, draw)} is a text of {LONG} digits", spoiled(row, numbers[0], "1" * LONG)) if numbers else None  # fmt: skip


FORMS: dict[str, Spoil] = {"twice": _twice, "extra": _extra, "very-long": _long}


def attack(aim: Aim, variant: str) -> Attack:
    return (yield from attacked(aim, FORMS[variant]))


TECHNIQUE = Technique(
    id="odd-shape",
    title="A row of another shape than was agreed is decided",
    kind="evasion",
    severity=Severity.low,
    taxonomies=("AML.T0015", "AML.T0043", "CWE-20", "CWE-1287", "CWE-436"),
    fix="Refuse names that come twice, names that are no features, and values longer than any that there can be, before the model sees the row.",
    rule="features-as-agreed",
    variants=tuple(FORMS),
    attack=attack,
    trials=lambda aim: len(FORMS),
    rows=3,
    steps=3,
    hears_refusals=True,
)
