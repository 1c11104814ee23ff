"""Text as a model would understand it: decoded views of what is written in another way, each with the place it stands for.

In: a text. Out: at most VIEWS `View`s: base64, hex, percent, HTML entities, \\u escapes, letters of look-alike scripts, leet digits, rot13 and
reversed words. It decodes one layer of each kind and two in all, bounded in size, and judges nothing. Spans are character offsets
into the text given.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple
from urllib.parse import unquote

VIEWS = 12
TEXT_CAP = 200_000
"""Characters of one text that are looked at."""
BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,200000}={0,2}")
HEX = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2}[ :]?){16,4000}(?![0-9A-Za-z])|(?:\\x[0-9a-fA-F]{2}){8,4000}")
PERCENT = re.compile(r"(?:[\w.-]{0,20}%[0-9A-Fa-f]{2}){5,2000}[\w.-]{0,40}")
ENTITY = re.compile(r"(?:[\w ]{0,20}&#(?:x[0-9a-fA-F]{2,6}|\d{2,7});){5,2000}[\w ]{0,20}")
ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4}){5,2000}")
LOOKALIKE = str.maketrans(
    "аеорсухіјѕԁԛԝһкмтвнзАВЕКМНОРСТХІЅЈαεορνκιυτχηβγωςΑΒΕΖΗΙΚΜΝΟΡΤΥΧıɑɡℓⅼ",
    "aeopcyxijsdqwhkmtbh3ABEKMHOPCTXISJaeopvkiutxnbywsABEZHIKMNOPTYXiagll",
)
LEET = str.maketrans("0134578@$€|!", "oieastbaseli")
MIXED_WORD = re.compile(r"\b(?=\w*[A-Za-z])(?=\w*[\u0370-\u03ff\u0400-\u04ff\u0500-\u052f])\w{2,40}\b")
LEET_WORD = re.compile(r"\b[A-Za-z]{1,12}[0134578@$€|!][A-Za-z0134578@$€|!]{1,12}\b")
SPACED = re.compile(r"\b(?:[A-Za-z][ .*_-]){7,200}[A-Za-z]\b")
WORD = re.compile(r"[^\W\d_]{2,}")


class View(NamedTuple):
    """Decoded text, the characters [start, end) it stands for, and how it was written."""

    text: str
    start: int
    end: int
    means: str


def views(text: str, rotated: bool = False, means: Collection[str] | None = None) -> list[View]:
    """Decoded views, outermost first. `rotated` also reads the text as rot13 and backwards; `means` names the decoders to try, None all. What
    is past VIEWS stands together in one last view."""
    text = text[:TEXT_CAP]
    out = list(_folded(text, means))
    past: list[View] = []
    for shape, decode, name in DECODERS:
        if means is not None and name not in means:
            continue
        for found in shape.finditer(text):
            decoded = decode(found.group())
            if decoded:
                (out if len(out) < VIEWS else past).append(View(decoded, found.start(), found.end(), name))
    if past:
        joined = "\n".join(view.text for view in past)[:TEXT_CAP]
        out.append(View(joined, past[0].start, past[-1].end, "further encoded runs"))
    if rotated:
        out.append(View(codecs.encode(text, "rot13"), 0, len(text), "rot13"))
        out.append(View(text[::-1], 0, len(text), "reversed text"))
    return [deeper for view in out for deeper in _twice(view)][: 2 * VIEWS]


def _twice(view: View) -> Iterator[View]:
    yield view
    for shape, decode, means in DECODERS[:3]:
        found = shape.search(view.text)
        decoded = decode(found.group()) if found else ""
        if decoded:
            yield View(decoded, view.start, view.end, f"{view.means}, then {means}")


def _base64(run: str) -> str:
    body = run.rstrip("=").translate(str.maketrans("-_", "+/"))
    body = body[: len(body) - (len(body) % 4 == 1)]
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4))
    except (binascii.Error, ValueError):
        return ""
    return _readable(raw)


def _hex(run: str) -> str:
    try:
        return _readable(bytes.fromhex(re.sub(r"\\x|[ :]", "", run)))
    except ValueError:
        return ""


def _readable(raw: bytes) -> str:
    """UTF-8 or UTF-16 text that reads like words, "" otherwise."""
    for encoding in ("utf-8", "utf-16-le"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        plain = sum(c.isprintable() or c in "\n\r\t" for c in text)
        if plain >= 0.95 * len(text) and (len(WORD.findall(text)) >= 3 or BASE64.search(text)):
            return text
    return ""


def _escapes(run: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found.group(1), 16)), run)


def _folded(text: str, means: Collection[str] | None) -> Iterator[View]:
    """The whole text with look-alike letters, leet digits or blanks between letters undone, where it has several."""
    if means is None and not text.isascii() and len(MIXED_WORD.findall(text[:20_000])) >= 2:
        yield View(text.translate(LOOKALIKE), 0, len(text), "letters of look-alike scripts")
    if (means is None or "digits for letters" in means) and len(LEET_WORD.findall(text[:20_000])) >= 3:
        yield View(text.translate(LEET), 0, len(text), "digits for letters")
    spaced = SPACED.search(text) if means is None or "letters set apart" in means else None
    if spaced:
        joined = SPACED.sub(lambda found: re.sub(r"[ .*_-]", "", found.group()), text)
        yield View(joined, 0, len(text), "letters set apart")


Decoder = tuple[re.Pattern[str], Callable[[str], str], str]
DECODERS: tuple[Decoder, ...] = (
    (BASE64, _base64, "base64"),
    (HEX, _hex, "hex"),
    (PERCENT, unquote, "percent encoding"),
    (ENTITY, html.unescape, "HTML entities"),
    (ESCAPE, _escapes, "Unicode escapes"),
)
