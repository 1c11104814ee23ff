"""Users who try to take the model's rules away: a role without rules, forced openings, forbidden refusals, many-shot scripts.

In: a Scene. Out: Hits of kind jailbreak for user text whose signs (catalog/rules/jailbreak.yaml) add up. Role-play alone, or talk
about rules, stays below. Whether the model gave in is not judged here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.detect import phrases
from afterguard.detect.detector import Detector
from afterguard.detect.phrases import Window
from afterguard.detect.scene import Scene, hit
from afterguard.detect.user_text import scored
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "jailbreak"
TAXONOMIES = ("LLM01:2025", "LLM01:2026", "AML.T0054", "CWE-693")
WINDOW = 1_200
THRESHOLD = 4.5
SURE = 7.0
CORE = {
    "without-rules",
    "drop-rules",
    "do-anything",
    "no-refusal",
    "mode",
    "decode-and-obey",
    "rogue-persona",
    "forced-opening",
    "drop-own",
    "refusal-cost",
}
"""Signs about rules themselves; without one of them nothing is a jailbreak."""
ALONE = {"drop-own", "do-anything"}
FRAME = {"fiction", "new-rules", "fake-turns"}
SCRIPTED = frozenset({"fake-turns"})
TURN = re.compile(r"(?:^|\n)\s{0,4}(?:user|human|q|customer|me)\s{0,2}:", re.I)
TURNS = 8
"""Scripted user turns inside one message that make a many-shot attempt."""


def find(scene: Scene) -> Iterator[Hit]:
    """At most one hit a user text."""
    for index, window in scored(scene, ID, WINDOW, THRESHOLD, SCRIPTED):
        if window.score >= THRESHOLD and _is_attempt(window):
            yield _hit(scene, index, window)
        elif window.signs & SCRIPTED and len(TURN.findall(scene.texts[index].value[:200_000])) >= TURNS:
            yield _hit(scene, index, window._replace(signs=SCRIPTED))


def _is_attempt(window: Window) -> bool:
    """A sign about rules, and a second one that is more than a story around it. One phrase about rules often gives two signs."""
    kinds = {"without-rules" if sign == "drop-rules" else sign for sign in window.signs - FRAME}
    told = len(kinds) >= 2 or "fiction" not in window.signs
    return bool(window.signs & ALONE) or (bool(window.signs & CORE) and told)


def _hit(scene: Scene, index: int, window: Window) -> Hit:
    known = phrases.signs(ID)
    says = ", ".join(sorted(known[sign].says for sign in window.signs))
    return hit(
        scene,
        ID,
        "jailbreak",
        TAXONOMIES,
        severity=Severity.medium,
        confidence=Confidence.high if window.score >= SURE else Confidence.medium,
        text=index,
        span=Span(max(0, window.start - 40), window.end),
        cause="rules taken away in user text: " + "+".join(sorted(window.signs & CORE)[:2] or ["script"]),
        rule=f"the user's text {says}",
        would_change="the application offers role-play or security testing and this account may use it",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("jailbreak",),
    taxonomies=TAXONOMIES,
    severity=Severity.medium,
    why="An account that works at removing the model's rules is looking for something the rules protect.",
    find=find,
    patterns=phrases.patterns(ID),
    origins=(Origin.user,),
)
