"""The reverse proxy: HTTP in, HTTP out, and a Session in between.

In: requests under a mount (`take`), and ASGI scopes of everything else on this address: health, numbers, doors that speak HTTP themselves. Out: requests to upstreams, answers, decisions to the journal,
counts to the metrics. It decides nothing itself.

Theory of operation. In mode `observe` bytes pass as they come and nothing waits (observed.py): what was said is judged afterwards, off the path, from a bounded queue. In every other mode the
request waits until it is judged (inline.py). Small texts are judged on the event loop, large ones in another process (pool.py).
"""

from __future__ import annotations

import hmac
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import unquote

import msgspec

from afterguard.guard import probe
from afterguard.guard.asked import Asked
from afterguard.guard.client import Client
from afterguard.guard.desk import Desk
from afterguard.guard.door import App, Listener
from afterguard.guard.grpc_door import GrpcDoor
from afterguard.guard.inline import Inline
from afterguard.guard.metrics import Metrics
from afterguard.guard.observed import Observed
from afterguard.guard.passage import (
    JSON,
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
from afterguard.guard.route import Mounts, Place
from afterguard.guard.session import Answer
from afterguard.guard.upstream import Upstream
from afterguard.wire.endpoint import endpoint

PLACES = 1024
"""Paths whose place is remembered, and bytes of the longest of them."""
OWN = (b"/livez", b"/readyz")
UNKNOWN = Answer(401, TEXT, b"afterguard: send the header x-afterguard-token\n")


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
        self._places: dict[bytes, Place | None] = {}
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

    def place(self, path: bytes) -> Place | None:
        """The mount of a path, percent-encoded as it came; None where nothing is mounted there."""
        try:
            return self._places[path]
        except KeyError:
            pass
        text = path.decode("ascii")
        found = None if path in OWN else self.mounts.find(unquote(text) if "%" in text else text)
        if len(self._places) < PLACES and len(path) < PLACES:
            self._places[path] = found
        return found

    def take(self, client: Client) -> None:
        """Carry a request under a mount over, and its answer back."""
        headers = client.headers
        if self.settings.token and not _is_known(headers, self.settings.token):
            client.begin(UNKNOWN.status, [*UNKNOWN.headers, (b"content-length", b"%d" % len(UNKNOWN.body))])
            client.write(UNKNOWN.body, more=False)
            return
        started, wall = time.perf_counter(), time.time()
        route, path = client.place
        spot = endpoint(route.kind, client.method.decode(), path, client.query.decode("latin-1"))
        session = self.desk.session(route, spot, headers)
        session.peer = client.peer
        kind = Inline if session.ruling.is_inline else Observed
        passage: Passage = kind(self, session, client, started, wall)
        for name, value in headers:
            if name == probe.HEADER:
                passage.cell = probe.verified(value, self.desk.brain.key, wall)
            elif name == probe.POSE and probe.sent(headers, self.desk.brain.key, wall) is not None:
                passage.pose(probe.pose_of(value, self.desk.brain.key, wall))
        client.crossing = passage
        self.desk.open[passage] = None
        passage.run()

    def left(self, passage: Passage) -> None:
        """An exchange is over. Nobody holds on to anybody any more, so that all of it is freed at once, and not when the collector comes by."""
        del self.desk.open[passage]
        passage.client.crossing = None
        passage.reply = None

    # -- everything else on this address

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == "/livez" or path == "/readyz":
            await self._own(path, send)
            return
        if self.settings.token and not _is_known(scope["headers"], self.settings.token):
            await answered(send, UNKNOWN)
            return
        door = self.doors.get(path.split("/", 2)[1])
        await (door(scope, receive, send) if door else self._own(path, send, scope["headers"]))

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
        """What a probe asks for: the mounts and the ports for gRPC, or what was decided about a probe."""
        if name == "mounts":
            ruling = self.desk.brain.ruling
            rows = [[one.name, one.kind, ruling(one).mode, one.upstream] for one in self.mounts.routes.values()]
            asked = [one for one in self.doors.values() if isinstance(one, Asked)]
            rows += [[one.kind, one.kind, ruling(one.route("")).mode, ""] for one in asked]
            policy = self.desk.brain.policy
            ports = [[one.place.listen, one.place.mount] for one in self.listeners if isinstance(one, GrpcDoor)]
            told = {"mounts": rows, "policy": policy.revision if policy else "none", "ports": ports}
            return msgspec.json.encode(told)
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
