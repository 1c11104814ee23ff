"""A probe through the guard's ICAP door: what the company's proxy would send for it, REQMOD and then RESPMOD.

In: the door's address, a probe, the reply its provider would give. Out: what the application would get, and which decision was made. It proves the door, not the proxy in front of it: whether that sends
its AI traffic here, its own log and the decision log say.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import IO, NamedTuple

from afterguard.errors import Unreachable
from afterguard.guard import probe, probe_reply
from afterguard.guard.icap_exchange import LINK
from afterguard.wire import icap
from afterguard.wire.icap import BadIcap, Http

SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n\Z")


class Got(NamedTuple):
    """What an application would get."""

    status: int
    headers: dict[str, str]
    body: bytes
    decision: str


class Heard(NamedTuple):
    """One ICAP reply."""

    status: int
    headers: dict[bytes, bytes]
    kind: str
    """req or res, "" where nothing was encapsulated."""
    message: Http | None
    body: bytes


class Door:
    """An ICAP door, asked as a proxy asks it."""

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        self.token = token.encode()

    def ask(
        self,
        _mount: str,
        upstream: str,
        cell: probe.Cell,
        body: bytes,
        headers: Mapping[str, str],
        reply: probe_reply.Canned,
    ) -> Got:
        """A probe and its reply. Raises Unreachable."""
        rows = [(name.encode(), value.encode()) for name, value in headers.items()]
        rows.append((b"Content-Length", str(len(body)).encode()))
        request = Http(f"POST {upstream}{probe.path(cell)} HTTP/1.1".encode(), rows)
        first = self._said("reqmod", [], [("req-hdr", request)], "req-body", body)
        link = first.headers.get(LINK.lower(), b"")
        if first.kind == "res" and first.message is not None:
            return self._got(first.message, first.body, "")
        told = [(b"Content-Type", reply.content_type.encode())]
        if reply.encoding:
            told.append((b"Content-Encoding", reply.encoding.encode()))
        answer = Http(b"HTTP/1.1 200 OK", told)
        heads = [("req-hdr", request), ("res-hdr", answer)]
        second = self._said("respmod", [(LINK, link)], heads, "res-body", reply.body)
        message, said = (second.message, second.body) if second.message is not None else (answer, reply.body)
        return self._got(message, said, link.decode("latin-1").rpartition(".")[2])

    def _got(self, message: Http, body: bytes, decision: str) -> Got:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message.headers}
        status = int(message.line.split(b" ")[1])
        return Got(status, headers, body, decision or headers.get("x-afterguard-decision", ""))

    def _said(
        self, service: str, headers: list[tuple[bytes, bytes]], heads: list[tuple[str, Http]], kind: str, body: bytes
    ) -> Heard:
        places, block = [], b""
        for name, head in heads:
            places.append(f"{name}={len(block)}")
            block += bytes(head)
        places.append(f"{kind}={len(block)}")
        line = f"{service.upper()} icap://{self.address}/{service} ICAP/1.0".encode()
        rows = [(b"Host", self.address.encode()), (b"Allow", b"204"), (b"Connection", b"close"), *headers]
        if self.token:
            rows.append((b"X-Afterguard-Token", self.token))
        rows.append((b"Encapsulated", ", ".join(places).encode()))
        third = len(body) // 3 + 1
        pieces = [body[at : at + third] for at in range(0, len(body), third)]
        host, _, port = self.address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), 30) as sock, sock.makefile("rb") as file:
                sock.sendall(bytes(Http(line, rows)) + block + icap.body(pieces))
                return heard(file)
        except (OSError, BadIcap, ValueError) as error:
            raise Unreachable(
                f"no ICAP door at {self.address}: {error}",
                hint="start it: afterguard guard --door icap=HOST:PORT --upstream openai=URL",
                slug="guard-unreachable",
            ) from None


def heard(file: IO[bytes]) -> Heard:
    """One reply of the door. Raises BadIcap, OSError."""
    head = icap.http(_head(file))
    parts = head.line.split(b" ")
    status = int(parts[1])
    headers = {name.lower(): value for name, value in head.headers}
    if status == 204:
        return Heard(status, headers, "", None, b"")
    if status != 200:
        raise BadIcap(f"it said {head.line.decode('latin-1')}")
    kind = headers.get(b"encapsulated", b"").partition(b"-")[0].decode("latin-1")
    message = icap.http(_head(file))
    has_body = b"null-body" not in headers.get(b"encapsulated", b"")
    return Heard(status, headers, kind, message, _body(file) if has_body else b"")


def _head(file: IO[bytes]) -> bytes:
    out = b""
    while not out.endswith(b"\r\n\r\n"):
        line = file.readline(icap.HEAD_CAP)
        if not line or len(out) > icap.HTTP_CAP:
            raise BadIcap("it broke off in a head")
        out += line
    return out


def _body(file: IO[bytes]) -> bytes:
    out = []
    while True:
        found = SIZE.match(file.readline(icap.LINE_CAP))
        if not found:
            raise BadIcap("it broke off in a body")
        size = int(found[1], 16)
        out.append(file.read(size))
        file.readline(3)
        if not size:
            return b"".join(out)
