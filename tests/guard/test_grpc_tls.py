"""The gRPC port with TLS and with client certificates on both sides, with the real tritonclient and a real gRPC server."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import running
from ports import free_port
from test_grpc import ROW, Service, asked, grpc, service_pb2_grpc, triton

from afterguard.errors import UsageError
from afterguard.guard.grpc_door import Secured, _offered
from afterguard.policy.shipped import shipped_text


def read(name: str) -> bytes:
    return Path(name).read_bytes()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, authority: Any) -> Iterator[Any]:
    """A guard whose gRPC port asks for client certificates, before a server that asks for the guard's."""
    folder = tmp_path_factory.mktemp("grpc-tls")
    ca = authority.ca.read_bytes()
    theirs, own, client = (authority.issue(name) for name in ("triton", "guard", "application"))
    both = folder / "guard-as-client.pem"
    both.write_bytes(read(own[0]) + read(own[1]))
    certificate, key = folder / "tls.pem", folder / "tls.key"
    shutil.copy(own[0], certificate)
    shutil.copy(own[1], key)
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
    secure = grpc.ssl_server_credentials([(read(theirs[1]), read(theirs[0]))], ca, True)
    target = server.add_secure_port("127.0.0.1:0", secure)
    server.start()
    port = free_port()
    flags = ("--grpc", f"fraud@127.0.0.1:{port}=grpcs://localhost:{target}")
    settings = {
        "TLS_CERTIFICATE": certificate, "TLS_KEY": key, "CLIENT_CA": authority.ca, "UPSTREAM_CA": authority.ca, "UPSTREAM_CERTIFICATE": both,
    }  # fmt: skip
    for name, file in settings.items():
        os.environ[f"AFTERGUARD_GUARD_{name}"] = str(file)
    policy = running.rules(
        running.rule("fewer-digits", "round", "response", {"prediction.rows|gte": 1}, digits=2), head="mode: enforce"
    )
    try:
        with running_tls(folder, policy, flags, authority, client) as guard:
            yield type(
                "Door", (), {"port": port, "client": client, "ca": authority.ca, "folder": folder, "guard": guard}
            )
    finally:
        for name in settings:
            del os.environ[f"AFTERGUARD_GUARD_{name}"]
        server.stop(0)


def running_tls(folder: Path, policy: str, flags: Any, authority: Any, client: Any) -> Any:
    """running.guard, whose readiness is asked over TLS with a client certificate."""
    import contextlib
    import ssl
    import urllib.request

    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(*client)

    def is_ready(process: Any, url: str) -> bool:
        if process.poll() is not None:
            return True
        try:
            with urllib.request.urlopen(
                url.replace("http:", "https:") + "/readyz", timeout=2, context=context
            ) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    @contextlib.contextmanager
    def made() -> Iterator[Any]:
        before = running._is_ready
        running._is_ready = is_ready
        try:
            with running.guard("", folder, policy, *flags, mounts={"fraud:kserve": "http://127.0.0.1:9"}) as guard:
                yield guard
        finally:
            running._is_ready = before

    return made()


def triton_client(door: Any, *, shows: bool) -> Any:
    pair = (door.client[1], door.client[0]) if shows else (None, None)
    return triton.InferenceServerClient(
        f"localhost:{door.port}",
        ssl=True,
        root_certificates=str(door.ca),
        private_key=pair[0],
        certificate_chain=pair[1],
    )


def test_who_shows_a_certificate_is_served_and_judged(door: Any) -> None:
    one = triton_client(door, shows=True)
    found = one.infer("fraud", [asked(ROW)]).as_numpy("probabilities")
    one.close()
    assert all(abs(value * 100 - round(value * 100)) < 1e-4 for value in found.ravel().tolist()), "rounded"


def test_who_shows_none_or_speaks_no_tls_is_not_served(door: Any) -> None:
    before = len(Service.asked)
    bare = triton_client(door, shows=False)
    plain = triton.InferenceServerClient(f"127.0.0.1:{door.port}")
    for one in (bare, plain):
        with pytest.raises(triton.InferenceServerException):
            one.infer("fraud", [asked(ROW)], client_timeout=5)
        one.close()
    assert len(Service.asked) == before and door.guard.process.poll() is None


def test_the_port_is_proven_over_tls(tmp_path: Path, authority: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = authority.issue("proven")
    for name in ("CLIENT_CA", "UPSTREAM_CA", "UPSTREAM_CERTIFICATE"):  # of the door above
        monkeypatch.delenv(f"AFTERGUARD_GUARD_{name}", raising=False)
    monkeypatch.setenv("AFTERGUARD_GUARD_TLS_CERTIFICATE", str(certificate))
    monkeypatch.setenv("AFTERGUARD_GUARD_TLS_KEY", str(key))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    port = free_port()
    flags = ("--grpc", f"fraud@127.0.0.1:{port}=grpc://127.0.0.1:{free_port()}")
    policy = shipped_text("strict").replace("mode: observe", "mode: enforce")
    with running_tls(tmp_path, policy, flags, authority, (certificate, key)) as guard:
        words = ("--no-config", "--tls", f"--door=grpc=localhost:{port}")
        done = running.prove(f"localhost:{guard.port}", guard.folder, *words)
        assert done.returncode == 0 and "grpc/fraud predict" in done.stdout, done.stdout + done.stderr


def test_a_renewed_certificate_is_taken_without_a_restart(door: Any, authority: Any) -> None:
    import ssl

    def shown() -> str:
        context = ssl.create_default_context(cafile=str(door.ca))
        context.load_cert_chain(*door.client)
        context.set_alpn_protocols(["h2"])
        import socket

        with (
            socket.create_connection(("127.0.0.1", door.port), timeout=5) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as line,
        ):
            return str(line.getpeercert())

    assert "'guard'" in shown()
    fresh = authority.issue("guard-renewed")
    shutil.copy(fresh[1], door.folder / "tls.key")
    shutil.copy(fresh[0], door.folder / "tls.pem")
    running.until(lambda: "'guard-renewed'" in shown(), 10)


def test_files_that_are_none_are_said(tmp_path: Path, authority: Any) -> None:
    certificate, _ = authority.issue("a")
    with pytest.raises(UsageError, match="is not there"):
        _offered(grpc, Secured(certificate, str(tmp_path / "none.key")))
    _, other = authority.issue("b")
    with pytest.raises(UsageError, match="does not belong"):
        _offered(grpc, Secured(certificate, other))
