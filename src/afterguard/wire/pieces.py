"""What one event of a streamed reply says: which strings grow by it, which calls open, what ends.

In: decoded JSON events in order. Out: `Said` filled with pieces and places. It frames no bytes and changes nothing.

Theory of operation: each provider has a small reader with the state that later events need (which call an index
stands for, which block is a call). Slots name what grows: `choice:0`, `choice:0/call:1`, `block:2`, `item:msg_1/0`,
`candidate:0`, `message`. A string that repeats what was already streamed (the Responses API says every text up to
four times) is a repeat, not a piece: it adds nothing to its slot but must get the same edits. Indexes beyond a cap
share the last slot, so that text is never skipped and memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from afterguard.wire.deltas import kind_of
from afterguard.wire.growing import SLOTS, place
from afterguard.wire.parts import dumps, text_of

TEXT, REASONING, REFUSAL, ARGUMENTS, OPAQUE = "text", "reasoning", "refusal", "arguments", "opaque"
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
CLIENT_CALLS = frozenset(
    (
        "function_call",
        "custom_tool_call",
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "mcp_approval_request",
    )
)
"""Items of the Responses API that the client carries out. Others ran inside the provider, so taking them out
protects nobody."""
PLAIN_KEYS = ("outputText", "generation", "completion", "text", "delta", "content", "response", "answer", "output")


class Piece(NamedTuple):
    """A string in a frame. `where` is its place in the frame's decoded JSON, "" where the data is the text itself."""

    slot: str
    kind: str
    """text reasoning refusal arguments opaque; opaque (signatures, encrypted reasoning) is never changed."""
    text: str
    where: str


class Said(msgspec.Struct):
    """What one event says. Everything but the event is empty for most events."""

    event: Any
    name: str = ""
    """The event's type beside its data: SSE's `event:`, Bedrock's `:event-type`."""
    pieces: list[Piece] = []
    repeats: list[Piece] = []
    """Whole strings that an earlier event already gave in pieces."""
    opens: list[tuple[str, str, str]] = []
    """Calls that begin: (slot, name, id)."""
    closes: list[str] = []
    """Slots that end with this event."""
    calls: list[tuple[str, str]] = []
    """(slot, place): what goes when the call is taken out; place "" is the whole frame."""
    groups: list[tuple[str, int, bool]] = []
    """(place of a list of calls, its length, whether the frame says nothing else)."""
    stops: list[tuple[str, str, str]] = []
    """(prefix of slots, place, text): the reason for stopping where it names calls, and what it is with none left."""
    numbers: list[tuple[str, str, int]] = []
    """(prefix of slots, place, index): indexes that must stay without gaps when a call is taken out."""
    echoes: list[tuple[str, bytes]] = []
    """(place, JSON): spells the text token by token (logprobs) and goes when the text is changed."""
    is_end: bool = False
    is_text: bool = False
    """The data is not JSON: `event` is its text."""


class Reader(Protocol):
    """Reads events of one dialect; False when an event has none of its shapes."""

    def read(self, said: Said) -> bool: ...


