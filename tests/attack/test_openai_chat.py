"""A decoded reply of any shape is read, or is unreadable."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.targets import openai_chat

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "message", "content", "tool_calls", "function", "name", "arguments", "usage", "completion_tokens", "prompt_tokens", "text", "a", "0"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def held_in(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries({"message": st.fixed_dictionaries({"content": inner, "tool_calls": inner})}),
                max_size=2,
            ),
            "usage": inner,
        }
    )


@settings(max_examples=300, deadline=None)
@given(st.one_of(JSON, held_in(JSON)))
def test_a_decoded_reply_of_any_shape_is_read_or_unreadable(found: Any) -> None:
    reply, message = openai_chat.reply(found)
    assert isinstance(reply.text, str) and (message is None) is bool(reply.error)
    for call in reply.calls:
        assert isinstance(call.name, str) and isinstance(call.arguments, str)
