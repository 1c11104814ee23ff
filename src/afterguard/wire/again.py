"""Asking the model once more after its calls were refused, so that one bad call does not end the user's turn.

In: the decoded request and reply, a sentence. Out: the body of the next request: the conversation, the refused calls, and for each a tool result that says it was refused; None for a protocol
or a shape in which that cannot be said. It changes neither of what it is given.
"""

from __future__ import annotations

from typing import Any

import msgspec


def again(dialect: str, asked: Any, reply: Any, says: str) -> bytes | None:
    """The body to send next, None where there is no way to ask again."""
    if not isinstance(asked, dict) or not isinstance(reply, dict):
        return None
    writer = WRITERS.get(dialect)
    body = writer(asked, reply, f"Refused by policy: {says} Go on with what the user asked for.") if writer else None
    return None if body is None else msgspec.json.encode(body)


def _chat(asked: dict[str, Any], reply: dict[str, Any], says: str) -> dict[str, Any] | None:
    choices, messages = reply.get("choices"), asked.get("messages")
    if not isinstance(messages, list) or not isinstance(choices, list) or len(choices) != 1:
        return None
    message = choices[0].get("message") if isinstance(choices[0], dict) else None
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if (
        not isinstance(message, dict)
        or not isinstance(calls, list)
        or not all(isinstance(c, dict) and c.get("id") for c in calls)
    ):
        return None
    said = {"role": "assistant", "content": message.get("content"), "tool_calls": calls}
    results = [{"role": "tool", "tool_call_id": call["id"], "content": says} for call in calls]
    return {**asked, "messages": [*messages, said, *results]}


def _messages(asked: dict[str, Any], reply: dict[str, Any], says: str) -> dict[str, Any] | None:
    content, messages = reply.get("content"), asked.get("messages")
    if not isinstance(messages, list) or not isinstance(content, list):
        return None
    names = [block.get("id") for block in content if isinstance(block, dict) and block.get("type") == "tool_use"]
    if not names or not all(names):
        return None
    results = [{"type": "tool_result", "tool_use_id": name, "is_error": True, "content": says} for name in names]
    return {
        **asked,
        "messages": [*messages, {"role": "assistant", "content": content}, {"role": "user", "content": results}],
    }


def _responses(asked: dict[str, Any], reply: dict[str, Any], says: str) -> dict[str, Any] | None:
    given, output = asked.get("input"), reply.get("output")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not isinstance(output, list):
        return None
    names = [item.get("call_id") for item in output if isinstance(item, dict) and item.get("type") == "function_call"]
    if not names or not all(names):
        return None
    results = [{"type": "function_call_output", "call_id": name, "output": says} for name in names]
    return {**asked, "input": [*given, *output, *results]}


WRITERS = {"openai": _chat, "anthropic": _messages, "responses": _responses}