def _dicts(value: Any) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a list with their indexes."""
    return [(n, item) for n, item in enumerate(value) if type(item) is dict] if type(value) is list else []


class Chat:
    """OpenAI chat and legacy completion chunks."""

    __slots__ = ("calls", "current", "ids", "slots", "total")

    def __init__(self) -> None:
        self.calls: dict[tuple[int, int], str] = {}
        self.ids: dict[str, str] = {}
        self.current: dict[int, str] = {}
        self.slots: dict[int, dict[str, str]] = {}
        self.total = 0

    def read(self, said: Said) -> bool:
        event = said.event
        choices = event.get("choices")
        if type(choices) is not list:
            return "error" in event or "usage" in event
        for n, choice in enumerate(choices):
            if type(choice) is dict:
                self._choice(said, n, choice, len(choices) == 1 and not event.get("usage"))
        return True

    def _choice(self, said: Said, n: int, choice: dict[str, Any], is_alone: bool) -> None:
        index = min(place(choice.get("index")), SLOTS)
        where = f".choices[{n}]"
        owner = f"choice:{index}"
        delta = choice.get("delta")
        at = where + ".delta"
        if delta is None:
            delta, at = choice.get("message"), where + ".message"
        reason = choice.get("finish_reason")
        if type(delta) is dict:
            if len(delta) > 1 or "content" not in delta:
                # Thoughts first: text that comes with them ends them.
                self._more(said, index, owner, delta, at, is_alone and not reason)
            content = delta.get("content")
            if type(content) is str:
                if content:
                    self._grow(said, index, owner, TEXT, content, at + ".content")
            elif content:
                self._parts(said, index, owner, content, at + ".content")
        text = choice.get("text")
        if type(text) is str and text:
            self._grow(said, index, owner, TEXT, text, where + ".text")
        if choice.get("logprobs"):
            said.echoes.append((where + ".logprobs", b"null"))
        if type(reason) is str and reason:
            said.closes.extend(self.slots.pop(index, ()))
            self.current.pop(index, None)
            if reason in ("tool_calls", "function_call"):
                said.stops.append((owner + "/", where + ".finish_reason", "stop"))

    def _grow(self, said: Said, index: int, slot: str, kind: str, text: str, where: str) -> None:
        slots = self.slots.get(index)
        if slots is None:
            slots = self.slots[index] = {}
        if slot not in slots:
            slots[slot] = kind
        if kind == TEXT and len(slots) > 1:
            _end_thoughts(said, slots)
        said.pieces.append(Piece(slot, kind, text, where))

    def _parts(self, said: Said, index: int, owner: str, content: Any, where: str) -> None:
        """Content as a list of parts (Mistral): texts and thoughts."""
        for n, part in _dicts(content):
            if type(part.get("text")) is str and part["text"]:
                self._grow(said, index, owner, TEXT, part["text"], f"{where}[{n}].text")
            for m, inner in _dicts(part.get("thinking")):
                if type(inner.get("text")) is str and inner["text"]:
                    slot = owner + "/thinking"
                    self._grow(said, index, slot, REASONING, inner["text"], f"{where}[{n}].thinking[{m}].text")

    def _more(self, said: Said, index: int, owner: str, delta: dict[str, Any], at: str, is_alone: bool) -> None:
        for key in THOUGHTS:
            value = delta.get(key)
            if type(value) is str and value:
                self._grow(said, index, f"{owner}/{key}", REASONING, value, f"{at}.{key}")
        for key in ("reasoning_details", "thinking_blocks"):
            if key in delta:
                self._details(said, index, f"{owner}/{key}", delta[key], f"{at}.{key}")
        refusal = delta.get("refusal")
        if type(refusal) is str and refusal:
            self._grow(said, index, owner + "/refusal", REFUSAL, refusal, at + ".refusal")
        audio = delta.get("audio")
        if type(audio) is dict and type(audio.get("transcript")) is str and audio["transcript"]:
            self._grow(said, index, owner + "/audio", TEXT, audio["transcript"], at + ".audio.transcript")
        found = delta.get("tool_calls")
        if type(found) is list and found:
            for n, call in _dicts(found):
                self._call(said, index, owner, call, n, f"{at}.tool_calls[{n}]")
            is_bare = is_alone and not any(delta.get(key) for key in delta if key != "tool_calls")
            said.groups.append((at + ".tool_calls", len(found), is_bare))
        if type(delta.get("function_call")) is dict:
            call = {"index": -1, "function": delta["function_call"]}
            self._call(said, index, owner, call, 0, at + ".function_call", at + ".function_call")

    def _details(self, said: Said, index: int, slot: str, value: Any, where: str) -> None:
        for n, item in _dicts(value):
            for key in ("text", "summary", "thinking"):
                if type(item.get(key)) is str and item[key]:
                    self._grow(said, index, slot, REASONING, item[key], f"{where}[{n}].{key}")
            for key in ("signature", "data"):
                if type(item.get(key)) is str and item[key]:
                    said.pieces.append(Piece(slot, OPAQUE, item[key], f"{where}[{n}].{key}"))

    def _call(
        self, said: Said, index: int, owner: str, call: dict[str, Any], order: int, where: str, inner: str = ""
    ) -> None:
        """A piece of a call. The id may come once, never, or several calls may share index 0 with ids that differ."""
        key = "custom" if type(call.get("custom")) is dict else "function"
        function = call.get(key)
        function = function if type(function) is dict else {}
        identifier, name = text_of(call.get("id")), text_of(function.get("name"))
        given_number = call.get("index")
        is_numbered = isinstance(given_number, int)
        number: int = given_number if isinstance(given_number, int) else order
        slot = self.calls.get((index, number))
        other = slot is not None and bool(identifier) and bool(self.ids[slot]) and self.ids[slot] != identifier
        if slot is None or other or (name and not is_numbered):
            slot = f"{owner}/call:{min(self.total, SLOTS)}"
            self.total += 1
            if self.total <= SLOTS:
                self.calls[(index, number)] = slot
            self.ids[slot] = identifier
            before = self.current.get(index)
            if before and before != slot:
                said.closes.append(before)
            self.current[index] = slot
            said.opens.append((slot, name, identifier))
            self.slots.setdefault(index, {})[slot] = ARGUMENTS
        self.ids[slot] = self.ids[slot] or identifier
        said.calls.append((slot, where))
        if is_numbered and number >= 0:
            said.numbers.append((owner + "/", where + ".index", number))
        given = function.get("input" if key == "custom" else "arguments")
        if given:
            place_ = (inner or f"{where}.{key}") + (".input" if key == "custom" else ".arguments")
            text = given if type(given) is str else dumps(given)
            said.pieces.append(Piece(slot, ARGUMENTS, text, place_))


def _end_thoughts(said: Said, slots: dict[str, str]) -> None:
    """Reasoning ends where the answer begins; otherwise its last word would hold back the whole answer."""
    for slot in [slot for slot, kind in slots.items() if kind == REASONING]:
        said.closes.append(slot)
        del slots[slot]


class Messages:
    """Anthropic's events, and Converse's with the event's type beside them."""

    __slots__ = ("blocks",)

    def __init__(self) -> None:
        self.blocks: dict[int, str] = {}

    def read(self, said: Said) -> bool:
        event = said.event
        kind = event.get("type")
        if kind == "content_block_delta":
            self._delta(said, event)
        elif kind == "content_block_start":
            self._start(said, event)
        elif kind == "content_block_stop":
            self._stop(said, event, ".index", event.get("index"))
        elif kind == "message_delta":
            delta = event.get("delta")
            if type(delta) is dict and delta.get("stop_reason") == "tool_use":
                said.stops.append(("block:", ".delta.stop_reason", "end_turn"))
        elif kind == "message_stop" or kind == "error":
            said.is_end = True
        elif kind == "completion" or type(event.get("completion")) is str:
            if text_of(event.get("completion")):
                said.pieces.append(Piece("message", TEXT, event["completion"], ".completion"))
            if event.get("stop_reason"):
                said.closes.append("message")
        else:
            return kind in ("message_start", "ping")
        return True

    def _number(self, said: Said, index: Any, where: str) -> int:
        number = min(place(index), SLOTS)
        said.numbers.append(("block:", where, number))
        if self.blocks.get(number) == "call":
            said.calls.append((f"block:{number}", ""))
        return number

    def _start(self, said: Said, event: dict[str, Any]) -> None:
        block = event.get("content_block")
        block = block if type(block) is dict else {}
        number = min(place(event.get("index")), SLOTS)
        kind = text_of(block.get("type"))
        slot = f"block:{number}"
        if kind == "tool_use":
            self.blocks[number] = "call"
            said.opens.append((slot, text_of(block.get("name")), text_of(block.get("id"))))
        self._number(said, number, ".index")
        if block.get("input"):
            said.pieces.append(Piece(slot, ARGUMENTS, _json(block["input"]), ".content_block.input"))
        for key, what in (("text", TEXT), ("thinking", REASONING), ("data", OPAQUE), ("signature", OPAQUE)):
            if type(block.get(key)) is str and block[key]:
                said.pieces.append(Piece(slot, what, block[key], ".content_block." + key))
        for n, part in _dicts(block.get("content")):
            _once(said, f"{slot}/{n}", part, f".content_block.content[{n}]", ("text", "title", "url"))

    def _delta(self, said: Said, event: dict[str, Any]) -> None:
        number = self._number(said, event.get("index"), ".index")
        delta = event.get("delta")
        if type(delta) is not dict:
            return
        slot = f"block:{number}"
        for key, kind in BLOCK_DELTAS:
            text = delta.get(key)
            if type(text) is str and text:
                said.pieces.append(Piece(slot, kind, text, ".delta." + key))
        cited = delta.get("citation")
        if type(cited) is dict:
            _once(said, slot + "/citation", cited, ".delta.citation", ("cited_text", "document_title", "title", "url"))

    def _stop(self, said: Said, event: dict[str, Any], where: str, index: Any) -> None:
        number = self._number(said, index, where)
        self.blocks.pop(number, None)
        said.closes.append(f"block:{number}")


