"""Personal identifiers in data a model is trained on, tuned with or prompted with.

In: CSV and JSONL files that look like training, tuning, evaluation or retrieval data, and prompts in code. Out: one finding a file at
the first identifier, with the classes and counts; one for each prompt. Identifiers are validated by detect.pii.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from afterguard.code.parse import Parsed
from afterguard.detect.identifiers import PATTERNS
from afterguard.detect.identifiers import identifiers as validated
from afterguard.detect.prefilter import Prefilter
from afterguard.model import Confidence, Finding, Severity
from afterguard.scan.check import CODE, Check, Context
from afterguard.scan.prompts import prompts

CHECK = Check(
    id="pii-in-training-data",
    title="Training data or prompts hold personal identifiers",
    severity=Severity.high,
    taxonomies=("LLM02:2025", "LLM02:2026", "AML.T0057", "AML.T0024.000", "CWE-359"),
    why="A model repeats what it was trained on and shown; whoever asks the right question gets other people's data.",
    fix="Remove or pseudonymise identifiers before the data is used, record where it came from, and retrain what has already seen it.",
    kinds=("csv", "log", "json", *CODE, "text", "yaml"),
)
_DATA = re.compile(
    r"(?:^|[/_.-])(?:train(?:ing)?|fine[-_]?tun\w*|datasets?|corpus|corpora|sft|dpo|rlhf|eval(?:uation)?s?|few[-_]?shot|knowledge(?:[-_]?base)?|rag|embeddings?|ground[-_]?truth|labell?ed|instruct\w*|data)(?:[/_.\-\d]|$)",
    re.IGNORECASE,
)
_ROW = re.compile(
    rb'"(?:messages|prompt|completion|instruction|input|output|text|question|answer|conversations|chosen|rejected|query|response|context)"\s*:'
)
_LOG = re.compile(r"(?:^|/)(?:logs?|access|audit|proxy|traffic|traces?)(?:[/_.-])", re.IGNORECASE)
_COLUMN = re.compile(
    r"^(?:ssn|social_?security(?:_?(?:no|number))?|passport(?:_?(?:no|number))?|national_?id|tax_?id|card_?(?:no|number)|credit_?card|iban|nino|nhs_?number|bsn|cpf|aadhaar|pesel)$",
    re.IGNORECASE,
)
_MASKED = re.compile(r"[*xX#]{3}|^[0-9a-fA-F]{32,}$|^\[|^<|redact|token|^$", re.IGNORECASE)


MATCHES = 10_000
"""Places of one file that are verified; where there are more, the finding stands and its counts are lower bounds."""


class Found(NamedTuple):
    """An identifier: its class and physical line."""

    kind: str
    line: int
    value: str
    is_strong: bool


@cache
def prefilter() -> Prefilter:
    """The shared filter over identifier shapes."""
    return Prefilter(PATTERNS, places=20_000)


def identifiers(data: bytes) -> list[Found]:
    """Distinct validated identifiers with their lines."""
    starts = [0, *(found.end() for found in re.finditer(rb"\n", data))]
    out: dict[tuple[str, str], Found] = {}
    for match in prefilter().scan(data)[:MATCHES]:
        for one in validated(data, match.name, match.end):
            line = bisect_left(starts, one.span.start + 1)
            out.setdefault((one.kind, one.value), Found(one.kind, line, one.value, one.is_strong))
    return list(out.values())


def check(parsed: Parsed, context: Context) -> Iterator[Finding]:
    """Findings for data files and prompts."""
    if parsed.source.kind in ("csv", "log", "json"):
        yield from _in_data(parsed, context)
    else:
        yield from _in_prompts(parsed, context)


def _in_data(parsed: Parsed, context: Context) -> Iterator[Finding]:
    path, data = parsed.source.path, parsed.source.data
    if _LOG.search(path) or not is_training(path, parsed.source.kind, data):
        return
    found = [*identifiers(data), *(_columns(data) if parsed.source.kind == "csv" else ())]
    counts = Counter(one.kind for one in found)
    strong = [one for one in found if one.is_strong]
    if not strong and sum(counts.values()) < 2:
        return
    first = min(found, key=lambda one: one.line)
    said = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(counts.items()))
    sure = Confidence.high if strong else Confidence.medium
    message = f"This data holds distinct personal identifiers, at least these: {said}."
    yield context.finding(CHECK, parsed, first.line, message, confidence=sure)


def _columns(data: bytes) -> Iterator[Found]:
    """The first filled row of each column whose name is that of an identifier."""
    rows = data[:200_000].decode("utf-8", "replace").splitlines()[:200]
    if len(rows) < 2:
        return
    mark = max(",;\t|", key=rows[0].count)
    names = [name.strip().strip("\"'") for name in rows[0].split(mark)]
    for position, name in enumerate(names):
        if not _COLUMN.match(name):
            continue
        for number, row in enumerate(rows[1:], start=2):
            cells = row.split(mark)
            held = cells[position].strip().strip("\"'") if position < len(cells) else ""
            if sum(c.isdigit() for c in held) >= 6 and not _MASKED.search(held):
                yield Found(name.lower(), number, held, True)
                break


def is_training(path: str, kind: str, data: bytes) -> bool:
    """Whether a data file is, by where it stands and how its rows look, what a model learns from or is shown."""
    if kind == "csv":
        return bool(_DATA.search(path))
    named = bool(_DATA.search(path)) and (kind == "log" or data.lstrip()[:1] == b"[")
    return named and (bool(_ROW.search(data[:20_000])) or "train" in path.lower())


def _in_prompts(parsed: Parsed, context: Context) -> Iterator[Finding]:
    spans = [(one.line, one.end_line) for one in prompts(parsed, context)]
    if not spans:
        return
    for one in sorted(identifiers(parsed.source.data), key=lambda found: found.line):
        if one.is_strong and any(low <= one.line <= high for low, high in spans):
            message = f"A prompt holds a {one.kind.replace('_', ' ')}."
            yield context.finding(CHECK, parsed, one.line, message, confidence=Confidence.medium)
