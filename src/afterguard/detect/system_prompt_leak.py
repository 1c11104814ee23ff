"""The system prompt, or a long piece of it, in what the model said.

In: a Scene. Out: Hits of kind system_prompt_leak where model output shares a long aligned run of words with the system prompt. An
agent that explains one rule to a customer is no hit: the run must be longer than a sentence or two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from afterguard.detect.detector import Detector
from afterguard.detect.normalise import views
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "system-prompt-leak"
TAXONOMIES = ("LLM07:2025", "LLM08:2026", "AML.T0056", "CWE-200")
SHINGLE = 8
"""Words that must follow each other for two places to be aligned."""
RUN = 30
"""Aligned words in a row that make a leak."""
COVERED = 45
"""Aligned words in all, in pieces, that make a leak when they are also a tenth of the prompt."""
STRIDE = 4
WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
WORDS_CAP = 20_000
ENCODED = re.compile(r"[A-Za-z0-9+/_=-]{160}|(?:[0-9a-f]{2} ?){100}")


class Index(NamedTuple):
    """A system prompt, prepared: its words and where each shingle stands."""

    words: list[str]
    places: dict[int, int]


def words_of(text: str) -> list[str]:
    """Words in lower case without punctuation or markup, at most WORDS_CAP."""
    return WORDS.findall(text.lower())[:WORDS_CAP]


def index(text: str) -> Index:
    """Shingles of a system prompt."""
    words = words_of(text)
    places: dict[int, int] = {}
    for at in range(len(words) - SHINGLE + 1):
        places.setdefault(hash(tuple(words[at : at + SHINGLE])), at)
    return Index(words, places)


class Overlap(NamedTuple):
    """Aligned words: the longest run and the sum, with the word span of the longest run in the output."""

    run: int
    total: int
    start: int


def overlap(words: list[str], prompt: Index) -> Overlap:
    """How much of the output's words stand in the prompt in the same order. Linear in the output; runs below SHINGLE + STRIDE words
    may go unseen."""
    best = total = start = at = floor = 0
    places, size = prompt.places, len(words)
    while at <= size - SHINGLE:
        place = places.get(hash(tuple(words[at : at + SHINGLE])))
        if place is None:
            at += STRIDE
            continue
        begin, end = _extend(words, at, prompt.words, place, floor)
        total += end - begin
        if end - begin > best:
            best, start = end - begin, begin
        at = floor = max(end, at + 1)
    return Overlap(best, total, start)


def _extend(words: list[str], at: int, other: list[str], place: int, floor: int) -> tuple[int, int]:
    begin, there = at, place
    while begin > floor and there > 0 and words[begin - 1] == other[there - 1]:
        begin, there = begin - 1, there - 1
    end, there = at, place
    while end < len(words) and there < len(other) and words[end] == other[there]:
        end, there = end + 1, there + 1
    return begin, end


def find(scene: Scene) -> Iterator[Hit]:
    """At most one hit a model text."""
    prompts: list[str] | None = None
    for number, text in scene.of(Origin.model):
        if len(text.value) < RUN * 3:
            continue
        words = _words(text.value)
        if len(words) < RUN:
            continue
        if prompts is None:
            prompts = [one.value for one in scene.texts if one.origin is Origin.system and len(one.value) >= 100]
        for prompt in prompts:
            known = _prepared(scene, prompt)
            seen = overlap(words, known)
            if seen.run >= RUN or (seen.total >= COVERED and seen.total * 10 >= len(known.words)):
                yield _hit(scene, number, seen, known)
                break


def _words(value: str) -> list[str]:
    """Words as written; where there are few for its size, as decoded (base64, hex, backwards)."""
    words = words_of(value)
    if len(value) > 200 and ENCODED.search(value):
        words = words + [word for view in views(value) for word in words_of(view.text)]
    return words


def _prepared(scene: Scene, prompt: str) -> Index:
    notes = scene.context.notes
    known = notes.get(ID + prompt)
    if isinstance(known, Index):
        return known
    return notes.put(ID + prompt, index(prompt))  # type: ignore[return-value]


def _hit(scene: Scene, number: int, seen: Overlap, prompt: Index) -> Hit:
    value = scene.texts[number].value
    matches = list(WORDS.finditer(value.lower()))
    span = Span(0, len(value.encode("utf-8", "surrogatepass")))
    if seen.start + seen.run <= len(matches):
        begin, last = matches[seen.start].start(), matches[seen.start + seen.run - 1].end()
        start = len(value[:begin].encode("utf-8", "surrogatepass"))
        span = Span(start, start + len(value[begin:last].encode("utf-8", "surrogatepass")))
    share = 100 * seen.total // max(1, len(prompt.words))
    return hit(
        scene,
        ID,
        "system_prompt_leak",
        TAXONOMIES,
        severity=Severity.medium,
        confidence=Confidence.high if seen.run >= 40 else Confidence.medium,
        text=number,
        span=span,
        data_classes=("instructions",),
        cause="the system prompt in a reply",
        rule=f"{seen.run} words in a row of the system prompt stand in the reply ({share} % of the prompt in all)",
        would_change="the passage is meant to be quoted to users",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("system_prompt_leak",),
    taxonomies=TAXONOMIES,
    severity=Severity.medium,
    why="The system prompt shows rules, tool names and sometimes keys; who has it plans the next attempt with it.",
    find=find,
)
