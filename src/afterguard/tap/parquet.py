"""Parquet -> one record a row, a batch of rows at a time.

In: a path. Out: (row number, record). It needs the optional pyarrow; without it the file is noted and left. Row groups are never
loaded whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from afterguard.files import Note
from afterguard.model import Coverage

BATCH = 512
DEPTH = 8


def rows(path: Path, name: str, note: Note) -> Iterator[tuple[int, dict[str, Any]]]:
    """(1-based row, record) of every row; damage is noted and ends the file."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        note(Coverage(name, "unsupported", "Parquet needs the extra: pip install 'afterguard[parquet]'"))
        return
    number = 0
    try:
        with ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {str(key): plain(value) for key, value in row.items()}
    except (ArrowException, OSError, ValueError, KeyError, NotImplementedError) as error:
        reason = str(error).split("\n")[0][:200]
        note(Coverage(name, "truncated" if number else "unreadable", f"Parquet, after {number} rows: {reason}"))


def plain(value: Any, depth: int = 0) -> Any:
    """A cell as JSON would have it."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if depth > DEPTH:
        return None
    if isinstance(value, dict):
        return {str(key): plain(inner, depth + 1) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [plain(inner, depth + 1) for inner in value]
    return float(value) if isinstance(value, Decimal) else str(value)[:1000]
