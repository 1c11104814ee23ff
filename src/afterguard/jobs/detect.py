"""JSON lines in, judgements out, in the same order; and labelled files -> the tables that say how good the judge is.

In: lines {"id", "text", "origin"} as bytes. Out: rows {"id", "score", "label", "spans", "tier", "micros", "model"}. A line that cannot be judged gives a
row with label "unjudged" and the reason, so that nothing is lost and the order stays. Memory is bounded by one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from afterguard.detect import judge as judging
from afterguard.detect.judge import Judge

LINE_CAP = 64 << 20
"""Bytes of one line; a longer one is passed over and said to be unjudged."""
DEFAULT_ORIGIN = "user"
NOBODY: dict[str, Any] = {"id": None}


class Readable(Protocol):
    """A stream of bytes: a file, a packed file, standard input."""

    def readline(self, size: int = -1, /) -> bytes: ...


def lines(source: Readable, cap: int = LINE_CAP) -> Iterator[bytes | None]:
    """Lines of a stream without their ends; None for one above the cap. Blank lines are left out."""
    while True:
        line = source.readline(cap + 1)
        if not line:
            return
        if len(line) > cap and not line.endswith(b"\n"):
            while True:
                rest = source.readline(1 << 20)
                if not rest or rest.endswith(b"\n"):
                    break
            yield None
        elif line.strip():
            yield line.rstrip(b"\r\n")


def judged(
    rows: Iterable[bytes | None], by: Judge, point: str, tier: str, clock: Callable[[], float]
) -> Iterator[dict[str, Any]]:
    """A row for each line. `clock` gives seconds."""
    for line in rows:
        one, why = _parsed(line)
        if why:
            yield {
                "id": one["id"],
                "score": None,
                "label": "unjudged",
                "spans": [],
                "tier": "",
                "micros": 0,
                "model": by.name,
                "reason": why,
            }
            continue
        began = clock()
        found = judging.judge(one["text"], one["origin"], by, point, tier)
        row = {
            "id": one["id"],
            "score": round(found.score, 6),
            "label": found.label,
            "spans": [list(span) for span in found.spans],
            "tier": found.tier,
            "micros": round((clock() - began) * 1e6),
            "model": found.model,
        }
        yield {**row, "reason": found.unjudged} if found.unjudged else row


def _parsed(line: bytes | None) -> tuple[dict[str, Any], str]:
    """(id, text and origin of a line, why it cannot be judged or "")."""
    if line is None:
        return NOBODY, f"a line above {LINE_CAP >> 20} MB"
    try:
        row = json.loads(line, parse_constant=_refused)
    except (ValueError, RecursionError):
        return NOBODY, "not JSON"
    if not isinstance(row, dict):
        return NOBODY, "not an object"
    text, origin = row.get("text"), row.get("origin", DEFAULT_ORIGIN)
    why = ""
    if not isinstance(text, str):
        why = "text is missing or no string"
    elif origin not in judging.ORIGINS:
        why = f"origin must be one of {', '.join(judging.ORIGINS)}"
    return {"id": row.get("id"), "text": text, "origin": origin}, why


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
