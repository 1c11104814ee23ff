"""A stand-in for every model provider at once, not a model: scripted answers in each provider's own protocol, over plain HTTP.

In: HTTP/1.1 requests to the mounts /openai, /azure, /anthropic, /gemini, /bedrock, /ollama and /mcp/NAME, or to the same paths
without their mount. Out: what the provider would send, marked with the header `x-stand-in: providers`. The answer is chosen by
orders in double brackets in the newest message, so that any client can give them:

    [[say: text]]          answer with this text                [[call: tool {"a": 1}]]   call this tool (again for more)
    [[think: text]]        reasoning before the answer          [[leak: secret]]          say the secret, three letters a piece
    [[long: 200]]          that many words                      [[cut: 4]]                pieces of that many letters
    [[wait: 0.5]]          seconds before the first byte        [[slow: 0.05]]            seconds between two pieces
    [[reset: 3]]           TCP reset after that many pieces     [[stop: 3]]               close without an end after that many
    [[fail: 500]]          fail always                          [[fail: 500 1]]           fail the first 1 times, then answer
    [[encode: gzip]]       compress (gzip, deflate, br, zstd) where the client takes it; [[force: gzip]] even where not
    [[bytes: 7]]           write a stream in bites of 7 bytes   [[tag: name]]             remember the request under this name
    [[echo]]               answer with the message itself, orders removed

A tool's result is answered with "The tool said: ..." unless it holds orders too: it obeys whatever it reads.

`x-request-sha256` is the digest of the body as received. GET /stand-in/requests?tag=NAME lists what came: digest, headers, how it ended
(done, cancelled by the client, reset) and when. POST /stand-in/script {"match": "...", "say": "..."} queues one answer for the next
request whose newest message holds `match`; the other keys are the orders above. POST /stand-in/forget empties both.

It keeps no text, checks no key (Bedrock wants an AWS4 signature; `--aws-secret` has it verified), and is not for production.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import gzip
import hashlib
import hmac
import json
import re
import signal
import socket
import struct
import sys
import time
import urllib.parse
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

ORDER = re.compile(r"\[\[(\w+)(?::\s*(.*?))?\]\]", re.S)
MAX_BODY = 64 << 20
KEPT = 5000
CREATED = 1_700_000_000
QUIET_KEYS = {
    "type",
    "role",
    "id",
    "tool_call_id",
    "call_id",
    "tool_use_id",
    "name",
    "url",
    "data",
    "detail",
    "media_type",
    "mimeType",
    "bytes",
    "signature",
}


# --- what is asked ---------------------------------------------------------------------------------------------------


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    target: str
    digest: str = ""
    json: Any = None


@dataclass
class Plan:
    """What the newest message orders."""

    say: str = ""
    think: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    orders: dict[str, str] = field(default_factory=dict)
    choices: int = 1
    images: int = 0
    tokens: int = 1

    def number(self, name: str, default: float = 0.0) -> float:
        try:
            return float(self.orders[name].split()[0])
        except (KeyError, ValueError, IndexError):
            return default

    def pieces(self, text: str) -> list[str]:
        """The text as a model would stream it: word by word, or by [[cut]]."""
        size = int(self.number("cut"))
        if size > 0:
            return [text[i : i + size] for i in range(0, len(text), size)]
        return re.findall(r"\s*\S+\s*?(?=\s|$)|\s+", text) if text else []

    def text(self, choice: int) -> str:
        return self.say if choice == 0 else f"{self.say} (choice {choice})"


def newest(body: Any) -> tuple[bool, str]:
    """Whether the newest turn is a tool's result, and the text in it."""
    if not isinstance(body, dict):
        return False, ""
    turns = next((body[key] for key in ("messages", "input", "contents", "prompt", "inputText") if body.get(key)), "")
    if not isinstance(turns, list):
        return False, turns if isinstance(turns, str) else " ".join(_strings(turns))
    spoken = [t for t in turns if not (isinstance(t, dict) and t.get("role") in ("system", "developer"))]
    if not spoken:
        return False, ""
    last = spoken[-1]
    if isinstance(last, str):
        return False, last
    marks = ('"function_call_output"', '"tool_result"', '"toolResult"', '"functionResponse"')
    result = isinstance(last, dict) and (last.get("role") in ("tool", "function") or any(mark in json.dumps(last) for mark in marks))
    return result, " ".join(_strings(last))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in QUIET_KEYS:
                yield from _strings(item)


