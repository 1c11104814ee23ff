"""What a stranger asks is remembered only so far."""

from __future__ import annotations

from afterguard.remembered import remembered


def test_answers_are_kept_of_questions_of_ordinary_length() -> None:
    asked: list[tuple[str, str]] = []

    @remembered(2, longest=10)
    def join(one: str, other: str = "") -> str:
        """Doc."""
        asked.append((one, other))
        return one + other

    assert [join("a", "b"), join("a", "b"), join("x" * 11), join("x" * 11), join("c"), join("d"), join("a", "b")] == [
        "ab", "ab", "x" * 11, "x" * 11, "c", "d", "ab",
    ]  # fmt: skip
    assert [row for row in asked if row[0] == "a"] == [("a", "b")] * 2, "two answers are kept, and the oldest goes"
    assert len([row for row in asked if row[0][0] == "x"]) == 2, "long questions are answered anew"
    assert join.__doc__ == "Doc."
