"""Tensors of the Open Inference Protocol (KServe v2): datatype, shape and data -> a table, without trusting the shape.

In: a tensor's name, datatype, shape, and its data as JSON, as bytes (the binary extension, raw contents of gRPC) or as numbers. Out: a table.Table; of bytes its numbers are a view.
Source: the Open Inference Protocol, section Tensor Data Types; Triton's binary tensor data extension for BYTES (a length of four bytes, little endian, before each).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from afterguard.wire.table import CELLS, Array, Table, Unreadable, of_array, of_texts

DTYPES = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2", "INT32": "<i4",
    "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
FLOATS = ("FP16", "FP32", "FP64", "BF16")
DIMENSIONS = 8


def shaped(shape: Any) -> tuple[int, ...]:
    """A shape that can be one. Raises Unreadable."""
    if not isinstance(shape, (list, tuple)) or not shape or len(shape) > DIMENSIONS:
        raise Unreadable("shape_lies")
    if any(isinstance(one, bool) or not isinstance(one, int) or not 0 <= one <= CELLS for one in shape):
        raise Unreadable("shape_lies")
    size = math.prod(shape)
    if size > CELLS:
        raise Unreadable("too_many_cells")
    if not size:
        raise Unreadable("no_rows")
    return tuple(shape)


def of_bytes(name: str, datatype: str, shape: Any, data: bytes | memoryview) -> Table:
    """A tensor whose data is raw bytes."""
    size = shaped(shape)
    if datatype == "BYTES":
        return of_texts(_texts(data, math.prod(size)), math.prod(size) // size[0], name)
    return of_array(view(datatype, size, data), name, "bool" if datatype == "BOOL" else "number")


def view(datatype: str, shape: tuple[int, ...], data: bytes | memoryview) -> Array:
    """The numbers of raw bytes, not copied but for BF16. Raises Unreadable where there are more or fewer than the shape says."""
    if datatype == "BF16":
        if len(data) != 2 * math.prod(shape):
            raise Unreadable("shape_lies")
        wide = np.frombuffer(data, "<u2").astype("<u4") << 16
        return np.asarray(wide.view("<f4").reshape(shape))
    code = DTYPES.get(datatype)
    if code is None:
        raise Unreadable("unknown_datatype")
    if len(data) != np.dtype(code).itemsize * math.prod(shape):
        raise Unreadable("shape_lies")
    return np.frombuffer(data, code).reshape(shape)


def of_json(name: str, datatype: str, shape: Any, data: Any) -> Table:
    """A tensor whose data is a list, flat or nested as its shape."""
    size = shaped(shape)
    cells = flat(data)
    if len(cells) != math.prod(size):
        raise Unreadable("shape_lies")
    if datatype == "BYTES":
        return of_texts([one if isinstance(one, str) else "" for one in cells], math.prod(size) // size[0], name)
    if datatype not in DTYPES and datatype != "BF16":
        raise Unreadable("unknown_datatype")
    return of_cells(name, size, cells)


def of_cells(name: str, shape: tuple[int, ...], cells: list[Any]) -> Table:
    """Numbers as JSON or protobuf had them, one after the other."""
    kinds = set(map(type, cells))
    is_odd = not kinds <= {int, float, bool, type(None)}
    try:
        numbers = np.array([None if isinstance(one, str) else one for one in cells] if is_odd else cells, dtype=float)
    except (OverflowError, ValueError, TypeError):
        raise Unreadable("bad_tensor") from None
    kind = "mixed" if is_odd or (bool in kinds and len(kinds) > 1) else "bool" if kinds == {bool} else "number"
    return of_array(numbers.reshape(shape), name, kind)


def flat(data: Any) -> list[Any]:
    """Nested lists as one. Raises Unreadable where they are too deep or too many."""
    if not isinstance(data, list):
        raise Unreadable("bad_tensor")
    level = data
    for _ in range(DIMENSIONS + 1):
        if not any(isinstance(one, list) for one in level):
            return level
        if not all(isinstance(one, list) for one in level):
            raise Unreadable("ragged")
        level = [cell for one in level for cell in one]
        if len(level) > CELLS:
            raise Unreadable("too_many_cells")
    raise Unreadable("bad_tensor")


def _texts(data: bytes | memoryview, count: int) -> list[str]:
    out: list[str] = []
    at, size = 0, len(data)
    while at + 4 <= size and len(out) < count:
        length = int.from_bytes(data[at : at + 4], "little")
        if length > size - at - 4:
            raise Unreadable("shape_lies")
        out.append(bytes(data[at + 4 : at + 4 + length]).decode("utf-8", "replace"))
        at += 4 + length
    if at != size or len(out) != count:
        raise Unreadable("shape_lies")
    return out
