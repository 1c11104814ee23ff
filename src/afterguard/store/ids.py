"""UUIDv7: identifiers that sort by the time they were made (RFC 9562, section 5.7).

In: a time and 10 random bytes, both arguments. Out: text of 36 characters.
"""

from __future__ import annotations

from collections.abc import Callable


def uuid7(seconds: float, randomness: bytes) -> str:
    """The identifier for a time in seconds since the epoch and 10 random bytes. Raises ValueError for fewer bytes."""
    if len(randomness) < 10:
        raise ValueError("uuid7 needs 10 random bytes")
    millis = max(0, min(int(seconds * 1000), (1 << 48) - 1))
    bits = int.from_bytes(randomness[:10], "big")
    value = millis << 80 | 0x7 << 76 | (bits >> 68) << 64 | 0b10 << 62 | bits & ((1 << 62) - 1)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


POOL = 2_560
"""Random bytes that are asked for at once."""


def maker(clock: Callable[[], float], random: Callable[[int], bytes]) -> Callable[[], str]:
    """A source of identifiers that only grow, within one millisecond and however the clock jumps."""
    last = 0
    pool, at = b"", 0

    def make() -> str:
        nonlocal last, pool, at
        if at + 10 > len(pool):
            pool, at = random(POOL), 0
        bits = int.from_bytes(pool[at : at + 10], "big")
        at += 10
        millis = max(0, min(int(clock() * 1000), (1 << 48) - 1))
        fresh = millis << 80 | 0x7 << 76 | (bits >> 68) << 64 | 0b10 << 62 | bits & ((1 << 62) - 1)
        last = fresh if fresh > last else last + 1
        text = f"{last:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    return make
