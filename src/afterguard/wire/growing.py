"""What grows in a stream: choices of a chat, items of the Responses API, content blocks of Anthropic and Converse.

In: the delta objects. Out: `whole()`, the same things in the unstreamed shape. Each caps what it keeps and counts what it cut.
"""

from __future__ import annotations

from typing import Any

import msgspec

from afterguard.wire.parts import text_of

SLOTS = 2_000
"""Choices, items, blocks or calls of one stream."""


class Grown:
    """Strings that grow by name, under one cap for all."""

    __slots__ = ("cap", "cut", "strings")

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self.cut = 0
        self.strings: dict[Any, list[str]] = {}

    def add(self, name: Any, piece: Any) -> None:
        """Append a piece; anything but a string is ignored."""
        if not isinstance(piece, str) or not piece:
            return
        if len(piece) > self.cap:
            self.cut += len(piece)
            return
        self.cap -= len(piece)
        self.strings.setdefault(name, []).append(piece)

    def get(self, name: Any) -> str:
        """What has grown under a name."""
        return "".join(self.strings.get(name, ()))


def place(value: Any) -> int:
    """An index as sent, 0 where it is missing or no number."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else 0


class Choices:
    """OpenAI chat and legacy completion chunks, and Ollama's; several choices may grow at once."""

    def __init__(self, cap: int) -> None:
        self.grown = Grown(cap)
        self.calls: dict[int, list[dict[str, Any]]] = {}
        self.slots: dict[tuple[int, int], int] = {}
        self.indexes: list[int] = []
        self.legacy: set[int] = set()

    @property
    def cut(self) -> int:
        """Characters dropped by the cap."""
        return self.grown.cut

    @property
    def seen(self) -> bool:
        """Whether any choice was streamed."""
        return bool(self.indexes)

    def feed(self, choices: Any) -> None:
        """The `choices` of one chunk."""
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            index = place(choice.get("index"))
            if index not in self.calls:
                if len(self.indexes) >= SLOTS:
                    continue
                self.indexes.append(index)
                self.calls[index] = []
            self.grown.add((index, "content"), choice.get("text"))
            delta = choice.get("delta") or choice.get("message")
            if isinstance(delta, dict):
                self._delta(index, delta)

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        content = delta.get("content")
        if isinstance(content, list):
            content = "".join(text_of(part.get("text")) for part in content if isinstance(part, dict))
        self.grown.add((index, "content"), content)
        self.grown.add((index, "refusal"), delta.get("refusal"))
        for key in ("reasoning_content", "reasoning", "thinking"):
            if delta.get(key):
                self.grown.add((index, "reasoning_content"), delta[key])
                break
        found = delta.get("tool_calls")
        for order, call in enumerate(found if isinstance(found, list) else ()):
            if isinstance(call, dict):
                self._call(index, call, order)
        if isinstance(delta.get("function_call"), dict):
            self._call(index, {"index": -1, "function": delta["function_call"]}, 0)

    def _call(self, index: int, call: dict[str, Any], order: int) -> None:
        """A piece of a call. The id may come once, never, or several calls may share index 0 with ids that differ."""
        calls = self.calls[index]
        function = call.get("function") if isinstance(call.get("function"), dict) else {}
        assert isinstance(function, dict)
        identifier, name = text_of(call.get("id")), text_of(function.get("name"))
        number = call.get("index")
        number = number if isinstance(number, int) else order
        slot = self.slots.get((index, number))
        starts_other = (
            slot is not None and bool(identifier) and bool(calls[slot]["id"]) and calls[slot]["id"] != identifier
        )
        if slot is None or starts_other:
            if len(calls) >= SLOTS:
                return
            slot = self.slots[(index, number)] = len(calls)
            calls.append({"id": identifier, "name": name})
        elif name and name != calls[slot]["name"]:
            calls[slot]["name"] += name
        calls[slot]["id"] = calls[slot]["id"] or identifier
        given = function.get("arguments")
        if isinstance(given, dict):
            given = msgspec.json.encode(given).decode()
        self.grown.add((index, "call", slot), given)

    def whole(self) -> list[dict[str, Any]]:
        """The choices of the unstreamed reply."""
        return [{"index": index, "message": self._message(index)} for index in self.indexes]

    def _message(self, index: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant"}
        for key in ("content", "refusal", "reasoning_content"):
            message[key] = self.grown.get((index, key))
        message["tool_calls"] = [
            {"id": call["id"], "function": {"name": call["name"], "arguments": self.grown.get((index, "call", slot))}}
            for slot, call in enumerate(self.calls[index])
        ]
        return message


class Items:
    """Output items of the Responses API. A finished item, or the finished response, wins over its deltas."""

    def __init__(self, cap: int) -> None:
        self.grown = Grown(cap)
        self.started: dict[int, dict[str, Any]] = {}
        self.finished: dict[int, dict[str, Any]] = {}
        self.response: list[Any] = []

    @property
    def cut(self) -> int:
        """Characters dropped by the cap."""
        return self.grown.cut

    @property
    def seen(self) -> bool:
        """Whether any output was streamed."""
        return bool(self.started or self.finished or self.response or self.grown.strings)

    def feed(self, event: dict[str, Any]) -> None:
        """One event whose type begins with "response."."""
        kind = event["type"]
        index = place(event.get("output_index"))
        item = event.get("item")
        inner = event.get("response")
        if isinstance(inner, dict) and isinstance(inner.get("output"), list) and inner["output"]:
            self.response = inner["output"]
        elif isinstance(item, dict) and len(self.started) < SLOTS:
            (self.finished if kind.endswith(".done") else self.started)[index] = item
        elif kind.endswith(".delta"):
            role = "arguments" if "arguments" in kind or "input" in kind or "code" in kind else "text"
            role = "reasoning" if "reasoning" in kind else "refusal" if "refusal" in kind else role
            if len(self.grown.strings) < SLOTS:
                self.grown.add((index, role, place(event.get("content_index"))), event.get("delta"))

    def whole(self) -> list[Any]:
        """The output of the unstreamed reply."""
        if self.response:
            return self.response
        indexes = sorted({*self.started, *self.finished, *(name[0] for name in self.grown.strings)})
        return [self.finished.get(index) or self._unfinished(index) for index in indexes]

    def _unfinished(self, index: int) -> dict[str, Any]:
        item = dict(self.started.get(index) or {"type": "message", "role": "assistant"})
        names = [name for name in self.grown.strings if name[0] == index]
        for name in names:
            if name[1] == "arguments":
                item["arguments"] = self.grown.get(name)
        said = [{"type": "output_text", "text": self.grown.get(name)} for name in names if name[1] != "arguments"]
        return {**item, "content": said} if said else item


class Blocks:
    """Content blocks of Anthropic's and Bedrock Converse's streams, by index."""

    def __init__(self, cap: int) -> None:
        self.grown = Grown(cap)
        self.started: dict[int, dict[str, Any]] = {}

    @property
    def cut(self) -> int:
        """Characters dropped by the cap."""
        return self.grown.cut

    @property
    def seen(self) -> bool:
        """Whether any block was streamed."""
        return bool(self.started)

    def feed(self, event: dict[str, Any]) -> None:
        """One event of either stream."""
        if isinstance(event.get("completion"), str):
            self._open(0, {"type": "text"})
            self.grown.add((0, "text"), event["completion"])
        for key in ("contentBlockStart", "contentBlockDelta"):
            if isinstance(event.get(key), dict):
                self._converse(event[key])
        index = place(event.get("index"))
        block, delta = event.get("content_block"), event.get("delta")
        if isinstance(block, dict):
            self._open(index, block)
            self.grown.add((index, "text"), block.get("text"))
            self.grown.add((index, "thinking"), block.get("thinking"))
        elif isinstance(delta, dict) and event.get("type") == "content_block_delta":
            self._open(
                index,
                {"type": "thinking" if "thinking" in delta else "tool_use" if "partial_json" in delta else "text"},
            )
            for key in ("text", "thinking", "partial_json"):
                self.grown.add((index, key), delta.get(key))

    def _open(self, index: int, block: dict[str, Any]) -> None:
        if index not in self.started and len(self.started) < SLOTS:
            self.started[index] = block

    def _converse(self, event: dict[str, Any]) -> None:
        index = place(event.get("contentBlockIndex"))
        start, delta = event.get("start"), event.get("delta")
        use = start.get("toolUse") if isinstance(start, dict) else None
        if isinstance(use, dict):
            self._open(index, {"type": "tool_use", "name": use.get("name"), "id": use.get("toolUseId")})
        if not isinstance(delta, dict):
            return
        thought, use = delta.get("reasoningContent"), delta.get("toolUse")
        self._open(index, {"type": "thinking" if thought else "tool_use" if use else "text"})
        self.grown.add((index, "text"), delta.get("text"))
        if isinstance(thought, dict):
            self.grown.add((index, "thinking"), thought.get("text"))
        if isinstance(use, dict):
            self.grown.add((index, "partial_json"), use.get("input"))

    def whole(self) -> list[dict[str, Any]]:
        """The content of the unstreamed reply."""
        out = []
        for index, block in sorted(self.started.items()):
            grown = {key: self.grown.get((index, key)) for key in ("text", "thinking", "partial_json")}
            block = dict(block)
            if grown["partial_json"]:
                block["input"] = grown["partial_json"]
            for key in ("text", "thinking"):
                if grown[key]:
                    block[key] = grown[key]
            out.append(block)
        return out
