"""Asking once more after calls were refused: the conversation, the calls, and a result that says why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.wire.again import again

CALL = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": "{}"}}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
SAID = {
    "choices": [
        {"message": {"role": "assistant", "content": None, "tool_calls": [CALL]}, "finish_reason": "tool_calls"}
    ]
}


def test_chat_goes_on_with_the_refused_call_and_its_result() -> None:
    body = json.loads(again("openai", CHAT, SAID, "no money leaves.") or b"")
    assert body["temperature"] == 0.5 and body["messages"][0] == CHAT["messages"][0]  # type: ignore[index]
    assert body["messages"][1]["tool_calls"] == [CALL]
    assert body["messages"][2]["tool_call_id"] == "c1" and "no money leaves." in body["messages"][2]["content"]
    assert len(CHAT["messages"]) == 1, "what was asked is not changed"  # type: ignore[arg-type]


def test_anthropic_and_responses() -> None:
    block = {"type": "tool_use", "id": "t1", "name": "send", "input": {}}
    body = json.loads(again("anthropic", CHAT, {"content": [block]}, "no.") or b"")
    assert body["messages"][-1]["content"][0]["tool_use_id"] == "t1" and body["messages"][-1]["content"][0]["is_error"]
    item = {"type": "function_call", "call_id": "f1", "name": "send", "arguments": "{}"}
    body = json.loads(again("responses", {"input": "hi"}, {"output": [item]}, "no.") or b"")
    assert body["input"][0] == {"role": "user", "content": "hi"} and body["input"][-1]["call_id"] == "f1"


@pytest.mark.parametrize("dialect", ["gemini", "converse", "ollama", "mcp", "plain", ""])
def test_where_it_cannot_be_said_nobody_is_asked(dialect: str) -> None:
    assert again(dialect, CHAT, SAID, "no.") is None


def test_several_choices_or_calls_without_ids_are_not_asked_again() -> None:
    assert again("openai", CHAT, {"choices": SAID["choices"] * 2}, "no.") is None
    nameless = {"choices": [{"message": {"tool_calls": [{"function": {"name": "x"}}]}}]}
    assert again("openai", CHAT, nameless, "no.") is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "tool_calls", "content", "messages", "input", "output", "id"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["openai", "anthropic", "responses"]), json_values, json_values)
def test_never_raises(dialect: str, asked: Any, reply: Any) -> None:
    again(dialect, asked, reply, "no.")
