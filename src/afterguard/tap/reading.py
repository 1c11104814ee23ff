"""Any recorded log -> Exchange, streaming, in flat memory.

In: a path and the name it is reported under. Out: Exchanges in the order of the log; what could not be read comes as an Exchange
of protocol "unknown", and a whole file that could not be read as a Coverage row. It never holds more than one record.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from afterguard import files
from afterguard.model import Coverage, Exchange
from afterguard.tap.decode import Broken, decode
from afterguard.tap.record import Place, exchanges, unknown


def recognise(path: str, head: bytes) -> str:
    """The format of a log from its first bytes: jsonl or unknown."""
    return "jsonl" if head.lstrip()[:1] in (b"{", b"[") else "unknown"


def read(
    path: Path, name: str, note: files.Note, *, mapping: object = None, limits: files.Limits = files.DEFAULT
) -> Iterator[Exchange]:
    """Exchanges of one log. Nothing is raised for bad content; a file that cannot be opened is noted."""
    try:
        stream = files.open_stream(path, name, note, limits)
    except OSError as error:
        note(Coverage(name, "unreadable", error.strerror or str(error)))
        return
    with stream:
        for number, data, cut in files.lines(stream, limits.line_bytes):
            if cut:
                yield unknown(Place(name, number, cut), "too_long")
            elif data and not data.isspace():
                try:
                    record, _ = decode(data)
                except Broken:
                    yield unknown(Place(name, number, len(data)), "bad_json")
                    continue
                yield from exchanges(record, Place(name, number, len(data)))
