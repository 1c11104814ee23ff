"""Text of a structured file and its scalars: decoding that never fails, and what a plain word means.

In: bytes, or a word with its line. Out: text with the lines that had to be mended, or a scalar `Node`. It evaluates
nothing: a template or a reference stays as written and is marked unresolved.
"""

from __future__ import annotations

import re

from afterguard.code.document import Node

MAX_DEPTH = 120
"""Nesting that consumers may rely on; deeper structures are cut with an error entry."""
MAX_NODES = 1_000_000
"""Nodes of one file; more are cut with an error entry."""
MAX_ERRORS = 50

Errors = list[tuple[int, str]]

_NUMBER = re.compile(
    r"[-+]?(?:0[xob][0-9a-fA-F_]{1,64}|(?:\d[\d_]{0,63})?\.?\d{1,64}(?:[eE][-+]?\d{1,6})?|\d[\d_]{0,63}\.|\.inf|\.nan)\Z",
    re.I,
)
_OPEN = re.compile(r"\$\{|\{\{|\{%|\$\(|<%|%\{|(?<![\w$])\$[A-Za-z_]")
_ODD = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|[\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(data: bytes, errors: Errors, keep: bool = False) -> str:
    """UTF-8 or, by its mark, UTF-16 text; unless `keep`, odd control characters become blanks, one for one."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            errors.append((data.count(b"\n", 0, error.start) + 1, "bytes that are not UTF-8"))
            text = data.decode("utf-8-sig", "replace")
    return text if keep else _ODD.sub(" ", text)


def clean(text: str) -> str:
    """Text without lone surrogates, which no output can carry."""
    return _SURROGATE.sub("\ufffd", text) if not text.isascii() else text


def is_resolved(text: str) -> bool:
    """Whether a scalar holds no template, interpolation or shell variable."""
    return ("$" not in text and "{" not in text and "<%" not in text) or _OPEN.search(text) is None


def quoted(text: str, line: int, tag: str = "") -> Node:
    """A scalar that was quoted: always text."""
    return Node("text", line, text, resolved=is_resolved(text), tag=tag)


def plain(text: str, line: int, tag: str = "") -> Node:
    """A scalar without quotes: null, bool, number or text."""
    if len(text) <= 5:
        if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return Node("bool", line, text.lower(), tag=tag)
        if text in ("", "~", "null", "Null", "NULL"):
            return Node("null", line, text, tag=tag)
    if text[:1] in "0123456789+-." and len(text) < 200 and _NUMBER.match(text):
        return Node("number", line, text, tag=tag)
    return quoted(text, line, tag)


def note(errors: Errors, line: int, what: str) -> None:
    """Remember what could not be read, up to a bounded number of entries."""
    if len(errors) < MAX_ERRORS:
        errors.append((line, what))
