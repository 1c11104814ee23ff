"""Frames of streamed replies: every dialect, cut at every byte, read and written back."""

from __future__ import annotations

import json
from base64 import b64encode
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.wire import frames as module
from afterguard.wire.eventstream import encode, parse
from afterguard.wire.frames import Frame, framer


def sse(*events: Any, names: bool = False, end: bytes = b"\n") -> bytes:
    out = []
    for event in events:
        name = f"event: {event['type']}".encode() + end if names and isinstance(event, dict) else b""
        data = event.encode() if isinstance(event, str) else json.dumps(event, separators=(",", ":")).encode()
        out.append(name + b"data: " + data + end + end)
    return b"".join(out)


def chunk(*choices: Any, **more: Any) -> dict[str, Any]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "gpt-4o"}
    return {**base, "choices": list(choices), **more}


def choice(delta: Any, index: int = 0, reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}


def call(index: int | None, arguments: str, identifier: str = "", name: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {} if index is None else {"index": index}
    if identifier:
        out |= {"id": identifier, "type": "function"}
    return out | {"function": {"name": name, "arguments": arguments} if name else {"arguments": arguments}}


CHAT = b": open\n\n" + sse(
    chunk(choice({"role": "assistant", "content": ""}), choice({"role": "assistant", "content": ""}, 1)),
    chunk(choice({"content": "Grüße"})),
    chunk(choice({"content": "Other"}, 1)),
    chunk(choice({"content": " an 😀"}), choice({"content": " one"}, 1)),
    chunk(choice({}, reason="stop"), choice({}, 1, "stop")),
    chunk(usage={"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}),
    "[DONE]",
)
CALLS = sse(
    chunk(choice({"role": "assistant", "content": None, "tool_calls": [call(0, "", "call_a", "send")]})),
    chunk(choice({"tool_calls": [call(0, '{"to":')]})),
    chunk(choice({"tool_calls": [call(0, '"x"}')]})),
    chunk(choice({"tool_calls": [call(1, "", "call_b", "read")]})),
    chunk(choice({"tool_calls": [call(1, "{}")]})),
    chunk(choice({}, reason="tool_calls")),
    "[DONE]",
)
SAME_INDEX = sse(
    chunk(choice({"tool_calls": [call(0, '{"a":1}', "call_a", "send")]})),
    chunk(choice({"tool_calls": [call(0, '{"b":2}', "call_b", "read")]})),
    chunk(choice({}, reason="tool_calls")),
)
NO_IDS = sse(
    chunk(choice({"tool_calls": [call(0, '{"a"', "", "send")]})),
    chunk(choice({"tool_calls": [call(0, ":1}")]})),
    chunk(choice({}, reason="tool_calls")),
)
LEGACY = sse(
    {"object": "text_completion", "choices": [{"text": "Hel", "index": 0, "finish_reason": None}]},
    {"object": "text_completion", "choices": [{"text": "lo", "index": 0}, {"text": "Hi", "index": 1}]},
    {"object": "text_completion", "choices": [{"text": "", "index": 0, "finish_reason": "length"}]},
)
REASONED = sse(
    chunk(choice({"reasoning_content": "Let me"})),
    chunk(choice({"reasoning_content": " think"})),
    chunk(choice({"content": "Done"})),
    chunk(choice({}, reason="stop")),
)
ANTHROPIC = sse(
    {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm, let"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqoB=="}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "I will"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " send"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "send", "input": {}}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"to": '}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '"x"}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 15}},
    {"type": "message_stop"},
    names=True,
)  # fmt: skip
ITEM = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "send", "arguments": ""}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "content": []}
SAID = {"type": "output_text", "text": "Hello you", "annotations": []}
RESPONSES = sse(
    {"type": "response.created", "response": {"id": "resp_1", "output": []}},
    {"type": "response.output_item.added", "output_index": 0, "item": MESSAGE},
    {"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": {**SAID, "text": ""}},
    {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "Hello"},
    {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": " you", "logprobs": [{"token": " you"}]},
    {"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "text": "Hello you"},
    {"type": "response.content_part.done", "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": SAID},
    {"type": "response.output_item.done", "output_index": 0, "item": {**MESSAGE, "content": [SAID]}},
    {"type": "response.output_item.added", "output_index": 1, "item": ITEM},
    {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 1, "delta": '{"to":'},
    {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "output_index": 1, "delta": '"x"}'},
    {"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 1, "arguments": '{"to":"x"}'},
    {"type": "response.output_item.done", "output_index": 1, "item": {**ITEM, "arguments": '{"to":"x"}'}},
    {"type": "response.completed", "response": {"id": "resp_1", "output": [{**MESSAGE, "content": [SAID]}, {**ITEM, "arguments": '{"to":"x"}'}]}},
    names=True,
)  # fmt: skip


def part(*parts: Any, reason: str = "") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})], "modelVersion": "gemini-2.5-pro"}


