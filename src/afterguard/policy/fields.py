"""What a rule can name: the fields of an event, and where each is read from.

In: an Exchange, a Hit, a ToolCall, an Unjudged, the facts of the caller. Out: getters by field name, in groups. A rule belongs to the
groups whose fields it names, and is asked once for every row of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.model import Exchange, Hit, Text, ToolCall, Unjudged

ARGUMENTS_CAP = 1 << 20
"""Characters of a call's arguments that are decoded for call.arguments.NAME."""
EXCHANGE: dict[str, Callable[[Exchange], Any]] = {
    **{
        f"exchange.{name}": (lambda one, name=name: getattr(one, name))  # type: ignore[misc]
        for name in (
            "id", "source", "provider", "model", "protocol", "app", "tenant", "client", "key", "address", "input_tokens",
            "output_tokens", "bytes", "status",
        )
    },
    "request.tools": lambda one: [tool.name for tool in one.tools],
}  # fmt: skip
VALUES = 1_000
"""Values of one feature over the rows of a request that a rule sees."""
PREDICTION: dict[str, Callable[[Exchange], Any]] = {
    "prediction.rows": lambda one: one.batch.rows if one.batch else None,
    "prediction.features": lambda one: list(one.batch.names[:VALUES]) if one.batch else None,
    "prediction.version": lambda one: one.batch.version if one.batch else None,
    "prediction.score": lambda one: list(one.batch.scores[:VALUES]) if one.batch else None,
    "prediction.decision": lambda one: list(one.batch.decisions[:VALUES]) if one.batch else None,
}
FEATURE = "prediction.feature."
FACTS = ("route", "identity", "environment", "conversation", "prompt")
HIT: dict[str, Callable[[Hit], Any]] = {
    "hit.kind": lambda one: one.kind,
    "hit.detector": lambda one: one.detector,
    "hit.severity": lambda one: one.severity._value_,
    "hit.confidence": lambda one: one.confidence._value_,
    "hit.rule": lambda one: one.rule,
    "hit.cause": lambda one: one.cause,
    "hit.excerpt": lambda one: one.excerpt,
    "hit.data_classes": lambda one: one.data_classes,
    "hit.taxonomies": lambda one: one.taxonomies,
}
TEXT: dict[str, Callable[[Text], Any]] = {
    "text.origin": lambda one: one.origin._value_,
    "text.trust": lambda one: one.trust._value_,
    "text.name": lambda one: one.name,
    "text.where": lambda one: one.where,
    "hit.origin": lambda one: one.origin._value_,
    "hit.trust": lambda one: one.trust._value_,
}
HIT_TOOL = "hit.tool"
CALL: dict[str, Callable[[ToolCall], Any]] = {
    "call.tool": lambda one: one.name,
    "call.arguments": lambda one: one.arguments,
    "call.readable": lambda one: arguments(one) is not None,
}
ARGUMENT = "call.arguments."
FACT = "fact."
UNJUDGED: dict[str, Callable[[Unjudged], Any]] = {
    "unjudged.reason": lambda one: one.reason,
    "unjudged.where": lambda one: one.where,
    "unjudged.bytes": lambda one: one.bytes,
}
KNOWN = ("at", *FACTS, *EXCHANGE, *PREDICTION, *HIT, *TEXT, HIT_TOOL, *CALL, *UNJUDGED)


def group_of(field: str) -> str:
    """exchange, hit, call or unjudged. Raises UsageError for a field nobody fills."""
    if field == "at" or field in FACTS or field in EXCHANGE or field in PREDICTION:
        return "exchange"
    if any(field.startswith(head) and len(field) > len(head) for head in (FACT, FEATURE)):
        return "exchange"
    if field in HIT or field in TEXT or field == HIT_TOOL:
        return "hit"
    if field in CALL or (field.startswith(ARGUMENT) and len(field) > len(ARGUMENT)):
        return "call"
    if field in UNJUDGED:
        return "unjudged"
    raise UsageError(f"no event has a field {field!r}", hint=nearest(field, list(KNOWN)), slug="bad-policy")


def arguments(call: ToolCall) -> Mapping[str, Any] | None:
    """The arguments of a call as a map; None where they are none, or too long."""
    if len(call.arguments) > ARGUMENTS_CAP:
        return None
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def argument(given: Mapping[str, Any] | None, path: str) -> Any:
    """`to.address` in the arguments of a call; a dotted name that stands there as it is comes first."""
    if given is None:
        return None
    if path in given:
        return given[path]
    value: Any = given
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def feature(exchange: Exchange, name: str) -> list[Any] | None:
    """Values of a feature, one a row; None where nobody sent it. A text is a text, a number a number, what is missing is left out."""
    batch = exchange.batch
    if batch is None or name not in batch.names:
        return None
    place = batch.names.index(name)
    if place in batch.texts:
        return list(batch.texts[place][:VALUES])
    return [one for one in batch.numbers[:VALUES, place].tolist() if one == one]
