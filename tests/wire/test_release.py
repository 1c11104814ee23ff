"""What of a stream may leave: nothing too early, nothing twice, and the same bytes where nothing was to change."""

from __future__ import annotations

import json
import re
import timeit
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.wire import release as module
from afterguard.wire.eventstream import encode
from afterguard.wire.frames import Frame, framer
from afterguard.wire.release import DROP, Drop, Edit, Look, Release, edited, fit

EVENTS = "text/event-stream"
BINARY = "application/vnd.amazon.eventstream"
SECRET = re.compile(
    r"sk-[A-Za-z0-9]{6,}|\b\d{4}(?: \d{4}){3}\b|[\w.]+@[\w.]+\.com|!?\[[^\]]*\]\([^)]*\)|<img[^>]*>"
    r"|-----BEGIN[^-]*-----[^-]*-----END[^-]*-----"
)


def nothing(slot: str, kind: str, text: str, is_whole: bool) -> list[Edit]:
    return []


def secrets(slot: str, kind: str, text: str, is_whole: bool) -> list[Edit]:
    return [(found.start(), found.end(), "***") for found in SECRET.finditer(text)]


def sse(*events: Any) -> bytes:
    out = []
    for event in events:
        name = f"event: {event['type']}\n".encode() if isinstance(event, dict) and "type" in event else b""
        out.append(name + b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n")
    return b"".join(out)


def chat(delta: Any, reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    one = {"index": index, "delta": delta, "finish_reason": reason}
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [one], **more}


def spoken(*pieces: str, index: int = 0) -> list[dict[str, Any]]:
    return [chat({"content": piece}, index=index) for piece in pieces]


def frames(stream: bytes, dialect: str = "openai", kind: str = EVENTS) -> list[Frame]:
    found = framer(dialect, kind)
    return found.feed(stream) + found.close()


def sent(stream: bytes, look: Look, dialect: str = "openai", kind: str = EVENTS, **options: Any) -> bytes:
    release = Release(look, **options)
    out = [part for frame in frames(stream, dialect, kind) for part in release.feed(frame)] + release.finish()
    assert release.held == 0
    return b"".join(out)


def events(stream: bytes, dialect: str = "openai", kind: str = EVENTS) -> list[Any]:
    return [frame.event for frame in frames(stream, dialect, kind) if frame.event is not None]


def said(stream: bytes, key: str = "content") -> str:
    deltas = [choice["delta"] for event in events(stream) for choice in event["choices"]]
    return "".join(delta.get(key) or "" for delta in deltas)


def dropping(*names: str) -> Look:
    return lambda slot, kind, text, is_whole: DROP if kind == "arguments" and (slot in names or not names) else []


# -- prose


def test_a_word_is_held_until_it_is_complete() -> None:
    release = Release(nothing)
    stream = frames(sse(*spoken("Hello", " there", ",", " you", " 42"), chat({}, "stop"), "[DONE]"))
    counts = [len(release.feed(frame)) for frame in stream]
    assert counts == [0, 1, 0, 2, 1, 2, 1]
    assert not release.finish()


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("The quick brown", "The quick"),
        ("It costs 4111 1111 1111", "It costs"),
        ("It costs 4111 1111 euros today", "It costs 4111 1111 euros"),
        ("see [the big docs](http", "see"),
        ("see [the docs](http://x) and more", "see [the docs](http://x) and"),
        ("in [brackets] only now", "in [brackets] only"),
        ("look <img src=x alt=the big one", "look"),
        ("if a < b then do", "if a < b then"),
        ("mail bob@example.com", "mail"),
        ("don't stop well-known things", "don't stop well-known"),
        ('he said "Fine," and left', 'he said "Fine," and'),
        ("key AbCdEf gHiJ", "key"),
        ("-----BEGIN PRIVATE KEY-----\nabcd efgh\n", ""),
        ("请联系客服", "请联系客"),
        ("请联系abc", "请联"),
        ("Привет большой мир", "Привет большой"),
        ("x" * 31 + " y", ""),
        ("`rm all of it", "`rm all of"),
        ("Grüße über Straßen", "Grüße über"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_where_the_boundary_is(text: str, free: str, size: int) -> None:
    slot = module.Prose("s", "text", ())
    for at in range(0, len(text), size):
        slot.move(slot.add(text[at : at + size], 8192))
    assert text[: slot.safe].rstrip() == free


WORDS = st.sampled_from(
    [*"the and Hello, say. don't 42 4111 1111 A1b2 ok! (see) [note] x@y.com sk-abc123def \n\n 中文字 a<b <b> bold </b> Ünder -- - `ls`".split(" "),  # noqa: SIM905
       "4111 1111 1111 1111", "[click here now](http://evil.com/?q=the data)", "![a b](http://e.com/x y)", '<img src="http://e/?d=1 2">',
       "-----BEGIN RSA KEY-----\nabcd EFGH\nnot a word\n-----END RSA KEY-----", "bob.smith@example.com", "sk-ABCDEFGHIJ0123"]
)  # fmt: skip
PIECES = st.lists(st.integers(1, 9), min_size=1, max_size=200)


@settings(deadline=None, max_examples=300)
@given(st.lists(WORDS, max_size=25), PIECES)
def test_as_if_the_whole_text_were_known(words: list[str], sizes: list[int]) -> None:
    text = " ".join(words)
    pieces, at = [], 0
    for n in range(len(text)):
        pieces.append(text[at : at + sizes[n % len(sizes)]])
        at += len(pieces[-1])
    stream = sse(*spoken(*filter(None, pieces)), chat({}, "stop"), "[DONE]")
    out = sent(stream, secrets)
    assert said(out) == SECRET.sub("***", text)
    assert sent(stream, nothing) == stream


def test_nothing_of_a_secret_leaves_early() -> None:
    for stop in range(1, 20):
        release = Release(secrets)
        out = b"".join(
            part for frame in frames(sse(*spoken(*"key: sk-ABCDEFGH0123 "[: 5 + stop]))) for part in release.feed(frame)
        )
        assert said(out) in ("", "key:", "key: ")


def test_an_edit_over_several_frames() -> None:
    out = sent(sse(*spoken("Key sk-", "ABCD", "EFG12", "3 is it"), chat({}, "stop")), secrets)
    assert [event["choices"][0]["delta"].get("content") for event in events(out)] == ["Key ***", "", "", " is it", None]


def test_held_no_longer_than_the_cap() -> None:
    release = Release(nothing, hold=800)
    most = 0
    for frame in frames(sse(*spoken(*["aB3d"] * 2000))):
        release.feed(frame)
        most = max(most, len(release._frames))
    assert 170 <= most <= 201


def test_prefixes_are_not_split() -> None:
    for piece in ("Alex Moreton", "Zoë"):
        seen: list[str] = []
        release = Release(nothing, prefixes=["Alex Morgan", "Zoë"])
        for frame in frames(sse(*spoken(*"ask Alex Morgan about Zoë please now"))):
            seen.append(said(b"".join(release.feed(frame))))
        text = ""
        for part in seen:
            text += part
            assert not any(text.endswith(" " + "Alex Morgan"[:n]) for n in range(1, 11)), piece
        assert text == "ask Alex Morgan about Zoë please"


def test_what_look_is_given() -> None:
    calls: list[tuple[str, int, int, int, bool]] = []

    def look(slot: str, kind: str, text: str, is_whole: bool) -> list[Edit]:
        calls.append((text, release.at, release.fresh, release.upto, is_whole))
        return []

    release = Release(look)
    text = "word " * 400 + "word"
    for frame in frames(sse(*spoken(*re.findall(r"\w+ ?", text)), chat({}, "stop"))):
        release.feed(frame)
    places = [(at + fresh, at + upto) for _, at, fresh, upto, _ in calls]
    assert places[0][0] == 0 and all(a[1] == b[0] for a, b in pairwise(places)) and places[-1][1] == len(text)
    assert all(text[at : at + len(given)] == given and fresh <= 256 for given, at, fresh, _, _ in calls)
    assert [is_whole for *_, is_whole in calls] == [False] * (len(calls) - 1) + [True]


def test_an_edit_across_the_boundary_holds_it_back() -> None:
    def look(slot: str, kind: str, text: str, is_whole: bool) -> list[Edit]:
        return [(f.start(), f.end(), "NAME") for f in re.finditer(r"Main( Street( Nine)?)?", text)]

    assert said(sent(sse(*spoken("at Main", " Street", " Nine", " now"), chat({}, "stop")), look)) == "at NAME now"


def test_choices_grow_apart() -> None:
    pieces = [chat({"content": a}, index=i) for a in ("sk-", "ABCDEF", "0123") for i in (0, 1, 2)]
    out = sent(sse(*pieces, *(chat({}, "stop", i) for i in range(3))), secrets)
    assert said(out) == "***" * 3


def test_reasoning_ends_where_the_answer_begins() -> None:
    stream = sse(chat({"reasoning_content": "sk-"}), chat({"reasoning_content": "ABCDEF1"}), *spoken("Fine", " now"))
    release = Release(secrets)
    out = b"".join(part for frame in frames(stream) for part in release.feed(frame))
    assert said(out, "reasoning_content") == "***" and said(out) == "Fine"


def test_a_usage_only_last_chunk_and_comments_keep_their_place() -> None:
    stream = (
        sse(*spoken("a 12")) + b": ping\n\n" + sse({"id": "c", "choices": [], "usage": {"total_tokens": 1}}, "[DONE]")
    )
    assert sent(stream, nothing) == stream


def test_text_without_json() -> None:
    stream = b"data: Your key\n\ndata:  sk-ABCD\n\ndata: EFGH12\n\ndata: [DONE]\n\n"
    assert sent(stream, secrets, "plain") == b"data: Your key\n\ndata:  ***\n\ndata: \n\ndata: [DONE]\n\n"


def test_failing_open_gives_all_that_waits() -> None:
    def broken(slot: str, kind: str, text: str, is_whole: bool) -> list[Edit]:
        if "two" in text:
            raise RuntimeError
        return secrets(slot, kind, text, is_whole)

    stream = sse(*spoken("sk-ABCDEF1 ", "12"), chat({"tool_calls": [tool(0, "{", "a", "f")]}), *spoken(" one", " two"))
    release = Release(broken)
    found = frames(stream)
    for frame in found[:4]:
        assert not release.feed(frame)
    with pytest.raises(RuntimeError):
        release.feed(found[4])
    assert b"".join(release.drain()) == stream and release.held == 0


# -- calls


def tool(index: int, arguments: str = "", identifier: str = "", name: str = "") -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": identifier, "type": "function"} if identifier else {})


TWO_CALLS = [
    chat({"role": "assistant", "content": None, "tool_calls": [tool(0, "", "a", "send")]}),
    chat({"tool_calls": [tool(0, '{"to":"sk-ABC')]}),
    chat({"tool_calls": [tool(0, 'DEF1","n":1.50}')]}),
    chat({"tool_calls": [tool(1, "", "b", "read")]}),
    chat({"tool_calls": [tool(1, "{}")]}),
    chat({}, "tool_calls"),
]


def calls_of(stream: bytes) -> dict[int, list[str]]:
    """Calls as the SDKs put them together: by index."""
    out: dict[int, list[str]] = {}
    for event in events(stream):
        for choice in event["choices"]:
            for one in choice["delta"].get("tool_calls", ()):
                found = out.setdefault(one["index"], ["", "", ""])
                found[0] += one.get("id", "")
                found[1] += one["function"].get("name", "")
                found[2] += one["function"].get("arguments", "")
    return out


def test_a_call_is_held_until_it_is_whole() -> None:
    asked: list[tuple[str, str, bool]] = []

    def look(slot: str, kind: str, text: str, is_whole: bool) -> list[Edit]:
        asked.append((slot, text, is_whole))
        return []

    release = Release(look)
    assert [len(release.feed(frame)) for frame in frames(sse(*TWO_CALLS, "[DONE]"))] == [0, 0, 0, 3, 0, 3, 1]
    assert asked == [("choice:0/call:0", '{"to":"sk-ABCDEF1","n":1.50}', True), ("choice:0/call:1", "{}", True)]


def test_arguments_are_edited_inside_their_json() -> None:
    def look(slot: str, kind: str, text: str, is_whole: bool) -> list[Edit]:
        return [(f.start(), f.end(), 'q"\n') for f in SECRET.finditer(text)]

    out = calls_of(sent(sse(*TWO_CALLS), look))
    assert out[0] == ["a", "send", '{"to":"q\\"\\n","n":1.50}'] and out[1] == ["b", "read", "{}"]


def test_edits_that_would_break_the_json_take_the_call_out() -> None:
    assert fit('{"a":1}', [(4, 5, "x")]) is None
    assert fit("no json", [(0, 2, "x")]) == [(0, 2, "x")]
    assert calls_of(sent(sse(*TWO_CALLS), lambda s, k, t, w: [(5, 6, "")] if len(t) > 2 else [])) == {
        0: ["b", "read", "{}"]
    }


def test_chat_calls_are_taken_out() -> None:
    out = sent(sse(*TWO_CALLS, "[DONE]"), dropping("choice:0/call:0"))
    assert calls_of(out) == {0: ["b", "read", "{}"]} and events(out)[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert events(out)[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    out = sent(sse(*TWO_CALLS, "[DONE]"), dropping("choice:0/call:1"))
    assert list(calls_of(out)) == [0] and b"read" not in out
    out = sent(sse(*TWO_CALLS, "[DONE]"), dropping())
    assert [e["choices"][0]["finish_reason"] for e in events(out)] == [None, "stop"] and out.endswith(b"[DONE]\n\n")
    assert b"tool_calls" not in out


def test_calls_that_share_an_index_and_calls_in_one_frame() -> None:
    stream = sse(
        chat({"tool_calls": [tool(0, "{}", "a", "send")]}),
        chat({"tool_calls": [tool(0, "{}", "b", "read")]}),
        chat({}, "tool_calls"),
    )
    assert calls_of(sent(stream, dropping("choice:0/call:0"))) == {0: ["b", "read", "{}"]}
    both = sse(chat({"tool_calls": [tool(0, "{}", "a", "send"), tool(1, "{}", "b", "read")]}), chat({}, "tool_calls"))
    assert calls_of(sent(both, dropping("choice:0/call:0"))) == {0: ["b", "read", "{}"]}
    assert sent(stream, nothing) == stream and sent(both, nothing) == both


def test_a_call_that_goes_on_after_the_next_began_is_judged_again() -> None:
    stream = sse(
        chat({"tool_calls": [tool(0, '{"to":', "a", "send")]}),
        chat({"tool_calls": [tool(1, '{"x":', "b", "read")]}),
        chat({"tool_calls": [tool(0, '"evil"}')]}),
        chat({"tool_calls": [tool(1, "1}")]}),
        chat({}, "tool_calls"),
    )
    assert sent(stream, nothing) == stream
    out = sent(stream, lambda s, k, t, w: DROP if "evil" in t else [])
    assert b"evil" not in out and b"read" in out


def test_function_call_of_old() -> None:
    stream = sse(
        chat({"role": "assistant", "content": None, "function_call": {"name": "send", "arguments": ""}}),
        chat({"function_call": {"arguments": "{}"}}),
        chat({}, "function_call"),
    )
    out = events(sent(stream, dropping()))
    assert "function_call" not in json.dumps(out) and out[-1]["choices"][0]["finish_reason"] == "stop"
    assert sent(stream, nothing) == stream


def blocks(*kinds: str) -> bytes:
    out: list[dict[str, Any]] = [{"type": "message_start", "message": {"id": "m", "content": []}}]
    for index, kind in enumerate(kinds):
        block = (
            {"type": "tool_use", "id": f"t{index}", "name": kind, "input": {}}
            if kind != "text"
            else {"type": "text", "text": ""}
        )
        delta = (
            {"type": "input_json_delta", "partial_json": '{"a":1}'}
            if kind != "text"
            else {"type": "text_delta", "text": "Hi 1"}
        )
        out += (
            {"type": "content_block_start", "index": index, "content_block": block},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        )
    out += ({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}, {"type": "message_stop"})
    return sse(*out)


def test_anthropic_calls_are_taken_out_and_indexes_have_no_gap() -> None:
    stream = blocks("text", "send", "text", "read")
    out = events(sent(stream, dropping("block:1"), "anthropic"), "anthropic")
    starts = [(e["index"], e["content_block"].get("name")) for e in out if e["type"] == "content_block_start"]
    assert starts == [(0, None), (1, None), (2, "read")]
    assert [e["index"] for e in out if e["type"] == "content_block_stop"] == [0, 1, 2]
    assert out[-2]["delta"]["stop_reason"] == "tool_use"
    out = events(sent(stream, dropping(), "anthropic"), "anthropic")
    assert [e["index"] for e in out if e["type"] == "content_block_stop"] == [0, 1]
    assert out[-2]["delta"]["stop_reason"] == "end_turn"
    assert sent(stream, nothing, "anthropic") == stream


def test_signatures_are_never_looked_at_nor_changed() -> None:
    stream = sse(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "sk-ABCDEF1"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sk-ABCDEF1"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "sk-ABCDEF1"}},
        {"type": "content_block_stop", "index": 1},
    )  # fmt: skip
    out = events(sent(stream, secrets, "anthropic"), "anthropic")
    assert out[1]["delta"]["thinking"] == "***" and out[2]["delta"]["signature"] == "sk-ABCDEF1"
    assert out[4]["content_block"]["data"] == "sk-ABCDEF1"


def responses(arguments: str = '{"a":1}', text: str = "Key sk-ABCDEF1 ok", repeated: str = "") -> bytes:
    item = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "send", "arguments": ""}
    whole = item | {"arguments": arguments}
    message = {"type": "message", "id": "m_1", "role": "assistant", "content": []}
    part = {"type": "output_text", "text": repeated or text, "annotations": []}
    ids, spot = {"item_id": "fc_1", "output_index": 0}, {"item_id": "m_1", "output_index": 1, "content_index": 0}
    return sse(
        {"type": "response.created", "response": {"id": "r", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.function_call_arguments.delta", **ids, "delta": arguments[:3]},
        {"type": "response.function_call_arguments.delta", **ids, "delta": arguments[3:]},
        {"type": "response.function_call_arguments.done", **ids, "arguments": arguments},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.output_item.added", "output_index": 1, "item": message},
        {"type": "response.content_part.added", **spot, "part": part | {"text": ""}},
        {"type": "response.output_text.delta", **spot, "delta": text[:8]},
        {"type": "response.output_text.delta", **spot, "delta": text[8:]},
        {"type": "response.output_text.done", **spot, "text": repeated or text},
        {"type": "response.content_part.done", **spot, "part": part},
        {"type": "response.output_item.done", "output_index": 1, "item": message | {"content": [part]}},
        {"type": "response.completed", "response": {"id": "r", "output": [whole, message | {"content": [part]}]}},
    )


def test_what_responses_repeats_gets_the_same_edits() -> None:
    stream = responses('{"a":"sk-ABCDEF1"}')
    out = sent(stream, secrets, "responses")
    assert b"sk-" not in out and len(frames(out, "responses")) == len(frames(stream, "responses"))
    last = events(out)[-1]["response"]["output"]
    assert last[0]["arguments"] == '{"a":"***"}' and last[1]["content"][0]["text"] == "Key *** ok"
    assert sent(stream, nothing, "responses") == stream
    assert b"sk-OTHER11" not in sent(responses(repeated="sk-OTHER11"), secrets, "responses")


def test_responses_items_are_taken_out() -> None:
    out = events(sent(responses(), dropping(), "responses"), "responses")
    assert "fc_1" not in json.dumps(out)
    assert {event["output_index"] for event in out if "output_index" in event} == {0}
    assert [item["id"] for item in out[-1]["response"]["output"]] == ["m_1"]


GEMINI = {
    "candidates": [
        {
            "content": {
                "parts": [
                    {"text": "So"},
                    {"functionCall": {"name": "send", "args": {"to": "sk-ABCDEF1", "n": 1.50, "k": [1e3]}}},
                    {"functionCall": {"name": "read", "args": {}}},
                ]
            },
            "finishReason": "STOP",
        }
    ]
}


def test_gemini_calls() -> None:
    stream = sse(GEMINI)
    out = sent(stream, dropping("candidate:0/call:0"), "gemini")
    parts = events(out, "gemini")[0]["candidates"][0]["content"]["parts"]
    assert [part.get("functionCall", {}).get("name") for part in parts] == [None, "read"]
    raw = stream.replace(b"1000.0", b"1e3").replace(b"1.5,", b"1.50,")
    assert sent(raw, secrets, "gemini") == raw.replace(b"sk-ABCDEF1", b"***")
    array = b"[" + json.dumps(GEMINI).encode() + b",\n" + json.dumps(GEMINI).encode() + b"]"
    kept = json.loads(sent(array, dropping(), "gemini", "application/json"))
    assert [len(one["candidates"][0]["content"]["parts"]) for one in kept] == [1, 1]
    assert sent(array, nothing, "gemini", "application/json") == array


def test_ollama_calls() -> None:
    call = {"function": {"name": "send", "arguments": {"to": "sk-ABCDEF1"}}}
    lines = [
        {"model": "m", "message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ]
    stream = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    kind = "application/x-ndjson"
    assert sent(stream, nothing, "ollama", kind) == stream
    assert sent(stream, secrets, "ollama", kind) == stream.replace(b"sk-ABCDEF1", b"***")
    assert b"tool_calls" not in sent(stream, dropping(), "ollama", kind)


def test_converse_calls() -> None:
    def message(name: str, payload: Any) -> bytes:
        return encode({":event-type": name, ":message-type": "event"}, json.dumps(payload).encode())

    stream = b"".join(
        (
            message("messageStart", {"role": "assistant"}),
            message("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t", "name": "send"}}}),
            message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"a":'}}}),
            message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "1}"}}}),
            message("contentBlockStop", {"contentBlockIndex": 0}),
            message("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Key sk-ABC"}}),
            message("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "DEF1"}}),
            message("contentBlockStop", {"contentBlockIndex": 1}),
            message("messageStop", {"stopReason": "tool_use"}),
            message("metadata", {"usage": {}}),
        )
    )  # fmt: skip
    assert sent(stream, nothing, "converse", BINARY) == stream
    out = frames(sent(stream, dropping(), "converse", BINARY), "converse", BINARY)
    assert [frame.event.get("contentBlockIndex") for frame in out] == [None, 0, 0, 0, None, None]
    assert out[-2].event["stopReason"] == "end_turn" and not any(frame.reason for frame in out)
    out = frames(sent(stream, secrets, "converse", BINARY), "converse", BINARY)
    assert "".join(piece.text for frame in out for piece in frame.pieces) == '{"a":1}Key ***'


