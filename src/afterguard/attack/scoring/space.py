"""What an attacker can make of one row, within what the owner says can be changed: its box, moves in it, and changes of the same size that mean nothing.

In: an Aim, a row. Out: rows. Everything drawn comes from the generator that is given. No row leaves the bounds, whole numbers stay whole, categories are those the owner names, and what it costs stays below the owner's limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from afterguard.attack.scoring.contract import Aim, Cell, Row

Draw = np.random.Generator
FINE = 1e-3
"""Of the spread of a feature: a change that means nothing."""
DRAWS = 40


class Span(NamedTuple):
    """The numbers that a feature can be given."""

    low: float
    high: float
    is_whole: bool


Box = dict[str, "Span | tuple[str, ...]"]
"""Of each feature that can be changed: its numbers, or its other categories."""


def is_number(value: Any) -> TypeGuard[float]:
    """A finite one; a truth value is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def value_of(row: Row, name: str) -> float:
    """The number that a row has there; names of spans have one."""
    value = row[name]
    assert is_number(value)
    return float(value)


def numbers(aim: Aim, name: str) -> list[float]:
    """What honest rows have there."""
    return [float(value) for row in aim.rows if is_number(value := row.get(name))]


def is_whole(aim: Aim, name: str) -> bool:
    """Whether a feature holds whole numbers alone: its owner says so, or all honest rows do."""
    change = aim.changes.get(name)
    have = numbers(aim, name)
    return bool(change and change.whole) or (bool(have) and all(one == int(one) for one in have))


def spread(aim: Aim, name: str) -> float:
    """How far honest rows lie apart there."""
    have = numbers(aim, name)
    return float(np.ptp(have)) if have and np.ptp(have) > 0 else max(1.0, *(abs(one) for one in have or [0.0]))


def limits(aim: Aim, name: str) -> tuple[float, float]:
    """The range of a feature: the owner's, else that of honest rows."""
    feature, have = aim.features.get(name), numbers(aim, name) or [0.0]
    low = feature.low if feature and feature.low is not None else min(have)
    high = feature.high if feature and feature.high is not None else max(have)
    return low, high


def box(aim: Aim, row: Row) -> Box:
    """What can be made of a row."""
    out: Box = {}
    for name, change in aim.changes.items():
        value = row.get(name)
        if isinstance(value, (str, bool)):
            feature = aim.features.get(name)
            known = change.to or (feature.values if feature else ()) or _seen(aim, name)
            others = tuple(one for one in known if one != _text(value))
            if others:
                out[name] = others
        elif is_number(value):
            span = _span(aim, name, float(value))
            if span.high > span.low:
                out[name] = span
    return out


def _seen(aim: Aim, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_text(row[name]) for row in aim.rows if isinstance(row.get(name), (str, bool))))


def _text(value: Cell) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _span(aim: Aim, name: str, value: float) -> Span:
    change = aim.changes[name]
    low, high = limits(aim, name)
    if change.down is not None:
        low = max(low, value - change.down)
    elif change.up is not None:
        low = value
    if change.up is not None:
        high = min(high, value + change.up)
    elif change.down is not None:
        high = value
    if change.share is not None:
        low, high = max(low, value - abs(value) * change.share), min(high, value + abs(value) * change.share)
    whole = is_whole(aim, name)
    # A row that lies outside its own range stays where it is.
    low, high = min(low, value), max(high, value)
    return Span(math.ceil(low) if whole else low, math.floor(high) if whole else high, whole)


def put(row: Row, space: Box, values: dict[str, Any]) -> dict[str, Cell]:
    """The row with these values, as far as the box allows."""
    out = dict(row)
    for name, value in values.items():
        place = space.get(name)
        if isinstance(place, Span) and is_number(value):
            inside = min(place.high, max(place.low, float(value)))
            out[name] = round(inside) if place.is_whole else inside
        elif isinstance(place, tuple) and _text(value) in place:
            out[name] = (_text(value) == "true") if isinstance(row[name], bool) else _text(value)
    return out


def changed(row: Row, other: Row) -> list[str]:
    """Features in which two rows differ."""
    return [name for name in row if row[name] != other.get(name)]


def cost(aim: Aim, row: Row, other: Row) -> float:
    """What the changes cost an attacker."""
    return sum(aim.changes[name].cost for name in changed(row, other) if name in aim.changes)


