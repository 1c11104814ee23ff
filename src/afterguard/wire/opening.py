"""What stands open in a stream that has been given to a client, so that it can be ended legally at any moment.

In: decoded events in the order in which they leave. Out: refusal.Opened. It judges nothing and keeps no more text than a Responses stream has to repeat.
"""

from __future__ import annotations

from typing import Any

from afterguard.wire.refusal import Opened, Slot

SLOTS = 200
TEXT = 200_000
"""Characters of one item that are kept; more cannot be repeated at its end."""


class Opening:
    """State of one stream. `feed` costs next to nothing for events that only add text."""

    def __init__(self, dialect: str, is_array: bool = False, request_id: Any = None) -> None:
        self.dialect = dialect
        self.is_array = is_array
        self.request_id = request_id
        self.id = self.model = ""
        self.created = self.sequence = self.output_tokens = 0
        self.is_legacy = self.is_begun = False
        self.slots: dict[int, Slot] = {}
        self.texts: dict[int, list[str]] = {}
        self._read = READERS.get(dialect)

    def feed(self, event: Any) -> None:
        """An event left."""
        self.is_begun = True
        if self._read is not None and isinstance(event, dict):
            self._read(self, event)

    def opened(self) -> Opened:
        """Where the stream stands."""
        slots = [slot._replace(text="".join(self.texts.get(key, ()))) for key, slot in self.slots.items()]
        return Opened(
            self.id, self.model, self.created, tuple(slots), self.sequence, self.is_legacy, self.is_array, self.is_begun,
            self.request_id, self.output_tokens,
        )  # fmt: skip

    def open(self, slot: Slot) -> None:
        """A slot begins."""
        if len(self.slots) < SLOTS:
            self.slots[slot.index] = slot

    def name(self, event: dict[str, Any]) -> None:
        """Id, model and time of the reply, where this event says them."""
        if not self.id:
            identifier, model, created = (
                event.get("id") or event.get("responseId"),
                event.get("model"),
                event.get("created"),
            )
            self.id = identifier if isinstance(identifier, str) else ""
            self.model = model if isinstance(model, str) else ""
            self.created = created if isinstance(created, int) else 0


def _index(value: Any, default: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else default


def _choices(state: Opening, event: dict[str, Any]) -> None:
    state.name(event)
    if event.get("object") == "text_completion":
        state.is_legacy = True
    choices = event.get("choices")
    for place, choice in enumerate(choices if isinstance(choices, list) else ()):
        if isinstance(choice, dict):
            index = _index(choice.get("index"), place)
            if choice.get("finish_reason"):
                state.slots.pop(index, None)
            elif index not in state.slots:
                state.open(Slot("choice", index))


def _candidates(state: Opening, event: dict[str, Any]) -> None:
    state.name(event)
    candidates = event.get("candidates")
    for place, one in enumerate(candidates if isinstance(candidates, list) else ()):
        if isinstance(one, dict):
            index = _index(one.get("index"), place)
            if one.get("finishReason"):
                state.slots.pop(index, None)
            elif index not in state.slots:
                state.open(Slot("choice", index))


def _messages(state: Opening, event: dict[str, Any]) -> None:
    kind = event.get("type")
    if kind == "content_block_start":
        block = event.get("content_block")
        named = block.get("type") if isinstance(block, dict) else None
        known = named if named in ("text", "thinking", "tool_use") else "text"
        state.open(Slot(str(known), _index(event.get("index"))))
    elif kind == "content_block_stop":
        state.slots.pop(_index(event.get("index")), None)
    elif kind == "message_start" and isinstance(event.get("message"), dict):
        state.name(event["message"])
    elif kind == "message_delta" and isinstance(event.get("usage"), dict):
        state.output_tokens = _index(event["usage"].get("output_tokens"))


def _converse(state: Opening, event: dict[str, Any]) -> None:
    for key, body in event.items():
        if not isinstance(body, dict):
            continue
        index = _index(body.get("contentBlockIndex"))
        if key in ("contentBlockStart", "contentBlockDelta") and index not in state.slots:
            state.open(Slot("text", index))
        elif key == "contentBlockStop":
            state.slots.pop(index, None)
    index = _index(event.get("contentBlockIndex"), -1)
    if index >= 0:
        if "delta" in event or "start" in event:
            state.open(Slot("text", index))
        else:
            state.slots.pop(index, None)


ITEMS = {"message": "message", "reasoning": "reasoning", "function_call": "call", "custom_tool_call": "call"}


def _items(state: Opening, event: dict[str, Any]) -> None:
    kind = event.get("type")
    state.sequence = _index(event.get("sequence_number"), state.sequence) + 1
    index = _index(event.get("output_index"))
    if kind == "response.output_text.delta":
        rows = state.texts.setdefault(index, [])
        piece = event.get("delta")
        if isinstance(piece, str) and len(rows) < TEXT:
            rows.append(piece)
    elif kind == "response.output_item.added" and isinstance(event.get("item"), dict):
        item = event["item"]
        named = ITEMS.get(str(item.get("type")), "message")
        state.open(Slot(named, index, -1, str(item.get("id") or ""), "", str(item.get("name") or "")))
    elif kind == "response.output_item.done":
        state.slots.pop(index, None)
        state.texts.pop(index, None)
    elif kind == "response.content_part.added" and index in state.slots:
        state.slots[index] = state.slots[index]._replace(part=_index(event.get("content_index")))
    elif kind == "response.content_part.done" and index in state.slots:
        state.slots[index] = state.slots[index]._replace(part=-1)
    elif isinstance(event.get("response"), dict):
        inner = event["response"]
        state.name({**inner, "created": inner.get("created_at")})


def _ollama(state: Opening, event: dict[str, Any]) -> None:
    state.name({"id": "ollama", **event})


READERS = {
    "openai": _choices,
    "responses": _items,
    "anthropic": _messages,
    "gemini": _candidates,
    "converse": _converse,
    "invoke": _messages,
    "ollama": _ollama,
}
