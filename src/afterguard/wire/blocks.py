"""Messages and their content parts in every dialect: OpenAI, Anthropic, Bedrock Converse, Gemini, LangChain, ShareGPT.

In: one decoded message. Out: texts, calls and unjudged parts in a `Parts`. Logs mix dialects (gateways translate), so one
reader knows all part types. A part nobody knows is counted by its size, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from afterguard.model import Origin, Trust
from afterguard.wire.parts import Parts, dumps, text_of
from afterguard.wire.trust import context

Who = tuple[Origin, Trust]
SYSTEM: Who = (Origin.system, Trust.system)
USER: Who = (Origin.user, Trust.user)
MODEL: Who = (Origin.model, Trust.model)
TOOL: Who = (Origin.tool, Trust.third_party)
"""As a role it means "let the tool's name decide"."""
DOCUMENT: Who = (Origin.document, Trust.third_party)

ROLES: dict[str, Who] = {
    "system": SYSTEM, "developer": SYSTEM, "instruction": SYSTEM, "systemmessage": SYSTEM, "preamble": SYSTEM,
    "user": USER, "human": USER, "humanmessage": USER, "humanmessagechunk": USER, "customer": USER, "prompter": USER,
    "assistant": MODEL, "model": MODEL, "ai": MODEL, "gpt": MODEL, "bot": MODEL, "chatbot": MODEL, "aimessage": MODEL,
    "aimessagechunk": MODEL, "chatgpt": MODEL, "claude": MODEL, "agent": MODEL,
    "tool": TOOL, "function": TOOL, "ipython": TOOL, "observation": TOOL, "tool_response": TOOL, "toolmessage": TOOL,
    "function_response": TOOL, "functionmessage": TOOL, "tool_result": TOOL, "environment": TOOL,
    "document": DOCUMENT, "context": DOCUMENT, "retriever": DOCUMENT,
}  # fmt: skip
DEPTH = 6
"""Content parts inside content parts: tool results hold lists of parts, which hold documents."""


def messages(items: Any, parts: Parts, where: str = "messages") -> bool:
    """A list of messages, each one turn; False when none of them looked like one."""
    seen = parts.known > 0
    if not isinstance(items, list):
        return False
    for index in range(parts.known, len(items)):
        item = items[index]
        parts.turn += 1
        if message(item, parts, f"{where}[{index}]"):
            seen = True
        else:
            parts.skip("unknown_shape", f"{where}[{index}]", len(dumps(item)))
    return seen


def message(item: Any, parts: Parts, where: str) -> bool:
    """One message with its tool calls; False when it is none."""
    if not isinstance(item, dict):
        return False
    role = item.get("role")
    if not isinstance(role, str):
        return _foreign(item, parts, where)
    key = "content"
    if item.get(key) is None:
        key = "parts" if "parts" in item else "text" if "text" in item else "content"
    return spoken(item, role, key, parts, where)


def spoken(
    item: dict[str, Any], role: str, key: str, parts: Parts, where: str, more: dict[str, Any] | None = None
) -> bool:
    """A message whose role is known and whose body stands under `key`; False for a role nobody knows. `more` are LangChain's
    additional_kwargs: the provider's own fields, one level down."""
    who = ROLES.get(role) or ROLES.get(role.lower())
    if who is None:
        return False
    body, place = item.get(key), f"{where}.{key}"
    if body is None and more and more.get(key) is not None:
        body, place = more[key], f"{where}.additional_kwargs.{key}"
    if who is TOOL:
        whole = {**more, **item} if more else item
        name = text_of(whole.get("name")) or text_of(whole.get("tool_name"))
        result(body, parts, place, name or parts.tool_name(whole.get("tool_call_id")))
        return True
    if isinstance(body, str):
        text(body, who, parts, place)
    elif body is not None:
        content(body, who, parts, place)
    if who is MODEL:
        _extras(item, parts, where)
        if more:
            _extras(
                {name: value for name, value in more.items() if not item.get(name)}, parts, where + ".additional_kwargs"
            )
    return True


