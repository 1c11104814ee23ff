"""Saying no in the provider's own words: error bodies that no SDK retries, and legal ends of streams that are already open.

In: an `Endpoint` (or the dialect of an open stream and what stands open in it), a sentence for a person, a code for a program. Out:
bytes. It decides nothing and keeps nothing.

Theory of operation. Before the first byte, a block is status 400 in the provider's error shape: every SDK turns that into its
"bad request" class, and none retries it (they retry 408, 409, 429 and 5xx). `x-should-retry: false` says so once more to the SDKs
that read it. A throttle is 429 with retry-after. After the first byte the status has been sent, so the stream itself must end
legally: what is open is closed in order, then comes the provider's word for "withheld". Where the provider's SDKs raise on an
error inside the stream and have no word for "withheld" that every client heeds, an error event follows, and nothing comes after it:

  openai     every open choice gets finish_reason content_filter, then {"error": ...}. Both SDKs raise APIError on it. No [DONE]:
             clients that only look for [DONE] would take the cut text for a whole reply.
  responses  open parts and items are closed as incomplete, then response.failed: no client takes it for response.completed.
  anthropic  open blocks are closed, stop_reason refusal, message_stop: the provider's own ending of a withheld reply.
  gemini     finishReason SAFETY for every open candidate, with the sentence as finishMessage.
  converse   open blocks are closed, messageStop guardrail_intervened, metadata.
  invoke     an exception event (validationException): the chunks' shape depends on the model, the exception's does not.
  ollama     {"error": ...}: both clients raise on it.
  mcp        a JSON-RPC error that answers the request's id.
  plain      an event named error in an event stream.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

import msgspec

from afterguard.wire.endpoint import Endpoint

Headers = list[tuple[bytes, bytes]]
CODE = "afterguard_blocked"
SAYS_CAP = 2000
encode = msgspec.json.encode


class Slot(NamedTuple):
    """Something that has been opened in a stream and not closed."""

    kind: str
    """choice (openai, ollama, gemini: a candidate), text thinking tool_use (a content block), message reasoning call (a Responses item)."""
    index: int  # type: ignore[assignment]
    """Of the choice, candidate, block or output item, as the stream numbers it."""
    part: int = -1
    """Index of the content part that stands open in a Responses item, -1 for none."""
    id: str = ""
    """Of a Responses item, or of a call."""
    text: str = ""
    """What the client has been given of this slot: Responses repeats it in its closing events."""
    name: str = ""
    """The tool's, for a call."""


class Opened(NamedTuple):
    """What is known of a stream at the moment it is ended."""

    id: str = ""
    model: str = ""
    created: int = 0
    slots: tuple[Slot, ...] = ()
    """In the order in which they were opened."""
    sequence: int = 0
    """Next sequence_number of a Responses stream."""
    is_legacy: bool = False
    """An openai stream of text completions, whose chunks have `text` for `delta`."""
    is_array: bool = False
    """A Gemini stream that is one JSON array rather than events."""
    is_begun: bool = True
    """Whether the client has been given anything at all; an Anthropic message or a JSON array may have to be opened first."""
    request_id: Any = None
    """Id of an MCP request."""
    output_tokens: int = 0


