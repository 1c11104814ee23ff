"""Requests of probes, in each provider's own shape.

In: a cell and the guard's key. Out: a body with the mark in its place.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from afterguard.guard.probe import PLACES, Cell, mark
from afterguard.wire import kserve_grpc


def request(cell: Cell, key: bytes, run: str = "") -> bytes:
    """The body that is sent; `run` tells this round of probes, and the door they are sent through, from others."""
    if cell.operation == "predict":
        return FEATURES[cell.kind]
    told = {place: mark(key, place) if place == cell.place else "unknown" for place in PLACES}
    # Each probe is a conversation of its own, because what was judged once is not judged again; and it reads like any other question.
    told["user"] = f"My reference is {told['user']}, ticket {str(cell).replace(' ', '-')}{run}."
    return msgspec.json.encode(REQUESTS[cell.operation](told, cell.streamed))


def _chat(told: dict[str, str], streamed: bool) -> Any:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    return {
        "model": "probe",
        "messages": [
            {"role": "system", "content": f"Reference: {told['system']}"},
            {"role": "user", "content": f"What are the opening hours of the depot? {told['user']}"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": f"Record {told['tool_result']}"},
        ],
        "tools": [{"type": "function", "function": {"name": "send_note", "parameters": {"type": "object"}}}],
        "stream": streamed,
    }


def _guardrail(told: dict[str, str], _: bool) -> Any:
    """A question of LiteLLM's: about a reply where the mark stands in one, else about a request."""
    if any(told[place] != "unknown" for place in ("reply", "call")):
        call = {"name": "look_up", "arguments": msgspec.json.encode({"reference": told["call"]}).decode()}
        calls = [{"id": "call_1", "type": "function", "function": call}]
        return {"input_type": "response", "texts": [f"Here it is: {told['reply']}"], "tool_calls": calls}
    messages = _chat(told, False)["messages"]
    texts = [one["content"] for one in messages if one["content"]]
    return {"input_type": "request", "texts": texts, "structured_messages": messages, "model": "probe"}


def _webhook(told: dict[str, str], _: bool) -> Any:
    """A question of agentgateway's."""
    if told["reply"] != "unknown":
        said = {"role": "assistant", "content": f"Here it is: {told['reply']}"}
        return {"body": {"choices": [{"message": said}]}}
    return {"body": {"messages": _chat(told, False)["messages"][:2]}}


def _responses(told: dict[str, str], streamed: bool) -> Any:
    return {
        "model": "probe",
        "instructions": f"Reference: {told['system']}",
        "input": [
            {"role": "user", "content": f"What are the opening hours of the depot? {told['user']}"},
            {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": f"Record {told['tool_result']}"},
        ],
        "stream": streamed,
    }


def _messages(told: dict[str, str], streamed: bool) -> Any:
    return {
        "model": "probe",
        "max_tokens": 10,
        "system": f"Reference: {told['system']}",
        "messages": [
            {"role": "user", "content": f"What are the opening hours of the depot? {told['user']}"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "look_up", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": f"Record {told['tool_result']}"}
                ],
            },
        ],
        "stream": streamed,
    }


def _generate(told: dict[str, str], _: bool) -> Any:
    return {
        "systemInstruction": {"parts": [{"text": f"Reference: {told['system']}"}]},
        "contents": [
            {"role": "user", "parts": [{"text": f"What are the opening hours of the depot? {told['user']}"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look_up", "args": {}}}]},
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "look_up", "response": {"record": told["tool_result"]}}}],
            },
        ],
    }


def _converse(told: dict[str, str], _: bool) -> Any:
    result = {"toolUseId": "call_1", "content": [{"text": f"Record {told['tool_result']}"}]}
    return {
        "system": [{"text": f"Reference: {told['system']}"}],
        "inferenceConfig": {"maxTokens": 10},
        "messages": [
            {"role": "user", "content": [{"text": f"What are the opening hours of the depot? {told['user']}"}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "call_1", "name": "look_up", "input": {}}}]},
            {"role": "user", "content": [{"toolResult": result}]},
        ],
    }


def _ollama(told: dict[str, str], streamed: bool) -> Any:
    return {
        "model": "probe",
        "messages": [
            {"role": "system", "content": f"Reference: {told['system']}"},
            {"role": "user", "content": f"What are the opening hours of the depot? {told['user']}"},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look_up", "arguments": {}}}]},
            {"role": "tool", "tool_name": "look_up", "content": f"Record {told['tool_result']}"},
        ],
        "stream": streamed,
    }


def _mcp(told: dict[str, str], _: bool) -> Any:
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "look_up", "arguments": {"of": told["call"]}},
    }


def _traces(told: dict[str, str], streamed: bool) -> Any:
    """A span, with the reply in it."""
    calls = [{"type": "tool_call", "id": "call_2", "name": "send_note", "arguments": {"note": told["call"]}}]
    asked = [
        {
            "role": "user",
            "parts": [{"type": "text", "content": f"What are the opening hours of the depot? {told['user']}"}],
        },
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "call_1", "name": "look_up", "arguments": {}}]},
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "call_1", "response": f"Record {told['tool_result']}"}],
        },
    ]
    said = [{"role": "assistant", "parts": [{"type": "text", "content": f"At eight, {told['reply']}"}, *calls]}]
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "probe",
        "gen_ai.system_instructions": [{"type": "text", "content": f"Reference: {told['system']}"}],
        "gen_ai.input.messages": asked,
        "gen_ai.output.messages": said,
    }
    words = {
        key: value if isinstance(value, str) else msgspec.json.encode(value).decode() for key, value in given.items()
    }
    attributes = [{"key": key, "value": {"stringValue": value}} for key, value in words.items()]
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "probe", "attributes": attributes}]}]}]}


REQUESTS = {
    "guardrail": _guardrail,
    "webhook": _webhook,
    "traces": _traces,
    "chat": _chat, "responses": _responses, "messages": _messages, "generate": _generate, "converse": _converse,
    "ollama_chat": _ollama, "mcp": _mcp,
}  # fmt: skip


TENSOR = b'{"inputs": [{"name": "probe", "datatype": "FP64", "shape": [1, 2], "data": [1.5, NaN]}]}'
FEATURES = {
    "kserve": TENSOR,
    "tfserving": b'{"instances": [[1.5, NaN]]}',
    "mlflow": b'{"dataframe_split": {"columns": ["probe0", "probe1"], "data": [[1.5, NaN]]}}',
    "sagemaker": b'{"instances": [{"features": [1.5, NaN]}]}',
    "torchserve": b'{"data": [[1.5, NaN]]}',
    "scoring": b'{"features": {"probe0": 1.5, "probe1": NaN}}',
}
"""Rows with a number that is none: a hit under every schema, given or learned, and under none."""
MESSAGE = kserve_grpc.message("probe", "probe", (1, 2), [1.5, math.nan])
"""The same over gRPC."""
