"""Keys, tokens, private keys and passwords in what the model said, was told, or was given by a tool.

In: a Scene. Out: Hits of kind secret_in_output (model output, tool result) or secret_in_input (user, system). Shapes are data in
catalog/rules/secrets.yaml. It calls nobody: whether a key still works is not known here.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import msgspec

from afterguard.catalog import load
from afterguard.detect.detector import Detector
from afterguard.detect.prefilter import Pattern
from afterguard.detect.scene import Scene, hit
from afterguard.model import Confidence, Hit, Origin, Severity, Span

ID = "secrets"
TAXONOMIES = ("LLM02:2025", "LLM02:2026", "AML.T0057", "CWE-200", "CWE-798")
BEHIND, AHEAD = 128, 4_200
"""Bytes around the end of a prefilter match in which the whole shape is looked for."""
TAKEN_CAP = 2_000
"""Secrets of one text, as many as the prefilter finds places."""
MAIL = re.compile(rb"[^@\s]+@[^@\s]+\.[a-zA-Z]{2,12}")


class Shape(NamedTuple):
    """One key shape, compiled."""

    id: str
    title: str
    expression: re.Pattern[bytes]
    entropy: float
    check: str


class Secret(NamedTuple):
    """A verified secret: where it stands and what it is."""

    span: Span
    value: bytes
    shape: Shape


@cache
def shapes() -> dict[str, Shape]:
    """Shapes by topic name."""
    rows = load("rules/secrets")["rules"]
    return {
        f"{ID}:{row['id']}": Shape(
            row["id"],
            row["title"],
            re.compile(row["shape"].encode(), re.I if row.get("ignore_case") else 0),
            row["entropy"],
            row.get("check", ""),
        )
        for row in rows
    }


@cache
def _placeholders() -> re.Pattern[bytes]:
    parts = [str(part).replace("(?i)", "") for part in load("rules/secrets")["placeholders"]]
    caseless = "|".join(f"(?:{part})" for part in parts if "\\1" not in part)
    return re.compile(caseless.encode(), re.I)


REPEAT = re.compile(rb"(.)\1{5}")


def is_placeholder(value: bytes) -> bool:
    """Whether a value is a documented example or a blank to fill in."""
    return bool(_placeholders().search(value) or REPEAT.search(value))


def entropy(value: bytes) -> float:
    """Shannon entropy of the byte distribution, bits per byte."""
    size = len(value)
    return -sum(n / size * math.log2(n / size) for n in Counter(value).values()) if size else 0.0


def secrets_in(data: bytes, ends: list[tuple[str, int]]) -> Iterator[Secret]:
    """Verified secrets around prefilter matches (topic, end). Overlapping shapes yield the first only."""
    taken: list[Span] = []
    covered: dict[str, int] = {}
    for topic, end in sorted(ends, key=lambda row: row[1]):
        if end <= covered.get(topic, 0) or any(span.start < end <= span.end for span in taken):
            continue
        shape = shapes()[topic]
        high = min(len(data), end + AHEAD)
        covered[topic] = high - BEHIND
        for found in shape.expression.finditer(data, max(0, end - BEHIND), high):
            group = "value" if "value" in shape.expression.groupindex else 0
            span = Span(*found.span(group))
            if any(s.start < span.end and span.start < s.end for s in taken):
                continue
            value = found.group(group)
            if _is_real(value, shape, data[max(0, span.start - 1) : span.start]):
                taken.append(span)
                yield Secret(span, value, shape)
                if len(taken) >= TAKEN_CAP:
                    return


def _is_real(value: bytes, shape: Shape, before: bytes) -> bool:
    if shape.id not in ("private-key", "jwt") and (is_placeholder(value) or (before.isalnum() and value[:1].isalnum())):
        return False
    return entropy(value) >= shape.entropy and CHECKS[shape.check](value)


def _any(_value: bytes) -> bool:
    return True


def _jwt(value: bytes) -> bool:
    head = value.split(b".", 1)[0]
    try:
        decoded = msgspec.json.decode(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        return False
    return isinstance(decoded, dict) and "alg" in decoded


COMMON = {
    b"password",
    b"passwd",
    b"secret",
    b"postgres",
    b"admin",
    b"root",
    b"user",
    b"pass",
    b"guest",
    b"test",
    b"mysql",
}


def _password(value: bytes) -> bool:
    return value.lower() not in COMMON and not value.startswith((b"$", b"{", b"<", b"%", b"[", b"*"))


def _mixed(value: bytes) -> bool:
    """Digits beside letters, and not a path, a call or an identifier."""
    letters = sum(chr(c).isalpha() for c in value)
    digits = sum(chr(c).isdigit() for c in value)
    return letters >= 4 and digits >= 2 and value.count(b".") < 3 and b"(" not in value and value[:1] not in b"$%/"


def _told(value: bytes) -> bool:
    """Letters, digits and a sign, as passwords have and words, dates and addresses do not."""
    value = value.rstrip(b".,;:!?*")
    letters = sum(chr(c).isalpha() for c in value)
    digits = sum(chr(c).isdigit() for c in value)
    signs = sum(chr(c) in "#$!@%&*?^+_~=" for c in value)
    return (
        letters >= 3
        and digits >= 1
        and signs >= 1
        and b"://" not in value
        and value[:1] not in b"$%{["
        and not MAIL.fullmatch(value)
    )


CHECKS = {"": _any, "told": _told, "jwt": _jwt, "password": _password, "mixed": _mixed}


def find(scene: Scene) -> Iterator[Hit]:
    """Hits for every place of every secret: what is masked once and stays elsewhere has leaked."""
    ends: dict[int, list[tuple[str, int]]] = {}
    for topic in scene.seen(ID):
        for place in scene.found(topic):
            ends.setdefault(place.text, []).append((topic, place.end))
    for index in sorted(ends):
        text = scene.texts[index]
        for secret in secrets_in(scene.data(index), ends[index]):
            yield _hit(scene, index, text.origin, secret)


PLACES = {
    Origin.model: "the model's reply",
    Origin.tool: "a tool result the model read",
    Origin.document: "a document the model read",
    Origin.user: "what the user sent",
    Origin.system: "the system prompt",
}


def _hit(scene: Scene, index: int, origin: Origin, secret: Secret) -> Hit:
    outward = origin in (Origin.model, Origin.tool, Origin.document)
    severity = Severity.critical if origin is Origin.model else Severity.high if outward else Severity.medium
    sure = Confidence.medium if secret.shape.check in ("mixed", "password", "told") else Confidence.high
    return hit(
        scene,
        ID,
        "secret_in_output" if outward else "secret_in_input",
        TAXONOMIES,
        severity=severity,
        confidence=sure,
        text=index,
        span=secret.span,
        values=(secret.value.decode("utf-8", "replace"),),
        data_classes=("secret",),
        cause=f"{secret.shape.id} in {PLACES[origin]}",
        rule=f"shape and checks of: {secret.shape.title}, in {PLACES[origin]}",
        would_change="the issuer says the key is a test key or was never valid",
    )


DETECTOR = Detector(
    id=ID,
    kinds=("secret_in_output", "secret_in_input"),
    taxonomies=TAXONOMIES,
    severity=Severity.critical,
    why="A key that passed through a model is in its provider's logs, in the transcript and with whoever read the reply.",
    find=find,
    patterns=tuple(
        Pattern(f"{ID}:{row['id']}", row["anchor"], bool(row.get("ignore_case")))
        for row in load("rules/secrets")["rules"]
    ),
)
