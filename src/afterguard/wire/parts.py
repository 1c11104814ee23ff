"""What a protocol parser fills in: the pieces of one exchange, collected in the order of the conversation.

In: calls from the protocol files. Out: tuples for `model.Exchange`. It holds no protocol knowledge; it caps how many texts
one record may yield and cleans what msgspec may hand over but UTF-8 cannot carry.
"""

from __future__ import annotations

from typing import Any

import msgspec

from afterguard.model import Origin, Text, ToolCall, ToolSpec, Trust, Unjudged
from afterguard.wire.trust import segments

TEXTS_CAP = 20_000
"""Texts of one record; a longer conversation is cut with an Unjudged row."""

SKIPS_CAP = 1_000
"""Unjudged rows of one record; the bytes of further ones are added to the last."""


class Parts:
    """Mutable while one record is read. `turn` counts messages; a text is explained only by texts of lower turns."""

    __slots__ = (
        "calls",
        "conversation",
        "cost",
        "identity",
        "input_tokens",
        "known",
        "model",
        "output_tokens",
        "provider",
        "status",
        "texts",
        "tool_names",
        "tools",
        "turn",
        "unjudged",
    )

    def __init__(self) -> None:
        self.texts: list[Text] = []
        self.calls: list[ToolCall] = []
        self.tools: list[ToolSpec] = []
        self.unjudged: list[Unjudged] = []
        self.tool_names: dict[str, str] = {}
        self.turn = 0
        self.known = 0
        """Messages at the beginning of the conversation that are in here already, with all that stands beside them."""
        self.model = ""
        self.provider = ""
        self.conversation = ""
        self.identity = ""
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cost: float | None = None
        self.status = 0

    def text(self, value: str, origin: Origin, trust: Trust, where: str, name: str = "") -> None:
        """One text of the current turn; empty ones are dropped."""
        if not value:
            return
        if len(self.texts) >= TEXTS_CAP:
            self.skip("too_long", where, len(value))
            return
        self.texts.append(Text(value, origin, trust, where, name, self.turn))

    def result(self, value: str, name: str, where: str) -> None:
        """A tool's result, split by who can have written which part of it; see trust.segments."""
        for piece, trust in segments(name, value):
            self.text(piece, Origin.tool, trust, where, name)

    def call(self, name: str, arguments: Any, identifier: str = "", where: str = "") -> None:
        """A tool call of the current turn; its id names the tool of a later result. `where` is the place of the whole call."""
        if not isinstance(arguments, str):
            arguments = "" if arguments is None else dumps(arguments)
        if len(self.calls) < TEXTS_CAP:
            self.calls.append(ToolCall(name, arguments, identifier, self.turn, where))
        if identifier:
            self.tool_names[identifier] = name

    def tool_name(self, identifier: Any) -> str:
        """The tool a call id belongs to, "" where the call was not seen."""
        return self.tool_names.get(identifier, "") if isinstance(identifier, str) else ""

    def skip(self, reason: str, where: str, size: int = 0) -> None:
        """A part that nobody can look at. Reasons: model.Unjudged."""
        if len(self.unjudged) < SKIPS_CAP:
            self.unjudged.append(Unjudged(reason, where, size))
        else:
            last = self.unjudged[-1]
            self.unjudged[-1] = Unjudged(last.reason, last.where, last.bytes + size)


def dumps(value: Any) -> str:
    """JSON text of decoded JSON, for arguments that came as an object."""
    try:
        return msgspec.json.encode(value).decode("utf-8", "replace")
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError, OverflowError):
        return ""


def text_of(value: Any) -> str:
    """The string itself, or "" for anything else."""
    return value if isinstance(value, str) else ""


def count_of(value: Any) -> int | None:
    """A token count, None for anything that is not a sane non-negative number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if 0 <= value < 1e15 else None
