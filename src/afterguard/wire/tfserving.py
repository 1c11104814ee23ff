"""TensorFlow Serving over REST: /v1/models/NAME[/versions/V]:predict, :classify and :regress, in row and in column format; KServe v1 speaks the first.

In: the bytes of a request or a reply. Out: a table of features; what the reply says, with the places of its scores.
Source: https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterguard.wire import lenient
from afterguard.wire.scores import Place, Told, told
from afterguard.wire.table import Table, Unreadable, joined, of_records, of_value

Heads = Mapping[bytes, bytes]
OUTPUTS = ("predictions", "outputs", "result", "results")


def request(body: bytes, heads: Heads) -> Table:
    """The features of a request."""
    value = opened(body)
    if not isinstance(value, dict):
        raise Unreadable("unknown_shape")
    if "examples" in value:
        rows = of_records(value["examples"] if isinstance(value["examples"], list) else ())
        context = value.get("context")
        return joined([rows, of_records([context])]) if isinstance(context, dict) and context else rows
    if "instances" in value:
        return of_value(_plain(value["instances"]))
    if "inputs" in value:
        return of_value(_plain(value["inputs"]))
    raise Unreadable("unknown_shape")


def response(body: bytes, heads: Heads) -> Told:
    """Scores and decisions of a reply."""
    value = opened(body)
    if not isinstance(value, dict):
        raise Unreadable("unknown_shape")
    places = [Place("response." + name, value[name]) for name in OUTPUTS if name in value]
    if not places:
        raise Unreadable("unknown_shape")
    return told(places)


def opened(body: bytes) -> Any:
    """Decoded JSON. Raises Unreadable."""
    value, problems = lenient.decode(body)
    if value is None or "duplicate_keys" in problems:
        raise Unreadable("duplicate_keys" if "duplicate_keys" in problems else (problems or ["bad_json"])[0])
    return value


def _plain(value: Any) -> Any:
    """Rows with {"b64": ...} as the texts they are."""
    if isinstance(value, dict):
        if value.keys() == {"b64"} and isinstance(value["b64"], str):
            return value["b64"]
        return {key: _plain(one) if isinstance(one, dict) else one for key, one in value.items()}
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return [_plain(one) if isinstance(one, dict) else one for one in value]
    return value
