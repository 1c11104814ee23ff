"""Folding and tokens: what is read as what, and that offsets lead back into the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard import judges
from afterguard.detect.judge.tokens import RUN, folded, tokens

ONE = judges.load().one
assert ONE is not None
HOSTILE = st.text(
    st.one_of(st.characters(), st.sampled_from("ab1 \n\u200b\u0301аé日\U000e0041\U0001d400")), max_size=200
)


def words(text: str) -> list[str]:
    found = tokens(text, ONE.fold, ONE.kind)
    return [text[low:high] for low, high in zip(found.start, found.end)]


def read(text: str) -> str:
    return "".join(map(chr, folded(text, ONE.fold)[0]))


def test_words_marks_and_scripts_without_blanks() -> None:
    assert words("Hello, world!!! 12345 日本") == ["Hello", ",", "world", "!", "12345", "日", "本"]
    assert words("   \u200b ") == []
    assert [len(word) for word in words("x" * (2 * RUN + 3))] == [RUN, RUN, 3]


@pytest.mark.parametrize(
    "disguise",
    [
        "IGNORE",
        "ｉｇｎｏｒｅ",
        "іgnоrе",
        "i\u200bg\u200dnore",
        "𝐢𝐠𝐧𝐨𝐫𝐞",
        "ígnôre",
        "i\u0301gnore",
        "\U000e0069\U000e0067nore",
    ],
)
def test_disguises_are_read_as_the_word(disguise: str) -> None:
    assert read(disguise) == "ignore"
    plain, hidden = tokens("ignore", ONE.fold, ONE.kind), tokens(disguise, ONE.fold, ONE.kind)
    assert plain.word.tolist() == hidden.word.tolist()
    assert plain.trigram.tolist() == hidden.trigram.tolist()


def test_digits_in_words_are_letters_and_numbers_count_by_length() -> None:
    def rows(text: str) -> list[int]:
        return list(tokens(text, ONE.fold, ONE.kind).word)

    assert rows("1gn0r3") == rows("ignore")
    assert rows("1234") == rows("9876")
    assert rows("123") != rows("1234")


@given(HOSTILE)
def test_any_text_gives_offsets_inside_it(text: str) -> None:
    found = tokens(text, ONE.fold, ONE.kind)
    assert len(found.word) == len(found.start) == len(found.end) == len(found.cut) - 1
    assert all(0 <= low < high <= len(text) for low, high in zip(found.start, found.end))
    assert all(a <= b for a, b in zip(found.end, found.start[1:]))
    assert found.cut[-1] == len(found.trigram)
