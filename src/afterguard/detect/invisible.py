"""Text a person cannot see and a model can: Unicode tags, zero-width runs, bidi controls, variation selectors as data.

In: a Scene. Out: Hits of kind invisible_text with the decoded words as excerpt. Emoji sequences, joiners of Arabic and Indic
scripts, flags of regions, soft hyphens and a byte-order mark at the start are ordinary writing and no hits.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from afterguard.detect.detector import Detector
from afterguard.detect.prefilter import Pattern
from afterguard.detect.redact import redacted
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "invisible"
TAXONOMIES = ("LLM01:2025", "LLM01:2026", "AML.T0068", "CWE-707")
TAGS = re.compile("[\U000e0001-\U000e007f]+")
ZERO = re.compile("[\u200b-\u200d\u2060-\u2064\ufeff\u00ad\u180e]{4,}")
SPLIT = re.compile("(?:[A-Za-z]{1,2}[\u200b-\u200d\u2060-\u2064\ufeff] ?){5,}")
SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
BIDI = re.compile("(?<![\u202d\u202e])[\u202d\u202e]++[^\n\u202c-\u202e]{2,400}(?:[\u202c\n]|$)")
FLAG = "\U0001f3f4"
PATTERNS = (
    Pattern("invisible:tags", r"\xf3\xa0[\x80\x81][\x80-\xbf]"),
    Pattern("invisible:selectors", r"(\xf3\xa0[\x84-\x87][\x80-\xbf]|\xef\xb8[\x80-\x8f]){4}"),
    Pattern("invisible:zero", r"(\xe2\x80[\x8b-\x8d]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf|\xc2\xad|\xe1\xa0\x8e){4}"),
    Pattern("invisible:split", r"([A-Za-z]{1,2}(\xe2\x80[\x8b-\x8d]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf) ?){5}"),
    Pattern("invisible:bidi", r"\xe2\x80[\xad\xae]"),
)


class Hidden(NamedTuple):
    """Invisible characters: character span, what they spell (may be empty), how they hide it."""

    start: int
    end: int
    says: str
    means: str


def hidden(text: str) -> Iterator[Hidden]:
    """Invisible passages of a text, in order of kind."""
    for found in TAGS.finditer(text):
        says = "".join(chr(ord(c) - 0xE0000) for c in found.group() if 0xE0020 <= ord(c) < 0xE007F)
        if text[found.start() - 1 : found.start()] == FLAG and len(says) <= 6:
            continue
        if len(found.group()) >= 3:
            yield Hidden(found.start(), found.end(), says, "Unicode tag characters")
    for found in ZERO.finditer(text):
        if len(set(found.group()) - {"\u00ad", "\ufeff"}) > 0:
            yield Hidden(found.start(), found.end(), _bits(found.group()), "a run of zero-width characters")
    for found in SPLIT.finditer(text):
        yield Hidden(found.start(), found.end(), "", "zero-width characters between the letters of words")
    for found in SELECTORS.finditer(text):
        yield Hidden(found.start(), found.end(), _selected(found.group()), "variation selectors used as data")
    for found in BIDI.finditer(text):
        if not any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in found.group()):
            yield Hidden(
                found.start(), found.end(), found.group()[1:].strip("\u202c"), "bidirectional override of plain text"
            )


def _bits(run: str) -> str:
    """Zero-width characters read as bits, eight to a letter, where two of them carry the message."""
    alphabet = sorted(set(run))
    if len(alphabet) != 2 or len(run) < 16:
        return ""
    for zero in alphabet:
        bits = "".join("0" if c == zero else "1" for c in run[:8_000])
        text = "".join(chr(int(bits[i : i + 8], 2)) for i in range(0, len(bits) - 7, 8))
        if text.isascii() and text.isprintable():
            return text
    return ""


def _selected(run: str) -> str:
    """One byte a selector: VS1 to VS16 are 0 to 15, VS17 to VS256 are 16 to 255."""
    raw = bytes(ord(c) - 0xFE00 if ord(c) < 0x10000 else ord(c) - 0xE0100 + 16 for c in run)
    text = raw.decode("utf-8", "replace")
    return text if text.isprintable() else ""


def find(scene: Scene) -> Iterator[Hit]:
    """One hit a text: the longest hidden passage stands for it."""
    touched = {index for pattern in PATTERNS for index in scene.touched(pattern.name)}
    for index in sorted(touched):
        text = scene.texts[index]
        passages = list(hidden(text.value))
        if not passages or text.origin is Origin.system:
            continue
        chosen = max(passages, key=lambda p: (len(p.says), p.end - p.start))
        start = len(text.value[: chosen.start].encode("utf-8", "surrogatepass"))
        size = len(text.value[chosen.start : chosen.end].encode("utf-8", "surrogatepass"))
        says = redacted(chosen.says)[:200]
        yield hit(
            scene,
            ID,
            "invisible_text",
            TAXONOMIES,
            severity=Severity.high if len(says) >= 8 else Severity.medium,
            confidence=Confidence.high if says else Confidence.medium,
            text=index,
            span=Span(start, start + size),
            excerpt=f"[{chosen.means}] {says}" if says else f"[{chosen.means}, {chosen.end - chosen.start} characters]",
            cause=f"{chosen.means} in {text.origin.value} text",
            rule=f"{chosen.means} that no script or emoji needs",
            would_change="the sending application is known to add these characters itself",
        )


DETECTOR = Detector(
    id=ID,
    kinds=("invisible_text",),
    taxonomies=TAXONOMIES,
    severity=Severity.high,
    why="Invisible characters carry instructions to the model past the person who reads or approves the text.",
    find=find,
    patterns=PATTERNS,
)
