"""Rows in the protocol of a predictive model, and what its reply says of each.

In: a Scoring, rows; or a reply. Out: a body with its content type; answers, one a row. Pure. Replies are read by the engine `wire`, which knows these protocols for the guard. Rows that no honest client sends (NaN, a name twice, a cell that is
missing) go out as they are, as far as a protocol can spell them.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from afterguard.attack.scoring import spelled
from afterguard.attack.scoring.contract import Answer, Cell, Pairs
from afterguard.targets import reading
from afterguard.targets.scored import ROW, ROWS, WORD, Scoring, labelled
from afterguard.wire import learned, predictive
from afterguard.wire.predict import role_of
from afterguard.wire.scores import Place, Told
from afterguard.wire.splice import Unspliceable
from afterguard.wire.table import Unreadable

JSON = "application/json"
Sent = tuple[bytes, str]


def body(kind: str, one: Scoring, rows: Sequence[Pairs]) -> Sent:
    """The request of these rows, and its content type."""
    return BODIES[kind](one, rows)


def named(one: Scoring, rows: Sequence[Pairs]) -> list[str]:
    """The columns in the order in which the model takes them; what is no feature comes last."""
    return list(dict.fromkeys([*one.features, *(name for row in rows for name, _ in row)]))


def lined(one: Scoring, row: Pairs) -> list[Cell]:
    """A row by place: what is missing is None, what is twice or no feature comes last."""
    first: dict[str, Cell] = {}
    rest: list[Cell] = []
    for name, value in row:
        if name in first or (one.features and name not in one.features):
            rest.append(value)
        else:
            first[name] = value
    return [first.get(name) for name in (one.features or first)] + rest


def _list(cells: Sequence[Cell]) -> str:
    return "[" + ", ".join(map(spelled.cell, cells)) + "]"


def _rows(one: Scoring, rows: Sequence[Pairs]) -> str:
    """Rows as a list of objects, or of lists."""
    return "[" + ", ".join(_list(lined(one, row)) if one.positions else spelled.row(row) for row in rows) + "]"


def _tfserving(one: Scoring, rows: Sequence[Pairs]) -> Sent:
    return f'{{"instances": {_rows(one, rows)}}}'.encode(), JSON


def _torchserve(one: Scoring, rows: Sequence[Pairs]) -> Sent:
    return f'{{"data": {_rows(one, rows)}}}'.encode(), JSON


def _mlflow(one: Scoring, rows: Sequence[Pairs]) -> Sent:
    """Columns of the first row as it has them: one that is missing there is missing, one that stands there twice comes twice."""
    columns = [name for name, _ in rows[0]]
    data = ", ".join(_list([value for _, value in row]) for row in rows)
    return f'{{"dataframe_split": {{"columns": {json.dumps(columns)}, "data": [{data}]}}}}'.encode(), JSON


def _sagemaker(one: Scoring, rows: Sequence[Pairs]) -> Sent:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_plain(value) for value in lined(one, row)] for row in rows)
    return out.getvalue().encode("utf-8", "replace"), "text/csv"


def _plain(value: Cell) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    return value if isinstance(value, str) else repr(value)


def _kserve(one: Scoring, rows: Sequence[Pairs]) -> Sent:
    if one.input:
        cells = [lined(one, row) for row in rows]
        flat = [value for row in cells for value in row]
        tensors = [_tensor(one.input, [len(rows), len(cells[0])], one.datatype, flat)]
    else:
        columns: dict[str, list[Cell]] = {}
        for row in rows:
            for name, value in row:
                columns.setdefault(name, []).append(value)
        tensors = [_tensor(name, [len(cells), 1], _datatype(one, name, cells), cells) for name, cells in columns.items()]  # fmt: skip
    return f'{{"inputs": [{", ".join(tensors)}]}}'.encode(), JSON


def _datatype(one: Scoring, name: str, cells: Sequence[Cell]) -> str:
    kind = one.features[name].kind if name in one.features else "any"
    if kind == "any":
        kind = "bool" if isinstance(cells[0], bool) else "text" if isinstance(cells[0], str) else "number"
    return {"bool": "BOOL", "text": "BYTES"}.get(kind, one.datatype)


def _tensor(name: str, shape: list[int], datatype: str, cells: Sequence[Cell]) -> str:
    return f'{{"name": {json.dumps(name)}, "shape": {shape}, "datatype": {json.dumps(datatype)}, "data": {_list(cells)}}}'  # fmt: skip


def _template(one: Scoring, rows: Sequence[Pairs]) -> Sent:
    """The owner's JSON with rows and cells where their words stand."""
    first = rows[0] if rows else ()
    words = {name: spelled.cell(value) for name, value in first} | {ROW: spelled.row(first), ROWS: spelled.rows(rows)}
    return _filled(one.body, words).encode("utf-8", "replace"), JSON


