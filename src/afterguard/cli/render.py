"""Format name -> renderer, the same table for every command.

In: a result and a Session. Out: text on standard output or in a file. A format a result has no shape for is a usage error that
names the ones it has.
"""

from __future__ import annotations

from typing import IO

from afterguard.cli.options import Session, writing
from afterguard.errors import UsageError
from afterguard.model import Lookback, Survey

COLORS = {"auto": None, "always": True, "never": False}


def render(session: Session, result: Survey | Lookback, what: str, now: float, next_command: str) -> None:
    """Write the result as --format asks and, for a table, name the next command."""
    chosen = session.common.format
    with writing(session.common.output) as out:
        if isinstance(result, Lookback):
            _lookback(session, result, chosen, out)
        else:
            _survey(session, result, what, chosen, now, out)
    session.next(next_command)


def _survey(session: Session, result: Survey, what: str, chosen: str, now: float, out: IO[str]) -> None:
    from afterguard.report import csv, cyclonedx, junit, markdown, sarif

    if chosen in ("table", "json", "jsonl"):
        _plain(session, result, what, chosen, out)
    elif chosen == "sarif":
        sarif.render(
            result, out, created_at=now, suppressed={one.fingerprint: "suppressed" for one in result.suppressed}
        )
    elif chosen == "cyclonedx":
        cyclonedx.render(result, out, created_at=now)
    elif chosen == "junit":
        junit.render(result, out)
    elif chosen == "csv":
        csv.render(result, out, what=what)
    elif chosen == "md":
        markdown.render(result, out, what=what)
    else:
        raise _no_shape(what, chosen, "table, json, jsonl, sarif, cyclonedx, junit, csv, md")


def _lookback(session: Session, result: Lookback, chosen: str, out: IO[str]) -> None:
    from afterguard.report import csv, markdown

    if chosen in ("table", "json", "jsonl"):
        _plain(session, result, "lookback", chosen, out)
    elif chosen == "csv":
        csv.render(result, out)
    elif chosen == "md":
        markdown.render(result, out)
    else:
        raise _no_shape("lookback", chosen, "table, json, jsonl, csv, md")


def _plain(session: Session, result: Survey | Lookback, what: str, chosen: str, out: IO[str]) -> None:
    from afterguard.report import json, jsonl, table

    if chosen == "json":
        json.render(result, out, what=what)
    elif chosen == "jsonl":
        jsonl.render(result, out, what=what)
    else:
        table.render(result, out, what=what, verbose=session.common.verbose, color=COLORS[session.common.color])


def _no_shape(what: str, chosen: str, known: str) -> UsageError:
    return UsageError(
        f"{what} has no {chosen} format",
        hint=f"use one of {known}, or `afterguard onboard` for the report",
        slug="bad-format",
    )