def refused(
    endpoint: Endpoint,
    says: str,
    code: str = CODE,
    status: int = 400,
    decision: str = "",
    *,
    wait: float = 0.0,
    request_id: Any = None,
    approval: str = "",
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a refusal. `wait` in seconds becomes retry-after (429). `request_id` is MCP's JSON-RPC id:
    a refused call is answered with status 200, because MCP clients drop the session on any other. `approval` names what a person has to approve."""
    says = _says(says, decision)
    headers: Headers = [(b"content-type", b"application/json")]
    if decision:
        headers.append((b"x-afterguard-decision", _ascii(decision)))
    if approval:
        headers.append((b"x-afterguard-approval", _ascii(approval)))
    if status == 429:
        headers.append((b"retry-after", b"%d" % (1 if not wait > 1 else 86_400 if wait > 86_400 else ceil(wait))))
    else:
        headers.append((b"x-should-retry", b"false"))
    if endpoint.dialect == "sagemaker":
        headers.append((b"x-amzn-errortype", b"ThrottlingException" if status == 429 else b"ValidationError"))
    if endpoint.dialect in ("converse", "invoke"):
        kind = b"ThrottlingException" if status == 429 else b"ValidationException"
        headers.append((b"x-amzn-errortype", kind))
    if endpoint.dialect == "mcp" and request_id is not None and status != 429:
        status = 200
    body = encode(_error(endpoint, says, code, status, request_id))
    headers.append((b"content-length", b"%d" % len(body)))
    return status, headers, body


def _error(endpoint: Endpoint, says: str, code: str, status: int, request_id: Any) -> Any:
    dialect = endpoint.dialect
    if dialect == "anthropic":
        return {"type": "error", "error": {"type": _anthropic_type(status), "message": says}}
    if dialect == "gemini":
        reason = "RESOURCE_EXHAUSTED" if status == 429 else "PERMISSION_DENIED" if status == 403 else "INVALID_ARGUMENT"
        detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": code.upper(), "domain": "afterguard"}
        return {"error": {"code": status, "message": says, "status": reason, "details": [detail]}}
    if dialect in ("converse", "invoke"):
        return {"message": says}
    if dialect in ("ollama", "kserve", "tfserving"):
        return {"error": says}
    if dialect == "mlflow":
        return {"error_code": "RESOURCE_EXHAUSTED" if status == 429 else "BAD_REQUEST", "message": says}
    if dialect == "sagemaker":
        return {"message": says}
    if dialect == "torchserve":
        return {"code": status, "type": code, "message": says}
    if dialect == "mcp":
        return _rpc(says, code, request_id)
    error = _openai_error(says, code, status)
    if endpoint.provider == "azure" and code == CODE:
        # Applications on Azure already know this pair as "the content policy said no".
        error |= {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation", "message": code}}
    return {"error": error}


def _openai_error(says: str, code: str, status: int = 400) -> dict[str, Any]:
    kind = "rate_limit_error" if status == 429 else "invalid_request_error"
    return {"message": says, "type": kind, "param": None, "code": code}


def _anthropic_type(status: int) -> str:
    known = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error"}  # fmt: skip
    return known.get(status, "api_error" if status >= 500 else "invalid_request_error")


def _rpc(says: str, code: str, request_id: Any) -> dict[str, Any]:
    identifier = request_id if isinstance(request_id, (str, int)) and not isinstance(request_id, bool) else None
    return {"jsonrpc": "2.0", "id": identifier, "error": {"code": -32600, "message": says, "data": {"code": code}}}


def _says(says: str, decision: str) -> str:
    """The sentence, with the decision's id so that a user can report it; what UTF-8 cannot carry is replaced."""
    says = says[:SAYS_CAP] if not decision else f"{says[:SAYS_CAP]} (decision {decision[:80]})"
    return says.encode("utf-8", "replace").decode()


def _ascii(value: str) -> bytes:
    """A header's value: printable ASCII only, so that nothing can be smuggled through it."""
    return bytes(byte for byte in value[:80].encode("ascii", "ignore") if 0x20 < byte < 0x7F)


def endings(dialect: str, opened: Opened, says: str, code: str = CODE, decision: str = "") -> bytes:
    """The bytes that end an open stream. Whatever frames are still held must not be sent after them."""
    says = _says(says, decision)
    ending = ENDINGS.get(dialect, _plain)
    return ending(opened, says, code)


def _data(value: Any, name: str = "") -> bytes:
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + encode(value) + b"\n\n"


def _openai(opened: Opened, says: str, code: str) -> bytes:
    kind = "text_completion" if opened.is_legacy else "chat.completion.chunk"
    piece: dict[str, Any] = {"text": ""} if opened.is_legacy else {"delta": {}}
    out = []
    for index in _indexes(opened.slots):
        choice = {"index": index, **piece, "logprobs": None, "finish_reason": "content_filter"}
        chunk = {"id": opened.id, "object": kind, "created": opened.created, "model": opened.model, "choices": [choice]}
        out.append(_data(chunk))
    return b"".join(out) + _data({"error": _openai_error(says, code)})


def _indexes(slots: Sequence[Slot]) -> list[int]:
    """Choices that stand open, each once: a choice's text and its calls are slots of one choice."""
    return list(dict.fromkeys(slot.index for slot in slots))


def _responses(opened: Opened, says: str, code: str) -> bytes:
    out = []
    number = opened.sequence
    items: list[Any] = []
    whole = {
        "id": opened.id, "object": "response", "created_at": opened.created, "status": "in_progress", "error": None,
        "incomplete_details": None, "model": opened.model, "output": [], "usage": None,
    }  # fmt: skip
    if not opened.is_begun:
        out.append(
            _data({"type": "response.created", "response": whole, "sequence_number": number}, "response.created")
        )
        number += 1
    for slot in opened.slots:
        events, item = _close_item(slot)
        items.append(item)
        for event in events:
            out.append(_data({**event, "sequence_number": number}, event["type"]))
            number += 1
    error = {"code": code, "message": says}
    whole |= {"status": "failed", "error": error, "incomplete_details": {"reason": "content_filter"}, "output": items}
    failed = {"type": "response.failed", "response": whole, "sequence_number": number}
    return b"".join(out) + _data(failed, "response.failed")


def _close_item(slot: Slot) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Events that close an item, innermost first. A call is closed as incomplete and never gets its arguments' done event."""
    place: dict[str, Any] = {"item_id": slot.id, "output_index": slot.index}
    if slot.kind == "call":
        item: dict[str, Any] = {
            "id": slot.id, "type": "function_call", "status": "incomplete", "arguments": "", "call_id": "", "name": slot.name,
        }  # fmt: skip
        return [{"type": "response.output_item.done", "output_index": slot.index, "item": item}], item
    if slot.kind == "reasoning":
        item = {"id": slot.id, "type": "reasoning", "summary": [], "status": "incomplete"}
        return [{"type": "response.output_item.done", "output_index": slot.index, "item": item}], item
    part = {"type": "output_text", "text": slot.text, "annotations": []}
    item = {"id": slot.id, "type": "message", "status": "incomplete", "role": "assistant", "content": [part]}
    events: list[dict[str, Any]] = []
    if slot.part >= 0:
        place["content_index"] = slot.part
        events.append({"type": "response.output_text.done", **place, "text": slot.text, "logprobs": []})
        events.append({"type": "response.content_part.done", **place, "part": part})
    else:
        item["content"] = []
    events.append({"type": "response.output_item.done", "output_index": slot.index, "item": item})
    return events, item


def _anthropic(opened: Opened, says: str, code: str) -> bytes:
    out = []
    if not opened.is_begun:
        message: dict[str, Any] = {
            "id": opened.id, "type": "message", "role": "assistant", "model": opened.model, "content": [], "stop_reason": None,
            "stop_sequence": None, "usage": {"input_tokens": 0, "output_tokens": 0},
        }  # fmt: skip
        out.append(_data({"type": "message_start", "message": message}, "message_start"))
    for index in _indexes(opened.slots):
        out.append(_data({"type": "content_block_stop", "index": index}, "content_block_stop"))
    delta = {"stop_reason": "refusal", "stop_sequence": None}
    usage = {"output_tokens": opened.output_tokens}
    out.append(_data({"type": "message_delta", "delta": delta, "usage": usage}, "message_delta"))
    out.append(_data({"type": "message_stop"}, "message_stop"))
    return b"".join(out)


def _gemini(opened: Opened, says: str, code: str) -> bytes:
    found: dict[str, Any] = {
        "candidates": [
            {"content": {"parts": [], "role": "model"}, "finishReason": "SAFETY", "index": index, "finishMessage": says}
            for index in _indexes(opened.slots) or [0]
        ]
    }
    if opened.model:
        found["modelVersion"] = opened.model
    if opened.is_array:
        return (b",\n" if opened.is_begun else b"[") + encode(found) + b"]\n"
    return b"data: " + encode(found) + b"\r\n\r\n"


def _converse(opened: Opened, says: str, code: str) -> bytes:
    out = [b"" if opened.is_begun else event("messageStart", {"role": "assistant"})]
    out += [event("contentBlockStop", {"contentBlockIndex": index}) for index in _indexes(opened.slots)]
    out.append(event("messageStop", {"stopReason": "guardrail_intervened"}))
    usage = {"inputTokens": 0, "outputTokens": opened.output_tokens, "totalTokens": opened.output_tokens}
    out.append(event("metadata", {"usage": usage, "metrics": {"latencyMs": 0}}))
    return b"".join(out)


def _invoke(opened: Opened, says: str, code: str) -> bytes:
    return event("validationException", {"message": says}, "exception")


def _ollama(opened: Opened, says: str, code: str) -> bytes:
    return encode({"error": says}) + b"\n"


def _mcp(opened: Opened, says: str, code: str) -> bytes:
    return _data(_rpc(says, code, opened.request_id), "message")


def _plain(opened: Opened, says: str, code: str) -> bytes:
    return _data({"error": _openai_error(says, code)}, "error")


ENDINGS = {
    "openai": _openai, "responses": _responses, "anthropic": _anthropic, "gemini": _gemini, "converse": _converse,
    "invoke": _invoke, "ollama": _ollama, "mcp": _mcp, "plain": _plain,
}  # fmt: skip


def event(name: str, payload: Any, message_type: str = "event") -> bytes:
    """One message of AWS's binary event stream (application/vnd.amazon.eventstream): prelude, its CRC-32, headers, payload, CRC-32."""
    key = f":{message_type}-type"
    headers = b"".join(
        bytes([len(header)]) + header.encode() + b"\x07" + len(value).to_bytes(2, "big") + value.encode()
        for header, value in ((key, name), (":content-type", "application/json"), (":message-type", message_type))
    )
    body = encode(payload)
    prelude = (16 + len(headers) + len(body)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    message = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + body
    return message + zlib.crc32(message).to_bytes(4, "big")
