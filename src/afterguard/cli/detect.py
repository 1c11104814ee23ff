"""`afterguard detect`: judge texts from a stream; `detect eval` says how good the judge is on labelled ones."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from cyclopts import App

from afterguard.cli.options import DEFAULT, Common, Progress, open_session, writing
from afterguard.errors import NothingToExamine, UsageError
from afterguard.jobs import detect as job

if TYPE_CHECKING:
    from afterguard.detect.judge import Judge

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
                for row in _rows(source, by, point, tier):
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
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


def _rows(source: Path, by: Judge, point: str, tier: str) -> Iterator[dict[str, Any]]:
    opened = _open(source)
    try:
        yield from job.judged(job.lines(opened), by, point, tier, time.perf_counter)
    finally:
        if opened is not sys.stdin.buffer:
            opened.close()


def _open(source: Path) -> IO[bytes]:
    if str(source) == "-":
        return sys.stdin.buffer
    try:
        if source.suffix == ".gz":
            import gzip

            return gzip.open(source, "rb")  # type: ignore[return-value]
        return source.open("rb")
    except OSError as error:
        raise UsageError(
            f"cannot read {source}: {error.strerror}",
            hint="name a file of JSON lines, or - for standard input",
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
        rows, unread = judge_eval.scored(_labelled(files), by, tier, lambda count: progress(count, "texts"))
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


def _labelled(files: list[Path]) -> Iterator[bytes | None]:
    for source in files:
        if str(source) != "-" and not os.path.isfile(source):
            raise UsageError(f"no such file: {source}", hint="name a file of labelled JSON lines", slug="no-such-path")
        opened = _open(source)
        try:
            yield from job.lines(opened)
        finally:
            if opened is not sys.stdin.buffer:
                opened.close()
