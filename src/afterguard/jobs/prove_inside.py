"""Probes through the doors inside an application: its middleware for ASGI and WSGI, and its transport for httpx.

In: the guard of this process. Out: `Proof`s, one a cell and door. What stands behind a door is a reply made here, so no application and no provider is asked. It proves the doors and the policy as they are in this process, not that the
application's own calls come through them: that, the decision log says.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from afterguard.guard import asgi, probe, probe_reply, wsgi
from afterguard.guard.route import Route
from afterguard.guard.transport import Transport
from afterguard.jobs.inside import Made
from afterguard.jobs.prove import WAIT, Proof, proved
from afterguard.jobs.prove_icap import Got

Heads = list[tuple[bytes, bytes]]
Ask = Callable[[str, Heads, bytes, probe_reply.Canned], tuple[int, Heads, bytes]]
"""(path and query, headers, body, the reply) -> (status, headers, body)."""


class Inside:
    """The guard of this process, as `prove` asks for what was decided."""

    def __init__(self, made: Made) -> None:
        self.desk = made.inside.held().desk
        self.key = self.desk.brain.key

    def decision(self, identifier: str) -> Any:
        """What was decided about a probe."""
        one = self.desk.probes.get(identifier)
        return None if one is None else json.loads(msgspec.json.encode(one))

    def newest(self, known: set[str]) -> str:
        """The decision that is new, "" where none was made in time."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            fresh = [name for name in list(self.desk.probes) if name not in known]
            if fresh:
                return fresh[-1]
            time.sleep(0.01)
        return ""


def proofs(made: Made, kinds: tuple[str, ...]) -> Iterator[Proof]:
    """Every cell of these kinds of provider, through each door inside."""
    guard = Inside(made)
    for kind in kinds:
        route = made.route(f"probe-{kind}", kind)
        ruling = guard.desk.brain.ruling(route)
        doors = {"asgi": _asgi(made, route), "wsgi": _wsgi(made, route), "httpx": _httpx(made, route)}
        for name, ask in doors.items():
            if ask is not None:
                for cell in probe.cells(kind):
                    yield proved(guard, name, kind, ruling.mode, cell, _way(guard, ask))


def _way(guard: Inside, ask: Ask) -> Callable[[probe.Cell, bytes, dict[str, str]], Got]:
    def way(cell: probe.Cell, body: bytes, headers: dict[str, str]) -> Got:
        rows = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        rows.append((probe.HEADER, probe.signature(guard.key, probe.named(cell), int(time.time()))))
        rows.append((b"content-length", str(len(body)).encode()))
        known = set(guard.desk.probes)
        status, told, said = ask(probe.path(cell), rows, body, probe_reply.reply(cell, guard.key))
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in told}
        return Got(status, found, said, guard.newest(known))

    return way


def _described(reply: probe_reply.Canned) -> Heads:
    rows = [(b"content-type", reply.content_type.encode()), (b"content-length", str(len(reply.body)).encode())]
    return [*rows, (b"content-encoding", reply.encoding.encode())] if reply.encoding else rows


def _asgi(made: Made, route: Route) -> Ask:
    def ask(target: str, headers: Heads, body: bytes, reply: probe_reply.Canned) -> tuple[int, Heads, bytes]:
        said: list[Any] = []

        async def app(_scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass
            await send({"type": "http.response.start", "status": 200, "headers": _described(reply)})
            await send({"type": "http.response.body", "body": reply.body})

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            said.append(message)

        path, _, query = target.partition("?")
        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "headers": headers,
        }  # fmt: skip
        asyncio.run(asgi.Guarded(app, made.inside, [("/*", route)])(scope, receive, send))
        whole = b"".join(message.get("body", b"") for message in said[1:])
        return said[0]["status"], list(said[0]["headers"]), whole

    return ask


def _wsgi(made: Made, route: Route) -> Ask:
    def ask(target: str, headers: Heads, body: bytes, reply: probe_reply.Canned) -> tuple[int, Heads, bytes]:
        told: list[Any] = []

        def app(environ: Any, start: Any) -> list[bytes]:
            environ["wsgi.input"].read()
            start("200 OK", [(name.decode(), value.decode()) for name, value in _described(reply)])
            return [reply.body]

        def start(status: str, rows: Any, *_: Any) -> Any:
            told[:] = [int(status[:3]), [(name.encode(), value.encode()) for name, value in rows]]

        path, _, query = target.partition("?")
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SCRIPT_NAME": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
        }
        environ |= {f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode() for name, value in headers}
        environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body))}
        pieces = wsgi.Guarded(app, made.inside, [("/*", route)])(environ | {"wsgi.input": io.BytesIO(body)}, start)
        try:
            whole = b"".join(pieces)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        return told[0], told[1], whole

    return ask


def _httpx(made: Made, route: Route) -> Ask | None:
    try:
        import httpx
    except ImportError:
        return None

    def ask(target: str, headers: Heads, body: bytes, reply: probe_reply.Canned) -> tuple[int, Heads, bytes]:
        def answered(_: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers=_described(reply), stream=httpx.ByteStream(reply.body))

        door: Any = Transport(httpx.MockTransport(answered), made.inside, route)
        with httpx.Client(transport=door) as client:
            got = client.post(f"http://provider{target}", headers=headers, content=body)
        return got.status_code, got.headers.raw, got.content

    return ask
