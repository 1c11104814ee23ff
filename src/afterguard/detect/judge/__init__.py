"""The judge of text: is this an attempt to command, unchain or question a model, coming from where it comes from?

In: a text, its origin, and a `Judge` (weights; judges.py loads them). Out: model.Judgement: calibrated probability, class, located spans, tier.
Pure. The same sentence is a user's right in the user turn and an attack inside a tool result, so the origin is an input of both tiers.

Theory of operation. Tier one reads everything: the text, and decoded views of what looks encoded. Where its log odds stay below `low` for that
origin the text is settled as harmless. At what is above, a few texts in a hundred, the first layers of a small transformer take a glance, and settle most of
it: that is still tier one's opinion. What is left goes through the whole network, which sees the few most suspicious windows. Each opinion
is weighed with tier one's by a calibration made on data none of them was trained on. Without the network, or when its time is over, tier one's
opinion stands and the judgement says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from operator import ge
from typing import NamedTuple

import msgspec

from afterguard.detect import normalise
from afterguard.detect.judge import tier_one, tier_two
from afterguard.detect.judge.tier_one import CLASSES, ORIGINS, Reading, TierOne
from afterguard.detect.judge.tier_two import TierTwo
from afterguard.model import Judgement, Span

__all__ = ["CLASSES", "ORIGINS", "POINTS", "Calibration", "Judge", "judge"]

POINTS = ("quiet", "balanced", "strict")
PIECE = 200_000
"""Characters read at once; a longer text is read in pieces that overlap by OVERLAP, so that none of it is left out."""
OVERLAP = 2_000
MEANS = {
    "coded": (24, ("base64", "hex")),
    "percent": (5, ("percent encoding",)),
    "entity": (5, ("HTML entities",)),
    "escape": (5, ("Unicode escapes", "hex")),
    "lone": (7, ("letters set apart",)),
    "pairs": (12, ("hex",)),
    "inside": (3, ("digits for letters",)),
}
"""By sign of tier_one.SIGNS: from how many on, and which decoders of normalise it calls for."""
LEAST = tuple(least for least, _ in MEANS.values())
CUTS = 32
"""Sentences of a window that are weighed one by one when its span is trimmed."""
SPANS = 8
REFINED = 2_000
"""Characters around a window that are searched for its sentences."""
SENTENCE = re.compile(r"[.!?。！？؟]['\")\]\\]*\s+|\n+|<!--|-->|\\*[\"']\s*[,:}\]]\s*[\\\"'{\[]*")
OUTSIDE = ("document", "tool")


class Calibration(NamedTuple):
    """Log odds of a tier -> log odds of attack. All numbers come from data that neither tier was trained on."""

    low: Mapping[str, float]
    """By origin: below this log odds tier one settles a text as harmless."""
    longer: float
    """What is taken off every log odds for each e-fold number of windows: the largest of many is larger by chance."""
    high: float
    """From this on tier one settles it as an attack."""
    one: tuple[float, float]
    """(slope, offset) of tier one alone."""
    glance: tuple[float, float, float]
    """(slope of tier one, slope of the glance, offset) where the glance looked."""
    doubt: Mapping[str, float]
    """By origin: log odds of attack, as the glance sees it, from which the whole network is asked."""
    both: tuple[float, float, float]
    """(slope of tier one, slope of tier two, offset) where the whole network looked."""


class Judge(NamedTuple):
    """Everything a judgement needs. `name` is version and checksum."""

    name: str
    one: TierOne
    two: TierTwo | None
    calibration: Calibration
    points: Mapping[str, float]
    """By name: the probability from which a text counts as an attack."""
    tier_one_points: Mapping[str, float]
    """The same where tier one stands alone."""


class First(NamedTuple):
    """What tier one says of a text and its decoded views: the reading that decides, the text it read, what of the original that stands for."""

    reading: Reading
    margin: float
    text: str
    start: int
    end: int
    is_view: bool


def judge(
    text: str,
    origin: str,
    by: Judge,
    point: str = "balanced",
    tier: str = "",
    stop: Callable[[], bool] = lambda: False,
) -> Judgement:
    """Judge one text. `tier` "one" keeps to tier one; `stop` ends tier two early. Raises KeyError for an unknown point or origin."""
    first = look(text, origin, by)
    if first is None:
        return nothing(by)
    alone = tier == "one" or by.two is None
    if by.two is None or is_settled(first, origin, by):
        return settled(text, origin, first, by, point, alone=alone)
    return second(text, origin, first, by, point, stop, alone=alone)


def passage(text: str, origin: str, by: Judge) -> float | None:
    """The whole network's log odds of attack for a short passage, whatever tier one thinks of it; about 5 ms a sentence. What is past one window
    is not read. None where there is no network, no word, or it failed."""
    if by.two is None:
        return None
    try:
        return tier_two.short(text, origin, by.two)
    except tier_two.Failed:
        return None


def nothing(by: Judge) -> Judgement:
    """What is said of a text in which there is nothing to read."""
    return Judgement(0.0, "benign", (), "one", by.name)


def look(text: str, origin: str, by: Judge) -> First | None:
    """Tier one over a text and its decoded views; None where there is nothing to read."""
    best: First | None = None
    for at in range(0, max(len(text), 1), PIECE - OVERLAP):
        part = text if len(text) <= PIECE else text[at : at + PIECE]
        found = _piece(part, at, origin, by.one)
        if found is not None and (best is None or found.margin > best.margin):
            best = found
        if at + PIECE >= len(text):
            break
    return best


def _piece(text: str, offset: int, origin: str, one: TierOne) -> First | None:
    reading = None if text.isspace() else tier_one.read(text, origin, one)
    if reading is None:
        return None
    best = First(reading, reading.margin, text, offset, offset + len(text), False)
    means = _means(reading.signs)
    for view in normalise.views(text, means=means) if means else ():
        seen = tier_one.read(view.text, origin, one)
        if seen is not None and seen.margin > best.margin:
            best = First(seen, seen.margin, view.text, offset + view.start, offset + view.end, True)
    return best


def _means(signs: tuple[int, ...]) -> list[str]:
    """Decoders that the signs call for; mostly none, and that is found out quickly."""
    if not any(map(ge, signs, LEAST)):
        return []
    return [name for count, (least, names) in zip(signs, MEANS.values()) if count >= least for name in names]


def is_settled(first: First, origin: str, by: Judge) -> bool:
    """Whether tier one needs no second opinion."""
    odds = first.margin - _longer(first, by)
    return odds < by.calibration.low[origin] or odds >= by.calibration.high


def _longer(first: First, by: Judge) -> float:
    return by.calibration.longer * math.log(len(first.reading.margins))


def settled(
    text: str, origin: str, first: First, by: Judge, point: str, alone: bool, odds: float | None = None
) -> Judgement:
    """Tier one's opinion as a judgement, or the glance's `odds`. `alone` when no second tier is to be had: then other thresholds hold."""
    slope, offset = by.calibration.one
    score = _probability(slope * (first.margin - _longer(first, by)) + offset if odds is None else odds)
    limit = (by.tier_one_points if alone else by.points)[point]
    if score < limit:
        return Judgement(score, "benign", (), "one", by.name)
    spans = _spans(text, origin, first, by)
    return Judgement(score, _label(first.reading.logits.tolist(), origin), spans, "one", by.name)


def second(
    text: str,
    origin: str,
    first: First,
    by: Judge,
    point: str,
    stop: Callable[[], bool] = lambda: False,
    alone: bool = False,
) -> Judgement:
    """The glance, and where that leaves a doubt both tiers weighed; `alone` never goes beyond the glance. Where the network failed or had no time at all,
    tier one's opinion with that reason; where it had time for a part, that is said."""
    if by.two is None:
        return unfinished(text, origin, first, by, point, "there is no tier two")
    longer = _longer(first, by)
    one = first.margin - longer
    try:
        early = None if stop() else tier_two.glance(first.text, origin, first.reading, by.two)
        slope_one, slope_glance, shift = by.calibration.glance
        odds = None if early is None else slope_one * one + slope_glance * (early - longer) + shift
        if alone or (odds is not None and odds < by.calibration.doubt[origin]):
            return settled(text, origin, first, by, point, alone, odds)
        seen = tier_two.read(first.text, origin, first.reading, by.two, stop)
    except tier_two.Failed as error:
        return unfinished(text, origin, first, by, point, f"tier two failed: {error}")
    if seen is None:
        return unfinished(
            text, origin, first, by, point, "tier two had no time" if stop() else "tier two found no words"
        )
    weight_one, weight_two, offset = by.calibration.both
    score = _probability(weight_one * one + weight_two * (tier_two.margin(seen.logits) - longer) + offset)
    why = "tier two had time for a part" if seen.is_cut_short else ""
    if score < by.points[point]:
        return Judgement(score, "benign", (), "two", by.name, why)
    return Judgement(score, _label(seen.logits.tolist(), origin), _spans(text, origin, first, by), "two", by.name, why)


