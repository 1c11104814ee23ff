"""Files of feature rows -> rows: CSV and its like, JSON lines, Parquet; packed or not.

In: a path. Out: (line or row number, a record) of each row; None in place of the record where it cannot be read. It streams, and raises nothing for bad content: what ends a file early is noted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from afterguard import files
from afterguard.model import Coverage
from afterguard.tap import parquet, table
from afterguard.tap.decode import Broken, decode
from afterguard.tap.reading import Peeked
from afterguard.wire.table import cell

HEAD = 64 << 10
Record = tuple[int, "dict[str, Any] | None"]


def read(
    path: Path,
    name: str,
    note: files.Note,
    limits: files.Limits = files.DEFAULT,
    *,
    texts: Collection[str] = (),
) -> Iterator[Record]:
    """The rows of one file. `texts`: columns that hold text whatever it looks like, where the format knows no types."""
    try:
        with files.open_stream(path, name, note, limits) as stream:
            head = stream.read(HEAD)
            if head[:4] == b"PAR1":
                yield from parquet.rows(path, name, note)
                return
            again: IO[bytes] = Peeked(head, stream)  # type: ignore[assignment]
            text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
            if not text:
                note(Coverage(name, "unsupported", "the file is empty"))
            elif b"\0" in head[:4096]:
                note(Coverage(name, "binary", "neither CSV, JSON lines nor Parquet"))
            elif text[:1] in (b"{", b"["):
                yield from _json_lines(again, limits.line_bytes)
            else:
                yield from _delimited(again, head, limits.line_bytes, texts)
    except OSError as error:
        note(Coverage(name, "unreadable", error.strerror or str(error)))


def _json_lines(stream: IO[bytes], cap: int) -> Iterator[Record]:
    for line in files.lines(stream, cap):
        if not line.data.strip() and not line.cut:
            continue
        try:
            found = None if line.cut else decode(line.data)[0]
        except Broken:
            found = None
        if isinstance(found, list):
            found = {f"f{place}": one for place, one in enumerate(found)}
        yield line.number, found if isinstance(found, dict) and found else None


def _delimited(stream: IO[bytes], head: bytes, cap: int, texts: Collection[str]) -> Iterator[Record]:
    names: list[str] = []
    for number, cells, _ in table.rows(stream, head, cap):
        if number == 0:
            names = cells or []
        elif cells is None or len(cells) > len(names):
            yield number, None
        else:
            told = zip(names, cells)
            yield number, {name: (text or None) if name in texts else cell(text) for name, text in told}


def chunks(rows: Iterator[Record], size: int) -> Iterator[list[Record]]:
    """Rows in lists of `size`."""
    while some := list(islice(rows, size)):
        yield some
