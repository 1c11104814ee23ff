"""A real Squid that opens TLS and asks the guard's ICAP door, and a TLS server in front of the stand-in providers.

In: a folder, the lines of squid.conf that `afterguard guard squid-config` prints. Out: `Squid` (a process) and `front` (a thread). Whatever is started is ended with the context.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BINARY = shutil.which("squid") or "/usr/sbin/squid"
CERTGEN = Path("/usr/lib/squid/security_file_certgen")
MISSING = "no squid with OpenSSL here; apt-get install squid-openssl"
CONF = """\
http_port 127.0.0.1:{port} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB cert={folder}/bump.pem
sslcrtd_program {certgen} -s {folder}/certificates -M 4MB
sslcrtd_children 2 startup=1 idle=1
acl step1 at_step SslBump1
ssl_bump peek step1
ssl_bump bump all
tls_outgoing_options cafile={folder}/upstream.pem
http_access allow localhost
http_access deny all
cache deny all
cache_mem 8 MB
maximum_object_size_in_memory 1 KB
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
access_log stdio:{folder}/access.log
icap_log stdio:{folder}/icap.log
coredump_dir {folder}
netdb_filename none
pinger_enable off
visible_hostname squid.test
shutdown_lifetime 1 seconds
{lines}
"""


def is_here() -> bool:
    """Whether there is a Squid that can open TLS."""
    return Path(BINARY).exists() and CERTGEN.exists()


class Squid:
    """One Squid, which may be started again."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; ready when it listens and its ICAP services are known."""
        command = [BINARY, "-N", "-d", "1", "-f", str(self.folder / "squid.conf")]
        with (self.folder / "said.txt").open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self.folder)
        until = time.monotonic() + 20
        while not self.is_listening():
            assert self.process.poll() is None and time.monotonic() < until, self.said()[-3000:]
            time.sleep(0.05)

    def is_listening(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def said(self) -> str:
        """What Squid says of itself."""
        files = (self.folder / "said.txt", self.folder / "cache.log")
        return "".join(file.read_text(errors="replace") for file in files if file.exists())


@contextlib.contextmanager
def squid(lines: str, authority: Any, port: int, *, extra: str = "") -> Iterator[Squid]:
    """A Squid with these lines in its squid.conf, trusting `authority` for upstreams and signing with it."""
    folder = Path(tempfile.mkdtemp(prefix="afterguard-squid-"))
    folder.chmod(0o755)
    try:
        shutil.copy(authority.ca, folder / "upstream.pem")
        (folder / "bump.pem").write_bytes(authority.ca.read_bytes() + authority.key_pem())
        (folder / "squid.conf").write_text(CONF.format(port=port, folder=folder, certgen=CERTGEN, lines=lines) + extra)
        subprocess.run(
            [str(CERTGEN), "-c", "-s", str(folder / "certificates"), "-M", "4MB"], check=True, capture_output=True
        )
        if os.getuid() == 0:
            owner = pwd.getpwnam("proxy")
            for path in (folder, *folder.rglob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        one = Squid(folder, port)
        one.start()
        try:
            yield one
        finally:
            one.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def front(origin: str, certificate: str, key: str) -> Iterator[int]:
    """A TLS server, in a process of its own, that leads to a plain one; its port."""
    command = [sys.executable, __file__, origin, certificate, key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(origin: str, certificate: str, key: str) -> None:
    host, _, port = origin.removeprefix("http://").partition(":")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, far[1]), _copy(far[0], writer))

    server = await asyncio.start_server(lead, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
