"""One sample of every log format, as its maker writes it, through the public door."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from afterguard.model import Coverage, Exchange, Origin, Trust
from afterguard.tap import read, recognise


def take(tmp_path: Path, content: Any, name: str = "log.jsonl") -> tuple[list[Exchange], list[Coverage]]:
    if isinstance(content, (dict, list)):
        content = json.dumps(content)
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    notes: list[Coverage] = []
    return list(read(path, name, notes.append)), notes


def one(tmp_path: Path, content: Any, name: str = "log.jsonl") -> Exchange:
    found, _ = take(tmp_path, content, name)
    assert len(found) == 1, found
    return found[0]


def said(found: Exchange) -> list[tuple[str, str]]:
    return [(text.origin.value, text.value) for text in found.texts]


CHAT = {"model": "gpt-4o", "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}]}
REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2},
}
THREE = [("system", "Be kind."), ("user", "hi"), ("model", "hello")]


@pytest.mark.parametrize(
    "record",
    [
        {"request": CHAT, "response": REPLY},
        {"request_body": json.dumps(CHAT), "response_body": json.dumps(REPLY)},
        {"input": CHAT["messages"], "output": REPLY},
        {"request": {"method": "POST", "url": "/v1", "body": CHAT}, "response": {"status_code": 200, "body": REPLY}},
        {"_source": {"request": CHAT, "response": REPLY}},
        {"message": json.dumps({"request": CHAT, "response": REPLY})},
        {"properties": {"backendRequestBody": json.dumps(CHAT), "backendResponseBody": json.dumps(REPLY)}},
        {**CHAT, "response": "hello"},
        {**CHAT, "choices": REPLY["choices"]},
        {"messages": [*CHAT["messages"], {"role": "assistant", "content": "hello"}]},
        {"conversation": [*CHAT["messages"], {"role": "assistant", "content": "hello"}]},
        [*CHAT["messages"], {"role": "assistant", "content": "hello"}],
        {"conversations": [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        {"system": "Be kind.", "prompt": "hi", "completion": "hello"},
        {"system_prompt": "Be kind.", "question": "hi", "answer": "hello"},
        {"input": {"messages": CHAT["messages"]}, "output": {"role": "assistant", "content": "hello"}},
        {"request": CHAT, "response": 'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hel"}}]}\n\n'
         'data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"lo"}}]}\n\ndata: [DONE]\n\n'},
        {"request": CHAT, "response": [{"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "hello"}}]}]},
        {"run_type": "llm", "inputs": {"messages": [[
            {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "SystemMessage"], "kwargs": {"content": "Be kind."}},
            {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "HumanMessage"], "kwargs": {"content": "hi"}}]]},
         "outputs": {"generations": [[{"text": "hello"}]]}},
        {"body": {"system": "Be kind.", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
         "response": {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "hello"}]}},
        {"request": {"model": "gpt-5", "instructions": "Be kind.", "input": "hi"},
         "response": {"object": "response", "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}]}},
        {"request": {"systemInstruction": {"parts": [{"text": "Be kind."}]}, "contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
         "response": [{"candidates": [{"content": {"parts": [{"text": "hel"}]}}]}, {"candidates": [{"content": {"parts": [{"text": "lo"}]}}]}]},
    ],
)  # fmt: skip
def test_every_pair_says_the_same(tmp_path: Path, record: Any) -> None:
    assert said(one(tmp_path, record)) == THREE


def test_columns_around(tmp_path: Path) -> None:
    found = one(tmp_path, {"id": 7, "timestamp": 1772438400123, "end_user": "u", "api_key": "sk-proj-" + "a" * 40, "session_id": "s",
                           "client_ip": "10.0.0.1", "request": CHAT, "response": REPLY, "cost": 0.5, "status_code": 200})  # fmt: skip
    assert (found.id, found.time, found.identity, found.conversation, found.client) == (
        "7",
        1772438400.123,
        "u",
        "s",
        "10.0.0.1",
    )
    assert found.key.startswith("sha256:") and len(found.key) == 19
    assert (found.model, found.input_tokens, found.output_tokens, found.cost, found.status) == (
        "gpt-4o-2024",
        9,
        2,
        0.5,
        200,
    )


def test_litellm(tmp_path: Path) -> None:
    record = {"id": "a", "call_type": "acompletion", "response_cost": 0.01, "startTime": 1772438400.5, "endTime": 1772438401.5,
              "model": "gpt-4o", "custom_llm_provider": "openai", "metadata": {"user_api_key_alias": "team-a", "user_api_key_end_user_id": "u9"},
              "messages": CHAT["messages"], "response": REPLY, "status": "success"}  # fmt: skip
    found = one(tmp_path, record)
    assert (found.protocol, found.key, found.identity, found.cost, found.time) == (
        "litellm",
        "team-a",
        "u9",
        0.01,
        1772438400.5,
    )
    assert said(found) == THREE
    hidden = one(tmp_path, {**record, "messages": "redacted-by-litellm", "response": "redacted-by-litellm"})
    assert [row.reason for row in hidden.unjudged][:1] == ["prompt_not_logged"] and not hidden.texts


def test_usage_without_words_is_prompt_not_logged(tmp_path: Path) -> None:
    found = one(
        tmp_path,
        {"time": "2026-01-01T00:00:00Z", "model": "gpt-4o", "prompt_tokens": 5, "completion_tokens": 7, "user": "u"},
    )
    assert [row.reason for row in found.unjudged] == ["prompt_not_logged"]
    assert (found.input_tokens, found.output_tokens, found.identity) == (5, 7, "u")


def test_bedrock_log(tmp_path: Path) -> None:
    record = {"schemaType": "ModelInvocationLog", "schemaVersion": "1.0", "timestamp": "2026-03-01T12:00:00Z", "accountId": "1", "region": "us-east-1",
              "requestId": "r1", "operation": "InvokeModel", "modelId": "anthropic.claude-3", "identity": {"arn": "arn:aws:iam::1:user/x"},
              "input": {"inputContentType": "application/json", "inputBodyJson": {"anthropic_version": "b", "max_tokens": 9, "system": "Be kind.",
                        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}, "inputTokenCount": 3},
              "output": {"outputBodyJson": [{"type": "message_start", "message": {"usage": {"input_tokens": 3}}},
                         {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                         {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}},
                         {"type": "message_stop"}], "outputTokenCount": 2}}  # fmt: skip
    found = one(tmp_path, record)
    assert (found.protocol, found.id, found.identity, found.input_tokens) == (
        "bedrock",
        "r1",
        "arn:aws:iam::1:user/x",
        3,
    )
    assert said(found) == THREE
    record["input"] = {"inputBodyS3Path": "s3://b/k"}
    assert [row.reason for row in one(tmp_path, record).unjudged] == ["too_long"]


def test_converse(tmp_path: Path) -> None:
    found = one(tmp_path, {"modelId": "amazon.nova", "operation": "Converse", "requestId": "r", "input": {"inputBodyJson": {
        "system": [{"text": "Be kind."}], "messages": [{"role": "user", "content": [{"text": "hi"}]}]}}, "output": {"outputBodyJson": {
        "output": {"message": {"role": "assistant", "content": [{"text": "hello"}, {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}]}}}}})  # fmt: skip
    assert said(found) == THREE
    assert [(call.name, call.arguments) for call in found.calls] == [("f", '{"a":1}')]


def attribute(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}


OTEL = [
    {"gen_ai.prompt.0.role": "system", "gen_ai.prompt.0.content": "Be kind.", "gen_ai.prompt.1.role": "user", "gen_ai.prompt.1.content": "hi",
     "gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "hello", "gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": 3},
    {"gen_ai.system_instructions": '[{"type":"text","content":"Be kind."}]', "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"hi"}]}]',
     "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"hello"}],"finish_reason":"stop"}]', "gen_ai.request.model": "gpt-4o",
     "gen_ai.usage.input_tokens": 3},
    {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.input_messages.0.message.role": "system", "llm.input_messages.0.message.content": "Be kind.",
     "llm.input_messages.1.message.role": "user", "llm.input_messages.1.message.content": "hi", "llm.output_messages.0.message.role": "assistant",
     "llm.output_messages.0.message.content": "hello", "llm.token_count.prompt": 3},
]  # fmt: skip


@pytest.mark.parametrize("attributes", OTEL)
def test_otel(tmp_path: Path, attributes: dict[str, Any]) -> None:
    span = {
        "traceId": "t1",
        "spanId": "s1",
        "name": "chat",
        "startTimeUnixNano": "1772438400000000000",
        "attributes": [attribute(k, v) for k, v in attributes.items()],
    }
    other = {"traceId": "t1", "spanId": "s2", "name": "db", "attributes": [attribute("db.system", "x")]}
    batch = {
        "resourceSpans": [
            {"resource": {"attributes": [attribute("service.name", "bot")]}, "scopeSpans": [{"spans": [span, other]}]}
        ]
    }
    found, notes = take(tmp_path, batch)
    assert [(e.protocol, e.id, e.app, e.model, e.time, e.conversation, e.input_tokens) for e in found] == [
        ("otel", "s1", "bot", "gpt-4o", 1772438400.0, "t1", 3)
    ]
    assert said(found[0]) == THREE
    assert [(row.reason, row.count) for row in notes] == [("excluded", 1)]
    plain = {
        "trace_id": "t1",
        "span_id": "s1",
        "name": "chat",
        "start_time": "2026-03-02T08:00:00Z",
        "attributes": attributes,
    }
    assert said(one(tmp_path, plain)) == THREE


def test_otel_events(tmp_path: Path) -> None:
    events = [{"name": "gen_ai.system.message", "attributes": [attribute("content", "Be kind.")]}, {"name": "gen_ai.user.message", "attributes": [attribute("content", "hi")]},
              {"name": "gen_ai.choice", "attributes": [attribute("message", '{"content":"hello"}')]}]  # fmt: skip
    span = {"traceId": "t", "spanId": "s", "attributes": [attribute("gen_ai.system", "openai")], "events": events}
    assert said(one(tmp_path, {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})) == THREE


def test_otel_without_words(tmp_path: Path) -> None:
    span = {
        "traceId": "t",
        "spanId": "s",
        "name": "chat gpt",
        "attributes": [attribute("gen_ai.request.model", "m"), attribute("gen_ai.usage.input_tokens", 3)],
    }
    assert [row.reason for row in one(tmp_path, {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).unjudged] == [
        "prompt_not_logged"
    ]


def test_har(tmp_path: Path) -> None:
    def entry(url: str, body: Any, reply: Any) -> dict[str, Any]:
        return {"startedDateTime": "2026-03-02T08:00:00.000Z", "request": {"method": "POST", "url": url, "headers": [{"name": "Authorization", "value": "Bearer sk-x"}],
                "postData": {"mimeType": "application/json", "text": json.dumps(body)}},
                "response": {"status": 200, "content": {"text": base64.b64encode(json.dumps(reply).encode()).decode(), "encoding": "base64"}}}  # fmt: skip

    entries = [
        entry("https://api.openai.com/v1/chat/completions?x=1", CHAT, REPLY),
        entry("https://shop.example/cart", {"sku": 1}, {}),
    ]
    for indent in (None, 2):
        found, notes = take(
            tmp_path, json.dumps({"log": {"version": "1.2", "entries": entries}}, indent=indent), "a.har"
        )
        assert [(e.protocol, e.address, e.status, e.key[:7]) for e in found] == [
            ("har", "https://api.openai.com/v1/chat/completions", 200, "sha256:")
        ]
        assert said(found[0]) == THREE
        assert [row.reason for row in notes] == ["excluded"]


STREAMS = {
    "openai": [{"id": "c1", "object": "chat.completion.chunk", "model": "gpt", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hé"}}]},
               {"id": "c1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "llo"}}]},
               {"id": "c1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"a"'}}]}}]},
               {"id": "c1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}}]},
               {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}],
    "anthropic": [{"type": "message_start", "message": {"id": "c1", "model": "gpt", "usage": {"input_tokens": 1}}},
                  {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                  {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hé"}},
                  {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "llo"}},
                  {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
                  {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
                  {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": ":1}"}},
                  {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 2}}, {"type": "message_stop"}],
    "responses": [{"type": "response.created", "response": {"id": "c1", "model": "gpt"}},
                  {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "role": "assistant", "content": []}},
                  {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "hé"},
                  {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "llo"},
                  {"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "call_id": "t", "name": "f", "arguments": ""}},
                  {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"a"'},
                  {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": ":1}"},
                  {"type": "response.completed", "response": {"id": "c1", "model": "gpt", "usage": {"input_tokens": 1, "output_tokens": 2}}}],
}  # fmt: skip


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_recorded_streams(tmp_path: Path, kind: str, end: str) -> None:
    frames = "".join(
        f"data:{' ' if i % 2 else ''}{json.dumps(event, ensure_ascii=False)}{end}{end}"
        for i, event in enumerate(STREAMS[kind])
    )
    found, _ = take(tmp_path, f": keep-alive{end}{end}{frames}data: [DONE]{end}{end}" * 2, "capture.txt")
    assert len(found) == 2
    for each in found:
        assert (each.id, each.model, each.input_tokens, each.output_tokens) == ("c1", "gpt", 1, 2)
        assert said(each) == [("model", "héllo")]
        assert [(call.name, call.arguments, call.id) for call in each.calls] == [("f", '{"a":1}', "t")]
        assert "prompt_not_logged" in {row.reason for row in each.unjudged}


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_a_line_an_event(tmp_path: Path, kind: str) -> None:
    found = one(tmp_path, "\n".join(json.dumps(event) for event in STREAMS[kind]))
    assert said(found) == [("model", "héllo")] and found.calls[0].arguments == '{"a":1}'


def test_ollama_lines(tmp_path: Path) -> None:
    lines = [{"model": "llama", "created_at": "2026-03-02T08:00:00Z", "message": {"role": "assistant", "content": "he"}, "done": False},
             {"model": "llama", "message": {"content": "llo"}, "done": True, "eval_count": 2}]  # fmt: skip
    found, _ = take(tmp_path, "\n".join(map(json.dumps, lines * 2)))
    assert [said(each) for each in found] == [[("model", "hello")]] * 2
    assert found[0].time == 1772438400.0 and found[0].output_tokens == 2


def test_whole_file_documents(tmp_path: Path) -> None:
    records = [{"id": str(i), "request": CHAT, "response": REPLY} for i in range(3)]
    for indent in (None, 1):
        for content in (records, {"data": records}):
            found, _ = take(tmp_path, json.dumps(content, indent=indent), "all.json")
            assert [(each.id, said(each)) for each in found] == [(str(i), THREE) for i in range(3)]
    messages = json.dumps([*CHAT["messages"], {"role": "assistant", "content": "hello"}], indent=2)
    assert said(one(tmp_path, messages, "chat.json")) == THREE
    assert [e.id for e in take(tmp_path, json.dumps([{"messages": CHAT["messages"]}] * 2, indent=0))[0]] == [
        "log.jsonl:2",
        "log.jsonl:14",
    ]


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: zstandard.ZstdCompressor().compress(data)])
def test_packed(tmp_path: Path, pack: Any) -> None:
    assert said(one(tmp_path, pack(json.dumps({"request": CHAT, "response": REPLY}).encode()), "log.dat")) == THREE


CSV = "event_id,timestamp,account_id,amount,country,decision,fraud_score\nt1,2026-03-02 08:00:00,acc1,12.5,DE,approve,0.12\nt2,2026-03-02 08:00:01,acc2,,FR,decline,0.93\n"


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_tables(tmp_path: Path, delimiter: str) -> None:
    found, _ = take(tmp_path, CSV.replace(",", delimiter), "scores.csv")
    first, second = found
    assert (first.protocol, first.id, first.identity, first.time, first.time_zone_known, first.line) == (
        "predictive",
        "t1",
        "acc1",
        1772438400.0,
        False,
        2,
    )
    assert first.prediction is not None and second.prediction is not None
    assert (first.prediction.features, first.prediction.decision, first.prediction.score) == (
        {"amount": 12.5, "country": "DE"},
        "approve",
        0.12,
    )
    assert second.prediction.features["amount"] is None


def test_feature_rows(tmp_path: Path) -> None:
    rows = [{"id": "a", "ts": 1772438400, "caller": "c", "features": {"x": 1, "y": "z"}, "prediction": "deny", "probability": [0.2, 0.8]},
            {"id": "a", "ts": 1772438400, "caller": "c", "x": 1, "y": "z", "decision": "deny", "score": 0.8},
            {"id": "a", "ts": 1772438400, "caller": "c", "instances": [{"x": 1, "y": "z"}], "predictions": [{"label": "deny", "score": 0.8}]},
            {"id": "a", "ts": 1772438400, "caller": "c", "request": '{"x": 1, "y": "z"}', "response": '{"label": "deny", "score": 0.8}'}]  # fmt: skip
    for row in rows:
        found = one(tmp_path, row)
        assert (found.protocol, found.id, found.identity) == ("predictive", "a", "c"), row
        assert found.prediction is not None
        assert (found.prediction.features, found.prediction.decision, found.prediction.score) == (
            {"x": 1.0, "y": "z"},
            "deny",
            0.8,
        ), row


def test_sagemaker(tmp_path: Path) -> None:
    record = {"captureData": {"endpointInput": {"data": "1,2.5,x", "encoding": "CSV"}, "endpointOutput": {"data": "0.93", "encoding": "CSV"}},
              "eventMetadata": {"eventId": "e1", "inferenceTime": "2026-03-02T08:00:00Z"}, "eventVersion": "0"}  # fmt: skip
    found = one(tmp_path, record)
    assert found.prediction is not None
    assert (found.id, found.prediction.features, found.prediction.score) == (
        "e1",
        {"f0": 1.0, "f1": 2.5, "f2": "x"},
        0.93,
    )


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"id": ["a", "b"], "amount": [1.5, 2.5], "decision": ["yes", "no"], "score": [0.1, 0.9]})
    parquet.write_table(table, tmp_path / "x.parquet")
    notes: list[Coverage] = []
    found = list(read(tmp_path / "x.parquet", "x.parquet", notes.append))
    assert [(e.id, e.line, e.prediction.decision if e.prediction else "") for e in found] == [
        ("a", 1, "yes"),
        ("b", 2, "no"),
    ]
    chats = pa.table({"id": ["a"], "messages": [[{"role": "user", "content": "hi"}]]})
    parquet.write_table(chats, tmp_path / "y.parquet")
    assert [said(e) for e in read(tmp_path / "y.parquet", "y.parquet", notes.append)] == [[("user", "hi")]]
    (tmp_path / "z.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:100])
    assert not list(read(tmp_path / "z.parquet", "z.parquet", notes.append)) and notes[-1].reason == "unreadable"


def test_chat_in_a_table(tmp_path: Path) -> None:
    found = one(
        tmp_path, 'time,user,prompt,response\n2026-03-02T08:00:00Z,u,"tell me,\nplease",hello there\n', "chat.csv"
    )
    assert said(found) == [("user", "tell me,\nplease"), ("model", "hello there")] and found.identity == "u"


def test_context_pasted_into_a_prompt_is_a_document(tmp_path: Path) -> None:
    found = one(
        tmp_path, {"messages": [{"role": "user", "content": "Use this.\n<context>\nsome page\n</context>\nWhat now?"}]}
    )
    assert [(t.origin, t.trust) for t in found.texts] == [
        (Origin.user, Trust.user),
        (Origin.document, Trust.third_party),
        (Origin.user, Trust.user),  # the end tag by itself: it is none of the user's words
        (Origin.user, Trust.user),
    ]


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [("x", b"", "empty"), ("x", b"PAR1....", "parquet"), ("x", b"\0\1\2", "binary"), ("x.log", b"hello world\n", "unknown"), ("x", b'{"a":1}\n{"b":2}\n', "jsonl"),
     ("x", b'[\n{"a":1}\n]', "json"), ("x", b'[\n {"role":"user"}\n]', "messages"), ("x", b"event: x\ndata: {}\n\n", "sse"), ("x.csv", b"a,b\n1,2\n", "table")],
)  # fmt: skip
def test_recognise(name: str, head: bytes, kind: str) -> None:
    assert recognise(name, head) == kind
