"""Which provider's shape a body has: one door for callers that do not know.

In: decoded JSON of a request or a reply. Out: the protocol's name and pieces in a `Parts`. Order matters: a shape that names itself
is tried before shapes that look alike.
"""

from __future__ import annotations

from typing import Any

from afterguard.wire import anthropic, bedrock, gemini, openai
from afterguard.wire.deltas import Deltas, kind_of
from afterguard.wire.parts import Parts, text_of


def request(body: Any, parts: Parts, where: str = "request") -> str:
    """The protocol of a request body, "" where it is none."""
    if not isinstance(body, dict):
        return ""
    model = body.get("model") or body.get("modelId")
    if isinstance(model, str):
        parts.model = model[:200]
    user = body.get("user")
    if isinstance(user, str):
        parts.identity = user
    if "contents" in body:
        return "gemini" if gemini.request(body, parts, where) else ""
    if "system" in body or "anthropic_version" in body or "max_tokens_to_sample" in body:
        anthropic_like = (
            "anthropic_version" in body or isinstance(body.get("max_tokens"), int) or "stop_sequences" in body
        )
        if "toolConfig" in body or "inferenceConfig" in body:
            bedrock.request(body, parts, where)
            return "bedrock" if anthropic.request(body, parts, where) else ""
        if anthropic.request(body, parts, where):
            return "anthropic" if anthropic_like or "messages" in body else "openai"
        return ""
    found = bedrock.request(body, parts, where)
    if openai.request(body, parts, where):
        return "bedrock" if found or "inferenceConfig" in body else "openai"
    return "bedrock" if found else ""


def response(body: Any, parts: Parts, where: str = "response") -> str:
    """The protocol of a whole reply, or of a list of a stream's events; "" where it is none."""
    if isinstance(body, list):
        return events(body, parts, where)
    if not isinstance(body, dict):
        return ""
    if kind_of(body) not in ("", "ollama"):
        return events([body], parts, where)
    parts.model = text_of(body.get("model"))[:200] or parts.model
    openai.usage(body.get("usage"), parts)
    if openai.response(body, parts, where):
        return "openai"
    if anthropic.response(body, parts, where):
        return "anthropic"
    if gemini.response(body, parts, where):
        return "gemini"
    return "bedrock" if bedrock.response(body, parts, where) else ""


def events(items: list[Any], parts: Parts, where: str = "response") -> str:
    """A reply recorded as its stream's decoded events."""
    if not items or not all(isinstance(item, dict) for item in items):
        return ""
    grown = Deltas()
    unknown = sum(
        not grown.feed(item.get("chunk", item) if isinstance(item.get("chunk"), dict) else item) for item in items
    )
    if not grown.into(parts, where):
        return ""
    if unknown:
        parts.skip("unknown_shape", where, unknown)
    return {"responses": "openai", "converse": "bedrock", "ollama": "openai", "plain": "bedrock"}.get(
        grown.kind, grown.kind
    )
