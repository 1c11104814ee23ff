"""Tool results and documents of one exchange, with the pieces that trust cut apart joined again.

In: the texts of an exchange. Out: `Result`s in the order of the conversation, and the way back from a place in the joined text to the
text it came from. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from afterguard.model import Origin, Span, Text, Trust


class Result(NamedTuple):
    """One tool result or document. `pieces` are indexes into the exchange's texts, in order."""

    turn: int
    first: int
    name: str
    value: str
    origin: Origin
    trust: Trust
    pieces: tuple[int, ...]


def results(texts: Sequence[Text], since: int = 0) -> list[Result]:
    """Joined results of texts[since:]. Pieces of one result share turn, name and place and follow each other."""
    groups: list[list[int]] = []
    for index in range(since, len(texts)):
        text = texts[index]
        if text.origin not in (Origin.tool, Origin.document):
            continue
        last = texts[groups[-1][-1]] if groups else None
        same = last is not None and (last.turn, last.name, last.where) == (text.turn, text.name, text.where)
        if same and text.where and groups[-1][-1] == index - 1:
            groups[-1].append(index)
        else:
            groups.append([index])
    return [_joined(texts, group) for group in groups]


def _joined(texts: Sequence[Text], group: list[int]) -> Result:
    first = texts[group[0]]
    outside = any(texts[i].trust is Trust.third_party for i in group)
    value = first.value if len(group) == 1 else "".join(texts[i].value for i in group)
    trust = Trust.third_party if outside and len(group) == 1 else Trust.first_party
    return Result(first.turn, group[0], first.name, value, first.origin, trust, tuple(group))


def place(texts: Sequence[Text], result: Result, start: int, end: int) -> tuple[int, Span]:
    """(text index, byte span) of characters [start, end) of the joined text; a span over a cut keeps its larger part."""
    best = (result.first, Span(0, 0))
    size = -1
    at = 0
    for index in result.pieces:
        value = texts[index].value
        low, high = max(0, start - at), min(len(value), end - at)
        if high - low > size and high >= low:
            size = high - low
            begin = len(value[:low].encode("utf-8", "surrogatepass"))
            best = index, Span(begin, begin + len(value[low:high].encode("utf-8", "surrogatepass")))
        at += len(value)
    return best