# -- bounds


def test_too_much_that_waits_is_let_go_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HELD_CAP", 20_000)
    stream = sse(
        chat({"tool_calls": [tool(0, '{"a":"', "a", "send")]}),
        *(chat({"tool_calls": [tool(0, "x" * 500)]}) for _ in range(200)),
    )
    release = Release(nothing)
    out = []
    for frame in frames(stream):
        out += release.feed(frame)
        assert release.held <= 20_000
    assert b"".join(out + release.finish()) == stream
    assert release.unjudged[0].reason == "too_long"


def cost(make: Callable[[int], Sequence[str]], count: int) -> float:
    stream = frames(sse(*spoken(*make(count))))

    def run() -> None:
        release = Release(nothing)
        for frame in stream:
            release.feed(frame)

    return min(timeit.repeat(run, number=1, repeat=3)) / len(stream)


@pytest.mark.parametrize(
    "piece", [" word", " 1234", "aB3", "[a b", "<a b", "-----BEGIN", "中文", "](", " \n", "[", "a-", "'", "  "]
)
def test_the_cost_of_a_chunk_does_not_grow(piece: str) -> None:
    few, many = (cost(lambda count: [piece] * count, count) for count in (300, 3_000))
    assert many < 5 * few, "ten times as many"


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=12), st.integers(0, 2), st.sampled_from(("content", "reasoning"))), max_size=20)
)
def test_any_text_in_any_slot(pieces: list[tuple[str, int, str]]) -> None:
    stream = sse(*(chat({key: text}, index=index) for text, index, key in pieces), "[DONE]")
    assert sent(stream, nothing, hold=64) == stream
    drop: Look = lambda *_: DROP  # noqa: E731
    assert sent(stream, drop) == stream


