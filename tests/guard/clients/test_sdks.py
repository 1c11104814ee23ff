"""The providers' own Python SDKs, each through the same list of trials: what the client gets and what the provider receives must not differ."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from struct import pack
from typing import Any

import pytest

anthropic = pytest.importorskip("anthropic")
boto3 = pytest.importorskip("boto3")
genai = pytest.importorskip("google.genai")
ollama = pytest.importorskip("ollama")
openai = pytest.importorskip("openai")

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
CALL = '{"city": "Zürich \\"Nord\\"", "days": 1.0e1}'
EXPECTED = {"city": 'Zürich "Nord"', "days": 10}


def png() -> bytes:
    """The smallest picture: one red point."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00")) + chunk(b"IEND", b"")


@dataclass(frozen=True)
class Client:
    """One SDK. `text`, `calls` and `fold` read what it returned; everything else is compared as it is."""

    name: str
    open: Callable[[str], Any]
    ask: Callable[..., Any]
    """ask(client, text, tools=False, image=b"", n=1) -> reply as plain data"""
    stream: Callable[..., Iterator[Any]]
    """stream(client, text, tools=False, n=1) -> events as plain data; closing it hangs up"""
    text: Callable[[Any], str]
    calls: Callable[[Any], list[tuple[str, Any]]]
    fold: Callable[[list[Any]], tuple[str, list[tuple[str, Any]]]]
    """A stream's events -> text of choice 0 and calls"""
    retries: bool = True
    has_n: bool = False
    has_images: bool = True
    has_tools: bool = True
    compresses: bool = True


# OpenAI: chat, through Azure paths, responses -------------------------------------------------------------------------


def _openai(origin: str) -> Any:
    return openai.OpenAI(base_url=f"{origin}/openai/v1", api_key="sk-stand-in")


def _azure(origin: str) -> Any:
    return openai.AzureOpenAI(azure_endpoint=f"{origin}/azure", api_key="stand-in", api_version="2024-10-21")


def _chat_arguments(text: str, tools: bool, image: bytes, n: int) -> dict[str, Any]:
    content: Any = text
    if image:
        url = "data:image/png;base64," + base64.b64encode(image).decode()
        content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
    given: dict[str, Any] = {
        "model": "gpt-4o",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}],
    }
    if tools:
        given["tools"] = [
            {"type": "function", "function": {"name": "forecast", "description": "Weather", "parameters": SCHEMA}}
        ]
    return given | ({"n": n} if n > 1 else {})


def _chat_ask(client: Any, text: str, tools: bool = False, image: bytes = b"", n: int = 1) -> Any:
    return client.chat.completions.create(**_chat_arguments(text, tools, image, n)).model_dump()


def _chat_stream(client: Any, text: str, tools: bool = False, n: int = 1) -> Iterator[Any]:
    given = _chat_arguments(text, tools, b"", n) | {"stream_options": {"include_usage": True}}
    with client.chat.completions.create(stream=True, **given) as events:
        for event in events:
            yield event.model_dump()


def _chat_calls(reply: Any) -> list[tuple[str, Any]]:
    calls = reply["choices"][0]["message"]["tool_calls"] or []
    return [(one["function"]["name"], json.loads(one["function"]["arguments"])) for one in calls]


def _chat_fold(events: list[Any]) -> tuple[str, list[tuple[str, Any]]]:
    text, names, arguments = "", {}, {}
    for event in events:
        for choice in event["choices"]:
            if choice["index"] == 0:
                text += choice["delta"]["content"] or ""
                for call in choice["delta"]["tool_calls"] or []:
                    names.setdefault(call["index"], call["function"]["name"])
                    arguments[call["index"]] = arguments.get(call["index"], "") + call["function"]["arguments"]
    assert events[-1]["usage"]["total_tokens"] > 0
    return text, [(names[at], json.loads(arguments[at])) for at in sorted(names)]


def _responses_arguments(text: str, tools: bool, image: bytes) -> dict[str, Any]:
    content: list[Any] = [{"type": "input_text", "text": text}]
    if image:
        content.append(
            {
                "type": "input_image",
                "detail": "auto",
                "image_url": "data:image/png;base64," + base64.b64encode(image).decode(),
            }
        )
    given: dict[str, Any] = {
        "model": "gpt-4o",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": content}],
    }
    if tools:
        given["tools"] = [{"type": "function", "name": "forecast", "parameters": SCHEMA, "strict": False}]
    return given


