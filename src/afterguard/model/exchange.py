"""What passes between an application and a model: texts with who can have written them, calls of tools, rows of features."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class Origin(StrEnum):
    """The channel a text came through."""

    system = "system"
    user = "user"
    document = "document"
    tool = "tool"
    model = "model"


class Trust(StrEnum):
    """Who can have written a text. Third-party is whatever an outsider can write."""

    system = "system"
    user = "user"
    first_party = "first_party"
    third_party = "third_party"
    model = "model"


class Unjudged(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of an exchange nobody could look at: unparsed, truncated, opaque, too long."""

    reason: str
    """unknown_shape bad_json bad_encoding truncated opaque_reasoning image audio binary prompt_not_logged
    response_not_logged too_long budget"""
    where: str = ""
    bytes: int = 0


class Text(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of text with where it came from. Never print it directly: see report.safe."""

    value: str
    origin: Origin
    trust: Trust
    where: str = ""
    """Place in the record, for instance messages[3].content."""
    name: str = ""
    """The tool or document it came from."""
    turn: int = 0
    """Order in the conversation; a text can only be explained by texts of a lower turn."""


class ToolCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call the model asked for. `arguments` is the JSON text as sent."""

    name: str
    arguments: str
    id: str = ""
    turn: int = 0
    where: str = ""
    """Place of the whole call in the body, for instance response.choices[0].message.tool_calls[1]."""


class ToolSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool as offered to the model. `parameters` is its JSON schema as text."""

    name: str
    description: str = ""
    parameters: str = ""


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call of a predictive model: feature values by name, the decision, the score."""

    features: dict[str, float | str | bool | None]
    decision: str = ""
    score: float | None = None


class Batch(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a predictive model is asked, as a table of rows and features, and what it said of each row. Bounded by who made it (wire/table.py)."""

    names: tuple[str, ...]
    """Of the features, in the order of their columns."""
    kinds: tuple[str, ...]
    """What stands in each column: number, bool, text, mixed (of several kinds, or no scalar), missing."""
    numbers: Any
    """numpy array of rows x features: a number, 0 or 1, NaN where a cell is missing or a text. May be a view of the bytes that came in."""
    texts: dict[int, tuple[str, ...]] = {}
    """Column -> text of each row, "" where missing."""
    version: str = ""
    """The model's version, as the path or the reply names it."""
    scores: tuple[float, ...] = ()
    """Of each row the largest score."""
    decisions: tuple[str, ...] = ()
    """Of each row the class or label, where one is told."""
    is_named: bool = True
    """Whether the names came with the request; else they are made from positions."""

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.numbers)


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One request to a model with its reply, or one conversation as logged."""

    id: str
    source: str
    line: int
    protocol: str
    """openai anthropic bedrock litellm otel har messages predictive mapped"""
    time: float | None = None
    time_zone_known: bool = True
    app: str = ""
    tenant: str = "default"
    conversation: str = ""
    identity: str = ""
    """The caller as logged. Only a keyed hash of it is ever stored or shown."""
    key: str = ""
    """Name or hash of the API key used, never the key."""
    provider: str = ""
    model: str = ""
    address: str = ""
    client: str = ""
    texts: tuple[Text, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """US dollars as logged; never estimated here."""
    status: int = 0
    prediction: Prediction | None = None
    batch: Batch | None = None
    """Rows of a predictive model, where a door read them."""
    unjudged: tuple[Unjudged, ...] = ()
    bytes: int = 0
