"""OpenAI's envelopes: chat completions, legacy completions, embeddings, responses; requests and whole replies.

In: decoded JSON (any shape, hostile included). Out: pieces in a `Parts`, and whether the body was one of OpenAI's. It never
raises on a wrong shape: what it cannot read it counts as unjudged. Streams are put together first, by wire/deltas.py.
"""

from __future__ import annotations

from typing import Any

from afterguard.model import ToolSpec
from afterguard.wire import blocks
from afterguard.wire.blocks import MODEL, SYSTEM, USER
from afterguard.wire.parts import Parts, count_of, dumps, text_of
from afterguard.wire.template import prompt

SIDE_CALLS = {
    "web_search_call", "file_search_call", "computer_call", "code_interpreter_call", "local_shell_call", "shell_call",
    "mcp_call", "image_generation_call", "apply_patch_call",
}  # fmt: skip
"""Responses items in which the provider ran a tool itself; what came back is often not in the log."""


def request(body: dict[str, Any], parts: Parts, where: str = "request") -> bool:
    """A request body; False when it is none of OpenAI's."""
    if not parts.known:
        tools(body.get("tools") or body.get("functions"), parts)
    found = False
    if "messages" in body:
        found = blocks.messages(body["messages"], parts, where + ".messages")
    elif "input" in body or "instructions" in body:
        found = _input(body, parts, where)
    elif "prompt" in body:
        found = prompt(body["prompt"], parts, where + ".prompt")
    return found


def response(body: dict[str, Any], parts: Parts, where: str = "response") -> bool:
    """A whole reply; False when it is none of OpenAI's."""
    choices = body.get("choices")
    if isinstance(choices, list):
        _choices(choices, parts, where)
        return True
    if isinstance(body.get("output"), list) and (
        body.get("object") == "response" or "status" in body or "usage" in body
    ):
        for index, item in enumerate(body["output"]):
            output(item, parts, f"{where}.output[{index}]")
        return True
    return bool(body.get("object") == "list" and isinstance(body.get("data"), list))


def _choices(choices: list[Any], parts: Parts, where: str) -> None:
    parts.turn += 1
    for index, choice in enumerate(choices):
        place = f"{where}.choices[{index}]"
        key = "message" if isinstance(choice, dict) and choice.get("message") else "delta"
        found = choice.get(key) if isinstance(choice, dict) else None
        if isinstance(found, dict):
            if not blocks.message(
                found if "role" in found else {"role": "assistant", **found}, parts, f"{place}.{key}"
            ):
                parts.skip("unknown_shape", place, len(dumps(choice)))
        elif isinstance(choice, dict) and isinstance(choice.get("text"), str):
            parts.text(choice["text"], *MODEL, place + ".text")
        else:
            parts.skip("unknown_shape", place, len(dumps(choice)))


def _input(body: dict[str, Any], parts: Parts, where: str) -> bool:
    """The Responses API's input (and the embedding API's, whose texts are the user's)."""
    given = body.get("input")
    instructions = body.get("instructions")
    if isinstance(instructions, str) and not parts.known:
        blocks.text(instructions, SYSTEM, parts, where + ".instructions")
    if body.get("previous_response_id"):
        parts.skip("prompt_not_logged", where + ".previous_response_id")
    if isinstance(body.get("prompt"), dict):  # kept by the provider, and named here
        parts.skip("prompt_not_logged", where + ".prompt")
    if isinstance(given, str):
        parts.turn += 1
        blocks.text(given, USER, parts, where + ".input")
        return True
    if not isinstance(given, list):
        return bool(instructions)
    for index in range(parts.known, len(given)):
        item = given[index]
        parts.turn += 1
        if isinstance(item, str):
            blocks.text(item, USER, parts, f"{where}.input[{index}]")
        elif not isinstance(item, (int, float)):
            output(item, parts, f"{where}.input[{index}]")
    return bool(given)


def output(item: Any, parts: Parts, where: str) -> None:
    """One item of the Responses API, from its input or its output."""
    kind = item.get("type") if isinstance(item, dict) else None
    parts.turn += 1
    kind = kind if isinstance(kind, str) else ""
    if kind in SIDE_CALLS:
        _side_call(item, parts, where)
    elif kind in blocks.READERS and kind != "message":
        blocks.READERS[kind](item, MODEL, parts, where, "", 0)
    elif not blocks.message(item, parts, where):
        parts.skip("unknown_shape", where, len(dumps(item)))


def _side_call(item: dict[str, Any], parts: Parts, where: str) -> None:
    name = text_of(item.get("name")) or str(item["type"]).removesuffix("_call")
    given = next((item[key] for key in ("arguments", "action", "queries", "code", "operation") if item.get(key)), "")
    parts.call(name, given, text_of(item.get("call_id")) or text_of(item.get("id")), where)
    found = next((key for key in ("output", "results", "outputs") if item.get(key)), None)
    if found is None:
        parts.skip("response_not_logged", where)
        return
    parts.turn += 1
    blocks.result(item[found], parts, f"{where}.{found}", name)


def tools(items: Any, parts: Parts) -> None:
    """Tools offered: chat's nested function, responses' and Anthropic's flat one, Bedrock's toolSpec."""
    for item in items[:2000] if isinstance(items, list) else ():
        if not isinstance(item, dict):
            continue
        spec = next((item[k] for k in ("function", "toolSpec", "custom") if isinstance(item.get(k), dict)), item)
        name = text_of(spec.get("name")) or text_of(spec.get("server_label")) or text_of(spec.get("type"))
        schema = (
            spec.get("parameters")
            or spec.get("input_schema")
            or spec.get("inputSchema")
            or spec.get("parameter_definitions")
        )
        if name:
            parts.tools.append(ToolSpec(name, text_of(spec.get("description")), dumps(schema) if schema else ""))


INPUT_NAMES = (
    "prompt_tokens",
    "input_tokens",
    "inputTokens",
    "promptTokenCount",
    "inputTokenCount",
    "prompt_eval_count",
    "promptTokens",
    "input",
)
OUTPUT_NAMES = (
    "completion_tokens", "output_tokens", "outputTokens", "candidatesTokenCount", "outputTokenCount", "eval_count",
    "completionTokens", "output",
)  # fmt: skip


def usage(value: Any, parts: Parts) -> None:
    """Token counts under any provider's names; the last one given wins."""
    if not isinstance(value, dict):
        return
    for names, field in ((INPUT_NAMES, "input_tokens"), (OUTPUT_NAMES, "output_tokens")):
        for name in names:
            count = count_of(value.get(name))
            if count is not None:
                setattr(parts, field, count)
                break
