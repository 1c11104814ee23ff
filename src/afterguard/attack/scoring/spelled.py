"""Rows and answers as texts, so that a journal, a replay and a report hold them like any other prompt and reply.

In: rows, answers. Out: JSON, and the way back. NaN, infinities and names that come twice survive it, as they have to. Raises ValueError for a text that is neither.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from afterguard.attack.scoring.contract import Answer, Cell, Pairs, Row

DEPTH = 900


def row(one: Row | Pairs) -> str:
    """One row as an object."""
    pairs = one if isinstance(one, tuple) else tuple(one.items())
    return "{" + ", ".join(f"{json.dumps(name)}: {cell(value)}" for name, value in pairs) + "}"


def cell(value: Cell) -> str:
    """One cell; NaN and infinities as JavaScript spells them."""
    return json.dumps(value)


def rows(some: Sequence[Row | Pairs]) -> str:
    """Rows as a list of objects."""
    return "[" + ", ".join(map(row, some)) + "]"


def read_rows(text: str) -> tuple[Pairs, ...]:
    """The rows of a text. Raises ValueError."""
    found = _json(text, object_pairs_hook=_Pairs)
    if not isinstance(found, list) or not all(isinstance(one, _Pairs) for one in found):
        raise ValueError("no rows")
    return tuple(tuple((str(name), _cell(value)) for name, value in one) for one in found)


class _Pairs(list[tuple[str, Any]]):
    """An object as it stood there; a list is another thing."""


def _cell(value: Any) -> Cell:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError("no cell")


def _json(text: str, **how: Any) -> Any:
    if text.count("[") + text.count("{") > 1_000_000:
        raise ValueError("too many rows")
    try:
        return json.loads(text, **how)
    except RecursionError:
        raise ValueError("nested too deep") from None


def answers(some: Sequence[Answer]) -> str:
    """Answers as {"answers": [[label, score], ...]}."""
    return json.dumps({"answers": [[one.label, _finite(one.score)] for one in some]})


def _finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None


def read_answers(text: str) -> tuple[Answer, ...]:
    """The answers of a text. Raises ValueError."""
    found = _json(text)
    listed = found.get("answers") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no answers")
    return tuple(_answer(one) for one in listed)


def _answer(one: Any) -> Answer:
    if not isinstance(one, list) or len(one) != 2 or not isinstance(one[0], str):
        raise ValueError("no answer")
    if isinstance(one[1], bool) or not isinstance(one[1], (int, float, type(None))):
        raise ValueError("no score")
    return Answer(one[0], None if one[1] is None else float(one[1]))
