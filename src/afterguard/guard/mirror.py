"""Mirrored requests, behind /mirror/MOUNT/...: copies that nginx, Envoy or HAProxy sends of what goes to the provider by another way.

In: HTTP requests on the guard's own address. Out: 204, before anything is judged, and a decision afterwards. Nothing is sent on, and there is no reply to judge: each decision says so in `unjudged`
(response_unjudged).
"""

from __future__ import annotations

import time
from typing import Any

from afterguard.guard import probe
from afterguard.guard.aside import UNSEEN, Aside
from afterguard.guard.desk import Late
from afterguard.guard.door import Given, TooLong, encoding_of, whole
from afterguard.guard.passage import DECISION, REQUEST_CAP, TEXT, answered
from afterguard.guard.route import Place
from afterguard.guard.session import Answer
from afterguard.wire.endpoint import endpoint

PREFIX = "/mirror"


class Mirror:
    """The door."""

    def __init__(self, given: Given) -> None:
        self.given = given

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        place = self.given.mounts.find(scope["path"].removeprefix(PREFIX) or "/")
        if place is None:
            self._count("refused")
            await answered(send, Answer(404, TEXT, self._nothing(scope["path"])))
            return
        started, wall = time.perf_counter(), time.time()
        session = self._session(place, scope)
        body, is_long = b"", False
        try:
            body = await whole(receive, REQUEST_CAP)
        except TooLong:
            is_long = True
            session.parts.skip("too_long", "request")
        status = 413 if is_long else 204
        headers = [(DECISION, session.id.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        self._count("too_long" if is_long else "taken")
        cell = probe.sent(scope["headers"], self.given.desk.brain.key, wall)
        encoding = encoding_of(scope["headers"])
        self.given.desk.late(
            Late(session, body, encoding, 0, "", "", [], len(body), started, time.perf_counter(), wall, cell)
        )

    def _session(self, place: Place, scope: Any) -> Aside:
        query = scope["query_string"].decode("latin-1")
        spot = endpoint(place.route.kind, scope["method"], place.path, query)
        desk = self.given.desk
        session = Aside(desk.brain, place.route, spot, desk.new_id(), scope["headers"])
        session.parts.skip(UNSEEN, "response")
        return session

    def _nothing(self, path: str) -> bytes:
        names = ", ".join(f"{PREFIX}/{name}" for name in self.given.mounts.routes)
        return f"afterguard: nothing is mounted at {path[:200]!r}; mirrors: {names}\n".encode()

    def _count(self, outcome: str) -> None:
        self.given.desk.metrics.add("afterguard_collected_total", "mirror", outcome)
