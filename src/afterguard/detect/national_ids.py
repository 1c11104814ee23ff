"""National identity and tax numbers with their own check rules; where the rule is weak a word nearby has to say what it is.

In: the text of a candidate. Out: its class or "". Sources: the issuing authorities' published rules (SSA, HMRC, BZSt, INSEE, Agencia
Tributaria, Agenzia delle Entrate, RvIG, Rijksregister, MSWiA, Skatteverket, Receita Federal, UIDAI, CRA).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from afterguard.detect.cards import luhn

DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
ODD = {
    **dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True)),
    **dict(
        zip(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
            strict=True,
        )
    ),
}
D5 = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
P8 = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258")


class Rule(NamedTuple):
    """`shape` on the whole candidate without blanks, dots and dashes; `context` must stand near it where given."""

    kind: str
    shape: re.Pattern[str]
    is_valid: Callable[[str], bool]
    context: re.Pattern[bytes] | None


def ssn(text: str) -> bool:
    """US: area not 000, 666 or 9xx; group not 00; serial not 0000."""
    return text[:3] not in ("000", "666") and text[0] != "9" and text[3:5] != "00" and text[5:] != "0000"


def nino(text: str) -> bool:
    """UK: letters and prefixes HMRC does not use."""
    return (
        text[:2] not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")
        and not set("DFIQUV") & set(text[:2])
        and text[1] != "O"
    )


def steuer_id(text: str) -> bool:
    """Germany: ISO 7064 MOD 11,10; one digit of the first ten two or three times."""
    if text[0] == "0" or max(text[:10].count(d) for d in set(text[:10])) not in (2, 3):
        return False
    product = 10
    for digit in text[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(text[10])


def nir(text: str) -> bool:
    """France: key = 97 - number mod 97; Corsica's 2A and 2B count as 19 and 18."""
    body = text[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and 97 - int(body) % 97 == int(text[13:])


def dni(text: str) -> bool:
    """Spain: letter by number mod 23; foreigners' X, Y, Z stand for 0, 1, 2."""
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return DNI[int(number) % 23] == text[-1]


def codice_fiscale(text: str) -> bool:
    """Italy: odd and even places weigh differently, sum mod 26 is the last letter."""
    total = sum(ODD[c] if i % 2 == 0 else (int(c) if c.isdigit() else ord(c) - 65) for i, c in enumerate(text[:15]))
    return chr(65 + total % 26) == text[15]


def bsn(text: str) -> bool:
    """Netherlands: weights 9..2 and -1, sum divisible by 11."""
    return sum(int(d) * w for d, w in zip(text, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True)) % 11 == 0


def rijksregister(text: str) -> bool:
    """Belgium: 97 - number mod 97, with a leading 2 for births from 2000."""
    body, key = text[:9], int(text[9:])
    return key in (97 - int(body) % 97, 97 - int("2" + body) % 97)


def pesel(text: str) -> bool:
    """Poland: weights 1 3 7 9, and a possible month."""
    total = sum(int(d) * w for d, w in zip(text[:10], (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), strict=True))
    return (10 - total % 10) % 10 == int(text[10]) and 1 <= int(text[2:4]) % 20 <= 12 and 1 <= int(text[4:6]) <= 31


def personnummer(text: str) -> bool:
    """Sweden: Luhn over ten digits, a possible date."""
    digits = text[-10:]
    return luhn(digits) and 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) % 60 <= 31


def cpf(text: str) -> bool:
    """Brazil: two check digits mod 11; not all digits equal."""
    if len(set(text)) == 1:
        return False
    for size in (9, 10):
        rest = sum(int(d) * (size + 1 - i) for i, d in enumerate(text[:size])) * 10 % 11 % 10
        if rest != int(text[size]):
            return False
    return True


def aadhaar(text: str) -> bool:
    """India: Verhoeff; the first digit is neither 0 nor 1."""
    check = 0
    for place, digit in enumerate(reversed(text)):
        check = int(D5[check][int(P8[place % 8][int(digit)])])
    return check == 0 and text[0] not in "01"


def _words(text: str) -> re.Pattern[bytes]:
    return re.compile(rf"\b(?:{text})".encode(), re.I)


RULES = (
    Rule("us_ssn", re.compile(r"\d{9}$"), ssn, _words(r"ssn|social.{0,4}security|taxpayer|tin\b")),
    Rule("uk_nino", re.compile(r"[A-CEGHJ-PR-TW-Z]{2}\d{6}[A-D]$"), nino, None),
    Rule("de_steuer_id", re.compile(r"\d{11}$"), steuer_id, _words(r"steuer|idnr|tax.?id|tin\b")),
    Rule("fr_nir", re.compile(r"[12]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{6}\d{2}$"), nir, None),
    Rule("es_dni", re.compile(r"[XYZ\d]\d{7}[A-Z]$"), dni, None),
    Rule("it_codice_fiscale", re.compile(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]$"), codice_fiscale, None),
    Rule("nl_bsn", re.compile(r"\d{9}$"), bsn, _words(r"bsn|burgerservice|sofi")),
    Rule("be_rijksregister", re.compile(r"\d{11}$"), rijksregister, _words(r"rijksregister|registre national|national.?(?:register|number)|nrn\b|insz|niss")),
    Rule("pl_pesel", re.compile(r"\d{11}$"), pesel, _words(r"pesel")),
    Rule("se_personnummer", re.compile(r"(?:\d{2})?\d{10}$"), personnummer, _words(r"personnummer|personal.?(?:identity.?)?number|samordnings")),
    Rule("br_cpf", re.compile(r"\d{11}$"), cpf, _words(r"cpf")),
    Rule("in_aadhaar", re.compile(r"\d{12}$"), aadhaar, _words(r"aadhaar|aadhar|uidai")),
    Rule("ca_sin", re.compile(r"\d{9}$"), luhn, _words(r"sin\b|social insurance")),
)  # fmt: skip
OWN_FORMAT = {
    "us_ssn": re.compile(r"\d{3}-\d{2}-\d{4}$"),
    "br_cpf": re.compile(r"\d{3}\.\d{3}\.\d{3}-\d{2}$"),
    "be_rijksregister": re.compile(r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}$"),
}
"""Classes whose written separators say as much as a word nearby."""


def national_id(candidate: str, near: bytes) -> str:
    """The class of a candidate as written; `near` is the text around it, for context words."""
    bare = re.sub(r"[ .-]", "", candidate).upper()
    for rule in RULES:
        if not rule.shape.match(bare) or len(set(bare)) < 4:
            continue
        written = OWN_FORMAT.get(rule.kind)
        told = rule.context is None or (written is not None and written.match(candidate) is not None)
        if (told or (rule.context is not None and rule.context.search(near))) and rule.is_valid(bare):
            return rule.kind
    return ""


def iban(text: str) -> bool:
    """ISO 13616: move four to the end, letters as numbers, mod 97 is 1."""
    bare = text.replace(" ", "").upper()
    if not 15 <= len(bare) <= 34 or not bare.isalnum() or not bare.isascii():
        return False
    return int("".join(str(int(c, 36)) for c in bare[4:] + bare[:4])) % 97 == 1
