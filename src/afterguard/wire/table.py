"""Feature rows of any spelling -> one table: columns with names, kinds and numbers.

In: decoded JSON (records, columns, a matrix, one row), CSV, or arrays that are views of the bytes that came. Out: a `Table`. Bounded: CELLS cells, FEATURES columns, TEXT characters of a
text. Whatever cannot be a table raises Unreadable with a fixed word; nothing here trusts a length that a stranger wrote down.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from afterguard.wire.predict import EMPTY, NUMBER

CELLS = 2_000_000
"""Cells of one request."""
FEATURES = 4_096
WIDE = 512
"""A vector of more numbers (an image, a sound) is summed up: BLOCKS means, and five figures."""
BLOCKS = 32
FIGURES = ("least", "most", "mean", "spread", "missing")
TEXT = 2_000
NAME = 200
LIMIT = 1 << 1000
"""Integers beyond it are no numbers."""
Array = np.ndarray[Any, Any]


class Unreadable(ValueError):
    """Rows that cannot be read. The message is a fixed word: shape_lies too_many_cells too_many_features bad_tensor ragged no_rows unknown_datatype."""


class Table(NamedTuple):
    """Columns side by side."""

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    numbers: Array
    texts: dict[int, tuple[str, ...]]
    is_named: bool = True

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.numbers)


def of_value(value: Any, name: str = "") -> Table:
    """A table of what a JSON body may hold as its rows: records, a matrix, columns, one record, one list of cells (each a row of one feature)."""
    if isinstance(value, dict):
        lists = [one for one in value.values() if isinstance(one, list)]
        if lists and len(lists) == len(value) and len({len(one) for one in lists}) == 1:
            return of_columns(value)
        return of_records([value])
    if not isinstance(value, list) or not value:
        raise Unreadable("no_rows")
    if isinstance(value[0], dict):
        return of_records(value)
    if isinstance(value[0], list):
        return of_matrix(value, name)
    return of_columns({name or "f0": value}, is_named=bool(name))


def of_records(rows: Sequence[Any]) -> Table:
    """One object a row; what a row lacks is missing."""
    names: dict[str, None] = {}
    for row in rows:
        if not isinstance(row, dict):
            raise Unreadable("ragged")
        if row.keys() - names.keys():
            names.update(dict.fromkeys(row))
        if len(names) > FEATURES or len(rows) * max(1, len(names)) > CELLS:
            raise Unreadable("too_many_features" if len(names) > FEATURES else "too_many_cells")
    return of_columns({name: [row.get(name) for row in rows] for name in names})


def of_columns(columns: dict[str, Any], *, is_named: bool = True) -> Table:
    """One list a feature, all of one length."""
    if not columns:
        raise Unreadable("no_rows")
    if len(columns) > FEATURES:
        raise Unreadable("too_many_features")
    lists = {str(name)[:NAME]: one if isinstance(one, list) else [one] for name, one in columns.items()}
    if len({len(one) for one in lists.values()}) != 1 or not next(iter(lists.values())):
        raise Unreadable("ragged")
    if sum(len(one) for one in lists.values()) > CELLS:
        raise Unreadable("too_many_cells")
    return joined([_column(name, one) for name, one in lists.items()])._replace(is_named=is_named)


def of_matrix(rows: Sequence[Any], name: str = "", names: Sequence[str] = ()) -> Table:
    """One list a row. `names` are those of the columns, where they are known; `name` is that of the whole."""
    width = len(rows[0]) if rows and isinstance(rows[0], list) else 0
    if not width or any(not isinstance(row, list) or len(row) != width for row in rows):
        raise Unreadable("ragged")
    if len(rows) * width > CELLS:
        raise Unreadable("too_many_cells")
    if names and len(names) != width:
        raise Unreadable("shape_lies")
    if isinstance(rows[0][0], list) or width > WIDE or not (names or _has_text(rows)):
        array = _array(rows)
        if array is not None and (array.ndim > 2 or not names):
            return of_array(array, name or "f")
    told = [str(one)[:NAME] for one in names] or numbered(name[:NAME] or "f", width)
    if len(told) > FEATURES:
        raise Unreadable("too_many_features")
    columns = joined([_column(one, [row[place] for row in rows]) for place, one in enumerate(told)])
    return columns._replace(is_named=bool(names))


def of_csv(text: str) -> Table:
    """Lines of cells, without a header; a first line in which no cell is a number names the columns, where others follow that hold some."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error:
        raise Unreadable("bad_csv") from None
    if not rows or sum(map(len, rows)) > CELLS:
        raise Unreadable("too_many_cells" if rows else "no_rows")
    cells = [[cell(one) for one in row] for row in rows]
    is_head = len(cells) > 1 and all(isinstance(one, str) for one in cells[0]) and _has_number(cells[1])
    return of_matrix(cells[1:], names=rows[0]) if is_head else of_matrix(cells)


def of_array(array: Array, name: str, kind: str = "number") -> Table:
    """A tensor whose first dimension is the rows; a view of it where its numbers are few enough to be looked at one by one."""
    flat = array.reshape(len(array), -1) if array.ndim != 1 else array.reshape(-1, 1)
    rows, width = flat.shape
    if not rows or not width:
        raise Unreadable("no_rows")
    if width > WIDE:
        return _summed(flat, name)
    names = (name[:NAME],) if width == 1 else numbered(name[:NAME], width)
    return Table(names, (kind,) * width, flat, {}, is_named=name != "f")


