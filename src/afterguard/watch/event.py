"""What the watch over time is fed: one exchange, as small as it can be.

In: nothing. Out: `Event` and `Move`. Texts, names and addresses are never in it: only keyed hashes, counts, and 64-bit sketches of texts that tell whether two of them are alike.
"""

from __future__ import annotations

import msgspec

NEVER = 1e11
"""Seconds since the epoch that no clock shows: the year 5138."""


class Move(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, gc=False):
    """A tool call that does something, above all one that moves money."""

    tool: str
    amount: float = 0.0
    currency: str = ""
    payee: str = ""
    """Keyed hash of who receives."""
    is_refund: bool = False


class Event(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True):
    """One exchange that is over, seen from outside. Times in seconds since the epoch, money in US dollars."""

    time: float
    id: str = ""
    """Of the decision."""
    app: str = ""
    tenant: str = "default"
    route: str = ""
    key: str = ""
    """Keyed hash of the credential."""
    user: str = ""
    """Keyed hash of the application's own user, where a trusted name is known."""
    address: str = ""
    """Keyed hash of the client's network address."""
    network: str = ""
    """Keyed hash of its /24 or /48."""
    region: str = ""
    """Country or region as the operator's own data or the cloud names it, "" where unknown."""
    device: str = ""
    """Keyed hash of a device or session mark the application sends."""
    client: str = ""
    """Family of the client's software: openai-python, curl, browser."""
    conversation: str = ""
    model: str = ""
    version: str = ""
    """What the provider says of the model's version (system_fingerprint, modelVersion)."""
    prompt: str = ""
    """Hash of the system prompt: which revision of the application speaks."""
    operation: str = "chat"
    """chat, completions, embeddings, models, predict, mcp..."""
    status: int = 200
    outcome: str = "ok"
    """ok, refused (the model declined), blocked (a policy), error."""
    seconds: float = 0.0
    first: float = 0.0
    """Seconds to the first byte of the reply, 0 where unknown."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    turn: int = 0
    """Messages of the user so far in this conversation."""
    asked: int = 0
    """Sketch (SimHash, 64 bits) of the newest user text, 0 where there is none."""
    shape: int = 0
    """Hash of that text with numbers, names and quoted parts masked: equal for texts made from one template."""
    answer: int = 0
    """Sketch of the reply."""
    asked_size: int = 0
    """Characters."""
    answer_size: int = 0
    hits: tuple[str, ...] = ()
    """Kinds of hits that are not inventory."""
    invalid: bool = False
    """Whether the provider refused a parameter or a model."""
    moves: tuple[Move, ...] = ()
    calls: tuple[str, ...] = ()
    """Names of the tools called."""
    documents: tuple[str, ...] = ()
    """Keyed hashes of documents that were retrieved."""
    features: tuple[float, ...] = ()
    """Of a predictive model: one number a feature in the order of the schema; NaN where missing, texts by hash."""
    score: float | None = None
    decision: str = ""