def plan(request: Request, script: dict[str, Any] | None) -> Plan:
    body = request.json
    is_result, text = newest(body)
    found = Plan(tokens=max(1, len(request.body) // 4))
    for name, value in ORDER.findall(text):
        _take(found, name, value.strip())
    for name, value in (script or {}).items():
        for each in value if isinstance(value, list) else [value]:
            _take(found, name, str(each))
    plain = ORDER.sub("", text).strip()
    if "echo" in found.orders:
        found.say = plain
    if not found.say and not found.calls:
        found.say = f"The tool said: {plain[:400]}" if is_result else f"Stand-in answer to {len(plain)} characters."
    if isinstance(body, dict):
        wanted = body.get("n") or (body.get("generationConfig") or {}).get("candidateCount") or 1
        found.choices = wanted if isinstance(wanted, int) and 0 < wanted <= 8 else 1
    found.images = sum(
        request.body.count(mark) for mark in (b'"image_url"', b'"input_image"', b'"image"', b'"inlineData"', b'"inline_data"', b'"images"')
    )
    return found


def _take(found: Plan, name: str, value: str) -> None:
    if name == "say":
        found.say = value
    elif name == "think":
        found.think = value
    elif name == "call":
        tool, _, arguments = value.partition(" ")
        found.calls.append((tool, arguments.strip() or "{}"))
    elif name == "leak":
        found.say, found.orders["cut"] = f"Of course: the key is {value} and nobody else knows it.", "3"
    elif name == "long":
        found.say = " ".join(f"word{i}" for i in range(min(int(value), 1_000_000)))
    else:
        found.orders[name] = value


# --- what is answered ------------------------------------------------------------------------------------------------


@dataclass
class Reply:
    body: bytes = b""
    frames: Iterator[bytes] | None = None
    status: int = 200
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def as_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    return Reply(dumps(value), status=status, headers=headers or {})


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def sse(value: Any, event: str = "") -> bytes:
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + dumps(value) + b"\n\n"


def as_sse(frames: Iterator[bytes]) -> Reply:
    return Reply(frames=frames, kind="text/event-stream; charset=utf-8", headers={"cache-control": "no-cache"})


def short(request: Request) -> str:
    return request.digest[:16]


def spent(p: Plan) -> int:
    return len(p.say) // 4 + sum(len(a) // 4 + 4 for _, a in p.calls) + 1


# OpenAI ---------------------------------------------------------------------------------------------------------------


def openai_chat(request: Request, p: Plan) -> Reply:
    body = request.json
    head = {
        "id": f"chatcmpl-{short(request)}",
        "created": CREATED,
        "model": body.get("model", "stand-in"),
        "system_fingerprint": "fp_stand_in",
    }
    usage: dict[str, Any] = {"prompt_tokens": p.tokens, "completion_tokens": spent(p), "total_tokens": p.tokens + spent(p)}
    usage |= {"prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}
    calls = [
        {"id": f"call_{short(request)}_{i}", "type": "function", "function": {"name": n, "arguments": a}}
        for i, (n, a) in enumerate(p.calls)
    ]
    reason = "tool_calls" if calls else "stop"
    if body.get("stream"):
        wants = (body.get("stream_options") or {}).get("include_usage")
        return as_sse(_chat_frames(head, p, calls, reason, usage if wants else None))
    choices = []
    for index in range(p.choices):
        message: dict[str, Any] = {"role": "assistant", "content": p.text(index) or None, "refusal": None, "annotations": []}
        if calls:
            message["tool_calls"] = calls
        if p.think:
            message["reasoning_content"] = p.think
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": reason})
    return as_json(head | {"object": "chat.completion", "choices": choices, "usage": usage, "service_tier": "default"})


def _chat_frames(head: dict[str, Any], p: Plan, calls: list[Any], reason: str, usage: Any) -> Iterator[bytes]:
    def frame(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        chunk = head | {
            "object": "chat.completion.chunk",
            "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        return sse(chunk | ({"usage": None} if usage else {}))

    for index in range(p.choices):
        yield frame(index, {"role": "assistant", "content": "", "refusal": None})
    for piece in p.pieces(p.think):
        yield frame(0, {"reasoning_content": piece})
    texts = [p.pieces(p.text(index)) if p.say else [] for index in range(p.choices)]
    for step in range(max(map(len, texts))):
        for index, pieces in enumerate(texts):
            if step < len(pieces):
                yield frame(index, {"content": pieces[step]})
    for index in range(p.choices):
        for at, call in enumerate(calls):
            yield frame(index, {"tool_calls": [call | {"index": at, "function": {"name": call["function"]["name"], "arguments": ""}}]})
            for piece in p.pieces(call["function"]["arguments"]):
                yield frame(index, {"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
    for index in range(p.choices):
        yield frame(index, {}, reason)
    if usage:
        yield sse(head | {"object": "chat.completion.chunk", "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def openai_completions(request: Request, p: Plan) -> Reply:
    body = request.json
    head = {"id": f"cmpl-{short(request)}", "object": "text_completion", "created": CREATED, "model": body.get("model", "stand-in")}
    usage = {"prompt_tokens": p.tokens, "completion_tokens": spent(p), "total_tokens": p.tokens + spent(p)}

    def frames() -> Iterator[bytes]:
        for index in range(p.choices):
            for piece in p.pieces(p.text(index)):
                yield sse(head | {"choices": [{"index": index, "text": piece, "logprobs": None, "finish_reason": None}]})
            yield sse(head | {"choices": [{"index": index, "text": "", "logprobs": None, "finish_reason": "stop"}]})
        yield b"data: [DONE]\n\n"

    if body.get("stream"):
        return as_sse(frames())
    choices = [{"index": i, "text": p.text(i), "logprobs": None, "finish_reason": "stop"} for i in range(p.choices)]
    return as_json(head | {"choices": choices, "usage": usage})


def openai_responses(request: Request, p: Plan) -> Reply:
    body = request.json
    key = short(request)
    output: list[dict[str, Any]] = []
    if p.think:
        output.append(
            {"id": f"rs_{key}", "type": "reasoning", "summary": [], "encrypted_content": base64.b64encode(p.think.encode()).decode()}
        )
    if p.say:
        content = [{"type": "output_text", "text": p.say, "annotations": [], "logprobs": []}]
        output.append({"id": f"msg_{key}", "type": "message", "status": "completed", "role": "assistant", "content": content})
    for i, (name, arguments) in enumerate(p.calls):
        call = {"id": f"fc_{key}_{i}", "type": "function_call", "status": "completed", "call_id": f"call_{key}_{i}"}
        output.append(call | {"name": name, "arguments": arguments})
    usage = {"input_tokens": p.tokens, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": spent(p)}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": p.tokens + spent(p)}
    whole = {
        "id": f"resp_{key}",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
    }
    whole |= {
        "instructions": body.get("instructions"),
        "model": body.get("model", "stand-in"),
        "output": output,
        "parallel_tool_calls": True,
    }
    whole |= {
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "temperature": 1.0,
        "top_p": 1.0,
        "metadata": {},
    }
    whole |= {"previous_response_id": body.get("previous_response_id"), "store": bool(body.get("store", True)), "usage": usage}
    return as_sse(_response_frames(whole, output, p)) if body.get("stream") else as_json(whole)


def _response_frames(whole: dict[str, Any], output: list[dict[str, Any]], p: Plan) -> Iterator[bytes]:
    count = iter(range(1 << 30))

    def event(kind: str, **fields: Any) -> bytes:
        return sse({"type": kind, "sequence_number": next(count)} | fields, kind)

    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    for at, item in enumerate(output):
        place = {"item_id": item["id"], "output_index": at}
        if item["type"] == "message":
            yield event("response.output_item.added", output_index=at, item=item | {"status": "in_progress", "content": []})
            empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            yield event("response.content_part.added", **place, content_index=0, part=empty)
            for piece in p.pieces(p.say):
                yield event("response.output_text.delta", **place, content_index=0, delta=piece, logprobs=[])
            yield event("response.output_text.done", **place, content_index=0, text=p.say, logprobs=[])
            yield event("response.content_part.done", **place, content_index=0, part=item["content"][0])
        elif item["type"] == "function_call":
            yield event("response.output_item.added", output_index=at, item=item | {"status": "in_progress", "arguments": ""})
            for piece in p.pieces(item["arguments"]):
                yield event("response.function_call_arguments.delta", **place, delta=piece)
            yield event("response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"])
        else:
            yield event("response.output_item.added", output_index=at, item=item)
        yield event("response.output_item.done", output_index=at, item=item)
    yield event("response.completed", response=whole)


def openai_embeddings(request: Request, p: Plan) -> Reply:
    body = request.json
    given = body.get("input", "")
    rows = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    data = []
    for index, row in enumerate(rows):
        digest = hashlib.sha256(dumps(row)).digest()
        vector: Any = [(b - 128) / 128 for b in digest[:16]]
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<16f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    usage = {"prompt_tokens": p.tokens, "total_tokens": p.tokens}
    return as_json({"object": "list", "data": data, "model": body.get("model", "stand-in"), "usage": usage})


def openai_models(_request: Request, _p: Plan) -> Reply:
    rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "stand-in"} for name in ("stand-in", "gpt-4o", "gpt-4o-mini")]
    return as_json({"object": "list", "data": rows})


# Anthropic ------------------------------------------------------------------------------------------------------------


def _anthropic_message(request: Request, p: Plan) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if p.think:
        content.append(
            {"type": "thinking", "thinking": p.think, "signature": base64.b64encode(hashlib.sha512(p.think.encode()).digest()).decode()}
        )
    if p.say:
        content.append({"type": "text", "text": p.say})
    for i, (name, arguments) in enumerate(p.calls):
        content.append({"type": "tool_use", "id": f"toolu_{short(request)}_{i}", "name": name, "input": _loads(arguments)})
    usage = {"input_tokens": p.tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": spent(p)}
    message = {
        "id": f"msg_{short(request)}",
        "type": "message",
        "role": "assistant",
        "model": request.json.get("model", "claude-stand-in"),
        "content": content,
    }
    return message | {"stop_reason": "tool_use" if p.calls else "end_turn", "stop_sequence": None, "usage": usage}


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"raw": text}


def anthropic_messages(request: Request, p: Plan) -> Reply:
    message = _anthropic_message(request, p)
    if not request.json.get("stream"):
        return as_json(message, headers={"request-id": f"req_{short(request)}"})
    return as_sse(sse(event, event["type"]) for event in _anthropic_events(message, p))


def _anthropic_events(message: dict[str, Any], p: Plan) -> Iterator[dict[str, Any]]:
    yield {
        "type": "message_start",
        "message": message | {"content": [], "stop_reason": None, "usage": message["usage"] | {"output_tokens": 1}},
    }
    calls = iter(p.calls)
    for at, block in enumerate(message["content"]):
        if block["type"] == "thinking":
            yield {"type": "content_block_start", "index": at, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}
            for piece in p.pieces(block["thinking"]):
                yield {"type": "content_block_delta", "index": at, "delta": {"type": "thinking_delta", "thinking": piece}}
            yield {"type": "content_block_delta", "index": at, "delta": {"type": "signature_delta", "signature": block["signature"]}}
        elif block["type"] == "text":
            yield {"type": "content_block_start", "index": at, "content_block": {"type": "text", "text": ""}}
            if at == 0:
                yield {"type": "ping"}
            for piece in p.pieces(block["text"]):
                yield {"type": "content_block_delta", "index": at, "delta": {"type": "text_delta", "text": piece}}
        else:
            yield {"type": "content_block_start", "index": at, "content_block": block | {"input": {}}}
            yield {"type": "content_block_delta", "index": at, "delta": {"type": "input_json_delta", "partial_json": ""}}
            for piece in p.pieces(next(calls)[1]):
                yield {"type": "content_block_delta", "index": at, "delta": {"type": "input_json_delta", "partial_json": piece}}
        yield {"type": "content_block_stop", "index": at}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": spent(p)},
    }
    yield {"type": "message_stop"}


def anthropic_count(_request: Request, p: Plan) -> Reply:
    return as_json({"input_tokens": p.tokens})


# Gemini ---------------------------------------------------------------------------------------------------------------


def _gemini_parts(p: Plan, choice: int) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": p.think, "thought": True}] if p.think else []
    if p.say:
        parts.append({"text": p.text(choice)})
    for name, arguments in p.calls:
        signature = base64.b64encode(hashlib.sha256(arguments.encode()).digest()).decode()
        parts.append({"functionCall": {"name": name, "args": _loads(arguments)}, "thoughtSignature": signature})
    return parts


def gemini_generate(request: Request, p: Plan) -> Reply:
    rows = [{"content": {"parts": _gemini_parts(p, i), "role": "model"}, "finishReason": "STOP", "index": i} for i in range(p.choices)]
    return as_json({"candidates": rows} | _gemini_tail(request, p))


def _gemini_tail(request: Request, p: Plan) -> dict[str, Any]:
    usage = {"promptTokenCount": p.tokens, "candidatesTokenCount": spent(p), "totalTokenCount": p.tokens + spent(p)}
    return {"usageMetadata": usage, "modelVersion": "gemini-stand-in", "responseId": short(request)}


def gemini_stream(request: Request, p: Plan) -> Reply:
    def chunks() -> Iterator[bytes]:
        for index in range(p.choices):
            for part in _gemini_parts(p, index):
                for small in [part | {"text": piece} for piece in p.pieces(part["text"])] if "text" in part else [part]:
                    yield dumps(
                        {"candidates": [{"content": {"parts": [small], "role": "model"}, "index": index}]} | _gemini_tail(request, p)
                    )
        last = [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": i} for i in range(p.choices)]
        yield dumps({"candidates": last} | _gemini_tail(request, p))

    def array() -> Iterator[bytes]:
        for at, chunk in enumerate(chunks()):
            yield (b",\r\n" if at else b"[") + chunk
        yield b"\n]"

    if request.query.get("alt") == "sse":
        return as_sse(b"data: " + chunk + b"\r\n\r\n" for chunk in chunks())
    return Reply(frames=array(), kind="application/json; charset=UTF-8")


def gemini_count(_request: Request, p: Plan) -> Reply:
    return as_json({"totalTokens": p.tokens})


def gemini_embed(request: Request, _p: Plan) -> Reply:
    rows = request.json.get("requests") or [request.json]
    vectors = [{"values": [(b - 128) / 128 for b in hashlib.sha256(dumps(row)).digest()[:16]]} for row in rows]
    return as_json({"embeddings": vectors} if "requests" in request.json else {"embedding": vectors[0]})


# Bedrock --------------------------------------------------------------------------------------------------------------


def event_message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of AWS's binary event stream, with both checksums."""
    packed = b"".join(bytes([len(k)]) + k.encode() + b"\x07" + struct.pack(">H", len(v.encode())) + v.encode() for k, v in headers.items())
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return whole + struct.pack(">I", zlib.crc32(whole))


def _event(kind: str, value: Any) -> bytes:
    return event_message({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, dumps(value))


def _as_events(frames: Iterator[bytes]) -> Reply:
    return Reply(frames=frames, kind="application/vnd.amazon.eventstream")


def _invoke_body(request: Request, p: Plan) -> dict[str, Any]:
    if "titan" in request.path:
        return {"inputTextTokenCount": p.tokens, "results": [{"tokenCount": spent(p), "outputText": p.say, "completionReason": "FINISH"}]}
    if "llama" in request.path:
        return {"generation": p.say, "prompt_token_count": p.tokens, "generation_token_count": spent(p), "stop_reason": "stop"}
    return _anthropic_message(request, p)


def bedrock_invoke(request: Request, p: Plan) -> Reply:
    counts = {"x-amzn-bedrock-input-token-count": str(p.tokens), "x-amzn-bedrock-output-token-count": str(spent(p))}
    return as_json(_invoke_body(request, p), headers=counts)


def bedrock_invoke_stream(request: Request, p: Plan) -> Reply:
    def events() -> Iterator[Any]:
        if "titan" in request.path:
            for piece in p.pieces(p.say):
                yield {"outputText": piece, "index": 0, "totalOutputTextTokenCount": None, "completionReason": None}
        elif "llama" in request.path:
            for piece in p.pieces(p.say):
                yield {"generation": piece, "stop_reason": None}
        else:
            yield from _anthropic_events(_anthropic_message(request, p), p)

    return _as_events(_event("chunk", {"bytes": base64.b64encode(dumps(event)).decode(), "p": "abcdef"}) for event in events())


def bedrock_converse(request: Request, p: Plan) -> Reply:
    content: list[dict[str, Any]] = [{"text": p.say}] if p.say else []
    for i, (name, arguments) in enumerate(p.calls):
        content.append({"toolUse": {"toolUseId": f"tooluse_{short(request)}_{i}", "name": name, "input": _loads(arguments)}})
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use" if p.calls else "end_turn"}
    return as_json(body | _converse_usage(p))


def _converse_usage(p: Plan) -> dict[str, Any]:
    return {"usage": {"inputTokens": p.tokens, "outputTokens": spent(p), "totalTokens": p.tokens + spent(p)}, "metrics": {"latencyMs": 1}}


def bedrock_converse_stream(request: Request, p: Plan) -> Reply:
    def frames() -> Iterator[bytes]:
        yield _event("messageStart", {"role": "assistant"})
        at = 0
        if p.say:
            for piece in p.pieces(p.say):
                yield _event("contentBlockDelta", {"contentBlockIndex": at, "delta": {"text": piece}})
            yield _event("contentBlockStop", {"contentBlockIndex": at})
            at += 1
        for i, (name, arguments) in enumerate(p.calls):
            start = {"toolUse": {"toolUseId": f"tooluse_{short(request)}_{i}", "name": name}}
            yield _event("contentBlockStart", {"contentBlockIndex": at, "start": start})
            for piece in p.pieces(arguments):
                yield _event("contentBlockDelta", {"contentBlockIndex": at, "delta": {"toolUse": {"input": piece}}})
            yield _event("contentBlockStop", {"contentBlockIndex": at})
            at += 1
        yield _event("messageStop", {"stopReason": "tool_use" if p.calls else "end_turn"})
        yield _event("metadata", _converse_usage(p))

    return _as_events(frames())


def signed(request: Request, secret: str) -> str:
    """Why the AWS signature is refused, or nothing. Without a secret only its form is looked at."""
    header = request.headers.get("authorization", "")
    given = dict(re.findall(r"(Credential|SignedHeaders|Signature)=([^,\s]+)", header))
    if not header.startswith("AWS4-HMAC-SHA256 ") or len(given) != 3:
        return "The request has no AWS4-HMAC-SHA256 signature."
    if not secret:
        return ""
    _, day, region, service, _ = (given["Credential"].split("/") + [""] * 5)[:5]
    stamp = request.headers.get("x-amz-date", "")
    names = given["SignedHeaders"].split(";")
    path, _, query = request.target.partition("?")
    canonical = "\n".join(
        [request.method, urllib.parse.quote(path, safe="/-_.~"), "&".join(sorted(query.split("&"))) if query else ""]
        + [f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in names]
        + ["", given["SignedHeaders"], request.digest]
    )
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{day}/{region}/{service}/aws4_request\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret}".encode()
    for step in (day, region, service, "aws4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    right = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    return (
        ""
        if hmac.compare_digest(right, given["Signature"])
        else "The request signature we calculated does not match the signature you provided."
    )


# Ollama ---------------------------------------------------------------------------------------------------------------


def ollama_chat(request: Request, p: Plan) -> Reply:
    return _ollama(
        request, p, lambda text, calls: {"message": {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})}
    )


def ollama_generate(request: Request, p: Plan) -> Reply:
    return _ollama(request, p, lambda text, _calls: {"response": text})


def _ollama(request: Request, p: Plan, shape: Callable[[str, list[Any]], dict[str, Any]]) -> Reply:
    head = {"model": request.json.get("model", "stand-in"), "created_at": "2026-01-01T00:00:00Z"}
    calls = [{"function": {"name": name, "arguments": _loads(arguments)}} for name, arguments in p.calls]
    tail = {"done": True, "done_reason": "stop", "total_duration": 1, "load_duration": 1, "prompt_eval_count": p.tokens}
    tail |= {"prompt_eval_duration": 1, "eval_count": spent(p), "eval_duration": 1}

    def lines() -> Iterator[bytes]:
        for piece in p.pieces(p.say):
            yield dumps(head | shape(piece, []) | {"done": False}) + b"\n"
        if calls:
            yield dumps(head | shape("", calls) | {"done": False}) + b"\n"
        yield dumps(head | shape("", []) | tail) + b"\n"

    if request.json.get("stream", True):
        return Reply(frames=lines(), kind="application/x-ndjson")
    return as_json(head | shape(p.say, calls) | tail)


def ollama_embed(request: Request, p: Plan) -> Reply:
    rows = request.json.get("input", "")
    vectors = [[(b - 128) / 128 for b in hashlib.sha256(dumps(row)).digest()[:16]] for row in (rows if isinstance(rows, list) else [rows])]
    return as_json({"model": request.json.get("model", "stand-in"), "embeddings": vectors, "prompt_eval_count": p.tokens})


def ollama_tags(_request: Request, _p: Plan) -> Reply:
    row = {"name": "stand-in:latest", "model": "stand-in:latest", "modified_at": "2026-01-01T00:00:00Z", "size": 1}
    return as_json({"models": [row | {"digest": "0" * 64, "details": {}}]})


def ollama_version(_request: Request, _p: Plan) -> Reply:
    return as_json({"version": "0.0.0-stand-in"})


# MCP ------------------------------------------------------------------------------------------------------------------

STRING = {"type": "string"}
MCP_TOOLS = [
    {
        "name": "read_page",
        "description": "Reads a page.",
        "inputSchema": {"type": "object", "properties": {"url": STRING}, "required": ["url"]},
    },
    {
        "name": "obey",
        "description": "Answers with what the text orders.",
        "inputSchema": {"type": "object", "properties": {"text": STRING}, "required": ["text"]},
    },
    {
        "name": "add",
        "description": "Adds two numbers.",
        "inputSchema": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}},
    },
]


def mcp(request: Request, _p: Plan) -> Reply:
    """JSON-RPC over streamable HTTP. A server whose name ends in `-sse` answers in event streams."""
    if request.method == "DELETE":
        return as_json({})
    if request.method != "POST" or not isinstance(request.json, dict | list):
        return as_json(
            {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "Invalid Request"}}, 405, {"allow": "POST, DELETE"}
        )
    asked = request.json if isinstance(request.json, list) else [request.json]
    answers = [_mcp_answer(one) for one in asked if isinstance(one, dict) and "id" in one and "method" in one]
    if not answers:
        return Reply(status=202)
    headers = {"mcp-session-id": f"session-{short(request)}"} if asked[0].get("method") == "initialize" else {}
    if request.path.endswith("-sse"):
        note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "logger": "stand-in", "data": "working"}}
        first = [sse(note, "message")] if asked[0].get("method") == "tools/call" else []
        reply = as_sse(iter(first + [sse(answer, "message") for answer in answers]))
        reply.headers |= headers
        return reply
    return as_json(answers if isinstance(request.json, list) else answers[0], headers=headers)


