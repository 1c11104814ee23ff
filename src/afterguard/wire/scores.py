"""Scores in a reply: which numbers they are, what they say of each row, and the same reply with fewer digits or without them.

In: the bytes of a reply and the places where its outputs stand (`Place` in JSON, `Raw` in bytes). Out: scores and decisions by row; the reply with scores rounded or withheld, every other byte as it came, and as long as
before wherever it can be. It refuses (Unspliceable) where the numbers it finds are not those that were decoded.

What is a score: every number of a group in which one has a fraction or an exponent; whole numbers alone are classes. A group is what stands in one list or object, or `width` numbers of a flat list. Withheld,
a group of several keeps its decision: the largest becomes 1, the rest 0. A single number between 0 and 1 becomes 0 or 1, whichever is nearer; any other single number becomes null (NaN in bytes).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from afterguard.wire.lenient import mended
from afterguard.wire.splice import Unspliceable, spans
from afterguard.wire.table import CELLS, Unreadable

ROWS = 10_000
"""Rows of a reply whose scores are told."""
LABEL = 200
DEPTH = 12
TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?\d[\d.eE+\-]*+', re.DOTALL)


class Place(NamedTuple):
    """Outputs as JSON."""

    where: str
    """As splice spells places."""
    value: Any
    """What is there, decoded."""
    width: int = 0
    """Numbers of a row, where the list is flat; 0: the lists themselves say it."""


class Raw(NamedTuple):
    """Outputs as floats in bytes [start, end) of the body."""

    start: int
    end: int
    code: str
    """Of numpy: <f4."""
    width: int = 1


class Told(NamedTuple):
    """What a reply says of each row."""

    scores: tuple[float, ...] = ()
    decisions: tuple[str, ...] = ()
    places: tuple[Place | Raw, ...] = ()
    model: str = ""
    version: str = ""
    head: int = -1
    """Bytes of JSON before raw tensors; negative where there are none."""


def told(places: Sequence[Place | Raw], body: bytes = b"", labels: Sequence[str] = ()) -> Told:
    """Scores and decisions of the first places that have any; `labels` are classes that stand elsewhere."""
    scores: tuple[float, ...] = ()
    decisions = tuple(labels)
    for place in places:
        found, classes = _of_raw(body, place) if isinstance(place, Raw) else _of_value(place)
        scores = scores or found
        decisions = decisions or classes
    return Told(scores[:ROWS], decisions[:ROWS], tuple(places))


def _of_raw(body: bytes, place: Raw) -> tuple[tuple[float, ...], tuple[str, ...]]:
    rows = _view(body, place).reshape(-1, max(1, place.width))[:ROWS].astype(float)
    with np.errstate(all="ignore"):
        scores = tuple(np.fmax.reduce(rows, axis=1).tolist())
    if place.width == 1:
        return scores, ()
    return scores, tuple(map(str, np.argmax(np.where(np.isnan(rows), -np.inf, rows), axis=1).tolist()))


def _of_value(place: Place) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """(the largest score, the class) of each row."""
    value = place.value
    if isinstance(value, dict):
        return _of_row(value)
    if not isinstance(value, list):
        value = [value]
    is_flat = not any(isinstance(one, (list, dict)) for one in value[:1])
    if place.width > 1 and is_flat:
        value = [value[at : at + place.width] for at in range(0, min(len(value), ROWS * place.width), place.width)]
    elif is_flat and any(isinstance(one, float) for one in value):
        value = [[one] for one in value[:ROWS]]
        return tuple(float(row[0]) for row in value if _is_number(row[0])), ()
    scores: list[float] = []
    classes: list[str] = []
    for row in value[:ROWS]:
        found, named = _of_row(row)
        scores += found[:1]
        classes += named[:1]
    count = min(len(value), ROWS)
    return tuple(scores) if len(scores) == count else (), tuple(classes) if len(classes) == count else ()


def _of_row(row: Any) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """The largest number of a row that holds floats, and its class: a text or whole number that an object names, else the name or place of the largest."""
    cells = list(_scalars(row))
    numbers = [(key, one) for key, one in cells if isinstance(one, float)]
    if numbers and isinstance(row, list):
        numbers = [(key, float(one)) for key, one in cells if _is_number(one)]
    words = [
        _word(one)
        for _, one in cells
        if not isinstance(one, float | None) and not (numbers and isinstance(row, list) and _is_number(one))
    ]
    best = max(numbers, key=lambda one: -math.inf if math.isnan(one[1]) else one[1], default=None)
    label = words[0] if words else best[0] if best is not None and len(numbers) > 1 else ""
    return (best[1],) if best is not None else (), (label,) if label else ()


def _is_number(one: Any) -> bool:
    return (isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < LIMIT) or one != one


def _word(one: Any) -> str:
    if isinstance(one, bool):
        return "true" if one else "false"
    return str(one)[:LABEL] if isinstance(one, str) or abs(one) < LIMIT else ""


LIMIT = 1 << 64


def _scalars(row: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Scalars of a row with the name or the place of each."""
    if depth > DEPTH:
        return
    if isinstance(row, dict):
        for name, one in row.items():
            yield from _scalars(one, str(name)[:LABEL], depth + 1)
    elif isinstance(row, list):
        is_pair = len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], float)
        if is_pair:  # ["label", score], as classify answers
            yield row[0][:LABEL], row[1]
            return
        for place, one in enumerate(row[:CELLS]):
            yield from _scalars(one, str(place), depth + 1)
    else:
        yield key, row


