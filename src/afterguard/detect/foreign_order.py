"""Orders in text that an outsider can write: passages that ask for what this conversation's tools do, and nobody entitled asked for it.

In: a Scene with the tools offered, and the judge's network (`Context.passage`) where there is one. Out: Hits of kind foreign_order whose spans are what can be cut so
that the rest reads as before. It does not ask whether anybody obeyed: that is for injection and tool_provenance.

Theory of operation. A tool result is cut into sentences (mood.py). A sentence that asks for something and fits a tool (affinity.py), or that speaks to the model
(catalog/rules/injection.yaml), passes the gate: a few in a hundred. The network then says how much it sounds like an order to a machine. Its log odds, the fit and the
mood are added; what the user's request says is taken off: it handed over to this text, it asks for the same action and names this text as its source, it gave the
values itself. From zero on it is an order. Neighbours that only make sense with it, and what it is wrapped in, go with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from afterguard.catalog import load
from afterguard.detect import affinity, borders, mood
from afterguard.detect.affinity import Fit, Profile
from afterguard.detect.detector import Detector
from afterguard.detect.injection import STRONG, family, sightings
from afterguard.detect.mood import Sentence
from afterguard.detect.order_followed import Foreign
from afterguard.detect.provenance import values
from afterguard.detect.result import Result
from afterguard.detect.scene import Scene, hit
from afterguard.detect.structure import is_in_name
from afterguard.model import Confidence, Hit, Origin, Severity, Span, Text, ToolSpec

ID = "foreign-order"
KIND = "foreign_order"
IN_NAME = "order_in_name"
"""Kind of an order that is part of a name: cut, the name would no longer be found by the tool that gave it."""
OUTSIDE = (Origin.tool, Origin.document)
TAXONOMIES = ("LLM01:2025", "LLM01:2026", "ASI01:2026", "AML.T0051.001", "CWE-1427")
GATE = 1.0
"""Fit from which the network is asked."""
NETWORK_CAP = 32
"""Sentences of one result that the network is asked about, the best fitting first."""
SURE = 3.0
"""Score from which it is high confidence."""
UNASKED = -2.0
"""Log odds assumed where there is no network."""
HEAD = 2.5
SAME = 1.2
FIT = 0.9
BIAS = -3.6
"""These weights: a logistic fit, rounded and drawn together, on orders planted into bank, chat and office results, and on ordinary mails and documentation."""
GIVEN_CAP = 20_000
GIVEN_CALLS = 8
SIGN = 1.0
SIGNS_CAP = 200
SPOKEN = 0.5
"""What a sign counts in a sentence of the same field, at most NEARBY sentences away."""
NEARBY = 3
QUESTION = -2.0
EXPLAINED = -3.0
SOURCE = -2.0
"""The request asks for the same action and names this text as where the details are."""
HANDED = -5.0
"""The request hands over to this text."""
NOVEL = 1.5
"""It gives an address or account that the request does not."""
BESIDE = -3.5
"""Score from which the sentence is read once more, together with its neighbours."""
CODE = -1.5
HEADING = -1.0
CROWD = -0.8
"""For each order of its kind that stands elsewhere in the text, past the first two: a manual is made of them."""
CROWD_CAP = 3
HEADS_CAP = 100
"""Sentences in which such are counted."""
NEAR = -1.0
"""Score from which a neighbour of an order belongs to it."""
LISTED_CAP = 4_000
HANDED_ITEM = -3.0
"""The request hands over to this text, and the sentence is one of a list in it."""
SHARED_OUT = -4.0
"""One of at least three items that begin with different names: somebody else's task."""
TITLED = -2.0
"""An item with a title of several words: advice in a document."""
ITEM = re.compile(r"[ \t>]*(?:(?:[-*•]|\d{1,2}[.)])[ \t]+){1,2}")
PERSON = re.compile(r"[*_]{0,2}([A-Z][\w'-]{1,20}(?: [A-Z][\w'-]{1,20}){0,3})[*_]{0,2}:[*_]{0,2}\s")
GROW = 8
"""Neighbours on each side that are looked at."""
CODED = re.compile(
    r"[{};]|[^\s=]=[^\s=]|\s[=+|&<>]=?\s|\w\(|::|->|=>|\$\{|^\s*(?:#|//|>>>|\$ |import |from \w+ import)|\(\)|\]\("
)
HEADED = re.compile(r"#{1,6} ")
ASKED = re.compile(r"\?[\"')\]\s]*\Z|\b(?:can|could|would|will) (?:you|we|someone|somebody|anybody|anyone)\b", re.I)
POINTER = re.compile(r"[a-z]+://\S|\bwww\.\S|\b[\w-]+\.[a-z]{2,5}\b(?!\S*@)|['\"][^'\"\n]{3,80}['\"]")
"""Something in a request that says where to look: an address, a file, a title in quotes."""
VALUE = re.compile(r"[\w.+-]+@[\w.-]+\.\w+|[a-z]+://\S+|www\.\S+|\b(?=\w*\d)[\w-]{4,60}\b", re.I)

