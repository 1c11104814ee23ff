"""Codes and keys that the system prompt holds and nobody may learn, in a reply: as they are, or reversed, spelled, encoded.

In: a Scene. Out: Hits of kind system_prompt_leak. A code counts where its own sentence in the system prompt says that it is secret; a key wherever it stands. What the user, a tool or a document of the conversation names is no secret
any more. How it is looked for: canary.Views. A secret without a digit, a paraphrase, or one told in parts is not found; calls are left out, because an application may hand a key of its prompt to its own tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from afterguard.detect import canary, secrets
from afterguard.detect.canary import LOWER, SHORTEST, Views
from afterguard.detect.detector import Detector
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "prompt-secret"
TAXONOMIES = ("LLM07:2025", "LLM02:2025", "LLM02:2026", "AML.T0056", "CWE-200")
CODE = re.compile(
    r"(?<![\w.@/-])(?=[\w.-]*\d)(?=[\w.-]*[A-Za-z])[A-Za-z0-9](?:[\w-]|\.(?=\w)){6,62}[A-Za-z0-9](?![\w@/])"
)
SENTENCE = re.compile(r"[^.!?\n\u3002]*(?:[.!?](?=\S)[^.!?\n\u3002]*)*[.!?\n\u3002]?")
CALLED_SECRET = re.compile(
    r"\b(?:secret|confidential|internal|password|passphrase|passcode|pass ?code|token|api[ -]?key|nobody|no one|never|not (?:to )?(?:be )?(?:share|tell|told|reveal|disclose|mention|repeat|show|give)|geheim|vertraulich|intern|niemals"
    r"|confidentiel|secr[eè]te?|jamais|personne|confidencial|secret[oa]|nunca|nadie|ningu[eé]m|riservat[oa]|segret[oa]|mai|vertrouwelijk|nooit)(?:s|e[nrsm]?)?\b",
    re.I,
)
PROMPT_CAP = 50_000
SECRETS_CAP = 16
"""Secrets of one system prompt that are looked for."""


def find(scene: Scene) -> Iterator[Hit]:
    """One hit a secret and text."""
    known: tuple[str, ...] | None = None
    for index, text in scene.of(Origin.model):
        if len(text.value) < SHORTEST:
            continue
        if known is None:
            known = _unspoken(scene)
        views = Views(scene.data(index)) if known else None
        for secret in known if views else ():
            how = views.means(secret) if views else ""
            if how:
                yield _hit(scene, index, secret, how)


def _unspoken(scene: Scene) -> tuple[str, ...]:
    """Secrets of the system prompts that nobody else in the conversation names."""
    held = dict.fromkeys(
        one for text in scene.texts if text.origin is Origin.system for one in _held(scene, text.value)
    )
    if not held:
        return ()
    named = b"\n".join(scene.data(at) for at, text in enumerate(scene.texts) if text.origin not in (Origin.system, Origin.model)).translate(LOWER)  # fmt: skip
    return tuple(one for one in held if one.lower().encode("utf-8", "surrogatepass") not in named)


def _held(scene: Scene, prompt: str) -> tuple[str, ...]:
    """Secrets of one system prompt, remembered: it repeats with every request."""
    notes = scene.context.notes
    known = notes.get(ID + prompt)
    if isinstance(known, tuple):
        return known
    return notes.put(ID + prompt, tuple(islice(dict.fromkeys(_secrets(scene, prompt[:PROMPT_CAP])), SECRETS_CAP)))  # type: ignore[return-value]


def _secrets(scene: Scene, prompt: str) -> Iterator[str]:
    data = prompt.encode("utf-8", "surrogatepass")
    ends = [(found.name, found.end) for found in scene.scan(data, Origin.system) if found.name.startswith(secrets.ID)]
    for secret in secrets.secrets_in(data, ends):
        yield secret.value.decode("utf-8", "replace")
    for sentence in SENTENCE.findall(prompt):
        if CALLED_SECRET.search(sentence):
            yield from CODE.findall(sentence)


def _hit(scene: Scene, index: int, secret: str, how: str) -> Hit:
    """Whoever writes it otherwise than it is has no other reason than to get it past somebody."""
    is_plain = how in ("as it is", "set apart")
    return hit(
        scene,
        ID,
        "system_prompt_leak",
        TAXONOMIES,
        severity=Severity.high,
        confidence=Confidence.medium if is_plain else Confidence.high,
        text=index,
        span=canary.span_of(scene.data(index), secret) if is_plain else Span(0, len(scene.data(index))),
        excerpt=f"[a secret of the system prompt, {how}]",
        values=(secret,),
        data_classes=("instructions", "secret"),
        cause="a secret of the system prompt in a reply",
        rule=f"a value that the system prompt calls secret, or a key in it, stands in the reply {how}",
        would_change="the value is meant for users: then the system prompt should not call it secret",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("system_prompt_leak",),
    taxonomies=TAXONOMIES,
    severity=Severity.high,
    why="A code that the instructions call secret opens something; encoded or spelled it leaves through every filter that looks for its letters.",
    find=find,
    origins=(Origin.model,),
)
