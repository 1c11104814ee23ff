"""Prompts as requests of the OpenAI chat protocol, and its replies.

In: a Target, the conversation so far, a Prompt; or a decoded reply. Out: a body; or a Reply. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from afterguard.attack.contract import Call, Plant, Prompt, Reply, Surface
from afterguard.targets.document import Target

IN_MESSAGE = {
    Surface.document: "<document name={name}>\n{content}\n</document>",
    Surface.mail: "<mail subject={name}>\n{content}\n</mail>",
    Surface.page: "<page address={name}>\n{content}\n</page>",
    Surface.file_name: "Attached: {content}",
    Surface.image_text: "[picture {name}, text read from it: {content}]",
    Surface.memory: "<memory>\n{content}\n</memory>",
}


def messages(prompt: Prompt) -> list[dict[str, Any]]:
    """What one turn adds to a conversation."""
    out: list[dict[str, Any]] = []
    held = [plant for plant in prompt.plants if plant.surface in IN_MESSAGE]
    texts = [IN_MESSAGE[plant.surface].format(name=repr(plant.name), content=plant.content) for plant in held]
    out.append({"role": "user", "content": "\n\n".join([*texts, prompt.text])})
    for number, plant in enumerate(one for one in prompt.plants if one.surface is Surface.tool_result):
        call = {"id": f"call_{number}", "type": "function", "function": {"name": plant.name or "look_up", "arguments": "{}"}}  # fmt: skip
        out.append({"role": "assistant", "content": None, "tool_calls": [call]})
        out.append({"role": "tool", "tool_call_id": call["id"], "content": plant.content})
    return out


def body(target: Target, history: list[dict[str, Any]], prompt: Prompt) -> dict[str, Any]:
    """The request of one turn. `history` are the messages before it."""
    head = [{"role": "system", "content": target.system}] if target.system else []
    told: dict[str, Any] = {"messages": [*head, *history, *messages(prompt)]}
    if target.model:
        told["model"] = target.model
    tools = [
        *target.offers,
        *(_described(plant) for plant in prompt.plants if plant.surface is Surface.tool_description),
    ]
    if tools:
        told["tools"] = tools
    return told


def _described(plant: Plant) -> dict[str, Any]:
    empty = {"type": "object", "properties": {}}
    return {"type": "function", "function": {"name": plant.name or "look_up", "description": plant.content, "parameters": empty}}  # fmt: skip


def reply(found: Any) -> tuple[Reply, dict[str, Any] | None]:
    """What a decoded reply says, and the message that goes into the history. An unknown shape is unreadable."""
    try:
        message = found["choices"][0]["message"]
        text = message.get("content") or ""
        calls = tuple(Call(one["function"]["name"], one["function"].get("arguments") or "") for one in message.get("tool_calls") or ())  # fmt: skip
        usage = found.get("usage") or {}
        tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        if not isinstance(text, str):
            text = "".join(part.get("text", "") for part in text)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        return Reply(error="unreadable"), None
    return Reply(text, calls, tokens_in=tokens[0], tokens_out=tokens[1]), message


def decoded(data: bytes) -> Any:
    """JSON of a reply, None where it is none."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