def _mcp_answer(asked: dict[str, Any]) -> dict[str, Any]:
    method, params = asked["method"], asked.get("params") or {}
    result: Any = None
    if method == "initialize":
        capabilities = {"tools": {"listChanged": True}, "resources": {}, "prompts": {}, "logging": {}}
        result = {"protocolVersion": params.get("protocolVersion", "2025-06-18"), "capabilities": capabilities}
        result |= {"serverInfo": {"name": "stand-in", "version": "1"}, "instructions": "A stand-in for an MCP server."}
    elif method in ("ping", "logging/setLevel"):
        result = {}
    elif method == "tools/list":
        result = {"tools": MCP_TOOLS}
    elif method == "resources/list":
        result = {"resources": [{"uri": "stand-in://page", "name": "page", "mimeType": "text/plain"}]}
    elif method == "resources/read":
        result = {"contents": [{"uri": params.get("uri", ""), "mimeType": "text/plain", "text": "A page of the stand-in."}]}
    elif method == "prompts/list":
        result = {"prompts": [{"name": "greet", "description": "Greets."}]}
    elif method == "prompts/get":
        result = {"messages": [{"role": "user", "content": {"type": "text", "text": "Greet the reader."}}]}
    elif method == "tools/call":
        result = _mcp_call(str(params.get("name")), params.get("arguments") or {})
    if result is None:
        return {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -32601, "message": f"Method not found: {method}"}}
    return {"jsonrpc": "2.0", "id": asked["id"], "result": result}


