"""Users who ask for the system prompt.

In: a Scene. Out: Hits of kind prompt_extraction. Whether it worked is system_prompt_leak's question.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.detect import phrases
from afterguard.detect.detector import Detector
from afterguard.detect.scene import Scene, hit
from afterguard.detect.user_text import scored
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "prompt-extraction"
RULES = "prompt_extraction"
TAXONOMIES = ("LLM07:2025", "LLM08:2026", "AML.T0056", "CWE-200")
WINDOW = 400
THRESHOLD = 3.5


def find(scene: Scene) -> Iterator[Hit]:
    """At most one hit a user text."""
    known = phrases.signs(RULES)
    for index, window in scored(scene, RULES, WINDOW, THRESHOLD):
        if window.score < THRESHOLD:
            continue
        yield hit(
            scene,
            ID,
            "prompt_extraction",
            TAXONOMIES,
            severity=Severity.low,
            confidence=Confidence.medium,
            text=index,
            span=Span(max(0, window.start - 40), window.end),
            cause="asks for the system prompt",
            rule="the user's text " + ", ".join(sorted(known[sign].says for sign in window.signs)),
            would_change="the system prompt is public",
        )


DETECTOR = Detector(
    id=ID,
    kinds=("prompt_extraction",),
    taxonomies=TAXONOMIES,
    severity=Severity.low,
    why="Reading the rules is the usual step before breaking them.",
    find=find,
    patterns=phrases.patterns(RULES),
    origins=(Origin.user,),
)