def _responses_ask(client: Any, text: str, tools: bool = False, image: bytes = b"", n: int = 1) -> Any:
    return client.responses.create(**_responses_arguments(text, tools, image)).model_dump()


def _responses_stream(client: Any, text: str, tools: bool = False, n: int = 1) -> Iterator[Any]:
    with client.responses.create(stream=True, **_responses_arguments(text, tools, b"")) as events:
        for event in events:
            yield event.model_dump()


def _responses_text(reply: Any) -> str:
    return "".join(part["text"] for item in reply["output"] if item["type"] == "message" for part in item["content"])


def _responses_calls(reply: Any) -> list[tuple[str, Any]]:
    return [
        (item["name"], json.loads(item["arguments"])) for item in reply["output"] if item["type"] == "function_call"
    ]


def _responses_fold(events: list[Any]) -> tuple[str, list[tuple[str, Any]]]:
    assert events[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    pieces = "".join(event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta")
    assert pieces == "".join(
        event["arguments"] for event in events if event["type"] == "response.function_call_arguments.done"
    )
    return text, _responses_calls(events[-1]["response"])


# Anthropic ------------------------------------------------------------------------------------------------------------


def _anthropic(origin: str) -> Any:
    return anthropic.Anthropic(base_url=f"{origin}/anthropic", api_key="stand-in")


def _messages_arguments(text: str, tools: bool, image: bytes) -> dict[str, Any]:
    content: list[Any] = [{"type": "text", "text": text}]
    if image:
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(image).decode()}
        content.insert(0, {"type": "image", "source": source})
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    given: dict[str, Any] = {
        "model": "claude-stand-in",
        "max_tokens": 100,
        "system": system,
        "messages": [{"role": "user", "content": content}],
    }
    return given | (
        {"tools": [{"name": "forecast", "description": "Weather", "input_schema": SCHEMA}]} if tools else {}
    )


def _messages_ask(client: Any, text: str, tools: bool = False, image: bytes = b"", n: int = 1) -> Any:
    return client.messages.create(**_messages_arguments(text, tools, image)).model_dump()


def _messages_stream(client: Any, text: str, tools: bool = False, n: int = 1) -> Iterator[Any]:
    with client.messages.create(stream=True, **_messages_arguments(text, tools, b"")) as events:
        for event in events:
            yield event.model_dump()


def _blocks_fold(events: list[Any]) -> tuple[str, list[tuple[str, Any]]]:
    assert events[0]["type"] == "message_start" and events[-1]["type"] == "message_stop"
    text, calls = "", []
    for event in events:
        if event["type"] == "content_block_start" and event["content_block"]["type"] == "tool_use":
            calls.append([event["content_block"]["name"], ""])
        elif event["type"] == "content_block_delta":
            text += event["delta"].get("text") or ""
            if event["delta"].get("partial_json"):
                calls[-1][1] += event["delta"]["partial_json"]
    return text, [(name, json.loads(arguments)) for name, arguments in calls]


# Gemini ---------------------------------------------------------------------------------------------------------------


def _gemini(origin: str) -> Any:
    retry = genai.types.HttpRetryOptions(attempts=3, initial_delay=0.02, max_delay=0.05)
    options = genai.types.HttpOptions(base_url=f"{origin}/gemini", retry_options=retry)
    return genai.Client(api_key="stand-in", http_options=options)


def _gemini_arguments(text: str, tools: bool, image: bytes, n: int) -> dict[str, Any]:
    types = genai.types
    parts = [types.Part.from_text(text=text)]
    if image:
        parts.append(types.Part.from_bytes(data=image, mime_type="image/png"))
    offered = (
        [types.Tool(function_declarations=[types.FunctionDeclaration(name="forecast", parameters_json_schema=SCHEMA)])]
        if tools
        else None
    )
    config = types.GenerateContentConfig(
        system_instruction="Be brief.", tools=offered, candidate_count=n if n > 1 else None
    )
    return {"model": "gemini-stand-in", "contents": [types.Content(role="user", parts=parts)], "config": config}


def _plain(reply: Any) -> Any:
    data = reply.model_dump(mode="json", exclude={"sdk_http_response"})
    return data


def _gemini_ask(client: Any, text: str, tools: bool = False, image: bytes = b"", n: int = 1) -> Any:
    return _plain(client.models.generate_content(**_gemini_arguments(text, tools, image, n)))


def _gemini_stream(client: Any, text: str, tools: bool = False, n: int = 1) -> Iterator[Any]:
    for event in client.models.generate_content_stream(**_gemini_arguments(text, tools, b"", n)):
        yield _plain(event)


def _gemini_parts(reply: Any) -> list[Any]:
    return [part for row in reply["candidates"] if not row["index"] for part in row["content"]["parts"]]


def _gemini_text(reply: Any) -> str:
    return "".join(part["text"] or "" for part in _gemini_parts(reply))


def _gemini_calls(reply: Any) -> list[tuple[str, Any]]:
    return [
        (part["function_call"]["name"], part["function_call"]["args"])
        for part in _gemini_parts(reply)
        if part["function_call"]
    ]


def _gemini_fold(events: list[Any]) -> tuple[str, list[tuple[str, Any]]]:
    return "".join(map(_gemini_text, events)), [call for event in events for call in _gemini_calls(event)]


# Bedrock: Converse and InvokeModel ------------------------------------------------------------------------------------


@functools.cache
def _aws_session() -> Any:
    # Its loader keeps the service descriptions; reading them takes longer than the tests.
    return boto3.session.Session("AKIDSTANDIN", "stand-in-secret", region_name="us-east-1")


def _bedrock(origin: str) -> Any:
    from botocore.config import Config

    config = Config(
        retries={"max_attempts": 3, "mode": "standard"}, connect_timeout=5, read_timeout=60, max_pool_connections=20
    )
    return contextlib.closing(_aws_session().client("bedrock-runtime", endpoint_url=f"{origin}/bedrock", config=config))


def _converse_arguments(text: str, tools: bool, image: bytes) -> dict[str, Any]:
    content: list[Any] = [{"text": text}]
    if image:
        content.append({"image": {"format": "png", "source": {"bytes": image}}})
    given: dict[str, Any] = {
        "modelId": "anthropic.claude-stand-in-v1:0",
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": content}],
    }
    return given | (
        {"toolConfig": {"tools": [{"toolSpec": {"name": "forecast", "inputSchema": {"json": SCHEMA}}}]}}
        if tools
        else {}
    )


def _without_metadata(reply: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in reply.items() if key != "ResponseMetadata"}


def _converse_ask(client: Any, text: str, tools: bool = False, image: bytes = b"", n: int = 1) -> Any:
    return _without_metadata(client.converse(**_converse_arguments(text, tools, image)))


def _converse_stream(client: Any, text: str, tools: bool = False, n: int = 1) -> Iterator[Any]:
    events = client.converse_stream(**_converse_arguments(text, tools, b""))["stream"]
    with contextlib.closing(events):
        yield from events


def _converse_text(reply: Any) -> str:
    return "".join(part.get("text", "") for part in reply["output"]["message"]["content"])


def _converse_calls(reply: Any) -> list[tuple[str, Any]]:
    return [
        (part["toolUse"]["name"], part["toolUse"]["input"])
        for part in reply["output"]["message"]["content"]
        if "toolUse" in part
    ]


def _converse_fold(events: list[Any]) -> tuple[str, list[tuple[str, Any]]]:
    text, calls = "", []
    for event in events:
        if start := event.get("contentBlockStart"):
            calls.append([start["start"]["toolUse"]["name"], ""])
        delta = event.get("contentBlockDelta", {}).get("delta", {})
        text += delta.get("text", "")
        if "toolUse" in delta:
            calls[-1][1] += delta["toolUse"]["input"]
    assert "metadata" in events[-1]
    return text, [(name, json.loads(arguments)) for name, arguments in calls]


def _invoke_body(text: str, tools: bool, image: bytes) -> dict[str, Any]:
    given = _messages_arguments(text, tools, image)
    del given["model"]
    return {
        "modelId": "anthropic.claude-stand-in-v1:0",
        "body": json.dumps(given | {"anthropic_version": "bedrock-2023-05-31"}),
    }


def _invoke_ask(client: Any, text: str, tools: bool = False, image: bytes = b"", n: int = 1) -> Any:
    return json.loads(client.invoke_model(**_invoke_body(text, tools, image))["body"].read())


def _invoke_stream(client: Any, text: str, tools: bool = False, n: int = 1) -> Iterator[Any]:
    events = client.invoke_model_with_response_stream(**_invoke_body(text, tools, b""))["body"]
    with contextlib.closing(events):
        for event in events:
            yield json.loads(event["chunk"]["bytes"])


# Ollama ---------------------------------------------------------------------------------------------------------------


class _Ollama:
    """Its client has no way to be closed but through what it wraps."""

    def __init__(self, origin: str) -> None:
        self.client = ollama.Client(host=f"{origin}/ollama")

    def __enter__(self) -> Any:
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client._client.close()


def _ollama_arguments(text: str, tools: bool, image: bytes) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "user", "content": text} | ({"images": [image]} if image else {})
    offered = [{"type": "function", "function": {"name": "forecast", "description": "Weather", "parameters": SCHEMA}}]
    return {"model": "stand-in", "messages": [message]} | ({"tools": offered} if tools else {})