def text(value: str, who: Who, parts: Parts, where: str) -> None:
    """A plain text; pasted context inside a prompt becomes a document's text."""
    if who is MODEL:
        parts.text(value, *MODEL, where)
        return
    pieces = context(value)
    for piece, is_document in pieces:
        parts.text(piece, *(DOCUMENT if is_document else who), where)


def result(value: Any, parts: Parts, where: str, name: str, depth: int = 0) -> None:
    """A tool's result: a string, parts, or any JSON, judged as its JSON text."""
    if isinstance(value, str):
        parts.result(value, name, where)
    elif isinstance(value, list) and any(isinstance(p, dict) and ("type" in p or "text" in p) for p in value[:50]):
        content(value, TOOL, parts, where, name, depth + 1)
    elif value is not None:
        parts.result(dumps(value), name, where)


def content(value: Any, who: Who, parts: Parts, where: str, name: str = "", depth: int = 0) -> None:
    """A list of content parts (or one, whose place is then `where` itself)."""
    if depth > DEPTH:
        parts.skip("unknown_shape", where, len(dumps(value)))
        return
    is_list = isinstance(value, list)
    for index, part in enumerate(value if is_list else [value]):
        place = f"{where}[{index}]" if is_list else where
        if isinstance(part, str):
            _say(part, who, parts, place, name)
        elif isinstance(part, dict):
            kind = part.get("type")
            reader = READERS.get(kind) if isinstance(kind, str) else None
            if reader is None:
                _untyped(part, who, parts, place, name, depth)
            else:
                reader(part, who, parts, place, name, depth)
        elif part is not None:
            parts.skip("unknown_shape", place, len(dumps(part)))


def _say(value: str, who: Who, parts: Parts, where: str, name: str) -> None:
    if who is TOOL:
        parts.result(value, name, where)
    elif who is DOCUMENT:
        parts.text(value, *DOCUMENT, where, name)
    else:
        text(value, who, parts, where)


