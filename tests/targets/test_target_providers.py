"""Each provider's protocol against the stand-in that speaks all of them: texts, calls, usage, history, streams."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from afterguard.attack.contract import Call, Plant, Prompt, Reply, Surface
from afterguard.targets import dialects, reading
from afterguard.targets.document import Target
from afterguard.targets.talking import Talking
from afterguard.wire import shapes
from afterguard.wire.parts import Parts

servers: Any = sys.modules["targets_servers"]
Answer, application = servers.Answer, servers.application
AWS = {"authorization": "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c"}
WAYS: dict[str, tuple[str, str, dict[str, str]]] = {
    "openai": ("/v1/chat/completions", "/v1/chat/completions", {}),
    "responses": ("/v1/responses", "/v1/responses", {}),
    "anthropic": ("/v1/messages", "/v1/messages", {}),
    "gemini": ("/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse", {}),
    "ollama": ("/api/chat", "/api/chat", {}),
    "bedrock-converse": ("/model/m/converse", "", AWS),
}
STREAMED = [kind for kind in WAYS if WAYS[kind][1]]


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with servers.providers() as address:
        yield address


def target(kind: Any, url: str, **more: Any) -> Target:
    return Target("it", url, kind=kind, model="m", timeout=10, **more)


def talking(kind: str, origin: str, stream: bool = False, **more: Any) -> Talking:
    plain, streamed, headers = WAYS[kind]
    return Talking(
        target(kind, origin + (streamed if stream else plain), headers=headers, stream=stream, **more), "run"
    )


@pytest.mark.parametrize("kind", WAYS)
def test_text_calls_and_usage(kind: str, origin: str) -> None:
    one = talking(kind, origin)
    found = one.ask(Prompt("[[say: it is nine]]", is_new=True))
    assert (found.text, found.error, found.status, found.requests) == ("it is nine", "", 200, 1)
    assert found.tokens_in and found.tokens_out
    found = one.ask(Prompt('[[call: refund {"amount": 5}]]'))
    assert [(call.name, json.loads(call.arguments)) for call in found.calls] == [("refund", {"amount": 5})]
    assert one.ask(Prompt("[[say: after a call]]")).text == "after a call"
    assert one.ask(Prompt("[[fail: 500]]")).error == "server-error"
    assert one.ask(Prompt("[[fail: 429]]")).error == "rate-limited"


@pytest.mark.parametrize("kind", STREAMED)
def test_a_stream_is_joined(kind: str, origin: str) -> None:
    one = talking(kind, origin, stream=True)
    found = one.ask(Prompt("[[say: it is nine in the morning]] [[cut: 3]]", is_new=True))
    assert (found.text, found.error) == ("it is nine in the morning", "") and found.tokens_out
    found = one.ask(Prompt('[[call: refund {"amount": 5}]]'))
    assert [(call.name, json.loads(call.arguments)) for call in found.calls] == [("refund", {"amount": 5})]


@pytest.mark.parametrize("kind", STREAMED)
def test_half_a_stream_is_no_answer(kind: str, origin: str) -> None:
    one = talking(kind, origin, stream=True)
    for order in ("stop", "reset"):
        found = one.ask(
            Prompt(f"[[say: one two three four five six]] [[cut: 4]] [[slow: 0.01]] [[{order}: 4]]", is_new=True)
        )
        assert found.error in ("broken-off", "unreachable") and not found.text, (order, found)


@pytest.mark.parametrize("kind", WAYS)
def test_what_a_model_thinks_is_not_what_it_says(kind: str, origin: str) -> None:
    for stream in {False, kind in STREAMED}:
        found = talking(kind, origin, stream).ask(Prompt("[[think: hidden thing]] [[say: shown thing]]", is_new=True))
        assert found.text == "shown thing", stream


@pytest.mark.parametrize("kind", WAYS)
def test_a_conversation_in_its_protocol(kind: str) -> None:
    """What is sent reads as what was meant, by the engine that the guard reads it with."""
    before = [
        (Prompt("first", (Plant(Surface.tool_result, "planted result", "look_up"),)), Reply("said", (Call("refund", '{"a":1}'), Call("other", "garbled")))),
    ]  # fmt: skip
    prompt = Prompt(
        "second",
        (Plant(Surface.document, "planted document", "a.txt"), Plant(Surface.tool_description, "planted words", "pay")),
    )
    body = dialects.body(target(kind, "http://h/", system="be good", body={"temperature": 0}), before, prompt)
    assert body["temperature"] == 0
    parts = Parts()
    assert shapes.request(msgspec.json.decode(msgspec.json.encode(body)), parts)
    texts = [text.value for text in parts.texts]
    assert texts[0] == "be good" and texts[1] == "first" and texts[-1].endswith("second")
    whole = " ".join(texts)
    assert "planted document" in whole and "planted result" in whole and "said" in texts
    assert whole.count("This tool was not run.") == 2
    assert [call.name for call in parts.calls] == ["look_up", "refund", "other"]
    assert ("pay", "planted words") in [(tool.name, tool.description) for tool in parts.tools]
    assert not parts.unjudged


def test_the_history_and_the_mark_go_along() -> None:
    said = b'{"choices": [{"message": {"role": "assistant", "content": "yes"}}]}'
    with application(lambda _: Answer(said)) as (url, seen):
        one = Talking(target("openai", url), "run-7")
        one.ask(Prompt("a", is_new=True))
        one.ask(Prompt("b"))
        one.ask(Prompt("c", is_new=True))
    assert [len(json.loads(asked.body)["messages"]) for asked in seen] == [1, 3, 1]
    assert all(asked.headers["x-afterguard-assessment"] == "run-7" for asked in seen)


def test_a_stream_that_stays_open_ends_with_its_last_event() -> None:
    events = b'data: {"choices":[{"index":0,"delta":{"content":"ye"}}]}\n\ndata: {"choices":[{"index":0,"delta":{"content":"s"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    with application(lambda _: Answer(events, headers=(("content-type", "text/event-stream"),), is_open=True)) as (
        url,
        _,
    ):
        found = Talking(target("openai", url, stream=True), "run").ask(Prompt("a", is_new=True))
    assert found.text == "yes" and found.seconds < 5


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"role": "assistant", "content": ""}, "finish_reason": "content_filter"}]},
        {"candidates": [{"finishReason": "SAFETY"}]}, {"promptFeedback": {"blockReason": "SAFETY"}},
        {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "guardrail_intervened"},
    ],
)  # fmt: skip
def test_a_filter_beside_the_model_is_known(body: Any) -> None:
    assert reading.provider({}, json.dumps(body).encode()).is_blocked


def test_a_refusal_of_the_guard_repeats_the_decision() -> None:
    def answer(asked: Any) -> Any:
        is_ours = b"bad" in asked.body
        body = (
            b'{"error": {"message": "no (decision d-123)"}}' if is_ours else b'{"error": {"message": "no such model"}}'
        )
        return Answer(body, 400, (("x-afterguard-decision", "d-123"),))

    with application(answer) as (url, _):
        one = Talking(target("openai", url), "run")
        assert one.ask(Prompt("bad", is_new=True)).is_blocked
        found = one.ask(Prompt("good", is_new=True))
    # What the provider refused passed through the guard as well.
    assert not found.is_blocked and found.error == "unreadable"


def test_directly_and_through_the_guard() -> None:
    with application(lambda _: Answer(b'{"message": {"role": "assistant", "content": "bare"}, "done": true}')) as (bare, _), \
         application(lambda _: Answer(b'{"message": {"role": "assistant", "content": "kept"}, "done": true}')) as (kept, _):  # fmt: skip
        one = target("ollama", bare, guarded=kept)
        assert Talking(one, "run").ask(Prompt("a", is_new=True)).text == "bare"
        assert Talking(one, "run", "guarded").ask(Prompt("a", is_new=True)).text == "kept"
