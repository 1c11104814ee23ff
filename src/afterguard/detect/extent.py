"""How far a hit in outside text reaches. Rules and the judge point at a field or a window; what gives orders in it are sentences, and the rest is somebody's data.

In: a Scene in which foreign_order has looked, and a hit of injection or judged. Out: the hit with narrower spans, one hit for each passage. A hit is only narrowed where
the judge finds nothing in what would be left; without a judge it stays as it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import takewhile

import msgspec

from afterguard.detect import borders, foreign_order, injection, judged, mood
from afterguard.detect.mood import Sentence
from afterguard.detect.scene import Scene
from afterguard.model import Hit, Span

COARSE = (injection.ID, judged.ID)
KINDS = ("injection_ignored", "injection_followed")
SIGNS = injection.STRONG | injection.ORDERS | injection.TO_THE_MODEL
FIRM = 0.0
"""The network's log odds from which a sentence belongs to the attack by itself."""
ASKED_CAP = 24
"""Sentences of one hit that the network is asked about."""
PASSAGES_CAP = 12
"""A hit in more pieces than that is left whole."""
LATER = bytes(range(0x80, 0xC0))
"""Bytes that begin no character."""
SENTENCES_CAP = 200
"""A hit on more sentences than that is left whole."""
TEXT_CAP = 60_000
"""Characters of a text whose hits are narrowed."""

Passages = list[tuple[int, int]]


def narrowed(scene: Scene, found: Hit) -> list[Hit]:
    """The hit, on the sentences that make it one."""
    if found.detector not in COARSE or found.kind not in KINDS or found.text < 0 or scene.context.opinion is None:
        return [found]
    text = scene.texts[found.text]
    if text.origin not in foreign_order.OUTSIDE or len(text.value) > TEXT_CAP:
        return [found]
    known = _characters(scene.data(found.text), found.span)
    orders = [
        _characters(scene.data(hit.text), hit.span)
        for hit in scene.hits
        if hit.text == found.text and hit.kind == foreign_order.KIND
    ]
    passages = _passages(scene, found.text, known, orders)
    if not passages or passages == [known] or len(passages) > PASSAGES_CAP:
        return [found]
    return [_on(scene, found, _bytes(text.value, *passage)) for passage in passages]


def _passages(scene: Scene, index: int, known: tuple[int, int], orders: Passages) -> Passages:
    """Passages within `known` without which the judge finds nothing in the text: orders and sentences with signs, and where that is not enough, what the network
    calls an attack. Empty where there are none such."""
    view = mood.readable(scene.texts[index].value)
    rows = [
        one
        for one in takewhile(lambda one: one.start < known[1], mood.sentences(view, frozenset()))
        if one.end > known[0]
    ]
    if len(rows) > SENTENCES_CAP:
        return []
    signs = _signs(scene, index)
    marked = [one for one in rows if bisect_right(signs, one.end) > bisect_right(signs, one.start)]
    for more in (False, True):
        if more:
            rest = [one for one in rows if one not in marked]
            marked += [one for one in rest[:ASKED_CAP] if _is_firm(scene, index, view, one)]
        pieces = _joined(view, [*orders, *_outlines(view, marked, orders)])
        inside = [piece for piece in pieces if piece[0] < known[1] and piece[1] > known[0]]
        if inside and _is_harmless(scene, index, pieces):
            return inside
    return []


def _signs(scene: Scene, index: int) -> list[int]:
    """Characters at which signs of an order to the model end in a text."""
    data = scene.data(index)
    topics = [topic for topic in scene.seen(injection.RULES) if topic.partition(":")[2] in SIGNS]
    ends = {place.end for topic in topics for place in scene.found(topic) if place.text == index}
    out: list[int] = []
    at = characters = 0
    for end in sorted(ends):
        characters += _count(data[at:end])
        at = end
        out.append(characters)
    return out


def _is_firm(scene: Scene, index: int, view: str, one: Sentence) -> bool:
    odds = foreign_order.odds_of(scene, foreign_order.core_of(view, one), scene.texts[index].origin)
    return odds is not None and odds >= FIRM


def _outlines(view: str, marked: Iterable[Sentence], orders: Sequence[tuple[int, int]]) -> Passages:
    """Marked sentences without what stands around them; those that an order covers are in it already."""
    spans = [borders.trimmed(view, one, one) for one in marked]
    return [
        span
        for span in spans
        if span[0] < span[1] and not any(low <= span[0] and span[1] <= high for low, high in orders)
    ]


def _joined(view: str, pieces: Passages) -> Passages:
    """Passages with nothing but blanks between them become one."""
    out: Passages = []
    for low, high in sorted(pieces):
        if out and (low <= out[-1][1] or not view[out[-1][1] : low].strip()):
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return [borders.blanks(view, low, high) for low, high in out]


def _is_harmless(scene: Scene, index: int, pieces: Passages) -> bool:
    """Whether the judge finds nothing in what is left of a text."""
    value = scene.texts[index].value
    kept: list[str] = []
    at = 0
    for low, high in pieces:
        kept.append(value[at : max(at, low)])
        at = max(at, high)
    rest = "".join([*kept, value[at:]])
    if len(rest.strip()) < judged.SHORT:
        return True
    return judged.opinion_of(scene, msgspec.structs.replace(scene.texts[index], value=rest)).label == "benign"


def _on(scene: Scene, found: Hit, span: Span) -> Hit:
    return msgspec.structs.replace(found, span=span, excerpt=scene.excerpt(found.text, span))


def _characters(data: bytes, span: Span) -> tuple[int, int]:
    low = _count(data[: span.start])
    return low, low + _count(data[span.start : span.end])


def _count(data: bytes) -> int:
    """Characters that begin in these bytes, halves of pairs too."""
    return len(data.translate(None, LATER))


def _bytes(value: str, low: int, high: int) -> Span:
    start = len(value[:low].encode("utf-8", "surrogatepass"))
    return Span(start, start + len(value[low:high].encode("utf-8", "surrogatepass")))
