"""A sentence of the guard's own in a stream that would otherwise end without a word, because every call in it was taken out.

In: the dialect, what stands open, the sentence. Out: bytes to send before the end of the stream; b"" for a dialect in which that cannot be said. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from afterguard.wire.refusal import Opened, event


def spoken(dialect: str, opened: Opened, says: str) -> bytes:
    """The sentence as the model's own text would come."""
    writer = WRITERS.get(dialect)
    return writer(opened, says) if writer else b""


def whole(says: str) -> bytes:
    """The output of a Responses reply that holds the sentence alone, as its last event repeats it."""
    return msgspec.json.encode([_item(says)])


def _item(says: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": says, "annotations": []}
    return {"type": "message", "id": "msg_afterguard", "role": "assistant", "status": "completed", "content": [part]}


def _data(value: Any, name: str = "") -> bytes:
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + msgspec.json.encode(value) + b"\n\n"


def _next(opened: Opened) -> int:
    return max((slot.index for slot in opened.slots), default=-1) + 1


def _chat(opened: Opened, says: str) -> bytes:
    choice = {"index": 0, "delta": {"content": says}, "logprobs": None, "finish_reason": None}
    return _data(
        {
            "id": opened.id,
            "object": "chat.completion.chunk",
            "created": opened.created,
            "model": opened.model,
            "choices": [choice],
        }
    )


def _messages(opened: Opened, says: str) -> bytes:
    index = _next(opened)
    rows: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": says}},
        {"type": "content_block_stop", "index": index},
    ]
    return b"".join(_data(row, row["type"]) for row in rows)


def _responses(opened: Opened, says: str) -> bytes:
    index = _next(opened)
    item = _item(says)
    part = item["content"][0]
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    rows: list[dict[str, Any]] = [
        {"type": "response.output_item.added", "output_index": index, "item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": says, "logprobs": []},
        {"type": "response.output_text.done", **place, "text": says, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": index, "item": item},
    ]  # fmt: skip
    return b"".join(
        _data({**row, "sequence_number": opened.sequence + number}, row["type"]) for number, row in enumerate(rows)
    )


def _gemini(opened: Opened, says: str) -> bytes:
    if opened.is_array:
        return b""
    candidate = {"content": {"role": "model", "parts": [{"text": says}]}, "index": 0}
    return b"data: " + msgspec.json.encode({"candidates": [candidate]}) + b"\r\n\r\n"


def _converse(opened: Opened, says: str) -> bytes:
    index = _next(opened)
    delta = {"contentBlockIndex": index, "delta": {"text": says}}
    return event("contentBlockDelta", delta) + event("contentBlockStop", {"contentBlockIndex": index})


def _ollama(opened: Opened, says: str) -> bytes:
    message = {"role": "assistant", "content": says}
    return msgspec.json.encode({"model": opened.model, "message": message, "done": False}) + b"\n"


WRITERS: dict[str, Callable[[Opened, str], bytes]] = {
    "openai": _chat, "anthropic": _messages, "responses": _responses, "gemini": _gemini, "converse": _converse, "ollama": _ollama,
}  # fmt: skip
