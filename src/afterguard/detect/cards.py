"""Payment card numbers: issuer prefix, length and Luhn check digit (ISO/IEC 7812).

In: digits. Out: the issuer's name or "". Published test numbers count as placeholders.
"""

from __future__ import annotations

import re

ISSUERS = (
    ("Visa", re.compile(r"4\d{12}(?:\d{3})?(?:\d{3})?$")),
    ("Mastercard", re.compile(r"(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}$")),
    ("American Express", re.compile(r"3[47]\d{13}$")),
    ("Diners", re.compile(r"3(?:0[0-5]|[689]\d)\d{11}$")),
    ("Discover", re.compile(r"6(?:011|5\d{2}|4[4-9]\d)\d{12}$")),
    ("JCB", re.compile(r"35(?:2[89]|[3-8]\d)\d{12}$")),
    ("UnionPay", re.compile(r"62\d{14,17}$")),
    ("Maestro", re.compile(r"(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}$")),
)
TEST_NUMBERS = {
    "4111111111111111", "4242424242424242", "4000056655665556", "5555555555554444", "5105105105105100",
    "378282246310005", "371449635398431", "6011111111111117", "6011000990139424", "30569309025904",
    "38520000023237", "3530111333300000", "3566002020360505", "4012888888881881", "4222222222222",
    "2223003122003222", "5200828282828210", "4000000000000002",
}  # fmt: skip


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of the rest."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def issuer(digits: str) -> str:
    """The issuer of a valid, not published card number; "" for anything else."""
    if digits in TEST_NUMBERS or len(set(digits)) < 4 or not luhn(digits):
        return ""
    return next((name for name, shape in ISSUERS if shape.match(digits)), "")