def _ollama_ask(client: Any, text: str, tools: bool = False, image: bytes = b"", n: int = 1) -> Any:
    return client.chat(**_ollama_arguments(text, tools, image)).model_dump()


def _ollama_stream(client: Any, text: str, tools: bool = False, n: int = 1) -> Iterator[Any]:
    events = client.chat(stream=True, **_ollama_arguments(text, tools, b""))
    with contextlib.closing(events):
        for event in events:
            yield event.model_dump()


def _ollama_calls(reply: Any) -> list[tuple[str, Any]]:
    return [
        (one["function"]["name"], dict(one["function"]["arguments"])) for one in reply["message"]["tool_calls"] or []
    ]


def _ollama_fold(events: list[Any]) -> tuple[str, list[tuple[str, Any]]]:
    assert events[-1]["done"] is True
    return "".join(event["message"]["content"] or "" for event in events), [
        call for event in events for call in _ollama_calls(event)
    ]


def _chat_text(reply: Any) -> str:
    return reply["choices"][0]["message"]["content"] or ""


def _block_text(reply: Any) -> str:
    return "".join(block.get("text") or "" for block in reply["content"])


def _block_calls(reply: Any) -> list[tuple[str, Any]]:
    return [(block["name"], block["input"]) for block in reply["content"] if block["type"] == "tool_use"]


