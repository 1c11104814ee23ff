"""Harmless probes that prove the guard looks: requests that carry a mark in one place, and the replies that carry one in another.

In: a mount's kind, a cell (where the mark stands, streamed or not, compressed or not). Out: bytes of requests and replies in the provider's own shape. The reply comes from here, not
from the upstream: a probe costs nothing and asks no model. It opens nothing. A probe is signed with the guard's key, so nobody else can have a request answered here.
"""

from __future__ import annotations

import gzip
import hmac
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from afterguard.wire.eventstream import encode as frame

HEADER = b"x-afterguard-probe"
FRESH = 300
"""Seconds for which a signature holds."""
PLACES = ("system", "user", "tool_result", "reply", "call", "features")
"""Where the mark stands: three in the request, two in the reply; of a predictive model, among its features."""
IN_REQUEST = PLACES[:3]
KINDS = {
    "system": "secret_in_input",
    "user": "secret_in_input",
    "tool_result": "secret_in_output",
    "reply": "canary_leak",
    "call": "canary_leak",
    "features": "feature_not_finite",
}
"""The hit that proves it was seen."""
PATHS = {
    ("openai", "chat"): "/v1/chat/completions",
    ("openai", "responses"): "/v1/responses",
    ("azure", "chat"): "/openai/deployments/probe/chat/completions",
    ("anthropic", "messages"): "/v1/messages",
    ("gemini", "generate"): "/v1beta/models/probe:generateContent",
    ("bedrock", "converse"): "/model/probe/converse",
    ("ollama", "ollama_chat"): "/api/chat",
    ("mcp", "mcp"): "",
    ("kserve", "predict"): "/v2/models/probe/infer",
    ("tfserving", "predict"): "/v1/models/probe:predict",
    ("mlflow", "predict"): "/invocations",
    ("sagemaker", "predict"): "/endpoints/probe/invocations",
    ("torchserve", "predict"): "/predictions/probe",
    ("scoring", "predict"): "/probe",
    ("litellm", "guardrail"): "/beta/litellm_basic_guardrail_api",
    ("agentgateway", "webhook"): "/request",
    ("otlp", "traces"): "/v1/traces",
}
"""One path for each surface: (kind, operation)."""


ASKED = ("litellm", "agentgateway")
"""Doors that gateways ask: about a request or a reply, never about a stream or in an encoding."""


class Cell(NamedTuple):
    """One thing to prove."""

    kind: str
    operation: str
    place: str
    streamed: bool = False
    encoding: str = ""

    def __str__(self) -> str:
        how = ("stream" if self.streamed else "whole") + (f"+{self.encoding}" if self.encoding else "")
        return f"{self.operation} {self.place} {how}"


def cells(kind: str) -> Iterator[Cell]:
    """Every cell of a mount of this kind."""
    for known, operation in PATHS:
        if known != kind:
            continue
        if operation == "predict":
            yield from (Cell(kind, operation, "features", encoding=encoding) for encoding in ("", "gzip"))
            continue
        for place in PLACES[:5]:
            if kind == "mcp" and place in ("system", "user", "reply"):
                continue
            if kind in ASKED:
                if kind == "litellm" or place in ("system", "user", "reply"):
                    yield Cell(kind, operation, place)
                continue
            for streamed in (False,) if kind == "otlp" else (False, True):
                for encoding in ("", "gzip"):
                    yield Cell(kind, operation, place, streamed, encoding)


def mirrored(kind: str) -> Iterator[Cell]:
    """Those of a mount that a copy of its requests can show. What an MCP server's mark stands in is a reply."""
    return (cell for cell in cells(kind) if cell.place in IN_REQUEST and not cell.streamed and kind != "mcp")


def signature(key: bytes, cell: str, moment: int) -> bytes:
    """The value of the probe header."""
    told = f"{moment}.{cell}"
    digest = hmac.digest(hmac.digest(key, b"afterguard probe", "sha256"), told.encode(), "sha256").hex()[:32]
    return f"{told}.{digest}".encode()


def verified(value: bytes, key: bytes, now: float) -> Cell | None:
    """The cell of a signed header, None where it is forged or old."""
    head, _, _ = value.rpartition(b".")
    moment, _, name = head.decode("latin-1").partition(".")
    if not moment.isdigit() or abs(now - int(moment)) > FRESH:
        return None
    if not hmac.compare_digest(signature(key, name, int(moment)), value):
        return None
    parts = name.split("/")
    if len(parts) != 5 or parts[2] not in PLACES:
        return None
    return Cell(parts[0], parts[1], parts[2], parts[3] == "stream", parts[4])


def sent(headers: Iterable[tuple[bytes, bytes]], key: bytes, now: float) -> Cell | None:
    """The cell of a request, None where it is no probe."""
    return next((verified(value, key, now) for name, value in headers if name == HEADER), None)


def named(cell: Cell) -> str:
    """The cell as the header spells it."""
    return "/".join((cell.kind, cell.operation, cell.place, "stream" if cell.streamed else "whole", cell.encoding))


def mark(key: bytes, place: str) -> str:
    """What stands in that place: a key that opens nothing, or a planted token."""
    digest = hmac.digest(key, b"afterguard mark " + place.encode(), "sha256").hex()
    if place in ("reply", "call"):
        return "ref-" + digest[:12]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return "AKIA" + "".join(letters[int(digest[n : n + 2], 16) % 32] for n in range(0, 32, 2))


def path(cell: Cell) -> str:
    """Where the probe is sent, below the mount."""
    found = PATHS[cell.kind, cell.operation]
    if cell.kind == "agentgateway" and cell.place == "reply":
        return "/response"
    if cell.kind == "gemini" and cell.streamed:
        return found.replace(":generateContent", ":streamGenerateContent?alt=sse")
    if cell.kind == "bedrock" and cell.streamed:
        return found + "-stream"
    return found + ("?api-version=2024-10-21" if cell.kind == "azure" else "")


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
SCORES = {
    "kserve": b'{"model_name": "probe", "outputs": [{"name": "score", "datatype": "FP64", "shape": [1], "data": [0.123456]}]}',
    "scoring": b'{"score": 0.123456}',
    "torchserve": b'{"probe": 0.123456}',
}


class Canned(NamedTuple):
    """A reply that no upstream gave."""

    content_type: str
    body: bytes
    encoding: str


def reply(cell: Cell, key: bytes) -> Canned:
    """What the probe is answered with."""
    if cell.operation == "predict":
        made = SCORES.get(cell.kind, b'{"predictions": [0.123456]}')
        return Canned("application/json", gzip.compress(made, mtime=0) if cell.encoding else made, cell.encoding)
    said = f"The reference is {mark(key, 'reply')} and that is all." if cell.place == "reply" else "All is well."
    arguments = {"note": mark(key, "call")} if cell.place == "call" else {}
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