BLOCK_DELTAS = (("text", TEXT), ("thinking", REASONING), ("partial_json", ARGUMENTS), ("signature", OPAQUE))


def _once(said: Said, slot: str, item: dict[str, Any], where: str, keys: tuple[str, ...]) -> None:
    """Strings that come whole: each is a slot that begins and ends here."""
    for key in keys:
        if type(item.get(key)) is str and item[key]:
            name = f"{slot}/{key}"
            said.pieces.append(Piece(name, TEXT, item[key], f"{where}.{key}"))
            said.closes.append(name)


def _json(value: Any) -> str:
    return value if type(value) is str else dumps(value)


class Converse(Messages):
    """Bedrock Converse: the payloads, named by their `:event-type`."""

    __slots__ = ()

    def read(self, said: Said) -> bool:
        event, name = said.event, said.name
        if name == "contentBlockDelta":
            number = self._number(said, event.get("contentBlockIndex"), ".contentBlockIndex")
            self._converse_delta(said, f"block:{number}", event.get("delta"))
        elif name == "contentBlockStart":
            self._converse_start(said, event)
        elif name == "contentBlockStop":
            self._stop(said, event, ".contentBlockIndex", event.get("contentBlockIndex"))
        elif name == "messageStop":
            if event.get("stopReason") == "tool_use":
                said.stops.append(("block:", ".stopReason", "end_turn"))
        elif name == "metadata":
            said.is_end = True
        else:
            return name == "messageStart" or name.endswith("Exception")
        return True

    def _converse_start(self, said: Said, event: dict[str, Any]) -> None:
        number = min(place(event.get("contentBlockIndex")), SLOTS)
        start = event.get("start")
        use = start.get("toolUse") if type(start) is dict else None
        if type(use) is dict:
            self.blocks[number] = "call"
            said.opens.append((f"block:{number}", text_of(use.get("name")), text_of(use.get("toolUseId"))))
        self._number(said, number, ".contentBlockIndex")

    def _converse_delta(self, said: Said, slot: str, delta: Any) -> None:
        if type(delta) is not dict:
            return
        if type(delta.get("text")) is str and delta["text"]:
            said.pieces.append(Piece(slot, TEXT, delta["text"], ".delta.text"))
        use = delta.get("toolUse")
        if type(use) is dict and use.get("input"):
            said.pieces.append(Piece(slot, ARGUMENTS, _json(use["input"]), ".delta.toolUse.input"))
        thought = delta.get("reasoningContent")
        for key, kind in (("text", REASONING), ("signature", OPAQUE), ("redactedContent", OPAQUE)):
            if type(thought) is dict and type(thought.get(key)) is str and thought[key]:
                said.pieces.append(Piece(slot, kind, thought[key], ".delta.reasoningContent." + key))
        cited = delta.get("citation")
        if type(cited) is dict:
            _once(said, slot + "/citation", cited, ".delta.citation", ("title", "source"))


