"""Every detector finds its hits and leaves its misses alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from afterguard import judges
from afterguard.detect import DETECTORS, Context, look
from afterguard.detect.judge import judge
from afterguard.model import Exchange, Judgement, Origin, Text, ToolCall, Trust
from afterguard.names import is_taxonomy

SAMPLES = Path(__file__).parent / "samples"
TRUST = {
    "system": Trust.system,
    "user": Trust.user,
    "model": Trust.model,
    "tool": Trust.first_party,
    "document": Trust.third_party,
}


def exchange(conversation: list[dict[str, Any]]) -> Exchange:
    """An Exchange from a sample: texts and calls in the order of their turns."""
    texts: list[Text] = []
    calls: list[ToolCall] = []
    for turn, row in enumerate(conversation, 1):
        if "call" in row:
            calls.append(ToolCall(row["call"], row["arguments"], "", turn))
        else:
            origin = Origin(row["origin"])
            texts.append(Text(row["text"], origin, TRUST[row["origin"]], f"m[{turn}]", row.get("name", ""), turn))
    return Exchange("x", "sample", 1, "messages", texts=tuple(texts), calls=tuple(calls))


def cases(part: str) -> list[Any]:
    out = []
    for detector in DETECTORS:
        path = SAMPLES / f"{detector.id.replace('-', '_')}.json"
        for row in json.loads(path.read_text(encoding="utf-8"))[part]:
            out.append(pytest.param(detector.id, row["conversation"], id=f"{detector.id}: {row['name']}"))
    return out


def opinion(text: str, origin: str) -> Judgement:
    return judge(text, origin, judges.load(), "quiet")


def kinds(detector: str, conversation: list[dict[str, Any]]) -> set[str]:
    context = Context(lambda value: f"h{len(value)}", opinion=opinion if detector == "judged" else None)
    hits = [h for h in look(exchange(conversation), context) if h.detector == detector and h.kind != "inventory"]
    for hit in hits:
        assert all(is_taxonomy(one) for one in hit.taxonomies)
        assert hit.rule and hit.cause and hit.would_change and len(hit.excerpt) <= 240
        if hit.text >= 0:
            size = len(exchange(conversation).texts[hit.text].value.encode())
            assert 0 <= hit.span.start < hit.span.end <= size
    return {hit.kind for hit in hits}


@pytest.mark.parametrize(("detector", "conversation"), cases("hits"))
def test_hits(detector: str, conversation: list[dict[str, Any]]) -> None:
    assert kinds(detector, conversation)


@pytest.mark.parametrize(("detector", "conversation"), cases("misses"))
def test_misses(detector: str, conversation: list[dict[str, Any]]) -> None:
    assert not kinds(detector, conversation)


def test_every_detector_is_described() -> None:
    assert len({d.id for d in DETECTORS}) == len(DETECTORS)
    for detector in DETECTORS:
        assert detector.why and detector.kinds and detector.patterns is not None
        assert all(is_taxonomy(one) for one in detector.taxonomies)
