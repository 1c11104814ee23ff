"""The door for a LiteLLM proxy: its Generic Guardrail API, for which this guard is the guardrail.

In: POST /litellm[/NAME]/beta/litellm_basic_guardrail_api with texts, messages, tools and calls, and `input_type` request or response. Out: {"action": NONE, BLOCKED or GUARDRAIL_INTERVENED} with the
edited texts. NAME is the route in policies, litellm without one. What LiteLLM cannot be told (another model, an edited call in a reply, an empty list of tools) is refused or counted.
Written against LiteLLM 1.108; fields it adds later are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from afterguard.guard import probe
from afterguard.guard.asked import Asked, Exchange, Puzzled, inexpressible, plain, said
from afterguard.guard.door import Given
from afterguard.guard.passage import Scope
from afterguard.guard.session import Answer
from afterguard.wire.release import Prose

TAIL = ["beta", "litellm_basic_guardrail_api"]
HOLD = 8_192
"""Characters of a growing reply that are held back at most."""


class Question(msgspec.Struct):
    """What LiteLLM asks."""

    input_type: str
    litellm_call_id: str | None = None
    texts: list[str] | None = None
    images: list[str] | None = None
    tools: list[Any] | None = None
    tool_calls: list[Any] | None = None
    structured_messages: list[Any] | None = None
    model: str | None = None
    request_data: dict[str, Any] | None = None


class LiteLLM(Asked):
    """The door."""

    def __init__(self, given: Given) -> None:
        super().__init__(given, "litellm")

    async def told(self, scope: Scope, steps: list[str], body: bytes, cell: probe.Cell | None) -> tuple[Any, str]:
        """See Asked."""
        name = steps[0] if len(steps) == 3 else ""
        if scope["method"] != "POST" or steps[-2:] != TAIL or len(steps) > 3:
            raise Puzzled("api_base is http://GUARD/litellm or http://GUARD/litellm/NAME; LiteLLM appends the rest")
        try:
            asked = msgspec.convert(plain(body), Question)
        except msgspec.ValidationError as error:
            raise Puzzled(f"not a question of LiteLLM's Generic Guardrail API: {error}") from None
        route = self.route(name)
        headers = identity(asked.request_data or {})
        call = (asked.litellm_call_id or "")[:200]
        if asked.input_type == "request":
            one = self.arrives(route, call, headers, cell)
            return await self._request(one, asked), one.visit.session.id
        if asked.input_type == "response":
            one = self.replies(route, call, headers, cell)
            return await self._response(one, asked), one.visit.session.id
        raise Puzzled("input_type is request or response")

    async def _request(self, one: Exchange, asked: Question) -> Any:
        body = as_request(asked)
        for _ in asked.images or ():
            one.visit.session.parts.skip("image", "request")
        sent = msgspec.json.encode(body)
        ready = await self.asks(one, sent)
        if isinstance(ready, Answer):
            return {"action": "BLOCKED", "blocked_reason": said(ready)}
        if ready is sent:
            return {"action": "NONE"}
        return self._edited(one, asked, body, msgspec.json.decode(ready))

    def _edited(self, one: Exchange, asked: Question, before: Any, after: Any) -> Any:
        """The edited request, as far as LiteLLM can be told."""
        texts = [text for _, _, text in spoken(after["messages"])]
        out: dict[str, Any] = {"action": "GUARDRAIL_INTERVENED", "texts": texts}
        lost = len(texts) != len(asked.texts or ()) or after.get("model") != before.get("model")
        if after.get("tools") != before.get("tools"):
            out["tools"] = after.get("tools") or []
            lost = lost or not out["tools"]  # LiteLLM takes an empty list for no answer
        if put(before["messages"], texts) != after["messages"]:
            out["structured_messages"] = after["messages"]
            lost = lost or not asked.structured_messages
        if lost:
            refusal = inexpressible(one, "inexpressible")
            if refusal is not None:
                return {"action": "BLOCKED", "blocked_reason": said(refusal)}
            if len(texts) != len(asked.texts or ()):
                return {"action": "NONE"}
        return out

    async def _response(self, one: Exchange, asked: Question) -> Any:
        body = as_response(asked)
        sent = msgspec.json.encode(body)
        ready = await self.answers(one, sent)
        if isinstance(ready, Answer):
            return {"action": "BLOCKED", "blocked_reason": said(ready)}
        texts = asked.texts or []
        if ready is sent:
            return {"action": "NONE", "stream_holdback_chars": [held(text) for text in texts]}
        after = msgspec.json.decode(ready)
        if calls(after) != calls(body):
            # LiteLLM takes no calls back: it can only refuse the whole reply.
            return {"action": "BLOCKED", "blocked_reason": one.visit.session.replied.says or "blocked by policy"}
        texts = [choice["message"]["content"] for choice in after["choices"]][: len(texts)]
        return {
            "action": "GUARDRAIL_INTERVENED",
            "texts": texts,
            "stream_holdback_chars": [held(text) for text in texts],
        }


def identity(told: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """Who asks, as LiteLLM knows it: the hash of the caller's own key, which is not the provider's."""
    key = told.get("user_api_key_hash") or told.get("user_api_key_user_id")
    return [(b"authorization", key.encode("utf-8", "replace"))] if isinstance(key, str) else []


def as_request(asked: Question) -> dict[str, Any]:
    """The question as a chat request. Where the messages do not hold exactly the texts, the texts stand for themselves."""
    texts = asked.texts or []
    messages = asked.structured_messages
    if (
        messages is None
        or not all(isinstance(one, dict) for one in messages)
        or [t for _, _, t in spoken(messages)] != texts
    ):
        messages = [{"role": "user", "content": text} for text in texts]
    found: dict[str, Any] = {"model": asked.model or "", "messages": messages}
    if asked.tools:
        found["tools"] = asked.tools
    return found


def as_response(asked: Question) -> dict[str, Any]:
    """The question as a chat reply: a choice for each text, all calls in the first."""
    choices: list[Any] = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for index, text in enumerate(asked.texts or [None])
    ]
    if asked.tool_calls:
        choices = choices or [{"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "stop"}]
        choices[0]["message"]["tool_calls"] = asked.tool_calls
    return {"id": "", "object": "chat.completion", "model": asked.model or "", "choices": choices}


def calls(reply: Any) -> list[Any]:
    """The calls of a reply."""
    return [choice["message"].get("tool_calls") for choice in reply["choices"]]


def spoken(messages: list[Any]) -> Iterator[tuple[int, int, str]]:
    """(message, part or -1, text) in the order in which LiteLLM lists texts."""
    for number, message in enumerate(messages):
        content = message.get("content")
        if isinstance(content, str):
            yield number, -1, content
        elif isinstance(content, list):
            for index, part in enumerate(content):
                if isinstance(part, dict) and isinstance(part.get("text"), str):
                    yield number, index, part["text"]


def put(messages: list[Any], texts: list[str]) -> list[Any]:
    """The messages with these texts in them, as LiteLLM will put them."""
    found: list[Any] = msgspec.json.decode(msgspec.json.encode(messages))
    for (number, index, _), text in zip(spoken(messages), texts):
        if index < 0:
            found[number]["content"] = text
        else:
            found[number]["content"][index]["text"] = text
    return found


def held(text: str) -> int:
    """Characters at the end of a growing reply that may still be changed by what follows: those the guard's own streams hold back."""
    return len(text) - max(0, Prose("reply", "text", ()).add(text, HOLD)) if text else 0
