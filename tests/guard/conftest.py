"""Fixtures for the doors: `net` is the module of stand-ins beside this file, `peer` makes servers and closes them, `authority` signs certificates, `redis` is a real one."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


def load(name: str) -> Any:
    """A module beside this file, imported by path."""
    key = f"guard_tests_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, Path(__file__).with_name(f"{name}.py"))
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module
        spec.loader.exec_module(module)
    return sys.modules[key]


@pytest.fixture(scope="session")
def net() -> Any:
    """The stand-ins."""
    return load("peers")


@pytest.fixture
def peer(net: Any) -> Iterator[Callable[..., Any]]:
    """Makes peers, and closes them."""
    made: list[Any] = []

    def make(script: Any, tls: Any = None) -> Any:
        made.append(net.Peer(script, tls))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def authority(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A private certificate authority with files for a server (127.0.0.1, localhost) and a client."""
    return net.Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Redis or Valkey."""
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if server is None:
        pytest.skip("no redis-server here; apt-get install redis-server")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    folder: Path = tmp_path_factory.mktemp("redis")
    words = [
        server,
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