def unfinished(text: str, origin: str, first: First, by: Judge, point: str, why: str) -> Judgement:
    """Tier one's opinion where tier two was due and did not come, with the reason."""
    return msgspec.structs.replace(settled(text, origin, first, by, point, alone=True), unjudged=why)


def _label(logits: list[float], origin: str) -> str:
    """The likeliest class of attack. What stands in data is planted, whatever it asks for."""
    if origin in OUTSIDE:
        return "indirect_injection"
    return max(zip(logits[1:], CLASSES[1:]))[1]


def _probability(odds: float) -> float:
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, odds))))


def _bytes(text: str, start: int, end: int) -> Span:
    """Character span -> UTF-8 byte span of the original."""
    low = len(text[:start].encode("utf-8", "surrogatepass"))
    return Span(low, low + len(text[start:end].encode("utf-8", "surrogatepass")))


def _spans(text: str, origin: str, first: First, by: Judge) -> tuple[Span, ...]:
    """Where the attack stands: the deciding window cut to its sentences, then the other windows that are as bad; a decoded view whole."""
    if first.is_view:
        return (_bytes(text, first.start, first.end),)
    reading = first.reading
    floor = min(first.margin, max(0.0, first.margin - 2.0))
    found: list[tuple[int, int]] = []
    for at in reading.margins.argsort(kind="stable")[::-1]:
        if reading.margins[at] < floor or len(found) >= SPANS:
            break
        low, high = reading.span(int(at))
        if all(high <= start or low >= end for start, end in found):
            found.append(_sentences(first.text, low, high, origin, by.one))
    merged: list[tuple[int, int]] = []
    for low, high in sorted(found):
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(_bytes(text, first.start + low, first.start + high) for low, high in merged)


