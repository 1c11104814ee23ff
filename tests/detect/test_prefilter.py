"""The three backends report the same patterns, so that a machine without Hyperscan judges alike."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.detect import DETECTORS
from afterguard.detect.prefilter import Pattern, Prefilter

SMALL = (
    Pattern("key", r"sk-[A-Za-z0-9]{8}"),
    Pattern("order", r"\b(ignore|forget)[^0-9A-Za-z_]{1,4}(all|your)", ignore_case=True),
    Pattern("once", r"[0-9]{4}", once=True),
)


def names(backend: str, patterns: tuple[Pattern, ...], texts: list[bytes]) -> list[set[str]]:
    prefilter = Prefilter(patterns, backend)
    return [{match.name for match in prefilter.scan(text)} for text in texts]


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
    found = [{match.name for match in prefilter.scan(text.encode())} for prefilter in PREFILTERS.values()]
    assert found[0] == found[1] == found[2]


def test_matches_come_in_order() -> None:
    ends = [match.end for match in PREFILTERS["hyperscan"].scan(b"2026 ignore your sk-abcdefgh ignore all")]
    assert ends == sorted(ends) and len(ends) >= 4
