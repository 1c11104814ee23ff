"""MLflow's scoring server: POST /invocations with dataframe_split, dataframe_records, instances or inputs, or CSV.

In: the bytes of a request or a reply and its headers. Out: a table of features; what the reply says, with the places of its scores.
Source: https://mlflow.org/docs/latest/ml/deployment (Inference Server Specification); replies are {"predictions": ...}, before MLflow 2 the list alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterguard.wire.scores import Place, Told, told
from afterguard.wire.table import Table, Unreadable, of_csv, of_matrix, of_records, of_value
from afterguard.wire.tfserving import opened

Heads = Mapping[bytes, bytes]
CSV_CAP = 8 << 20


def request(body: bytes, heads: Heads) -> Table:
    """The features of a request."""
    if b"csv" in heads.get(b"content-type", b""):
        return of_csv(text(body))
    value = opened(body)
    if not isinstance(value, dict):
        return of_value(value)
    split = value.get("dataframe_split")
    if isinstance(split, dict):
        rows, names = split.get("data"), split.get("columns")
        if not isinstance(rows, list) or not isinstance(names, list | None):
            raise Unreadable("unknown_shape")
        return of_matrix(rows, names=names or ())
    if isinstance(value.get("dataframe_records"), list):
        return of_records(value["dataframe_records"])
    for name in ("instances", "inputs"):
        if name in value:
            return of_value(value[name])
    raise Unreadable("unknown_shape")


def response(body: bytes, heads: Heads) -> Told:
    """Scores and decisions of a reply."""
    value: Any = opened(body)
    if isinstance(value, dict) and "predictions" in value:
        return told([Place("response.predictions", value["predictions"])])
    if isinstance(value, list):
        return told([Place("response", value)])
    raise Unreadable("unknown_shape")


def text(body: bytes) -> str:
    """Lines of CSV. Raises Unreadable."""
    if len(body) > CSV_CAP:
        raise Unreadable("too_long")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unreadable("bad_encoding") from None