def _sentences(text: str, low: int, high: int, origin: str, one: TierOne) -> tuple[int, int]:
    """The sentences of a window without which it would be harmless: trimmed from both ends while what is left stays as suspicious."""
    if high - low > REFINED:
        return low, high
    begin, end = max(0, low - REFINED // 4), min(len(text), high + REFINED // 4)
    cuts = [begin, *(found.end() for found in SENTENCE.finditer(text, begin, end)), end]
    cuts = cuts[:: max(1, len(cuts) // CUTS)] + cuts[-1:]
    left = max((i for i, cut in enumerate(cuts) if cut <= low), default=0)
    right = min((i for i, cut in enumerate(cuts) if cut >= high), default=len(cuts) - 1)
    whole = _margin(text[cuts[left] : cuts[right]], origin, one)
    while right - left > 1:
        without_last = _margin(text[cuts[left] : cuts[right - 1]], origin, one)
        without_first = _margin(text[cuts[left + 1] : cuts[right]], origin, one)
        if max(without_first, without_last) < max(whole - 1.0, 0.0):
            break
        if without_last >= without_first:
            right -= 1
        else:
            left += 1
    start, stop = cuts[left], cuts[right]
    inside = text[start:stop]
    if not inside.strip():
        return low, high
    return start + len(inside) - len(inside.lstrip()), stop - (len(inside) - len(inside.rstrip()))


def _margin(text: str, origin: str, one: TierOne) -> float:
    reading = tier_one.read(text, origin, one)
    return -20.0 if reading is None else reading.margin
