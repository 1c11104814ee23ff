"""Conversations as requests of the providers' protocols: one function each, in the table BODIES.

In: a Target, turns, a Prompt. Out: a body. Pure. Replies are read by the engine `wire`: see reading.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import msgspec

from afterguard.attack.contract import Prompt
from afterguard.targets.document import Target
from afterguard.targets.spoken import EMPTY, Line, Turns, described, lines

MOST = 1_024
"""Tokens of a reply, for the protocol that demands a number."""
Body = dict[str, Any]


def body(target: Target, turns: Turns, prompt: Prompt) -> Body:
    """The request of one turn."""
    told = BODIES[target.kind](target, lines(turns, prompt), described(prompt))
    if target.stream and target.kind not in ("gemini", "bedrock-converse"):
        told["stream"] = True  # Those two say it in the path.
    if target.stream and target.kind == "openai":
        told["stream_options"] = {"include_usage": True}
    return {**told, **target.body}


def openai(target: Target, said: Sequence[Line], tools: Sequence[tuple[str, str]]) -> Body:
    head = [{"role": "system", "content": target.system}] if target.system else []
    return (
        _named(target) | _tools(target, tools, _function) | {"messages": [*head, *map(_message, _joined_calls(said))]}
    )


def ollama(target: Target, said: Sequence[Line], tools: Sequence[tuple[str, str]]) -> Body:
    told = openai(target, said, tools)
    for message in told["messages"]:
        if message["role"] == "tool":
            message["tool_name"] = message.pop("name")
            message.pop("tool_call_id")
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = arguments(call["function"]["arguments"])
    return {"stream": False, **told}


def responses(target: Target, said: Sequence[Line], tools: Sequence[tuple[str, str]]) -> Body:
    def item(line: Line) -> Body:
        if line.kind == "call":
            return {"type": "function_call", "call_id": line.id, "name": line.name, "arguments": line.text}
        if line.kind == "result":
            return {"type": "function_call_output", "call_id": line.id, "output": line.text}
        return {"role": "user" if line.kind == "user" else "assistant", "content": line.text}

    head = {"instructions": target.system} if target.system else {}
    flat = _tools(target, tools, lambda name, told: {"type": "function", "name": name, "description": told, "parameters": EMPTY})  # fmt: skip
    return _named(target) | head | flat | {"input": [item(line) for line in said], "store": False}


def anthropic(target: Target, said: Sequence[Line], tools: Sequence[tuple[str, str]]) -> Body:
    def block(line: Line) -> Body:
        if line.kind == "call":
            return {"type": "tool_use", "id": line.id, "name": line.name, "input": arguments(line.text)}
        if line.kind == "result":
            return {"type": "tool_result", "tool_use_id": line.id, "content": line.text}
        return {"type": "text", "text": line.text}

    head = {"system": target.system} if target.system else {}
    flat = _tools(target, tools, lambda name, told: {"name": name, "description": told, "input_schema": EMPTY})
    return _named(target) | head | flat | {"max_tokens": MOST, "messages": _by_role(said, "assistant", "content", block)}  # fmt: skip


def gemini(target: Target, said: Sequence[Line], tools: Sequence[tuple[str, str]]) -> Body:
    def part(line: Line) -> Body:
        if line.kind == "call":
            return {"functionCall": {"name": line.name, "args": arguments(line.text)}}
        if line.kind == "result":
            return {"functionResponse": {"name": line.name, "response": {"result": line.text}}}
        return {"text": line.text}

    head = {"systemInstruction": {"parts": [{"text": target.system}]}} if target.system else {}
    told = [*target.offers, *({"functionDeclarations": [{"name": name, "description": says}]} for name, says in tools)]
    return head | ({"tools": told} if told else {}) | {"contents": _by_role(said, "model", "parts", part)}


def converse(target: Target, said: Sequence[Line], tools: Sequence[tuple[str, str]]) -> Body:
    def block(line: Line) -> Body:
        if line.kind == "call":
            return {"toolUse": {"toolUseId": line.id, "name": line.name, "input": arguments(line.text)}}
        if line.kind == "result":
            return {"toolResult": {"toolUseId": line.id, "content": [{"text": line.text}]}}
        return {"text": line.text}

    head = {"system": [{"text": target.system}]} if target.system else {}
    told = _tools(target, tools, lambda name, says: {"toolSpec": {"name": name, "description": says, "inputSchema": {"json": EMPTY}}})  # fmt: skip
    config = {"toolConfig": told} if told else {}
    return head | config | {"messages": _by_role(said, "assistant", "content", block)}


BODIES: dict[str, Callable[[Target, Sequence[Line], Sequence[tuple[str, str]]], Body]] = {
    "openai": openai,
    "responses": responses,
    "anthropic": anthropic,
    "gemini": gemini,
    "ollama": ollama,
    "bedrock-converse": converse,
}
HEADERS = {"anthropic": {"anthropic-version": "2023-06-01"}}
"""What a protocol wants beside the owner's headers."""


def arguments(text: str) -> Any:
    """Arguments of a call as an object; what a model garbled is kept as a text."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"text": text}


def _named(target: Target) -> Body:
    return {"model": target.model} if target.model else {}


def _tools(target: Target, tools: Sequence[tuple[str, str]], made: Callable[[str, str], Body]) -> Body:
    told = [*target.offers, *(made(name, says) for name, says in tools)]
    return {"tools": told} if told else {}


def _function(name: str, says: str) -> Body:
    return {"type": "function", "function": {"name": name, "description": says, "parameters": EMPTY}}


def _joined_calls(said: Sequence[Line]) -> list[list[Line]]:
    """Calls that stand together are one message, with the text before them."""
    out: list[list[Line]] = []
    for line in said:
        if line.kind == "call" and out and out[-1][-1].kind in ("call", "model"):
            out[-1].append(line)
        else:
            out.append([line])
    return out


def _message(group: list[Line]) -> Body:
    first = group[0]
    if first.kind == "user":
        return {"role": "user", "content": first.text}
    if first.kind == "result":
        return {"role": "tool", "tool_call_id": first.id, "name": first.name, "content": first.text}
    calls = [{"id": line.id, "type": "function", "function": {"name": line.name, "arguments": line.text}} for line in group if line.kind == "call"]  # fmt: skip
    text = first.text if first.kind == "model" else None
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}


def _by_role(said: Sequence[Line], model: str, key: str, made: Callable[[Line], Body]) -> list[Body]:
    """Messages of protocols in which user and model take turns, whatever is in them."""

    def role(line: Line) -> str:
        return model if line.kind in ("model", "call") else "user"

    return [{"role": who, key: [made(line) for line in group]} for who, group in groupby(said, role)]
