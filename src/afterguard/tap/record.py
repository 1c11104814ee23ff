"""One decoded record of a log -> Exchanges, whatever its shape.

In: decoded JSON and its place. Out: usually one Exchange, several for a batch. A record of no known shape becomes one of protocol
"unknown" with the reason in `unjudged`, so that nothing is lost silently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from afterguard.model import Exchange, Unjudged
from afterguard.tap import bodies
from afterguard.tap.meta import columns, word
from afterguard.tap.when import When
from afterguard.wire import blocks, openai, predict
from afterguard.wire.parts import Parts
from afterguard.wire.predict import names

WITHHELD = re.compile(r"\W*(?:redacted|removed|hidden|masked|omitted|filtered)[\w\s-]*\W*$|\*+$", re.IGNORECASE)
"""What gateways write in place of words that they were told not to keep."""
DEPTH = 4
BATCH_CAP = 1_000_000


class Place(NamedTuple):
    """Where a record stands: the log's name, its 1-based line (or number), its size in bytes, its number in a batch."""

    source: str
    line: int
    size: int
    part: int = 0
    mended: str = ""
    """Why the text is not quite what stood there, a reason of model.Unjudged."""
    moment: When | None = None
    """When, as told outside the record."""

    @property
    def id(self) -> str:
        """The id of a record that has none."""
        return f"{self.source}:{self.line}" + (f"#{self.part}" if self.part else "")


Found = Iterator[Exchange | None]
Special = Callable[[dict[str, Any], Place], Found | list[Exchange] | None]


def unknown(place: Place, reason: str, **known: Any) -> Exchange:
    """A record that exists but cannot be read."""
    known.setdefault("id", place.id)
    missed = (Unjudged(reason, "", place.size),)
    return Exchange(
        source=place.source, line=place.line, protocol="unknown", unjudged=missed, bytes=place.size, **known
    )


def build(parts: Parts, known: dict[str, Any], protocol: str, place: Place) -> Exchange:
    """The Exchange of what was read; what the record says beside the bodies wins over what the bodies say."""
    for name in ("model", "provider", "conversation", "identity", "input_tokens", "output_tokens", "cost", "status"):
        value = getattr(parts, name)
        if value and (name not in known or name in ("model", "input_tokens", "output_tokens")):
            known[name] = value
    known.setdefault("id", place.id)
    if place.moment and "time" not in known:
        known["time"], known["time_zone_known"] = place.moment
    if place.mended:
        parts.skip(place.mended, "")
    return Exchange(
        source=place.source,
        line=place.line,
        protocol=protocol,
        texts=tuple(parts.texts),
        calls=tuple(parts.calls),
        tools=tuple(parts.tools),
        unjudged=tuple(parts.unjudged),
        bytes=place.size,
        **known,
    )


def exchanges(record: Any, place: Place, depth: int = 0) -> Found:
    """The Exchanges of one record; at least one item, whatever it is. None stands for a part of a capture or trace that
    speaks of no AI (a picture, a database span), so that the caller can count it."""
    if isinstance(record, list):
        yield from _listed(record, place, depth)
    elif isinstance(record, dict):
        for shape in _special():
            found = shape(record, place)
            if found is not None:
                is_empty = True
                for one in found:
                    is_empty = False
                    yield one
                if is_empty:
                    yield None
                return
        yield from _plain(record, place, depth)
    else:
        yield unknown(place, "unknown_shape")


@cache
def _special() -> tuple[Special, ...]:
    from afterguard.tap import cloud, har, otel  # these build on this file

    return (otel.shape, har.shape, cloud.shape)


def _listed(items: list[Any], place: Place, depth: int) -> Found:
    """A bare list of messages is one exchange; any other list holds records."""
    parts = Parts()
    if depth > DEPTH or not any(isinstance(item, (dict, list)) for item in items[:100]):
        yield unknown(place, "unknown_shape")
    elif isinstance(items[0], dict) and _is_message(items[0]):
        known = blocks.messages(items, parts, "")
        yield build(parts, {}, "messages" if known else "unknown", place)
    else:
        share = place.size // len(items)
        for index, item in enumerate(items[:BATCH_CAP]):
            yield from exchanges(item, place._replace(size=share, part=place.part * 1000 + index + 1), depth + 1)