def affordable(aim: Aim, row: Row, some: Sequence[dict[str, Cell]]) -> list[dict[str, Cell]]:
    """Those that are another row, once each, and not too dear."""
    out: dict[tuple[tuple[str, Cell], ...], dict[str, Cell]] = {}
    for one in some:
        if changed(row, one) and cost(aim, row, one) <= aim.most_cost:
            out.setdefault(tuple(one.items()), one)
    return list(out.values())


def ends(row: Row, space: Box) -> list[dict[str, Any]]:
    """Moves of one feature each: to both ends of its span, to each other category."""
    out: list[dict[str, Any]] = []
    for name, place in space.items():
        told = (place.low, place.high) if isinstance(place, Span) else place
        out += [{name: one} for one in told if one != row[name]]
    return out


def anywhere(space: Box, draw: Draw) -> dict[str, Any]:
    """A point of the box."""
    return {
        name: draw.uniform(place.low, place.high) if isinstance(place, Span) else place[int(draw.integers(len(place)))]
        for name, place in space.items()
    }


def between(row: Row, other: Row, space: Box, share: float) -> dict[str, Cell]:
    """A row on the line from one to another; categories are those of the other."""
    told: dict[str, Any] = {}
    for name, place in space.items():
        if isinstance(place, Span):
            here, there = value_of(row, name), value_of(other, name)
            told[name] = here + share * (there - here)
        else:
            told[name] = other[name]
    return put(row, space, told)


def distance(aim: Aim, row: Row, other: Row) -> float:
    """How far two rows lie apart: of each feature the share of its spread, a category 1; summed."""
    total = 0.0
    for name in changed(row, other):
        here, there = row[name], other.get(name)
        far = abs(float(here) - float(there)) if is_number(here) and is_number(there) else None
        total += 1.0 if far is None else far / spread(aim, name)
    return total


def aimless(aim: Aim, row: Row, other: Row, count: int, draw: Draw) -> list[dict[str, Cell]]:
    """Controls: changes of the same numbers by as much at most, in a direction and to a size that are drawn. None of them is the attack itself. A category has no size, and any other one would be another attack: it stays what it was, but where a row
    holds nothing else. Where the same features leave nothing else to be drawn, others are changed a little with them."""
    names, has_numbers = changed(row, other), any(map(is_number, row.values()))
    found: dict[tuple[tuple[str, Cell], ...], dict[str, Cell]] = {}
    for turn in range(DRAWS):
        one = dict(row)
        for name in names:
            if is_number(row[name]) and is_number(other[name]):
                one[name] = _number(aim, name, row[name], other[name], draw)
            elif not has_numbers:
                one[name] = _category(aim, name, row[name], other[name], draw)
        if turn >= DRAWS // 2 or one == row:
            one |= {name: _nudged(aim, name, value, draw) for name, value in row.items() if name not in names}
        if changed(row, one) and changed(other, one):
            found.setdefault(tuple(one.items()), one)
        if len(found) >= count:
            break
    return list(found.values())


def _number(aim: Aim, name: str, here: Any, there: Any, draw: Draw) -> Cell:
    low, high = limits(aim, name)
    moved = float(here) + draw.uniform(-1, 1) * abs(float(there) - float(here))
    inside = min(max(high, float(here)), max(min(low, float(here)), moved))
    return round(inside) if is_whole(aim, name) else inside


def _category(aim: Aim, name: str, here: Cell, there: Cell, draw: Draw) -> Cell:
    feature, change = aim.features.get(name), aim.changes.get(name)
    known = {*(change.to if change else ()), *(feature.values if feature else ()), *_seen(aim, name)}
    others = sorted(known - {_text(here), _text(there)})
    if not others or draw.random() < 0.5:
        return here
    chosen = others[int(draw.integers(len(others)))]
    return (chosen == "true") if isinstance(here, bool) else chosen


def _nudged(aim: Aim, name: str, value: Cell, draw: Draw) -> Cell:
    """A number moved so little that it means nothing, or not at all; anything else as it is."""
    if not is_number(value):
        return value
    step = 1 if is_whole(aim, name) else FINE * spread(aim, name)
    return _number(aim, name, value, float(value) + step, draw)


def slight(aim: Aim, row: Row, draw: Draw) -> dict[str, Cell]:
    """The row with one number changed so little that it means nothing; the row itself where it holds none."""
    names = [name for name, value in row.items() if is_number(value)]
    if not names:
        return dict(row)
    name = names[int(draw.integers(len(names)))]
    step = 1 if is_whole(aim, name) else FINE * spread(aim, name)
    value: Any = row[name]
    high = limits(aim, name)[1]
    return {**row, name: value + step if value + step <= max(high, value) else value - step}