GEMINI_EVENTS = [
    part({"text": "Thinking it", "thought": True}),
    part({"text": "Here "}),
    part({"text": "you are", "thoughtSignature": "CpcB"}),
    part({"functionCall": {"name": "send", "args": {"to": "x", "n": 1.50}}, "thoughtSignature": "CpcC"}, reason="STOP"),
    {"usageMetadata": {"totalTokenCount": 9}},
]
GEMINI = sse(*GEMINI_EVENTS, end=b"\r\n")
ARRAY = b"[" + b",\r\n".join(json.dumps(event, indent=2).encode() for event in GEMINI_EVENTS) + b"\n]\n"
OLLAMA = b"".join(
    json.dumps({"model": "llama3", **line}).encode() + b"\n"
    for line in (
        {"message": {"role": "assistant", "content": "", "thinking": "Well"}, "done": False},
        {"message": {"role": "assistant", "content": "Hi"}, "done": False},
        {"message": {"role": "assistant", "content": " you"}, "done": False},
        {"message": {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "send", "arguments": {"to": "x"}}}]}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", "eval_count": 4},
    )
)  # fmt: skip


def message(name: str, payload: Any, kind: str = "event") -> bytes:
    body = json.dumps(payload, separators=(",", ":")).encode()
    return encode({":event-type": name, ":content-type": "application/json", ":message-type": kind}, body)


CONVERSE = b"".join(
    message(name, payload | {"p": "abcd"})
    for name, payload in (
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm so"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "Eq=="}}}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Hello"}}),
        ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": " you"}}),
        ("contentBlockStop", {"contentBlockIndex": 1}),
        ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t1", "name": "send"}}}),
        ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"to":"x"}'}}}),
        ("contentBlockStop", {"contentBlockIndex": 2}),
        ("messageStop", {"stopReason": "tool_use"}),
        ("metadata", {"usage": {"inputTokens": 1, "outputTokens": 2}}),
    )
)
INVOKE = b"".join(
    message("chunk", {"bytes": b64encode(event.partition(b"data: ")[2].strip()).decode(), "p": "ab"})
    for event in ANTHROPIC.split(b"\n\n")
    if event
)
MCP = (
    b"event: message\nid: 1\ndata: "
    + json.dumps(
        {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "42 rows"}], "isError": False}}
    ).encode()
    + b"\n\n"
)
PLAIN = b"data: Hello\n\ndata:  you\ndata: there\n\n: alive\n\ndata: [DONE]\n\n"
TGI = sse({"token": {"id": 1, "text": "Hel"}}, {"token": {"id": 2, "text": "lo"}, "generated_text": "Hello"})
EVENTS = "text/event-stream; charset=utf-8"
BINARY = "application/vnd.amazon.eventstream"
SPOKEN = {"block:0": "Hm, let", "block:1": "I will send", "block:2": '{"to": "x"}'}

