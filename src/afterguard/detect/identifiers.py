"""Personal identifiers in bytes of text, validated: cards, IBAN, national ids, e-mail, phone, birth dates, addresses.

In: a text and where the prefilter saw something. Out: `Identifier`s with normalised values. It does not judge whose they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from afterguard.detect.cards import issuer
from afterguard.detect.national_ids import iban, national_id
from afterguard.detect.prefilter import Pattern
from afterguard.model import Span

NEAR = 60
"""Bytes before a weak number in which a word has to say what it is."""
AROUND = 80
STRONG = {"payment_card", "iban", "national_id"}

PATTERNS = (
    Pattern("pii:card", r"\b[2-6]\d{3}[ -]?\d{4,6}[ -]?\d{3,5}[ -]?\d{1,4}"),
    Pattern("pii:iban", r"\b[A-Z]{2}\d{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4} ?[A-Z0-9]{3}"),
    Pattern("pii:email", r"@[A-Za-z0-9-]{1,63}\.[A-Za-z]{2}"),
    Pattern("pii:phone", r"\+\d{1,3}[ ().-]{0,2}\d{2,4}[ ().-]{0,2}\d{2,4}[ .-]?\d{2}|\(\d{3}\) ?\d{3}[-. ]\d{4}|\b\d{3}[-.]\d{3}[-.]\d{4}\b"),
    Pattern("pii:dashed", r"\b\d{3}-\d{2}-\d{4}\b|\b\d{3}\.\d{3}\.\d{3}-\d{2}\b|\b\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}\b"),
    Pattern("pii:lettered", r"\b[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b|\b[XYZ0-9]\d{7}-?[A-Z]\b|\b[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]\b"),
    Pattern("pii:told", r"(ssn|social.{0,2}security|steuer|idnr|bsn|burgerservice|rijksregister|national.number|pesel|personnummer|cpf|aadhaar|aadhar|social insurance|\bsin\b|n[iu]r|sécurité sociale)[^0-9\n]{1,24}\d[\d .-]{7,16}\d", ignore_case=True),
    Pattern("pii:passport", r"(passport|reisepass|passeport|pasaporte|passaporto|paszport)[^0-9\n]{1,24}[A-Z]{0,2}\d{6}", ignore_case=True),
    Pattern("pii:birth", r"(dob|date.of.birth|birth.?date|\bborn( on)?|geburtsdatum|geboren am|né(e)? le|fecha de nacimiento|data di nascita|data de nascimento)[^0-9a-z\n]{1,6}([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4})", ignore_case=True),
    Pattern("pii:address", r"\b\d{1,5}[a-z]? ([A-Z][a-z']{1,20} ){1,3}(Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Pl|Way|Terrace|Square|Close|Crescent|Highway|Parkway)\b|\b[A-Z][a-z\x80-\xff-]{2,24}(stra\xc3\x9fe|strasse|str\.|weg|gasse|platz|allee) \d{1,4}\b|\b\d{1,4},? (rue|avenue|boulevard|place) (de |du |des |la |le |l')?[A-Z][a-z]{2}"),
)  # fmt: skip
CARD = re.compile(rb"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
IBAN = re.compile(rb"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
EMAIL = re.compile(rb"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}")
PHONE = re.compile(
    rb"(?<![\w+.-])(?:\+\d[\d ().-]{7,18}\d|\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}[-.]\d{3}[-.]\d{4})(?![\w-])"
)
NUMBER = re.compile(rb"(?<![\w.-])(?:[A-Za-z]{0,6}\d[\dA-Za-z .-]{7,20}[\dA-Za-z])(?![\w-])")
LETTERED = re.compile(
    rb"(?<!\w)(?:[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]|[XYZ0-9]\d{7}-?[A-Z]|[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z])(?!\w)"
)
TOLD = re.compile(rb"\d[\d .-]{7,19}\d(?!\w)")
PASSPORT = re.compile(rb"(?<![\w-])[A-Z]{0,2}\d{6,9}(?![\w-])")
DATE = re.compile(rb"\d{4}-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}")
NOBODY = re.compile(
    rb"@(?:example\.|test\.|localhost)|^(?:no-?reply|noreply|support|info|help|contact|sales|admin|service|team)@", re.I
)


class Identifier(NamedTuple):
    """Class, normalised value, byte span in its text, and whether it proves a person by itself (card, IBAN, national id)."""

    kind: str
    value: str
    span: Span
    is_strong: bool = False


def identifiers(data: bytes, topic: str, end: int) -> Iterator[Identifier]:
    """Validated identifiers that overlap the prefilter match ending before `end`."""
    low, high = max(0, end - AROUND), min(len(data), end + 40)
    for found in SHAPES[topic].finditer(data, low, high):
        if found.start() >= end or found.end() < end - 4:
            continue
        one = CHECKS[topic](data, found)
        if one is not None:
            yield one


def _card(_data: bytes, found: re.Match[bytes]) -> Identifier | None:
    digits = re.sub(rb"\D", b"", found.group()).decode()
    return Identifier("payment_card", digits, Span(*found.span()), True) if issuer(digits) else None


def _iban(_data: bytes, found: re.Match[bytes]) -> Identifier | None:
    text = found.group().decode()
    for cut in range(len(text), 14, -1):
        if iban(text[:cut]) and not text[cut : cut + 1].isalnum():
            value = text[:cut].replace(" ", "")
            return Identifier("iban", value, Span(found.start(), found.start() + cut), True)
    return None


def _email(_data: bytes, found: re.Match[bytes]) -> Identifier | None:
    return Identifier("email", found.group().decode().lower(), Span(*found.span()))


def _phone(_data: bytes, found: re.Match[bytes]) -> Identifier | None:
    digits = re.sub(rb"\D", b"", found.group()).decode()
    fits = 8 <= len(digits) <= 15 and len(set(digits)) > 2 and b"555-01" not in found.group()
    return Identifier("phone", digits, Span(*found.span())) if fits else None


def _national(data: bytes, found: re.Match[bytes]) -> Identifier | None:
    text = found.group().decode("ascii", "ignore")
    kind = national_id(text, data[max(0, found.start() - NEAR) : found.start()])
    return Identifier(kind, re.sub(r"\W", "", text), Span(*found.span()), True) if kind else None


def _passport(_data: bytes, found: re.Match[bytes]) -> Identifier | None:
    return Identifier("passport", found.group().decode().upper(), Span(*found.span()), True)


def _birth(_data: bytes, found: re.Match[bytes]) -> Identifier | None:
    return Identifier("date_of_birth", found.group().decode(), Span(*found.span()))


def _address(_data: bytes, found: re.Match[bytes]) -> Identifier | None:
    return Identifier("postal_address", found.group().decode("utf-8", "ignore").lower(), Span(*found.span()))


ADDRESS = re.compile(PATTERNS[-1].expression.encode("latin-1"))
SHAPES = {
    "pii:card": CARD,
    "pii:iban": IBAN,
    "pii:email": EMAIL,
    "pii:phone": PHONE,
    "pii:dashed": TOLD,
    "pii:lettered": LETTERED,
    "pii:told": TOLD,
    "pii:passport": PASSPORT,
    "pii:birth": DATE,
    "pii:address": ADDRESS,
}
CHECKS = {
    "pii:card": _card,
    "pii:iban": _iban,
    "pii:email": _email,
    "pii:phone": _phone,
    "pii:dashed": _national,
    "pii:lettered": _national,
    "pii:told": _national,
    "pii:passport": _passport,
    "pii:birth": _birth,
    "pii:address": _address,
}
