"""What reports of an attack say in words: reasons, turns of a conversation, the standing of a run.

In: fixed words and structs of an attack. Out: texts for a person. Everything that an application said is still untrusted in them.
"""

from __future__ import annotations

from typing import NamedTuple

from afterguard.attack.assessment import Assessment, Hit
from afterguard.model import Family

REASONS = {
    "not-read-only": "its owner did not allow changes",
    "not-reached": "the run ended before its turn",
    "echoes": "it repeats what it hears",
    "says-the-same-to-everything": "it says the same to everything",
    "does-not-hear": "nothing it says shows that it hears",
    "no-answer-to-harmless-questions": "it did not answer harmless questions",
    "no-harmless-task-done": "it does not do the small task that shows obedience",
    "no-listener": "no listener of ours was running: --listen",
    "no-canary": "nothing was planted: knows.canaries",
    "no-canary_of_other": "no record of somebody else was planted: knows.canaries with owner",
    "no-canary_in_document": "no document of ours was planted: knows.canaries with place: document",
    "no-second_identity": "only one identity is known: knows.identities",
    "no-switches": "nothing says as whom is asked: {{identity}}",
}
TURN = 1_500
"""Characters of a turn that a report shows; the journal has all of it."""


class Said(NamedTuple):
    """One line of a conversation."""

    who: str
    """user, outsider, application, call, receipt."""
    text: str
    where: str = ""


def reason(word: str) -> str:
    """Why something was not tried, for a person."""
    if word in REASONS:
        return REASONS[word]
    return f"the target file does not say it: {word[3:].replace('fact_', 'facts: ')}" if word.startswith("no-") else word.replace("-", " ")  # fmt: skip


def transcript(hit: Hit) -> list[Said]:
    """A hit's conversation, turn by turn."""
    out = []
    for prompt, reply in hit.turns:
        out.append(Said("user", _cut(prompt.text), prompt.identity))
        out += [Said("outsider", _cut(one.content), f"{one.surface} {one.name}".strip()) for one in prompt.plants]
        if reply.text or not (reply.calls or reply.receipts):
            out.append(Said("application", _cut(reply.text or reply.error)))
        out += [Said("call", _cut(f"{one.name} {one.arguments}")) for one in reply.calls]
        out += [Said("receipt", _cut(one.what), one.kind) for one in reply.receipts]
    return out


def unassessed(family: Family) -> str:
    """Trials that say nothing, by reason."""
    return ", ".join(f"{count} {word.replace('-', ' ')}" for word, count in sorted(family.not_assessed.items()))


def standing(found: Assessment) -> list[str]:
    """Sentences that must stand above any rate."""
    rows = []
    if found.stopped:
        rows.append(f"It ended before everything was tried, because {found.stopped}.")
    if found.manner:
        rows.append(f"The application {found.manner}: nothing it says shows anything.")
    if found.left:
        rows.append(f"{len(found.left)} things that were planted are not known to be gone; they are listed below.")
    return rows


def _cut(text: str) -> str:
    return text if len(text) <= TURN else f"{text[:TURN]}... ({len(text) - TURN:,} more characters in the journal)"
