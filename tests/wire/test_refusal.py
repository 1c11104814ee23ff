"""Refusals and endings in the shapes that the providers' SDKs know."""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.wire.deltas import Deltas
from afterguard.wire.endpoint import Endpoint
from afterguard.wire.refusal import CODE, ENDINGS, Opened, Slot, endings, refused
from afterguard.wire.sse import Events

RETRIED = {408, 409, 429, *range(500, 600)}


def body_of(dialect: str, provider: str = "x", **more: Any) -> tuple[int, dict[bytes, bytes], Any]:
    status, headers, body = refused(Endpoint(provider, "chat", dialect), "No.", **more)
    assert dict(headers)[b"content-length"] == str(len(body)).encode()
    return status, dict(headers), json.loads(body)


def test_shapes() -> None:
    assert body_of("openai")[2] == {
        "error": {"message": "No.", "type": "invalid_request_error", "param": None, "code": CODE}
    }
    azure = body_of("openai", "azure")[2]["error"]
    assert azure["code"] == "content_filter" and azure["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    assert body_of("anthropic")[2] == {"type": "error", "error": {"type": "invalid_request_error", "message": "No."}}
    gemini = body_of("gemini")[2]["error"]
    assert (gemini["code"], gemini["status"], gemini["message"]) == (400, "INVALID_ARGUMENT", "No.")
    for dialect in ("converse", "invoke"):
        _, headers, body = body_of(dialect)
        assert body == {"message": "No."} and headers[b"x-amzn-errortype"] == b"ValidationException"
    assert body_of("ollama")[2] == {"error": "No."}
    status, _, body = body_of("mcp", request_id=7)
    assert status == 200 and body["id"] == 7 and body["error"]["message"] == "No."
    assert body_of("mcp")[0] == 400 and body_of("mcp")[2]["id"] is None


@pytest.mark.parametrize("dialect", [*ENDINGS, "something new"])
def test_no_sdk_retries_a_refusal(dialect: str) -> None:
    status, headers, _ = body_of(dialect, decision="d-1")
    assert status not in RETRIED
    assert headers[b"x-should-retry"] == b"false" and headers[b"x-afterguard-decision"] == b"d-1"


@pytest.mark.parametrize(
    ("wait", "expected"), [(0, b"1"), (1.2, b"2"), (math.nan, b"1"), (math.inf, b"86400"), (-3, b"1")]
)
def test_throttle(wait: float, expected: bytes) -> None:
    status, headers, body = body_of("openai", status=429, wait=wait)
    assert (status, headers[b"retry-after"]) == (429, expected) and b"x-should-retry" not in headers
    assert body["error"]["type"] == "rate_limit_error"


@given(st.sampled_from([*ENDINGS, "?"]), st.text(), st.text(), st.integers(400, 599))
def test_hostile_words_stay_json(dialect: str, says: str, decision: str, status: int) -> None:
    _, headers, body = refused(Endpoint("x", "chat", dialect), says + "\ud800", CODE, status, decision)
    json.loads(body)
    assert all(b"\r" not in value and b"\n" not in value for _, value in headers)
    assert endings(dialect, Opened(), says + "\ud800", CODE, decision)


def events(data: bytes) -> list[tuple[str, Any]]:
    reader = Events(1 << 20)
    return [(event.name, json.loads(event.data)) for event in [*reader.feed(data), *reader.close()]]


def test_openai_ends_every_choice_and_raises() -> None:
    opened = Opened("c", "m", 5, (Slot("choice", 1), Slot("choice", 0), Slot("choice", 1, id="call")))
    found = [data for _, data in events(endings("openai", opened, "No."))]
    assert [(d["choices"][0]["index"], d["choices"][0]["finish_reason"]) for d in found[:-1]] == [
        (1, "content_filter"),
        (0, "content_filter"),
    ]
    assert found[-1]["error"]["message"] == "No." and b"[DONE]" not in endings("openai", opened, "No.")


def stream(data: bytes) -> openai.OpenAI:
    reply = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)
    client = httpx2.Client(transport=httpx2.MockTransport(lambda request: reply))
    return openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=client)


