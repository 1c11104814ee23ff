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


POOL = 2_048
"""Random bytes that are asked for at once."""
STEPS = 1 << 12
"""Identifiers of one millisecond; the next one is dated a millisecond later."""


def maker(clock: Callable[[], float], random: Callable[[int], bytes]) -> Callable[[], str]:
    """A source of identifiers that only grow, within one millisecond and however the clock jumps (RFC 9562, section 6.2, method 1: a counter behind the time)."""
    last = step = 0
    start = ""
    pool, at = "", 0

    def make() -> str:
        nonlocal last, step, start, pool, at
        millis = int(clock() * 1000)
        step += 1
        if millis > last or step == STEPS:
            last = max(millis if millis < 1 << 48 else 0, last + (step == STEPS))
            step = 0
            text = f"{last:012x}"
            start = f"{text[:8]}-{text[8:]}-7"
        if at + 16 > len(pool):
            pool, at = random(POOL).hex(), 0
        bits = pool[at : at + 16]
        at += 16
        return f"{start}{step:03x}-{VARIANT[bits[0]]}{bits[1:4]}-{bits[4:]}"

    return make


VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The two bits of RFC 9562's variant, and two of chance."""
