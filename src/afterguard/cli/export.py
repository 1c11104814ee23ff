"""`afterguard export`: alerts, cases and the decision log in a SOC's formats, on standard output."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, cast

from cyclopts import App

from afterguard.cli.options import Exported, open_session, writing
from afterguard.errors import NothingToExamine, UsageError

export = App(
    name="export",
    help="Alerts, cases and decision logs in the SOC's formats, and the sinks they go to.",
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


DEFAULT = Exported()


@export.default
def write(files: list[Path] | None = None, /, *, destination: Where = "file", common: Exported = DEFAULT) -> int:
    """Read JSON lines (alerts, cases, lines of the guard's decision log) and write one event a line, in the same order.

    Parameters
    ----------
    files
        Files of JSON lines, gz too; none or - is standard input.
    destination
        Cut texts to what this destination takes, with a pointer to the whole. Nothing is dropped.
    """
    from afterguard.export.fit import LIMITS
    from afterguard.export.formats import named, read

    session = open_session(common)
    if not files and sys.stdin.isatty():
        raise UsageError(
            "nothing to read on standard input", hint="afterguard export decisions.jsonl --format ecs", slug="bad-usage"
        )
    chosen = named(common.format)
    count = cut = other = 0
    with writing(common.output) as out:
        for line in (line for source in files or [Path("-")] for line in _lines(source)):
            thing = read(line)
            if thing is None:
                other += 1
                continue
            fitted = chosen.fitted(thing, LIMITS[destination])
            out.write(fitted.data.decode() + "\n")
            count, cut = count + 1, cut + fitted.was_cut
    if not count:
        raise NothingToExamine(
            f"no alert, case or decision line among {other:,} lines",
            hint="give the guard's decision log, or alerts as JSON lines",
            slug="nothing-to-examine",
        )
    session.say(f"export: {count:,} events, {cut:,} cut to the limit of {destination}, {other:,} other lines left out")
    session.next("afterguard rules sigma")
    return 0


def _lines(source: Path) -> Iterator[bytes]:
    """Lines that are not empty; one beyond the cap comes cut, and is no event."""
    try:
        if str(source) == "-":
            yield from _cut(sys.stdin.buffer)
        elif source.suffix == ".gz":
            with gzip.open(source, "rb") as packed:
                yield from _cut(cast("IO[bytes]", packed))
        else:
            with source.open("rb") as plain:
                yield from _cut(plain)
    except (OSError, EOFError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(
            f"cannot read {source}: {why}",
            hint="name a whole file of JSON lines, or - for standard input",
            slug="no-such-path",
        ) from None


def _cut(lines: IO[bytes]) -> Iterator[bytes]:
    while line := lines.readline(LINE_CAP):
        if line.strip():
            yield line
