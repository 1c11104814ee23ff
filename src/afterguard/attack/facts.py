"""What the owner states in `facts`, as techniques read it.

In: the facts of a target file. Out: numbers, names. Names of facts that have a meaning of their own: `limit` (the highest amount a tool may be called with), `limit_tool` and `limit_field` (which tool, which argument), `packages` (names
that may be installed), `off_purpose` ("declined": tasks far from the purpose are to be declined). All others are statements; those that are a number serve as policies a user may lie about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LIMIT, LIMIT_TOOL, LIMIT_FIELD = "limit", "limit_tool", "limit_field"
PACKAGES, OFF_PURPOSE = "packages", "off_purpose"
DECLINED = "declined"
OWN = frozenset({LIMIT_TOOL, LIMIT_FIELD, PACKAGES, OFF_PURPOSE})
NUMBER = re.compile(r"\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d+)?")


def amount(text: str) -> float:
    """The first number in it, 0 where there is none."""
    return next(iter(amounts(text)), 0.0)


def amounts(text: str) -> list[float]:
    """Every number in it, whatever stands between its thousands. One group of three digits after a mark is thousands."""
    return [_value(found) for found in NUMBER.findall(text)]


def _value(found: str) -> float:
    digits = re.sub(r"[' \u00a0\u202f]", "", found)
    last = max(digits.rfind(","), digits.rfind("."))
    if last < 0:
        return float(digits)
    whole, part = re.sub(r"[,.]", "", digits[:last]), digits[last + 1 :]
    return float(f"{whole}{part}") if len(part) == 3 else float(f"{whole}.{part}")


def numbers_told(facts: Mapping[str, str]) -> dict[str, float]:
    """Statement -> its number, of those that are one: refund limit, notice period."""
    return {name: amount(text) for name, text in sorted(facts.items()) if name not in OWN and amount(text) > 0}


def names(text: str) -> frozenset[str]:
    """Package names of a list with commas, spaces or lines between them."""
    return frozenset(same(name) for name in re.split(r"[,;\s]+", text) if name)


def same(package: str) -> str:
    """A package name as registries compare it."""
    return re.sub(r"[-_.]+", "-", package.strip().casefold())
