"""The system prompt, or a long piece of it, in what the model said.

In: a Scene. Out: Hits of kind system_prompt_leak where model output shares a long aligned run of words with the system prompt. An
agent that explains one rule to a customer is no hit: the run must be longer than a sentence or two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from afterguard.detect.detector import Detector
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "system-prompt-leak"
TAXONOMIES = ("LLM07:2025", "LLM08:2026", "AML.T0056", "CWE-200")
SHINGLE = 8
"""Words that must follow each other for two places to be aligned."""
RUN = 26
"""Aligned words in a row that make a leak."""
COVERED = 45
"""Aligned words in all, in pieces, that make a leak when they are also a tenth of the prompt."""
GAP = 3
WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
WORDS_CAP = 20_000


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
    """How much of the output's words stand in the prompt in the same order. Linear in the output."""
    best = total = start = 0
    at = 0
    while at <= len(words) - SHINGLE:
        place = prompt.places.get(hash(tuple(words[at : at + SHINGLE])))
        if place is None:
            at += 1
            continue
        size = _extend(words, at, prompt.words, place)
        total += size
        if size > best:
            best, start = size, at
        at += max(1, size)
    return Overlap(best, total, start)


def _extend(words: list[str], at: int, other: list[str], place: int) -> int:
    size = 0
    while at + size < len(words) and place + size < len(other) and words[at + size] == other[place + size]:
        size += 1
    return size


def find(scene: Scene) -> Iterator[Hit]:
    """At most one hit a model text."""
    prompts = [text.value for _, text in scene.of(Origin.system) if len(text.value) >= 100]
    if not prompts:
        return
    for number, text in scene.of(Origin.model):
        if len(text.value) < RUN * 3:
            continue
        words = words_of(text.value)
        if len(words) < RUN:
            continue
        for prompt in prompts:
            known = _prepared(scene, prompt)
            seen = overlap(words, known)
            if seen.run >= RUN or (seen.total >= COVERED and seen.total * 10 >= len(known.words)):
                yield _hit(scene, number, seen, known)
                break


def _prepared(scene: Scene, prompt: str) -> Index:
    notes = scene.context.notes
    known = notes.get(ID + prompt)
    if isinstance(known, Index):
        return known
    return notes.put(ID + prompt, index(prompt))  # type: ignore[return-value]


def _hit(scene: Scene, number: int, seen: Overlap, prompt: Index) -> Hit:
    value = scene.texts[number].value
    matches = list(WORDS.finditer(value.lower()))
    begin, last = matches[seen.start].start(), matches[min(len(matches), seen.start + seen.run) - 1].end()
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