STREAMS: dict[str, tuple[str, str, bytes, dict[str, str], list[str]]] = {
    "chat": ("openai", EVENTS, CHAT, {"choice:0": "Grüße an 😀", "choice:1": "Other one"}, []),
    "calls": ("openai", EVENTS, CALLS, {"choice:0/call:0": '{"to":"x"}', "choice:0/call:1": "{}"}, ["send", "read"]),
    "same-index": ("openai", EVENTS, SAME_INDEX, {"choice:0/call:0": '{"a":1}', "choice:0/call:1": '{"b":2}'}, ["send", "read"]),
    "no-ids": ("openai", EVENTS, NO_IDS, {"choice:0/call:0": '{"a":1}'}, ["send"]),
    "legacy": ("openai", EVENTS, LEGACY, {"choice:0": "Hello", "choice:1": "Hi"}, []),
    "reasoned": ("openai", EVENTS, REASONED, {"choice:0/reasoning_content": "Let me think", "choice:0": "Done"}, []),
    "anthropic": ("anthropic", EVENTS, ANTHROPIC, SPOKEN, ["send"]),
    "responses": ("responses", EVENTS, RESPONSES, {"item:msg_1/0": "Hello you", "item:fc_1": '{"to":"x"}'}, ["send"]),
    "gemini": ("gemini", EVENTS, GEMINI, {"candidate:0/thought": "Thinking it", "candidate:0": "Here you are", "candidate:0/call:0": '{"to":"x","n":1.5}'}, ["send"]),
    "array": ("gemini", "application/json", ARRAY, {"candidate:0/thought": "Thinking it", "candidate:0": "Here you are", "candidate:0/call:0": '{"to":"x","n":1.5}'}, ["send"]),
    "ollama": ("ollama", "application/x-ndjson", OLLAMA, {"message/thinking": "Well", "message": "Hi you", "message/call:0": '{"to":"x"}'}, ["send"]),
    "converse": ("converse", BINARY, CONVERSE, {"block:0": "Hm so", "block:1": "Hello you", "block:2": '{"to":"x"}'}, ["send"]),
    "invoke": ("invoke", BINARY, INVOKE, SPOKEN, ["send"]),
    "mcp": ("mcp", EVENTS, MCP, {"message.result.content[0]/text": "42 rows"}, []),
    "plain": ("plain", EVENTS, PLAIN, {"plain": "Hello you\nthere"}, []),
    "tgi": ("plain", EVENTS, TGI, {"plain": "Hello"}, []),
}  # fmt: skip


def cut(dialect: str, kind: str, chunks: list[bytes]) -> list[Frame]:
    found = framer(dialect, kind)
    return [frame for chunk in chunks for frame in found.feed(chunk)] + found.close()


def seen(frames: list[Frame]) -> list[tuple[Any, ...]]:
    return [(f.raw, f.event, f.name, f.pieces, f.repeats, f.opens, f.closes, f.is_end, f.reason) for f in frames]


@pytest.mark.parametrize("name", STREAMS)
def test_what_is_said(name: str) -> None:
    dialect, kind, stream, said, opened = STREAMS[name]
    frames = cut(dialect, kind, [stream])
    assert b"".join(frame.raw for frame in frames) == stream
    grown: dict[str, str] = {}
    for frame in frames:
        for piece in frame.pieces:
            if piece.kind != "opaque":
                grown[piece.slot] = grown.get(piece.slot, "") + piece.text
    assert grown == said
    assert [name for frame in frames for _, name, _ in frame.opens] == opened
    assert not any(frame.reason for frame in frames)
    assert not framer(dialect, kind).unjudged


