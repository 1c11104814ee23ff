"""A verdict on an exchange -> the bytes that are sent instead of the original ones.

In: the original body, its decoded JSON, the Exchange that was read from it, what is to change. Out: the body with just that changed (wire/splice.py). It decides
nothing, and what it is not asked to change keeps its bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from afterguard.model import Edit, Exchange, Text, ToolCall, Verdict
from afterguard.wire.endpoint import Endpoint
from afterguard.wire.parts import dumps
from afterguard.wire.splice import Change, Cut, Put, Unspliceable, splice

STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\"((?:[^\"\\]|\\.)*)\"\]")
__all__ = ["Unspliceable", "at", "changes", "names_model", "request", "response"]


def at(decoded: Any, where: str) -> Any:
    """The value at a place: `request.messages[3].content`. Raises Unspliceable where there is none."""
    value = decoded
    for found in STEP.finditer(where):
        name, index, quoted = found.groups()
        try:
            value = (
                value[int(index)] if index else value[name if name is not None else msgspec.json.decode(f'"{quoted}"')]
            )
        except (KeyError, IndexError, TypeError, ValueError):
            raise Unspliceable(where) from None
    return value


def changes(decoded: Any, texts: Sequence[Text], edits: Iterable[Edit]) -> list[Change]:
    """Edits of texts as changes of JSON values."""
    out: list[Change] = []
    starts: dict[str, dict[int, int]] = {}
    for edit in edits:
        where = texts[edit.text].where
        if where not in starts:
            starts[where] = _starts(decoded, where, texts)
        base = starts[where][edit.text]
        out.append(Change(where, base + edit.span.start, base + edit.span.end, edit.new))
    return out


def _starts(decoded: Any, where: str, texts: Sequence[Text]) -> dict[int, int]:
    """Index of each text read from one value -> UTF-8 offset in that value. Texts of one value follow each other in it."""
    value = at(decoded, where)
    whole = (value if isinstance(value, str) else dumps(value)).encode("utf-8", "surrogatepass")
    out: dict[int, int] = {}
    cursor = 0
    for index, text in enumerate(texts):
        if text.where != where:
            continue
        piece = text.value.encode("utf-8", "surrogatepass")
        found = whole.find(piece, cursor)
        if found < 0:
            raise Unspliceable(f"{where}: the text is not in the value it was read from")
        out[index] = found
        cursor = found + len(piece)
    return out


def request(body: bytes, decoded: Any, exchange: Exchange, verdict: Verdict) -> bytes:
    """The request to send on: texts edited, tools taken from the offer, model changed."""
    wanted: list[Change | Put | Cut] = [*changes(decoded, exchange.texts, verdict.edits)]
    wanted += [Cut(place) for place in _offered(decoded, frozenset(verdict.tools))]
    wanted += [Put(place, msgspec.json.encode(name)) for place, name in _models(decoded, verdict.model)]
    return splice(body, wanted) if wanted else body


def names_model(decoded: Any) -> bool:
    """Whether a request's body says which model is to answer."""
    return any(_models(decoded, "any"))


def _models(decoded: Any, model: str) -> Iterator[tuple[str, str]]:
    """(place, what to write there) of the model in a request, and in each part of a batch of Gemini's."""
    if not model or not isinstance(decoded, dict):
        return
    rows = decoded.get("requests")
    owners = [("request", decoded)]
    owners += [(f"request.requests[{n}]", row) for n, row in enumerate(rows)] if isinstance(rows, list) else []
    for place, owner in owners:
        if isinstance(owner, dict) and "model" in owner:
            before = owner["model"]
            is_resource = isinstance(before, str) and before.startswith("models/") and "/" not in model
            yield f"{place}.model", f"models/{model}" if is_resource else model


