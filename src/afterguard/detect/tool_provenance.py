"""Calls with side effects whose arguments come only from text an outsider can write, whether or not that text gives orders.

In: a Scene. Out: Hits of kind unexplained_tool_call, or injection_followed where the text also gives orders. A value counts when it stands in prose of a tool result or document and nowhere a
person with a right to ask, a record, or the model before could have given it. A user's turn between reading and calling counts as
consent when the reply before it showed the value.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.detect import injection, phrases
from afterguard.detect.detector import Detector
from afterguard.detect.injection import speaks
from afterguard.detect.provenance import has_side_effects, is_explained, is_telling, stands_in, values
from afterguard.detect.result import Result, place
from afterguard.detect.scene import Scene, hit
from afterguard.detect.structure import Passage
from afterguard.model import Confidence, Hit, Origin, Severity, ToolCall

ID = "tool-provenance"
TAXONOMIES = ("LLM06:2025", "LLM03:2026", "ASI02:2026", "AML.T0053", "CWE-349")
CALLS_CAP = 100


def find(scene: Scene) -> Iterator[Hit]:
    """At most one hit a call; calls that injection already explains are left to it."""
    calls = [call for call in scene.calls if has_side_effects(call.name)][:CALLS_CAP]
    if not calls or not any(result.turn < calls[-1].turn for result in scene.results):
        return
    prose = [(result, p) for result in scene.results for p in scene.prose.get(result.first, ())]
    if not prose:
        return
    blamed = {found.result.first for found in scene.orders}
    for call in calls:
        found = _source(scene, call, [row for row in prose if row[0].turn < call.turn and row[0].first not in blamed])
        if found:
            yield _hit(scene, call, *found)


def _source(scene: Scene, call: ToolCall, prose: list[tuple[Result, Passage]]) -> tuple[Result, Passage, str] | None:
    for value in values(call) if prose else ():
        if not is_telling(value):
            continue
        for result, passage in prose:
            text = result.value[passage.start : passage.end].lower()
            if stands_in(value, text) < 0 or is_explained(scene, value, call.turn, result, passage):
                continue
            if not _was_agreed(scene, value, result.turn, call.turn):
                return result, passage, value
    return None


def _was_agreed(scene: Scene, value: str, read: int, called: int) -> bool:
    shown = [
        t.turn
        for t in scene.texts
        if t.origin is Origin.model and read < t.turn < called and stands_in(value, scene.lower(t)) >= 0
    ]
    return bool(shown) and any(t.origin is Origin.user and shown[0] < t.turn < called for t in scene.texts)


def _hit(scene: Scene, call: ToolCall, result: Result, passage: Passage, value: str) -> Hit:
    start = passage.start + stands_in(value, result.value[passage.start : passage.end].lower())
    index, span = place(scene.texts, result, start, start + len(value))
    delegated = any(t.origin is Origin.user and result.turn < t.turn < call.turn for t in scene.texts)
    signs = frozenset() if delegated else speaks(scene, result, passage)
    source = result.name or "a document"
    says = ", ".join(sorted(phrases.signs(injection.RULES)[sign].says for sign in signs))
    return hit(
        scene,
        ID,
        "injection_followed" if signs else "unexplained_tool_call",
        injection.TAXONOMIES if signs else TAXONOMIES,
        severity=Severity.critical if signs else Severity.high,
        confidence=Confidence.medium,
        text=index,
        call=call,
        span=span,
        cause=injection.family(result.value[passage.start : passage.end])
        if signs
        else f"{call.name} fed from {source}",
        rule=f"an argument of {call.name} came only from text in {source} that an outsider can write"
        + (f"; the text {says}" if signs else ""),
        would_change="the user asked for this in another conversation, or the text is the owner's own record",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("unexplained_tool_call", "injection_followed"),
    taxonomies=TAXONOMIES,
    severity=Severity.critical,
    why="An action whose details nobody entitled asked for is what a successful injection looks like, even a subtle one.",
    find=find,
)
