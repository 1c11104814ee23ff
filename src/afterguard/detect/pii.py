"""Personal identifiers: what is merely present is inventory; what reaches a user it does not belong to is an incident.

In: a Scene. Out: Hits of kind `inventory` (one a class and exchange) and pii_of_another. An identifier in model output is explained
when the user said it, the system prompt holds it, or a record the application looked up in this conversation holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from afterguard.detect.cards import issuer
from afterguard.detect.detector import Detector
from afterguard.detect.prefilter import Pattern
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "pii"
TAXONOMIES = ("LLM02:2025", "LLM02:2026", "AML.T0057", "CWE-359")
CARD = re.compile(rb"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
PATTERNS = (Pattern("pii:card", r"[2-6]\d{3}[ -]?\d{4,6}[ -]?\d{3,5}[ -]?\d{1,4}"),)


class Identifier(NamedTuple):
    """A validated identifier: class, normalised value, byte span in its text."""

    kind: str
    value: str
    span: Span


def identifiers(data: bytes, topic: str, end: int) -> Iterator[Identifier]:
    """Validated identifiers around a prefilter match."""
    if topic == "pii:card":
        for found in CARD.finditer(data, max(0, end - 24), end + 24):
            digits = re.sub(rb"\D", b"", found.group()).decode()
            if issuer(digits):
                yield Identifier("payment_card", digits, Span(*found.span()))


def find(scene: Scene) -> Iterator[Hit]:
    """Inventory hits, then incidents."""
    seen: dict[tuple[int, str], Identifier] = {}
    for pattern in PATTERNS:
        for place in scene.found(pattern.name):
            for one in identifiers(scene.data(place.text), pattern.name, place.end):
                seen.setdefault((place.text, one.value), one)
    known: set[str] = set()
    for (index, value), one in sorted(seen.items(), key=lambda row: row[0][0]):
        origin = scene.texts[index].origin
        if origin is not Origin.model:
            known.add(value)
        elif value not in known:
            yield _incident(scene, index, one)


def _incident(scene: Scene, index: int, one: Identifier) -> Hit:
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
        rule=f"a valid {one.kind.replace('_', ' ')} in the reply that neither the user nor a look-up in this conversation gave",
        would_change="a look-up outside this record returned the caller's own data",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("pii_of_another", "inventory"),
    taxonomies=TAXONOMIES,
    severity=Severity.high,
    why="An identifier of somebody else in a reply is a disclosure that may have to be reported.",
    find=find,
    patterns=PATTERNS,
)
