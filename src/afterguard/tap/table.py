"""Delimited text with or without a header -> the cells of each row.

In: a byte stream. Out: column names, then (line, cells) as text; or (line, None) for a row that could not be read. Delimiter and header
are recognised from the first rows. Column meaning is wire/predict.py's.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO

from afterguard import files
from afterguard.tap.when import when
from afterguard.wire import predict

DELIMITERS = ",\t;|"
SNIFFED = 40
COLUMNS_CAP = 5_000
Row = tuple[int, "list[str] | None", int]


def delimiter_of(head: bytes) -> str:
    """The delimiter that cuts the first rows into the same number of columns, at least two; "" for none."""
    text = head.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = [line for line in text.splitlines() if line.strip()][:SNIFFED]
    best, width = "", 1
    for delimiter in DELIMITERS:
        parsed = _parsed(lines, delimiter)
        counts = [len(row) for row in (parsed[:-1] if len(parsed) > 2 else parsed)]
        if counts and counts[0] > width and sum(count == counts[0] for count in counts) >= 0.8 * len(counts):
            best, width = delimiter, counts[0]
    return best


def _parsed(lines: list[str], delimiter: str) -> list[list[str]]:
    try:
        return list(csv.reader(lines, delimiter=delimiter))
    except csv.Error:
        return []


def is_table(path: str, head: bytes) -> bool:
    """Whether this is delimited text with a column that we know, or is called so and cuts evenly."""
    if b"\0" in head[:4096]:
        return False
    delimiter = delimiter_of(head)
    if not delimiter:
        return False
    first = next(iter(_parsed(head.decode("utf-8", "replace").splitlines()[:1], delimiter)), [])
    known = sum(predict.role_of(cell.strip().lstrip("\ufeff")) != "" for cell in first)
    suffix = path.lower().removesuffix(".gz").removesuffix(".zst").removesuffix(".bz2").removesuffix(".xz")
    return known >= 2 or suffix.endswith((".csv", ".tsv"))


def has_header(cells: list[str]) -> bool:
    """Whether a first row names columns: no numbers, no times, no repetition."""
    short = [cell.strip() for cell in cells]
    if len(set(short)) < len(short) or not any(short):
        return False
    return not any(isinstance(predict.feature(cell), float) or when(cell) for cell in short if cell)


def rows(stream: IO[bytes], head: bytes, cap: int) -> Iterator[Row]:
    """(0, column names, 0), then (line, cells or None, bytes) of each row below the header."""
    delimiter = delimiter_of(head) or ","
    csv.field_size_limit(max(csv.field_size_limit(), cap))
    source = _Lines(stream, cap)
    has_names = False
    while not source.is_done:
        for cells in _reader(source, delimiter):
            if cells and not has_names:
                has_names = True
                yield 0, _names(cells), 0
                if not has_header(cells):
                    yield source.first, cells, source.size
            elif cells or cells is None:
                yield source.first, cells, source.size
            source.begin()


def _names(cells: list[str]) -> list[str]:
    """Column names; without a header, the first column that is a time and the last column as decision or score."""
    cells = cells[:COLUMNS_CAP]
    if has_header(cells):
        return [cell.strip().lstrip("\ufeff") or f"column{index}" for index, cell in enumerate(cells)]
    names = [f"f{index}" for index in range(len(cells))]
    timed = next((index for index, cell in enumerate(cells) if when(cell) and not cell.isdecimal()), -1)
    if timed >= 0:
        names[timed] = "time"
    last = predict.feature(cells[-1])
    names[-1] = "score" if isinstance(last, float) and 0 < last < 1 else "decision"
    return names


def record(names: list[str], cells: list[str]) -> dict[str, str]:
    """One row as an object; cells beyond the header get names of their own."""
    out = dict(zip(names, cells))
    for index in range(len(names), min(len(cells), COLUMNS_CAP)):
        out[f"column{index}"] = cells[index]
    return out


class _Lines:
    """Lines for the csv reader, remembering where the row under construction began."""

    def __init__(self, stream: IO[bytes], cap: int) -> None:
        self.lines = files.lines(stream, cap)
        self.first = 0
        self.size = 0
        self.is_done = False

    def begin(self) -> None:
        self.first = self.size = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self.lines, None)
        if line is None:
            self.is_done = True
            raise StopIteration
        self.first = self.first or line.number
        self.size += len(line.data) + line.cut
        if line.cut:
            raise csv.Error("over-long line")
        return line.data.decode("utf-8", "replace") + "\n"


def _reader(source: _Lines, delimiter: str) -> Iterator[list[str] | None]:
    """Rows; None for a broken one, after which the caller starts a new reader at the next line."""
    reader = csv.reader(source, delimiter=delimiter)
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield None
            return
