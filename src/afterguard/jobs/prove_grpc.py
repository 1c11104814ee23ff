"""A probe through a port for gRPC: what a client of KServe would send for it.

In: the port's address, a probe. Out: whether the client gets a reply, and which decision was made. The guard answers a probe itself, so the model is not asked.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afterguard.errors import Unreachable, UsageError
from afterguard.guard import probe, probe_reply, probe_request
from afterguard.guard.grpc_door import DECISION, library
from afterguard.jobs.prove_icap import Got
from afterguard.wire.kserve_grpc import METHOD

WAIT = 30.0
STATUS = {"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503}
"""Of a call that the guard refuses -> what the same refusal is over HTTP."""
PASSED = (probe.HEADER.decode(), "authorization")
"""Headers of a probe that make sense as metadata."""


class Door:
    """A port for gRPC, asked as a client asks it."""

    def __init__(self, address: str, token: str = "", is_tls: bool = False) -> None:
        self.address = address
        self.token = token
        self.is_tls = is_tls

    def mount(self, ports: Mapping[str, str]) -> str:
        """The mount it leads to, as the guard says. Raises UsageError."""
        found = ports.get(self.address.rpartition(":")[2])
        if found is None:
            known = ", ".join(f"{port} ({name})" for port, name in ports.items()) or "none"
            raise UsageError(
                f"the guard has no port for gRPC at {self.address}",
                hint=f"its ports: {known}; it opens one with --grpc NAME@HOST:PORT=grpc://TARGET",
                slug="bad-grpc",
            )
        return found

    def ask(
        self,
        _mount: str,
        _upstream: str,
        cell: probe.Cell,
        _body: bytes,
        headers: Mapping[str, str],
        _reply: probe_reply.Canned,
    ) -> Got:
        """What comes of a probe. Raises Unreachable."""
        grpc = library()
        told = [(name, headers[name]) for name in PASSED] + ([("x-afterguard-token", self.token)] if self.token else [])
        packed = grpc.Compression.Gzip if cell.encoding else grpc.Compression.NoCompression
        with self._channel(grpc) as channel:
            try:
                reply, call = channel.unary_unary(METHOD).with_call(
                    probe_request.MESSAGE, metadata=told, timeout=WAIT, compression=packed
                )
                return Got(200, {}, reply, dict(call.trailing_metadata()).get(DECISION, ""))
            except grpc.RpcError as error:
                return self._refused(error)

    def _refused(self, error: Any) -> Got:
        decision = dict(error.trailing_metadata() or ()).get(DECISION, "")
        if not decision:
            raise Unreachable(
                f"no port of the guard for gRPC at {self.address}: {error.code().name} {error.details()}",
                hint="start it: afterguard guard --upstream NAME:kserve=URL --grpc NAME@HOST:PORT=grpc://TARGET",
                slug="guard-unreachable",
            ) from None
        return Got(STATUS.get(error.code().name, 500), {}, b"", decision)

    def _channel(self, grpc: Any) -> Any:
        if not self.is_tls:
            return grpc.insecure_channel(self.address)
        file = ssl.get_default_verify_paths().cafile
        return grpc.secure_channel(
            self.address, grpc.ssl_channel_credentials(Path(file).read_bytes() if file else None)
        )
