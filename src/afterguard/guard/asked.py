"""What doors have in common that gateways ask: the gateway carries the exchange, and asks here what becomes of the request and, later, of the reply.

In: HTTP requests of a gateway, in its own words. Out: exchanges in the words of chat completions, which the brain reads; verdicts in the gateway's words. It sees only what the gateway shows.

Theory of operation. The request is judged when it is asked about; then the exchange waits for the reply (PATIENCE), because a call in a reply is held against what was asked and read. A reply of which nobody saw the
request, after a restart or at another worker, is judged by itself, and that is counted. A gateway that streams asks again as the reply grows; the exchange is over when it was quiet for a while. In mode observe the
answer is "pass" at once and judging comes after.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from afterguard.guard import probe
from afterguard.guard.door import Given
from afterguard.guard.inside import UNJUDGED
from afterguard.guard.passage import DECISION, JSON, REQUEST_CAP, Receive, Scope, Send, answered
from afterguard.guard.route import Route
from afterguard.guard.session import Answer, Session
from afterguard.guard.visit import Visit
from afterguard.wire import strict
from afterguard.wire.endpoint import Endpoint
from afterguard.wire.refusal import refused

SPOT = Endpoint("openai", "chat", "openai")
PATIENCE = 120.0
"""Seconds an exchange waits for its reply."""
QUIET = 3.0
"""Seconds without a further question about a reply after which it is whole."""
WAITING = 4_000
"""Exchanges that wait for their reply; the oldest is over when there are more."""
WAITING_BYTES = 64 << 20
READING = 30.0
"""Seconds a gateway may take to send its question."""


class Puzzled(Exception):
    """A question that cannot be read; says why."""


class Exchange:
    """One exchange a gateway asks about."""

    def __init__(self, visit: Visit, name: str) -> None:
        self.visit = visit
        self.name = name
        """As the gateway calls it, "" where it does not."""
        self.asked = b""
        self.said = b""
        """The reply as it was last shown, where it is judged later."""
        self.status = 0
        self.has_reply = False
        self.timer: asyncio.TimerHandle | None = None


class Asked:
    """The exchanges of one door. What a gateway says and wants to hear is the subclass's."""

    def __init__(self, given: Given, kind: str) -> None:
        self.given = given
        self.desk = given.desk
        self.kind = kind
        self.waiting: OrderedDict[tuple[str, str], Exchange] = OrderedDict()
        self._bytes = 0
        self._routes: dict[str, Route] = {}
        self._ending: set[asyncio.Task[Any]] = set()

    # -- HTTP

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        steps = scope["path"].strip("/").split("/")[1:]
        cell = _cell(scope, self.desk.brain.key)
        found = await _body(receive)
        if found is None:
            await answered(send, _no(413, f"more than {REQUEST_CAP} bytes, or too slow"))
            return
        try:
            reply, identifier = await self.told(scope, steps, found, cell)
        except Puzzled as error:
            self.desk.metrics.add("afterguard_unjudged_total", self.kind, "bad_question")
            await answered(send, _no(400, str(error)))
            return
        headers = [*JSON, (DECISION, identifier.encode())]
        await answered(send, Answer(200, headers, msgspec.json.encode(reply)))

    async def told(self, scope: Scope, steps: list[str], body: bytes, cell: probe.Cell | None) -> tuple[Any, str]:
        """(what to say, id of the decision). Raises Puzzled."""
        raise NotImplementedError

    # -- exchanges

    def route(self, name: str) -> Route:
        """The route of a name in the path; the door's own where there is none. Raises Puzzled."""
        if not name:
            name = self.kind
        if name not in self._routes:
            if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 100 or len(self._routes) >= 1_000:
                raise Puzzled("the name of a route is made of letters, digits and dashes")
            self._routes[name] = msgspec.convert(
                {"name": name, "kind": "openai", "upstream": "", **self.given.common}, Route
            )
        return self._routes[name]

    def arrives(self, route: Route, name: str, headers: Sequence[tuple[bytes, bytes]], cell: Any) -> Exchange:
        """A new exchange."""
        session = Session(self.desk.brain, route, SPOT, self.desk.new_id(), list(headers))
        session.asked_again = 1 << 30  # a gateway cannot be told to ask its model again
        visit = Visit(self.desk, session, time.perf_counter(), time.time())
        visit.cell = cell
        return Exchange(visit, name)

    async def asks(self, one: Exchange, body: bytes) -> bytes | Answer:
        """The request to go on with, or what to say instead."""
        one.asked = body
        before = self.waiting.get((one.visit.route.name, one.name))
        if before is not None:
            self._late(before)
        if not one.visit.session.ruling.is_inline:
            one.visit.body = body
            self._wait(one, PATIENCE)
            return body
        ready: bytes | Answer = await self._at_desk(one, one.visit.ask(body))
        await one.visit.pause()
        if isinstance(ready, Answer):
            await one.visit.leave()
        else:
            self._wait(one, PATIENCE)
        return ready

    def replies(self, route: Route, name: str, headers: Sequence[tuple[bytes, bytes]], cell: Any) -> Exchange:
        """The exchange of a reply; a new one where nobody saw its request."""
        one = self.waiting.pop((route.name, name), None) if name else None
        if one is None:
            one = self.arrives(route, name, headers, cell)
            one.visit.session.parts.skip("request_not_seen", "request")
        else:
            self._bytes -= len(one.asked)
            if one.timer is not None:
                one.timer.cancel()
        return one

    async def answers(self, one: Exchange, body: bytes) -> bytes | Answer:
        """The reply to go on with, or what to say instead."""
        session = one.visit.session
        one.status = 200
        if not session.ruling.is_inline:
            one.said = body
            self._wait(one, QUIET)
            return body
        if one.has_reply:
            session.anew()
        one.has_reply = True
        ready: bytes | Answer = await self._at_desk(one, one.visit.answer(200, body))
        if isinstance(ready, Answer) or not one.name:
            await self._over(one)
        else:
            self._wait(one, QUIET)
        return ready

    async def _at_desk(self, one: Exchange, step: Any) -> Any:
        self.desk.open[one.visit] = None
        try:
            return await step
        finally:
            self.desk.open.pop(one.visit, None)

    # -- waiting, ending

    def _wait(self, one: Exchange, seconds: float) -> None:
        if not one.name or one.visit.cell is not None:
            self._drop(one)
            return
        self.waiting[one.visit.route.name, one.name] = one
        self._bytes += len(one.asked)
        one.timer = asyncio.get_running_loop().call_later(seconds, self._late, one)
        while len(self.waiting) > WAITING or self._bytes > WAITING_BYTES:
            self._late(next(iter(self.waiting.values())))

    def _late(self, one: Exchange) -> None:
        if self.waiting.pop((one.visit.route.name, one.name), None) is not None:
            self._bytes -= len(one.asked)
            self._drop(one)

    def _drop(self, one: Exchange) -> None:
        """It is over, though nobody waits for that."""
        if one.timer is not None:
            one.timer.cancel()
        task = asyncio.get_running_loop().create_task(self._over(one))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _over(self, one: Exchange) -> None:
        visit = one.visit
        if not one.status and visit.cell is None:
            visit.session.parts.skip("response_not_seen", "response")
        if not visit.session.ruling.is_inline:
            visit.passed("", one.status, "application/json", "", [one.said])
        await visit.leave()

    async def close(self) -> None:
        """What waits is over."""
        for one in list(self.waiting.values()):
            self._late(one)
        await asyncio.gather(*self._ending)


