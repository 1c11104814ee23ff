"""Prompts in any JSON interface, by a template of its owner.

In: a Template, a Prompt, the id of the conversation; or a decoded reply. Out: a body; or the text at a path. Pure.
"""

from __future__ import annotations

import re
from typing import Any

from afterguard.attack.contract import Prompt, Surface
from afterguard.targets.openai_chat import IN_MESSAGE

STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
DEPTH = 40


def filled(value: Any, words: dict[str, str], depth: int = 0) -> Any:
    """The body with {{prompt}} and the like filled in."""
    if depth > DEPTH:
        return value
    if isinstance(value, str):
        for name, word in words.items():
            value = value.replace("{{" + name + "}}", word)
        return value
    if isinstance(value, dict):
        return {key: filled(one, words, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, words, depth + 1) for one in value]
    return value


def words(prompt: Prompt, conversation: str) -> dict[str, str]:
    """What a template may name. Texts of outsiders come before the question, as the application would put them."""
    held = [plant for plant in prompt.plants if plant.surface in IN_MESSAGE]
    texts = [IN_MESSAGE[plant.surface].format(name=repr(plant.name), content=plant.content) for plant in held]
    results = [plant.content for plant in prompt.plants if plant.surface is Surface.tool_result]
    return {
        "prompt": "\n\n".join([*texts, *results, prompt.text]),
        "question": prompt.text,
        "document": "\n\n".join([*texts, *results]),
        "conversation": conversation,
        "identity": prompt.identity,
    }


def at(value: Any, path: str) -> Any:
    """The value at a path like .a.b[0]; None where there is none. Raises ValueError for no path."""
    steps = STEP.findall(path)
    if "".join(f".{name}" if name else f"[{index}]" for name, index in steps) != path:
        raise ValueError(path)
    for name, index in steps:
        if name and isinstance(value, dict):
            value = value.get(name)
        elif index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            return None
    return value