CLIENTS = (
    Client("openai-chat", _openai, _chat_ask, _chat_stream, _chat_text, _chat_calls, _chat_fold, has_n=True),
    Client("azure-chat", _azure, _chat_ask, _chat_stream, _chat_text, _chat_calls, _chat_fold, has_n=True),
    Client(
        "openai-responses",
        _openai,
        _responses_ask,
        _responses_stream,
        _responses_text,
        _responses_calls,
        _responses_fold,
    ),
    Client("anthropic", _anthropic, _messages_ask, _messages_stream, _block_text, _block_calls, _blocks_fold),
    Client("gemini", _gemini, _gemini_ask, _gemini_stream, _gemini_text, _gemini_calls, _gemini_fold, has_n=True),
    Client(
        "bedrock-converse",
        _bedrock,
        _converse_ask,
        _converse_stream,
        _converse_text,
        _converse_calls,
        _converse_fold,
        compresses=False,
    ),
    Client(
        "bedrock-invoke",
        _bedrock,
        _invoke_ask,
        _invoke_stream,
        _block_text,
        _block_calls,
        _blocks_fold,
        compresses=False,
    ),
    Client(
        "ollama",
        _Ollama,
        _ollama_ask,
        _ollama_stream,
        lambda r: r["message"]["content"] or "",
        _ollama_calls,
        _ollama_fold,
        retries=False,
    ),
)


def only(condition: Callable[[Client], bool] = lambda _client: True) -> Any:
    chosen = [client for client in CLIENTS if condition(client)]
    return pytest.mark.parametrize("sdk", chosen, ids=[client.name for client in chosen])


SAY = "Grüezi, ça va? 你好 👋🏽 — the answer is 42."


