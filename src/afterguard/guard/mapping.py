"""Mapping files: what a person reads, corrects and gives to the guard for a chat API that it does not know.

In: YAML (or JSON) text. Out: a `learned.Mapping`, or a UsageError with the line; and the way back, with a sentence beside each path. Anchors, tags, repeated
keys and whatever else could build more than plain values are refused (policy/read.py). It opens no file.
"""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec
import yaml

from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.policy.read import Read, read
from afterguard.wire import learned, scoring
from afterguard.wire.learned import Mapping
from afterguard.wire.scoring import Scoring

FORMAT = "afterguard.chat-mapping/1"
CAP = 64 << 10
"""Characters of a mapping file."""
SAYS = {
    "user": "what the user says",
    "system": "the operator's instructions to the model",
    "document": "retrieved passages: text that an outsider can write",
    "tool": "results of tools: text that an outsider can write",
    "turns": "the list of turns; role and said are the names in each turn",
    "role": "the name in a turn that says who speaks",
    "said": "the name in a turn that holds what is said",
    "conversation": "the id of the conversation, in the request",
    "identity": "who the user is",
    "reply": "the answer in a whole reply",
    "delta": "the piece of the answer in one event of a streamed reply",
    "reply_conversation": "the id of the conversation, where only the reply has it",
    "samples": "recorded pairs it was learned from",
    "unsure": "what a person should look at",
}
"""Field -> its meaning for a person, in the order in which they are written."""


SCORING = "afterguard.score-mapping/1"
SCORES = {
    "features": "the object or list that holds the features, one row or several",
    "score": "the score, or the list of scores, in a reply",
    "decision": "the decision or class, in a reply",
    "version": "the model's version, in a reply",
    "identity": "who it is about, in the request",
    "samples": "recorded pairs it was learned from",
    "unsure": "what a person should look at",
}
"""The same of a scoring API."""


def load_scoring(text: str, name: str = "mapping") -> Scoring:
    """The mapping of a scoring API. Raises UsageError with line and remedy."""
    found = _read(text, name)
    value = found.value
    if not isinstance(value, dict) or value.get("format") != SCORING:
        _bad(
            name,
            1,
            "not a mapping of a scoring API",
            f"begin with format: {SCORING}, or let afterguard guard learn --scores write it",
        )
    rest = {key: one for key, one in value.items() if key != "format"}
    for key in rest:
        if key not in SCORES:
            _bad(
                name, found.lines.get((key,), 1), f"no such key: {str(key)[:60]}", nearest(str(key)[:60], list(SCORES))
            )
    try:
        return scoring.checked({key: "" if one is None and key not in OTHERS else one for key, one in rest.items()})
    except ValueError as error:
        _bad(name, 1, str(error)[:300], "write paths as jq does: .applicant, .rows[*], .result.score")


def load(text: str, name: str = "mapping") -> Mapping:
    """The mapping of a file's text. Raises UsageError with line and remedy."""
    found = _read(text, name)
    value = found.value
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        _bad(name, 1, "not a mapping", f"begin with format: {FORMAT}, or let afterguard guard learn write it")
    rest = {key: one for key, one in value.items() if key != "format"}
    for key in rest:
        if key not in SAYS:
            _bad(name, found.lines.get((key,), 1), f"no such key: {str(key)[:60]}", nearest(str(key)[:60], list(SAYS)))
    try:
        mapping = learned.from_plain(
            {key: "" if one is None and key not in OTHERS else one for key, one in rest.items()}
        )
    except ValueError as error:
        key = next((key for key in rest if str(error).startswith(f"{key}:") or f"$.{key}" in str(error)), "")
        _bad(
            name,
            found.lines.get((key,), 1),
            str(error)[:300],
            "write paths as jq does: .payload.question, .turns[*].text",
        )
    if not any(getattr(mapping, part) for part in ("user", "turns", "system", "document", "tool", "reply", "delta")):
        _bad(name, 1, "says of no text what it is", "name at least user (or turns) and reply (or delta)")
    return mapping


HINT = "afterguard guard learn SAMPLE... -o mapping.yaml writes one that fits"
OTHERS = ("samples", "unsure")


def _read(text: str, name: str) -> Read:
    if len(text) > CAP:
        _bad(name, 0, f"larger than {CAP} characters", HINT)
    try:
        return read(text, name)
    except UsageError as error:
        _bad("", 0, str(error), HINT)


def _bad(name: str, line: int, what: str, hint: str) -> NoReturn:
    place = f"{name}:{line}: " if name and line else f"{name}: " if name else ""
    raise UsageError(place + what, hint=hint, slug="bad-mapping")


def dump(mapping: Mapping | Scoring) -> str:
    """The text of a file that `load` (or `load_scoring`) reads, for a person to check."""
    is_chat = isinstance(mapping, Mapping)
    lines = [f"format: {FORMAT if is_chat else SCORING}"]
    data = learned.to_plain(mapping) if isinstance(mapping, Mapping) else msgspec.to_builtins(mapping)
    for key, says in (SAYS if is_chat else SCORES).items():
        value = data.get(key)
        if not value:
            continue
        if isinstance(value, (list, tuple)):
            lines += [f"# {says}", f"{key}:", *(f"  - {_quoted(str(one))}" for one in value)]
        else:
            lines += [f"# {says}", f"{key}: {value if isinstance(value, int) else _quoted(value)}"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A JSON string, which is YAML too, whatever a stranger's keys are made of."""
    return str(yaml.safe_dump(text, default_style='"', width=1 << 30, allow_unicode=False)).strip()


def to_json(mapping: Mapping | Scoring) -> bytes:
    """The same as JSON."""
    data: dict[str, Any] = {
        "format": FORMAT if isinstance(mapping, Mapping) else SCORING,
        **msgspec.to_builtins(mapping),
    }
    return msgspec.json.format(msgspec.json.encode(data), indent=2) + b"\n"
