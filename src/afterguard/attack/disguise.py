"""What a text may hide: letters set apart, invisible or look-alike ones, reversed, rotated, encoded.

In: a text. Out: its forms, each as it is compared; a pattern that finds a secret however its letters are set apart. Pure. Work grows with the length of a text and no faster; of a longer one than MOST letters the beginning is looked at.
What is not undone: Morse, halves told apart, two different encodings on top of each other, translations.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import string
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote

from afterguard.detect.normalise import LOOKALIKE

MOST = 100_000
"""Letters of a text that are looked at."""
HIDDEN = frozenset({"Cf", "Mn", "Me"})
"""Categories of characters that nobody sees alone: joiners, marks."""
PIECE = re.compile(r"[A-Za-z0-9+/=_-]{8,}")
WRAPPED = re.compile(r"(?<=[A-Za-z0-9+/]{24})\s{1,4}(?=[A-Za-z0-9+/=_-])")
HEX = re.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[ :,;]{0,2}){6,}")
CODES = re.compile(r"(?:\d{2,3}[ ,;]{1,2}){5,}\d{2,3}")
BITS = re.compile(r"(?:[01]{8}[ ,;]{0,2}){6,}")
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
SAID = "dash|hyphen|minus|dot|point|underscore|bindestrich|strich|punkt|tiret|guion|punto|trattino|hifen"
LOWER = string.ascii_lowercase
INITIAL = re.compile(r"(?<!\w)\w")
FIRST = re.compile(r"^\W{0,9}(\w)", re.M)
DIGITS = {
    word: str(digit)
    for digit, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
}
NUMBER = re.compile(rf"\b(?:{'|'.join(DIGITS)})\b")


def visible(text: str) -> str:
    """One form of each letter, nothing invisible; case is kept."""
    if text.isascii():
        return text
    # One letter may stand for eighteen: a hostile text must not grow.
    apart = unicodedata.normalize("NFKD", text)[: max(len(text), MOST)]
    hidden = {ord(letter): None for letter in set(apart) if unicodedata.category(letter) in HIDDEN}
    return apart.translate(hidden).translate(LOOKALIKE)


def plain(text: str) -> str:
    """As compared: visible, and no case. Of a part of a text it is a part of the text's."""
    return visible(visible(text).casefold())


def bare(text: str) -> str:
    """Letters and digits alone, of a plain text."""
    return "".join(letter for letter in text if letter.isalnum())


@lru_cache(maxsize=256)
def spelled(secret: str, is_loose: bool = False) -> re.Pattern[str]:
    """Finds a plain secret in a plain text, also with its letters set apart. One of digits alone or letters alone could come about by chance: there the gaps have to be alike, unless `is_loose`."""
    letters = [letter for letter in secret if letter.isalnum()]
    is_mixed = is_loose or (any(map(str.isdigit, letters)) and any(map(str.isalpha, letters)))
    gap, first = ("[\\W_]{0,6}", "[\\W_]{0,6}") if is_mixed else ("(?P=gap)", "(?P<gap>[\\W_]{0,3})")
    out: list[str] = []
    rest = secret
    for letter in letters:
        at = rest.index(letter)
        between, rest = rest[:at], rest[at + len(letter) :]
        if out:
            one = gap if len(out) > 1 else first
            said = f"|[\\W_]{{1,3}}(?:{SAID})[\\W_]{{1,3}}" if between else ""
            own = f"|{re.escape(between)}" if between else ""
            out.append(f"(?:{one}{own}{said})" if len(out) > 1 or not (own or said) else f"(?:{own.lstrip('|')}|{one}{said})")  # fmt: skip
        out.append(re.escape(letter))
    return re.compile(_edge(letters, "<!") + "".join(out) + _edge(letters, "!"))


def _edge(letters: list[str], look: str) -> str:
    """A number within a longer number, or letters within a longer word, are others."""
    if not letters:
        return "(?!)"
    end = letters[0] if look == "<!" else letters[-1]
    kind = r"\d" if end.isdigit() else r"[^\W\d_]"
    return f"(?{look}{kind})"


def forms(text: str) -> Iterator[tuple[str, str]]:
    """(how, plain form): the text as it is, and everything it may hide."""
    seen = visible(text[:MOST])
    base = plain(seen)
    yield "as it is", base
    yield "reversed", base[::-1]
    for by in range(1, 26):
        yield "rotated", base.translate(str.maketrans(LOWER, LOWER[by:] + LOWER[:by]))
    yield "mirrored", base.translate(str.maketrans(LOWER, LOWER[::-1]))
    yield "in first letters", "".join(INITIAL.findall(base))
    yield "in first letters", "".join(FIRST.findall(base))
    yield "in words", NUMBER.sub(lambda found: DIGITS[found[0]], base)
    for form in _decoded(seen):
        yield "encoded", plain(form)


def _decoded(text: str) -> Iterator[str]:
    """What is within, as far as a text says what code it is in."""
    if "%" in text:
        yield unquote(text, errors="replace")
    if "&" in text:
        yield html.unescape(text)
    if "\\" in text:
        yield ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    once = " ".join(_sixty_four(piece) for piece in PIECE.findall(WRAPPED.sub("", text)))
    yield once
    yield " ".join(_sixty_four(piece) for piece in PIECE.findall(once))
    yield " ".join(_thirty_two(piece) for piece in PIECE.findall(text))
    yield " ".join(_hexadecimal(piece) for piece in HEX.findall(text))
    yield " ".join("".join(chr(int(code)) for code in re.findall(r"\d+", piece)) for piece in CODES.findall(text))
    yield " ".join("".join(chr(int(byte, 2)) for byte in re.findall(r"[01]{8}", piece)) for piece in BITS.findall(text))


def _sixty_four(piece: str) -> str:
    """At each of the four places where a run may begin: it may stand behind other letters."""
    piece = piece.rstrip("=").replace("-", "+").replace("_", "/").replace("=", "A")
    found = []
    for start in range(min(4, len(piece))):
        part = piece[start:]
        part = part[:-1] if len(part) % 4 == 1 else part
        found.append(base64.b64decode(part + "=" * (-len(part) % 4)).decode("utf-8", "replace"))
    return " ".join(found)


def _thirty_two(piece: str) -> str:
    upper = piece.rstrip("=").upper()
    try:
        return base64.b32decode(upper + "=" * (-len(upper) % 8)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _hexadecimal(piece: str) -> str:
    """At both places where a byte may begin."""
    digits = re.sub(r"0x|\\x|[ :,;]", "", piece)
    both = (digits[start : start + (len(digits) - start) // 2 * 2] for start in (0, 1))
    return " ".join(bytes.fromhex(part).decode("utf-8", "replace") for part in both)
