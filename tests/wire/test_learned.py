"""APIs nobody knows, learned from a few pairs; what is not sure is said."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.model import Origin
from afterguard.wire.learned import Mapping, from_plain, learn, request, response, to_plain
from afterguard.wire.parts import Parts
from afterguard.wire.splice import Change, splice, steps

QUESTIONS = [
    "Where is my parcel 4711?",
    "Can I pay by card in the shop?",
    "How do I return these shoes?",
    "Hello there, who are you?",
]
ANSWERS = ["It is on its way to you and arrives tomorrow.", "Yes, you can pay by card.", "Send them back within a month.", "I am the shop's assistant."]  # fmt: skip


def pairs(asked: Any, got: Any) -> list[tuple[dict[str, Any], Any]]:
    return [(asked(q, i), got(a, i)) for i, (q, a) in enumerate(zip(QUESTIONS, ANSWERS))]


APIS: dict[str, tuple[list[tuple[dict[str, Any], Any]], dict[str, str]]] = {
    "flat": (
        pairs(lambda q, i: {"question": q, "session_id": f"s-{i % 2}", "userId": f"u{i}", "lang": "en"}, lambda a, i: {"answer": a, "ms": i}),
        {"user": ".question", "conversation": ".session_id", "identity": ".userId", "reply": ".answer", "system": ""},
    ),
    "nested": (
        pairs(
            lambda q, i: {"payload": {"systemPrompt": "You help the customers of a shop and are polite.", "input": {"text": q}, "docs": [{"id": "d1", "content": "Parcels take two days to arrive at your door."}]}, "meta": {"threadId": "0f8e", "trace": f"t{i}"}},
            lambda a, i: {"result": {"status": "ok", "output": {"text": a}, "sources": [{"title": "Delivery times and more", "url": "http://x"}]}},
        ),
        {"user": ".payload.input.text", "system": ".payload.systemPrompt", "document": ".payload.docs[*].content", "conversation": ".meta.threadId", "reply": ".result.output.text"},
    ),
    "turns": (
        pairs(lambda q, i: {"chat": [{"who": "visitor", "line": "hi"}, {"who": "bot", "line": "hello to you"}, {"who": "visitor", "line": q}], "k": i}, lambda a, i: {"reply": a, "conversationId": f"c{i}"}),
        {"turns": ".chat", "role": "who", "said": "line", "user": "", "reply": ".reply", "reply_conversation": ".conversationId"},
    ),
    "stream": (
        pairs(lambda q, i: {"prompt": q}, lambda a, i: [{"type": "token", "token": word + " ", "seq": n} for n, word in enumerate(a.split())] + [{"type": "end"}]),
        {"user": ".prompt", "delta": ".token", "reply": ""},
    ),
    "tools": (
        pairs(lambda q, i: {"query": q, "steps": [{"tool": "web", "observation": f"The page {i} says that parcels are late this week."}]}, lambda a, i: {"text": a}),
        {"user": ".query", "tool": ".steps[*].observation", "reply": ".text"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", APIS)
def test_learned(name: str) -> None:
    samples, expected = APIS[name]
    mapping = learn(samples)
    assert {key: getattr(mapping, key) for key in expected} == expected
    assert mapping.is_sure, mapping.unsure
    assert learn(samples) == mapping == from_plain(yaml.safe_load(yaml.safe_dump(to_plain(mapping))))
    asked, got = samples[0]
    parts = Parts()
    assert request(asked, mapping, parts) and response(got, mapping, parts)
    assert QUESTIONS[0] in [text.value for text in parts.texts if text.origin is Origin.user]
    assert ANSWERS[0] == parts.texts[-1].value.strip() and parts.texts[-1].origin is Origin.model
    assert not parts.unjudged
    for text in parts.texts:
        body = asked if text.where.startswith("request") else got
        if isinstance(got, list) and text.where == "response":
            continue
        value = body
        for key in steps(text.where):
            value = value[key]  # type: ignore[index]
        assert text.value in value
        assert b"[GONE]" in splice(json.dumps(body).encode(), [Change(text.where, 0, 2, "[GONE]")])


def test_order_of_turns() -> None:
    samples, _ = APIS["nested"]
    parts = Parts()
    request(samples[0][0], learn(samples), parts)
    assert [text.origin for text in parts.texts] == [Origin.system, Origin.document, Origin.user]
    assert parts.conversation == "0f8e"


def test_what_is_not_sure_is_said() -> None:
    assert "at least 3" in learn([({"question": "a b c"}, {"answer": "d e f"})]).unsure[0]
    both = [({"question": q, "prompt": a}, {"x": 1}) for q, a in zip(QUESTIONS, ANSWERS)]
    assert learn(both).unsure == ("user: .prompt or .question", "reply: no place found")
    assert learn([]).unsure and learn([({}, {})] * 4).unsure


def test_text_elsewhere_is_unjudged() -> None:
    mapping = learn(APIS["flat"][0])
    parts = Parts()
    request({"question": "q", "new": {"field": "words " * 50}}, mapping, parts)
    assert [(row.reason, row.where, row.bytes) for row in parts.unjudged] == [
        ("unknown_shape", "request.new.field", 300)
    ]


@pytest.mark.parametrize(
    "data", [{"user": "x..y"}, {"user": 3}, {"usr": ".x"}, {"turns": ".x"}, [], None, {"user": "a" + "[0]" * 70}]
)
def test_wrong_mappings(data: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        from_plain(data)


KEYS = st.sampled_from(
    ["question", "answer", "role", "text", "turns", "id", "a.b", "", "x[*]", "[3]", "session", "user"]
)
ANY = st.recursive(
    st.one_of(st.none(), st.integers(), st.sampled_from(["user", "bot", "some words of text"]), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=5)),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.dictionaries(KEYS, ANY, max_size=4), ANY), max_size=5), ANY)
def test_never_raises(samples: list[tuple[dict[str, Any], Any]], body: Any) -> None:
    mapping = learn(samples)
    assert from_plain(to_plain(mapping)) == mapping
    for asked, got in [*samples, (body, body)]:
        parts = Parts()
        request(asked, mapping, parts)
        response(got, mapping, parts)
        response(got, Mapping(reply=".text[*].answer", delta=".text"), parts)
        request(asked, Mapping(turns=".turns", role="role", said="text"), parts)


def test_a_turn_without_names_is_no_conversation() -> None:
    made = learn([({"question": [{"": "user", "question": "some words of text"}]}, None)])
    assert not made.turns and from_plain(to_plain(made)) == made
