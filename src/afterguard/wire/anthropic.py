"""Anthropic's envelopes: messages and the older text completions, requests and whole replies.

In: decoded JSON. Out: pieces in a `Parts`, and whether the body was one of Anthropic's. Thinking signatures are not text and are
left out; redacted thinking is counted as opaque.
"""

from __future__ import annotations

from typing import Any

from afterguard.wire import blocks, openai
from afterguard.wire.blocks import MODEL, SYSTEM
from afterguard.wire.parts import Parts, text_of


def request(body: dict[str, Any], parts: Parts, where: str = "request") -> bool:
    """A request body: system (string or blocks), messages, tools."""
    system = body.get("system")
    if parts.known:
        pass  # read with the beginning of the conversation
    elif isinstance(system, str):
        blocks.text(system, SYSTEM, parts, where + ".system")
    elif system is not None:
        blocks.content(system, SYSTEM, parts, where + ".system")
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        parts.identity = text_of(metadata.get("user_id")) or parts.identity
    return openai.request(body, parts, where) or system is not None


def response(body: dict[str, Any], parts: Parts, where: str = "response") -> bool:
    """A whole reply: {"type": "message", "content": [...]} or {"completion": "..."}."""
    found = body.get("content")
    if isinstance(found, list) and (
        body.get("type") == "message" or body.get("role") == "assistant" or "stop_reason" in body
    ):
        parts.turn += 1
        _content(found, parts, where + ".content")
        return True
    if isinstance(body.get("completion"), str):
        parts.turn += 1
        parts.text(body["completion"], *MODEL, where + ".completion")
        return True
    return False


def _content(found: list[Any], parts: Parts, where: str) -> None:
    """Blocks of a reply; a result of a tool the provider ran is explained by its call, so it takes a later turn."""
    for index, block in enumerate(found):
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(kind, str) and kind.endswith("tool_result"):
            parts.turn += 1
            blocks.content(block, MODEL, parts, f"{where}[{index}]")
            parts.turn += 1
        else:
            blocks.content(block, MODEL, parts, f"{where}[{index}]")
