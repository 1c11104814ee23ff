"""What a call moves, as far as names tell."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.model import ToolCall
from afterguard.watch.declined import declines
from afterguard.watch.move import move


def moved(name: str, arguments: Any) -> Any:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return move(ToolCall(name, text, "c", 1, ""), lambda value: "hash of " + value)


@pytest.mark.parametrize(
    ("name", "arguments", "amount", "payee"),
    [
        ("send_money", {"recipient": "CH93 0076", "amount": "1,234.50", "currency": "chf"}, 1234.5, "ch93 0076"),
        ("transferFunds", {"to": {"iban": "DE89"}, "amount": 99}, 99.0, "de89"),
        ("issue_refund", {"order": {"total": "12,50"}, "email": "A@b.example"}, 12.5, "a@b.example"),
        ("pay_invoice", {"sum": "1.234,5 EUR"}, 1234.5, ""),
        ("pay", "{", 0.0, ""),
    ],
)
def test_what_moves(name: str, arguments: Any, amount: float, payee: str) -> None:
    found = moved(name, arguments)
    assert found.amount == amount and found.payee == ("hash of " + payee)[:16] * bool(payee)
    assert found.is_refund is ("refund" in name)


@pytest.mark.parametrize("name", ["get_balance", "list_transactions_of", "update_user", "search"])
def test_what_does_not(name: str) -> None:
    assert moved(name, {"query": "x", "name": "amounts"}) is None


@given(st.text(max_size=40), st.text(max_size=200))
def test_any_call_is_read(name: str, arguments: str) -> None:
    moved(name, arguments)
    moved("pay", arguments)


def test_an_amount_that_is_no_number_is_none() -> None:
    assert moved("pay", '{"amount": 1e308}').amount == 0.0 and moved("pay", {"amount": True}).amount == 0.0
    assert moved("pay", "[" * 100_000).amount == 0.0


def test_refusals_are_told_from_answers() -> None:
    for said in (
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "Es tut mir leid, das kann ich leider nicht tun.",
        "Je suis désolé, je ne peux pas vous aider.",
        "Lo siento, no puedo ayudar con eso.",
    ):
        assert declines(said), said
    for said in (
        "I'm sorry to hear that your train was late. Here is the form.",
        "You cannot return it after 30 days, but I can help with a voucher.",
        "",
    ):
        assert not declines(said), said
