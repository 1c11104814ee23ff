"""KServe v2 over gRPC: ModelInferRequest and ModelInferResponse out of their protobuf bytes, and nothing else of the service.

In: the bytes of a message. Out: a table of features, or what the reply says with the places of its scores; a request with another version in it; the one message that probes are made of. A reader of exactly these two messages, because a schema compiler and its runtime would be a
dependency for forty lines; and it knows where each number stands, so that scores change in place and every other byte stays. Raises Unreadable for whatever is no such message.
Source: https://github.com/kserve/open-inference-protocol (open_inference_grpc.proto), and the protobuf encoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from afterguard.wire import tensors
from afterguard.wire.scores import LABEL, Place, Raw, Told, told
from afterguard.wire.table import CELLS, Table, Unreadable, joined, of_array, of_texts

METHOD = "/inference.GRPCInferenceService/ModelInfer"
TENSORS = 4_096
FIELDS = 100_000
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
INTEGERS = {1: "BOOL", 2: "INT32", 3: "INT64", 4: "UINT32", 5: "UINT64"}
FLOATS = {6: "<f4", 7: "<f8"}
Heads = Mapping[bytes, bytes]


class Field(NamedTuple):
    """One field of a message: bytes [start, end) are its value, [begin, end) with its tag."""

    number: int
    kind: int
    begin: int
    start: int
    end: int


class Tensor(NamedTuple):
    """An input or output."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: Field | None


class Asked(NamedTuple):
    """A request."""

    table: Table
    model: str
    version: str


def request(body: bytes) -> Asked:
    """The features of a request."""
    model, version, found, raw = _message(body, 7)
    return Asked(joined([_table(body, one, raw, place) for place, one in enumerate(found)]), model, version)


def response(body: bytes) -> Told:
    """Scores and decisions of a reply."""
    model, version, found, raw = _message(body, 6)
    places: list[Place | Raw] = []
    labels: tuple[str, ...] = ()
    for place, one in enumerate(found):
        width = max(1, math.prod(one.shape[1:]))
        if one.datatype in tensors.FLOATS:
            places.append(_floats(body, one, raw, place, width))
        elif not labels:
            table = _table(body, one, raw, place)
            labels = tuple(text[:LABEL] for text in table.texts.get(0, ())[:10_000]) or tuple(
                f"{number:.12g}" for number in table.numbers[:10_000, 0].tolist()
            )
    return told(places, body, labels)._replace(model=model[:LABEL], version=version[:LABEL])


def pinned(body: bytes, version: str) -> bytes:
    """The request with that version instead of its own."""
    out, at = [], 0
    for field in _fields(body, 0, len(body)):
        if field.number == 2:
            out.append(body[at : field.begin])
            at = field.end
    return b"".join((*out, body[at:], _written(2, version.encode())))


def message(model: str, name: str, shape: tuple[int, ...], values: list[float]) -> bytes:
    """A request with one input of FP64, or a reply with one output: both are written alike."""
    contents = _written(7, np.array(values, "<f8").tobytes())
    sizes = b"".join(map(_varint, shape))
    tensor = _written(1, name.encode()) + _written(2, b"FP64") + _written(3, sizes) + _written(5, contents)
    return _written(1, model.encode()) + _written(5, tensor)