def _mcp_call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if name == "add":
        text = json.dumps(arguments.get("a", 0) + arguments.get("b", 0))
    elif name == "obey":
        orders = dict(ORDER.findall(str(arguments.get("text", ""))))
        text = orders.get("say", "").strip() or "Nothing was ordered."
    else:
        text = f"The page {arguments.get('url', '')} says: opening hours are nine to five."
    return {"content": [{"type": "text", "text": text}], "isError": False}


# --- routes ----------------------------------------------------------------------------------------------------------

Handler = Callable[[Request, Plan], Reply]
ROUTES: list[tuple[re.Pattern[str], str, Handler]] = [
    (re.compile(pattern), provider, handler)
    for pattern, provider, handler in (
        (r"/mcp(/[\w.-]+)*/?$", "mcp", mcp),
        (r"/model/[^/]+/invoke$", "bedrock", bedrock_invoke),
        (r"/model/[^/]+/invoke-with-response-stream$", "bedrock", bedrock_invoke_stream),
        (r"/model/[^/]+/converse$", "bedrock", bedrock_converse),
        (r"/model/[^/]+/converse-stream$", "bedrock", bedrock_converse_stream),
        (r"/models/[^/]+:generateContent$", "gemini", gemini_generate),
        (r"/models/[^/]+:streamGenerateContent$", "gemini", gemini_stream),
        (r"/models/[^/]+:countTokens$", "gemini", gemini_count),
        (r"/models/[^/]+:(embedContent|batchEmbedContents)$", "gemini", gemini_embed),
        (r"/messages/count_tokens$", "anthropic", anthropic_count),
        (r"/v1/messages$", "anthropic", anthropic_messages),
        (r"/api/chat$", "ollama", ollama_chat),
        (r"/api/generate$", "ollama", ollama_generate),
        (r"/api/(embed|embeddings)$", "ollama", ollama_embed),
        (r"/api/tags$", "ollama", ollama_tags),
        (r"/api/version$", "ollama", ollama_version),
        (r"/chat/completions$", "openai", openai_chat),
        (r"/completions$", "openai", openai_completions),
        (r"/responses$", "openai", openai_responses),
        (r"/embeddings$", "openai", openai_embeddings),
        (r"/v1/models$", "openai", openai_models),
    )
]


