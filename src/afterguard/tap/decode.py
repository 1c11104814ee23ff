"""Bytes of one record -> decoded JSON, mended where logs are known to be broken.

In: bytes. Out: (value, what was mended). Raises Broken. Strict JSON costs one pass; what fails is tried again with NaN and
Infinity as null, lone surrogates and broken UTF-8 as replacement characters. Depth and size stay bounded.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

LONE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
MEND_CAP = 8 << 20
"""Bytes of a broken record that a second, slower try may take."""


def embedded(line: bytes) -> tuple[bytes, bytes]:
    """(prefix, record) of a log line that puts a time, level or stream name before its JSON."""
    if line[:1] in (b"{", b'"') or (line[:1] == b"[" and not STAMP.match(line)):
        return b"", line
    at = line.find(b"{", 0, PREFIX)
    return (line[:at], line[at:]) if at > 0 else (b"", line)


STAMP = re.compile(rb"\[[^\]{}\"]{8,40}\]\s")
PREFIX = 300


class Broken(ValueError):
    """A record that is no JSON. The text is a reason of model.Unjudged."""


def decode(data: bytes) -> tuple[Any, str]:
    """The value, and "" or "bad_encoding" where text had to be replaced. Raises Broken("bad_json")."""
    try:
        return msgspec.json.decode(data), ""
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError):
        if len(data) > MEND_CAP or data.lstrip()[:1] not in (b"{", b"[", b'"', b"\xef"):
            raise Broken("bad_json") from None
    except RecursionError:
        raise Broken("bad_json") from None
    return _mended(data)


def _mended(data: bytes) -> tuple[Any, str]:
    data = data.removeprefix(b"\xef\xbb\xbf")
    whole = LONE.sub(b"\\\\ufffd", data)
    try:
        text, mended = whole.decode("utf-8"), "bad_encoding" if whole != data else ""
    except UnicodeDecodeError:
        text, mended = whole.decode("utf-8", "replace"), "bad_encoding"
    try:
        return json.loads(text, parse_constant=lambda _: None, strict=False), mended
    except (ValueError, RecursionError, OverflowError):
        raise Broken("bad_json") from None
