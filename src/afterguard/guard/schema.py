"""Schema files: what the features of a model may be, as a person writes it, as MLflow keeps it beside a model, or as a KServe server tells it.

In: YAML or JSON text. Out: a feature_schema.Schema, or a UsageError with the line; and the way back. It knows `afterguard.feature-schema/1`, an MLmodel file (or its `signature`), and the reply of GET /v2/models/NAME. It opens no file.
"""

from __future__ import annotations

import math
from typing import Any, NoReturn

import msgspec
import yaml

from afterguard.config import nearest
from afterguard.detect.feature_schema import Feature, Schema
from afterguard.errors import UsageError
from afterguard.policy.read import read

FORMAT = "afterguard.feature-schema/1"
CAP = 1 << 20
FEATURES = 4_096
HINT = f"begin with format: {FORMAT} and features: ..., or give an MLmodel file or what GET /v2/models/NAME answers"
MLFLOW = {
    "integer": "number", "long": "number", "float": "number", "double": "number", "string": "text", "boolean": "bool",
}  # fmt: skip
WIDE = 512
"""As wire/table.py: wider tensors are summed up, and a schema says nothing of their numbers."""


def load(text: str, name: str = "schema") -> Schema:
    """The schema of a file's text. Raises UsageError."""
    if len(text) > CAP:
        _bad(name, 0, f"larger than {CAP} characters", HINT)
    try:
        found = read(text, name)
    except UsageError as error:
        _bad("", 0, str(error), HINT)
    value = found.value
    if not isinstance(value, dict):
        _bad(name, 1, "not a schema", HINT)
    if value.get("format") == FORMAT:
        return _own({key: one for key, one in value.items() if key != "format"}, found.lines, name)
    signature = value.get("signature", value)
    if isinstance(signature, dict) and isinstance(signature.get("inputs"), str):
        return _mlflow(signature["inputs"], name)
    if isinstance(value.get("inputs"), list) and isinstance(value.get("outputs", []), list):
        return _kserve(value["inputs"], name)
    _bad(name, 1, "not a schema", HINT)


def dump(schema: Schema) -> str:
    """The text of a file that `load` reads, for a person to check."""
    data: dict[str, Any] = {"format": FORMAT, **msgspec.to_builtins(schema)}
    for feature in data["features"].values():
        for side in ("low", "high"):
            if feature.get(side) is not None:
                feature[side] = float(f"{feature[side]:.6g}")
    head = (
        f"# Learned from {schema.learned} rows. Read it, correct it, then give it to the guard with --schema.\n"
        if schema.learned
        else ""
    )
    return head + str(yaml.safe_dump(data, sort_keys=False, allow_unicode=False, width=1 << 20))


def _own(data: dict[str, Any], lines: Any, name: str) -> Schema:
    for key in data:
        if key not in Schema.__struct_fields__:
            _bad(
                name,
                lines.get((key,), 1),
                f"no such key: {str(key)[:60]}",
                nearest(str(key)[:60], list(Schema.__struct_fields__)),
            )
    try:
        schema = msgspec.convert(data, Schema)
    except msgspec.ValidationError as error:
        _bad(name, 1, str(error)[:300], "kind: number, bool, text or any; low, high, values, required, finite")
    if not schema.features or len(schema.features) > FEATURES:
        _bad(name, 1, f"no features, or more than {FEATURES}", HINT)
    for key, one in schema.features.items():
        if one.low is not None and one.high is not None and not one.low <= one.high:
            _bad(name, lines.get(("features", key), 1), f"feature {key[:60]}: low is above high", "swap them")
    return schema


def _mlflow(inputs: str, name: str) -> Schema:
    try:
        rows = msgspec.json.decode(inputs)
    except (msgspec.MsgspecError, ValueError):
        _bad(name, 1, "signature.inputs is no JSON", "give the MLmodel file as MLflow wrote it")
    features = {}
    for place, row in enumerate(rows if isinstance(rows, list) else [rows]):
        if not isinstance(row, dict):
            _bad(name, 1, "signature.inputs is no list of columns", "give the MLmodel file as MLflow wrote it")
        if row.get("type") == "tensor":
            return Schema({}, extra=True)
        title = str(row.get("name", f"f{place}"))
        features[title] = Feature(
            _kind(MLFLOW.get(str(row.get("type")), "any")), required=row.get("required", True) is not False
        )
    return Schema(features)


def _kserve(inputs: list[Any], name: str) -> Schema:
    features: dict[str, Feature] = {}
    for one in inputs:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str) or not isinstance(one.get("shape"), list):
            _bad(name, 1, "inputs are no tensors with name and shape", "give what GET /v2/models/NAME answers")
        sizes = [size for size in one["shape"][1:] if isinstance(size, int)]
        if any(size < 0 for size in sizes) or (width := math.prod(sizes)) > WIDE:
            return Schema(features, extra=True)
        kind = {"BYTES": "text", "BOOL": "bool"}.get(str(one.get("datatype")), "number")
        names = [one["name"]] if width == 1 else [f"{one['name']}{n}" for n in range(width)]
        features |= dict.fromkeys(names, Feature(_kind(kind)))
    return Schema(features)


def _kind(word: str) -> Any:
    return word


def _bad(name: str, line: int, what: str, hint: str) -> NoReturn:
    place = f"{name}:{line}: " if name and line else f"{name}: " if name else ""
    raise UsageError(place + what, hint=hint, slug="bad-schema")
