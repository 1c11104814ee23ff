"""Numbers that look alike or random: hashes of numbers, sketches of texts, and a generator of their own for every purpose.

In: seeds and arrays. Out: arrays. Nothing here reads a clock or keeps state; what is drawn depends only on the seed and the words of the purpose.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
F64 = NDArray[np.float64]
Ints = NDArray[np.int64]


def mix(numbers: Any) -> U64:
    """Finaliser of splitmix64: spreads numbers over 64 bits, the same number always to the same."""
    x = np.atleast_1d(np.asarray(numbers)).astype(np.uint64)
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)), dtype=np.uint64)


@lru_cache(maxsize=1 << 14)
def salt(*words: str | int) -> np.uint64:
    """A number for a purpose."""
    text = " ".join(str(word) for word in words).encode()
    return np.uint64(mix([zlib.crc32(text) << 20 ^ zlib.adler32(text)])[0])


def named(numbers: Any, *words: str | int) -> U64:
    """One hash for every number and purpose; never 0, which stands for "unknown"."""
    out = mix(np.atleast_1d(np.asarray(numbers)).astype(np.uint64) ^ salt(*words))
    out[out == 0] = 1
    return out


def share(hashes: U64, *words: str | int) -> F64:
    """A fixed number in [0, 1) for each hash: a trait that never changes."""
    return np.asarray((mix(hashes ^ salt(*words)) >> np.uint64(11)).astype(np.float64) / float(1 << 53))


def generator(seed: int, *words: str | int) -> np.random.Generator:
    """A generator for one purpose, so that adding one campaign does not move what another draws."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, int(salt(*words))])))


def bits(rng: np.random.Generator, n: int) -> U64:
    return rng.integers(0, 1 << 64, n, dtype=np.uint64)


def noise(rng: np.random.Generator, n: int, level: int) -> U64:
    """Bits to flip in a sketch. Level 1: texts that only share their topic (24 of 64 bits differ on average), 2: near (16), 3: reworded (8), 4: a template filled in (4), 5: almost the same (2)."""
    if level == 1:
        return (bits(rng, n) | bits(rng, n)) & bits(rng, n)
    out = bits(rng, n)
    for _ in range(level - 1):
        out &= bits(rng, n)
    return out


def skewed(rng: np.random.Generator, n: int, size: int, weight: float = 1.6) -> Ints:
    """Ranks 0..size-1, low ones more often: few do much, many do little."""
    return np.minimum((size * rng.random(n) ** weight).astype(np.int64), size - 1)


def lognormal(rng: np.random.Generator, n: int, median: float, sigma: float) -> F64:
    return median * np.exp(sigma * rng.standard_normal(n))


def objects(values: list[Any]) -> NDArray[np.object_]:
    """An array of objects; tuples stay tuples."""
    return np.fromiter(values, dtype=object, count=len(values))


def repeated(value: Any, n: int) -> NDArray[np.object_]:
    """The same object n times."""
    out = np.empty(n, dtype=object)
    out.fill(value)
    return out
