"""The reverse proxy: HTTP in, HTTP out, and a Session in between. A raw ASGI callable, to run under uvicorn (serve.py).

In: ASGI scopes. Out: ASGI messages, requests to upstreams, decisions to the journal, counts to the metrics. It decides nothing itself.

Theory of operation. In mode `observe` bytes pass as they come and nothing waits: what was said is judged afterwards, off the path, from a bounded queue. In every other mode the
request waits until it is judged, a whole reply likewise, and a streamed reply is released piece by piece. Small texts are judged on the event loop, large ones in another process (pool.py).
Whatever goes wrong in the guard itself (an exception, a full queue, a budget exceeded) ends in `_failed`, which passes or refuses as the route says, and counts.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from afterguard.guard import probe
from afterguard.guard.asked import Asked
from afterguard.guard.desk import Desk
from afterguard.guard.door import App, Listener
from afterguard.guard.metrics import Metrics
from afterguard.guard.passage import (
    JSON,
    PATIENCE,
    PROMETHEUS,
    TEXT,
    TOKEN,
    Passage,
    Receive,
    Scope,
    Send,
    Settings,
    answered,
)
from afterguard.guard.pool import Pool
from afterguard.guard.route import Mounts
from afterguard.guard.session import Answer
from afterguard.guard.upstream import Upstream
from afterguard.wire.endpoint import endpoint


class Proxy:
    """The door. Made once, called for every request."""

    def __init__(
        self,
        mounts: Mounts,
        upstreams: dict[str, Upstream],
        desk: Desk,
        settings: Settings = Settings(),  # noqa: B008 - an immutable tuple
        total: Callable[[Metrics], Metrics] | None = None,
        doors: Mapping[str, App] | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self.mounts = mounts
        self.upstreams = upstreams
        self.desk = desk
        self.settings = settings
        self.total = total
        """Own numbers -> those of all workers."""
        self.doors = doors or {}
        """Further doors on this address, by the first step of their path."""
        self.listeners = listeners
        self._looking: asyncio.TimerHandle | None = None
        self.refused: Counter[str] = Counter()
        """What never came this far, by reason: the connections' side counts here."""
        self.is_draining = False
        self.is_ready = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "use HTTP"})
        elif kind == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if isinstance(self.desk.far, Pool):
                    await self.desk.far.ready()
                for listener in self.listeners:
                    await listener.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def close(self) -> None:
        """Judge and write what still waits, close connections."""
        for listener in self.listeners:
            await listener.close()
        for door in self.doors.values():
            if isinstance(door, Asked):
                await door.close()
        await self.desk.close()
        for upstream in self.upstreams.values():
            await upstream.close()

    # -- one request

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        place = self.mounts.find(path)
        if path == "/livez" or path == "/readyz":
            await self._own(path, send)
            return
        if self.settings.token and not _is_known(scope["headers"], self.settings.token):
            await answered(send, Answer(401, TEXT, b"afterguard: send the header x-afterguard-token\n"))
            return
        if place is None:
            door = self.doors.get(path.split("/", 2)[1])
            await (door(scope, receive, send) if door else self._own(path, send, scope["headers"]))
            return
        started, wall = time.perf_counter(), time.time()
        route = place.route
        spot = endpoint(route.kind, scope["method"], place.path, scope["query_string"].decode("latin-1"))
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        session = self.desk.session(route, spot, headers)
        peer = scope.get("client")
        session.peer = peer[0] if peer else ""
        exchange = Passage(self, session, scope, receive, send, started, wall, place.path)
        for name, value in headers:
            if name == probe.HEADER:
                exchange.cell = probe.verified(value, self.desk.brain.key, wall)
        self.desk.open[exchange] = None
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(PATIENCE, self._look_after)
        try:
            await exchange.run()
        finally:
            del self.desk.open[exchange]

    def _look_after(self) -> None:
        """Watch for clients that leave, of exchanges that take long: a timer for each would cost the many that do not."""
        self._looking = None
        now = time.perf_counter()
        for one in self.desk.open:
            if now - one.started < PATIENCE:
                break
            one.watch()
        if self.desk.open:
            self._looking = asyncio.get_running_loop().call_later(PATIENCE, self._look_after)

    async def _own(self, path: str, send: Send, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        if path == "/livez":
            await answered(send, Answer(200, TEXT, b"ok\n"))
        elif path == "/readyz":
            ready = self.is_ready and not self.is_draining
            await answered(send, Answer(200 if ready else 503, TEXT, b"ready\n" if ready else b"draining\n"))
        elif path == "/metrics":
            await answered(send, Answer(200, PROMETHEUS, self.page()))
        elif path.startswith("/probe/"):
            value = next((value for name, value in headers if name == probe.HEADER), b"")
            known = probe.verified(value, self.desk.brain.key, time.time()) is not None
            found = self._probed(path[7:]) if known else None
            await answered(send, Answer(404, TEXT, b"") if found is None else Answer(200, JSON, found))
        else:
            names = ", ".join("/" + name for name in self.mounts.routes)
            said = f"afterguard: nothing is mounted at {path[:200]!r}; mounts: {names}\n".encode()
            await answered(send, Answer(404, TEXT, said))

    def _probed(self, name: str) -> bytes | None:
        """What a probe asks for: the mounts, or what was decided about a probe."""
        if name == "mounts":
            ruling = self.desk.brain.ruling
            rows = [[one.name, one.kind, ruling(one).mode, one.upstream] for one in self.mounts.routes.values()]
            asked = [one for one in self.doors.values() if isinstance(one, Asked)]
            rows += [[one.kind, one.kind, ruling(one.route("")).mode, ""] for one in asked]
            policy = self.desk.brain.policy
            return msgspec.json.encode({"mounts": rows, "policy": policy.revision if policy else "none"})
        one = self.desk.probes.get(name)
        return None if one is None else msgspec.json.encode(one)

    def page(self) -> bytes:
        """The text of /metrics: of all workers, where there are others."""
        own = self.counted()
        return (self.total(own) if self.total is not None else own).page()

    def counted(self) -> Metrics:
        """What this process has counted until now."""
        numbers = self.desk.counted()
        for reason, times in self.refused.items():
            numbers.set("afterguard_refused_total", times, reason)
        return numbers


def _is_known(headers: Iterable[tuple[bytes, bytes]], token: bytes) -> bool:
    return any(name == TOKEN and hmac.compare_digest(value, token) for name, value in headers)
