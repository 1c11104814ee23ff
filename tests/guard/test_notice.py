"""What the watch is told of an exchange: sketches, counts and keyed hashes, never a word."""

from __future__ import annotations

import json

import msgspec
import pytest

from afterguard.detect import Context
from afterguard.guard.brain import Brain
from afterguard.guard.decision import seen
from afterguard.guard.notice import Client, Marks, client, event
from afterguard.guard.route import Route
from afterguard.guard.session import Session
from afterguard.wire.endpoint import endpoint

from . import running


def pseudonym(value: str) -> str:
    return "h" + running.pseudonym(value)


def over(body: dict[str, object], reply: dict[str, object], status: int = 200) -> Session:
    brain = Brain(Context(running.pseudonym), None, key=b"k" * 32)
    spot = endpoint("openai", "POST", "/v1/chat/completions", "")
    session = Session(brain, Route("openai", "openai", "http://nowhere", app="shop"), spot, "id-1", [])
    assert session.hears(json.dumps(body).encode())
    session.reads(status, json.dumps(reply).encode())
    return session


ASKED = {
    "model": "m-1",
    "messages": [
        {"role": "system", "content": "You are the clerk of a secret shop."},
        {"role": "user", "content": "What is left?"},
        {"role": "assistant", "content": "Little."},
        {"role": "user", "content": "Pay Anna her 20 francs then, please."},
    ],
}


def said(message: dict[str, object]) -> dict[str, object]:
    return {
        "object": "chat.completion",
        "model": "m-1-0711",
        "system_fingerprint": "fp_7",
        "choices": [{"message": {"role": "assistant", **message}}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 7},
    }


def test_an_exchange_in_one_row() -> None:
    call = {
        "id": "c",
        "type": "function",
        "function": {"name": "send_money", "arguments": '{"recipient": "Anna", "amount": 20}'},
    }
    session = over(ASKED, said({"content": "Done.", "tool_calls": [call]}))
    found = event(session, seen(session, 100.0, 2.0, 0.1), Client(user="u", family="curl"), pseudonym, cost=0.5)
    assert (found.time, found.app, found.model, found.version, found.turn) == (102.0, "shop", "m-1", "fp_7", 2)
    assert (found.input_tokens, found.output_tokens, found.cost, found.user) == (30, 7, 0.5, "u")
    assert found.calls == ("send_money",) and found.moves[0].amount == 20 and found.moves[0].payee.startswith("h")
    assert found.asked and found.shape and found.prompt and found.outcome == "ok"
    shown = msgspec.json.encode(found).decode()
    assert not any(word in shown for word in ("Anna", "secret", "Little", "francs"))


@pytest.mark.parametrize(
    ("content", "status", "outcome"),
    [("I'm sorry, but I can't help with that.", 200, "refused"), ("Sure.", 200, "ok"), ("x", 429, "error")],
)
def test_how_it_ended(content: str, status: int, outcome: str) -> None:
    session = over(ASKED, said({"content": content}), status)
    found = event(session, seen(session, 1.0, 0.0, 0.0), Client(), pseudonym)
    assert found.outcome == outcome and not found.invalid


def test_who_is_at_the_other_end() -> None:
    headers = {b"user-agent": b"OpenAI/Python 1.2", b"x-forwarded-for": b"1.2.3.4, 10.0.0.7:443", b"x-user": b"anna"}
    plain = client(headers, "192.0.2.9", Marks(), pseudonym)
    assert (plain.user, plain.family) == ("", "openai/python")
    assert plain.address == pseudonym("192.0.2.9") and plain.network == pseudonym("192.0.2.0/24")
    marked = client(headers, "192.0.2.9", Marks(user=b"x-user", address=b"x-forwarded-for"), pseudonym)
    assert marked.user == pseudonym("anna") and marked.address == pseudonym("10.0.0.7"), "the nearest proxy is believed"
    assert client({}, "[2001:db8::1]:9", Marks(), pseudonym).network == pseudonym("2001:db8::/48")
    assert client({b"x": b"\xff\x00"}, "unix", Marks(user=b"x"), pseudonym).address == ""
