"""What a person writes as a number, read as a Range.

In: text such as 500, 10k, 1.5M, 10,000, 10000-50000, 2 %. Out: a Range (an 80 % interval with its middle), or ValueError
with a sentence. It never guesses between a decimal comma and a thousands comma: 1,5 is refused.
"""

from __future__ import annotations

import math
import re

from afterguard.model import Range

LARGEST = 1e15
"""No company, user count or amount is larger; what is larger is a typing mistake."""
_NUMBER = re.compile(r"(?P<digits>\d{1,3}(?:[, _]\d{3}){1,5}|\d{1,18})(?P<part>\.\d{1,9})?(?P<unit>[kKmMbB]|bn)?")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "bn": 1e9}
_BETWEEN = re.compile(r"\s*(?:-|\.\.|–|\bto\b)\s*")


def number(text: str) -> float:
    """One number as written, 0 to LARGEST. Raises ValueError with a sentence for a person."""
    shown = text[:40]
    lowered = text.strip().lower()
    if lowered in (".nan", "nan", ".inf", "inf", "+.inf", "-.inf", "-inf"):
        raise ValueError(f"{shown!r} is not a number")
    if lowered.startswith("-"):
        raise ValueError(f"{shown} is negative")
    if len(text) > 64:
        raise ValueError("is longer than a number can be")
    scientific = re.fullmatch(r"\d(?:\.\d{1,9})?[eE]\+?\d{1,2}", lowered)
    match = _NUMBER.fullmatch(text.strip())
    if scientific:
        value = float(lowered)
    elif match:
        digits = re.sub(r"[, _]", "", match["digits"]) + (match["part"] or "")
        value = float(digits) * _UNITS[(match["unit"] or "").lower()]
    else:
        raise ValueError(f"{shown!r} is not a number; write 25000, 25k, 2.5M or a range such as 10k-50k")
    if not math.isfinite(value) or value > LARGEST:
        raise ValueError(f"{shown} is larger than anything this can be (limit {LARGEST:.0e})")
    return value


def amount(text: str) -> Range:
    """A number or a range ("10k-50k"). Raises ValueError with a sentence for a person."""
    if text.strip().startswith("-"):
        raise ValueError(f"{text.strip()[:40]} is negative")
    parts = [text] if len(text) > 64 else _BETWEEN.split(text)
    if len(parts) == 1:
        value = number(parts[0])
        return Range(value, value, value)
    if len(parts) != 2:
        raise ValueError(f"{text[:40]!r} is not a range; write low-high")
    return between(number(parts[0]), number(parts[1]))


def between(low: float, high: float) -> Range:
    """The range of two ends; the middle is geometric, as amounts spread over orders of magnitude. Raises ValueError."""
    if low > high:
        raise ValueError(f"the range runs backwards: {low:g} is above {high:g}")
    middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
    return Range(low, min(max(middle, low), high), high)