def _offered(decoded: Any, names: frozenset[str]) -> Iterable[str]:
    """Places of the tools of these names in a request; the whole list where nothing of it would be left."""
    for key in ("tools", "functions") if names and isinstance(decoded, dict) else ():
        items = decoded.get(key)
        if not isinstance(items, list):
            continue
        gone = [index for index, item in enumerate(items) if _name(item) in names]
        if gone and len(gone) == len(items):
            yield f"request.{key}"
            if "tool_choice" in decoded:
                yield "request.tool_choice"
        else:
            yield from (f"request.{key}[{index}]" for index in gone)


def _name(item: Any) -> str:
    if not isinstance(item, dict):
        return ""
    inner = next((item[k] for k in ("function", "toolSpec", "custom") if isinstance(item.get(k), dict)), item)
    name = inner.get("name")
    return name if isinstance(name, str) else ""


def response(body: bytes, decoded: Any, exchange: Exchange, verdict: Verdict, spot: Endpoint) -> bytes:
    """The whole reply to send on: texts edited, calls taken out with a sentence in their place."""
    wanted: list[Change | Put | Cut] = [*changes(decoded, exchange.texts, verdict.edits)]
    gone = [exchange.calls[index] for index in verdict.calls]
    if gone:
        wanted += _without(decoded, [call for call in gone if call.where.startswith("response")], verdict.says)
    return splice(body, wanted) if wanted else body


def _without(decoded: Any, calls: Sequence[ToolCall], says: str) -> Iterable[Put | Cut]:
    """A reply without these calls. Block protocols get the sentence as a block; chat gets it as the content."""
    listed: dict[str, list[int]] = {}
    for call in calls:
        head, _, tail = call.where.rpartition("[")
        if head.endswith(".tool_calls"):
            listed.setdefault(head, []).append(int(tail[:-1]))
        elif call.where.endswith(".function_call"):
            listed.setdefault(call.where, [])
        else:
            yield Put(call.where, msgspec.json.encode(_block(call.where, at(decoded, call.where), says)))
    for place, indexes in listed.items():
        owner = place.rpartition(".")[0]
        message = at(decoded, owner)
        if indexes and len(indexes) < len(at(decoded, place)):
            yield from (Cut(f"{place}[{index}]") for index in indexes)
            continue
        if message.get("content"):
            yield Cut(place)
        elif "content" in message:
            yield Cut(place)
            yield Put(owner + ".content", msgspec.json.encode(says))
        else:
            kept = {key: value for key, value in message.items() if key not in ("tool_calls", "function_call")}
            yield Put(owner, msgspec.json.encode(kept | {"content": says}))
        choice = owner.rpartition(".")[0]
        if isinstance(at(decoded, choice), dict) and "finish_reason" in at(decoded, choice):
            yield Put(choice + ".finish_reason", b'"stop"')
    yield from _stopped(decoded, calls)


def _block(where: str, block: Any, says: str) -> Any:
    if ".output[" in where:
        said = {"type": "output_text", "text": says, "annotations": []}
        identifier = block.get("id", "msg_afterguard") if isinstance(block, dict) else "msg_afterguard"
        return {"type": "message", "id": identifier, "status": "completed", "role": "assistant", "content": [said]}
    if ".candidates[" in where or ".output.message" in where:
        return {"text": says}
    return {"type": "text", "text": says}


def _stopped(decoded: Any, calls: Sequence[ToolCall]) -> Iterable[Put]:
    """The reason for stopping, where it named calls and none is left."""
    left = [c for c in calls if c.where.startswith("response.content[")]
    content = decoded.get("content") if isinstance(decoded, dict) else None
    if left and isinstance(content, list):
        uses = sum(isinstance(b, dict) and b.get("type") == "tool_use" for b in content)
        if uses <= len(left) and decoded.get("stop_reason") == "tool_use":
            yield Put("response.stop_reason", b'"end_turn"')
    left = [c for c in calls if c.where.startswith("response.output.message.content[")]
    if left and isinstance(decoded, dict) and decoded.get("stopReason") == "tool_use":
        blocks = at(decoded, "response.output.message.content")
        if sum(isinstance(block, dict) and "toolUse" in block for block in blocks) <= len(left):
            yield Put("response.stopReason", b'"end_turn"')
