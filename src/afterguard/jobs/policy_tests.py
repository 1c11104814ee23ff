"""The tests inside a policy, run: bodies parsed as the guard parses them, detectors as the guard runs them, the learned judge left out.

In: a Policy. Out: a Trial each. Same policy, same result; nothing is read and nothing is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from afterguard.detect import Context
from afterguard.model import Exchange
from afterguard.policy.load import Policy
from afterguard.policy.trial import Sides, Trial, trials
from afterguard.wire import shapes
from afterguard.wire.parts import Parts


def run(policy: Policy) -> Iterator[Trial]:
    """Every test of a policy."""
    return trials(policy, sides, context)


def context() -> Context:
    """Detectors without memory, judge or secrets: tests do not see each other."""
    return Context(lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20])


def sides(body: Mapping[str, Any]) -> Sides:
    """`messages` (a trailing assistant message is the reply), or `request` and `response` bodies of any provider, as Exchanges."""
    request, response = body.get("request"), body.get("response")
    if "messages" in body:
        if request is not None or response is not None:
            raise ValueError("messages stand beside request or response; write one of them")
        request, response = _conversation(body)
    parts = Parts()
    protocol = asked = ""
    first: Exchange | None = None
    if request is not None:
        asked = protocol = shapes.request(request, parts)
        if not asked:
            raise ValueError("the request has no known shape")
        first = _exchange(parts, protocol, body)
    if response is None:
        return Sides(first, None)
    parts.turn += 1
    answered = shapes.response(response, parts)
    if not answered:
        raise ValueError("the response has no known shape")
    return Sides(first, _exchange(parts, answered if not asked else protocol, body))


def _conversation(body: Mapping[str, Any]) -> tuple[Any, Any]:
    messages = body["messages"]
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise ValueError("messages is not a list of messages")
    extra = {"tools": body["tools"]} if "tools" in body else {}
    if len(messages) > 1 and messages[-1].get("role") == "assistant":
        return {"messages": messages[:-1], **extra}, {"choices": [{"index": 0, "message": messages[-1]}]}
    return {"messages": messages, **extra}, None


def _exchange(parts: Parts, protocol: str, body: Mapping[str, Any]) -> Exchange:
    return Exchange(
        id="test", source="test", line=0, protocol=protocol, provider=str(body.get("provider", "")),
        model=str(body.get("model", "")) or parts.model, texts=tuple(parts.texts), calls=tuple(parts.calls),
        tools=tuple(parts.tools), unjudged=tuple(parts.unjudged),
    )  # fmt: skip
