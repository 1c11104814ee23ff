"""How well a sentence fits a tool that the conversation offers: its verb, its nouns, and values that fill parameters.

In: the tools of an Exchange, a sentence's text and the verbs it asks for. Out: `Fit`s. It judges nothing: an order to a colleague fits a tool just as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from itertools import islice
from typing import NamedTuple

from afterguard.catalog import load
from afterguard.detect.mood import classes
from afterguard.detect.provenance import has_side_effects
from afterguard.model import ToolSpec
from afterguard.remembered import remembered

WORD = re.compile(r"[A-Za-z]{2,}")
NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
TOOLS_CAP = 300
FILLS: tuple[tuple[str, re.Pattern[str], frozenset[str]], ...] = tuple(
    (kind, re.compile(shape, re.I), frozenset(words.split()))
    for kind, shape, words in (
        (
            "mail",
            r"[\w.+-]{1,64}@[\w-]{1,60}\.[\w.-]{1,60}",
            "email mail address recipient recipients to cc participants attendees emails",
        ),
        (
            "name",
            r"(?<=[a-z,] )(?-i:[A-Z][a-z]{2,20})\b",
            "user recipient recipients name to participant participants person guest customer client patient employee applicant passenger attendee member username login",
        ),
        (
            "link",
            r"https?://\S|\bwww\.\S|\b[a-z0-9-]{2,60}\.[a-z]{2,6}/\S|\b\d{1,3}(?:\.\d{1,3}){3}\b",
            "url link uri website webpage page site href address source host endpoint body content text message",
        ),
        ("account", r"\b[a-z]{2}\d{2}[a-z0-9 ]{8,30}\b", "iban account recipient bank"),
        (
            "sum",
            r"[$€£]\s?\d|\b\d[\d.,]*\s?(?:euros?|dollars?|usd|eur|percent|%)",
            "amount price sum total salary percent budget fee",
        ),
        (
            "quote",
            r"(?<!\w)['\"“‘][^'\"”’\n]{2,200}['\"”’]",
            "body content text message subject title name description command query comment",
        ),
        ("day", r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}:\d\d\b", "date time day slot start end when"),
        (
            "code",
            r"\b(?=\w*\d)(?=[\w-]*[a-z_-])[\w-]{4,60}\b|\b\d{2,}\b|\b[a-z]{2,30}_[a-z_]{2,40}\b",
            "id number code key name user file path port volume password login reference order",
        ),
    )
)
"""Shapes of values, and words of the parameters that take them."""


@cache
def _said() -> tuple[frozenset[str], frozenset[str]]:
    """(words that say nothing, stems of schema words)."""
    data = load("rules/orders")
    return frozenset(data["stop"]), frozenset(stem(word) for word in data["schema"])


@cache
def _things() -> dict[str, frozenset[str]]:
    """Stem of a noun -> kinds of things it names."""
    out: dict[str, set[str]] = {}
    for kind, nouns in load("rules/orders")["things"].items():
        for noun in nouns:
            out.setdefault(stem(noun), set()).add(kind)
    return {noun: frozenset(kinds) for noun, kinds in out.items()}


class Profile(NamedTuple):
    """What a tool is recognised by."""

    name: str
    verbs: frozenset[str]
    """Stems of the verbs of its name and of the first word of its description."""
    kinds: frozenset[str]
    """Classes of those verbs (catalog/rules/orders.yaml)."""
    nouns: frozenset[str]
    """Stems of the other words of its name, description and parameters."""
    core: frozenset[str]
    """Stems of the nouns of its name."""
    things: frozenset[str]
    """Kinds of things that its name and description are about."""
    fills: frozenset[str]
    """Shapes of values that its parameters take."""
    writes: bool


class Fit(NamedTuple):
    """A tool; what besides the verb speaks for it, nouns and shapes of values, 0 to 5; how many of the latter; whether the verb is the tool's own."""

    tool: Profile
    score: float
    values: int
    same: bool


@remembered(16_384, longest=60)
def stem(word: str) -> str:
    """A crude stem of a lower-case English word."""
    for ending in ("ations", "ation", "ings", "ing", "ions", "ion", "ies", "ers", "ed", "er", "es", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


@remembered(1_024, longest=8_000, weigh=lambda tool: len(tool.name) + len(tool.description) + len(tool.parameters))
def profile(tool: ToolSpec) -> Profile:
    """What the tool is recognised by."""
    words = [word.lower() for word in NAME.findall(tool.name[-120:])]
    said = [word.lower() for word in WORD.findall(tool.description[:400])]
    known = classes()
    stop, schema = _said()
    verbs = [word for word in words if word in known][:2] or words[:1]
    first = said[0] if said else ""
    for form in (first, first.removesuffix("s"), first.removesuffix("es")):
        if form in known:
            verbs.append(form)
            break
    kinds = frozenset(name for verb in verbs for name in known.get(verb, ()))
    taken = {word for name in WORD.findall(tool.parameters[:3_000].lower()) for word in name.split("_")}
    nouns = [word for word in (*words, *said[:40], *WORD.findall(tool.parameters[:3_000].lower())) if word not in stop]
    core = frozenset(stem(word) for word in words if word not in verbs and word not in stop)
    skip = {stem(verb) for verb in verbs} | schema
    return Profile(
        tool.name,
        frozenset(stem(verb) for verb in verbs),
        kinds,
        frozenset(s for s in map(stem, nouns) if s not in skip),
        core,
        frozenset(kind for word in (*words, *said[:12]) for kind in _things().get(stem(word), ())),
        frozenset(kind for kind, _, names in FILLS if names & taken),
        has_side_effects(tool.name),
    )


def profiles(tools: Iterable[ToolSpec]) -> tuple[Profile, ...]:
    """Profiles of the tools offered, at most TOOLS_CAP."""
    return tuple(profile(tool) for tool in islice(tools, TOOLS_CAP))


@lru_cache(maxsize=64)
def wanted(tools: tuple[Profile, ...]) -> frozenset[str]:
    """Verbs by which a sentence may fit one of the tools, and what stands before a participle: "must be deleted"."""
    kinds = frozenset(kind for tool in tools for kind in tool.kinds)
    stems = frozenset(verb for tool in tools for verb in tool.verbs)
    return frozenset(("be", *(verb for verb, names in classes().items() if names & kinds or stem(verb) in stems)))


def fits(text: str, asks: Iterable[str], tools: Iterable[Profile]) -> list[Fit]:
    """The tools a sentence fits, best first."""
    known = classes()
    verbs = {stem(verb) for verb in asks}
    kinds = frozenset(name for verb in asks for name in known.get(verb, ()) if name != "think")
    if not verbs:
        return []
    words = {stem(word) for word in WORD.findall(text.lower()[:1_200])} - verbs
    named = frozenset(kind for word in words for kind in _things().get(word, ()))
    filled: frozenset[str] | None = None
    out: list[Fit] = []
    for tool in tools:
        same = not verbs.isdisjoint(tool.verbs)
        if not same and kinds.isdisjoint(tool.kinds):
            continue
        if filled is None:
            filled = frozenset(kind for kind, shape, _ in FILLS if shape.search(text, 0, 1_200))
        core, around = len(words & tool.core), len(words & (tool.nouns - tool.core))
        kin = 0.75 * (not core and not tool.things.isdisjoint(named))
        values = len(filled & tool.fills)
        score = min(2, core) + 0.5 * min(2, around) + kin + 0.75 * min(2, values)
        if score:
            out.append(Fit(tool, score, values, same))
    out.sort(key=lambda fit: (-fit.score - 0.5 * fit.same, not fit.tool.writes))
    return out
