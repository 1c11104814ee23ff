"""Text as tier one reads it: characters folded to one spelling, cut into tokens, each token a few rows of a table.

In: a text and the two folding tables that ship with the weights. Out: `Tokens`, numpy arrays of hashes and character offsets. This is the
reference of the C kernel (`_kernel.c`), which does the same in one pass; training uses this file, so the three cannot drift apart
(tests compare them). It judges nothing and never raises on hostile text.

Theory of operation. `fold[code point]` is the character it is read as, 0 where it is not read at all (zero-width, bidi, accents): case,
accents, full width, mathematical letters and look-alikes of Latin letters fall together. Tag characters (U+E0020..E007E) are read as the ASCII
they hide. `kind[folded]` says what a character is. A run of letters and digits is one token of at most RUN characters; digits inside a word are read as
the letters they imitate, a number counts by its length only. Scripts without blanks between words give one token a character, punctuation
too, a repeated one once. Hashes are polynomials modulo 2**64, so that numpy can take them from one running sum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

DROP, SPACE, NEWLINE, LETTER, DIGIT, SINGLE, MARK = range(7)
"""Values of `kind`."""
FOLDED = 0x20000
"""Code points the table knows; those above are tags (read as ASCII) or MARK_BEYOND."""
BEYOND = 0xFFFD
RUN = 32
"""Characters of one token at most."""
P = np.uint64(0x9E3779B97F4A7C15)
P_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
MIX = np.uint64(0xD6E8FEB86659FD93)
LEET = {ord(a): ord(b) for a, b in zip("013457", "oieast")}
ROWS_WORD, ROWS_SIDE, ROWS_PAIR, ROWS_TRIGRAM = 1 << 15, 1 << 14, 1 << 15, 1 << 13


class Tokens(NamedTuple):
    """One row a token. `start` and `end` are character offsets into the text; trigrams of token i are trigram[cut[i]:cut[i + 1]]."""

    word: I64
    side: I64
    pair: I64
    skip: I64
    trigram: I64
    cut: I64
    start: I64
    end: I64
    is_number: NDArray[np.bool_]


def mix(value: U64) -> U64:
    """Spread the bits of a hash over all of them."""
    value = (value ^ (value >> np.uint64(32))) * MIX
    return value ^ (value >> np.uint64(32))


_powers: dict[int, tuple[U64, U64]] = {}


def _power(size: int) -> tuple[U64, U64]:
    """P**i and P**-i modulo 2**64 for i below at least `size`."""
    top = 1 << max(12, (size - 1).bit_length())
    if top not in _powers:
        with np.errstate(over="ignore"):
            forth = np.multiply.accumulate(np.concatenate([np.ones(1, np.uint64), np.full(top - 1, P)]))
            back = np.multiply.accumulate(np.concatenate([np.ones(1, np.uint64), np.full(top - 1, P_INVERSE)]))
        _powers.clear()
        _powers[top] = (forth, back)
    return _powers[top]


def folded(text: str, fold: NDArray[np.uint16]) -> tuple[I64, I64]:
    """(folded characters that are read, their offsets in the text)."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
    tags = (points >= 0xE0020) & (points <= 0xE007E)
    points = np.where(tags, points - 0xE0000, points)
    out = np.where(points < FOLDED, fold[np.minimum(points, FOLDED - 1)], BEYOND).astype(np.int64)
    out = np.where(points >= 0xE0000, 0, out)
    at = np.flatnonzero(out)
    return out[at], at