def failure(provider: str, status: int, message: str) -> Reply:
    """The provider's own error shape."""
    if provider == "anthropic":
        kind = {
            400: "invalid_request_error",
            401: "authentication_error",
            404: "not_found_error",
            429: "rate_limit_error",
            529: "overloaded_error",
        }
        return as_json({"type": "error", "error": {"type": kind.get(status, "api_error"), "message": message}}, status)
    if provider == "gemini":
        return as_json(
            {"error": {"code": status, "message": message, "status": "INVALID_ARGUMENT" if status == 400 else "INTERNAL"}}, status
        )
    if provider == "bedrock":
        names = {400: "ValidationException", 403: "UnrecognizedClientException", 429: "ThrottlingException"}
        return as_json({"message": message}, status, {"x-amzn-errortype": names.get(status, "InternalServerException")})
    if provider == "ollama":
        return as_json({"error": message}, status)
    return as_json(
        {"error": {"message": message, "type": "invalid_request_error" if status < 500 else "server_error", "param": None, "code": None}},
        status,
    )


# --- compression, without packages -----------------------------------------------------------------------------------


class Stored:
    """Brotli or Zstandard that stores and does not shrink: legal for every decoder, and needs no library."""

    def __init__(self, coding: str) -> None:
        self.coding, self.begun = coding, False

    def feed(self, data: bytes) -> bytes:
        out = [self._begin()]
        for at in range(0, len(data), 65536):
            part = data[at : at + 65536]
            if self.coding == "zstd":
                out.append(struct.pack("<I", len(part) << 3)[:3] + part)
            else:
                # ISLAST 0, MNIBBLES 4, MLEN - 1, ISUNCOMPRESSED 1, then up to the next byte: 20 bits and four of padding.
                out.append(struct.pack("<I", (len(part) - 1) << 3 | 1 << 19)[:3] + part)
        return b"".join(out)

    def end(self) -> bytes:
        return self._begin() + (b"\x01\x00\x00" if self.coding == "zstd" else b"\x03")

    def _begin(self) -> bytes:
        if self.begun:
            return b""
        self.begun = True
        # Zstandard: no content size, window of 128 KiB. Brotli: a window of 64 KiB is one 0 bit, and an empty
        # metadata block (0, 11, 0, 00) brings what follows to a byte's edge.
        return b"\x28\xb5\x2f\xfd\x00\x38" if self.coding == "zstd" else b"\x0c"


