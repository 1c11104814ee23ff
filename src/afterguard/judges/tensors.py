"""A safetensors file -> read-only memory-mapped arrays. Hostile files end in ValueError.

In: a path. Out: arrays by name. It reads the header and maps the rest; nothing is copied.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER_CAP = 1 << 20
FILE_CAP = 1 << 30
TYPES: dict[str, Any] = {"U8": np.uint8, "I8": np.int8, "U16": np.uint16, "F32": np.float32}


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    """A safetensors file as read-only memory-mapped arrays. Raises ValueError for a malformed one."""
    size = path.stat().st_size
    if not 8 < size <= FILE_CAP:
        raise ValueError(f"{path.name} has {size} bytes")
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    length = int.from_bytes(data[:8], "little")
    if length > min(HEADER_CAP, size - 8):
        raise ValueError(f"{path.name}: a header of {length} bytes")
    out: dict[str, NDArray[Any]] = {}
    try:
        header = json.loads(bytes(data[8 : 8 + length]))
        rows = {name: row for name, row in header.items() if name != "__metadata__"}
        for name, row in rows.items():
            low, high = (int(x) for x in row["data_offsets"])
            if not 0 <= low <= high <= size - 8 - length:
                raise ValueError(f"{name} lies outside the file")
            values = np.frombuffer(data[8 + length + low : 8 + length + high], TYPES[row["dtype"]])
            out[name] = values.reshape([int(x) for x in row["shape"]])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path.name}: {type(error).__name__}: {error}") from None
    return out
