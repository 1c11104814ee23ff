"""Words that nobody says by chance: markers that cannot come back by echo, nonces for links, canaries.

In: a seed. Out: texts; the same seed gives the same. A marker is asked for in two halves, backwards, or as a sum, so that an application that repeats what it was told does not say it.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

ONSETS = (
    "b",
    "br",
    "d",
    "dr",
    "f",
    "fl",
    "g",
    "gl",
    "k",
    "kr",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "z",
)
VOWELS = ("a", "e", "i", "o", "u")
CODAS = ("k", "l", "m", "n", "r", "s", "t", "x")


class Joined(NamedTuple):
    """A marker in two halves: whoever is asked to join them says `whole`, which stands nowhere in what was sent."""

    left: str
    right: str

    @property
    def whole(self) -> str:
        return self.left + self.right


def numbers(seed: str) -> list[int]:
    """Thirty-two numbers below 256."""
    return list(hashlib.sha256(seed.encode("utf-8", "replace")).digest())


def word(seed: str, syllables: int = 2) -> str:
    """A word that is none in any language we know of."""
    drawn = iter(numbers(seed))
    parts = [ONSETS[next(drawn) % len(ONSETS)] + VOWELS[next(drawn) % len(VOWELS)] for _ in range(syllables)]
    return "".join(parts) + CODAS[next(drawn) % len(CODAS)]


def joined(seed: str) -> Joined:
    """Two halves, of at least five letters each."""
    return Joined(word(f"{seed} left", 3), word(f"{seed} right", 3))


def nonce(seed: str) -> str:
    """Sixteen hexadecimal digits, for an address that only this trial knows."""
    return hashlib.sha256(f"nonce {seed}".encode("utf-8", "replace")).hexdigest()[:16]


def pick(seed: str, of: tuple[str, ...]) -> str:
    """One of them."""
    return of[int.from_bytes(hashlib.sha256(f"pick {seed}".encode("utf-8", "replace")).digest()[:8], "big") % len(of)]
