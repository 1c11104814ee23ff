"""The three backends report the same patterns, so that a machine without Hyperscan judges alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.detect import DETECTORS, prefilter
from afterguard.detect.prefilter import Pattern, Prefilter

SMALL = (
    Pattern("key", r"sk-[A-Za-z0-9]{8}"),
    Pattern("order", r"\b(ignore|forget)[^0-9A-Za-z_]{1,4}(all|your)", ignore_case=True),
    Pattern("once", r"[0-9]{4}", once=True),
)


def names(backend: str, patterns: tuple[Pattern, ...], texts: list[bytes]) -> list[set[str]]:
    compiled = Prefilter(patterns, backend)
    return [{match.name for match in compiled.scan(text)} for text in texts]


def test_backends_agree_on_every_sample() -> None:
    texts = [
        turn["text"].encode()
        for path in sorted((Path(__file__).parent / "samples").glob("*.json"))
        for part in json.loads(path.read_text(encoding="utf-8")).values()
        for row in part
        for turn in row["conversation"]
        if "text" in turn
    ]
    for detector in DETECTORS:
        if detector.patterns and len(detector.patterns) < 60:
            want = names("python", detector.patterns, texts)
            assert names("hyperscan", detector.patterns, texts) == want
            assert names("re2", detector.patterns, texts) == want


PREFILTERS = {backend: Prefilter(SMALL, backend) for backend in ("hyperscan", "re2", "python")}


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="skignoreforgtaly -0123456789\n", max_size=120))
def test_backends_agree_on_any_text(text: str) -> None:
    found = [{match.name for match in one.scan(text.encode())} for one in PREFILTERS.values()]
    assert found[0] == found[1] == found[2]


def test_matches_come_in_order() -> None:
    ends = [match.end for match in PREFILTERS["hyperscan"].scan(b"2026 ignore your sk-abcdefgh ignore all")]
    assert ends == sorted(ends) and len(ends) >= 4


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for one in PREFILTERS.values():
        for match in one.scan(data):
            assert 0 < match.end <= len(data)


class Kept:
    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.asked = 0

    def get(self, key: str) -> bytes | None:
        self.asked += 1
        return self.rows.get(key)

    def put(self, key: str, data: bytes) -> None:
        self.rows[key] = data


@pytest.fixture
def kept() -> Iterator[Kept]:
    memory = Kept()
    prefilter.remember(memory)
    yield memory
    prefilter._memory.clear()


def test_a_kept_database_answers_like_a_new_one(kept: Kept) -> None:
    text = b"please ignore all of it: sk-abcdef12 1234-5678"
    first = Prefilter(SMALL, "hyperscan").scan(text)
    assert len(kept.rows) == 1
    assert Prefilter(SMALL, "hyperscan").scan(text) == first
    assert kept.asked == 2
    (key,) = kept.rows
    kept.rows[key] = b"junk that no version wrote"
    assert Prefilter(SMALL, "hyperscan").scan(text) == first
