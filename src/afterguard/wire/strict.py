"""JSON that two readers may understand differently: what a body has that makes our reading doubtful.

In: the bytes of a body. Out: the decoded value, and fixed words for what is odd about it. It never raises, and it decides nothing: a
policy may refuse a body that is odd, or take it as unjudged.

Theory of operation. msgspec decodes, and is strict about UTF-8, escapes, numbers and what stands behind the value; but it keeps the
last of two equal keys where the provider may keep the first. Whether a key stands twice is read from the bytes in one pass, in C
(_keys.c). Where that could not be built, or a key is spelt with escapes, it shows without counting: the value written again is the
body, or the body without its blanks, unless something was dropped; what is spelt in another way has its keys looked at one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

try:
    from afterguard.wire import _keys  # type: ignore[attr-defined]
except ImportError:  # built without a compiler
    _keys = None

TWICE, DEEP, UNSURE = 1, 2, 4
"""What _keys.odd answers, summed."""
DEPTH = 64
"""Levels of arrays and objects that a reader may be trusted with."""
BOM = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_format = msgspec.json.format


def decode(body: bytes) -> tuple[Any, list[str]]:
    """The value and what is odd about it: duplicate_keys too_deep bom lone_surrogate. Where there is no value the list begins
    with bad_json, and may say more: invalid_utf8 bad_escape trailing_data truncated too_deep empty."""
    try:
        decoded = _decode(body)
    except (ValueError, RecursionError) as bad:
        return _odd(body, bad)
    return decoded, problems(body, decoded)


def problems(body: bytes, decoded: Any) -> list[str]:
    """What is odd about a body that msgspec has decoded: duplicate_keys too_deep."""
    if _keys is not None:
        odd = _keys.odd(body, DEPTH)
        if not odd:
            return []
        if not odd & UNSURE:
            return [word for bit, word in ((DEEP, "too_deep"), (TWICE, "duplicate_keys")) if odd & bit]
    out: list[str] = []
    if body.count(b"{") + body.count(b"[") > DEPTH and _is_deep(decoded):
        out.append("too_deep")
    if _has_twice(body, decoded):
        out.append("duplicate_keys")
    return out


def _is_deep(decoded: Any) -> bool:
    level = [decoded]
    for _ in range(DEPTH + 1):
        level = [
            inner
            for outer in level
            if type(outer) is dict or type(outer) is list
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


def _has_twice(body: bytes, decoded: Any) -> bool:
    try:
        written = _encode(decoded)
        if written == body or written == _format(body, indent=-1):
            return False
    except (ValueError, RecursionError):
        pass
    return _has_twice_exactly(body)


def _has_twice_exactly(body: bytes) -> bool:
    try:
        _KEYS.decode(body.decode())
    except _Twice:
        return True
    except (ValueError, RecursionError):
        # What cannot be looked at is not vouched for.
        return True
    return False


class _Twice(Exception):
    """A key stands twice."""


def _look(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len(dict(pairs)) != len(pairs):
        raise _Twice


_KEYS = json.JSONDecoder(object_pairs_hook=_look, parse_int=len, parse_float=len)
"""Reads keys only; numbers are not converted, for a long one would take its time."""


def _odd(body: bytes, bad: Exception) -> tuple[Any, list[str]]:
    """A body that msgspec refuses: still read where only a mark or half a surrogate pair is wrong with it."""
    if body.startswith(BOM) and not body.startswith(BOM + BOM):
        decoded, found = decode(body[len(BOM) :])
        return decoded, [*found, "bom"]
    if isinstance(bad, RecursionError):
        return None, ["bad_json", "too_deep"]
    if isinstance(bad, UnicodeError):
        return None, ["bad_json", "invalid_utf8"]
    if not body.strip(b" \t\r\n"):
        return None, ["bad_json", "empty"]
    if HALF_ESCAPE(body):
        mended = _mended(body)
        if mended is not None:
            return mended
    return None, ["bad_json", *_why(str(bad))]


def _why(says: str) -> Iterator[str]:
    for words, reason in (
        ("trailing", "trailing_data"),
        ("escape", "bad_escape"),
        ("surrogate", "bad_escape"),
        ("truncated", "truncated"),
    ):
        if words in says:
            yield reason
            return


def _mended(body: bytes) -> tuple[Any, list[str]] | None:
    """The value with every half of a surrogate pair replaced by U+FFFD, None where something else is wrong too."""
    try:
        text = json.dumps(_PLAIN.decode(body.decode()), ensure_ascii=False, allow_nan=False)
        decoded = _decode(HALF("\ufffd", text).encode())
    except (ValueError, RecursionError):
        return None
    found = ["too_deep"] if _is_deep(decoded) else []
    if _has_twice_exactly(body):
        found.append("duplicate_keys")
    return decoded, [*found, "lone_surrogate"]


_PLAIN = json.JSONDecoder()
HALF = re.compile(r"[\ud800-\udfff]").sub
HALF_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]").search
