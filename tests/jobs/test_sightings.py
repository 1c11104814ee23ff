"""Models and tools seen at work become assets with their first place and how often."""

from __future__ import annotations

from afterguard.jobs import sightings
from afterguard.jobs.sightings import Sightings
from afterguard.model import AssetKind, Exchange, ToolCall


def test_first_place_count_and_times() -> None:
    seen = Sightings()
    for line, when in ((3, 20.0), (5, 10.0), (9, None)):
        seen.feed(
            Exchange(
                f"x{line}", "chat.jsonl", line, "openai", time=when, model="gpt-4o", calls=(ToolCall("pay", "{}"),)
            )
        )
    seen.feed(Exchange("e", "chat.jsonl", 10, "openai", model="text-embedding-3-small"))
    assets = {one.name: one for one in seen.assets()}
    assert assets["gpt-4o"].evidence[0].line == 3
    assert (assets["gpt-4o"].first_seen, assets["gpt-4o"].last_seen) == (10.0, 20.0)
    assert assets["gpt-4o"].attributes["exchanges"] == "3"
    assert assets["gpt-4o"].edges[0].name == "openai"
    assert assets["pay"].kind is AssetKind.tool
    assert assets["text-embedding-3-small"].kind is AssetKind.embedding_model


def test_names_are_bounded() -> None:
    seen = Sightings()
    for number in range(sightings.NAMES + 50):
        seen.feed(Exchange("x", "f", 1, "openai", model=f"m{number}"))
    assert len(seen.assets()) == sightings.NAMES
