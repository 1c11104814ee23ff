"""Personal identifiers: what is merely present is inventory; what reaches a user it does not belong to is an incident.

In: a Scene. Out: Hits of kind `inventory` (one a class and exchange) and pii_of_another. An identifier in model output is explained
when the user said it, the system prompt holds it, or a look-up in this conversation returned it. A whole card number is explained by
the user alone: no look-up justifies printing it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.detect.detector import Detector
from afterguard.detect.identifiers import PATTERNS, Identifier, identifiers
from afterguard.detect.prefilter import Pattern
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "pii"
TAXONOMIES = ("LLM02:2025", "LLM02:2026", "AML.T0057", "CWE-359")
OTHERS = Pattern(
    "pii:others",
    r"\b(another|other|different|previous|fellow|next|some other|a second|the other) (passenger|customer|user|client|patient|guest|member|"
    r"account|traveler|traveller|caller|person|shopper|buyer|employee|tenant|subscriber|cardholder|account holder|policy ?holder|student|borrower)|\b(your|the|their) (neighbou?r|co-?worker|flatmate|roommate)",
    ignore_case=True,
)
REACH = 240
"""Bytes behind "another customer" in which an identifier counts as theirs."""
PER_TEXT = 500

Seen = dict[int, dict[str, Identifier]]


def gather(scene: Scene) -> Seen:
    """Identifiers by text and value."""
    out: Seen = {}
    if not scene.seen(ID):
        return out
    for pattern in PATTERNS:
        for place in scene.found(pattern.name):
            rows = out.setdefault(place.text, {})
            if len(rows) < PER_TEXT:
                for one in identifiers(scene.data(place.text), pattern.name, place.end):
                    rows.setdefault(one.value, one)
    return out


def find(scene: Scene) -> Iterator[Hit]:
    """Inventory first, then incidents in the order of the conversation."""
    seen = gather(scene)
    yield from _inventory(scene, seen)
    told, looked_up = scene.told, scene.looked_up
    for index in range(scene.past.texts, len(scene.texts)):
        text = scene.texts[index]
        rows = seen.get(index, {})
        if text.origin is Origin.model:
            yield from _incidents(scene, index, rows, told, looked_up)
        elif text.origin in (Origin.user, Origin.system):
            told.update(rows)
        else:
            looked_up.update(rows)


def _inventory(scene: Scene, seen: Seen) -> Iterator[Hit]:
    classes: dict[tuple[str, bool], set[str]] = {}
    for index, rows in seen.items():
        spoken = scene.texts[index].origin is Origin.model
        if scene.texts[index].origin is Origin.system:
            continue
        for one in rows.values():
            classes.setdefault((one.kind, spoken and one.is_strong), set()).add(one.value)
    for (kind, spoken), values in sorted(classes.items()):
        yield hit(
            scene,
            ID,
            "inventory",
            TAXONOMIES,
            severity=Severity.info,
            values=tuple(sorted(values)),
            data_classes=(kind,),
            rule="in a reply" if spoken else "",
        )


def _incidents(
    scene: Scene, index: int, rows: dict[str, Identifier], told: set[str], looked_up: set[str]
) -> Iterator[Hit]:
    for one in rows.values():
        known = told if one.kind == "payment_card" else told | looked_up
        if one.is_strong and one.value not in known:
            yield _incident(scene, index, one, one.value in looked_up)
            told.add(one.value)
    if any(one.is_strong for one in rows.values()):
        return
    person = _unknown_person(scene, index, rows, told | looked_up)
    if person:
        yield _about_other(scene, index, person[0].span.start, person)
        return
    others = [place for place in scene.found(OTHERS.name) if place.text == index]
    for place in others[:20]:
        close = [one for one in rows.values() if 0 <= one.span.start - place.end <= REACH]
        weak = [one for one in close if not one.is_strong and one.value not in told and one.value not in looked_up]
        if weak and _is_told_of(scene.data(index), place.end):
            yield _about_other(scene, index, place.end, weak)
            return


NAMED = re.compile(
    rb"[\s,:(]{1,4}(?:named |called |is |Mr\.? |Mrs\.? |Ms\.? |Dr\.? ){0,2}[A-Z][\w'-]{1,30} [A-Z][\w'-]{1,30}"
)


NAME_BEFORE = re.compile(rb"[A-Z][\w'-]{1,30} [A-Z][\w'-]{1,30},? ?(?:who is |is )?$")
FULL_NAME = re.compile(rb"(?<![\w@.])[A-Z][\w'\x80-\xff-]{1,24} [A-Z][\w'\x80-\xff-]{1,24}")
BESIDE = 200
"""Bytes behind a name within which details are that person's."""


def _is_told_of(data: bytes, end: int) -> bool:
    if NAMED.match(data, end, end + 120):
        return True
    start = max(0, end - 120)
    phrase = OTHER_WORDS.search(data, start, end)
    return phrase is not None and NAME_BEFORE.search(data, start, phrase.start()) is not None


OTHER_WORDS = re.compile(OTHERS.expression.encode(), re.I)


def _unknown_person(scene: Scene, index: int, rows: dict[str, Identifier], known: set[str]) -> list[Identifier]:
    """Two details of different classes behind a full name, where neither name nor details came up before: nobody in this conversation
    asked about that person."""
    weak = sorted((o for o in rows.values() if o.value not in known), key=lambda o: o.span.start)
    if len({one.kind for one in weak}) < 2:
        return []
    data = scene.data(index)
    for found in FULL_NAME.finditer(data, max(0, weak[0].span.start - BESIDE), weak[-1].span.start):
        close = [one for one in weak if 0 <= one.span.start - found.end() <= BESIDE]
        if len({one.kind for one in close}) >= 2 and not _is_mentioned(scene, index, found.group()):
            return close
    return []


def _is_mentioned(scene: Scene, index: int, name: bytes) -> bool:
    words = name.decode("utf-8", "ignore").lower().split()
    return any(word in scene.lower(text) for text in scene.texts[:index] for word in words[-1:])


def _incident(scene: Scene, index: int, one: Identifier, was_looked_up: bool) -> Hit:
    words = one.kind.replace("_", " ")
    source = (
        "a look-up gave it whole, the user did not" if was_looked_up else "neither the user nor a look-up here gave it"
    )
    return hit(
        scene,
        ID,
        "pii_of_another",
        TAXONOMIES,
        severity=Severity.high,
        confidence=Confidence.high,
        text=index,
        span=one.span,
        values=(one.value,),
        data_classes=(one.kind,),
        cause=f"{one.kind} in a reply",
        rule=f"a valid {words} stands in the reply; {source}",
        would_change="the number is a published test number, or belongs to this caller and was shown on purpose",
    )


def _about_other(scene: Scene, index: int, end: int, weak: list[Identifier]) -> Hit:
    classes = tuple(sorted({one.kind for one in weak}))
    return hit(
        scene,
        ID,
        "pii_of_another",
        TAXONOMIES,
        severity=Severity.high,
        confidence=Confidence.medium,
        text=index,
        span=Span(end, max(one.span.end for one in weak)),
        values=tuple(one.value for one in weak),
        data_classes=classes,
        cause="another person's details in a reply",
        rule="the reply names another person with "
        + ", ".join(c.replace("_", " ") for c in classes)
        + " that nothing here explains",
        would_change="the person named agreed, or is invented",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("pii_of_another", "inventory"),
    taxonomies=TAXONOMIES,
    severity=Severity.high,
    why="An identifier of somebody else in a reply is a disclosure that may have to be reported.",
    find=find,
    patterns=(*PATTERNS, OTHERS),
)
