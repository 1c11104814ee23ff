"""Text -> word pieces, as BERT's uncased models read it (Devlin et al. 2019, after Wu et al. 2016), with the place of every piece.

In: a text and a vocabulary. Out: `Pieces`: ids and character offsets into the text given. Unlike the reference it also drops what is invisible and reads
look-alike letters inside mixed words as Latin, since that is how attacks hide. Written here because the reference package brings a
download client along; tests hold it against the reference on ordinary text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from afterguard.detect.normalise import LOOKALIKE

UNKNOWN, START, END = "[UNK]", "[CLS]", "[SEP]"
LONGEST = 100
"""Characters of one word; a longer one is unknown."""
INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2FA1F),
    (0xF900, 0xFAFF),
)


class Pieces(NamedTuple):
    """`ids[i]` stands for the characters [start[i], end[i])."""

    ids: list[int]
    start: list[int]
    end: list[int]


def pieces(text: str, vocabulary: Mapping[str, int], most: int = 100_000) -> Pieces:
    """Word pieces of a text, at most `most`."""
    out = Pieces([], [], [])
    unknown = vocabulary[UNKNOWN]
    for word, at in _words(text):
        _cut(_latin(word), at, vocabulary, unknown, out)
        if len(out.ids) >= most:
            break
    return out


def _cut(word: str, at: list[int], vocabulary: Mapping[str, int], unknown: int, out: Pieces) -> None:
    """Longest match first."""
    rows: list[tuple[int, int, int]] = []
    low = 0
    while low < len(word):
        high = min(len(word), low + LONGEST)
        found = None
        while low < high:
            piece = word[low:high] if not low else "##" + word[low:high]
            found = vocabulary.get(piece)
            if found is not None:
                break
            high -= 1
        if found is None or len(word) > LONGEST:
            rows = [(unknown, 0, len(word))]
            break
        rows.append((found, low, high))
        low = high
    for row, low, high in rows:
        out.ids.append(row)
        out.start.append(at[low])
        out.end.append(at[high - 1] + 1)


def _latin(word: str) -> str:
    if word.isascii():
        return word
    folded = word.translate(LOOKALIKE)
    # Only a word that mixes scripts is disguised; a Russian word is Russian.
    return folded if any("a" <= c <= "z" for c in word) or folded.isascii() else word


@lru_cache(maxsize=8192)
def _read(char: str) -> tuple[str, str]:
    """(what a character is read as, "w" word, "s" blank, "p" stands alone, "" nothing)."""
    point = ord(char)
    if 0xE0020 <= point <= 0xE007E:
        return _read(chr(point - 0xE0000))
    if char in "\t\n\r" or char.isspace():
        return " ", "s"
    category = unicodedata.category(char)
    if category in INVISIBLE or point in (0, 0xFFFD):
        return "", ""
    if any(low <= point <= high for low, high in CJK):
        return char, "p"
    plain = "".join(c for c in unicodedata.normalize("NFKD", char) if unicodedata.category(c) != "Mn")
    if 0xAC00 <= point <= 0xD7A3:
        plain = unicodedata.normalize("NFD", char)
    plain = plain.lower()
    if not plain:
        return "", ""
    ascii_mark = (
        33 <= ord(plain[0]) <= 47
        or 58 <= ord(plain[0]) <= 64
        or 91 <= ord(plain[0]) <= 96
        or 123 <= ord(plain[0]) <= 126
    )
    if len(plain) == 1 and (ascii_mark or unicodedata.category(plain).startswith("P")):
        return plain, "p"
    return plain, "w"


def _words(text: str) -> list[tuple[str, list[int]]]:
    """(word as read, offset of each of its characters)."""
    out: list[tuple[str, list[int]]] = []
    word: list[str] = []
    at: list[int] = []
    for index, char in enumerate(text):
        plain, kind = _read(char)
        if kind == "w":
            word.extend(plain)
            at.extend([index] * len(plain))
        elif kind:
            if word:
                out.append(("".join(word), at))
                word, at = [], []
            if kind == "p":
                out.append((plain, [index] * len(plain)))
    if word:
        out.append(("".join(word), at))
    return out
