"""Which tool calls move something of value, how much, and to whom.

In: a tool call. Out: a `Move`, None for a call that only reads. Amount and payee are found by the names of the arguments (catalog/rules/moves.yaml); what a tool means by them nobody told us, so an
amount that is missing is 0 and a payee that is missing is "".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec

from afterguard.catalog import load
from afterguard.detect.provenance import WORDS, is_known_to_write
from afterguard.model import ToolCall
from afterguard.watch.event import Move

DEPTH = 4
LEAVES = 200
NUMBER = re.compile(r"-?\d{1,15}(?:[.,]\d{3})*(?:[.,]\d{1,2})?")
CURRENCY = re.compile(r"[A-Z]{3}")


@cache
def _names(kind: str) -> frozenset[str]:
    return frozenset(load("rules/moves")[kind])


def move(call: ToolCall, pseudonym: Callable[[str], str]) -> Move | None:
    """What the call moves. `pseudonym` makes a keyed hash of the payee."""
    words = {word.lower() for word in WORDS.findall(call.name[-120:])}
    refunds = not words.isdisjoint(_names("refunds"))
    if words.isdisjoint(_names("verbs")) and not refunds and not is_known_to_write(call.name):
        return None
    amount, currency, payee = 0.0, "", ""
    for name, value in _leaves(call.arguments):
        parts = {word.lower() for word in WORDS.findall(name)}
        if not amount and not parts.isdisjoint(_names("amounts")):
            amount = _number(value)
        elif not currency and "currency" in parts and isinstance(value, str) and CURRENCY.fullmatch(value.upper()):
            currency = value.upper()
        elif not payee and not parts.isdisjoint(_names("payees")) and isinstance(value, (str, int)):
            payee = str(value).strip().lower()
    if words.isdisjoint(_names("verbs")) and not refunds and not amount:
        return None
    return Move(call.name[:100], amount, currency, pseudonym(payee)[:16] if payee else "", refunds)


def _leaves(arguments: str) -> Iterator[tuple[str, Any]]:
    try:
        decoded = msgspec.json.decode(arguments.encode("utf-8", "replace"))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    todo: list[tuple[str, Any, int]] = [("", decoded, 0)]
    for _ in range(LEAVES):
        if not todo:
            return
        name, value, depth = todo.pop()
        if isinstance(value, dict) and depth < DEPTH:
            todo += [(str(key)[:80], inner, depth + 1) for key, inner in list(value.items())[:LEAVES]]
        elif isinstance(value, list) and depth < DEPTH:
            todo += [(name, inner, depth + 1) for inner in value[:LEAVES]]
        else:
            yield name, value


def _number(value: Any) -> float:
    """An amount as a number: 1234.5, "1,234.50", "1.234,50 EUR"; 0 where it is none."""
    if isinstance(value, bool):
        return 0.0
    if isinstance(value, (int, float)):
        return float(value) if math.isfinite(value) and abs(value) < 1e15 else 0.0
    found = NUMBER.search(value[:40]) if isinstance(value, str) else None
    if found is None:
        return 0.0
    digits = found.group()
    cents = re.search(r"[.,](\d{1,2})$", digits)
    whole = digits[: cents.start()] if cents else digits
    return float(re.sub(r"[.,]", "", whole) + ("." + cents.group(1) if cents else ""))
