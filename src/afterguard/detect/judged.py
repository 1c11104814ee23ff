"""What the learned judge sees that no rule names: attempts in user text, and passages in tool results and documents that speak to the model.

In: a Scene whose Context carries a judge (`Context.opinion`). Out: Hits for texts in which no rule of the same kind already saw something. Without a judge it
yields nothing. A text that repeats (history, system prompts) is judged once. The letters of a key are drawn by lot, and what they look like to the judge is too: it is
sure of a text with keys only if it is sure of it without them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from afterguard.detect import secrets
from afterguard.detect.detector import Detector
from afterguard.detect.injection import family
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Judgement, Origin, Severity, Text

ID = "judged"
TAXONOMIES = ("LLM01:2025", "LLM01:2026", "AML.T0051", "CWE-1427")
KINDS = {
    "injection": "jailbreak",
    "jailbreak": "jailbreak",
    "extraction": "prompt_extraction",
    "indirect_injection": "injection_ignored",
}
"""Class -> incident kind. Whether the model obeyed is for `injection` and `tool_provenance` to say."""
SAME = {
    "jailbreak": {"jailbreak", "encoded_payload"},
    "prompt_extraction": {"prompt_extraction"},
    "injection_ignored": {"injection_ignored", "injection_followed"},
}
"""Kinds of hits beside which another one of this kind says nothing new."""
READ = (Origin.user, Origin.tool, Origin.document)
SHORT = 12
"""Characters below which a text is too short to judge on its own."""
SURE = 0.9
END_TAG = re.compile(r"</[\w-]{1,40}>")
"""The end of a pasted document, which stands by itself (wire/trust.py): the judge takes it for a trick."""


def find(scene: Scene) -> Iterator[Hit]:
    """At most one hit a text."""
    if scene.context.opinion is None:
        return
    for index, text in scene.of(*READ):
        if len(text.value) < SHORT or END_TAG.fullmatch(text.value):
            continue
        found = opinion_of(scene, text)
        if found.label == "benign":
            continue
        kind = KINDS[found.label]
        if not any(old.kind in SAME[kind] and (old.text == index or kind == "injection_ignored") for old in scene.hits):
            yield _hit(scene, index, kind, found)


def key_of(text: str, origin: str) -> str:
    """Under which name a judgement is remembered."""
    return f"{ID}:{origin}:{text}"


def opinion_of(scene: Scene, text: Text) -> Judgement:
    """What the judge says of a text, remembered unless it was in doubt: then somebody else says more, and that is remembered (guard/pool.py)."""
    context = scene.context
    key = key_of(text.value, text.origin.value)
    known = context.judgements.get(key)
    if known is not None:
        return known
    assert context.opinion is not None
    doubts = context.doubts
    found = context.opinion(text.value, text.origin.value)
    return found if context.doubts != doubts else context.judgements.put(key, found)


def _is_sure(scene: Scene, index: int, found: Judgement) -> bool:
    """Whether there is little doubt, with the keys in the text and with blanks in their place."""
    if found.score < SURE:
        return False
    spans = [old.span for old in scene.hits if old.detector == secrets.ID and old.text == index]
    if not spans:
        return True
    data = bytearray(scene.data(index))
    for span in spans:
        data[span.start : span.end] = b" " * (span.end - span.start)
    text = msgspec.structs.replace(scene.texts[index], value=data.decode("utf-8", "surrogatepass"))
    return opinion_of(scene, text).score >= SURE


def _hit(scene: Scene, index: int, kind: str, found: Judgement) -> Hit:
    span = found.spans[0]
    passage = scene.data(index)[span.start : span.end].decode("utf-8", "ignore")
    who = (
        "the user's text"
        if scene.texts[index].origin is Origin.user
        else f"text of {scene.texts[index].name or 'a document'}"
    )
    return hit(
        scene,
        ID,
        kind,
        TAXONOMIES,
        severity=Severity.low if kind == "prompt_extraction" else Severity.medium,
        confidence=Confidence.high if _is_sure(scene, index, found) else Confidence.medium,
        text=index,
        span=span,
        cause=family(passage),
        rule=f"{who} reads as {found.label} (probability {found.score:.2f}, tier {found.tier}, judge {found.model})",
        would_change="a person reads the passage and finds that it is addressed to people, or that the user may ask for it",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("jailbreak", "prompt_extraction", "injection_ignored"),
    taxonomies=TAXONOMIES,
    severity=Severity.medium,
    why="Rules find yesterday's phrases; this reads what was said, in any words, and weighs where it came from.",
    find=find,
)
