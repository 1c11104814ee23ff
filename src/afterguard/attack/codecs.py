"""Ways to write a text so that a filter does not read it and a model does: encodings, look-alike letters, letters that no one sees.

In: a text. Out: it in another form, and back. Pure. Some forms lose something (case, punctuation); `kept` says what of a text is left, and decode(encode(text)) == kept(text) for any text.
"""

from __future__ import annotations

import base64
import binascii
import codecs
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote

GAP = "\u200b"
LEET = str.maketrans("aeiost", "431057")
UNLEET = str.maketrans("431057", "aeiost")
ALIKE = {
    "a": "\u0430", "c": "\u0441", "e": "\u0435", "i": "\u0456", "j": "\u0458", "o": "\u043e", "p": "\u0440", "s": "\u0455", "x": "\u0445", "y": "\u0443",
    "A": "\u0410", "B": "\u0412", "C": "\u0421", "E": "\u0415", "H": "\u041d", "K": "\u041a", "M": "\u041c", "O": "\u041e", "P": "\u0420", "T": "\u0422", "X": "\u0425",
}  # fmt: skip
"""Cyrillic letters that are drawn as Latin ones."""
TO_ALIKE, FROM_ALIKE = str.maketrans(ALIKE), str.maketrans({other: one for one, other in ALIKE.items()})
MORSE = {
    "a": ".-", "b": "-...", "c": "-.-.", "d": "-..", "e": ".", "f": "..-.", "g": "--.", "h": "....", "i": "..", "j": ".---", "k": "-.-", "l": ".-..", "m": "--",
    "n": "-.", "o": "---", "p": ".--.", "q": "--.-", "r": ".-.", "s": "...", "t": "-", "u": "..-", "v": "...-", "w": ".--", "x": "-..-", "y": "-.--", "z": "--..",
    "0": "-----", "1": ".----", "2": "..---", "3": "...--", "4": "....-", "5": ".....", "6": "-....", "7": "--...", "8": "---..", "9": "----.",
    ".": ".-.-.-", ",": "--..--", "?": "..--..", '"': ".-..-.", "'": ".----.", "-": "-....-", "/": "-..-.", ":": "---...", "+": ".-.-.",
}  # fmt: skip
FROM_MORSE = {signs: letter for letter, signs in MORSE.items()}


class Codec(NamedTuple):
    """One way."""

    told: str
    """What a person calls it."""
    encode: Callable[[str], str]
    decode: Callable[[str], str]
    """Whatever is no such code becomes some other text, or "": it never raises."""
    kept: Callable[[str], str]


def _same(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _from_base64(text: str) -> str:
    try:
        return base64.b64decode(text.strip(), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _from_base32(text: str) -> str:
    try:
        return base64.b32decode(text.strip()).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _from_hex(text: str) -> str:
    try:
        return bytes.fromhex(text).decode("utf-8", "replace")
    except ValueError:
        return ""


def _rotated(text: str) -> str:
    return codecs.encode(text, "rot13")


def _spaced(text: str) -> str:
    """Each letter apart; words by a stroke."""
    return " / ".join(" ".join(word) for word in _words(text))


def _from_spaced(text: str) -> str:
    return " ".join(word.replace(" ", "") for word in text.split(" / "))


def _words(text: str) -> list[str]:
    return text.replace("/", " ").split()


def _morse(text: str) -> str:
    return " / ".join(" ".join(MORSE[letter] for letter in word) for word in _for_morse(text).split())


def _from_morse(text: str) -> str:
    return " ".join("".join(FROM_MORSE.get(signs, "") for signs in word.split()) for word in text.split(" / "))


def _for_morse(text: str) -> str:
    known = "".join(letter if letter in MORSE else " " if letter.isspace() else "" for letter in text.lower())
    return " ".join(known.split())


CODECS: dict[str, Codec] = {
    "base64": Codec(
        "base64", lambda text: base64.b64encode(text.encode("utf-8", "replace")).decode(), _from_base64, _same
    ),
    "rot13": Codec("ROT13", _rotated, _rotated, str),
    "hexadecimal": Codec("hexadecimal digits", lambda text: text.encode("utf-8", "replace").hex(" "), _from_hex, _same),
    "reversed": Codec("reversed letters", lambda text: text[::-1], lambda text: text[::-1], str),
    "zero-width": Codec(
        "plain letters", lambda text: GAP.join(text.replace(GAP, "")), lambda text: text.replace(GAP, ""), lambda text: text.replace(GAP, "")
    ),
    "look-alike": Codec(
        "plain letters", lambda text: text.translate(TO_ALIKE), lambda text: text.translate(FROM_ALIKE), lambda text: text.translate(FROM_ALIKE)
    ),
    "leetspeak": Codec(
        "leetspeak", lambda text: text.lower().translate(LEET), lambda text: text.translate(UNLEET), lambda text: text.lower().translate(UNLEET)
    ),
    "spaced": Codec("spaced letters", _spaced, _from_spaced, lambda text: " ".join(_words(text))),
    "morse": Codec("Morse code", _morse, _from_morse, _for_morse),
    "percent": Codec(
        "percent-encoded bytes",
        lambda text: "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "replace")),
        unquote,
        _same,
    ),
    "base32": Codec(
        "base32", lambda text: base64.b32encode(text.encode("utf-8", "replace")).decode(), _from_base32, _same
    ),
}  # fmt: skip
