"""Bodies of every provider, and any JSON that only looks like one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.model import Origin, Trust
from afterguard.wire import blocks, predict, shapes
from afterguard.wire.parts import Parts


def parsed(request: Any = None, response: Any = None) -> Parts:
    parts = Parts()
    if request is not None:
        assert shapes.request(request, parts)
    if response is not None:
        assert shapes.response(response, parts)
    return parts


def test_anthropic_blocks() -> None:
    parts = parsed({"model": "claude", "max_tokens": 9, "system": [{"type": "text", "text": "S"}], "metadata": {"user_id": "u"}, "tools": [{"name": "get_user", "input_schema": {}}], "messages": [
        {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image", "source": {"type": "base64", "data": "AAAA"}},
                                     {"type": "document", "title": "T", "source": {"type": "text", "data": "page"}}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "zzz"},
                                          {"type": "tool_use", "id": "t1", "name": "web_search", "input": {"q": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "found"}]}]}]})  # fmt: skip
    assert [(t.origin, t.trust, t.name, t.value) for t in parts.texts] == [
        (Origin.system, Trust.system, "", "S"),
        (Origin.user, Trust.user, "", "q"),
        (Origin.document, Trust.third_party, "T", "page"),
        (Origin.model, Trust.model, "", "hm"),
        (Origin.tool, Trust.third_party, "web_search", "found"),
    ]
    assert [(row.reason, row.bytes) for row in parts.unjudged] == [("image", 4), ("opaque_reasoning", 3)]
    assert parts.calls[0].arguments == '{"q":1}' and parts.identity == "u" and parts.tools[0].name == "get_user"
    assert parts.calls[0].turn < parts.texts[-1].turn


def test_responses_items() -> None:
    parts = parsed(
        {"model": "gpt-5", "instructions": "S", "input": [{"role": "user", "content": [{"type": "input_text", "text": "q"}, {"type": "input_image", "image_url": "data:xx"}]},
         {"type": "function_call", "call_id": "c", "name": "read_file", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "text"}]},
        {"object": "response", "output": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "sum"}], "encrypted_content": "xx"},
         {"type": "web_search_call", "id": "w", "action": {"query": "z"}}, {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}]},
    )  # fmt: skip
    assert [(t.origin.value, t.value) for t in parts.texts] == [
        ("system", "S"),
        ("user", "q"),
        ("tool", "text"),
        ("model", "sum"),
        ("model", "a"),
    ]
    assert parts.texts[2].trust is Trust.third_party and parts.texts[2].name == "read_file"
    assert [c.name for c in parts.calls] == ["read_file", "web_search"]
    assert [row.reason for row in parts.unjudged] == ["image", "opaque_reasoning", "response_not_logged"]


def test_model_families() -> None:
    assert [t.value for t in parsed({"inputText": "q"}, {"results": [{"outputText": "a"}]}).texts] == ["q", "a"]
    assert [t.value for t in parsed({"prompt": "<s>[INST] <<SYS>>S<</SYS>>q [/INST]"}, {"generation": "a"}).texts] == [
        "S",
        "q ",
        "a",
    ]
    assert [t.value for t in parsed({"prompt": "\n\nHuman: q\n\nAssistant:"}, {"completion": "a"}).texts] == [" q", "a"]
    assert [
        t.value
        for t in parsed(
            {
                "message": "q",
                "chat_history": [{"role": "USER", "message": "old"}],
                "documents": [{"title": "d", "snippet": "x"}],
            },
            {"text": "a"},
        ).texts
    ] == ["old", '{"title":"d","snippet":"x"}', "q", "a"]
    assert [t.value for t in parsed({"prompt": "q"}, {"outputs": [{"text": "a"}]}).texts] == ["q", "a"]
    chatml = parsed(
        {"prompt": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"}
    )
    assert [(t.origin.value, t.value.strip()) for t in chatml.texts] == [("system", "S"), ("user", "q")]


@pytest.mark.parametrize(
    ("call", "result"),
    [
        (
            {"type": "tool_use", "id": "c", "name": "read_mail", "input": {}},
            {"type": "tool_result", "tool_use_id": "c", "content": "x"},
        ),
        (
            {"type": "tool_call", "id": "c", "name": "read_mail", "arguments": {}},
            {"type": "tool_call_response", "id": "c", "response": "x"},
        ),
        (
            {"type": "tool-call", "toolCallId": "c", "toolName": "read_mail", "input": {}},
            {"type": "tool-result", "toolCallId": "c", "output": "x"},
        ),
        (
            {"toolUse": {"toolUseId": "c", "name": "read_mail", "input": {}}},
            {"toolResult": {"toolUseId": "c", "content": [{"text": "x"}]}},
        ),
        (
            {"functionCall": {"name": "read_mail", "args": {}}},
            {"functionResponse": {"name": "read_mail", "response": {"r": "x"}}},
        ),
    ],
)
def test_results_know_their_call(call: Any, result: Any) -> None:
    parts = parsed({"messages": [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]})
    (text,) = parts.texts
    assert (text.name, text.trust, parts.calls[0].arguments) == ("read_mail", Trust.third_party, "{}")


KEYS = ["role", "content", "type", "text", "messages", "input", "output", "parts", "contents", "tool_calls", "function", "name", "arguments", "choices", "message", "prompt", "system", "source",
        "data", "tool_use_id", "refusal", "functionCall", "toolUse", "toolResult", "candidates", "usage", "instructions", "tools", "chat_history", "documents", "kwargs", "lc", "id", "from", "value"]  # fmt: skip
WORDS = [
    "user",
    "assistant",
    "tool",
    "system",
    *sorted(blocks.READERS),
    "message",
    "response",
    "human",
    "web_search_call",
]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS), st.text(max_size=6))
ANY = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)),
    max_leaves=15,
)
BODY = st.dictionaries(st.sampled_from(KEYS), ANY, max_size=6)


@settings(max_examples=200, deadline=None)
@given(BODY, BODY)
def test_never_raises(request: Any, response: Any) -> None:
    parts = Parts()
    shapes.request(request, parts)
    shapes.response(response, parts)
    assert all(isinstance(text.value, str) and text.turn >= 0 for text in parts.texts)
    assert all(isinstance(call.arguments, str) for call in parts.calls)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            ["time", "user", "decision", "score", "features", "label", "predictions", "a", "b", "x.score", "input"]
        ),
        ANY,
        max_size=8,
    )
)
def test_predictions_never_raise(record: Any) -> None:
    found = predict.prediction(record)
    assert found is None or found.features


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"type": "tool_result", "content": [value]}
    return value


def test_depth_is_capped() -> None:
    parts = Parts()
    shapes.request({"messages": [{"role": "user", "content": [deep(400)]}]}, parts)
    assert [row.reason for row in parts.unjudged] == ["unknown_shape"]
