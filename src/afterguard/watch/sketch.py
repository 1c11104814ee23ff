"""Texts as 64 bits, so that likeness can be watched without keeping a word.

In: a text. Out: `sketch`, near for texts that are alike (SimHash, Charikar 2002: the sign of the sum of word hashes, bit by bit), and `shape`, equal for texts made from one template. The same
everywhere and in every run. Neither can be turned back into a text, but a short text can be guessed and compared: sketches stay where pseudonyms stay.
"""

from __future__ import annotations

import re
import zlib
from itertools import pairwise

import numpy as np

WORDS_CAP = 80
"""Words that are read of a text."""
CHARACTERS_CAP = 8_000
SHAPED = 600
"""Characters that make a shape: what a template changes comes late or is masked."""
WORD = re.compile(r"[^\W\d_]{2,30}")
MASKED = (
    (re.compile(r"[\"'“‘«`](?:[^\"'”’»`\n]{1,200})[\"'”’»`]"), "Q"),
    (re.compile(r"[\w.+-]+@[\w.-]+|https?://\S+"), "A"),
    (re.compile(r"\d[\d.,:/-]*"), "0"),
    (re.compile(r"(?<![.!?\n] )(?<!^)\b[A-ZÀ-Þ][\w'-]*(?: [A-ZÀ-Þ][\w'-]*)*"), "N"),
    (re.compile(r"\s+"), " "),
)
"""What differs between two texts of one template: quotations, addresses, numbers, names inside sentences."""
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_BITS = np.arange(64, dtype=np.uint64)


def sketch(text: str) -> int:
    """64 bits, 0 where there is no word. Texts on one matter differ in few bits, strangers in about 32."""
    words = WORD.findall(text[:CHARACTERS_CAP].lower())[:WORDS_CAP]
    if not words:
        return 0
    pairs = [*words, *map(" ".join, pairwise(words))]
    numbers = np.fromiter((zlib.crc32(one.encode()) for one in pairs), np.uint64, len(pairs))
    # crc32 gives 32 bits; a multiplication spreads them over 64, and the upper half folds back.
    hashes = numbers * _SPREAD
    hashes ^= hashes >> np.uint64(29)
    hashes *= _SPREAD
    ones = ((hashes[:, None] >> _BITS) & np.uint64(1)).sum(axis=0, dtype=np.int64)
    found = int((np.uint64(1) << _BITS)[ones * 2 > len(pairs)].sum(dtype=np.uint64))
    return found or 1


def distance(one: int, other: int) -> int:
    """Bits in which two sketches differ."""
    return (one ^ other).bit_count()


def shape(text: str) -> int:
    """A hash of the text with whatever a template fills in masked, 0 for an empty one."""
    masked = text[:SHAPED].strip()
    for pattern, by in MASKED:
        masked = pattern.sub(by, masked)
    if not masked:
        return 0
    data = masked.lower().encode("utf-8", "surrogatepass")
    return (zlib.crc32(data) << 32 | zlib.adler32(data)) or 1
