"""What redact, tokenise and neutralise do to texts, as edits that never overlap.

In: places found by rules. Out: Edits in order of text and span. Places that overlap become one, and the stronger rule says what becomes of
it. Spans are aligned to whole characters; a place that does not exist is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from afterguard.model import ACTIONS, Action, Edit, Span, Text

Placeholder = Callable[[str, str], str]
"""(kind, value) -> what stands in its place until the reply comes back."""


class Place(NamedTuple):
    """A place that a rule wants changed."""

    text: int
    start: int
    end: int
    action: Action
    kind: str
    rule: str
    replacement: str | None


def edits(texts: Sequence[Text], places: Sequence[Place], placeholder: Placeholder | None) -> tuple[Edit, ...]:
    """The changes to make."""
    data: dict[int, bytes] = {}
    aligned: list[Place] = []
    for place in places:
        whole = data.get(place.text)
        if whole is None:
            whole = data[place.text] = texts[place.text].value.encode("utf-8", "surrogatepass")
        start, end = _aligned(whole, place.start, place.end)
        if start < end:
            aligned.append(place._replace(start=start, end=end))
    return tuple(_edit(place, data[place.text], placeholder) for place in _merged(aligned))


def _aligned(data: bytes, start: int, end: int) -> tuple[int, int]:
    start, end = max(0, start), min(len(data), end)
    while 0 < start < len(data) and data[start] & 0xC0 == 0x80:
        start -= 1
    while 0 < end < len(data) and data[end] & 0xC0 == 0x80:
        end += 1
    return start, end


def _merged(places: list[Place]) -> list[Place]:
    out: list[Place] = []
    for place in sorted(places, key=lambda one: (one.text, one.start, one.end)):
        last = out[-1] if out else None
        if last is None or last.text != place.text or place.start >= last.end:
            out.append(place)
            continue
        winner = place if ACTIONS.index(place.action) > ACTIONS.index(last.action) else last
        out[-1] = winner._replace(start=last.start, end=max(last.end, place.end))
    return out


def _edit(place: Place, data: bytes, placeholder: Placeholder | None) -> Edit:
    span = Span(place.start, place.end)
    if place.action is Action.neutralise:
        new = place.replacement or ""
    elif place.action is Action.tokenise and placeholder is not None:
        new = placeholder(place.kind, data[place.start : place.end].decode("utf-8", "replace"))
    elif place.replacement is not None:
        new = place.replacement.replace("{kind}", place.kind)
    else:
        new = f"[removed: {place.kind}]"
    return Edit(place.text, span, new, place.rule)