ADDRESS = re.compile(
    r"[\w.+-]+@[\w.-]+\.\w+|[a-z]+://\S+|\bwww\.\S+|\b[A-Z]{2}\d{2}[A-Z0-9]{8,30}\b|\b[a-z0-9-]{2,60}\.[a-z]{2,6}/\S+",
    re.I,
)


class Weighed(NamedTuple):
    """A sentence with its score and what speaks for it."""

    sentence: Sentence
    score: float
    odds: float | None
    fit: Fit
    signs: float


class Order(NamedTuple):
    """A passage to cut: characters of the joined result, the strongest score in it, and the tool it is after."""

    start: int
    end: int
    score: float
    tool: str


class Request(NamedTuple):
    """What the user asked for. `covers` are tools that the request's own sentences fit."""

    text: str
    covers: frozenset[str]
    hands_over: bool
    wanted: frozenset[str]
    """Verbs by which a sentence may fit one of the tools."""


@cache
def _handing_over() -> re.Pattern[str]:
    return re.compile("|".join(load("rules/orders")["handing-over"]), re.I)


def find(scene: Scene) -> Iterator[Hit]:
    """One hit for each passage and each text that it stands in."""
    if not scene.fresh:
        return
    tools = _tools(scene)
    if not tools:
        return
    request = _request(scene, tools)
    seen: dict[int, list[int]] = {}
    for index, rows in sightings(scene).items():
        seen[index] = [row.end for row in rows if row.sign in STRONG]
    for result in scene.fresh:
        for order in orders(scene, result, tools, request, seen.get(result.first, [])):
            scene.foreign.append(Foreign(result, order.start, order.end, order.tool))
            for index, span in places(scene.texts, result, order.start, order.end):
                yield _hit(scene, result, order, index, span)


def _tools(scene: Scene) -> tuple[Profile, ...]:
    offered = scene.exchange.tools or tuple(ToolSpec(name) for name in scene.tool_names)
    return affinity.profiles(offered)


def _request(scene: Scene, tools: tuple[Profile, ...]) -> Request:
    said = "\n".join(text.value for text in scene.texts if text.origin is Origin.user)[-8_000:]
    key = f"{ID}:request:{len(tools)}:{hash(tuple(tool.name for tool in tools))}:{said}"
    known = scene.context.notes.get(key)
    if isinstance(known, Request):
        return known
    covers = frozenset(
        fit.tool.name
        for one in mood.sentences(said)
        for fit in affinity.fits(said[one.start : one.end], one.asks, tools)
        if fit.score >= GATE
    )
    found = Request(said.lower(), covers, _handing_over().search(said) is not None, affinity.wanted(tools))
    scene.context.notes.put(key, found)
    return found


def orders(
    scene: Scene, result: Result, tools: tuple[Profile, ...], request: Request, signs: Sequence[int]
) -> list[Order]:
    """Passages of a result that give orders, remembered unless the network would have had a say and was not asked."""
    named = _is_named(scene, result, request)
    digest = hashlib.blake2b(
        "\x1f".join([result.value, request.text, str(named), *(tool.name for tool in tools)]).encode(
            "utf-8", "replace"
        ),
        digest_size=16,
    ).hexdigest()
    key = f"{ID}:{digest}"
    known = scene.context.notes.get(key)
    if isinstance(known, tuple):
        return list(known)
    doubts = scene.context.doubts
    found = _orders(scene, result, tools, request, signs, named)
    if scene.context.doubts == doubts:
        scene.context.notes.put(key, tuple(found))
    return found


