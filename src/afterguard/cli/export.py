"""`afterguard export`: alerts, cases, decision logs and what other commands found or did in a SOC's formats, on standard output.

In: JSON lines, or JSON documents of scan, attack, onboard and respond. Out: one event a line, in the order of what was read.
"""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import msgspec
from cyclopts import App

from afterguard.cli.options import Exported, open_session, writing
from afterguard.errors import NothingToExamine, UsageError

if TYPE_CHECKING:
    from afterguard.export.formats import Thing

export = App(
    name="export",
    help="Alerts, cases, findings and decision logs in the SOC's formats, and the sinks they go to.",
    help_format="plaintext",
)
for _name, _help in (
    ("status", "What waits, what was delivered, what was lost."),
    ("redrive", "Send dead letters again."),
    ("test", "Send one canary straight to each sink."),
):
    export.command(f"afterguard.cli.export_sinks:{_name}", name=_name, help=_help)
Where = Literal[
    "file", "elastic", "sentinel", "splunk", "syslog", "syslog-udp", "wazuh", "kafka", "nats", "otlp", "webhook"
]
LINE_CAP = 16_000_000
DOCUMENT_CAP = 64_000_000
"""Bytes of a JSON document that is written over many lines."""


DEFAULT = Exported()


@export.default
def write(files: list[Path] | None = None, /, *, destination: Where = "file", common: Exported = DEFAULT) -> int:
    """Write what was raised, found and done as events, one a line, in the order in which it was read.

    It reads JSON lines (alerts, cases, lines of the guard's decision log) and the JSON documents of scan, attack, onboard and respond export.

    Parameters
    ----------
    files
        Files of JSON lines or with one JSON document, gz too; none: standard input.
    destination
        Cut texts to what this destination takes, with a pointer to the whole. Nothing is dropped.
    """
    from afterguard.export.fit import LIMITS
    from afterguard.export.formats import named

    session = open_session(common)
    if not files and sys.stdin.isatty():
        raise UsageError(
            "nothing to read on standard input", hint="afterguard export decisions.jsonl --format ecs", slug="bad-usage"
        )
    chosen = named(common.format)
    count = cut = other = 0
    with writing(common.output) as out:
        for thing in (thing for source in files or [Path("-")] for thing in _things(source)):
            if thing is None:
                other += 1
                continue
            fitted = chosen.fitted(thing, LIMITS[destination])
            out.write(fitted.data.decode() + "\n")
            count, cut = count + 1, cut + fitted.was_cut
    if not count:
        raise NothingToExamine(
            f"no alert, case, finding, act or decision among {other:,} lines",
            hint="give the guard's decision log, alerts as JSON lines, or the JSON of scan, attack or respond export",
            slug="nothing-to-examine",
        )
    session.say(f"export: {count:,} events, {cut:,} cut to the limit of {destination}, {other:,} other lines left out")
    session.next("afterguard rules sigma")
    return 0


def _things(source: Path) -> Iterator[Thing | None]:
    """What a source holds; None for each line or row that is nothing of it."""
    from afterguard.export.approved import deeds

    with _opened(source) as (lines, at):
        for held in _decoded(lines):
            for thing in _of(held, at):
                yield thing
                if isinstance(thing, dict):
                    yield from deeds(thing)


def _of(held: Any, at: float) -> Iterator[Thing | None]:
    from afterguard.export.documents import Unread, is_document, things
    from afterguard.export.formats import known

    if isinstance(held, list):
        for one in held:
            yield from _of(one, at) if not isinstance(one, list) else (None,)
    elif is_document(held):
        try:
            yield from things(held, at)
        except Unread as error:
            yield from (None for _ in range(error.count))
    else:
        yield known(held)


@contextmanager
def _opened(source: Path) -> Iterator[tuple[IO[bytes], float]]:
    """The bytes of a source, and when they were written."""
    try:
        if str(source) == "-":
            yield sys.stdin.buffer, time.time()
        elif source.suffix == ".gz":
            with gzip.open(source, "rb") as packed:
                yield cast("IO[bytes]", packed), source.stat().st_mtime
        else:
            with source.open("rb") as plain:
                yield plain, source.stat().st_mtime
    except (OSError, EOFError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(
            f"cannot read {source}: {why}",
            hint="name a whole file of JSON lines or one JSON document, or none for standard input",
            slug="no-such-path",
        ) from None


def _decoded(lines: IO[bytes]) -> Iterator[Any]:
    """Each line's value, or the one value that is written over many lines; None for what is no JSON. A line beyond the cap comes cut, and is none."""
    rows = (line for line in iter(lambda: lines.readline(LINE_CAP), b"") if line.strip())
    first = next(rows, b"")
    if first and _value(first) is None and first.lstrip()[:1] in (b"{", b"["):
        rest = lines.read(DOCUMENT_CAP)
        whole = _value(first + rest)
        if whole is not None:
            yield whole
        else:
            yield from (_value(line) for line in (first + rest).splitlines() if line.strip())
    elif first:
        yield _value(first)
    yield from map(_value, rows)


def _value(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
