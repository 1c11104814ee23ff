"""The door for agentgateway: its webhook guardrail, for which this guard is the webhook.

In: POST /agentgateway[/NAME]/request with {"body": {"messages": [{role, content}]}}, and .../response with {"body": {"choices": [{"message": {role, content}}]}}; the client's headers come along. Out:
{"action": ...}: pass {"reason"}, mask {"body"}, reject {"body", "status_code"}. NAME is the route in policies, agentgateway without one. It sees texts alone: no tools, no calls, no model; that is counted. Request
and reply are known to belong together by x-request-id or traceparent, where the client or the gateway sets one.
Written against the webhook of agentgateway 1.x and a peer that speaks its protocol; not proven with agentgateway itself.
"""

from __future__ import annotations

from typing import Any

import msgspec

from afterguard.guard import probe
from afterguard.guard.asked import Asked, Exchange, Puzzled, plain, said
from afterguard.guard.door import Given
from afterguard.guard.passage import Scope
from afterguard.guard.session import Answer


class Message(msgspec.Struct):
    """A message as agentgateway shows it."""

    role: str
    content: str


class Choice(msgspec.Struct):
    """One of the replies."""

    message: Message


class Prompt(msgspec.Struct):
    """A request."""

    messages: list[Message]


class Reply(msgspec.Struct):
    """A reply."""

    choices: list[Choice]


class AgentGateway(Asked):
    """The door."""

    def __init__(self, given: Given) -> None:
        super().__init__(given, "agentgateway")

    async def told(self, scope: Scope, steps: list[str], body: bytes, cell: probe.Cell | None) -> tuple[Any, str]:
        """See Asked."""
        if scope["method"] != "POST" or not 1 <= len(steps) <= 2 or steps[-1] not in ("request", "response"):
            raise Puzzled(
                "the webhook's paths are /agentgateway/request and /agentgateway/response, or /agentgateway/NAME/..."
            )
        route = self.route(steps[0] if len(steps) == 2 else "")
        name = together(scope)
        if steps[-1] == "request":
            prompt = _read(body, Prompt)
            one = self.arrives(route, name, scope["headers"], cell)
            return await self._request(one, prompt), one.visit.session.id
        reply = _read(body, Reply)
        one = self.replies(route, name, scope["headers"], cell)
        return await self._response(one, reply), one.visit.session.id

    async def _request(self, one: Exchange, prompt: Prompt) -> Any:
        one.visit.session.parts.skip("tools_not_seen", "request")
        sent = msgspec.json.encode({"messages": prompt.messages})
        ready = await self.asks(one, sent)
        if isinstance(ready, Answer):
            return _reject(ready)
        if ready is sent:
            return PASS
        messages = msgspec.json.decode(ready)["messages"]
        return {"action": {"body": {"messages": messages}, "reason": one.visit.session.verdict.says}}

    async def _response(self, one: Exchange, reply: Reply) -> Any:
        choices = [
            {"index": index, "message": choice.message, "finish_reason": "stop"}
            for index, choice in enumerate(reply.choices)
        ]
        sent = msgspec.json.encode({"object": "chat.completion", "choices": choices})
        ready = await self.answers(one, sent)
        if isinstance(ready, Answer):
            return _reject(ready)
        if ready is sent:
            return PASS
        kept = [{"message": choice["message"]} for choice in msgspec.json.decode(ready)["choices"]]
        return {"action": {"body": {"choices": kept}, "reason": one.visit.session.replied.says}}


PASS: dict[str, Any] = {"action": {"reason": "nothing to do"}}


def _reject(answer: Answer) -> Any:
    """agentgateway gives the client exactly this body, so it is the provider's own error."""
    return {"action": {"body": answer.body.decode(), "status_code": answer.status, "reason": said(answer)}}


def _read(body: bytes, kind: Any) -> Any:
    found = plain(body)
    try:
        return msgspec.convert(found.get("body"), kind)
    except msgspec.ValidationError as error:
        raise Puzzled(f"not a question of agentgateway's webhook: {error}") from None


def together(scope: Scope) -> str:
    """What request and reply of one exchange have in common, "" where nothing."""
    known = dict(scope["headers"])
    if b"x-request-id" in known:
        return str(known[b"x-request-id"].decode("latin-1"))[:200]
    trace = known.get(b"traceparent", b"").split(b"-")
    return str(trace[1].decode("latin-1"))[:64] if len(trace) == 4 else ""