@pytest.mark.parametrize("name", STREAMS)
def test_cut_at_every_byte(name: str) -> None:
    dialect, kind, stream, _, _ = STREAMS[name]
    whole = seen(cut(dialect, kind, [stream]))
    for at in range(1, len(stream), 1 if len(stream) < 1500 else 5):
        assert seen(cut(dialect, kind, [stream[:at], stream[at:]])) == whole
    assert seen(cut(dialect, kind, [bytes((byte,)) for byte in stream])) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_rewriting_changes_only_the_strings(name: str) -> None:
    dialect, kind, stream, _, _ = STREAMS[name]
    for frame in cut(dialect, kind, [stream]):
        assert frame.rewritten({}) == frame.raw
        same = frame.rewritten({i: piece.text for i, piece in enumerate(frame.pieces) if piece.kind == "text"})
        if name not in ("chat", "responses", "invoke", "plain", "mcp"):
            assert same == frame.raw
        for i, piece in enumerate(frame.pieces):
            if piece.kind not in ("text", "reasoning"):
                continue
            again = cut(dialect, kind, [b"[" * (name == "array") + frame.rewritten({i: 'ab"\n<é'}).lstrip(b"[,\r\n")])
            (found,) = [f for f in again if f.pieces]
            assert found.pieces[i].text == 'ab"\n<é'


def test_endings() -> None:
    for name, frames in ((name, cut(*STREAMS[name][:2], [STREAMS[name][2]])) for name in STREAMS):
        if name not in ("same-index", "no-ids", "legacy", "reasoned", "gemini", "mcp", "tgi"):
            assert frames[-1].is_end, name
            assert not any(frame.is_end for frame in frames[:-1]), name


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("blank", [b"", b" "])
def test_line_ends_and_several_data_lines(end: bytes, blank: bytes) -> None:
    stream = end.join(
        (b"\xef\xbb\xbf: hi", b"event: x", b'data:%b{"text":' % blank, b'data:%b"one"}' % blank, b"", b"")
    )
    (frame,) = cut("plain", EVENTS, [stream])
    assert (frame.name, frame.event) == ("x", {"text": "one"})
    expected = end.join((b"\xef\xbb\xbf: hi", b"event: x", b'data:%b{"text": "two"}' % blank, b"", b""))
    assert frame.rewritten({0: "two"}) == expected


def test_last_frame_unterminated() -> None:
    (frame,) = cut("plain", EVENTS, [b'data: {"text":"on', b'e"}'])
    assert frame.pieces[0].text == "one" and frame.rewritten({0: "b"}) == b'data: {"text":"b"}'


def test_text_that_is_no_json() -> None:
    (frame,) = cut("openai", EVENTS, [b"id: 3\ndata: one\ndata: two\n\n"])
    assert frame.pieces[0].text == "one\ntwo" and frame.is_text
    assert frame.rewritten({0: "a\nb\nc"}) == b"id: 3\ndata: a\ndata: b\ndata: c\n\n"
    (frame,) = cut("openai", EVENTS, [b'data: "a string"\n\n'])
    assert frame.pieces[0].text == "a string" and frame.rewritten({0: "b"}) == b'data: "b"\n\n'


def test_logprobs_do_not_repeat_what_was_changed() -> None:
    event = chunk({"index": 0, "delta": {"content": "secret"}, "logprobs": {"content": [{"token": "secret"}]}})
    (frame,) = cut("openai", EVENTS, [sse(event)])
    assert b"secret" not in frame.rewritten({0: "x"})


def test_mended_json_is_read_and_written_anew() -> None:
    raw = b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d b"},"x":NaN}]}\n\n'
    (frame,) = cut("openai", EVENTS, [raw])
    assert frame.raw == raw and frame.pieces[0].text == "a\ufffd b"
    assert json.loads(frame.rewritten({0: "new"})[6:])["choices"][0]["delta"]["content"] == "new"
    twice = b'data: {"choices":[{"index":0,"delta":{"content":"a","content":"secret"}}]}\n\n'
    (frame,) = cut("openai", EVENTS, [twice])
    assert b"secret" not in frame.rewritten({0: "new"})


