"""Versions and ranges, as far as advisories need them.

In: version texts of any ecosystem and ranges such as ">=1.0.0,<1.2.5" or "^1.2". Out: comparison, and whether a range written in a
manifest can meet an affected one. Pre-releases sort before their release; epochs and local parts are ignored.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_NUMBER = re.compile(r"\d{1,9}")
_PRE = re.compile(
    r"(?:^|[\d.\-_])(?:a|alpha|b|beta|rc|c|pre|preview|dev|canary|next|snapshot|m)\.?-?\d{0,9}", re.IGNORECASE
)
_PART = re.compile(r"\s*(>=|<=|==|!=|~=|===|>|<|=|\^|~)?\s*v?([\w.*+!-]+)")

Key = tuple[tuple[int, ...], int]
LOWEST: Key = ((), -1)
HIGHEST: Key = ((1 << 40,), 1)


class Span(NamedTuple):
    """Versions from `low` (included when `with_low`) to `high` (included when `with_high`)."""

    low: Key
    high: Key
    with_low: bool = True
    with_high: bool = False


@lru_cache(maxsize=4096)
def key(version: str) -> Key:
    """A sortable form; text that is no version sorts lowest."""
    text = version.strip().lower().lstrip("v=").split("!")[-1].split("+")[0][:80]
    head = re.split(r"[-_]|(?<=\d)(?=[a-z])|\.(?=[a-z])", text, maxsplit=1)[0]
    numbers = [int(found) for found in _NUMBER.findall(head)][:6]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    rest = text[len(head) :]
    return tuple(numbers), -1 if rest and _PRE.search(rest) else 0


def span(text: str) -> Span:
    """The span of one range. "" and "*" are every version."""
    low, high, with_low, with_high = LOWEST, HIGHEST, True, True
    for sign, version in _PART.findall(text.replace(",", " ")[:400]):
        if version in ("*", "x", "latest") or sign == "!=":
            continue
        if sign in ("", "=", "==", "==="):
            if "*" in version or version.endswith(".x"):
                base = version.replace(".*", "").replace(".x", "").rstrip("*.")
                low, high, with_high = key(base), _next(base, len(base.split("."))), False
            else:
                low = high = key(version)
                with_low = with_high = True
        elif sign in (">=", ">"):
            low, with_low = key(version), sign == ">="
        elif sign in ("<", "<="):
            high, with_high = key(version), sign == "<="
        else:
            parts = version.split(".")
            keep = {
                "^": 1 if parts[0] != "0" else min(2, len(parts)),
                "~": min(2, len(parts)),
                "~=": max(1, len(parts) - 1),
            }[sign]
            low, high, with_low, with_high = key(version), _next(version, keep), True, False
    return Span(low, high, with_low, with_high)


def _next(version: str, keep: int) -> Key:
    """The first version that differs in the first `keep` numbers."""
    numbers = [int(found) for found in _NUMBER.findall(version)][:keep] or [0]
    return (*numbers[:-1], numbers[-1] + 1), -2


def holds(affected: str, version: str) -> bool:
    """Whether a version lies in an affected range."""
    here, one = key(version), span(affected)
    return _above(one, here) and _below(one, here)


def _above(one: Span, here: Key) -> bool:
    return here > one.low or (one.with_low and here == one.low)


def _below(one: Span, here: Key) -> bool:
    return here < one.high or (one.with_high and here == one.high)


def meets(affected: str, written: str) -> bool:
    """Whether some version that a manifest's range allows is affected. Alternatives are split at "||"."""
    other = span(affected)
    for choice in written.split("||")[:8]:
        one = span(choice)
        low_ok = one.low < other.high or (one.low == other.high and one.with_low and other.with_high)
        high_ok = other.low < one.high or (other.low == one.high and other.with_low and one.with_high)
        if low_ok and high_ok:
            return True
    return False
