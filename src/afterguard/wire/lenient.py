"""JSON as model servers write it: strict JSON first, and where that fails for NaN or Infinity alone, with these.

In: the bytes of a body. Out: the decoded value and fixed words for what is odd about it, as strict.decode says them, with `not_finite` where such a word stands there. `mended` is the same body in the same number of
bytes with digits in the place of these words, so that whoever looks for places can use a strict scanner.
"""

from __future__ import annotations

import json
import re
from typing import Any

from afterguard.wire import strict

CAP = 8 << 20
"""Bytes of JSON that are decoded: a list of numbers takes about thirty times as much memory as it takes bytes."""
_WORDS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?(?:Infinity|NaN)', re.DOTALL)


def decode(body: bytes) -> tuple[Any, list[str]]:
    """(value, what is odd). The value is None where there is none; then the list says why: bad_json or too_long."""
    if len(body) > CAP:
        return None, ["too_long"]
    value, problems = strict.decode(body)
    if problems[:1] != ["bad_json"] or not (b"NaN" in body or b"Infinity" in body):
        return value, problems
    try:
        return json.loads(body), ["not_finite"]
    except (ValueError, RecursionError):
        return None, problems


def mended(body: bytes) -> bytes:
    """The body with digits for NaN and Infinity, byte for byte as long."""
    if b"NaN" not in body and b"Infinity" not in body:
        return body
    return _WORDS.sub(lambda found: _digits(found[0]), body)


def _digits(word: bytes) -> bytes:
    if word[:1] == b'"':
        return word
    return word[:1] + b"1" * (len(word) - 1) if word[:1] == b"-" else b"1" * len(word)
