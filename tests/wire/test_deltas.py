"""Streams put together: parallel choices and calls, missing ids, shared indexes, several providers."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.wire import shapes
from afterguard.wire.deltas import Deltas
from afterguard.wire.parts import Parts


def grown(events: list[Any]) -> Parts:
    deltas, parts = Deltas(), Parts()
    for event in events:
        deltas.feed(event)
    deltas.into(parts)
    return parts


def chunk(delta: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "id": "c", "choices": [{"index": index, "delta": delta}]}


def call(
    arguments: str, index: int | None = 0, identifier: str | None = None, name: str | None = None
) -> dict[str, Any]:
    piece: dict[str, Any] = {"function": {"arguments": arguments}}
    if index is not None:
        piece["index"] = index
    if identifier:
        piece["id"] = identifier
    if name:
        piece["function"]["name"] = name
    return chunk({"tool_calls": [piece]})


def test_several_choices_at_once() -> None:
    parts = grown(
        [chunk({"content": "a"}), chunk({"content": "x"}, 1), chunk({"content": "b"}), chunk({"content": "y"}, 1)]
    )
    assert [text.value for text in parts.texts] == ["ab", "xy"]


def test_reasoning_and_refusal() -> None:
    parts = grown([chunk({"reasoning_content": "hm"}), chunk({"content": "yes"}), chunk({"refusal": "no"})])
    assert sorted(text.value for text in parts.texts) == ["hm", "no", "yes"]


def test_parallel_calls_and_missing_ids() -> None:
    parts = grown([call("{", 0, "a", "f"), call("[", 1, None, "g"), call("}", 0), call("]", 1)])
    assert [(c.name, c.arguments) for c in parts.calls] == [("f", "{}"), ("g", "[]")]


def test_all_calls_at_index_zero() -> None:
    parts = grown([call("{1", 0, "a", "f"), call("}", 0), call("{2", 0, "b", "g"), call("}", 0)])
    assert [(c.id, c.name, c.arguments) for c in parts.calls] == [("a", "f", "{1}"), ("b", "g", "{2}")]


def test_converse_and_gemini_lists() -> None:
    parts = Parts()
    assert shapes.response([{"messageStart": {"role": "assistant"}}, {"contentBlockDelta": {"delta": {"text": "he"}, "contentBlockIndex": 0}},
                            {"contentBlockDelta": {"delta": {"text": "y"}, "contentBlockIndex": 0}},
                            {"contentBlockStart": {"start": {"toolUse": {"name": "f", "toolUseId": "i"}}, "contentBlockIndex": 1}},
                            {"contentBlockDelta": {"delta": {"toolUse": {"input": "{}"}}, "contentBlockIndex": 1}},
                            {"metadata": {"usage": {"inputTokens": 4, "outputTokens": 5}}}], parts) == "bedrock"  # fmt: skip
    assert [t.value for t in parts.texts] == ["hey"] and parts.calls[0].arguments == "{}" and parts.input_tokens == 4


EVENT_KEYS = ["type", "choices", "delta", "index", "content", "tool_calls", "function", "arguments", "id", "name", "object", "message", "done", "response", "output",
              "item", "output_index", "content_block", "partial_json", "candidates", "parts", "text", "usage", "contentBlockDelta", "contentBlockStart", "error", "role"]  # fmt: skip
WORDS = ["chat.completion.chunk", "message_start", "content_block_start", "content_block_delta", "response.output_text.delta", "response.completed", "response.output_item.added",
         "text_delta", "tool_use", "thinking", "assistant", "completion", "x", ""]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.sampled_from(WORDS), st.text(max_size=8)
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(EVENT_KEYS), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY, max_size=8))
def test_never_raises(events: list[Any]) -> None:
    parts = grown(events)
    json.dumps([text.value for text in parts.texts])
    shapes.response(events, Parts())
