"""Whole logs through `tap.read`: every format, hostile input, counts that lose nothing."""

from __future__ import annotations

from pathlib import Path

from afterguard.model import Coverage, Exchange, Origin, Trust
from afterguard.tap import read

NOTES: list[Coverage] = []


def take(tmp_path: Path, text: str | bytes, name: str = "log.jsonl") -> list[Exchange]:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read(path, name, NOTES.append))


def test_bare_messages(tmp_path: Path) -> None:
    (found,) = take(
        tmp_path,
        '{"id": "a", "time": "2026-03-02T08:00:00+00:00", "user": "u1", "key": "app-1", "messages": '
        '[{"role": "user", "content": "hi"}, {"role": "assistant", "content": null, "tool_calls": [{"id": "c", "function": '
        '{"name": "fetch_url", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "c", "content": "page"}]}\n',
    )
    assert (found.id, found.identity, found.key, found.time) == ("a", "u1", "app-1", 1772438400.0)
    assert [(t.origin, t.trust, t.name, t.turn) for t in found.texts] == [
        (Origin.user, Trust.user, "", 1),
        (Origin.tool, Trust.third_party, "fetch_url", 3),
    ]
    assert [(c.name, c.turn) for c in found.calls] == [("fetch_url", 2)]


def test_broken_lines_are_counted(tmp_path: Path) -> None:
    found = take(tmp_path, '{"messages": [\n[1,2]\n{"a":1}\n')
    assert [e.unjudged[0].reason for e in found] == ["bad_json", "unknown_shape", "unknown_shape"]
    assert [e.id for e in found] == ["log.jsonl:1", "log.jsonl:2", "log.jsonl:3"]
