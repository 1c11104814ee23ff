"""Keys and passwords in a file, with their physical line and whether they stand in a prompt.

In: a parsed file. Out: `Place` rows. The shapes and their checks are those of detect.secrets, so that posture and look-back agree.
In code an assignment counts only when its value is a literal.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from afterguard.code.parse import Parsed
from afterguard.detect import secrets
from afterguard.detect.prefilter import Prefilter
from afterguard.scan.check import Context
from afterguard.scan.prompts import prompts

CAP = 4 << 20
_VARIABLE = re.compile(
    rb"^(?:\$|\{\{|%\(|<|process\.env|os\.)|\$\{|\{[a-z_.]+\}|\*{4}|\.{3}|^[A-Z_]+$|^(?:[a-z]+[_-]){2,}[a-z]+$|environ|getenv|secretKeyRef"
)


class Place(NamedTuple):
    """A secret: its line, what it is, and whether a prompt holds it."""

    line: int
    title: str
    shape: str
    in_prompt: bool


@cache
def prefilter() -> Prefilter:
    """The shared multi-pattern filter over key shapes."""
    return Prefilter(secrets.DETECTOR.patterns, places=20_000)


def places(parsed: Parsed, context: Context) -> list[Place]:
    """Every secret of the file, once a line and shape."""
    return context.kept(parsed, "secrets", lambda: _places(parsed, context))


def _places(parsed: Parsed, context: Context) -> list[Place]:
    data = parsed.source.data[:CAP]
    ends = [(match.name, match.end) for match in prefilter().scan(data)]
    if not ends:
        return []
    starts = [0, *(found.end() for found in re.finditer(rb"\n", data))]
    spans = [(prompt.line, prompt.end_line) for prompt in prompts(parsed, context)]
    out: dict[tuple[int, str], Place] = {}
    for secret in secrets.secrets_in(data, ends):
        if _VARIABLE.search(secret.value) or not _is_literal(parsed, data, secret):
            continue
        line = bisect_left(starts, secret.span.start + 1)
        inside = any(low <= line <= high for low, high in spans)
        out.setdefault((line, secret.shape.id), Place(line, secret.shape.title, secret.shape.id, inside))
    return _one_a_line(out.values())


def _one_a_line(found: Iterable[Place]) -> list[Place]:
    by_line: dict[int, Place] = {}
    for one in sorted(found, key=lambda place: (place.line, place.shape == "assigned-secret")):
        by_line.setdefault(one.line, one)
    return list(by_line.values())


def _is_literal(parsed: Parsed, data: bytes, secret: secrets.Secret) -> bool:
    if secret.shape.id != "assigned-secret" or parsed.module is None:
        return True
    return data[max(0, secret.span.start - 1) : secret.span.start] in (b'"', b"'", b"`", b" ", b"/")
