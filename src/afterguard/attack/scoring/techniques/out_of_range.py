"""A value that cannot be: beyond its range, below nought, enormous, in another unit, a category that there is not.

Only what the owner's file says cannot be is sent: of a feature without a range nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable

from afterguard.attack.scoring.bad import Spoil, attacked, chosen, spoiled
from afterguard.attack.scoring.contract import Aim, Attack, Cell, Pairs, Technique
from afterguard.attack.scoring.order import is_bounded
from afterguard.attack.scoring.space import Draw, is_number, is_whole
from afterguard.model import Severity

Found = tuple[str, Pairs] | None
MOST = 1e17
UNITS = (100.0, 1_000.0, 60.0, 24.0, 0.01, 0.001)
"""Cents and whole ones, milliseconds, hours and minutes, the other way round."""


def _moved(make: Callable[[float, float, float], list[float]], what: str) -> Spoil:
    """A number outside its range, as `make(value, low, high)` has it."""

    def spoil(aim: Aim, row: dict[str, Cell], draw: Draw) -> Found:
        can: dict[str, float] = {}
        for name, feature in aim.features.items():
            value = row.get(name)
            if not is_number(value):
                continue
            low = -MOST if feature.low is None else feature.low
            high = MOST if feature.high is None else feature.high
            outside = [one for one in make(float(value), low, high) if not low <= one <= high]
            if outside:
                can[name] = outside[0]
        names = [name for name in can if name in aim.changes] or list(can)
        if not names:
            return None
        name = chosen(names, draw)
        value = (
            int(can[name])
            if is_whole(aim, name) and abs(can[name]) < 1e15 and can[name] == int(can[name])
            else can[name]
        )
        return f"{name} is {value:.6g}, {what}", spoiled(row, name, value)

    return spoil


def _category(aim: Aim, row: dict[str, Cell], draw: Draw) -> Found:
    names = [name for name, feature in aim.features.items() if feature.values and isinstance(row.get(name), str)]
    return ("a category that there is not", spoiled(row, chosen(names, draw), "zz-unheard-of")) if names else None


FORMS: dict[str, Spoil] = {
    "beyond": _moved(lambda _, low, high: [high + max(1.0, high - low)] if high < MOST else [], "beyond its range"),
    "below": _moved(
        lambda _, low, high: [low - max(1.0, min(high, MOST) - low)] if low > -MOST else [], "below its range"
    ),
    "enormous": _moved(lambda value, low, high: [1e18, -1e18], "enormous"),
    "other-unit": _moved(lambda value, low, high: [float(round(value * unit, 9)) for unit in UNITS], "in another unit"),
    "unseen-category": _category,
}


def attack(aim: Aim, variant: str) -> Attack:
    return (yield from attacked(aim, FORMS[variant]))


def trials(aim: Aim) -> int:
    """Categories come last, and only where there are some."""
    has_values = any(feature.values for feature in aim.features.values())
    return len(FORMS) if has_values else len(FORMS) - 1 if any(map(is_bounded, aim.features.values())) else 0


TECHNIQUE = Technique(
    id="out-of-range",
    title="A row with a value that cannot be is decided",
    kind="evasion",
    severity=Severity.medium,
    taxonomies=("AML.T0015", "AML.T0043", "CWE-20", "CWE-1284"),
    fix="Agree on a range and on categories for every feature, and refuse a row that is outside before the model sees it.",
    rule="features-as-agreed",
    variants=tuple(FORMS),
    attack=attack,
    trials=trials,
    rows=3,
    steps=3,
    needs=frozenset({"ranges"}),
    hears_refusals=True,
)
