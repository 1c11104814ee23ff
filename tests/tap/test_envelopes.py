"""Records inside the envelopes of shippers, clouds and tracers, and rows in the tensors of serving frameworks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from afterguard.model import Exchange
from afterguard.tap import read, reading
from afterguard.tap.meta import key_name
from afterguard.tap.record import Place, exchanges

ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
SAY = {"object": "chat.completion", "choices": [{"message": {"role": "assistant", "content": "hello"}}]}
BOTH = {"request": ASK, "response": SAY}
TWO = [("user", "hi"), ("model", "hello")]


def of(record: Any) -> Exchange:
    (found,) = exchanges(record, Place("f", 1, 10))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "record",
    [
        {"log": json.dumps(BOTH) + "\n", "stream": "stdout", "time": "2026-03-02T08:00:00Z"},
        {"timestamp": "2026-03-02T08:00:00Z", "jsonPayload": BOTH, "resource": {"type": "k8s"}},
        {"type": "llm_call", "ts": 1772438400, "data": BOTH},
        {"logging_time": "2026-03-02T08:00:00Z", "request_payload": [json.dumps({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]})],
         "response_payload": [json.dumps({"candidates": [{"content": {"parts": [{"text": "hello"}]}}]})], "timestamp": "2026-03-02T08:00:00Z"},
        {"events": [{"timestamp": 1772438400000, "message": json.dumps({"schemaType": "ModelInvocationLog", "modelId": "m", "operation": "x",
         "input": {"inputBodyJson": {"inputText": "hi"}}, "output": {"outputBodyJson": {"results": [{"outputText": "hello"}]}}})}]},
        {"id": "g", "type": "GENERATION", "startTime": "2026-03-02T08:00:00.000Z", "input": ASK["messages"], "output": {"role": "assistant", "content": "hello"}},
        {"time": 1772438400, "request": {"inputs": "hi"}, "response": [{"generated_text": "hello"}]},
        {"time": 1772438400, "request": {"model": "l", "prompt": "hi"}, "response": {"model": "l", "response": "hello", "done": True}},
        {"time": 1772438400, "request": ASK, "response": {"message": {"role": "assistant", "content": [{"type": "text", "text": "hello"}]}}},
    ],
)  # fmt: skip
def test_envelopes(record: Any) -> None:
    found = of(record)
    assert [(text.origin.value, text.value) for text in found.texts] == TWO
    assert found.time == 1772438400.0 and not found.unjudged


@pytest.mark.parametrize(
    "record",
    [
        {
            "inputs": [{"name": "a", "shape": [1, 1], "datatype": "FP32", "data": [1]}, {"name": "b", "data": [2]}],
            "outputs": [{"name": "p", "data": [0.9]}],
        },
        {
            "request": json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}),
            "response": json.dumps({"predictions": [0.9]}),
        },
        {
            "request": {"data": {"names": ["a", "b"], "ndarray": [[1, 2]]}},
            "response": {"data": {"names": ["p"], "ndarray": [[0.9]]}},
        },
        {"input": {"a": 1, "b": 2}, "output": {"probability": 0.9}},
        {"a": 1, "b": 2, "model_score": 0.9, "model": "fraud-3"},
    ],
)
def test_serving_frameworks(record: Any) -> None:
    found = of(record)
    assert found.prediction is not None
    assert (found.prediction.features, found.prediction.score) == ({"a": 1.0, "b": 2.0}, 0.9)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"level": "info", "msg": "started"}, "unknown_shape"),
        ({"remote_addr": "1.2.3.4", "request": "GET /v1 HTTP/1.1", "status": 200}, "unknown_shape"),
        (
            {"time": "2026-03-02T08:00:00Z", "model": "m", "usage": {"prompt_tokens": 4}, "messages": "[REDACTED]"},
            "prompt_not_logged",
        ),
        ({"request": ASK, "response": {"error": {"message": "rate limit"}}, "status": 429}, "response_not_logged"),
        ({"id": "b", "response": {"status_code": 200, "body": SAY}}, "prompt_not_logged"),
    ],
)
def test_what_is_missing_is_said(record: Any, reason: str) -> None:
    assert [row.reason for row in of(record).unjudged] == [reason]


def test_lines_with_a_prefix(tmp_path: Path) -> None:
    line = json.dumps(BOTH)
    (tmp_path / "x.log").write_text(
        f"2026-03-02T08:00:00Z stdout F {line}\n[2026-03-02 08:00:00] INFO: {line}\n2026-03-02T08:00:00Z stdout F started\n"
    )
    found = list(read(tmp_path / "x.log", "x.log", lambda _: None))
    assert [(each.time, len(each.texts)) for each in found] == [(1772438400.0, 2), (1772438400.0, 2), (None, 0)]
    assert found[2].unjudged[0].reason == "bad_json"


def test_pretty_objects_after_each_other(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("\n".join(json.dumps({"id": str(i), **BOTH}, indent=2) for i in range(3)))
    found = list(read(tmp_path / "x.json", "x.json", lambda _: None))
    assert [each.id for each in found] == ["0", "1", "2"] and all(len(each.texts) == 2 for each in found)


@pytest.mark.parametrize("indent", [None, 1])
def test_a_large_document_is_read_by_elements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indent: int | None
) -> None:
    monkeypatch.setattr(reading, "WHOLE", 100)
    monkeypatch.setattr(reading, "BLOCK", 50)
    span = {
        "traceId": "t",
        "spanId": "s",
        "attributes": [{"key": "gen_ai.prompt.0.content", "value": {"stringValue": "hi"}}],
    }
    entry = {"startedDateTime": "2026-03-02T08:00:00Z", "request": {"method": "POST", "url": "https://x/", "postData": {"text": json.dumps(ASK)}},
             "response": {"status": 200, "content": {"text": json.dumps(SAY)}}}  # fmt: skip
    for document in (
        {"log": {"version": "1.2", "entries": [entry] * 3}},
        {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}] * 3},
        {"meta": 1, "records": [BOTH] * 3},
    ):
        (tmp_path / "x.json").write_text(json.dumps(document, indent=indent))
        found = list(read(tmp_path / "x.json", "x.json", lambda _: None))
        assert len(found) == 3 and all(each.texts for each in found)


@pytest.mark.parametrize(
    "value",
    ["sk-proj-abc", "Bearer abc", "AIzaSyA", "0123456789abcdef0123456789abcdef", "AKIAIOSFODNN7EXAMPLE", "x" * 40],
)
def test_raw_keys_are_hashed(value: str) -> None:
    assert key_name(value).startswith("sha256:") and value[3:] not in key_name(value)


@pytest.mark.parametrize("value", ["app-1", "team-a", "production-key", "my key"])
def test_names_of_keys_are_kept(value: str) -> None:
    assert key_name(value) == value
