"""Text made safe to keep in a row: secrets, numbers and addresses masked, controls shown, never the original.

In: a short text. Out: the same text with what could identify or unlock masked. It does not decide what is a secret: it masks
every shape that could be one.
"""

from __future__ import annotations

import re
import unicodedata

INPUT_CAP = 4_000
MAIL = re.compile(r"([A-Za-z0-9])[A-Za-z0-9._%+-]{0,63}@([A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5})")
TOKEN = re.compile(r"[A-Za-z0-9_+/=.~-]{16,}")
DIGITS = re.compile(r"\d(?:[ .-]?\d){5,}")
BLANKS = re.compile(r"\s+")


def redacted(text: str) -> str:
    """Masked, one line. Tokens of 16 and more characters that mix digits or cases keep four; long numbers keep two digits."""
    text = visible(text[:INPUT_CAP])
    text = MAIL.sub(r"\1***@\2", text)
    text = TOKEN.sub(_token, text)
    return BLANKS.sub(" ", DIGITS.sub(_digits, text)).strip()


def _token(found: re.Match[str]) -> str:
    value = found.group()
    if any(c.isdigit() for c in value) or (value != value.lower() and value != value.upper() and "." not in value):
        return value[:4] + "…"
    return value


def _digits(found: re.Match[str]) -> str:
    return "…" + found.group()[-2:]


def visible(text: str) -> str:
    """Control, format and unassigned characters shown as <U+XXXX> so that none acts on a terminal or page."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else f"<U+{ord(c):04X}>" for c in text)
