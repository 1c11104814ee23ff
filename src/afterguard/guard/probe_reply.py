"""Replies to probes, in each provider's own shape, whole and streamed.

In: a cell and the guard's key. Out: what an upstream would have said, with the mark in its place. It comes from here and not from the upstream: a probe costs nothing and asks no model.
"""

from __future__ import annotations

import gzip
import zlib
from typing import Any, NamedTuple

import msgspec

from afterguard.guard.probe import Cell, mark
from afterguard.wire import kserve_grpc
from afterguard.wire.eventstream import encode as frame

SCORES = {
    "kserve": b'{"model_name": "probe", "outputs": [{"name": "score", "datatype": "FP64", "shape": [1], "data": [0.123456]}]}',
    "scoring": b'{"score": 0.123456}',
    "torchserve": b'{"probe": 0.123456}',
}

MESSAGE = kserve_grpc.message("probe", "score", (1,), [0.123456])
"""The same over gRPC."""


class Canned(NamedTuple):
    """A reply that no upstream gave."""

    content_type: str
    body: bytes
    encoding: str


def reply(cell: Cell, key: bytes, note: str = "") -> Canned:
    """What the probe is answered with; `note` is what a call in it says instead of the mark."""
    if cell.operation == "predict":
        made = SCORES.get(cell.kind, b'{"predictions": [0.123456]}')
        return Canned("application/json", gzip.compress(made, mtime=0) if cell.encoding else made, cell.encoding)
    said = f"The reference is {mark(key, 'reply')} and that is all." if cell.place == "reply" else "All is well."
    arguments = {"note": note or mark(key, "call")} if cell.place == "call" else {}
    if cell.kind == "mcp":
        said = f"Record {mark(key, 'tool_result')}" if cell.place == "tool_result" else "All is well."
    kind, body = (STREAMED if cell.streamed else WHOLE)[cell.operation](said, arguments)
    if cell.encoding == "gzip":
        body = gzip.compress(body, mtime=0)
    elif cell.encoding == "deflate":
        body = zlib.compress(body)
    return Canned(kind, body, cell.encoding)


JSON = "application/json"
SSE = "text/event-stream"
Made = tuple[str, bytes]


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _events(*rows: Any) -> bytes:
    out = []
    for row in rows:
        name, body = row if isinstance(row, tuple) else ("", row)
        head = f"event: {name}\n" if name else ""
        out.append(f"{head}data: {body if isinstance(body, str) else _text(body)}\n\n")
    return "".join(out).encode()


def _halves(text: str) -> tuple[str, str]:
    """Cut where it hurts most: inside the mark."""
    middle = text.find("ref-") + 8 if "ref-" in text else len(text) // 2
    return text[:middle], text[middle:]


def _whole_chat(said: str, arguments: dict[str, str]) -> Made:
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if arguments:
        message["tool_calls"] = [
            {"id": "call_2", "type": "function", "function": {"name": "send_note", "arguments": _text(arguments)}}
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if arguments else "stop"}
    body = {"id": "chatcmpl-probe", "object": "chat.completion", "created": 0, "model": "probe", "choices": [choice]}
    return JSON, msgspec.json.encode(body)


def _stream_chat(said: str, arguments: dict[str, str]) -> Made:
    def chunk(delta: Any, finish: str | None = None) -> Any:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {
            "id": "chatcmpl-probe",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "probe",
            "choices": [choice],
        }

    rows = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": half}) for half in _halves(said))]
    if arguments:
        first, second = _halves(_text(arguments))
        call = {"index": 0, "id": "call_2", "type": "function", "function": {"name": "send_note", "arguments": first}}
        rows.append(chunk({"tool_calls": [call]}))
        rows.append(chunk({"tool_calls": [{"index": 0, "function": {"arguments": second}}]}))
    return SSE, _events(*rows, chunk({}, "tool_calls" if arguments else "stop"), "[DONE]")


