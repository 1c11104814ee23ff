"""MCP: JSON-RPC messages between an agent and a tool server, requests and replies.

In: a decoded JSON-RPC message or batch. Out: pieces in a `Parts`, and "mcp" where it was one. A call of the agent is a call the model asked for; what comes
back is a tool's result; what `tools/list` says is an offer, written by whoever runs the server. It keeps no session: the door pairs request and reply.
"""

from __future__ import annotations

from typing import Any

import msgspec

from afterguard.model import ToolSpec
from afterguard.wire import blocks
from afterguard.wire.parts import Parts, dumps, text_of

BATCH = 1_000


def request(body: Any, parts: Parts, where: str = "request") -> str:
    """A message from the agent; "" where it is none."""
    if isinstance(body, list):
        return _each(body, parts, where, request)
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0":
        return ""
    params = body.get("params")
    if body.get("method") == "tools/call" and isinstance(params, dict):
        parts.turn += 1
        parts.call(text_of(params.get("name")), params.get("arguments"), _id(body), where + ".params")
        parts.tool_names[_id(body)] = text_of(params.get("name"))
    elif body.get("method") in ("resources/read", "prompts/get") and isinstance(params, dict):
        parts.tool_names[_id(body)] = "read_" + (text_of(params.get("uri")) or text_of(params.get("name")))[:200]
    elif "result" in body:
        # The agent answers what the server asked of it: sampling and elicitation.
        return response(body, parts, where)
    return "mcp"


def response(body: Any, parts: Parts, where: str = "response") -> str:
    """A message from the server; "" where it is none."""
    if isinstance(body, list):
        return _each(body, parts, where, response)
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0":
        return ""
    result = body.get("result")
    if isinstance(result, dict):
        parts.turn += 1
        _result(result, parts, where + ".result", parts.tool_name(_id(body)))
    params = body.get("params")
    if body.get("method") == "sampling/createMessage" and isinstance(params, dict):
        blocks.messages(params.get("messages"), parts, where + ".params.messages")
    error = body.get("error")
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        parts.result(error["message"], parts.tool_name(_id(body)), where + ".error.message")
    return "mcp"


def refusal(request: Any, says: str) -> bytes:
    """The answer to a call that is refused: a failed tool result, which the model reads and works around, where it was a tool call."""
    one = request[0] if isinstance(request, list) and request else request
    body = one if isinstance(one, dict) else {}
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": body.get("id")}
    if body.get("method") == "tools/call":
        answer["result"] = {"content": [{"type": "text", "text": says}], "isError": True}
    else:
        answer["error"] = {"code": -32001, "message": says}
    return msgspec.json.encode([answer] if isinstance(request, list) else answer)


def refused(request: Any, says: str, decision: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of a refusal over HTTP. The decision's id stands in both, so that the model's words about it, and whoever tests the server, can be traced."""
    headers = [(b"content-type", b"application/json"), (b"x-afterguard-decision", decision.encode("ascii", "ignore"))]
    return 200, headers, refusal(request, f"{says} (decision {decision})")


def _result(result: dict[str, Any], parts: Parts, where: str, name: str) -> None:
    for index, tool in enumerate(result["tools"] if isinstance(result.get("tools"), list) else ()):
        if isinstance(tool, dict) and isinstance(tool.get("name"), str):
            schema = tool.get("inputSchema")
            told = text_of(tool.get("description"))
            parts.tools.append(ToolSpec(tool["name"], told, dumps(schema) if schema else ""))
            parts.result(told, "tool_description", f"{where}.tools[{index}].description")
    if isinstance(result.get("content"), (list, dict)):
        blocks.content(result["content"], blocks.TOOL, parts, where + ".content", name)
    if result.get("structuredContent") is not None:
        blocks.result(result["structuredContent"], parts, where + ".structuredContent", name)
    for index, item in enumerate(result["contents"] if isinstance(result.get("contents"), list) else ()):
        if isinstance(item, dict) and isinstance(item.get("text"), str):
            parts.result(item["text"], name or "read_resource", f"{where}.contents[{index}].text")
        else:
            parts.skip("binary", f"{where}.contents[{index}]", len(dumps(item)))
    if isinstance(result.get("messages"), list):
        blocks.messages(result["messages"], parts, where + ".messages")


def _each(items: list[Any], parts: Parts, where: str, read: Any) -> str:
    # A batch inside a batch is no message, and without this a body of brackets ends in a RecursionError.
    found = [isinstance(m, dict) and read(m, parts, f"{where}[{index}]") for index, m in enumerate(items[:BATCH])]
    if len(items) > BATCH:
        parts.skip("too_long", where, len(items) - BATCH)
    return "mcp" if found and all(found) else ""


def _id(body: dict[str, Any]) -> str:
    return str(body.get("id", ""))[:200]
