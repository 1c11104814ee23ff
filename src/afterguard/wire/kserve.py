"""Open Inference Protocol (KServe v2) over REST, as KServe, Triton, MLServer, OpenVINO and Seldon speak it: /v2/models/NAME[/versions/V]/infer.

In: the bytes of a request or a reply and its headers. Out: a table of features; what the reply says, with the places of its scores. With the binary tensor extension the body is JSON of
`inference-header-content-length` bytes and then raw tensors, whose sizes stand in the JSON. Raises Unreadable where shape, size and data do not agree.
Source: https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol; Triton, Binary Tensor Data Extension.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from afterguard.wire import lenient, tensors
from afterguard.wire.scores import LABEL, Place, Raw, Told, told
from afterguard.wire.table import Table, Unreadable, joined

LENGTH = b"inference-header-content-length"
TENSORS = 4_096
Heads = Mapping[bytes, bytes]


def request(body: bytes, heads: Heads) -> Table:
    """The features of a request."""
    head, rest = _opened(body, heads)
    found = [_table(one, data) for one, data in _tensors(head.get("inputs"), rest)]
    return joined([one for one in found if one is not None])


def response(body: bytes, heads: Heads) -> Told:
    """Scores and decisions of a reply."""
    head, rest = _opened(body, heads)
    base = len(body) - len(rest)
    places: list[Place | Raw] = []
    labels: tuple[str, ...] = ()
    at = base
    for place, (one, data) in enumerate(_tensors(head.get("outputs"), rest)):
        kind = one.get("datatype")
        width = _width(one.get("shape"))
        if data is None and kind in tensors.FLOATS:
            places.append(Place(f"response.outputs[{place}].data", one.get("data"), width))
        elif data is not None and kind in tensors.DTYPES and kind in tensors.FLOATS:
            tensors.view(kind, tensors.shaped(one.get("shape")), data)
            places.append(Raw(at, at + len(data), tensors.DTYPES[kind], width))
        elif not labels:
            labels = _labels(one, data)
        at += len(data or b"")
    found = told(places, body, labels)
    length = base if heads.get(LENGTH) else -1
    return found._replace(model=_word(head.get("model_name")), version=_word(head.get("model_version")), head=length)


def _opened(body: bytes, heads: Heads) -> tuple[dict[str, Any], memoryview]:
    """The JSON of a body and the raw bytes behind it."""
    told_length = heads.get(LENGTH, b"")
    length = len(body)
    if told_length:
        if not told_length.isdigit() or len(told_length) > 12 or int(told_length) > len(body):
            raise Unreadable("shape_lies")
        length = int(told_length)
    value, problems = lenient.decode(body[:length] if length < len(body) else body)
    if not isinstance(value, dict):
        raise Unreadable(problems[0] if problems else "unknown_shape")
    if "duplicate_keys" in problems:
        raise Unreadable("duplicate_keys")
    return value, memoryview(body)[length:]


def _tensors(given: Any, rest: memoryview) -> Iterator[tuple[dict[str, Any], memoryview | None]]:
    """Each tensor with its raw bytes, None where its data is JSON. All raw bytes must belong to one."""
    if not isinstance(given, list) or not given or len(given) > TENSORS:
        raise Unreadable("unknown_shape")
    at = 0
    for one in given:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise Unreadable("bad_tensor")
        parameters = one.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if isinstance(parameters, dict) and "shared_memory_region" in parameters:
            raise Unreadable("shared_memory")
        if size is None:
            yield one, None
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(rest) - at:
            raise Unreadable("shape_lies")
        yield one, rest[at : at + size]
        at += size
    if at != len(rest):
        raise Unreadable("shape_lies")


def _table(one: dict[str, Any], data: memoryview | None) -> Table | None:
    name, kind, shape = one["name"], one.get("datatype"), one.get("shape")
    if not isinstance(kind, str):
        raise Unreadable("unknown_datatype")
    if data is not None:
        return tensors.of_bytes(name, kind, shape, data)
    return tensors.of_json(name, kind, shape, one.get("data"))


def _width(shape: Any) -> int:
    """Numbers of a row."""
    if not isinstance(shape, list) or not shape:
        return 1
    return max(1, math.prod(tensors.shaped(shape)[1:]))


def _labels(one: dict[str, Any], data: memoryview | None) -> tuple[str, ...]:
    """The classes that an output of whole numbers, truth values or texts names."""
    found = _table(one, data)
    if found is None or not found.names:
        return ()
    if 0 in found.texts:
        return tuple(text[:LABEL] for text in found.texts[0][:10_000])
    return tuple(f"{number:.12g}" for number in found.numbers[:10_000, 0].tolist())


def _word(value: Any) -> str:
    return value[:LABEL] if isinstance(value, str) else ""
