"""Bedrock's bodies: Converse, and InvokeModel for the model families that have no envelope of their own elsewhere.

In: decoded JSON. Out: pieces in a `Parts`, and whether the body was one of these. Anthropic, Mistral chat and Llama chat on
Bedrock have the shapes of wire/anthropic.py and wire/openai.py.
"""

from __future__ import annotations

from typing import Any

from afterguard.wire import blocks, openai
from afterguard.wire.blocks import DOCUMENT, MODEL, SYSTEM, USER
from afterguard.wire.parts import Parts, dumps, text_of
from afterguard.wire.template import prompt


def request(body: dict[str, Any], parts: Parts, where: str = "request") -> bool:
    """Titan's inputText, Cohere's message with chat_history and documents, Hugging Face's inputs, Nova's and Converse's."""
    config = body.get("toolConfig")
    if isinstance(config, dict) and not parts.known:
        openai.tools(config.get("tools"), parts)
    if isinstance(body.get("inputText"), str):
        return prompt(body["inputText"], parts, where + ".inputText")
    if isinstance(body.get("message"), str) and not body.get("role"):
        return _cohere(body, parts, where)
    if isinstance(body.get("inputs"), str):
        return prompt(body["inputs"], parts, where + ".inputs")
    if isinstance(body.get("texts"), list):
        return prompt(body["texts"], parts, where + ".texts")
    return False


def _cohere(body: dict[str, Any], parts: Parts, where: str) -> bool:
    if isinstance(body.get("preamble"), str):
        blocks.text(body["preamble"], SYSTEM, parts, where + ".preamble")
    history = body.get("chat_history")
    for index, item in enumerate(history if isinstance(history, list) else ()):
        parts.turn += 1
        if isinstance(item, dict):
            role = item.get("role")
            if isinstance(role, str):
                blocks.spoken(item, role, "message", parts, f"{where}.chat_history[{index}]")
    found = body.get("documents")
    for index, item in enumerate(found if isinstance(found, list) else ()):
        name = text_of(item.get("title")) if isinstance(item, dict) else ""
        value = item if isinstance(item, str) else dumps(item)
        parts.text(value, *DOCUMENT, f"{where}.documents[{index}]", name)
    parts.turn += 1
    blocks.text(body["message"], USER, parts, where + ".message")
    return True


def response(body: dict[str, Any], parts: Parts, where: str = "response") -> bool:
    """Converse's output.message, Titan's results, Llama's generation, Mistral's and Cohere's texts, Ollama's message."""
    openai.usage(body, parts)
    parts.turn += 1
    output = body.get("output")
    if isinstance(output, dict) and isinstance(output.get("message"), dict):
        return blocks.message(output["message"], parts, where + ".output.message")
    if isinstance(body.get("message"), dict):
        return blocks.message(body["message"], parts, where + ".message")
    if isinstance(body.get("results"), list):
        return _listed(body["results"], "outputText", parts, where + ".results")
    for key in ("generation", "generated_text", "outputText", "text", "response"):
        if isinstance(body.get(key), str):
            parts.text(body[key], *MODEL, f"{where}.{key}")
            return True
    for key in ("generations", "outputs", "completions"):
        if isinstance(body.get(key), list):
            return _listed(body[key], "text", parts, f"{where}.{key}")
    return "embedding" in body or "embeddings" in body


def _listed(items: list[Any], key: str, parts: Parts, where: str) -> bool:
    seen = False
    for index, item in enumerate(items):
        value = item.get(key) if isinstance(item, dict) else None
        if isinstance(value, str):
            parts.text(value, *MODEL, f"{where}[{index}].{key}")
            seen = True
    return seen