def _is_message(item: dict[str, Any]) -> bool:
    return (
        ("role" in item and ("content" in item or "parts" in item or "tool_calls" in item))
        or ("from" in item and "value" in item)
        or (item.get("type") in ("human", "ai", "system") and ("content" in item or "data" in item))
    )


def _plain(record: dict[str, Any], place: Place, depth: int) -> Found:
    known = columns(record)
    found = pair(record, known, place)
    if found is None:
        row = None if _is_call(record, known) else predict.prediction(record)
        if row is not None:
            yield Exchange(
                source=place.source, line=place.line, protocol="predictive", prediction=row, bytes=place.size,
                **{"id": place.id, **known},
            )  # fmt: skip
            return
        inner = list(_unwrapped(record, known, place, depth)) if depth < DEPTH else []
        if inner:
            yield from inner
            return
        found = _empty(record, known, place)
    yield found


def pair(record: dict[str, Any], known: dict[str, Any], place: Place) -> Exchange | None:
    """A record that holds a request, a reply, or both, under any of the usual names; None where it holds neither."""
    parts = Parts()
    body = _first(record, names("requests"))
    answer = _first(record, names("responses"))
    if answer and not body and record.get("body"):
        body = "body"
    single = _single(record) if not body and not answer else None
    if single and blocks.message(single, parts, ""):
        openai.usage(single.get("usage"), parts)
        parts.model = word(single.get("model"))
        return build(parts, known, "messages", place) if parts.texts or parts.calls else None
    _beside(record, body, parts)
    asked = _asked(record, body, parts)
    replied = ""
    if answer and answer != body:
        parts.turn += 1
        replied = bodies.reply(record if answer in ("choices", "candidates") else record[answer], parts, answer)
    elif record.get("type") == "message" or record.get("object") in ("chat.completion", "response"):
        replied = bodies.reply(record, parts, "")
    if not (asked or replied) or not (parts.texts or parts.calls):
        return None
    if asked in ("", "text") and replied in ("", "text") and _is_row(record, body, answer):
        return None
    if answer and not replied and body:
        parts.skip("response_not_logged", answer)
    if not asked and replied:
        parts.skip("prompt_not_logged", body)
    tools = record.get("tools") or record.get("functions")
    if tools and not parts.tools:
        openai.tools(tools, parts)
    return build(parts, known, _protocol(record, asked, replied, body), place)


def _single(record: dict[str, Any]) -> Any:
    """The one message that a transcript keeps a line each, at the top or under "message"."""
    inner = record.get("message")
    if isinstance(inner, dict) and isinstance(inner.get("role"), str):
        return inner
    return record if isinstance(record.get("role"), str) and record.keys() & {"content", "parts", "text"} else None


def _asked(record: dict[str, Any], body: str, parts: Parts) -> str:
    if not body:
        return ""
    if body in ("messages", "contents", "inputText") or (
        body in ("input", "prompt") and "model" in record and "output" not in record
    ):
        kept = {
            key: value
            for key, value in record.items()
            if key not in names("systems") or body in ("messages", "contents", "input")
        }
        value = record[body]
        return bodies.ask(kept if not isinstance(value, str) or body != "messages" else value, parts, "")
    return bodies.ask(record[body], parts, body)


def _beside(record: dict[str, Any], body: str, parts: Parts) -> None:
    """System prompt and retrieved context that stand beside a plain prompt."""
    if body not in ("messages", "contents", "input"):
        for name in names("systems"):
            if isinstance(record.get(name), str):
                blocks.text(record[name], blocks.SYSTEM, parts, name)
    for name in () if names("contexts").keys().isdisjoint(record) else names("contexts"):
        value = record.get(name)
        if value and isinstance(value, (str, list)):
            bodies.document(value, parts, name)