def _output(said: str, arguments: dict[str, str]) -> list[Any]:
    text = {"type": "output_text", "text": said, "annotations": []}
    out: list[Any] = [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text]}]
    if arguments:
        out.append(
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "call_2",
                "name": "send_note",
                "arguments": _text(arguments),
                "status": "completed",
            }
        )
    return out


def _whole_responses(said: str, arguments: dict[str, str]) -> Made:
    body = {"id": "resp_probe", "object": "response", "created_at": 0, "status": "completed", "model": "probe"}
    return JSON, msgspec.json.encode({**body, "output": _output(said, arguments)})


def _stream_responses(said: str, arguments: dict[str, str]) -> Made:
    base = {
        "id": "resp_probe",
        "object": "response",
        "created_at": 0,
        "status": "in_progress",
        "model": "probe",
        "output": [],
    }
    items = _output(said, arguments)
    message = {**items[0], "status": "in_progress", "content": []}
    rows: list[Any] = [{"type": "response.created", "response": base}]
    rows.append({"type": "response.output_item.added", "output_index": 0, "item": message})
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    rows.append(
        {"type": "response.content_part.added", **place, "part": {"type": "output_text", "text": "", "annotations": []}}
    )
    rows += [{"type": "response.output_text.delta", **place, "delta": half} for half in _halves(said)]
    rows.append({"type": "response.output_text.done", **place, "text": said})
    rows.append({"type": "response.content_part.done", **place, "part": items[0]["content"][0]})
    rows.append({"type": "response.output_item.done", "output_index": 0, "item": items[0]})
    if arguments:
        rows.append(
            {
                "type": "response.output_item.added",
                "output_index": 1,
                "item": {**items[1], "arguments": "", "status": "in_progress"},
            }
        )
        spot = {"item_id": "fc_1", "output_index": 1}
        rows += [
            {"type": "response.function_call_arguments.delta", **spot, "delta": half}
            for half in _halves(_text(arguments))
        ]
        rows.append({"type": "response.function_call_arguments.done", **spot, "arguments": _text(arguments)})
        rows.append({"type": "response.output_item.done", "output_index": 1, "item": items[1]})
    rows.append({"type": "response.completed", "response": {**base, "status": "completed", "output": items}})
    return SSE, _events(*((row["type"], {**row, "sequence_number": n}) for n, row in enumerate(rows)))


def _content(said: str, arguments: dict[str, str]) -> list[Any]:
    out: list[Any] = [{"type": "text", "text": said}]
    if arguments:
        out.append({"type": "tool_use", "id": "toolu_2", "name": "send_note", "input": arguments})
    return out