class Squeezed:
    def __init__(self, coding: str) -> None:
        self.engine = zlib.compressobj(6, zlib.DEFLATED, 31 if coding == "gzip" else 15)

    def feed(self, data: bytes) -> bytes:
        return self.engine.compress(data) + self.engine.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self.engine.flush()


def coder(p: Plan, request: Request) -> tuple[str, Any]:
    wanted = p.orders.get("force") or p.orders.get("encode", "")
    taken = request.headers.get("accept-encoding", "")
    if wanted not in ("gzip", "deflate", "br", "zstd") or ("force" not in p.orders and wanted not in taken):
        return "", None
    return wanted, Squeezed(wanted) if wanted in ("gzip", "deflate") else Stored(wanted)


# --- the server ------------------------------------------------------------------------------------------------------


class World:
    """What the stand-in remembers."""

    def __init__(self, secret: str = "") -> None:
        self.secret = secret
        self.seen: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.script: list[dict[str, Any]] = []
        self.failed: Counter[str] = Counter()

    def scripted(self, text: str) -> dict[str, Any] | None:
        for at, row in enumerate(self.script):
            if row.get("match", "") in text:
                return {k: v for k, v in self.script.pop(at).items() if k != "match"}
        return None


class Gone(Exception):
    """The client left."""