def test_openai_sdk_raises_on_the_ending() -> None:
    seen = []
    data = endings("openai", Opened("c", "m", 5, (Slot("choice", 0),)), "No.")
    with stream(data) as client, pytest.raises(openai.APIError, match=r"No\."):
        for chunk in client.chat.completions.create(model="m", messages=[], stream=True):
            seen.append(chunk.choices[0].finish_reason)
    assert seen == ["content_filter"]


def test_openai_sdk_sees_a_failed_response() -> None:
    opened = Opened("r", "m", 5, (Slot("message", 0, 0, "msg", "half"), Slot("call", 1, id="f", name="pay")), 4)
    with stream(endings("responses", opened, "No.")) as client:
        found = list(client.responses.create(model="m", input="q", stream=True))
    assert [event.type for event in found] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.output_item.done",
        "response.failed",
    ]
    assert [event.sequence_number for event in found] == [4, 5, 6, 7, 8]
    assert found[-1].response.status == "failed" and found[-1].response.error.message == "No."  # type: ignore[union-attr]
    assert found[0].text == "half"  # type: ignore[union-attr]


def test_openai_sdk_raises_bad_request_and_does_not_retry() -> None:
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        status, headers, body = refused(Endpoint("openai", "chat", "openai"), "No.", decision="d")
        return httpx2.Response(status, headers=headers, content=body)

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    with (
        openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=http, max_retries=3) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.chat.completions.create(model="m", messages=[])
    assert len(asked) == 1 and caught.value.code == CODE and "decision d" in caught.value.message


def test_anthropic_closes_blocks_in_order() -> None:
    found = events(endings("anthropic", Opened("m", "c", slots=(Slot("thinking", 0), Slot("text", 1))), "No."))
    assert [(name, data.get("index")) for name, data in found] == [
        ("content_block_stop", 0),
        ("content_block_stop", 1),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert found[2][1]["delta"]["stop_reason"] == "refusal" and all(name == data["type"] for name, data in found)
    assert events(endings("anthropic", Opened("m", is_begun=False), "No."))[0][0] == "message_start"


def test_gemini_in_both_framings() -> None:
    opened = Opened(model="g", slots=(Slot("choice", 0),))
    ((_, data),) = events(endings("gemini", opened, "No."))
    assert data["candidates"][0]["finishReason"] == "SAFETY"
    rest = endings("gemini", opened._replace(is_array=True), "No.")
    assert json.loads(b'[{"candidates":[]}' + rest)[1] == data
    assert json.loads(endings("gemini", opened._replace(is_array=True, is_begun=False), "No.")) == [data]


def frames(data: bytes) -> list[tuple[dict[str, str], Any]]:
    out = []
    while data:
        size, head = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
        assert zlib.crc32(data[:8]) == int.from_bytes(data[8:12], "big")
        assert zlib.crc32(data[: size - 4]) == int.from_bytes(data[size - 4 : size], "big")
        raw, headers, at = data[12 : 12 + head], {}, 0
        while at < head:
            key = raw[at + 1 : at + 1 + raw[at]].decode()
            at += 1 + raw[at]
            assert raw[at] == 7
            length = int.from_bytes(raw[at + 1 : at + 3], "big")
            headers[key] = raw[at + 3 : at + 3 + length].decode()
            at += 3 + length
        out.append((headers, json.loads(data[12 + head : size - 4])))
        data = data[size:]
    return out


def test_bedrock_frames() -> None:
    found = frames(endings("converse", Opened(slots=(Slot("text", 0), Slot("tool_use", 2))), "No."))
    assert [head[":event-type"] for head, _ in found] == [
        "contentBlockStop",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert found[2][1] == {"stopReason": "guardrail_intervened"}
    ((head, body),) = frames(endings("invoke", Opened(), "No."))
    assert (head[":message-type"], head[":exception-type"]) == ("exception", "validationException")
    assert body == {"message": "No."}


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses", "gemini"])
def test_our_own_readers_know_the_endings(dialect: str) -> None:
    grown = Deltas()
    assert all(grown.feed(data) for _, data in events(endings(dialect, Opened("i", "m", slots=(Slot("choice", 0),)), "No.")))  # fmt: skip


def test_ollama_and_mcp() -> None:
    assert json.loads(endings("ollama", Opened(), "No.")) == {"error": "No."}
    ((name, data),) = events(endings("mcp", Opened(request_id="q"), "No."))
    assert name == "message" and data["id"] == "q"