def _text(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    value, place = part.get("text"), where + ".text"
    if isinstance(value, dict):
        value, place = value.get("value"), place + ".value"
    if isinstance(value, str):
        _say(value, who, parts, place, name)
    elif value is None and isinstance(part.get("content"), (str, list)):
        content(part["content"], who, parts, where + ".content", name, depth + 1)
    else:
        parts.skip("unknown_shape", where, len(dumps(part)))


def _thought(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    for key in ("thinking", "reasoning", "text", "reasoning_content"):
        value = part.get(key)
        if isinstance(value, str) and value:
            parts.text(value, *MODEL, f"{where}.{key}")
            return
    for key in ("summary", "content"):
        if isinstance(part.get(key), list):
            content(part[key], MODEL, parts, f"{where}.{key}", name, depth + 1)
    hidden = part.get("data") or part.get("encrypted_content") or part.get("redactedContent")
    if hidden:
        parts.skip("opaque_reasoning", where, len(text_of(hidden)))


def _hidden(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    parts.skip("opaque_reasoning", where, len(text_of(part.get("data"))))


def _call(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    function = part.get("function") if isinstance(part.get("function"), dict) else part
    assert isinstance(function, dict)
    given = function.get("input", function.get("arguments", function.get("args", part.get("action"))))
    called = (
        text_of(function.get("name"))
        or text_of(part.get("toolName"))
        or text_of(part.get("type")).removesuffix("_call")
    )
    identifier = next((part[key] for key in CALL_IDS if isinstance(part.get(key), str)), "")
    parts.call(called, given, identifier, where)


CALL_IDS = ("call_id", "tool_use_id", "tool_call_id", "toolCallId", "toolUseId", "id")


def _result(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    identifier = next((part[key] for key in CALL_IDS if isinstance(part.get(key), str)), "")
    named = text_of(part.get("name")) or text_of(part.get("toolName")) or parts.tool_name(identifier)
    called = named or text_of(part.get("type")).removesuffix("_tool_result")
    for key in ("content", "output", "result", "response"):
        if part.get(key) is not None:
            result(part[key], parts, f"{where}.{key}", called, depth)
            return


def _document(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    title = text_of(part.get("title")) or text_of(part.get("name")) or name
    parts.text(text_of(part.get("context")), *DOCUMENT, where + ".context", title)
    source = part.get("source")
    body = part.get("content")
    if isinstance(source, dict):
        if source.get("type") == "text" or "text" in source:
            key = "data" if "data" in source else "text"
            parts.text(text_of(source.get(key)), *DOCUMENT, f"{where}.source.{key}", title)
        elif source.get("content") is not None:
            content(source["content"], DOCUMENT, parts, where + ".source.content", title, depth + 1)
        else:
            parts.skip("binary", where, _size(source))
    elif isinstance(body, (str, list)):
        content(body, DOCUMENT, parts, where + ".content", title, depth + 1)
    elif isinstance(part.get("text"), str):
        parts.text(part["text"], *DOCUMENT, where + ".text", title)
    else:
        parts.skip("binary", where, _size(part))


def _size(value: Any) -> int:
    """Bytes of a media part as it stands in the record, base64 and all."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        inner = [
            value[key] for key in list(value)[:20] if key not in ("type", "media_type", "mimeType", "format", "detail")
        ]
        return max((_size(one) for one in inner if isinstance(one, (str, dict))), default=0)
    return 0


def _media(reason: str) -> Reader:
    def read(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
        parts.skip(reason, where, _size(part))

    return read


def _audio(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    _say(text_of(part.get("transcript")), who, parts, where + ".transcript", name)
    parts.skip("audio", where, _size(part))


def _refusal(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    parts.text(text_of(part.get("refusal")), *MODEL, where + ".refusal")


def _nothing(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    """Markers that carry no words: cache points, references, starts of steps."""


Reader = Callable[[dict[str, Any], Who, Parts, str, str, int], None]
READERS: dict[str, Reader] = {
    "text": _text, "input_text": _text, "output_text": _text, "summary_text": _text, "reasoning_text": _text,
    "thinking": _thought, "reasoning": _thought, "redacted_thinking": _hidden, "reasoning.encrypted": _hidden,
    "tool_use": _call, "server_tool_use": _call, "mcp_tool_use": _call, "function_call": _call, "tool-call": _call,
    "tool_call": _call, "custom_tool_call": _call, "function": _call, "mcp_call": _call,
    "tool_result": _result, "mcp_tool_result": _result, "web_search_tool_result": _result, "tool-result": _result,
    "web_fetch_tool_result": _result, "code_execution_tool_result": _result, "function_call_output": _result,
    "tool_call_response": _result, "bash_code_execution_tool_result": _result, "custom_tool_call_output": _result,
    "document": _document, "search_result": _document, "web_search_result": _document, "file": _media("binary"),
    "input_file": _media("binary"), "image": _media("image"), "image_url": _media("image"), "input_image": _media("image"),
    "video": _media("binary"), "video_url": _media("binary"), "audio": _audio, "input_audio": _audio, "output_audio": _audio,
    "blob": _media("binary"), "uri": _media("binary"), "refusal": _refusal, "cache_point": _nothing,
    "item_reference": _nothing, "tool_reference": _nothing, "container_upload": _media("binary"),
}  # fmt: skip


def _untyped(part: dict[str, Any], who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    """Parts named by their key: Bedrock Converse and Gemini."""
    seen = False
    for key, value in part.items():
        if key == "text" and isinstance(value, str):
            thought = part.get("thought") is True
            _say(value, MODEL if thought else who, parts, where + ".text", name)
        elif key in ("toolUse", "functionCall", "function_call") and isinstance(value, dict):
            _call(value, who, parts, where, name, depth)
        elif key in ("toolResult", "functionResponse", "function_response") and isinstance(value, dict):
            _result(value, who, parts, f"{where}.{key}", name, depth)
        elif key == "reasoningContent" and isinstance(value, dict):
            inner = value.get("reasoningText")
            at = f"{where}.{key}.reasoningText" if isinstance(inner, dict) else f"{where}.{key}"
            _thought(inner if isinstance(inner, dict) else value, who, parts, at, name, depth)
        elif key in ("guardContent", "executableCode", "codeExecutionResult", "json") and value is not None:
            _other(key, value, who, parts, where, name, depth)
        elif key in ("image", "document", "video", "inlineData", "fileData", "inline_data", "file_data"):
            _keyed_media(key, value, parts, where)
        else:
            continue
        seen = True
    if seen or part.keys() <= {"cachePoint", "thoughtSignature", "thought"}:
        return
    if isinstance(part.get("content"), (str, list)):
        content(part["content"], who, parts, where + ".content", name, depth + 1)
    else:
        parts.skip("unknown_shape", where, len(dumps(part)))


def _other(key: str, value: Any, who: Who, parts: Parts, where: str, name: str, depth: int) -> None:
    """Content under a key of its own that is text or JSON."""
    place = f"{where}.{key}"
    if key == "guardContent" and isinstance(value, dict) and "text" in value:
        value, place = value["text"], place + ".text"
    if isinstance(value, str):
        _say(value, who, parts, place, name)
    elif isinstance(value, dict) and "text" in value:
        content(value, who, parts, place, name, depth + 1)
    else:
        _say(dumps(value), who, parts, place, name)


def _keyed_media(key: str, value: Any, parts: Parts, where: str) -> None:
    kind = text_of(value.get("mimeType") or value.get("mime_type")) if isinstance(value, dict) else ""
    if key == "document" and isinstance(value, dict):
        _document(value, DOCUMENT, parts, where + ".document", "", 0)
    else:
        reason = (
            "image"
            if key == "image" or kind.startswith("image/")
            else "audio"
            if kind.startswith("audio/")
            else "binary"
        )
        parts.skip(reason, f"{where}.{key}", _size(value))


def _extras(item: dict[str, Any], parts: Parts, where: str) -> None:
    """Fields of an assistant message beside its content."""
    if len(item) <= 2:
        return
    calls = item.get("tool_calls")
    if isinstance(calls, list):
        for index, call in enumerate(calls):
            if isinstance(call, dict):
                _call(call, MODEL, parts, f"{where}.tool_calls[{index}]", "", 0)
    legacy = item.get("function_call")
    if isinstance(legacy, dict):
        _call(legacy, MODEL, parts, where + ".function_call", "", 0)
    for key in ("refusal", "reasoning_content", "reasoning", "thinking"):
        value = item.get(key)
        if isinstance(value, str):
            parts.text(value, *MODEL, f"{where}.{key}")
    key = "reasoning_details" if item.get("reasoning_details") else "thinking_blocks"
    details = item.get(key)
    if isinstance(details, list) and not item.get("reasoning_content") and not item.get("reasoning"):
        content(details, MODEL, parts, f"{where}.{key}")
    audio = item.get("audio")
    if isinstance(audio, dict):
        _audio(audio, MODEL, parts, where + ".audio", "", 0)


def _foreign(item: dict[str, Any], parts: Parts, where: str) -> bool:
    """ShareGPT ({from, value}), LangChain ({type, data} or {lc, id, kwargs}), and logs that say sender, speaker or author."""
    level = "kwargs" if "lc" in item else "data"
    inner = item.get(level)
    kind = item.get("type")
    if isinstance(inner, dict):
        name = item.get("id")
        kind = name[-1] if isinstance(name, list) and name else kind
        return isinstance(kind, str) and _lifted(
            inner, kind.lower(), ("content", "parts", "text"), parts, f"{where}.{level}"
        )
    for who, said in (
        ("from", "value"),
        ("sender", "text"),
        ("speaker", "text"),
        ("author", "content"),
        ("type", "content"),
    ):
        role = item.get(who)
        if isinstance(role, dict):
            role = role.get("role")
        if isinstance(role, str) and role.lower() in ROLES:
            keys = (said, "content", "text", "message", "value", "body")
            return _lifted(item, role.lower(), keys, parts, where)
    return False


def _lifted(inner: dict[str, Any], role: str, keys: tuple[str, ...], parts: Parts, where: str) -> bool:
    """LangChain keeps the provider's own tool calls one level down. `keys` are names of the body, best first."""
    extra = inner.get("additional_kwargs")
    more = extra if isinstance(extra, dict) and not inner.get("tool_calls") else None
    key = next((key for key in keys if inner.get(key) is not None), "content")
    return spoken(inner, role, key, parts, where, more)
