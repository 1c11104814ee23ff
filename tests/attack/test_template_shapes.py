"""Templates take any value, path and words."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.targets import template

JSON = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["{{prompt}}", "{{x}} {{prompt}}", "{{", "{{prompt"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "text", "a", "0"]), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    JSON, st.text(max_size=12), st.dictionaries(st.sampled_from(["prompt", "conversation", "x"]), st.text(max_size=6))
)
def test_templates_take_any_value_and_path(value: Any, path: str, words: dict[str, str]) -> None:
    template.filled(value, words)
    for one in (path, ".a.b[0]", "[0].text", ".choices[0].message", "", "." * 50):
        try:
            template.at(value, one)
        except ValueError:
            continue


def test_templates_keep_to_a_depth() -> None:
    deep: Any = "{{prompt}}"
    for _ in range(900):
        deep = [deep]
    template.filled(deep, {"prompt": "x"})
    assert template.filled({"a": ["{{prompt}}"]}, {"prompt": "x"}) == {"a": ["x"]}
