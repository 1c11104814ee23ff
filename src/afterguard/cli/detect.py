"""`afterguard detect`: judge texts from a stream; `detect eval` says how good the judge is on labelled ones."""

from __future__ import annotations

import gzip
import json
import sys
import time
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Literal

from cyclopts import App

from afterguard.cli.options import DEFAULT, Common, Progress, open_session, writing
from afterguard.errors import NothingToExamine, UsageError
from afterguard.jobs import detect as job

detect = App(
    name="detect", help="Judge texts: prompt injection, jailbreak, prompt extraction.", help_format="plaintext"
)
Point = Literal["quiet", "balanced", "strict"]
Tier = Literal["one", "two"]


@detect.default
def judge(
    files: list[Path] | None = None,
    /,
    *,
    point: Point = "balanced",
    tier: Tier = "two",
    model: Path | None = None,
    common: Common = DEFAULT,
) -> int:
    """Read JSON lines {"id", "text", "origin"} and write {"id", "score", "label", "spans", "tier", "micros", "model"}, in the same order.

    Parameters
    ----------
    files
        Files of JSON lines; none or - is standard input. origin is one of system, user, document, tool, model.
    point
        Operating point: quiet cries wolf least, strict misses least.
    tier
        one: microseconds, inline. two: also asks the second tier where the first is not sure.
    model
        Folder, judge.json or .onnx file of another judge with the same contract.
    """
    from afterguard import judges

    session = open_session(common)
    if not files and sys.stdin.isatty():
        raise UsageError(
            "nothing to judge on standard input", hint="afterguard detect < in.jsonl > out.jsonl", slug="bad-usage"
        )
    by = judges.load(model)
    if tier == "two" and by.two is None:
        session.say("detect: onnxruntime is not installed: tier one judges alone")
    progress = Progress(session, "detect: judging")
    count = attacks = unjudged = 0
    try:
        with writing(common.output) as out:
            for source in files or [Path("-")]:
                for row in job.judged(_lines(source), by, point, tier, time.perf_counter):
                    out.write(json.dumps(row) + "\n")
                    count += 1
                    unjudged += row["label"] == "unjudged"
                    attacks += row["label"] not in ("benign", "unjudged")
                    progress(count, "texts")
    finally:
        progress.close()
    if not count:
        raise NothingToExamine(
            "no lines to judge",
            hint='one JSON object a line: {"id": 1, "text": "...", "origin": "user"}',
            slug="nothing-to-examine",
        )
    session.say(f"detect: {count:,} texts, {attacks:,} attacks at {point}, {unjudged:,} unjudged")
    session.next("afterguard lookback LOGS")
    return 0


def _lines(source: Path) -> Iterator[bytes | None]:
    """Lines of a file, gz or not, or of standard input."""
    try:
        if str(source) == "-":
            yield from job.lines(sys.stdin.buffer)
        elif source.suffix == ".gz":
            with gzip.open(source, "rb") as packed:
                yield from job.lines(packed)
        else:
            with source.open("rb") as plain:
                yield from job.lines(plain)
    except (OSError, EOFError, zlib.error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(
            f"cannot read {source}: {why}",
            hint="name a whole file of JSON lines, or - for standard input",
            slug="no-such-path",
        ) from None


@detect.command(name="eval")
def evaluate(
    files: list[Path],
    /,
    *,
    model: Path | None = None,
    tier: Tier = "two",
    without: list[str] | None = None,
    common: Common = DEFAULT,
) -> int:
    """Say how good the judge is on labelled files: AUC, recall at given false positives, false positives of every benign set at every point.

    Parameters
    ----------
    files
        JSON lines (gz too) of {"text", "label", "kind", "set"}; harmful_request rows are left out.
    model
        Folder, judge.json or .onnx file of another judge with the same contract.
    tier
        one: tier one alone.
    without
        Sets that are also left out of a second pooled row.
    """
    from afterguard import judges
    from afterguard.jobs import judge_eval

    session = open_session(common)
    by = judges.load(model)
    progress = Progress(session, "detect eval: judging")
    try:
        rows, unread = judge_eval.scored(
            chain.from_iterable(map(_lines, files)), by, tier, lambda count: progress(count, "texts")
        )
    finally:
        progress.close()
    if not rows:
        raise NothingToExamine(
            "no labelled rows in these files", hint="see docs/how-to/detect.md for the shape", slug="nothing-to-examine"
        )
    report = judge_eval.report(rows, by, tier, tuple(without or ()), unread)
    with writing(common.output) as out:
        out.write(json.dumps(report, indent=2) + "\n" if common.format == "json" else judge_eval.table(report))
    session.next("afterguard detect --point quiet < in.jsonl > out.jsonl")
    return 0