@only()
def test_plain(sdk: Client, both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            return sdk.ask(client, f"What is it? [[say: {SAY}]] [[tag: {tag}]]")

    assert sdk.text(both(talk)) == SAY


@only()
def test_streaming(sdk: Client, both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            return list(sdk.stream(client, f"What is it? [[say: {SAY}]] [[cut: 3]] [[bytes: 11]] [[tag: {tag}]]"))

    assert sdk.fold(both(talk)) == (SAY, [])


@only(lambda one: one.has_tools)
def test_tools(sdk: Client, both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            return sdk.ask(
                client, f"Weather? [[call: forecast {CALL}]] [[call: forecast {CALL}]] [[tag: {tag}]]", tools=True
            )

    assert sdk.calls(both(talk)) == [("forecast", EXPECTED)] * 2


@only(lambda one: one.has_tools)
def test_streaming_tools(sdk: Client, both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            order = f"Weather? [[say: Let me look.]] [[call: forecast {CALL}]] [[call: forecast {CALL}]] [[cut: 2]] [[tag: {tag}]]"
            return list(sdk.stream(client, order, tools=True))

    assert sdk.fold(both(talk)) == ("Let me look.", [("forecast", EXPECTED)] * 2)


@only(lambda one: one.has_n)
def test_several_choices(sdk: Client, both: Any, tag: str) -> None:
    order = f"Three, please [[say: one and two and three]] [[tag: {tag}]]"

    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            return sdk.ask(client, order, n=3), list(sdk.stream(client, order, n=3))

    whole, events = both(talk)
    rows = whole.get("choices") or whole["candidates"]
    assert len(rows) == 3
    assert sdk.fold(events)[0] == "one and two and three"
    assert {row["index"] for event in events for row in event.get("choices") or event.get("candidates") or []} == {
        0,
        1,
        2,
    }


@only(lambda one: one.has_images)
def test_image(sdk: Client, both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            return sdk.ask(client, f"What is on it? [[say: A red point.]] [[tag: {tag}]]", image=png())

    assert sdk.text(both(talk)) == "A red point."


@only()
def test_prompt_of_a_megabyte(sdk: Client, both: Any, tag: str) -> None:
    filler = "The harbour office is open from nine to five on working days. " * (1 + (1 << 20) // 62)

    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            return sdk.ask(client, f"{filler} [[say: Read.]] [[tag: {tag}]]")

    assert sdk.text(both(talk)) == "Read."


@only()
def test_cancelling_reaches_the_provider(sdk: Client, way: Any, tag: str) -> None:
    with sdk.open(way.origin) as client:
        events = sdk.stream(client, f"Count [[long: 12000]] [[slow: 0.002]] [[tag: {tag}]]")
        for _ in range(4):
            next(events)
        left = time.monotonic()
        events.close()
        row = way.stand_in.outcome(tag, within=20)
    assert row["outcome"] == "cancelled"
    assert row["ended"] - left < 8


@only(lambda one: one.retries)
def test_a_failure_is_retried_by_the_client_alone(sdk: Client, both: Any, way: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            return sdk.ask(client, f"Again? [[fail: 500 1]] [[say: Second time lucky.]] [[tag: {tag}]]")

    assert sdk.text(both(talk)) == "Second time lucky."
    assert [row["outcome"] for row in way.stand_in.requests(tag)] == ["done", "done"]


@only()
def test_a_refusal_of_the_provider_keeps_its_shape(sdk: Client, both: Any, way: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            with pytest.raises(Exception) as caught:
                sdk.ask(client, f"No. [[fail: 400]] [[tag: {tag}]]")
            return type(caught.value).__name__, str(caught.value)

    kind, said = both(talk)
    assert (
        kind in ("BadRequestError", "ClientError", "ValidationException", "ResponseError")
        and "Scripted failure" in said
    )
    assert len(way.stand_in.requests(tag)) == 1


@only(lambda one: one.compresses)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
def test_compressed(sdk: Client, coding: str, both: Any, tag: str) -> None:
    order = f"Small, please [[say: {SAY}]] [[encode: {coding}]] [[tag: {tag}]]"

    def talk(origin: str) -> Any:
        with sdk.open(origin) as client:
            return sdk.ask(client, order), list(sdk.stream(client, order))

    whole, events = both(talk)
    assert sdk.text(whole) == SAY and sdk.fold(events) == (SAY, [])


@only()
def test_conversations_side_by_side(sdk: Client, both: Any, tag: str) -> None:
    def one(client: Any, number: int) -> Any:
        order = f"[[say: this is conversation {number} and no other]] [[slow: 0.002]] [[tag: {tag}]]"
        return sdk.fold(list(sdk.stream(client, order)))[0] if number % 2 else sdk.text(sdk.ask(client, order))

    def talk(origin: str) -> Any:
        with sdk.open(origin) as client, ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda number: one(client, number), range(24)))

    assert both(talk) == [f"this is conversation {number} and no other" for number in range(24)]


@only()
def test_a_reset_is_an_error_and_not_an_end(sdk: Client, way: Any, tag: str) -> None:
    with sdk.open(way.origin) as client, pytest.raises(Exception) as caught:
        sdk.fold(list(sdk.stream(client, f"Break [[long: 200]] [[reset: 5]] [[tag: {tag}]]")))
    assert not isinstance(caught.value, AssertionError | KeyError | IndexError), caught.value


# What only one provider has -------------------------------------------------------------------------------------------


def test_thinking_keeps_its_signature(both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with _anthropic(origin) as client:
            order = f"Think [[think: First this, then that.]] [[say: Done.]] [[tag: {tag}]]"
            whole = _messages_ask(client, order)
            events = list(_messages_stream(client, order))
            history = [
                {"role": "user", "content": "Think"},
                {"role": "assistant", "content": whole["content"]},
                {"role": "user", "content": f"And? [[say: So.]] [[tag: {tag}]]"},
            ]
            again = client.messages.create(model="claude-stand-in", max_tokens=10, messages=history).model_dump()
            return whole, events, again

    whole, events, _ = both(talk)
    signed = "".join(
        event["delta"].get("signature") or "" for event in events if event["type"] == "content_block_delta"
    )
    assert signed == whole["content"][0]["signature"] and len(signed) > 80


def test_anthropic_helpers(both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with _anthropic(origin) as client:
            message = {"role": "user", "content": f"Hi [[say: {SAY}]] [[tag: {tag}]]"}
            with client.messages.stream(model="claude-stand-in", max_tokens=10, messages=[message]) as stream:
                text = "".join(stream.text_stream)
                final = stream.get_final_message().model_dump()
            return text, final, client.messages.count_tokens(model="claude-stand-in", messages=[message]).model_dump()

    text, final, count = both(talk)
    assert text == SAY and final["stop_reason"] == "end_turn" and count["input_tokens"] > 0


def test_openai_other_operations(both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with _openai(origin) as client:
            embedded = client.embeddings.create(model="e", input=[f"one [[tag: {tag}]]", "two"]).model_dump()
            completed = client.completions.create(
                model="c", prompt=f"x [[say: {SAY}]] [[tag: {tag}]]", n=2
            ).model_dump()
            streamed = [
                one.model_dump()
                for one in client.completions.create(model="c", prompt=f"x [[say: {SAY}]] [[tag: {tag}]]", stream=True)
            ]
            raw = client.chat.completions.with_raw_response.create(
                model="m", messages=[{"role": "user", "content": f"r [[tag: {tag}]]"}]
            )
            names = [model.id for model in client.models.list()]
            return embedded, completed, streamed, raw.headers["x-request-sha256"], raw.content, names

    embedded, completed, _, _, _, names = both(talk)
    assert len(embedded["data"]) == 2 and len(completed["choices"]) == 2 and "gpt-4o" in names


def test_gemini_other_operations(both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with _gemini(origin) as client:
            count = client.models.count_tokens(model="g", contents=f"How long? [[tag: {tag}]]").total_tokens
            vectors = client.models.embed_content(model="e", contents=[f"one [[tag: {tag}]]", "two"])
            return count, [row.values for row in vectors.embeddings]

    count, vectors = both(talk)
    assert count > 0 and len(vectors) >= 1


def test_ollama_other_operations(both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        with _Ollama(origin) as client:
            whole = client.generate(model="m", prompt=f"x [[say: {SAY}]] [[tag: {tag}]]").model_dump()
            parts = [
                one.response
                for one in client.generate(model="m", prompt=f"x [[say: {SAY}]] [[tag: {tag}]]", stream=True)
            ]
            vectors = client.embed(model="m", input=[f"one [[tag: {tag}]]", "two"]).embeddings
            return whole, parts, list(vectors), [row.model for row in client.list().models]

    whole, parts, vectors, _ = both(talk)
    assert whole["response"] == "".join(parts) == SAY and len(vectors) == 2


def test_the_stand_in_of_bedrock_wants_the_signature(stand_in: Any) -> None:
    import botocore.exceptions

    session = boto3.session.Session("AKIDSTANDIN", "another-secret", region_name="us-east-1")
    client = session.client("bedrock-runtime", endpoint_url=f"{stand_in.origin}/bedrock")
    with contextlib.closing(client), pytest.raises(botocore.exceptions.ClientError, match="signature"):
        _converse_ask(client, "Hello")
