"""Where a value of a tool call came from: the user, the system prompt, a record, outside prose, or the model itself.

In: a Scene and a tool call. Out: the call's distinctive values, each with its sources. A value that stands only in third-party prose is
explained by nobody who may ask for it (house rule on trust). It follows values, not meanings: a paraphrase escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from afterguard.catalog import load
from afterguard.detect.result import Result
from afterguard.detect.structure import Passage
from afterguard.model import Origin, ToolCall
from afterguard.remembered import remembered

if TYPE_CHECKING:
    from afterguard.detect.scene import Scene

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
ADDRESS = re.compile(r"[a-z]+://[^\s\"'<>\\)\]]+|[\w.+-]+@[\w.-]+\.\w+", re.I)
VALUES_CAP = 60
CALLS_CAP = 200


@cache
def _verbs() -> tuple[frozenset[str], frozenset[str]]:
    data = load("rules/structure")
    return frozenset(data["reads"]), frozenset(data["writes"])


@remembered(4096)
def has_side_effects(name: str) -> bool:
    """Whether a tool of this name changes something. The first known verb decides; unknown names count as changing."""
    reads, writes = _verbs()
    for word in WORDS.findall(name[-120:]):
        if word.lower() in writes:
            return True
        if word.lower() in reads:
            return False
    return True


@remembered(4096)
def is_known_to_write(name: str) -> bool:
    """Whether a tool's name says that it changes something: nouns alone do not."""
    _, writes = _verbs()
    return has_side_effects(name) and any(word.lower() in writes for word in WORDS.findall(name[-120:]))


def values(call: ToolCall) -> list[str]:
    """Distinctive leaf values of the arguments, lower case: strings of 4 and more characters, numbers of 3 and more digits, and
    every address inside a longer string."""
    try:
        decoded = msgspec.json.decode(call.arguments.encode("utf-8", "replace"))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        decoded = call.arguments
    out: dict[str, None] = {}
    for leaf in _leaves(decoded, 0):
        for value in _distinct(leaf):
            out[value] = None
            if len(out) >= VALUES_CAP:
                return list(out)
    return list(out)


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    if depth > 20:
        return
    if isinstance(value, dict):
        for child in value.values():
            yield from _leaves(child, depth + 1)
    elif isinstance(value, list):
        for child in value[:200]:
            yield from _leaves(child, depth + 1)
    else:
        yield value


def _distinct(leaf: Any) -> Iterator[str]:
    if isinstance(leaf, bool) or leaf is None:
        return
    if isinstance(leaf, (int, float)):
        text = repr(leaf).removesuffix(".0")
        if sum(c.isdigit() for c in text) >= 3 and len(text) < 40:
            yield text
        return
    text = str(leaf).strip().lower()
    for found in ADDRESS.findall(text[:4_000]):
        yield found.rstrip(".,;:!?")
    if 4 <= len(text) <= 200 and not text.isspace():
        yield text


def is_telling(value: str) -> bool:
    """Addresses, and ids of letters and digits: words alone coincide too often."""
    return bool(ADDRESS.fullmatch(value)) or (
        len(value) >= 6
        and any(c.isdigit() for c in value)
        and sum(c.isalnum() for c in value) >= 6
        and " " not in value
    )


def stands_in(value: str, text: str) -> int:
    """Where a value stands in a lower-case text as a whole token, -1 where it does not."""
    at = text.find(value)
    tries = 0
    while at >= 0 and tries < 50:
        before, after = text[at - 1 : at], text[at + len(value) : at + len(value) + 1]
        if not (before.isalnum() and value[0].isalnum()) and not (after.isalnum() and value[-1].isalnum()):
            return at
        at = text.find(value, at + 1)
        tries += 1
    return -1


def is_explained(scene: Scene, value: str, call_turn: int, source: Result, span: Passage) -> bool:
    """Whether somebody who may ask gave the value before the call: user or system, a record, or the model before it read `span` of
    `source`."""
    for text in scene.texts:
        if text.turn > call_turn or text.origin in (Origin.tool, Origin.document):
            continue
        if (text.origin is not Origin.model or text.turn < source.turn) and stands_in(value, scene.lower(text)) >= 0:
            return True
    for earlier in scene.exchange.calls:
        if earlier.turn < source.turn and stands_in(value, earlier.arguments.lower()) >= 0:
            return True
    return any(_in_record(scene, result, value, source, span) for result in scene.results if result.turn < call_turn)


def _in_record(scene: Scene, result: Result, value: str, source: Result, span: Passage) -> bool:
    """Whether the value stands in a result outside of prose."""
    lower = result.value.lower()
    if result.first == source.first:
        lower = lower[: span.start] + "\x00" * (span.end - span.start) + lower[span.end :]
    at = stands_in(value, lower)
    if at < 0:
        return False
    return not any(p.start <= at < p.end for p in scene.prose.get(result.first, ()))
