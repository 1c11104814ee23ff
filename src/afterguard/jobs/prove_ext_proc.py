"""A probe through the guard's door for Envoy: what an Envoy would send for it, over gRPC.

In: the door's address, a probe. Out: what the application would get, and which decision was made. The guard answers a probe itself, so the exchange is over with its request. It proves the door, not the Envoy in front of it:
whether that asks the door, `afterguard guard prove --through URL` says.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from afterguard.errors import Unreachable
from afterguard.guard import probe, probe_reply
from afterguard.jobs.prove_icap import Got

WAIT = 30.0
CAP = 64 << 20
"""Bytes of an answer."""


class Door:
    """A door ext_proc, asked as Envoy asks it."""

    def __init__(self, address: str, token: str = "", is_tls: bool = False) -> None:
        self.address = address
        self.token = token
        self.is_tls = is_tls

    def ask(
        self,
        mount: str,
        _upstream: str,
        cell: probe.Cell,
        body: bytes,
        headers: Mapping[str, str],
        _reply: probe_reply.Canned,
    ) -> Got:
        """What comes of a probe. Raises Unreachable."""
        from afterguard.guard.envoy_messages import ProcessingRequest

        first, second = ProcessingRequest(), ProcessingRequest()
        target = f"/{mount}{probe.path(cell)}"
        rows = {":method": "POST", ":path": target, ":authority": "envoy", "content-length": str(len(body)), **headers}
        for name, value in rows.items():
            first.request_headers.headers.headers.add(key=name.encode(), raw_value=value.encode())
        second.request_body.body, second.request_body.end_of_stream = body, True
        try:
            with self._line() as line:
                return _got(_answers(line, self._metadata(mount), [first, second]))
        except (OSError, ValueError) as error:
            raise Unreachable(
                f"no door ext_proc at {self.address}: {error}",
                hint="start it: afterguard guard --door ext_proc=HOST:PORT --upstream openai=URL",
                slug="guard-unreachable",
            ) from None

    def _metadata(self, mount: str) -> dict[str, str]:
        from afterguard.guard import ext_proc

        told = {":method": "POST", ":scheme": "http", ":path": ext_proc.PROCESS, ":authority": self.address}
        told |= {
            "te": "trailers",
            "content-type": "application/grpc",
            ext_proc.MOUNT: mount,
            ext_proc.PREFIX: "/" + mount,
        }
        return told | ({ext_proc.SECRET: self.token} if self.token else {})

    @contextlib.contextmanager
    def _line(self) -> Iterator[socket.socket]:
        host, _, port = self.address.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), WAIT) as plain:
            if not self.is_tls:
                yield plain
                return
            context = ssl.create_default_context()
            context.set_alpn_protocols(["h2"])
            with context.wrap_socket(plain, server_hostname=host.strip("[]")) as line:
                yield line


def _answers(line: socket.socket, metadata: Mapping[str, str], messages: list[Any]) -> list[Any]:
    """Send the messages on one stream; what is answered. Raises OSError, and ValueError where the door refuses."""
    from hpack import Decoder, Encoder

    from afterguard.guard import http2_frames
    from afterguard.guard.envoy_messages import ProcessingResponse

    wide = (http2_frames.WIDE - 65_535).to_bytes(4, "big")
    settings = b"\0\x04" + http2_frames.WIDE.to_bytes(4, "big")
    out = [
        http2_frames.PREFACE,
        http2_frames.frame(http2_frames.SETTINGS, 0, 0, settings),
        http2_frames.frame(http2_frames.WINDOW_UPDATE, 0, 0, wide),
    ]
    out.append(
        http2_frames.frame(http2_frames.HEADERS, http2_frames.END_HEADERS, 1, Encoder().encode(metadata.items()))
    )
    for message in messages:
        raw = message.SerializeToString()
        whole = b"\0" + len(raw).to_bytes(4, "big") + raw
        out += [
            http2_frames.frame(http2_frames.DATA, 0, 1, whole[at : at + 16_384]) for at in range(0, len(whole), 16_384)
        ]
    line.sendall(b"".join(out))
    found, data, decoder = [], b"", Decoder()
    for kind, flags, stream, payload in _frames(line):
        if kind == http2_frames.SETTINGS and not flags & http2_frames.ACK:
            line.sendall(http2_frames.frame(http2_frames.SETTINGS, http2_frames.ACK, 0))
        elif kind == http2_frames.DATA and stream == 1:
            data += payload
            while len(data) >= 5 and len(data) - 5 >= (size := int.from_bytes(data[1:5], "big")):
                found.append(ProcessingResponse.FromString(data[5 : 5 + size]))
                data = data[5 + size :]
                if found[-1].WhichOneof("one") == "immediate_response":
                    return found
        elif kind == http2_frames.HEADERS and stream == 1:
            told = dict(decoder.decode(payload, raw=True))
            if flags & http2_frames.END_STREAM:
                raise ValueError(told.get(b"grpc-message", b"it ended without an answer").decode("latin-1"))
        elif kind in (http2_frames.GOAWAY, http2_frames.RST_STREAM):
            raise ValueError("it ended the connection")
    raise ValueError("it closed the connection")


def _frames(line: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    raw = b""
    while piece := line.recv(1 << 16):
        raw += piece
        if len(raw) > CAP:
            raise ValueError("the answer does not end")
        while len(raw) >= 9 and len(raw) - 9 >= (size := int.from_bytes(raw[:3], "big")):
            yield raw[3], raw[4], int.from_bytes(raw[5:9], "big") & 0x7FFFFFFF, raw[9 : 9 + size]
            raw = raw[9 + size :]


def _got(answers: list[Any]) -> Got:
    said = answers[-1].immediate_response
    headers = {
        row.header.key.decode("latin-1").lower(): row.header.raw_value.decode("latin-1")
        for row in said.headers.set_headers
    }
    return Got(said.status.code, headers, said.body, headers.get("x-afterguard-decision", ""))
