"""The look-back over files: counts, incidents, what was not judged, and the change request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from afterguard.errors import UsageError
from afterguard.jobs.change_request import change_request
from afterguard.jobs.lookback import lookback

KEY = "sk-proj-h7Gd92LmQx4Zb81KpVtRT3BlbkFJw8Nc5YsEu2JaXo6Mq3Hf"


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def chat(number: int, reply: str) -> dict[str, object]:
    return {
        "id": f"c{number}",
        "time": f"2026-03-02T08:{number:02d}:00+00:00",
        "user": f"u{number}",
        "messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": reply}],
    }


def test_a_secret_in_replies(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [chat(1, "hi"), chat(2, f"key {KEY}"), chat(3, f"again {KEY}")])
    result = lookback([path], app="shop", pseudonym=lambda value: str(hash(value)))
    assert result.exchanges == 3
    (incident,) = result.incidents
    assert incident.kind == "secret_in_output" and incident.exchange_ids == ("c2", "c3") and incident.identifiers == 1
    assert incident.dwell == 60.0 and incident.app == "shop"
    assert KEY not in repr(result)
    assert result.change_request == ""


def test_same_input_same_result(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [chat(n, f"key {KEY}") for n in range(5)])
    runs = [lookback([path], app="a", pseudonym=lambda value: value[::-1]) for _ in range(2)]
    assert runs[0] == runs[1]


def test_broken_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(json.dumps(chat(1, "hi")).encode() + b"\n{broken\n\xff\xfe\n")
    result = lookback([path], app="a", pseudonym=str)
    assert sum(result.unjudged.values()) >= 2


def test_inventory_is_counted_and_no_incident(tmp_path: Path) -> None:
    rows = [
        chat(1, "Your address is on file."),
        {**chat(2, "ok"), "messages": [{"role": "user", "content": "I am ann@mail.example"}]},
    ]
    result = lookback([write(tmp_path / "log.jsonl", rows)], app="a", pseudonym=str)
    assert result.inventory == {"email": 1} and result.incidents == ()


def test_a_missing_path_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        lookback([tmp_path / "none"], app="a", pseudonym=str)


def test_progress_and_clock_are_arguments(tmp_path: Path) -> None:
    ticks = iter([10.0, 12.5])
    calls: list[tuple[int, int]] = []
    path = write(tmp_path / "log.jsonl", [chat(1, "hi")])
    result = lookback(
        [path], app="a", pseudonym=str, clock=lambda: next(ticks), progress=lambda n, b: calls.append((n, b))
    )
    assert result.seconds == 2.5 and calls[-1][0] == 1


def test_the_change_request_names_fields_cost_and_retention() -> None:
    text = change_request("shop|<script>", seen=1_000, blind=900, days=10, protocols=["otel"])
    for word in ("LiteLLM", "Bedrock", "OpenTelemetry", "30 days", "US dollars", "tool_calls", "100 of them"):
        assert word in text
    assert "<script>" not in text


def test_more_places_than_are_looked_at_are_unjudged(tmp_path: Path) -> None:
    text = f"key {KEY} " * 2_500
    row = {"id": "c1", "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": text}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    result = lookback([tmp_path / "a.jsonl"], app="x", pseudonym=lambda text: text[:6])
    assert result.unjudged == {"budget": 1}
    assert result.incidents


def test_coverage_rows_beyond_the_cap_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterguard.jobs.lookback.COVERAGE_CAP", 0)
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "a.jsonl").write_text(json.dumps(chat(1, "hello")) + "\n")
    result = lookback([tmp_path], app="x", pseudonym=lambda text: text[:6])
    assert [(row.reason, row.count) for row in result.coverage] == [("cap", 1)]