class Responses:
    """Events of OpenAI's Responses API."""

    __slots__ = ("calls", "keys")

    def __init__(self) -> None:
        self.keys: dict[int, str] = {}
        self.calls: set[str] = set()

    def read(self, said: Said) -> bool:
        event = said.event
        kind = event.get("type")
        if type(kind) is not str or not (kind.startswith("response.") or kind == "error"):
            return False
        if kind == "error":
            said.is_end = True
            return True
        inner = event.get("response")
        if type(inner) is dict:
            for n, item in _dicts(inner.get("output")):
                self._item(said, item, n, f".response.output[{n}]", is_done=True)
            said.is_end = kind in ("response.completed", "response.failed", "response.incomplete")
            return True
        if "output_index" in event:
            said.numbers.append(("item:", ".output_index", min(place(event["output_index"]), SLOTS)))
        item = event.get("item")
        if type(item) is dict:
            self._item(said, item, event.get("output_index"), ".item", kind.endswith(".done"), is_frame=True)
            return True
        slot = "item:" + self._key(event.get("item_id"), event.get("output_index"))
        if slot in self.calls:
            said.calls.append((slot, ""))
        self._text(said, event, kind, slot)
        return True

    def _key(self, identifier: Any, index: Any) -> str:
        number = min(place(index), SLOTS)
        known = self.keys.get(number)
        if known is None or type(index) is not int:
            known = self.keys[number] = text_of(identifier)[:200] or f"#{number}"
        return known

    def _text(self, said: Said, event: dict[str, Any], kind: str, slot: str) -> None:
        """A delta of a string, or the whole of it."""
        role = _role(kind)
        if role != ARGUMENTS:
            slot += (
                f"/s{place(event.get('summary_index'))}"
                if "summary" in kind
                else f"/{place(event.get('content_index'))}"
            )
        if event.get("logprobs"):
            said.echoes.append((".logprobs", b"[]"))
        delta = event.get("delta")
        if type(delta) is str and delta:
            said.pieces.append(Piece(slot, OPAQUE if kind == "response.audio.delta" else role, delta, ".delta"))
        if not kind.endswith(".done"):
            part = event.get("part")
            if type(part) is dict and type(part.get("text")) is str and part["text"]:
                said.pieces.append(Piece(slot, role, part["text"], ".part.text"))
            return
        said.closes.append(slot)
        for key in ("text", "refusal", "arguments", "input", "code", "transcript"):
            if type(event.get(key)) is str and event[key]:
                said.repeats.append(Piece(slot, role, event[key], "." + key))
        part = event.get("part")
        if type(part) is dict:
            self._part(said, slot, role, part, ".part")

    def _part(self, said: Said, slot: str, role: str, part: dict[str, Any], where: str) -> None:
        for key in ("text", "refusal", "transcript"):
            if type(part.get(key)) is str and part[key]:
                said.repeats.append(Piece(slot, REFUSAL if key == "refusal" else role, part[key], f"{where}.{key}"))
        if part.get("logprobs"):
            said.echoes.append((where + ".logprobs", b"[]"))

    def _item(
        self, said: Said, item: dict[str, Any], index: Any, where: str, is_done: bool, is_frame: bool = False
    ) -> None:
        """An output item: as it begins, as it ends, or in the whole response at the end."""
        slot = "item:" + self._key(item.get("id"), index)
        kind = text_of(item.get("type"))
        if kind in CLIENT_CALLS:
            if slot not in self.calls and len(self.calls) < SLOTS:
                self.calls.add(slot)
                said.opens.append((slot, text_of(item.get("name")) or kind, text_of(item.get("call_id"))))
            said.calls.append((slot, "" if is_frame else where))
        into = said.repeats if is_done else said.pieces
        for key in ("arguments", "input", "code", "action", "operation"):
            if item.get(key) and (key in ("arguments", "input", "code") or (kind in CLIENT_CALLS and is_done)):
                into.append(Piece(slot, ARGUMENTS, _json(item[key]), f"{where}.{key}"))
        if is_done:
            said.closes.append(slot)
            if type(item.get("output")) is str and item["output"]:
                said.repeats.append(Piece(slot + "/output", TEXT, item["output"], where + ".output"))
        role = REASONING if kind == "reasoning" else TEXT
        for key, mark in (("content", ""), ("summary", "s")):
            for n, part in _dicts(item.get(key)):
                if is_done:
                    said.closes.append(f"{slot}/{mark}{n}")
                    self._part(said, f"{slot}/{mark}{n}", role, part, f"{where}.{key}[{n}]")
                elif type(part.get("text")) is str and part["text"]:
                    said.pieces.append(Piece(f"{slot}/{mark}{n}", role, part["text"], f"{where}.{key}[{n}].text"))


