"""OpenAI's shapes: chat completions, legacy completions and responses, requests and replies.

In: decoded JSON (any shape, hostile included). Out: pieces in a `Parts`. It never raises on a wrong shape: what it cannot read
it counts as unjudged.
"""

from __future__ import annotations

from typing import Any

from afterguard.model import Origin, ToolSpec, Trust
from afterguard.wire.parts import Parts, count_of, dumps, text_of

ROLES = {
    "system": (Origin.system, Trust.system),
    "developer": (Origin.system, Trust.system),
    "user": (Origin.user, Trust.user),
    "human": (Origin.user, Trust.user),
    "assistant": (Origin.model, Trust.model),
    "model": (Origin.model, Trust.model),
    "ai": (Origin.model, Trust.model),
    "gpt": (Origin.model, Trust.model),
}
TOOL_ROLES = {"tool", "function", "ipython", "observation", "tool_response"}


def messages(items: Any, parts: Parts, where: str = "messages") -> bool:
    """A list of chat messages; False when none of them looked like one."""
    seen = False
    for index, item in enumerate(items if isinstance(items, list) else ()):
        parts.turn += 1
        if isinstance(item, dict) and message(item, parts, f"{where}[{index}]"):
            seen = True
        else:
            parts.skip("unknown_shape", f"{where}[{index}]")
    return seen


def message(item: dict[str, Any], parts: Parts, where: str) -> bool:
    """One chat message with its tool calls; False when it has no role."""
    role = item.get("role")
    content_ = item.get("content")
    if role in TOOL_ROLES:
        name = text_of(item.get("name")) or parts.tool_names.get(text_of(item.get("tool_call_id")), "")
        if isinstance(content_, str):
            parts.result(content_, name, where + ".content")
        else:
            content(content_, Origin.tool, None, parts, where + ".content", name)
        return True
    who = ROLES.get(role) if isinstance(role, str) else None
    if who is None:
        return False
    if isinstance(content_, str):
        parts.text(content_, who[0], who[1], where + ".content")
    elif content_ is not None:
        content(content_, who[0], who[1], parts, where + ".content")
    if who[0] is Origin.model:
        calls(item, parts)
        for key in ("refusal", "reasoning_content", "reasoning"):
            parts.text(text_of(item.get(key)), Origin.model, Trust.model, f"{where}.{key}")
    return True


def content(value: Any, origin: Origin, trust: Trust | None, parts: Parts, where: str, name: str = "") -> None:
    """A list of content parts. `trust` None means a tool's result, whose trust the tool's name decides."""
    for index, part in enumerate(value if isinstance(value, list) else [value]):
        place = f"{where}[{index}]"
        text = part if isinstance(part, str) else None
        if isinstance(part, dict):
            text = part.get("text")
            if not isinstance(text, str):
                text = part.get("refusal") or part.get("content")
        if not isinstance(text, str):
            kind = text_of(part.get("type")) if isinstance(part, dict) else ""
            reason = "image" if "image" in kind else "audio" if "audio" in kind else "unknown_shape"
            parts.skip(reason, place, len(dumps(part)))
        elif trust is None:
            parts.result(text, name, place)
        else:
            parts.text(text, origin, trust, place, name)


def calls(item: dict[str, Any], parts: Parts) -> None:
    """tool_calls and the legacy function_call of an assistant message."""
    found = item.get("tool_calls")
    for call in found if isinstance(found, list) else ():
        if isinstance(call, dict):
            function = call.get("function")
            if isinstance(function, dict):
                parts.call(text_of(function.get("name")), function.get("arguments"), text_of(call.get("id")))
    legacy = item.get("function_call")
    if isinstance(legacy, dict):
        parts.call(text_of(legacy.get("name")), legacy.get("arguments"))


def tools(items: Any, parts: Parts) -> None:
    """Tools offered: chat's nested function, responses' flat one."""
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            spec = item.get("function") if isinstance(item.get("function"), dict) else item
            assert isinstance(spec, dict)
            name = text_of(spec.get("name")) or text_of(spec.get("type"))
            schema = spec.get("parameters")
            parts.tools.append(ToolSpec(name, text_of(spec.get("description")), dumps(schema) if schema else ""))


def request(body: Any, parts: Parts, where: str = "request") -> bool:
    """A request body; False when it is none of OpenAI's."""
    if not isinstance(body, dict):
        return False
    parts.model = text_of(body.get("model")) or parts.model
    tools(body.get("tools") or body.get("functions"), parts)
    if "messages" in body:
        return messages(body["messages"], parts, where + ".messages")
    return False


def response(body: Any, parts: Parts, where: str = "response") -> bool:
    """A whole reply; False when it is none of OpenAI's."""
    if not isinstance(body, dict):
        return False
    parts.model = text_of(body.get("model")) or parts.model
    usage(body.get("usage"), parts)
    choices = body.get("choices")
    if not isinstance(choices, list):
        return False
    parts.turn += 1
    for index, choice in enumerate(choices):
        place = f"{where}.choices[{index}]"
        found = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(found, dict):
            message({"role": "assistant", **found}, parts, place + ".message")
        elif isinstance(choice, dict) and isinstance(choice.get("text"), str):
            parts.text(choice["text"], Origin.model, Trust.model, place + ".text")
        else:
            parts.skip("unknown_shape", place)
    return True


def usage(value: Any, parts: Parts) -> None:
    """prompt_tokens/completion_tokens or input_tokens/output_tokens."""
    if isinstance(value, dict):
        given, made = count_of(value.get("prompt_tokens")), count_of(value.get("completion_tokens"))
        given = count_of(value.get("input_tokens")) if given is None else given
        made = count_of(value.get("output_tokens")) if made is None else made
        parts.input_tokens = given if given is not None else parts.input_tokens
        parts.output_tokens = made if made is not None else parts.output_tokens
