"""Calls of predictive models: feature rows with a decision, a score or both.

In: a flat record, or one with its features nested. Out: a `Prediction`, or None where the record is none. Columns are told apart by
the names such logs use; the names are data in catalog/signals/columns.yaml.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import msgspec

from afterguard.catalog import load
from afterguard.model import Prediction
from afterguard.remembered import remembered

FEATURES_CAP = 4_000
NUMBER = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?$")
EMPTY = {"", "null", "none", "nan", "na", "n/a", "-", "\\n"}
Feature = float | str | bool | None


@cache
def names(kind: str) -> dict[str, None]:
    """Names of one kind in the order of preference: requests responses systems contexts wrappers batches nested loose."""
    return dict.fromkeys(load("signals/columns")[kind])


@remembered(8192)
def plain(name: str) -> str:
    """A column name without case and separators, so that FraudScore, fraud_score and fraud-score are one."""
    return re.sub(r"[^a-z0-9@]", "", name[:200].lower())


ROLES = (
    "id", "time", "caller", "key", "decision", "score", "features", "app", "client", "conversation", "model", "status",
    "cost", "provider", "address", "input_tokens", "output_tokens",
)  # fmt: skip


@cache
def _roles() -> dict[str, tuple[str, int]]:
    data = load("signals/columns")
    out: dict[str, tuple[str, int]] = {}
    for role in ROLES:
        for rank, name in enumerate(data[role]):
            out.setdefault(plain(name), (role, rank))
    return out


@remembered(8192)
def ranked(name: str) -> tuple[str, int]:
    """(role, rank) of a column, ("", 0) for a feature. Of several columns of one role, the lowest rank is meant."""
    known = _roles()
    found = known.get(plain(name))
    if found:
        return found
    tail = plain(name.rsplit(".", 1)[-1].rsplit("/", 1)[-1])
    role, rank = known.get(tail, ("", 0)) if tail != plain(name) else ("", 0)
    return (role, rank + 100) if role in ("decision", "score", "time", "caller") else ("", 0)


def role_of(name: str) -> str:
    """The role of a column: one of ROLES, "" for a feature."""
    return ranked(name)[0]


def feature(value: Any) -> Feature:
    """A cell as a number, a truth value, a text, or None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    if isinstance(value, str):
        short = value.strip()
        if len(short) < 90 and NUMBER.match(short):
            number = float(short)
            return number if math.isfinite(number) else None
        low = short.lower() if len(short) < 6 else short
        return None if low in EMPTY else True if low == "true" else False if low == "false" else value[:2000]
    return None


def score(value: Any) -> float | None:
    """A number, or the largest number of a list of class probabilities."""
    if isinstance(value, list):
        found = [number for item in value[:1000] if (number := score(item)) is not None]
        return max(found) if found else None
    if isinstance(value, dict):
        return score(list(value.values())[:1000])
    given = feature(value)
    return given if isinstance(given, float) else None


def label(value: Any) -> str:
    """A decision as text."""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if value is None or isinstance(value, (list, dict)):
        return ""
    return str(value)[:200] if not isinstance(value, int) or abs(value) < 1 << 200 else ""


def prediction(record: dict[str, Any]) -> Prediction | None:
    """The prediction of a record whose columns name themselves; None without a decision or score, or without features."""
    features: dict[str, Feature] = {}
    decided, scored = "", None
    for name, value in record.items():
        role = role_of(name)
        if role == "features" and _is_nested(value):
            _nested(_opened(value), features)
        elif role == "decision" and not decided and not _is_nested(value):
            decided = label(value)
        elif role in ("decision", "score") and _is_nested(value):
            inner = _first(value)
            decided = decided or (label(inner[0]) if inner else "")
            scored = inner[1] if inner and scored is None else scored if scored is not None else score(value)
        elif role == "score":
            scored = score(value) if scored is None else scored
        elif role in ("", "features") and len(features) < FEATURES_CAP and not isinstance(value, (dict, list)):
            features[name] = feature(value)
    if not features or (not decided and scored is None):
        return None
    return Prediction(features, decided, scored)


def _is_nested(value: Any) -> bool:
    return isinstance(value, (dict, list)) or (isinstance(value, str) and value[:1] in ("{", "["))


def _opened(value: Any) -> Any:
    """JSON in a string, decoded."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _nested(value: Any, features: dict[str, Feature], depth: int = 0) -> None:
    """Features as an object, as a list, as the first of a batch, as named tensors, or as columns beside data."""
    if depth > 6:
        return
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], (dict, list)) and not _is_tensor(value[0]):
        value = value[0]
    if isinstance(value, dict):
        names = value.get("columns", value.get("names"))
        rows = next(
            (value[key] for key in ("data", "ndarray", "values", "rows") if isinstance(value.get(key), list)), None
        )
        if isinstance(names, list) and rows is not None:
            row = rows[0] if rows and isinstance(rows[0], list) else rows
            features.update((str(name)[:200], feature(cell)) for name, cell in zip(names[:FEATURES_CAP], row))
            return
        for name, inner in list(value.items())[:FEATURES_CAP]:
            if isinstance(inner, (dict, list)):
                _nested(inner, features, depth + 1)
            else:
                features[name] = feature(inner)
    elif isinstance(value, list):
        _positions(value, features)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("data"), list)


def _positions(value: list[Any], features: dict[str, Feature]) -> None:
    for index, inner in enumerate(value[:FEATURES_CAP]):
        if _is_tensor(inner):
            cells = inner["data"][:FEATURES_CAP]
            name = inner["name"][:200]
            features.update((name if len(cells) == 1 else f"{name}{i}", feature(cell)) for i, cell in enumerate(cells))
        elif not isinstance(inner, (dict, list)):
            features[f"f{index}"] = feature(inner)


def _first(value: Any) -> tuple[Any, float | None] | None:
    """(label, score) of {"label": ..., "score": ...}, {"predictions": [{...}]} or [0.97]."""
    value = _opened(value) if _is_nested(value) else value
    for _ in range(4):
        if isinstance(value, list):
            if not value:
                return None
            if all(isinstance(item, (int, float)) for item in value[:100]):
                return "", score(value)
            value = value[0]
        elif isinstance(value, dict) and any(isinstance(value.get(key), (list, dict)) for key in ("ndarray", "data")):
            value = value.get("ndarray", value.get("data"))
        elif isinstance(value, dict):
            named = {role_of(name): inner for name, inner in value.items()}
            if "decision" in named and isinstance(named["decision"], (list, dict)) and "score" not in named:
                value = named["decision"]
            else:
                decided = named.get("decision")
                return (None if isinstance(decided, (list, dict)) else decided), score(named.get("score", decided))
        else:
            return value, score(value)
    return None
