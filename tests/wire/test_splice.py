"""Edits in place: the decoded value with just that change, every other byte as it came, and every place a reader names."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.test_shapes import ANY, BODY

from afterguard.wire import anthropic, bedrock, gemini, openai, shapes
from afterguard.wire.deltas import kind_of
from afterguard.wire.parts import Parts, dumps
from afterguard.wire.splice import Change, Cut, Put, Step, Unspliceable, splice, step, steps
from afterguard.wire.template import END

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 10**9), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
VALUE = st.recursive(
    LEAF,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip
WRITERS: list[Callable[[Any], bytes]] = [
    msgspec.json.encode,
    lambda value: json.dumps(value).encode(),
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(),
    lambda value: json.dumps(value, indent=1).encode(),
    lambda value: b" \t" + json.dumps(value, separators=("\n,\t", " :\r")).encode() + b"\r\n",
    lambda value: json.dumps(value, ensure_ascii=False).replace("/", "\\/").encode(),
]  # fmt: skip
WRITER = st.sampled_from(WRITERS)


def resolve(value: Any, where: str) -> Any:
    for key in steps(where):
        value = value[key]
    return value


def leaves(value: Any, where: str = "") -> list[tuple[str, Any]]:
    out = [(where, value)]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        out += leaves(inner, where + step(key))
    return out


def with_value(value: Any, where: str, new: Any) -> Any:
    if not steps(where):
        return new
    value = copy.deepcopy(value)
    *way, last = steps(where)
    owner = value
    for key in way:
        owner = owner[key]
    owner[last] = new
    return value


@settings(max_examples=150, deadline=None)
@given(VALUE, WRITER, st.data())
def test_a_string_is_changed_and_nothing_else(value: Any, write: Callable[[Any], bytes], data: st.DataObject) -> None:
    body = write(value)
    strings = [(w, v) for w, v in leaves(value) if isinstance(v, str) and v[:1] not in ("{", "[")]
    if not strings:
        return
    where, text = data.draw(st.sampled_from(strings))
    low = data.draw(st.integers(0, len(text)))
    high = data.draw(st.integers(low, len(text)))
    new = data.draw(TEXT)
    start, end = len(text[:low].encode()), len(text[:high].encode())
    if text.lstrip()[:1] in ("{", "["):
        return
    out = splice(body, [Change(where, start, end, new)])
    assert json.loads(out) == with_value(value, where, text[:low] + new + text[high:])
    at = next(i for i in range(len(body) + 1) if i == len(body) or body[i : i + 1] != out[i : i + 1])
    rest = next(i for i in range(len(body) + 1) if i == len(body) or body[len(body) - 1 - i] != out[len(out) - 1 - i])
    # What differs fits in the raw spelling of this one string.
    assert len(body) - rest - at <= 12 * len(text) + 12 or body == out


@settings(max_examples=100, deadline=None)
@given(VALUE, WRITER, st.data())
def test_cuts(value: Any, write: Callable[[Any], bytes], data: st.DataObject) -> None:
    body = write(value)
    owners = [(w, v) for w, v in leaves(value) if isinstance(v, (dict, list)) and v]
    if not owners:
        return
    where, owner = data.draw(st.sampled_from(owners))
    keys: list[Step] = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
    gone = data.draw(st.sets(st.sampled_from(keys), min_size=1))
    out = splice(body, [Cut(where + step(key)) for key in gone])
    kept = (
        {k: v for k, v in owner.items() if k not in gone}
        if isinstance(owner, dict)
        else [v for i, v in enumerate(owner) if i not in gone]
    )
    assert json.loads(out) == with_value(value, where, kept)


@settings(max_examples=100, deadline=None)
@given(VALUE, WRITER, LEAF, st.data())
def test_puts(value: Any, write: Callable[[Any], bytes], new: Any, data: st.DataObject) -> None:
    where, _ = data.draw(st.sampled_from(leaves(value)))
    out = splice(write(value), [Put(where, json.dumps(new).encode())])
    assert json.loads(out) == with_value(value, where, new)


@settings(max_examples=150, deadline=None)
@given(VALUE, WRITER, WRITER, TEXT, st.booleans(), st.data())
def test_json_inside_stays_json(
    value: Any, write: Callable[[Any], bytes], inner: Callable[[Any], bytes], new: str, as_object: bool, data: st.DataObject
) -> None:  # fmt: skip
    """Tool arguments (JSON in a string) and results that are objects: any span, any new text, still JSON."""
    if not isinstance(value, (dict, list)):
        return
    text = dumps(value) if as_object else inner(value).decode()
    body = write({"a": 1.50, "v": value if as_object else text, "z": "é"})
    low = data.draw(st.integers(0, len(text)))
    high = data.draw(st.integers(low, len(text)))
    change = Change("request.v", len(text[:low].encode()), len(text[:high].encode()), new)
    try:
        out = json.loads(splice(body, [change]))
    except Unspliceable:
        return
    assert (out["a"], out["z"]) == (1.5, "é")
    assert as_object or json.loads(out["v"]) is not None
    if '"' not in text[low:high] and "\\" not in text and text[:low].count('"') % 2 and as_object:
        assert out["v"] == json.loads(text[:low] + json.dumps(new)[1:-1] + text[high:])


def test_inner_strings() -> None:
    body = json.dumps({"arguments": '{"a": "x\\n\\"y\\" 1.50", "n": 1.50}', "o": {"k": "é\u2028", "n": 1.50}}).encode()
    inner = json.loads(body)["arguments"].encode()
    at = inner.index(b"y")
    out = splice(body, [Change("arguments", at, at + 1, 'Z"\n')])
    assert json.loads(json.loads(out)["arguments"]) == {"a": 'x\n"Z"\n" 1.50', "n": 1.5}
    assert b"1.50}" in out and out.endswith(b'"o": {"k": "\\u00e9\\u2028", "n": 1.5}}')
    # A span that begins inside an escape takes the whole escape.
    out = splice(body, [Change("arguments", at - 1, at, "")])
    assert json.loads(json.loads(out)["arguments"])["a"] == 'x\ny" 1.50'
    # A number becomes a string where the new text is none.
    at = inner.index(b"1.50}")
    out = splice(body, [Change("arguments", at, at + 4, "[CARD]")])
    assert json.loads(json.loads(out)["arguments"])["n"] == "[CARD]"
    # A span over several values: the first takes the new text, the others lose their part.
    dump = dumps(json.loads(body)["o"]).encode()
    out = splice(body, [Change("o", dump.index(b"k"), dump.index(b"1.5"), "[X]")])
    assert json.loads(out)["o"] == {"[X]": "", "": 1.5}


def test_objects_keep_their_spelling() -> None:
    body = b'{"o":{ "b":1.50,"a":"caf\\u00e9 key=s3cr3t \\/ end"},"x":1}'
    dump = dumps(json.loads(body)["o"]).encode()
    at = dump.index(b"s3cr3t")
    out = splice(body, [Change("o", at, at + 6, "[KEY]")])
    assert out == body.replace(b"s3cr3t", b"[KEY]")


def test_json_three_levels_down() -> None:
    deepest = json.dumps({"mail": "a@b.c"})
    body = json.dumps({"m": json.dumps({"args": deepest})}).encode()
    text = json.loads(body)["m"].encode()
    at = text.index(b"a@b.c")
    out = splice(body, [Change("m", at, at + 5, '"q"')])
    assert json.loads(json.loads(json.loads(out)["m"])["args"]) == {"mail": '"q"'}


def test_several_changes_and_identity() -> None:
    body = b'{"messages": [ {"content":"a b c"},{"content":"d"} ] , "n": 1e2, "tools":[1,2,3]}'
    assert splice(body, []) is body
    changes: list[Change | Put | Cut] = [
        Change("request.messages[0].content", 4, 5, "C"),
        Change("request.messages[0].content", 0, 1, "A"),
        Put("request.messages[1].content", b"null"),
        Cut("request.tools[0]"),
        Cut("request.tools[2]"),
    ]
    assert splice(body, changes) == b'{"messages": [ {"content":"A b C"},{"content":null} ] , "n": 1e2, "tools":[2]}'


@pytest.mark.parametrize(
    ("body", "change"),
    [
        (b"{", Cut("a")),
        (b'{"a":"x"}', Change("b", 0, 1, "")),
        (b'{"a":"x"}', Change("a[0]", 0, 1, "")),
        (b'{"a":["x"]}', Change("a[1]", 0, 1, "")),
        (b'{"a":["x"]}', Cut("a[1]")),
        (b'{"a":"x"}', Change("a", 0, 2, "")),
        (b'{"a":"x"}', Change("a", 1, 0, "")),
        (b'{"a":"x"}', Change("a", -1, 1, "")),
        ('{"a":"é"}'.encode(), Change("a", 1, 2, "")),
        (b'{"a":"\\u00e9"}', Change("a", 1, 2, "")),
        (b'{"a":"x"}', Cut("")),
        (b'{"a":"x"}', Put("a", b"{")),
        (b'{"a":"x","\\u0061":"y"}', Change("a", 0, 1, "")),
        (b'{"a":"x"}', Cut("request..a")),
        (b'{"a":"x"}', Cut("request" + "[0]" * 65)),
        (b"[" * 5000 + b"]" * 5000, Cut("[0]")),
    ],
)
def test_refused(body: bytes, change: Change | Put | Cut) -> None:
    with pytest.raises(Unspliceable):
        splice(body, [change])


def test_conflicts_are_refused_but_a_cut_covers_what_is_inside() -> None:
    body = b'{"a":{"b":"x"},"c":1}'
    assert splice(body, [Change("a.b", 0, 1, "y"), Cut("a")]) == b'{"c":1}'
    for changes in (
        [Change("a.b", 0, 1, "y"), Put("a", b"1")],
        [Put("c", b"1"), Put("c", b"2")],
        [Change("a.b", 0, 1, "y"), Change("a.b", 0, 1, "z")],
    ):
        with pytest.raises(Unspliceable):
            splice(body, changes)


def test_odd_names() -> None:
    body = json.dumps({"request": {"a.b": {'"]': ["s"]}}}).encode()
    assert splice(body, [Change('request.request["a.b"]["\\"]"][0]', 0, 1, "t")]) == body.replace(b'"s"', b'"t"')
    assert splice(b'["s"]', [Change("[0]", 0, 1, "t")]) == splice(b'["s"]', [Change("response[0]", 0, 1, "t")])
    assert splice(b'{"requested":"s"}', [Change("requested", 0, 1, "t")]) == b'{"requested":"t"}'


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(max_size=40), ANY.map(lambda v: json.dumps(v, allow_nan=False, default=str).encode() if _finite(v) else b"0")),
    st.lists(st.one_of(
        st.builds(Change, st.sampled_from(["", "a", "[0]", ".content", "request.text[0]", "x..", 'request["']), st.integers(-1, 9), st.integers(-1, 9), st.text(max_size=3)),
        st.builds(Cut, st.text(max_size=5)), st.builds(Put, st.sampled_from(["", "[0]", ".role"]), st.binary(max_size=3)),
    ), max_size=3),
)  # fmt: skip
def test_never_raises_anything_else(body: bytes, changes: list[Change | Put | Cut]) -> None:
    try:
        out = splice(body, changes)
    except Unspliceable:
        return
    if changes:
        json.loads(out)


def _finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False).encode()
    except ValueError:
        return False
    return True


def times_of_decoding(body: bytes, changes: list[Change | Put | Cut]) -> float:
    """How many times as long as json.loads of the same bytes takes, by turns in the same run: the machine may be busy."""
    ours, floor = [], []
    for _ in range(5):
        began = time.perf_counter()
        splice(body, changes)
        between = time.perf_counter()
        json.loads(body)
        ours.append(between - began)
        floor.append(time.perf_counter() - between)
    return min(ours) / min(floor)


def test_its_cost_grows_with_the_body_and_no_faster() -> None:
    """4 to 12 times; what is quadratic would be thousands."""
    many = json.dumps({"messages": [{"role": "user", "content": "word " * 80} for _ in range(1000)]}).encode()
    long = json.dumps({"messages": [{"role": "user", "content": 'line "x" é\n' * 30_000}]}).encode()
    inner = json.dumps({"a": json.dumps(["\n" * 100_000])}).encode()
    quotes = b'{"a":"' + b'\\"' * 200_000 + b'"}'
    deep = b'{"a":' + b'[{"b":' * 300 + b'"' + b"x" * 100_000 + b'"' + b"}]" * 300 + b',"c":"x"}'
    assert times_of_decoding(many, [Change("request.messages[990].content", 0, 4, "x")]) < 100
    assert times_of_decoding(long, [Change("request.messages[0].content", 300_000, 300_004, "x")]) < 100
    assert times_of_decoding(inner, [Change("a", 9 * i + 3, 9 * i + 4, "x") for i in range(2000)]) < 100
    assert times_of_decoding(quotes, [Change("a", i, i + 1, "x") for i in range(2000)]) < 100
    assert times_of_decoding(deep, [Change("c", 0, 1, "y")]) < 100


# Places: what the readers name is where it is.

PARTIAL = [
    {"model": "m", "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "u"}, {"type": "text", "text": {"value": "v"}}]},
        {"role": "assistant", "content": None, "reasoning": "r", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}, {"id": "2", "function": {"name": "read_mail", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "2", "content": {"rows": [{"n": 1.5, "note": "some long free text which somebody out there has written to us"}]}},
        {"role": "tool", "tool_call_id": "1", "content": '{"x": 1, "note": "some long free text which somebody out there has written to us"}'},
        {"role": "user", "content": "<document>pasted page</document> what is it"}]},
    {"model": "m", "max_tokens": 1, "system": [{"type": "text", "text": "S"}], "messages": [{"role": "user", "content": [
        {"type": "document", "title": "t", "context": "c", "source": {"type": "text", "data": "page"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "p1"}]}},
        {"type": "document", "source": {"type": "content", "content": "p2"}},
        {"type": "tool_result", "tool_use_id": "x", "content": {"type": "text", "text": "one"}}, {"type": "search_result", "content": [{"type": "text", "text": "s"}]}]}]},
    {"contents": {"parts": {"text": "q"}}, "system_instruction": {"parts": {"text": "S"}}},
    {"contents": ["a", {"text": "b"}, {"role": "model", "parts": [{"text": "t", "thought": True}, {"functionCall": {"name": "f", "args": {}}}]},
        {"parts": [{"functionResponse": {"name": "f", "response": {"r": ["x"]}}}]}], "systemInstruction": {"parts": [{"text": "S"}]}},
    {"messages": [{"role": "user", "content": [{"text": "q"}, {"guardContent": {"text": {"text": "g"}}}, {"guardContent": {"text": "h"}}, {"document": {"name": "d", "source": {"text": "page"}}}]},
        {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"toolUse": {"name": "f", "toolUseId": "1", "input": {}}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"json": {"a": 1}}, {"json": "s"}, {"text": "x"}]}}]}], "system": [{"text": "S"}], "inferenceConfig": {}},
    {"message": "q", "preamble": "p", "chat_history": [{"role": "USER", "message": "old"}], "documents": [{"title": "d", "snippet": "x"}, "plain"]},
    {"model": "m", "instructions": "i", "input": [{"role": "user", "content": "a"}, "b", {"type": "function_call_output", "call_id": "c", "output": {"x": 1}},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]}, {"type": "web_search_call", "results": [{"text": "r"}]}, {"type": "mcp_call", "name": "f", "arguments": "{}", "output": "o"}]},
    {"messages": [{"from": "human", "value": "q"}, {"lc": 1, "id": ["x", "AIMessage"], "kwargs": {"content": "a", "additional_kwargs": {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}], "reasoning_content": "r"}}},
        {"type": "human", "data": {"content": "c"}}, {"sender": "user", "text": "t"}, {"author": {"role": "user"}, "content": "d"}, {"role": "user", "text": "e"}]},
    {"prompt": ["a", "b"]}, {"inputText": "x"}, {"inputs": "x"}, {"texts": ["x", "y"]}, {"prompt": {"messages": [{"role": "user", "content": "x"}]}},
]  # fmt: skip
REPLIES = [
    {"choices": [{"message": {"role": "assistant", "content": "a", "refusal": "r", "audio": {"transcript": "t"}, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "g", "arguments": "{}"}}]}}, {"text": "t"}]},
    {"choices": [{"message": {"content": [{"type": "text", "text": "x"}], "thinking_blocks": [{"type": "thinking", "thinking": "z"}], "function_call": {"name": "f", "arguments": "{}"}}}]},
    {"type": "message", "content": [{"type": "thinking", "thinking": "h"}, {"type": "text", "text": "a"}, {"type": "tool_use", "id": "1", "name": "f", "input": {}}, {"type": "web_search_tool_result", "tool_use_id": "1", "content": [{"type": "web_search_result", "title": "x", "text": "page"}]}]},
    {"completion": "x"}, {"candidates": [{"content": {"parts": [{"text": "x"}, {"functionCall": {"name": "f", "args": {}}}, {"executableCode": {"code": "1"}}]}}, {"content": "x"}]},
    {"output": {"message": {"role": "assistant", "content": [{"text": "x"}, {"toolUse": {"name": "f", "input": {}}}]}}, "usage": {}},
    {"object": "response", "output": [{"type": "function_call", "name": "f", "arguments": "{}"}, {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}]},
    {"results": [{"outputText": "x"}]}, {"generation": "x"}, {"outputs": [{"text": "x"}]}, {"message": {"role": "assistant", "content": "x", "thinking": "t"}, "done": True}, {"response": "x", "done": True},
]  # fmt: skip
CALLS = [
    ["response.choices[0].message.tool_calls[0]", "response.choices[0].message.tool_calls[1]"],
    ["response.choices[0].message.function_call"],
    ["response.content[2]"],
    [],
    ["response.candidates[0].content.parts[1]"],
    ["response.output.message.content[1]"],
    ["response.output[0]"],
    [], [], [], [], [],
]  # fmt: skip


def check(body: Any, parts: Parts) -> None:
    """Texts of one value follow each other in it."""
    reached: dict[str, int] = {}
    for text in parts.texts:
        value = resolve(body, text.where)
        whole = value if isinstance(value, str) else dumps(value)
        if END.search(whole):
            continue
        at = whole.find(text.value, reached.get(text.where, 0))
        assert at >= 0, text
        reached[text.where] = at + len(text.value)
    for call in parts.calls:
        assert isinstance(resolve(body, call.where), dict), call
    for row in parts.unjudged:
        if row.reason not in ("prompt_not_logged", "too_long"):
            resolve(body, row.where)


@pytest.mark.parametrize("body", PARTIAL)
def test_places_of_requests(body: Any) -> None:
    parts = Parts()
    assert shapes.request(body, parts) and parts.texts
    check(body, parts)


@pytest.mark.parametrize(("body", "calls"), list(zip(REPLIES, CALLS)))
def test_places_of_replies(body: Any, calls: list[str]) -> None:
    parts = Parts()
    assert shapes.response(body, parts) and parts.texts
    check(body, parts)
    assert [call.where for call in parts.calls] == calls


@settings(max_examples=400, deadline=None)
@given(BODY, st.sampled_from([*PARTIAL, *REPLIES]), st.data())
def test_places_of_anything(body: Any, known: Any, data: st.DataObject) -> None:
    """Bodies of random parts, and real bodies with a random part in a random place."""
    way, _ = data.draw(st.sampled_from(leaves(known)))
    for one in (body, with_value(known, way, data.draw(ANY))):
        for read in (shapes.request, openai.request, anthropic.request, gemini.request, bedrock.request):
            if isinstance(one, dict):
                parts = Parts()
                read(one, parts)
                check(one, parts)
        for read in (shapes.response, openai.response, anthropic.response, gemini.response, bedrock.response):
            if isinstance(one, dict) and not (read is shapes.response and kind_of(one) not in ("", "ollama")):
                parts = Parts()
                read(one, parts)
                check(one, parts)