def _first(record: dict[str, Any], wanted: dict[str, None]) -> str:
    """The first of these names with something under it that was not withheld."""
    if wanted.keys().isdisjoint(record):
        return ""
    for name in wanted:
        value = record.get(name)
        if value and not (isinstance(value, str) and len(value) < 60 and WITHHELD.match(value)):
            return name
    return ""


def _is_row(record: dict[str, Any], body: str, answer: str) -> bool:
    """Whether short plain values under names such as query or output belong to a feature row after all."""
    texts = [str(record[name]) for name in (body, answer) if name and isinstance(record[name], (str, int, float))]
    if any(len(text) > 60 or text.count(" ") > 4 for text in texts):
        return False
    if body and answer and any(not predict.NUMBER.match(text.strip()[:90]) for text in texts):
        return False
    row = predict.prediction(record)
    return row is not None and len(row.features) >= 2


def _protocol(record: dict[str, Any], asked: str, replied: str, body: str) -> str:
    if "call_type" in record or "litellm_call_id" in record or "litellm_params" in record:
        return "litellm"
    if asked == "openai" and body == "messages" and not replied:
        return "messages"
    for found in (replied, asked):
        if found not in ("", "text", "messages"):
            return {"responses": "openai", "converse": "bedrock", "ollama": "openai"}.get(found, found)
    return "messages"


def _unwrapped(record: dict[str, Any], known: dict[str, Any], place: Place, depth: int) -> Found:
    """Records inside the envelopes of log shippers, and batches under one key."""
    for name in names("batches"):
        items = record.get(name)
        if isinstance(items, list) and items and isinstance(items[0], dict):
            for found in _listed(items, place, depth + 1):
                yield _inherit(found, known)
            return
    for name in names("wrappers"):
        inner = bodies.unwrap(record.get(name))
        if isinstance(inner, (dict, list)) and inner and inner is not record:
            found_inside = list(exchanges(inner, place, depth + 1))
            if any(
                found is None or found.protocol != "unknown" or found.unjudged[0].reason == "prompt_not_logged"
                for found in found_inside
            ):
                for found in found_inside:
                    yield _inherit(found, known)
                return


def _inherit(found: Exchange | None, known: dict[str, Any]) -> Exchange | None:
    """Columns of the envelope where the inner record has none of its own."""
    if found is None:
        return None
    changed = {
        name: value
        for name, value in known.items()
        if name not in ("id", "time_zone_known") and not getattr(found, name)
    }
    if "time" in changed:
        changed["time_zone_known"] = known.get("time_zone_known", True)
    if "id" in known and found.id.startswith(f"{found.source}:{found.line}") and "#" not in found.id:
        changed["id"] = known["id"]
    if not changed:
        return found
    return Exchange(**{**{name: getattr(found, name) for name in Exchange.__struct_fields__}, **changed})


def _empty(record: dict[str, Any], known: dict[str, Any], place: Place) -> Exchange:
    """A record about a model call without its words, or a record about nothing we know."""
    is_call = _is_call(record, known) or (
        "model" in known and bool(record.keys() & {"prompt", "completion", "response"})
    )
    parts = Parts()
    openai.usage(record.get("usage"), parts)
    if not is_call or isinstance(record.get(_first(record, names("requests"))), (str, dict, list)):
        return unknown(place, "unknown_shape", **known)
    parts.skip("prompt_not_logged", "", place.size)
    return build(parts, known, "litellm" if "call_type" in record else "unknown", place)


def _is_call(record: dict[str, Any], known: dict[str, Any]) -> bool:
    """Whether a record without words counts tokens or names its call as gateways do."""
    counts = "input_tokens" in known or "output_tokens" in known
    return counts or isinstance(record.get("usage"), dict) or "call_type" in record or "messages" in record