def _written(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return _varint(number << 3 | BYTES) + _varint(len(data)) + data


def _message(body: bytes, raw_number: int) -> tuple[str, str, list[Tensor], list[Field]]:
    model = version = ""
    found: list[Tensor] = []
    raw: list[Field] = []
    for field in _fields(body, 0, len(body)):
        if field.number in (1, 2, 5, raw_number) and field.kind != BYTES:
            raise Unreadable("bad_tensor")
        if field.number == 1:
            model = _text(body, field)
        elif field.number == 2:
            version = _text(body, field)
        elif field.number == 5:
            found.append(_tensor(body, field))
        elif field.number == raw_number:
            raw.append(field)
    if not found or len(found) > TENSORS or (raw and len(raw) != len(found)):
        raise Unreadable("shape_lies" if raw and found else "unknown_shape")
    return model, version, found, raw


def _tensor(body: bytes, whole: Field) -> Tensor:
    name = datatype = ""
    shape: list[int] = []
    contents: Field | None = None
    for field in _fields(body, whole.start, whole.end):
        if field.number == 1 and field.kind == BYTES:
            name = _text(body, field)
        elif field.number == 2 and field.kind == BYTES:
            datatype = _text(body, field)
        elif field.number == 3:
            shape += _integers(body, field)
        elif field.number == 5 and field.kind == BYTES:
            if contents is not None:
                raise Unreadable("bad_tensor")
            contents = field
    return Tensor(name[:200], datatype, tensors.shaped(shape), contents)


def _table(body: bytes, one: Tensor, raw: list[Field], place: int) -> Table:
    if raw:
        return tensors.of_bytes(one.name, one.datatype, one.shape, memoryview(body)[raw[place].start : raw[place].end])
    size, width = math.prod(one.shape), max(1, math.prod(one.shape[1:]))
    cells: list[int] = []
    texts: list[str] = []
    floats: Field | None = None
    for field in _contents(body, one):
        if field.number in FLOATS:
            floats = _only(floats, field)
        elif field.number in INTEGERS:
            cells += _integers(body, field)
        elif field.number == 8 and field.kind == BYTES:
            texts.append(_text(body, field))
        if len(cells) > CELLS or len(texts) > CELLS:
            raise Unreadable("too_many_cells")
    if floats is not None:
        return of_array(_numbers(body, floats, one), one.name)
    if texts:
        if len(texts) != size:
            raise Unreadable("shape_lies")
        return of_texts(texts, width, one.name)
    if len(cells) != size:
        raise Unreadable("shape_lies")
    kind = "bool" if one.datatype == "BOOL" else "number"
    return of_array(np.array(cells, dtype=float).reshape(one.shape), one.name, kind)


def _floats(body: bytes, one: Tensor, raw: list[Field], place: int, width: int) -> Raw:
    if raw:
        tensors.view(one.datatype, one.shape, memoryview(body)[raw[place].start : raw[place].end])
        if one.datatype not in tensors.DTYPES:
            raise Unreadable("unknown_datatype")
        return Raw(raw[place].start, raw[place].end, tensors.DTYPES[one.datatype], width)
    found: Field | None = None
    for field in _contents(body, one):
        if field.number in FLOATS:
            found = _only(found, field)
    if found is None:
        raise Unreadable("shape_lies")
    _numbers(body, found, one)
    return Raw(found.start, found.end, FLOATS[found.number], width)


def _only(before: Field | None, field: Field) -> Field:
    """Floats in one packed piece, as every writer of proto3 makes them."""
    if before is not None or field.kind != BYTES:
        raise Unreadable("unpacked_floats")
    return field


def _numbers(body: bytes, field: Field, one: Tensor) -> np.ndarray:
    code = FLOATS[field.number]
    data = memoryview(body)[field.start : field.end]
    if len(data) != math.prod(one.shape) * np.dtype(code).itemsize:
        raise Unreadable("shape_lies")
    return np.frombuffer(data, code).reshape(one.shape)


def _contents(body: bytes, one: Tensor) -> Iterator[Field]:
    if one.contents is not None:
        yield from _fields(body, one.contents.start, one.contents.end)


def _integers(body: bytes, field: Field) -> list[int]:
    """Varints, packed or one; 64 bits, with a sign."""
    out: list[int] = []
    if field.kind == VARINT:
        out.append(_signed(_read(body, field.start, field.end)[0]))
    elif field.kind == BYTES:
        at = field.start
        while at < field.end:
            number, at = _read(body, at, field.end)
            out.append(_signed(number))
            if len(out) > CELLS:
                raise Unreadable("too_many_cells")
    else:
        raise Unreadable("bad_tensor")
    return out


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _text(body: bytes, field: Field) -> str:
    return body[field.start : min(field.end, field.start + 8_000)].decode("utf-8", "replace")


def _fields(body: bytes, at: int, end: int) -> Iterator[Field]:
    """Fields of a message in bytes [at, end). Raises Unreadable where they do not fill it."""
    count = 0
    while at < end:
        begin = at
        tag, at = _read(body, at, end)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            start = at
            _, at = _read(body, at, end)
        elif kind == BYTES:
            size, start = _read(body, at, end)
            at = start + size
        elif kind in (FIXED64, FIXED32):
            start, at = at, at + (8 if kind == FIXED64 else 4)
        else:
            raise Unreadable("bad_tensor")
        count += 1
        if at > end or not number or count > FIELDS:
            raise Unreadable("truncated" if at > end else "bad_tensor")
        yield Field(number, kind, begin, start, at)


def _read(body: bytes, at: int, end: int) -> tuple[int, int]:
    """(a varint, what is behind it)."""
    number = shift = 0
    while at < end and shift < 70:
        byte = body[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise Unreadable("truncated")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))
