"""Amazon SageMaker: POST /endpoints/NAME/invocations, CSV, JSON or JSON lines both ways, as the built-in algorithms and most containers speak it.

In: the bytes of a request or a reply and its headers. Out: a table of features; what the reply says, with the places of its scores, also in CSV.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from afterguard.wire import mlflow
from afterguard.wire.lenient import CAP
from afterguard.wire.scores import Place, Raw, Told, told
from afterguard.wire.table import CELLS, Table, Unreadable, of_csv, of_matrix, of_records, of_value
from afterguard.wire.tfserving import opened

Heads = Mapping[bytes, bytes]
LINES = 100_000
FLOAT = re.compile(rb"[-+]?\d++\.\d*+(?:[eE][-+]?\d++)?|[-+]?\d++[eE][-+]?\d++")


def request(body: bytes, heads: Heads) -> Table:
    """The features of a request."""
    kind = heads.get(b"content-type", b"").lower()
    if b"csv" in kind or (not kind and body[:1] not in b"{["):
        return of_csv(mlflow.text(body))
    if b"jsonlines" in kind:
        return _instances(_lines(body))
    value = opened(body)
    if isinstance(value, dict) and isinstance(value.get("instances"), list):
        return _instances(value["instances"])
    if isinstance(value, dict) and not value.keys() & {"dataframe_split", "dataframe_records", "inputs"}:
        return _instances([value])
    return of_value(value) if isinstance(value, list) else mlflow.request(body, heads)


def response(body: bytes, heads: Heads) -> Told:
    """Scores and decisions of a reply."""
    kind = heads.get(b"content-type", b"").lower()
    if b"json" not in kind and body.lstrip()[:1] not in (b"{", b"["):
        return _csv(body)
    value: Any = opened(body)
    if isinstance(value, dict):
        names = [name for name in ("predictions", "outputs", "probabilities", "scores", "score") if name in value]
        return told([Place("response." + name, value[name]) for name in names] or [Place("response", value)])
    return told([Place("response", value)])


def _instances(rows: list[Any]) -> Table:
    """Rows as the built-in algorithms have them: {"features": [...]} or {"data": {"features": {"values": [...]}}}."""
    plain = [_features(row) for row in rows]
    if plain and all(isinstance(row, list) for row in plain):
        return of_matrix(plain)
    if plain and all(isinstance(row, dict) for row in plain):
        return of_records(plain)
    return of_value(plain)


def _features(row: Any) -> Any:
    for name in ("data", "features", "values"):
        if isinstance(row, dict) and len(row) == 1 and isinstance(row.get(name), (dict, list)):
            row = row[name]
    return row


def _lines(body: bytes) -> list[Any]:
    if len(body) > CAP or body.count(b"\n") > LINES:
        raise Unreadable("too_long")
    return [opened(line) for line in body.split(b"\n") if line.strip()]


def _csv(body: bytes) -> Told:
    """Each line a row; numbers with a point or an exponent are scores, and each is a place of its own."""
    table = of_csv(mlflow.text(body))
    if len(table.names) * table.rows > CELLS // 100:
        raise Unreadable("too_many_cells")
    floats = tuple(Cell(found.start(), found.end()) for found in FLOAT.finditer(body))
    rows = table.numbers.tolist()
    if not floats:
        found = [f"{row[0]:.12g}" if 0 not in table.texts else table.texts[0][n] for n, row in enumerate(rows)]
        return Told((), tuple(found), ())
    scores = tuple(max((one for one in row if one == one), default=float("nan")) for row in rows)
    labels = table.texts.get(next(iter(table.texts), -1), ())
    return Told(scores, tuple(labels), floats)


class Cell(Raw):
    """A number in a line of CSV."""

    def __new__(cls, start: int, end: int) -> Cell:
        return super().__new__(cls, start, end, "csv")
