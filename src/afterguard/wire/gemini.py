"""Google's generateContent: requests and whole replies, from AI Studio and Vertex.

In: decoded JSON, camelCase or snake_case. Out: pieces in a `Parts`, and whether the body was one of Google's. A streamed reply
is a list of replies: wire/deltas.py puts it together.
"""

from __future__ import annotations

from typing import Any

from afterguard.model import ToolSpec
from afterguard.wire import blocks, openai
from afterguard.wire.blocks import MODEL, SYSTEM, USER
from afterguard.wire.parts import Parts, dumps, text_of


def request(body: dict[str, Any], parts: Parts, where: str = "request") -> bool:
    """contents, systemInstruction, tools.functionDeclarations."""
    contents = body.get("contents")
    if contents is None:
        return False
    key = "systemInstruction" if body.get("systemInstruction") else "system_instruction"
    system = body.get(key)
    if parts.known:
        pass  # read with the beginning of the conversation
    elif isinstance(system, dict):
        blocks.content(system.get("parts"), SYSTEM, parts, f"{where}.{key}.parts")
    elif isinstance(system, str):
        blocks.text(system, SYSTEM, parts, f"{where}.{key}")
    if not parts.known:
        _tools(body.get("tools"), parts)
    if isinstance(contents, str):
        parts.turn += 1
        blocks.text(contents, USER, parts, where + ".contents")
        return True
    is_list = isinstance(contents, list)
    items = contents if isinstance(contents, list) else [contents]
    for index in range(parts.known, len(items)):
        item = items[index]
        parts.turn += 1
        _content(item, parts, f"{where}.contents[{index}]" if is_list else f"{where}.contents")
    return True


def _content(item: Any, parts: Parts, where: str) -> None:
    if not isinstance(item, dict):
        blocks.content(item, USER, parts, where)
    elif not blocks.message(item if "role" in item else {"role": "user", **item}, parts, where):
        parts.skip("unknown_shape", where, len(dumps(item)))


def _tools(items: Any, parts: Parts) -> None:
    for item in items[:2000] if isinstance(items, list) else ():
        declared = (
            item.get("functionDeclarations") or item.get("function_declarations") if isinstance(item, dict) else None
        )
        if isinstance(declared, list):
            openai.tools(declared, parts)
        elif isinstance(item, dict):
            parts.tools.extend(ToolSpec(text_of(key)) for key in list(item)[:20])


def response(body: dict[str, Any], parts: Parts, where: str = "response") -> bool:
    """candidates[].content.parts and usageMetadata."""
    found = body.get("candidates")
    openai.usage(body.get("usageMetadata") or body.get("usage_metadata"), parts)
    parts.model = text_of(body.get("modelVersion")) or parts.model
    if not isinstance(found, list):
        blocked = body.get("promptFeedback")
        return isinstance(blocked, dict)
    parts.turn += 1
    for index, candidate in enumerate(found):
        inner = candidate.get("content") if isinstance(candidate, dict) else None
        if isinstance(inner, dict):
            blocks.content(inner.get("parts"), MODEL, parts, f"{where}.candidates[{index}].content.parts")
        elif isinstance(inner, str):
            parts.text(inner, *MODEL, f"{where}.candidates[{index}].content")
    return True