def _filled(value: Any, words: Mapping[str, str]) -> str:
    if isinstance(value, str) and (found := WORD.fullmatch(value)):
        return words.get(found[1], "null")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(name))}: {_filled(one, words)}" for name, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_filled(one, words) for one in value) + "]"
    return json.dumps(value)


BODIES: dict[str, Callable[[Scoring, Sequence[Pairs]], Sent]] = {
    "kserve": _kserve, "tfserving": _tfserving, "mlflow": _mlflow, "sagemaker": _sagemaker, "torchserve": _torchserve, "scoring": _template,
}  # fmt: skip


# What a reply says.


def answers(kind: str, one: Scoring, headers: Mapping[str, str], body: bytes, count: int) -> tuple[Answer, ...]:
    """One answer a row. Raises reading.Unreadable where there are not as many."""
    try:
        text = reading.plain(headers, body)
        if one.score or one.label:
            found = _at_paths(one, reading.decoded(text), count)
        else:
            heads = {b"content-type": headers.get("content-type", "").encode("latin-1", "replace")}
            found = _told(one, predictive.response(kind, text.encode(), heads), count)
    except (Unreadable, Unspliceable):
        raise reading.Unreadable("unreadable") from None
    if len(found) != count:
        raise reading.Unreadable("unreadable")
    return found


def _at_paths(one: Scoring, value: Any, count: int) -> tuple[Answer, ...]:
    scores = [_answer(one, cell) for cell in _each(_found(value, one.score), count)]
    told = [_answer(one, cell) for cell in _each(_found(value, one.label), count)] if one.label else scores
    labels = [cell.label or (labelled(cell.score) if cell.score is not None and one.label else "") for cell in told]
    if one.score and len(scores) != count:
        return ()
    return tuple(Answer(label, scores[at].score if scores else None) for at, label in enumerate(labels))


def _found(value: Any, path: str) -> list[Any]:
    return [one for _, one in learned.at(value, path, "")] if path else []


def _each(found: list[Any], count: int) -> list[Any]:
    """What stands at a path, by row: one value each, one list of all, or all cells in one list."""
    if len(found) == 1 and isinstance(found[0], list) and (count > 1 or len(found[0]) == 1):
        found = found[0]
    elif len(found) == 1 and isinstance(found[0], list):
        return found
    if found and count and len(found) != count and len(found) % count == 0:
        width = len(found) // count
        return [found[at : at + width] for at in range(0, len(found), width)]
    return found


def _told(one: Scoring, told: Told, count: int) -> tuple[Answer, ...]:
    """What the engine has read; where it stands as JSON, of each class the probability that counts."""
    places = [place for place in told.places if isinstance(place, Place)]
    cells = _each([places[0].value], count) if places else []
    read = [_answer(one, cell) for cell in cells] if len(cells) == count else []
    scores: list[float | None] = [cell.score for cell in read]
    if all(one is None for one in scores):
        scores = list(told.scores)
    labels = list(told.decisions) if len(told.decisions) == count else [cell.label for cell in read]
    if len(scores) != count and len(labels) != count:
        return ()
    scores, labels = (
        scores if len(scores) == count else [None] * count,
        labels if len(labels) == count else [""] * count,
    )
    return tuple(Answer(label, _finite(score)) for label, score in zip(labels, scores, strict=True))


def _answer(one: Scoring, cell: Any) -> Answer:
    """What one row was told: a label, a score, a probability for each class, or an object that names them."""
    while isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    if isinstance(cell, (bool, str, int)):
        return Answer(labelled(cell))
    if isinstance(cell, float):
        return Answer(score=_finite(cell))
    if isinstance(cell, dict):
        return _object(one, cell)
    if isinstance(cell, list) and cell and all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in cell):  # fmt: skip
        return _classes(one, {str(at): float(each) for at, each in enumerate(cell)})
    return Answer()


def _object(one: Scoring, cell: dict[Any, Any]) -> Answer:
    label = next((labelled(each) for name, each in cell.items() if role_of(str(name)) == "decision" and isinstance(each, (str, int))), "")  # fmt: skip
    score = next((_finite(each) for name, each in cell.items() if role_of(str(name)) == "score" and _is_number(each)), None)  # fmt: skip
    if label or score is not None:
        return Answer(label, score)
    classes = {str(name): float(each) for name, each in cell.items() if isinstance(each, float)}
    return _classes(one, classes) if classes else Answer()


def _classes(one: Scoring, classes: Mapping[str, float]) -> Answer:
    """The likeliest class, and how likely the one is that an attacker wants."""
    have = {name: share for name, share in classes.items() if math.isfinite(share)}
    if not have:
        return Answer()
    best = max(have, key=lambda name: have[name])
    wanted = [share for name, share in have.items() if name in one.labels]
    return Answer(best if len(have) > 1 else "", sum(wanted) if wanted else have[best])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _finite(score: Any) -> float | None:
    try:
        return float(score) if score is not None and math.isfinite(score) else None
    except OverflowError:
        return None
