"""Rows of one table of predictions -> Exchanges, with the columns' roles worked out once.

In: column names, then cells as text. Out: Exchanges of protocol "predictive". A table that may hold words (prompts, replies) is left
to tap/record.py, row by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Any

from afterguard.model import Exchange, Prediction, Unjudged
from afterguard.tap.meta import FIELDS, assign
from afterguard.tap.record import Place
from afterguard.wire import predict

NUMERIC = {"output", "outputs", "input", "inputs", "events", "history", "response", "chat", "answer"}
"""Names of words that are also names of numbers; the first row decides."""


@cache
def words() -> frozenset[str]:
    """Plain names of columns that hold prompts or replies."""
    return frozenset(predict.plain(name) for kind in ("requests", "responses") for name in predict.names(kind))


def feature(cell: str) -> predict.Feature:
    """predict.feature of a cell of text; numbers, the common case, first."""
    try:
        number = float(cell)
    except ValueError:
        return predict.feature(cell)
    return number if math.isfinite(number) and "_" not in cell else predict.feature(cell)


class Plan:
    """What each column of a table is for."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        best: dict[str, tuple[int, int]] = {}
        self.features: list[tuple[int, str]] = []
        for index, name in enumerate(names):
            role, rank = predict.ranked(name)
            if role in ("", "features"):
                if len(self.features) < predict.FEATURES_CAP:
                    self.features.append((index, name))
            elif role not in best or rank < best[role][0]:
                best[role] = (rank, index)
        self.numeric: list[str] = []
        self.taken: Callable[[list[str]], tuple[str, ...]] = tuple
        self.others: list[tuple[int, str]] = []
        self.decision = best.pop("decision", (0, -1))[1]
        self.score = best.pop("score", (0, -1))[1]
        self.columns = [
            (role, index) for role, (_, index) in best.items() if role in FIELDS or role in ("time", "status", "cost")
        ]

    def fits(self, cells: list[str]) -> bool:
        """Whether this is a table of predictions: a decision or score, features, and no words."""
        if not self.features or (self.decision < 0 and self.score < 0):
            return False
        for name, cell in zip(self.names, cells):
            if (predict.plain(name) in words() and not (name in NUMERIC and isinstance(feature(cell), float))) or cell[
                :1
            ] in ("{", "["):
                return False
        self._learn(cells)
        return True

    def _learn(self, cells: list[str]) -> None:
        """Which feature columns are numbers, going by the first row."""
        found = [(i, n) for i, n in self.features if i < len(cells) and isinstance(feature(cells[i]), float)]
        if len(found) > 1:
            self.numeric = [name for _, name in found]
            self.taken = itemgetter(*(index for index, _ in found))
            self.others = [column for column in self.features if column not in found]

    def exchange(self, cells: list[str], place: Place) -> Exchange:
        """The Exchange of one row; missing cells are missing values, and a row of another width than the header says so."""
        width = len(cells)
        known: dict[str, Any] = {}
        for role, index in self.columns:
            if index < width and cells[index]:
                assign(known, role, cells[index])
        known.setdefault("id", place.id)
        row = Prediction(
            self._features(cells, width),
            cells[self.decision][:200] if 0 <= self.decision < width else "",
            predict.score(cells[self.score]) if 0 <= self.score < width else None,
        )
        odd = () if width == len(self.names) else (Unjudged("unknown_shape", f"{width} cells", place.size),)
        return Exchange(
            source=place.source, line=place.line, protocol="predictive", prediction=row, bytes=place.size, unjudged=odd,
            **known,
        )  # fmt: skip

    def _features(self, cells: list[str], width: int) -> dict[str, predict.Feature]:
        """All numeric columns at once where the row has the usual form, else cell by cell."""
        if width == len(self.names) and self.numeric:
            taken = self.taken(cells)
            try:
                numbers = list(map(float, taken))
                total = sum(numbers)
            except ValueError:
                total = math.nan
            if total - total == 0 and "_" not in "".join(taken):
                out: dict[str, predict.Feature] = dict(zip(self.numeric, numbers))
                for index, name in self.others:
                    out[name] = feature(cells[index])
                return out
        return {name: feature(cells[index]) if index < width else None for index, name in self.features}