def plain(body: bytes) -> dict[str, Any]:
    """A question as JSON. Raises Puzzled."""
    found, _ = strict.decode(body)
    if not isinstance(found, dict):
        raise Puzzled("this is no JSON object")
    return found


def said(answer: Answer) -> str:
    """The sentence of a refusal."""
    try:
        return str(msgspec.json.decode(answer.body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return UNJUDGED


def inexpressible(one: Exchange, what: str) -> Answer | None:
    """The policy wants what this gateway cannot be told: refused where the route fails closed, else counted."""
    session = one.visit.session
    if session.ruling.is_open:
        session.parts.skip(what, "guard")
        return None
    session.fail(what)
    return Answer(*refused(SPOT, UNJUDGED, "afterguard_unjudged", 400))


def _no(status: int, why: str) -> Answer:
    return Answer(status, list(JSON), msgspec.json.encode({"error": {"message": f"afterguard: {why}"}}))


def _cell(scope: Scope, key: bytes) -> probe.Cell | None:
    value = next((value for name, value in scope["headers"] if name == probe.HEADER), None)
    return None if value is None else probe.verified(value, key, time.time())


async def _body(receive: Receive) -> bytes | None:
    """The whole question; None where it is too long or too slow."""
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READING):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > REQUEST_CAP:
                    return None
                if not message.get("more_body"):
                    return b"".join(pieces)
    except TimeoutError:
        return None