def _role(kind: str) -> str:
    if "arguments" in kind or "tool_call_input" in kind or "call_code" in kind:
        return ARGUMENTS
    return REASONING if "reasoning" in kind else REFUSAL if "refusal" in kind else TEXT


class Gemini:
    """Chunks of generateContent: each is a reply by itself, calls come whole."""

    __slots__ = ("current", "slots", "total")

    def __init__(self) -> None:
        self.slots: dict[int, dict[str, str]] = {}
        self.current: dict[int, str] = {}
        self.total = 0

    def read(self, said: Said) -> bool:
        found = said.event.get("candidates")
        if type(found) is not list:
            return any(key in said.event for key in ("usageMetadata", "promptFeedback", "error"))
        for n, candidate in _dicts(found):
            index = min(place(candidate.get("index", n)), SLOTS)
            content = candidate.get("content")
            if type(content) is dict:
                slots = self.slots.setdefault(index, {})
                for m, part in _dicts(content.get("parts")):
                    self._part(said, index, slots, part, f".candidates[{n}].content.parts[{m}]")
            if candidate.get("logprobsResult"):
                said.echoes.append((f".candidates[{n}].logprobsResult", b"{}"))
            if candidate.get("finishReason"):
                said.closes.extend(self.slots.pop(index, ()))
        return True

    def _part(self, said: Said, index: int, slots: dict[str, str], part: dict[str, Any], where: str) -> None:
        owner = f"candidate:{index}"
        text = part.get("text")
        if type(text) is str and text:
            slot, kind = (owner + "/thought", REASONING) if part.get("thought") else (owner, TEXT)
            slots[slot] = kind
            if kind == TEXT and len(slots) > 1:
                _end_thoughts(said, slots)
            said.pieces.append(Piece(slot, kind, text, where + ".text"))
        for key in ("thoughtSignature", "thought_signature"):
            if type(part.get(key)) is str and part[key]:
                said.pieces.append(Piece(owner, OPAQUE, part[key], f"{where}.{key}"))
        for key, inner in (("executableCode", "code"), ("codeExecutionResult", "output")):
            if type(part.get(key)) is dict:
                _once(said, f"{owner}/{key}", part[key], f"{where}.{key}", (inner,))
        for key in ("functionCall", "function_call"):
            if type(part.get(key)) is dict:
                self._call(said, index, slots, part[key], where, key)

    def _call(self, said: Said, index: int, slots: dict[str, str], call: dict[str, Any], where: str, key: str) -> None:
        """A call comes whole, or in pieces that say `willContinue`; pieces after the first have no name."""
        slot = self.current.get(index, "")
        if not slot:
            slot = f"candidate:{index}/call:{min(self.total, SLOTS)}"
            self.total += 1
            said.opens.append((slot, text_of(call.get("name")), text_of(call.get("id"))))
        said.calls.append((slot, where))
        if call.get("args"):
            said.pieces.append(Piece(slot, ARGUMENTS, _json(call["args"]), f"{where}.{key}.args"))
        for n, piece in _dicts(call.get("partialArgs")):
            if type(piece.get("stringValue")) is str and piece["stringValue"]:
                at = f"{where}.{key}.partialArgs[{n}].stringValue"
                said.pieces.append(Piece(slot, ARGUMENTS, piece["stringValue"], at))
        if call.get("willContinue") is True:
            self.current[index] = slot
            slots[slot] = ARGUMENTS
        else:
            self.current.pop(index, None)
            slots.pop(slot, None)
            said.closes.append(slot)


