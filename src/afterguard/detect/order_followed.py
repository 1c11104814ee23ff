"""Calls that do what an order in outside text says: the second line behind foreign_order, for orders that were left where they stand.

In: a Scene with the orders that foreign_order found, in this turn or before. Out: Hits of kind injection_followed that name the call. A call follows an order when it uses a value that
only the order gave, and its tool is the one that the order is after, or the value is an address or a code. It follows values, not meanings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from afterguard.detect.detector import Detector
from afterguard.detect.injection import family
from afterguard.detect.provenance import has_side_effects, is_telling, stands_in, values
from afterguard.detect.result import Result, place
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, ToolCall

ID = "order-followed"
TAXONOMIES = ("LLM01:2025", "LLM01:2026", "ASI01:2026", "AML.T0051.001", "CWE-1427")
HOSTED = re.compile(r"\bwww\.[\w-]+\.[^\s\"'\\<>]{2,200}|\b[\w-]+(?:\.[\w-]+)*\.[a-z]{2,6}/[^\s\"'\\<>]{0,200}", re.I)
"""An address without a scheme, as people write it."""
CALLS_CAP = 100
ARGUMENTS_CAP = 200_000
LEAVES_CAP = 500
ORDERS_CAP = 50


class Foreign(NamedTuple):
    """An order in outside text: characters [start, end) of a result, and the tool it is after."""

    result: Result
    start: int
    end: int
    tool: str


def find(scene: Scene) -> Iterator[Hit]:
    """At most one hit a call."""
    if not scene.foreign:
        return
    for call in scene.calls[:CALLS_CAP]:
        found = _order(scene, call)
        if found is not None:
            yield _hit(scene, call, *found)


def _order(scene: Scene, call: ToolCall) -> tuple[Foreign, str] | None:
    leaves = [leaf for leaf in _leaves(call) if isinstance(leaf, (str, int, float)) and not isinstance(leaf, bool)]
    for order in scene.foreign[-ORDERS_CAP:]:
        if order.result.turn >= call.turn:
            continue
        text = order.result.value[order.start : order.end].lower()
        same = call.name == order.tool
        if not same and not has_side_effects(call.name):
            continue
        for value in _values(leaves, _squashed(text)):
            if not (same or is_telling(value) or HOSTED.fullmatch(value)) or stands_in(value, text) < 0:
                continue
            if not _is_asked(scene, value, call, order) and not _elsewhere(scene, value, order):
                return order, value
    return None


def _leaves(call: ToolCall) -> list[Any]:
    try:
        waiting = [msgspec.json.decode(call.arguments[:ARGUMENTS_CAP].encode("utf-8", "replace"))]
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [call.arguments[:ARGUMENTS_CAP]]
    out: list[Any] = []
    while waiting and len(out) < LEAVES_CAP:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        else:
            out.append(value)
    return out


def _values(leaves: list[Any], order: str) -> list[str]:
    """Values of a call, but for arguments that give the order back whole: those name what carries it."""
    kept = [leaf for leaf in leaves if not (isinstance(leaf, str) and order and order in _squashed(leaf))]
    given = values(ToolCall("", msgspec.json.encode(kept).decode("utf-8", "replace")))
    said = "\n".join(leaf for leaf in kept if isinstance(leaf, str))[:20_000]
    return [*given, *dict.fromkeys(one.lower().rstrip(".,;:!?'\"") for one in HOSTED.findall(said)[:20])]


def _squashed(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum())


def _is_asked(scene: Scene, value: str, call: ToolCall, order: Foreign) -> bool:
    """Whether somebody who may ask gave the value: system or user before the call, the model before it read the order."""
    read = order.result.turn
    for text in scene.texts:
        if text.origin in (Origin.system, Origin.user) and text.turn < call.turn:
            if stands_in(value, scene.lower(text)) >= 0:
                return True
        elif text.origin is Origin.model and text.turn < read and stands_in(value, scene.lower(text)) >= 0:
            return True
    return any(one.turn < read and stands_in(value, one.arguments.lower()) >= 0 for one in scene.exchange.calls)


def _elsewhere(scene: Scene, value: str, order: Foreign) -> bool:
    """Whether another result gives the value too, in prose or record: then the order is not its only source."""
    said = _squashed(order.result.value[order.start : order.end])
    for result in scene.results:
        text = result.value.lower()
        if result.first != order.result.first and said in _squashed(result.value):
            continue  # the same order once more
        if result.first == order.result.first:
            text = text[: order.start] + "\x00" * (order.end - order.start) + text[order.end :]
        for one in scene.foreign:
            if one.result.first == result.first:
                text = text[: one.start] + "\x00" * (one.end - one.start) + text[one.end :]
        if stands_in(value, text) >= 0:
            return True
    return False


def _hit(scene: Scene, call: ToolCall, order: Foreign, value: str) -> Hit:
    text = order.result.value
    start = order.start + max(0, stands_in(value, text[order.start : order.end].lower()))
    index, span = place(scene.texts, order.result, start, start + len(value))
    return hit(
        scene,
        ID,
        "injection_followed",
        TAXONOMIES,
        severity=Severity.critical,
        confidence=Confidence.high,
        text=index,
        span=span,
        call=call,
        cause=family(text[order.start : order.end]),
        rule=f"{call.name} uses a value that only an order in {order.result.name or 'a document'} gave",
        would_change="the user asked for this action, or handed over to this text",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("injection_followed",),
    taxonomies=TAXONOMIES,
    severity=Severity.critical,
    why="An order that could not be cut can still be stopped where it would take effect: at the call that carries it out.",
    find=find,
)