class Connection(asyncio.Protocol):
    def __init__(self, world: World) -> None:
        self.world = world
        self.buffer = bytearray()
        self.more = asyncio.Event()
        self.left = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.task = asyncio.ensure_future(self.serve())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.more.set()

    def connection_lost(self, exc: Exception | None) -> None:
        for event in (self.left, self.more, self.room):
            event.set()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self.left.is_set():
                raise Gone
            self.more.clear()
            await self.more.wait()

    def _cut(self, size: int) -> bytes:
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    async def _line(self) -> bytes:
        await self._until(lambda: b"\r\n" in self.buffer)
        return self._cut(self.buffer.index(b"\r\n") + 2)[:-2]

    async def _request(self) -> Request:
        await self._until(lambda: b"\r\n\r\n" in self.buffer)
        head = self._cut(self.buffer.index(b"\r\n\r\n") + 4).decode("latin-1")
        first, *lines = head[:-4].split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        if "chunked" in headers.get("transfer-encoding", ""):
            while size := int((await self._line()).split(b";")[0], 16):
                await self._until(lambda: len(self.buffer) >= size + 2)
                body += self._cut(size + 2)[:-2]
                if len(body) > MAX_BODY:
                    raise ValueError("body too large")
            while await self._line():
                pass
        else:
            length = int(headers.get("content-length", "0"))
            if length > MAX_BODY:
                raise ValueError("body too large")
            await self._until(lambda: len(self.buffer) >= length)
            body += self._cut(length)
        path, _, query = target.partition("?")
        request = Request(method, urllib.parse.unquote(path), dict(urllib.parse.parse_qsl(query)), headers, bytes(body), target)
        request.digest = hashlib.sha256(request.body).hexdigest()
        with contextlib.suppress(ValueError, OSError, zlib.error, EOFError):
            plain = gzip.decompress(request.body) if headers.get("content-encoding") == "gzip" else request.body
            request.json = json.loads(plain) if plain else None
        return request

    async def serve(self) -> None:
        try:
            while not self.left.is_set():
                request = await self._request()
                if not await self._answer(request):
                    break
        except Gone:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._send(failure("openai", 400, f"Malformed request: {type(error).__name__}"))
        self.transport.close()

    async def _answer(self, request: Request) -> bool:
        """Whether the connection may be used again."""
        if request.path.startswith("/stand-in/"):
            self._send(control(self.world, request))
            return True
        provider, handler = next(((name, run) for pattern, name, run in ROUTES if pattern.search(request.path)), ("", None))
        text = newest(request.json)[1] if isinstance(request.json, dict) else ""
        p = plan(request, self.world.scripted(text) if self.world.script else None)
        row = {"provider": provider, "method": request.method, "path": request.path, "target": request.target, "sha256": request.digest, "size": len(request.body)}
        row |= {
            "headers": request.headers,
            "tag": p.orders.get("tag") or _tag(request),
            "began": time.monotonic(),
            "ended": None,
            "outcome": "open",
            "pieces": 0,
        }
        self.world.seen.append(row)
        try:
            row["outcome"] = await self._perform(request, provider, handler, p, row)
        except Gone:
            row["outcome"] = "cancelled"
            raise
        finally:
            row["ended"] = time.monotonic()
        return row["outcome"] == "done" and request.headers.get("connection", "").lower() != "close"

    async def _perform(self, request: Request, provider: str, handler: Handler | None, p: Plan, row: dict[str, Any]) -> str:
        await self._pause(p.number("wait"))
        if handler is None:
            reply = failure("openai", 404, f"The stand-in has nothing at {request.path}")
        elif provider == "bedrock" and (why := signed(request, self.world.secret)):
            reply = failure("bedrock", 403, why)
        elif (status := int(p.number("fail"))) and self._fails(p, row["tag"] or request.digest):
            reply = failure(provider, status, "Scripted failure of the stand-in")
            reply.headers["retry-after-ms"] = "20"
        elif request.json is None and request.method == "POST":
            reply = failure(provider, 400, "The body is not JSON.")
        else:
            reply = handler(request, p)
        reply.headers |= {"x-request-sha256": request.digest, "x-stand-in-images": str(p.images)}
        coding, encoder = coder(p, request)
        if coding:
            reply.headers["content-encoding"] = coding
        if reply.frames is None:
            if encoder and reply.body:
                reply.body = encoder.feed(reply.body) + encoder.end()
            self._send(reply)
            return "done"
        return await self._stream(reply, p, encoder, row)

    def _fails(self, p: Plan, key: str) -> bool:
        words = p.orders["fail"].split()
        self.world.failed[key] += 1
        return len(words) < 2 or self.world.failed[key] <= int(words[1])

    async def _stream(self, reply: Reply, p: Plan, encoder: Any, row: dict[str, Any]) -> str:
        self.transport.write(_head(reply, None))
        slow, bite = p.number("slow"), int(p.number("bytes"))
        for frame in reply.frames or ():
            data = encoder.feed(frame) if encoder else frame
            for part in [data[i : i + bite] for i in range(0, len(data), bite)] if bite else [data]:
                self.transport.write(b"%x\r\n%b\r\n" % (len(part), part))
                if bite:
                    await asyncio.sleep(0)
            row["pieces"] += 1
            if "reset" in p.orders and row["pieces"] >= p.number("reset"):
                await self._pause(0.05)
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.transport.abort()
                return "reset"
            if "stop" in p.orders and row["pieces"] >= p.number("stop"):
                return "stopped"
            await self.room.wait()
            await self._pause(slow)
        if encoder and (last := encoder.end()):
            self.transport.write(b"%x\r\n%b\r\n" % (len(last), last))
        self.transport.write(b"0\r\n\r\n")
        return "done"

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.left.wait(), seconds)
        if self.left.is_set():
            raise Gone

    def _send(self, reply: Reply) -> None:
        self.transport.write(_head(reply, len(reply.body)) + reply.body)