class Ollama:
    """Lines of Ollama's chat and generate."""

    __slots__ = ("slots", "total")

    def __init__(self) -> None:
        self.slots: dict[str, str] = {}
        self.total = 0

    def read(self, said: Said) -> bool:
        event = said.event
        message = event.get("message")
        if type(message) is dict:
            self._grow(said, message, "thinking", REASONING, ".message.thinking")
            self._grow(said, message, "content", TEXT, ".message.content")
            found = message.get("tool_calls")
            for n, call in _dicts(found):
                self._call(said, call, f".message.tool_calls[{n}]")
            if type(found) is list and found:
                said.groups.append((".message.tool_calls", len(found), False))
        elif type(event.get("done")) is not bool:
            return "error" in event
        self._grow(said, event, "thinking", REASONING, ".thinking")
        self._grow(said, event, "response", TEXT, ".response")
        said.is_end = event.get("done") is True
        return True

    def _grow(self, said: Said, owner: dict[str, Any], key: str, kind: str, where: str) -> None:
        text = owner.get(key)
        if type(text) is not str or not text:
            return
        slot = "message" if kind == TEXT else "message/thinking"
        self.slots[slot] = kind
        if kind == TEXT and len(self.slots) > 1:
            _end_thoughts(said, self.slots)
        said.pieces.append(Piece(slot, kind, text, where))

    def _call(self, said: Said, call: dict[str, Any], where: str) -> None:
        function = call.get("function")
        function = function if type(function) is dict else {}
        slot = f"message/call:{min(self.total, SLOTS)}"
        self.total += 1
        said.opens.append((slot, text_of(function.get("name")), text_of(call.get("id"))))
        said.calls.append((slot, where))
        if function.get("arguments"):
            said.pieces.append(Piece(slot, ARGUMENTS, _json(function["arguments"]), where + ".function.arguments"))
        said.closes.append(slot)


