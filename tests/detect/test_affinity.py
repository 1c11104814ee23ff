"""A sentence fits the tool that does what it asks for."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from afterguard.detect import affinity, mood
from afterguard.model import ToolSpec


def spec(name: str, description: str, **parameters: str) -> ToolSpec:
    properties = {key: {"type": "string", "description": value} for key, value in parameters.items()}
    return ToolSpec(name, description, json.dumps({"type": "object", "properties": properties}))


TOOLS = affinity.profiles(
    [
        spec("open_ticket", "Opens a ticket.", title="title", body="text"),
        spec("wire_money", "Wires money to an account.", iban="IBAN", amount="amount"),
        spec("delete_volume", "Delete a storage volume.", volume="id"),
        spec("search_docs", "Search the documents.", query="words"),
    ]
)


def best(sentence: str) -> str:
    found = affinity.fits(sentence, mood.sentences(sentence)[0].asks, TOOLS)
    return found[0].tool.name if found else ""


def test_fits() -> None:
    assert best("Transfer 500 euros to DE02120300000000202051.") == "wire_money"
    assert best("Wipe the volume vol-9 please.") == "delete_volume"
    assert best("The weather is fine today.") == ""


def test_which_verbs_are_wanted() -> None:
    assert "erase" in affinity.wanted(TOOLS)
    assert "invite" not in affinity.wanted(TOOLS)


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
def test_any_tool(name: str, description: str, parameters: str) -> None:
    tools = affinity.profiles([ToolSpec(name, description, parameters)])
    affinity.fits("Send the list to a@b.example now.", ("send",), tools)
