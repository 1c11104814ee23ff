"""Signs of a kind of text, found by the shared prefilter and added up in one window.

In: a rule file (catalog/rules/injection.yaml and its like) and the places where its patterns were seen. Out: the best window with
the signs in it. Signs count once a window, whatever their number, so that length alone proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from afterguard.catalog import load
from afterguard.detect.prefilter import Pattern

BLANK = "[^0-9A-Za-z_]{1,4}"
GAP = r"[^.!?\n]{0,40}"
SOME = re.compile(r" \{0,(\d)\}")
SET = re.compile(r"\{([a-z][a-z_]*)\}")
APART = re.compile(r"\{([a-z][a-z_]*)\|\}")


class Sign(NamedTuple):
    """One feature of a rule file."""

    id: str
    weight: float
    says: str


class Sighting(NamedTuple):
    """A sign seen, ending before byte `end` of a text."""

    sign: str
    end: int


class Window(NamedTuple):
    """The signs within `size` bytes, their weights added, and the bytes from the first to the last end."""

    score: float
    signs: frozenset[str]
    start: int
    end: int


EMPTY = Window(0.0, frozenset(), 0, 0)


@cache
def signs(name: str) -> dict[str, Sign]:
    """Signs of the rule file by id."""
    return {row["id"]: Sign(row["id"], float(row["weight"]), row["says"]) for row in load(f"rules/{name}")["features"]}


@cache
def patterns(name: str) -> tuple[Pattern, ...]:
    """Prefilter patterns of the rule file; their names are `file:sign`."""
    rules = load(f"rules/{name}")
    sets: dict[str, str] = rules.get("sets", {})
    return tuple(
        Pattern(f"{name}:{row['id']}", expand(text, sets), not row.get("case"))
        for row in rules["features"]
        for pattern in row["patterns"]
        for text in apart(pattern, sets)
    )


def apart(text: str, sets: dict[str, str]) -> list[str]:
    """A pattern that begins with `{set|}` as one for each alternative of the set: the same is found, and where many words may begin what ends far behind them, in a fifth of the time."""
    found = APART.match(text)
    if found is None:
        return [text]
    inner, depth, out = sets[found.group(1)][1:-1], 0, [""]
    for letter in inner:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and not depth:
            out.append("")
        else:
            out[-1] += letter
    return [f"({one}){text[found.end() :]}" for one in out]


def expand(text: str, sets: dict[str, str]) -> str:
    """A rule's pattern as a regular expression: sets, blanks and gaps written out, word borders at ASCII ends."""
    for _ in range(3):
        text = SET.sub(lambda found: sets.get(found.group(1), found.group()), text)
    out = SOME.sub(lambda found: f"[^0-9A-Za-z_]{{0,{found.group(1)}}}", text)
    out = out.replace(" ?", "[^0-9A-Za-z_]{0,2}").replace("~ ", GAP + "[^0-9A-Za-z_]").replace(" ~", BLANK + GAP)
    out = out.replace(" ", BLANK).replace("~", GAP)
    head = r"\b" if re.match(r"\(?[a-z]", text) else ""
    return head + out


def best(seen: Iterable[Sighting], weights: dict[str, Sign], size: int) -> Window:
    """The window of at most `size` bytes with the highest score. Linear in the sightings (times the signs)."""
    rows = sorted(seen, key=lambda row: row.end)
    top = EMPTY
    counts: dict[str, int] = {}
    score = 0.0
    low = 0
    for row in rows:
        counts[row.sign] = counts.get(row.sign, 0) + 1
        if counts[row.sign] == 1:
            score += weights[row.sign].weight
        while row.end - rows[low].end > size:
            gone = rows[low].sign
            counts[gone] -= 1
            if not counts[gone]:
                score -= weights[gone].weight
            low += 1
        if score > top.score + 1e-9:
            top = Window(score, frozenset(s for s, n in counts.items() if n), rows[low].end, row.end)
    return top


QUOTED = re.compile(
    r"(?<![^\s(\[=:,])\\?([\"'`]|“|‘|„|«)(?=\S)(.{12,240}?)(?<=[^\s\\])\\?(?:\1|[”’“»])(?![^\s.,;:!?)\]\\])", re.S
)


def quoted(text: str, at: int) -> list[tuple[int, int]]:
    """Byte spans of what a text quotes: writing about orders is not giving them."""
    return [
        (
            at + len(text[: found.start(2)].encode("utf-8", "surrogatepass")),
            at + len(text[: found.end(2)].encode("utf-8", "surrogatepass")) + 2,
        )
        for found, _ in zip(QUOTED.finditer(text), range(50), strict=False)
    ]