class Rpc:
    """MCP: each event is one JSON-RPC message, whole in itself."""

    __slots__ = ()

    def read(self, said: Said) -> bool:
        event = said.event
        if "jsonrpc" not in event:
            return False
        for key in ("result", "params", "error"):
            value = event.get(key)
            if type(value) is dict:
                self._body(said, value, "." + key)
        return True

    def _body(self, said: Said, value: dict[str, Any], where: str) -> None:
        _once(said, "message", value, where, ("message", "data", "instructions", "systemPrompt"))
        for key in ("content", "contents"):
            items = value.get(key)
            self._parts(said, items if type(items) is list else [items], f"{where}.{key}", type(items) is list)
        for n, item in _dicts(value.get("messages")):
            inner = item.get("content")
            at = f"{where}.messages[{n}].content"
            self._parts(said, inner if type(inner) is list else [inner], at, type(inner) is list)
        for key in ("tools", "prompts", "resources", "resourceTemplates"):
            for n, item in _dicts(value.get(key)):
                _once(said, f"message/{key}[{n}]", item, f"{where}.{key}[{n}]", ("description", "title"))

    def _parts(self, said: Said, items: list[Any], where: str, is_list: bool) -> None:
        for n, part in _dicts(items):
            at = f"{where}[{n}]" if is_list else where
            _once(said, "message" + at, part, at, ("text",))
            if type(part.get("resource")) is dict:
                _once(said, "message" + at, part["resource"], at + ".resource", ("text",))


class Plain:
    """Streams of no known provider that carry a piece of text under a well-known name."""

    __slots__ = ()

    def read(self, said: Said) -> bool:
        event = said.event
        token = event.get("token")
        if type(token) is dict and type(token.get("text")) is str:
            said.pieces.append(Piece("plain", TEXT, token["text"], ".token.text"))
            if type(event.get("generated_text")) is str:
                said.closes.append("plain")
                said.repeats.append(Piece("plain", TEXT, event["generated_text"], ".generated_text"))
            return True
        if type(token) is str:
            said.pieces.append(Piece("plain", TEXT, token, ".token"))
            return True
        for key in PLAIN_KEYS:
            if type(event.get(key)) is str:
                said.pieces.append(Piece("plain", TEXT, event[key], "." + key))
                return True
        outputs = _dicts(event.get("outputs")) or _dicts(event.get("generations"))
        key = "outputs" if "outputs" in event else "generations"
        for n, item in outputs:
            if type(item.get("text")) is str:
                said.pieces.append(Piece(f"plain:{min(n, SLOTS)}", TEXT, item["text"], f".{key}[{n}].text"))
        return bool(outputs) or "error" in event


READERS: dict[str, Callable[[], Reader]] = {
    "openai": Chat,
    "anthropic": Messages,
    "converse": Converse,
    "responses": Responses,
    "gemini": Gemini,
    "ollama": Ollama,
    "mcp": Rpc,
    "plain": Plain,
}
ALIASES = {
    "chat": "openai",
    "completions": "openai",
    "azure": "openai",
    "messages": "anthropic",
    "generate": "gemini",
    "vertex": "gemini",
    "bedrock": "converse",
}


class Events:
    """The reader of one stream: the dialect's own, and for events of other shapes the one they look like."""

    __slots__ = ("main", "others")

    def __init__(self, dialect: str) -> None:
        dialect = ALIASES.get(dialect, dialect)
        self.main: Reader | None = READERS[dialect]() if dialect in READERS and dialect != "plain" else None
        self.others: dict[str, Reader] = {}

    def read(self, said: Said) -> bool:
        """Fill in what the event says; False when nobody knows its shape."""
        if type(said.event) is not dict:
            if type(said.event) is str:
                said.pieces.append(Piece("plain", TEXT, said.event, ""))
            return type(said.event) is str
        if self.main is not None and self.main.read(said):
            return True
        kind = kind_of(said.event)
        if kind == "text" or not kind:
            kind = "gemini" if "candidates" in said.event else "mcp" if "jsonrpc" in said.event else "plain"
        reader = self.others.get(kind)
        if reader is None:
            reader = self.others[kind] = READERS[kind]()
        return reader.read(said) or (kind != "plain" and Plain().read(said))