def _whole_messages(said: str, arguments: dict[str, str]) -> Made:
    stop = "tool_use" if arguments else "end_turn"
    body = {
        "id": "msg_probe",
        "type": "message",
        "role": "assistant",
        "model": "probe",
        "content": _content(said, arguments),
    }
    return JSON, msgspec.json.encode(
        {**body, "stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    )


def _stream_messages(said: str, arguments: dict[str, str]) -> Made:
    message: dict[str, Any] = {
        "id": "msg_probe",
        "type": "message",
        "role": "assistant",
        "model": "probe",
        "content": [],
        "stop_reason": None,
    }
    rows: list[Any] = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": 1, "output_tokens": 1}}}
    ]
    rows.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    rows += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": half}}
        for half in _halves(said)
    ]
    rows.append({"type": "content_block_stop", "index": 0})
    if arguments:
        block = {"type": "tool_use", "id": "toolu_2", "name": "send_note", "input": {}}
        rows.append({"type": "content_block_start", "index": 1, "content_block": block})
        rows += [
            {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": half}}
            for half in _halves(_text(arguments))
        ]
        rows.append({"type": "content_block_stop", "index": 1})
    stop = {"stop_reason": "tool_use" if arguments else "end_turn", "stop_sequence": None}
    rows += [{"type": "message_delta", "delta": stop, "usage": {"output_tokens": 1}}, {"type": "message_stop"}]
    return SSE, _events(*((row["type"], row) for row in rows))


def _candidate(parts: list[Any], finish: str = "") -> Any:
    one: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    return {"candidates": [one | ({"finishReason": finish} if finish else {})], "modelVersion": "probe"}


def _gemini_call(arguments: dict[str, str]) -> list[Any]:
    return [{"functionCall": {"name": "send_note", "args": arguments}}] if arguments else []


def _whole_generate(said: str, arguments: dict[str, str]) -> Made:
    return JSON, msgspec.json.encode(_candidate([{"text": said}, *_gemini_call(arguments)], "STOP"))


def _stream_generate(said: str, arguments: dict[str, str]) -> Made:
    first, second = _halves(said)
    return SSE, _events(_candidate([{"text": first}]), _candidate([{"text": second}, *_gemini_call(arguments)], "STOP"))


def _blocks(said: str, arguments: dict[str, str]) -> list[Any]:
    out: list[Any] = [{"text": said}]
    if arguments:
        out.append({"toolUse": {"toolUseId": "tooluse_2", "name": "send_note", "input": arguments}})
    return out


def _whole_converse(said: str, arguments: dict[str, str]) -> Made:
    message = {"role": "assistant", "content": _blocks(said, arguments)}
    stop = "tool_use" if arguments else "end_turn"
    return JSON, msgspec.json.encode(
        {"output": {"message": message}, "stopReason": stop, "usage": {"inputTokens": 1, "outputTokens": 1}}
    )


def _stream_converse(said: str, arguments: dict[str, str]) -> Made:
    rows: list[tuple[str, Any]] = [("messageStart", {"role": "assistant"})]
    rows += [("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": half}}) for half in _halves(said)]
    rows.append(("contentBlockStop", {"contentBlockIndex": 0}))
    if arguments:
        start = {"toolUse": {"toolUseId": "tooluse_2", "name": "send_note"}}
        rows.append(("contentBlockStart", {"contentBlockIndex": 1, "start": start}))
        rows += [
            ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": half}}})
            for half in _halves(_text(arguments))
        ]
        rows.append(("contentBlockStop", {"contentBlockIndex": 1}))
    rows.append(("messageStop", {"stopReason": "tool_use" if arguments else "end_turn"}))
    return "application/vnd.amazon.eventstream", b"".join(_binary(name, body) for name, body in rows)


def _binary(name: str, body: Any) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, msgspec.json.encode(body))


def _whole_ollama(said: str, arguments: dict[str, str]) -> Made:
    message: dict[str, Any] = {"role": "assistant", "content": said}
    if arguments:
        message["tool_calls"] = [{"function": {"name": "send_note", "arguments": arguments}}]
    return JSON, msgspec.json.encode({"model": "probe", "message": message, "done": True, "done_reason": "stop"})


def _stream_ollama(said: str, arguments: dict[str, str]) -> Made:
    rows: list[Any] = [{"role": "assistant", "content": half} for half in _halves(said)]
    if arguments:
        rows.append(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "send_note", "arguments": arguments}}],
            }
        )
    lines = [{"model": "probe", "message": row, "done": False} for row in rows]
    end = {"model": "probe", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    return "application/x-ndjson", b"".join(msgspec.json.encode(line) + b"\n" for line in (*lines, end))


def _whole_mcp(said: str, _: dict[str, str]) -> Made:
    result = {"content": [{"type": "text", "text": said}], "isError": False}
    return JSON, msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "result": result})


def _stream_mcp(said: str, arguments: dict[str, str]) -> Made:
    return SSE, _events(("message", _whole_mcp(said, arguments)[1].decode()))


WHOLE = {
    "chat": _whole_chat, "responses": _whole_responses, "messages": _whole_messages, "generate": _whole_generate,
    "converse": _whole_converse, "ollama_chat": _whole_ollama, "mcp": _whole_mcp,
}  # fmt: skip
STREAMED = {
    "chat": _stream_chat, "responses": _stream_responses, "messages": _stream_messages, "generate": _stream_generate,
    "converse": _stream_converse, "ollama_chat": _stream_ollama, "mcp": _stream_mcp,
}  # fmt: skip