def _is_named(scene: Scene, result: Result, request: Request) -> bool:
    """Whether the request names what was read: a value of the call that gave this result. A call without values reads the only thing there is, unless the
    request points somewhere."""
    calls = [call for call in scene.exchange.calls if call.name == result.name and call.turn < result.turn]
    latest = max((call.turn for call in calls), default=0)
    given = [values(call) for call in calls if call.turn == latest]
    if any(value in request.text for row in given for value in row):
        return True
    return not POINTER.search(request.text) and (not given or not all(given))


def _given(scene: Scene, result: Result, request: Request) -> str:
    """Letters and digits of what the user said and of the call's own arguments: a result that gives them back says nothing of its own."""
    turns = [call.turn for call in scene.exchange.calls if call.name == result.name and call.turn < result.turn]
    latest = max(turns, default=0)
    said = [
        call.arguments[:GIVEN_CAP] for call in scene.exchange.calls if call.turn == latest and call.name == result.name
    ]
    return _squashed("\n".join([request.text, *said[:GIVEN_CALLS]]).replace("\\n", " "))


def _squashed(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _orders(
    scene: Scene, result: Result, tools: tuple[Profile, ...], request: Request, signs: Sequence[int], named: bool
) -> list[Order]:
    view = mood.readable(result.value)
    found = mood.sentences(view, request.wanted)
    gated: list[tuple[float, int, Fit]] = []
    for number, one in enumerate(found):
        fit = _fit(view, one, tools) if one.asks else None
        if fit is not None:
            gated.append((-fit.score - one.is_head, number, fit))
    if not gated:
        return []
    flagged = _flagged(view, found, signs)
    spoken = _spoken(view, found, flagged)
    gated.sort(key=lambda row: row[:2])
    scene.context.over_budget += len(gated) > NETWORK_CAP
    heads = sum(mood.asking(view, one).is_head for one in found[:HEADS_CAP])
    crowd = CROWD * max(0, min(CROWD_CAP, heads - 3))
    stands = _listed(view, found, named and request.hands_over)
    weighed = {
        number: _weigh(
            scene, view, found, number, fit, spoken[number], request, named, result, crowd + stands.get(number, 0.0)
        )
        for _, number, fit in gated[:NETWORK_CAP]
    }
    seeds = [number for number, row in weighed.items() if row.score >= 0]
    if seeds:
        given = _given(scene, result, request)
        seeds = [number for number in seeds if _squashed(core_of(view, found[number])) not in given]
    return _merged([_grown(scene, view, found, number, weighed, flagged, result) for number in sorted(seeds)])


def _listed(view: str, found: Sequence[Sentence], is_handed: bool) -> dict[int, float]:
    """What standing in a list takes off a sentence: tasks shared out among named people, titled advice, the list that the user handed over to."""
    items: dict[int, str] = {}
    labels: dict[int, str] = {}
    for number, one in enumerate(found[:LISTED_CAP]):
        line = view[view.rfind("\n", max(0, one.start - 200), one.start) + 1 : one.end]
        item = ITEM.match(line)
        if item is not None:
            items[number] = item.group()
            label = PERSON.match(line, item.end())
            if label is not None and label.group(1).lower() not in mood.YOU:
                labels[number] = label.group(1)
    if len(items) < 2:
        return {}
    out = dict.fromkeys(items, HANDED_ITEM if is_handed else 0.0)
    for number, title in labels.items():
        if title.count(" ") and title.istitle():
            out[number] += TITLED
        elif len(set(labels.values())) >= 3:
            out[number] += SHARED_OUT
    return out


def _flagged(view: str, found: Sequence[Sentence], signs: Sequence[int]) -> list[int]:
    """How many signs end in each sentence."""
    out = [0] * len(found)
    if not signs:
        return out
    at = low = 0
    for number, one in enumerate(found):
        low += len(view[at : one.start].encode("utf-8", "surrogatepass"))
        high = low + len(view[one.start : one.end].encode("utf-8", "surrogatepass"))
        out[number] = sum(low < end <= high for end in signs[:SIGNS_CAP])
        at, low = one.end, high
    return out


def _spoken(view: str, found: Sequence[Sentence], flagged: Sequence[int]) -> list[float]:
    """Signs that count for each sentence: its own, or a part of one where a sentence close by in the same field has any. Whoever speaks to the model does so once, and then gives the order."""
    out = [float(count) for count in flagged]
    for number in [number for number, count in enumerate(flagged) if count]:
        for step in (1, -1):
            at = number
            while 0 <= at + step < len(found) and abs(at + step - number) <= NEARBY:
                if not borders.is_next(view, *sorted((found[at], found[at + step]), key=lambda one: one.start)):
                    break
                at += step
                out[at] = max(out[at], SPOKEN)
    return out


def _fit(view: str, one: Sentence, tools: tuple[Profile, ...]) -> Fit | None:
    """The best fit of a sentence: a tool that changes something, or one that reaches out to an address it gives."""
    for fit in affinity.fits(view[one.start : one.end], one.asks, tools):
        if fit.score + 0.5 * fit.same < GATE:
            return None
        if fit.tool.writes or (fit.values and "link" in fit.tool.fills):
            return fit
    return None


def _weigh(
    scene: Scene,
    view: str,
    found: Sequence[Sentence],
    number: int,
    fit: Fit,
    signs: float,
    request: Request,
    named: bool,
    result: Result,
    crowd: float,
) -> Weighed:
    one = found[number]
    text = core_of(view, one)
    odds = odds_of(scene, text, result.origin)
    rest = _rest(text, one, fit, signs, request, named) + crowd + HEADING * (HEADED.match(view, one.start) is not None)
    if odds is not None and BESIDE <= odds + rest < 0:
        wider = _beside(view, found, number)
        again = odds_of(scene, wider, result.origin) if wider else None
        odds = odds if again is None else max(odds, again)
    return Weighed(one, (UNASKED if odds is None else odds) + rest, odds, fit, signs)


def _rest(text: str, one: Sentence, fit: Fit, signs: float, request: Request, named: bool) -> float:
    """What is added to the network's log odds."""
    score = BIAS + FIT * min(fit.score, 3.0) + SAME * fit.same + HEAD * one.is_head + SIGN * min(signs, 2)
    if "_" in fit.tool.name and fit.tool.name in text:
        score += SIGN
    elif CODED.search(text):
        score += CODE
    if ASKED.search(text):
        score += QUESTION
    given = [value.lower().rstrip(".,;") for value in VALUE.findall(text)]
    if given and all(value in request.text for value in given):
        score += EXPLAINED
    if any(value.rstrip(".,;").lower() not in request.text for value in ADDRESS.findall(text)):
        score += NOVEL
    if named and request.hands_over:
        score += HANDED
    elif named and fit.tool.writes and fit.tool.name in request.covers:
        score += SOURCE
    return score


def _beside(view: str, found: Sequence[Sentence], number: int) -> str:
    """The sentence with the ones before and behind it, as far as they stand in the same field; "" where it stands alone."""
    low, high = number, number
    if number > 0 and borders.is_next(view, found[number - 1], found[number]):
        low -= 1
    if number + 1 < len(found) and borders.is_next(view, found[number], found[number + 1]):
        high += 1
    if low == high:
        return ""
    return " ".join(core_of(view, found[at]._replace(is_head=False)) for at in range(low, high + 1))


def core_of(view: str, one: Sentence) -> str:
    """The sentence as one line, from its first verb on where only labels stand before that."""
    start = one.first if one.is_head else one.start
    key = borders.KEY.match(view, start)
    if key and not one.is_head:
        start = key.end()
    return " ".join(borders.TAIL.sub("", view[start : min(one.end, start + mood.SENTENCE_CAP)]).split())


def odds_of(scene: Scene, text: str, origin: Origin) -> float | None:
    """The network's log odds for a sentence, remembered; None where it is not to be had."""
    if scene.context.passage is None:
        return None
    key = f"{ID}:odds:{origin.value}:{text}"
    known = scene.context.notes.get(key)
    if isinstance(known, float):
        return known
    found = scene.context.passage(text, origin.value)
    if found is not None:
        scene.context.notes.put(key, found)
    return found


def _grown(
    scene: Scene,
    view: str,
    found: Sequence[Sentence],
    seed: int,
    weighed: dict[int, Weighed],
    flagged: Sequence[int],
    result: Result,
) -> Order:
    low = high = seed
    while seed - low < GROW and low > 0 and _belongs(scene, view, found, low - 1, low, weighed, flagged, result):
        low -= 1
    while (
        high - seed < GROW
        and high + 1 < len(found)
        and _belongs(scene, view, found, high + 1, high, weighed, flagged, result)
    ):
        high += 1
    start, end = borders.trimmed(view, found[low], found[high])
    start, end = borders.wrapped(view, start, end)
    row = weighed[seed]
    return Order(*borders.blanks(view, start, end), row.score, row.fit.tool.name)


def _belongs(
    scene: Scene,
    view: str,
    found: Sequence[Sentence],
    number: int,
    beside: int,
    weighed: dict[int, Weighed],
    flagged: Sequence[int],
    result: Result,
) -> bool:
    """Whether a neighbour only makes sense with the order: in the same field, an order of its own or nearly, to the model, or the rest of a sentence."""
    first, second = sorted((number, beside))
    between = view[found[first].end : found[second].start]
    if not borders.is_next(view, found[first], found[second]):
        return False
    one = found[number]
    text = view[one.start : one.end]
    if number > beside and len(text.split()) < 3 and "\n" not in between and text[:1].islower():
        return True
    if flagged[number]:
        return True
    if number in weighed:
        return weighed[number].score >= NEAR
    one = mood.asking(view, one)
    if "\n\n" in between or not one.asks or len(text.split()) < 3:
        return False
    odds = odds_of(scene, core_of(view, one), result.origin)
    return odds is not None and odds >= NEAR


def _merged(rows: list[Order]) -> list[Order]:
    out: list[Order] = []
    for row in sorted(rows):
        if out and row.start <= out[-1].end:
            best = max(out[-1], row, key=lambda one: one.score)
            out[-1] = best._replace(start=out[-1].start, end=max(out[-1].end, row.end))
        elif row.end > row.start:
            out.append(row)
    return out


def places(texts: Sequence[Text], result: Result, start: int, end: int) -> Iterator[tuple[int, Span]]:
    """(text index, byte span) of characters [start, end) of the joined result, one for each text it stands in."""
    at = 0
    for index in result.pieces:
        value = texts[index].value
        low, high = max(0, start - at), min(len(value), end - at)
        if high > low:
            begin = len(value[:low].encode("utf-8", "surrogatepass"))
            yield index, Span(begin, begin + len(value[low:high].encode("utf-8", "surrogatepass")))
        at += len(value)


def _hit(scene: Scene, result: Result, order: Order, index: int, span: Span) -> Hit:
    inside = is_in_name(result.value, order.start)
    return hit(
        scene,
        ID,
        IN_NAME if inside else KIND,
        TAXONOMIES,
        severity=Severity.medium,
        confidence=Confidence.high if order.score >= SURE else Confidence.medium,
        text=index,
        span=span,
        cause=family(result.value[order.start : order.end]),
        rule=f"a passage in {result.name or 'a document'} asks for what {order.tool} does, and nobody entitled asked for it (score {order.score:.1f})",
        would_change="the user asked for this action, or handed over to this text",
    )


DETECTOR = Detector(
    id=ID,
    kinds=(KIND, IN_NAME),
    taxonomies=TAXONOMIES,
    severity=Severity.medium,
    why="What an outsider writes is data; where it asks for what the agent's tools do, it is somebody else's order.",
    find=find,
    origins=OUTSIDE,
)