# Fewer digits, or none.


def changed(body: bytes, places: Sequence[Place | Raw], digits: int, *, withheld: bool) -> bytes:
    """The reply with its scores rounded to `digits` (negative: not) or withheld. Raises Unspliceable."""
    raws: list[tuple[int, int, bytes]] = []
    json = [place for place in places if isinstance(place, Place)]
    if json:
        plain = mended(body)
        for place, (start, end) in zip(json, spans(plain, [one.where for one in json])):
            raws += _tokens(plain, start, end, place, digits, withheld)
    for one in places:
        if isinstance(one, Raw):
            raws.append((one.start, one.end, _changed_bytes(_view(body, one), one, digits, withheld)))
    return put(body, raws)


def put(body: bytes, raws: list[tuple[int, int, bytes]]) -> bytes:
    """The body with these bytes in place of those."""
    out: list[bytes] = []
    at = 0
    for start, end, new in sorted(raws):
        out += (body[at:start], new)
        at = end
    return b"".join((*out, body[at:]))


def _view(body: bytes, place: Raw) -> np.ndarray[Any, Any]:
    return np.frombuffer(memoryview(body)[place.start : place.end], place.code)


def _changed_bytes(numbers: np.ndarray[Any, Any], place: Raw, digits: int, withheld: bool) -> bytes:
    with np.errstate(all="ignore"):
        if not withheld:
            return np.round(numbers.astype(np.float64), max(0, digits)).astype(place.code).tobytes()
        rows = numbers.astype(np.float64).reshape(-1, max(1, place.width))
        if place.width > 1:
            hard = np.zeros_like(rows)
            hard[np.arange(len(rows)), np.argmax(np.where(np.isnan(rows), -np.inf, rows), axis=1)] = 1.0
        else:
            hard = np.where((rows >= 0) & (rows <= 1), (rows >= 0.5), np.nan)
        return hard.astype(place.code).tobytes()


def _tokens(
    body: bytes, start: int, end: int, place: Place, digits: int, withheld: bool
) -> Iterator[tuple[int, int, bytes]]:
    """New spellings of the numbers in a span."""
    tokens = [found for found in TOKEN.finditer(body, start, end) if found[0][:1] != b'"']
    leaves = list(_leaves(place.value, place.width))
    if len(tokens) != len(leaves):
        raise Unspliceable("the numbers of the reply are not those that were read: " + place.where[:100])
    at = 0
    while at < len(leaves):
        group = leaves[at][1]
        size = 1
        while at + size < len(leaves) and leaves[at + size][1] == group:
            size += 1
        numbers = [leaves[at + n][0] for n in range(size)]
        if any(isinstance(one, float) for one in numbers):
            made = _hard(numbers) if withheld else [_rounded(one, digits) for one in numbers]
            for token, new in zip(tokens[at : at + size], made):
                if new is not None and new != token[0]:
                    yield token.start(), token.end(), new
        at += size


def _rounded(number: float, digits: int) -> bytes | None:
    if isinstance(number, int) or not math.isfinite(number):
        return None
    return repr(round(number, max(0, digits))).encode()


def _hard(numbers: list[float]) -> list[bytes | None]:
    if len(numbers) == 1:
        only = numbers[0]
        return [b"%d.0" % (only >= 0.5) if 0 <= only <= 1 else b"null"]
    best = max(range(len(numbers)), key=lambda n: -math.inf if math.isnan(numbers[n]) else numbers[n])
    return [b"1.0" if n == best else b"0.0" for n in range(len(numbers))]


def _leaves(value: Any, width: int) -> Iterator[tuple[float, int]]:
    """Numbers in the order of the text, each with the number of its group. A list of numbers at the top is one number a row, or `width`; a whole
    number that an object names is a class."""
    if isinstance(value, list) and not any(isinstance(one, (list, dict)) for one in value):
        numbers = [one for one in value if isinstance(one, (int, float)) and not isinstance(one, bool)]
        yield from ((one, place // max(1, width)) for place, one in enumerate(numbers))
        return
    count = 0
    stack: list[tuple[Any, int, bool]] = [(value, 0, False)]
    while stack:
        one, group, is_named = stack.pop()
        if isinstance(one, (list, dict)):
            count += 1
            inner = list(one.values()) if isinstance(one, dict) else one
            is_pair = isinstance(one, list) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], float)
            own = group if is_pair else count
            stack.extend((cell, own, isinstance(one, dict)) for cell in reversed(inner))
        elif isinstance(one, (int, float)) and not isinstance(one, bool):
            count += 1
            yield one, -count if is_named and isinstance(one, int) else group


__all__ = ["Place", "Raw", "Told", "Unreadable", "changed", "put", "told"]
