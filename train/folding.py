"""The folding tables of tier one: what every character is read as, and what kind of character that is.

In: nothing but Python's own Unicode data and a short list of look-alikes. Out: two arrays, see afterguard.detect.judge.tokens.
"""

from __future__ import annotations

import unicodedata

import numpy as np

from afterguard.detect.judge.tokens import BEYOND, DIGIT, DROP, FOLDED, LETTER, MARK, NEWLINE, SINGLE, SPACE
from afterguard.detect.normalise import LOOKALIKE

WITHOUT_BLANKS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""First words of the names of characters whose scripts put no blanks between words."""
DIACRITICS = (
    (0x0300, 0x036F),
    (0x0591, 0x05BD),
    (0x05BF, 0x05C7),
    (0x0610, 0x061A),
    (0x064B, 0x0652),
    (0x0670, 0x0670),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
)
"""Marks that readers leave out without loss. The signs of Indic scripts are not among them."""


def tables() -> tuple[np.ndarray, np.ndarray]:
    """(fold, kind): uint16 of FOLDED entries, uint8 of 65,536 entries."""
    fold = np.zeros(FOLDED, np.uint16)
    for point in range(FOLDED):
        fold[point] = _folded(point)
    kind = np.array([_kind(code) for code in range(0x10000)], np.uint8)
    return fold, kind


def _folded(point: int) -> int:
    char = chr(point)
    if char in "\n\r\x0b\x0c\u0085\u2028\u2029":
        return 10
    category = unicodedata.category(char)
    if category in ("Cc", "Zs") or char == "\t":
        return 32
    if category in ("Cf", "Cn", "Co", "Cs") or 0xFE00 <= point <= 0xFE0F or any(a <= point <= b for a, b in DIACRITICS):
        return 0
    if not 0xAC00 <= point <= 0xD7A3:
        plain = unicodedata.normalize("NFKD", char).lstrip(" ")
        char = plain[:1] or " "
    char = char.translate(LOOKALIKE).lower()[:1].translate(LOOKALIKE)
    if ord(char) > 0xFFFF:
        return BEYOND
    return ord(char)


def _kind(code: int) -> int:
    char = chr(code)
    if code == 0:
        return DROP
    if code == 10:
        return NEWLINE
    if code == 32:
        return SPACE
    category = unicodedata.category(char)
    name = unicodedata.name(char, "")
    if name.split(" ")[0] in WITHOUT_BLANKS:
        return SINGLE
    if category[0] in "LM":
        return LETTER
    if category[0] == "N":
        return DIGIT
    return MARK