def of_texts(texts: Sequence[str], width: int, name: str) -> Table:
    """A tensor of texts, row by row."""
    rows = len(texts) // width
    if not rows:
        raise Unreadable("no_rows")
    names = (name[:NAME],) if width == 1 else numbered(name[:NAME], width)
    cut = [one[:TEXT] for one in texts]
    columns = {place: tuple(cut[place::width]) for place in range(width)}
    return Table(names, ("text",) * width, np.full((rows, width), np.nan), columns)


def joined(tables: Sequence[Table]) -> Table:
    """Tables side by side. One row beside many counts for each of them."""
    if len(tables) == 1:
        return tables[0]
    rows = max((one.rows for one in tables), default=0)
    if not rows:
        raise Unreadable("no_rows")
    if any(one.rows not in (1, rows) for one in tables):
        raise Unreadable("ragged")
    if sum(len(one.names) for one in tables) > FEATURES:
        raise Unreadable("too_many_features")
    numbers = np.empty((rows, sum(len(one.names) for one in tables)))
    texts: dict[int, tuple[str, ...]] = {}
    at = 0
    for one in tables:
        numbers[:, at : at + len(one.names)] = one.numbers
        texts |= {at + n: found if one.rows == rows else found * rows for n, found in one.texts.items()}
        at += len(one.names)
    names = tuple(name for one in tables for name in one.names)
    kinds = tuple(kind for one in tables for kind in one.kinds)
    return Table(names, kinds, numbers, texts, all(one.is_named for one in tables))


def cell(text: str) -> Any:
    """What a cell of CSV means."""
    short = text.strip()
    if len(short) < 90 and NUMBER.match(short):
        return float(short)
    low = short.lower()
    if low in EMPTY or low in ("inf", "-inf", "infinity", "-infinity"):
        return None if low in EMPTY - {"nan"} else math.nan if low == "nan" else float(low)
    return {"true": True, "false": False}.get(low, short[:TEXT])


@lru_cache(maxsize=64)
def numbered(name: str, width: int) -> tuple[str, ...]:
    """f0, f1, f2..."""
    return tuple(f"{name}{place}" for place in range(width))


def _column(name: str, values: list[Any]) -> Table:
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return Table((name,), ("missing",), np.full((len(values), 1), np.nan), {})
    if kinds <= {int, float}:
        return Table((name,), ("number",), _numbers(values), {})
    if kinds == {bool}:
        return Table((name,), ("bool",), _numbers(values), {})
    if kinds == {str}:
        texts = tuple((one or "")[:TEXT] for one in values)
        return Table((name,), ("text",), np.full((len(values), 1), np.nan), {0: texts})
    if kinds == {list}:
        array = _array([one if one is not None else [] for one in values])
        if array is not None and array.ndim >= 2:
            return of_array(array, name)
    numbers = [one if isinstance(one, (int, float)) and not isinstance(one, bool) else None for one in values]
    texts = tuple(one[:TEXT] if isinstance(one, str) else "" for one in values)
    return Table((name,), ("mixed",), _numbers(numbers), {0: texts} if any(texts) else {})


def _numbers(values: Iterable[Any]) -> Array:
    cells = list(values)
    try:
        found = np.array(cells, dtype=np.float64)
    except (OverflowError, ValueError, TypeError):
        found = np.array([_float(one) for one in cells])
    return found.reshape(-1, 1)


def _float(value: Any) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf


def _array(rows: Sequence[Any]) -> Array | None:
    """Nested lists of numbers as an array, None where they are ragged or hold anything else."""
    shape: list[int] = []
    inner: Any = rows
    while isinstance(inner, list) and len(shape) < 9:
        shape.append(len(inner))
        if not inner:
            return None
        inner = inner[0]
    if isinstance(inner, str) or len(shape) > 8 or math.prod(shape) > CELLS:
        return None
    try:
        found = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return None if _has_text(rows, deep=True) else found


def _has_text(rows: Any, *, deep: bool = False) -> bool:
    """Whether a text stands among the cells: numpy would make a number of it."""
    for row in rows:
        if isinstance(row, list):
            if deep and row and isinstance(row[0], list):
                if _has_text(row, deep=True):
                    return True
            elif not set(map(type, row)) <= {int, float, bool, type(None), list}:
                return True
        elif isinstance(row, (str, dict)):
            return True
    return False


def _has_number(row: Iterable[Any]) -> bool:
    return any(isinstance(one, float) for one in row)


def _summed(flat: Array, name: str) -> Table:
    """Figures of a vector too wide to be looked at number by number: means of blocks, so that near ones stay near, and what all its numbers are like."""
    rows, width = flat.shape
    edges = np.linspace(0, width, BLOCKS + 1).astype(int)[:-1]
    with np.errstate(all="ignore"):
        plain = np.asarray(flat, dtype=np.float64)
        missing = np.isnan(plain).mean(axis=1)
        filled = np.where(np.isfinite(plain), plain, 0.0)
        blocks = np.add.reduceat(filled, edges, axis=1) / np.diff([*edges, width])
        figures = (
            np.fmin.reduce(plain, axis=1), np.fmax.reduce(plain, axis=1), filled.mean(axis=1), filled.std(axis=1), missing,
        )  # fmt: skip
    numbers = np.column_stack([*figures, blocks])
    names = tuple(f"{name[:NAME]}.{one}" for one in (*FIGURES, *(f"block{n}" for n in range(BLOCKS))))
    return Table(names, ("number",) * len(names), numbers.reshape(rows, -1), {})
