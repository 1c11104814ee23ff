"""An exchange that goes, or went, another way than through the guard: a copy of a request, or what was recorded of a call.

In: the copy, or an Exchange as it was recorded. Out: a Session like any other, so that the desk judges it and writes its decision; only that nothing can become of it. Its mode is observe whatever
the route says, and it does not weigh when the policy's rate is held against what was expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from afterguard.detect import Past
from afterguard.guard.brain import Brain
from afterguard.guard.route import Route
from afterguard.guard.session import Answer, Session
from afterguard.guard.who import Headers
from afterguard.model import Exchange, Hit
from afterguard.policy.trial import sides
from afterguard.wire.endpoint import Endpoint

UNSEEN = "response_unjudged"
"""Why the reply of a mirrored request was not judged: mirrors send none."""


class Aside(Session):
    """A copy of a request."""

    is_weighed = False

    def __init__(self, brain: Brain, route: Route, spot: Endpoint, identifier: str, headers: Headers) -> None:
        super().__init__(brain, route, spot, identifier, headers)
        self.ruling = self.ruling._replace(mode="observe", is_open=True)

    def facts(self) -> dict[str, Any]:
        """See Session."""
        found = super().facts()
        found["mode"] = "observe"
        return found


class Recorded(Aside):
    """A call as it was recorded, request and reply together."""

    def __init__(self, brain: Brain, route: Route, spot: Endpoint, identifier: str, exchange: Exchange) -> None:
        super().__init__(brain, route, spot, identifier, ())
        self.sides = sides(exchange)
        self.protocol = exchange.protocol
        self.size = exchange.bytes
        self.conversation = exchange.conversation[:200]
        if exchange.identity:
            self.identity, self.known_by = brain.context.pseudonym(exchange.identity), "name"
        parts = self.parts
        parts.unjudged = list(exchange.unjudged)
        parts.model, parts.provider = exchange.model, exchange.provider
        parts.input_tokens, parts.output_tokens = exchange.input_tokens, exchange.output_tokens

    def request(self, body: bytes, encoding: str = "") -> Exchange | None:
        """What was asked; None where only a reply was recorded."""
        asked = self.sides.request
        if asked is None:
            return None
        self._take(asked)
        self._texts, self._calls = len(asked.texts), len(asked.calls)
        return self.exchange()

    def forward(self, body: bytes, exchange: Exchange, hits: Sequence[Hit], past: Past) -> bytes | Answer:
        """What the policy says of it."""
        self.hits, self.past = list(hits), past
        self.verdict = self.decide(exchange, hits, "request")
        return body

    def passed(self, status: int, content_type: str, encoding: str, reply: bytes) -> bool:
        """Whether a reply was recorded."""
        self.status = status
        whole = self.sides.reply
        if whole is not None:
            self._take(whole)
        return whole is not None

    def backward(self, body: bytes, exchange: Exchange, hits: Sequence[Hit]) -> bytes | Answer:
        """What the policy says of it."""
        self.hits += hits
        self.replied = self.decide(exchange, hits, "response")
        return body

    def _take(self, side: Exchange) -> None:
        parts = self.parts
        parts.texts, parts.calls, parts.tools = list(side.texts), list(side.calls), list(side.tools)
