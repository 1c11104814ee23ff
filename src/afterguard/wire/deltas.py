"""Streamed replies put together: pieces of any provider's stream -> one whole reply in the provider's own shape.

In: decoded JSON events in order. Out: pieces in a `Parts`, through the same readers that take whole replies. It does not frame
bytes (sse.py, ndjson.py do) and does not judge.

Theory of operation: every provider streams the same four things under different names: texts, reasoning, calls whose arguments
come as pieces of a JSON string, and usage. State is kept per choice, output item or block index, because several grow at once.
At the end the state is written as the reply the provider would have sent unstreamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from afterguard.wire import anthropic, bedrock, gemini, openai
from afterguard.wire.growing import Blocks, Choices, Items
from afterguard.wire.parts import Parts, text_of

ANTHROPIC = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
}
CONVERSE = ("messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop")
CAP = 32 << 20
"""Characters of one streamed reply that are kept."""


def kind_of(event: Any) -> str:
    """Which stream an event belongs to: openai responses anthropic converse gemini ollama text, "" for none."""
    if not isinstance(event, dict):
        return ""
    kind = event.get("type")
    if isinstance(kind, str):
        if kind in ANTHROPIC or (kind == "completion" and "completion" in event):
            return "anthropic"
        if kind.startswith("response."):
            return "responses"
    if event.get("object") in ("chat.completion.chunk", "text_completion.chunk"):
        return "openai"
    if isinstance(event.get("choices"), list) and _is_delta(event["choices"]):
        return "openai"
    if any(key in event for key in CONVERSE):
        return "converse"
    if isinstance(event.get("done"), bool) and ("message" in event or "response" in event):
        return "ollama"
    return ""


def _is_delta(choices: list[Any]) -> bool:
    return any(isinstance(choice, dict) and "delta" in choice and "message" not in choice for choice in choices[:4])


class Deltas:
    """State of one streamed reply."""

    def __init__(self) -> None:
        self.kind = ""
        self.id = ""
        self.model = ""
        self.usage: dict[str, Any] = {}
        self.choices = Choices(CAP)
        self.items = Items(CAP)
        self.blocks = Blocks(CAP)
        self.candidates: list[dict[str, Any]] = []
        self.plain: list[str] = []
        self.size = 0
        self.is_done = False
        self.errors = 0

    @property
    def cut(self) -> int:
        """Characters dropped by the cap."""
        return self.choices.cut + self.items.cut + self.blocks.cut

    def begins_anew(self, event: dict[str, Any]) -> bool:
        """Whether this event belongs to the next reply of a capture that holds several."""
        kind = kind_of(event)
        if self.is_done or (kind and self.kind and kind != self.kind):
            return bool(self.kind)
        if event.get("type") in ("message_start", "response.created") and self.kind:
            return True
        identifier = event.get("id")
        return kind == "openai" and isinstance(identifier, str) and bool(self.id) and identifier not in ("", self.id)

    def feed(self, event: Any) -> bool:
        """Take one event; False when it belongs to no known stream."""
        kind = kind_of(event) or (self.kind if self.kind in ("gemini", "plain") else "")
        if not kind and self.kind == "converse" and isinstance(event, dict) and "metadata" in event:
            kind = "converse"
        if not kind:
            return self._whole(event)
        self.kind = self.kind or kind
        if kind == "openai":
            self._openai(event)
        elif kind == "responses":
            self._responses(event)
        elif kind in ("anthropic", "converse"):
            self._blocks(event, kind)
        elif kind == "ollama":
            self._ollama(event)
        else:
            return self._whole(event)
        return True

    def say(self, text: str) -> None:
        """Data of a stream that was not JSON: text to look at, not to skip."""
        if text.strip() and text.strip() != "[DONE]" and self.size < CAP:
            self.plain.append(text)
            self.size += len(text)
        if text.strip() == "[DONE]":
            self.is_done = True

    def grow(self, pieces: Iterable[str]) -> None:
        """Pieces of the reply as somebody else read them, blanks included."""
        for piece in pieces:
            if self.size < CAP:
                self.plain.append(piece)
                self.size += len(piece)

    def _openai(self, event: dict[str, Any]) -> None:
        self.id = self.id or text_of(event.get("id"))
        self.model = text_of(event.get("model")) or self.model
        self._count(event.get("usage"))
        self.choices.feed(event.get("choices"))

    def _responses(self, event: dict[str, Any]) -> None:
        inner = event.get("response")
        if isinstance(inner, dict):
            self.id = self.id or text_of(inner.get("id"))
            self.model = text_of(inner.get("model")) or self.model
            self._count(inner.get("usage"))
        self.items.feed(event)
        self.is_done = event["type"] in ("response.completed", "response.failed", "response.incomplete")

    def _blocks(self, event: dict[str, Any], kind: str) -> None:
        message = event.get("message")
        if isinstance(message, dict):
            self.id = text_of(message.get("id"))
            self.model = text_of(message.get("model")) or self.model
            self._count(message.get("usage"))
        self._count(event.get("usage"))
        metadata = event.get("metadata")
        if isinstance(metadata, dict):
            self._count(metadata.get("usage"))
        self.blocks.feed(event)
        self.is_done = event.get("type") == "message_stop"

    def _ollama(self, event: dict[str, Any]) -> None:
        self.model = text_of(event.get("model")) or self.model
        self._count(event)
        message = event.get("message")
        delta = (
            message
            if isinstance(message, dict)
            else {"content": event.get("response"), "reasoning": event.get("thinking")}
        )
        self.choices.feed([{"index": 0, "delta": delta}])
        self.is_done = event["done"] is True

    def _whole(self, event: Any) -> bool:
        """Events that are replies by themselves (Gemini) or carry a piece of text under a known name."""
        if not isinstance(event, dict):
            return False
        if isinstance(event.get("candidates"), list) or "usageMetadata" in event:
            self.kind = self.kind or "gemini"
            self.model = text_of(event.get("modelVersion")) or self.model
            self._count(event.get("usageMetadata"))
            if len(self.candidates) < 200_000:
                self.candidates.append(event)
            return True
        for key in ("outputText", "generation", "completion", "text", "delta", "token", "content"):
            if isinstance(event.get(key), str):
                self.kind = self.kind or "plain"
                if self.size < CAP:
                    self.plain.append(event[key])
                    self.size += len(event[key])
                return True
        if "error" in event:
            self.errors += 1
            return True
        return False

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.usage.update((key, value) for key, value in list(usage.items())[:40] if value is not None)

    def into(self, parts: Parts, where: str = "response") -> bool:
        """Write what was said into `parts`; False when nothing was."""
        parts.model = parts.model or self.model
        openai.usage(self.usage, parts)
        seen = False
        if self.choices.seen:
            seen = openai.response({"choices": self.choices.whole()}, parts, where)
        if self.items.seen:
            seen = openai.response({"object": "response", "output": self.items.whole()}, parts, where) or seen
        if self.blocks.seen:
            seen = anthropic.response({"type": "message", "content": self.blocks.whole()}, parts, where) or seen
        if self.candidates:
            seen = gemini.response(_merged(self.candidates), parts, where) or seen
        if self.plain:
            seen = bedrock.response({"text": "".join(self.plain)}, parts, where) or seen
        if self.cut:
            parts.skip("too_long", where, self.cut)
        return seen


def _merged(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """One Gemini reply: parts per candidate in order, neighbouring texts of one kind joined."""
    grown: dict[int, list[Any]] = {}
    for chunk in chunks:
        for place, candidate in enumerate(chunk.get("candidates") or ()):
            inner = candidate.get("content") if isinstance(candidate, dict) else None
            found = inner.get("parts") if isinstance(inner, dict) else None
            index = candidate.get("index", place) if isinstance(candidate, dict) else place
            if isinstance(found, list) and isinstance(index, int) and (index in grown or len(grown) < 128):
                grown.setdefault(index, []).extend(found)
    return {"candidates": [{"content": {"parts": _joined(found)}} for found in grown.values()]}


def _joined(found: list[Any]) -> list[Any]:
    out: list[Any] = []
    pieces: list[str] = []
    thought = False
    for part in found:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            if pieces and bool(part.get("thought")) != thought:
                out.append({"text": "".join(pieces), "thought": thought})
                pieces = []
            thought = bool(part.get("thought"))
            pieces.append(part["text"])
        else:
            if pieces:
                out.append({"text": "".join(pieces), "thought": thought})
                pieces = []
            out.append(part)
    return [*out, {"text": "".join(pieces), "thought": thought}] if pieces else out