@given(
    st.text(max_size=30), st.lists(st.tuples(st.integers(-3, 35), st.integers(-3, 35), st.text(max_size=3)), max_size=4)
)
def test_odd_edits_never_raise(text: str, edits: list[Edit]) -> None:
    def look(slot: str, kind: str, given: str, is_whole: bool) -> list[Edit] | Drop:
        return edits

    stream = sse(*spoken(*text), chat({"tool_calls": [tool(0, json.dumps({"a": text}), "i", "f")]}), chat({}, "stop"))
    for event in events(sent(stream, look)):
        assert event["choices"]


@given(st.text(max_size=30), st.lists(st.integers(0, 30), max_size=6), st.lists(st.integers(0, 30), max_size=6))
def test_edits_by_pieces_are_edits_of_the_whole(text: str, marks: list[int], cuts: list[int]) -> None:
    places = sorted({min(mark, len(text)) for mark in marks})
    edits = [(a, b, "<>") for a, b in zip(places[::2], places[1::2])]
    ends = [0, *sorted({min(cut, len(text)) for cut in cuts} - {0, len(text)}), len(text)]
    whole = text
    for start, end, new in reversed(edits):
        whole = whole[:start] + new + whole[end:]
    assert "".join(edited(text[a:b], a, b, edits, b == len(text)) for a, b in pairwise(ends)) == whole