def test_binary_headers_and_padding_stay() -> None:
    frames = cut("converse", BINARY, [CONVERSE])
    frame = next(frame for frame in frames if frame.pieces and frame.pieces[0].kind == "text")
    (again,) = cut("converse", BINARY, [frame.rewritten({0: "other"})])
    assert again.pieces[0].text == "other" and again.event["p"] == "abcd" and again.name == "contentBlockDelta"
    assert parse(frame.raw[12:])[":event-type"] == "contentBlockDelta"


def test_what_cannot_be_read_passes_and_is_counted() -> None:
    for kind in ("application/octet-stream", "", "audio/mpeg"):
        found = framer("openai", kind)
        assert [frame.raw for frame in found.feed(b"abc")] == [b"abc"]
        assert [(row.reason, row.bytes) for row in found.unjudged] == [("unknown_stream", 3)]
    found = framer("openai", EVENTS)
    (frame,) = found.feed(b'data: {"odd": [1]}\n\n')
    assert frame.reason == "unknown_shape" and found.unjudged[0].reason == "unknown_shape"
    found = framer("openai", EVENTS)
    assert found.feed(b'data: {"type":"message_stop"}\n\n')[0].is_end


@pytest.mark.parametrize("kind", [EVENTS, "application/x-ndjson", "application/json", BINARY])
def test_too_long_passes_in_pieces(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CAP", 2000)
    long = {"candidates": [{"content": {"parts": [{"text": "y" * 9000}]}}]}
    short = part({"text": "short"})
    stream = {
        EVENTS: sse(long, short),
        "application/x-ndjson": b"".join(json.dumps(x).encode() + b"\n" for x in (long, short)),
        "application/json": json.dumps([long, short]).encode(),
        BINARY: message("x", long) + message("x", short),
    }[kind]
    found = framer("gemini", kind)
    frames = []
    for at in range(0, len(stream), 700):
        frames += found.feed(stream[at : at + 700])
        for name in ("held", "elements", "messages"):
            owner = getattr(found, name, b"")
            assert len(getattr(owner, "held", owner)) <= 3000
    frames += found.close()
    assert b"".join(frame.raw for frame in frames) == stream
    assert [row.reason for row in found.unjudged] == ["too_long"]
    assert [piece.text for frame in frames for piece in frame.pieces] == ["short"]


JSONISH = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "index",
                    "type",
                    "item",
                    "candidates",
                    "content",
                    "parts",
                    "message",
                    "text",
                    "output",
                    "tool_calls",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(STREAMS)), st.lists(JSONISH, max_size=3))
def test_odd_json_never_raises(name: str, values: list[Any]) -> None:
    dialect = STREAMS[name][0]
    for frame in cut(dialect, EVENTS, [sse(*(json.dumps(value) for value in values))]):
        frame.rewritten(dict.fromkeys(range(len(frame.pieces) + len(frame.repeats)), "x"))


@settings(deadline=None)
@given(st.sampled_from(sorted({s[:2] for s in STREAMS.values()})), st.lists(st.binary(max_size=40), max_size=12))
def test_any_bytes(kind: tuple[str, str], chunks: list[bytes]) -> None:
    frames = cut(*kind, chunks)
    assert b"".join(frame.raw for frame in frames) == b"".join(chunks)


@settings(deadline=None)
@given(st.sampled_from(sorted(STREAMS)), st.data())
def test_cut_often_and_broken(name: str, data: st.DataObject) -> None:
    dialect, kind, stream, _, _ = STREAMS[name]
    at, byte = data.draw(st.integers(0, len(stream) - 1)), data.draw(st.integers(0, 255))
    broken = stream[:at] + bytes((byte,)) + stream[at + data.draw(st.integers(0, 2)) :]
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(broken)), max_size=8))), len(broken)]
    frames = cut(dialect, kind, [broken[a:b] for a, b in pairwise(cuts)])
    assert b"".join(frame.raw for frame in frames) == broken
    if not any(frame.reason for frame in frames):
        assert seen(frames) == seen(cut(dialect, kind, [broken]))
