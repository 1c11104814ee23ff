"""A request or a reply as a log kept it: an object, JSON in a string, an event stream in a string, or plain text.

In: the value under a log's request or response column. Out: the protocol's name and pieces in a `Parts`. Provider shapes are
wire's; this file only unwraps.
"""

from __future__ import annotations

import re
from typing import Any

from afterguard.tap.decode import Broken, decode
from afterguard.wire import blocks, shapes
from afterguard.wire.deltas import Deltas
from afterguard.wire.parts import Parts, dumps, text_of
from afterguard.wire.predict import names
from afterguard.wire.sse import Events, is_stream
from afterguard.wire.template import prompt

ENVELOPES = ("body", "payload", "json", "data", "kwargs", "value", "content_json", "parsed")
JSON_CAP = 32 << 20
LISTED = 2_000
HTTP = re.compile(r"[A-Z]{3,8} \S{1,4000} HTTP/\d")
"""The request line of an access log is no prompt."""


def unwrap(value: Any, depth: int = 0) -> Any:
    """JSON in strings decoded, HTTP envelopes ({"method", "headers", "body"}) opened."""
    if depth > 4:
        return value
    if isinstance(value, str):
        head = value[:64].lstrip()[:1]
        if head in ("{", "[") and len(value) <= JSON_CAP:
            try:
                return unwrap(decode(value.encode("utf-8", "replace"))[0], depth + 1)
            except Broken:
                return value
        return value
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and value[0][:1] in ("{", "["):
        return unwrap(value[0], depth + 1)
    if isinstance(value, dict) and not value.keys() & SHAPED:
        for name in ENVELOPES:
            inner = value.get(name)
            if isinstance(inner, (dict, list)) or (isinstance(inner, str) and (name == "body" or inner[:1] in "{[")):
                return unwrap(inner, depth + 1)
    return value


SHAPED = {
    "messages",
    "prompt",
    "input",
    "contents",
    "choices",
    "output",
    "content",
    "candidates",
    "object",
    "inputText",
    "instances",
    "role",
    "message",
    "inputs",
    "predictions",
    "model",
}


def ask(value: Any, parts: Parts, where: str) -> str:
    """A request; the protocol, "messages" for plain lists, "text" for a plain prompt, "" for none."""
    value = unwrap(value)
    if isinstance(value, str):
        return "text" if value and not HTTP.match(value) and prompt(value, parts, where) else ""
    if isinstance(value, list):
        value = value[0] if len(value) == 1 and isinstance(value[0], list) else value
        return "messages" if value and prompt(value, parts, where) else ""
    if isinstance(value, dict):
        return shapes.request(value, parts, where) or _loose(value, parts, where, blocks.USER)
    return ""


def reply(value: Any, parts: Parts, where: str) -> str:
    """A reply; the protocol, "text" for a plain one, "" for none."""
    value = unwrap(value)
    if isinstance(value, str):
        return _said(value, parts, where)
    if isinstance(value, list):
        return _replies(value, parts, where)
    if isinstance(value, dict):
        turn = parts.turn
        found = shapes.response(value, parts, where)
        if found:
            return found
        parts.turn = turn + 1
        return _loose(value, parts, where, blocks.MODEL)
    return ""


def _said(value: str, parts: Parts, where: str) -> str:
    if not value:
        return ""
    if is_stream(value):
        return stream(value, parts, where)
    parts.turn += 1
    parts.text(value, *blocks.MODEL, where)
    return "text"


def stream(value: str, parts: Parts, where: str) -> str:
    """A reply recorded as the text of its event stream."""
    events, grown = Events(), Deltas()
    for event in [*events.feed(value.encode("utf-8", "replace")), *events.close()]:
        take(grown, event.data, parts, where)
        if event.cut:
            parts.skip("too_long", where, event.cut)
    return grown.kind if grown.into(parts, where) else ""


def take(grown: Deltas, data: str, parts: Parts, where: str) -> None:
    """One event's data into a stream's state; data of unknown shape is counted, data that is no JSON is text."""
    if data[:1] not in ("{", "["):
        grown.say(data)
        return
    try:
        value = decode(data.encode("utf-8", "replace"))[0]
    except Broken:
        grown.say(data)
        return
    for item in value if isinstance(value, list) else [value]:
        if not grown.feed(item):
            parts.skip("unknown_shape", where, len(data))


def _replies(items: list[Any], parts: Parts, where: str) -> str:
    """A list of events, messages, or alternative replies."""
    if not items:
        return ""
    before = len(parts.texts) + len(parts.calls)
    if isinstance(items[0], dict) and ("role" in items[0] or "from" in items[0]):
        return "messages" if blocks.messages(items, parts, where) else ""
    if isinstance(items[0], dict) and text_of(items[0].get("type")) in blocks.READERS:
        parts.turn += 1
        blocks.content(items, blocks.MODEL, parts, where)
        return "messages"
    if isinstance(items[0], dict):
        found = shapes.events(items, parts, where)
        if found and len(parts.texts) + len(parts.calls) > before:
            return found
    seen = ""
    for index, item in enumerate(items[:LISTED]):
        if isinstance(item, (str, dict, list)):
            seen = (
                _nested(item, parts, f"{where}[{index}]")
                if isinstance(item, list)
                else reply(item, parts, f"{where}[{index}]")
            ) or seen
    return seen


def _nested(items: list[Any], parts: Parts, where: str) -> str:
    """generations[[...]]: one list a prompt."""
    seen = ""
    for index, item in enumerate(items[:LISTED]):
        if isinstance(item, (str, dict)):
            seen = reply(item, parts, f"{where}[{index}]") or seen
    return seen


def _loose(value: dict[str, Any], parts: Parts, where: str, who: blocks.Who) -> str:
    """An object of no provider's shape that still holds words under a usual name."""
    if blocks.message(value, parts, where):
        return "messages"
    seen = ""
    for name in names("loose"):
        inner = value.get(name)
        if isinstance(inner, str) and inner:
            blocks.text(inner, who, parts, f"{where}.{name}")
            seen = "text"
        elif isinstance(inner, list) and inner and isinstance(inner[0], list) and len(inner) < LISTED:
            for index, group in enumerate(inner):
                if isinstance(group, list):
                    seen = (
                        "messages"
                        if blocks.messages(group, parts, f"{where}.{name}[{index}]")
                        else _replies(group, parts, where)
                    ) or seen
        elif (
            isinstance(inner, list)
            and inner
            and isinstance(inner[0], (dict, str))
            and name in ("messages", "chat_history", "generations", "content", "output")
        ):
            seen = (
                "messages" if blocks.messages(inner, parts, f"{where}.{name}") else _replies(inner, parts, where)
            ) or seen
        elif isinstance(inner, dict) and inner.get("role"):
            seen = "messages" if blocks.message(inner, parts, f"{where}.{name}") else seen
    return seen


def document(value: Any, parts: Parts, where: str) -> None:
    """Retrieved context that a log keeps beside the prompt."""
    for index, item in enumerate((value if isinstance(value, list) else [value])[:LISTED]):
        if isinstance(item, str):
            parts.text(item, *blocks.DOCUMENT, f"{where}[{index}]")
        elif isinstance(item, dict):
            body = next(
                (item[key] for key in ("page_content", "content", "text", "body") if isinstance(item.get(key), str)),
                None,
            )
            name = next((item[key] for key in ("title", "source", "id", "name") if isinstance(item.get(key), str)), "")
            parts.text(body if body is not None else dumps(item), *blocks.DOCUMENT, f"{where}[{index}]", name)