def _head(reply: Reply, length: int | None) -> bytes:
    reason = {200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found"}.get(reply.status, "Status")
    lines = [f"HTTP/1.1 {reply.status} {reason}", f"content-type: {reply.kind}", "x-stand-in: providers"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _tag(request: Request) -> str:
    """A tag from the whole body, for protocols whose newest message is not where it stands (MCP, embeddings)."""
    found = re.search(rb"\[\[tag: ([\w.:-]+)\]\]", request.body[-65536:]) or re.search(rb"\[\[tag: ([\w.:-]+)\]\]", request.body[:65536])
    return found[1].decode() if found else ""


def control(world: World, request: Request) -> Reply:
    if request.path == "/stand-in/requests":
        tag = request.query.get("tag")
        rows = [row for row in world.seen if tag is None or row["tag"] == tag]
        return as_json({"stand_in": True, "now": time.monotonic(), "count": len(rows), "requests": rows})
    if request.path == "/stand-in/script" and isinstance(request.json, dict):
        world.script.append(request.json)
        return as_json({"queued": len(world.script)})
    if request.path == "/stand-in/forget":
        world.seen.clear()
        world.script.clear()
        world.failed.clear()
        return as_json({})
    if request.path == "/stand-in/ready":
        return as_json({"ready": True})
    return failure("openai", 404, "The stand-in has no such control.")


async def serve(host: str, port: int, secret: str = "", announce: Callable[[str], None] = print) -> None:
    loop = asyncio.get_running_loop()
    world = World(secret)
    server = await loop.create_server(lambda: Connection(world), host, port, backlog=1024)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    bound = server.sockets[0].getsockname()
    announce(f"stand-in providers on http://{bound[0]}:{bound[1]}")
    await stop.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9200, help="0 takes a free one; the first line printed names it")
    parser.add_argument("--aws-secret", default="", help="verify Bedrock's signatures with this secret key")
    given = parser.parse_args()

    def announce(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    asyncio.run(serve(given.host, given.port, given.aws_secret, announce))


if __name__ == "__main__":
    main()
