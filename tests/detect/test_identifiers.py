"""Checked identifiers: right ones pass, one wrong digit fails, weak ones need a word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.detect.cards import issuer, luhn
from afterguard.detect.identifiers import PATTERNS, identifiers
from afterguard.detect.national_ids import iban, national_id

VALID = [
    ("us_ssn", "536-22-1847", b""),
    ("uk_nino", "AB123456C", b""),
    ("de_steuer_id", "86095742719", b"Steuer-ID: "),
    ("fr_nir", "255081416802538", b""),
    ("es_dni", "12345678Z", b""),
    ("es_dni", "X1234567L", b""),
    ("it_codice_fiscale", "RSSMRA85T10A562S", b""),
    ("nl_bsn", "123456782", b"BSN "),
    ("be_rijksregister", "85.07.30-033.28", b""),
    ("pl_pesel", "44051401359", b"PESEL "),
    ("se_personnummer", "811228-9874", b"personnummer "),
    ("br_cpf", "529.982.247-25", b""),
    ("in_aadhaar", "2345 6789 0124", b"Aadhaar "),
    ("ca_sin", "046 454 286", b"SIN "),
]


@pytest.mark.parametrize(("kind", "text", "near"), VALID)
def test_valid_numbers(kind: str, text: str, near: bytes) -> None:
    assert national_id(text, near) == kind


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("86095742718", b"steuer "),
        ("44051401358", b"pesel "),
        ("123456783", b"bsn "),
        ("000-12-3456", b"ssn "),
        ("12345678A", b""),
        ("529.982.247-26", b"cpf "),
    ],
)
def test_wrong_check_digits(text: str, near: bytes) -> None:
    assert national_id(text, near) == ""


def test_weak_numbers_need_a_word() -> None:
    assert national_id("86095742719", b"order number ") == ""


def test_iban() -> None:
    assert iban("DE89370400440532013000") and iban("GB33 BUKB 2020 1555 5555 55")
    assert not iban("DE89370400440532013001")


@given(st.integers(min_value=0, max_value=10**14 - 1))
def test_luhn_catches_every_single_error(number: int) -> None:
    body = f"4{number:014d}"
    good = next(body + str(d) for d in range(10) if luhn(body + str(d)))
    for place in (0, 7, 15):
        wrong = good[:place] + str((int(good[place]) + 1) % 10) + good[place + 1 :]
        assert not luhn(wrong)


def test_published_cards_are_not_cards() -> None:
    assert issuer("4242424242424242") == "" and issuer("4539578763621486") == "Visa"


@given(st.binary(max_size=200), st.integers(0, 200))
def test_identifiers_never_raise(data: bytes, end: int) -> None:
    for pattern in PATTERNS:
        for one in identifiers(data, pattern.name, end):
            assert one.span.end <= len(data)
