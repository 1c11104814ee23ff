"""JSON lines in, judgements out, in the same order; and labelled files -> the tables that say how good the judge is.

In: lines {"id", "text", "origin"} as bytes. Out: rows {"id", "score", "label", "spans", "tier", "micros", "model"}. A line that cannot be judged gives a
row with label "unjudged" and the reason, so that nothing is lost and the order stays. Memory is bounded by one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from afterguard.detect import judge as judging
from afterguard.detect.judge import Judge

LINE_CAP = 64 << 20
"""Bytes of one line; a longer one is passed over and said to be unjudged."""
DEFAULT_ORIGIN = "user"


def lines(source: IO[bytes], cap: int = LINE_CAP) -> Iterator[bytes | None]:
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
        if one is None:
            yield {
                "id": None,
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


def _parsed(line: bytes | None) -> tuple[dict[str, Any] | None, str]:
    """(id, text and origin of a line, "") or (None, why it cannot be judged)."""
    if line is None:
        return None, f"a line above {LINE_CAP >> 20} MB"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None, "not JSON"
    if not isinstance(row, dict):
        return None, "not an object"
    text, origin = row.get("text"), row.get("origin", DEFAULT_ORIGIN)
    if not isinstance(text, str):
        return None, "text is missing or no string"
    if origin not in judging.ORIGINS:
        return None, f"origin must be one of {', '.join(judging.ORIGINS)}"
    name = row.get("id")
    return {"id": name, "text": text, "origin": origin}, ""