def tokens(text: str, fold: NDArray[np.uint16], kind: NDArray[np.uint8]) -> Tokens:
    """The tokens of a text."""
    code, at = folded(text, fold)
    what = kind[code]
    wordy = (what == LETTER) | (what == DIGIT)
    before = np.concatenate([[False], wordy[:-1]])
    same = np.concatenate([[False], (code[1:] == code[:-1]) & (what[1:] != SINGLE)])
    opens = wordy & ~before
    # A run longer than RUN is cut into pieces of RUN.
    place = np.arange(len(code), dtype=np.int64)
    first = np.maximum.accumulate(np.where(opens, place, 0))
    opens |= wordy & ((place - first) % RUN == 0)
    lone = ~wordy & (what != SPACE) & ~same
    start = np.flatnonzero(opens | lone)
    if not len(start):
        empty = np.zeros(0, np.int64)
        return Tokens(empty, empty, empty, empty, empty, np.zeros(1, np.int64), empty, empty, empty > 0)
    is_word = wordy[start]
    stop = np.flatnonzero(wordy & ~np.concatenate([wordy[1:], [False]])) + 1
    run_end = (
        stop[np.minimum(np.searchsorted(stop, start, side="right"), max(len(stop) - 1, 0))] if len(stop) else start
    )
    following = np.concatenate([start[1:], [len(code)]])
    end = np.where(is_word, np.minimum(run_end, following), start + 1)
    letters = np.concatenate([[0], np.cumsum(what == LETTER)])
    is_number = is_word & (letters[end] == letters[start])
    code = _spelt(code, what, start, end, is_number)
    h = _hashes(code, start, end)
    one = np.concatenate([np.zeros(1, np.uint64), h[:-1]])
    two = np.concatenate([np.zeros(2, np.uint64), h[:-2]])[: len(h)]
    with np.errstate(over="ignore"):
        own = mix(h)
        pair = mix(one * np.uint64(3) + h)
        skip = mix(two * np.uint64(5) + h * np.uint64(7))
    trigram, cut = _trigrams(code, start, end, is_word & ~is_number)
    return Tokens(
        (own & np.uint64(ROWS_WORD - 1)).astype(np.int64),
        ((own >> np.uint64(20)) & np.uint64(ROWS_SIDE - 1)).astype(np.int64),
        (pair & np.uint64(ROWS_PAIR - 1)).astype(np.int64),
        (skip & np.uint64(ROWS_PAIR - 1)).astype(np.int64),
        trigram,
        cut,
        at[start],
        at[end - 1] + 1,
        is_number,
    )


def _spelt(code: I64, what: NDArray[np.uint8], start: I64, end: I64, is_number: NDArray[np.bool_]) -> I64:
    """Digits of numbers become 0, digits inside words the letters they imitate."""
    owner = np.zeros(len(code) + 1, np.int64)
    np.add.at(owner, start[is_number], 1)
    np.add.at(owner, end[is_number], -1)
    inside = np.cumsum(owner[:-1]) > 0
    digits = what == DIGIT
    out = code.copy()
    out[digits & inside] = ord("0")
    loose = digits & ~inside
    for digit, letter in LEET.items():
        out[loose & (code == digit)] = letter
    return out


def _hashes(code: I64, start: I64, end: I64) -> U64:
    forth, back = _power(len(code) + 1)
    with np.errstate(over="ignore"):
        total = np.concatenate(
            [np.zeros(1, np.uint64), np.cumsum((code.astype(np.uint64) + np.uint64(1)) * forth[: len(code)])]
        )
        out: U64 = (total[end] - total[start]) * back[start]
    return out


def _trigrams(code: I64, start: I64, end: I64, has: NDArray[np.bool_]) -> tuple[I64, I64]:
    """Rows of the trigrams around every character of a word; 1 stands for the borders."""
    size = np.where(has, end - start, 0)
    cut = np.concatenate([[0], np.cumsum(size)])
    place = np.arange(cut[-1]) - np.repeat(cut[:-1], size)
    low, high = np.repeat(start, size), np.repeat(end, size)
    here = low + place
    left = np.where(here > low, code[np.maximum(here - 1, 0)], 1).astype(np.uint64)
    right = np.where(here + 1 < high, code[np.minimum(here + 1, len(code) - 1)], 1).astype(np.uint64)
    with np.errstate(over="ignore"):
        rows = mix((left << np.uint64(40)) ^ (code[here].astype(np.uint64) << np.uint64(20)) ^ right)
    return (rows & np.uint64(ROWS_TRIGRAM - 1)).astype(np.int64), cut
