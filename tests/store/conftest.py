"""The same tests on SQLite and on a real PostgreSQL server that the tests start and stop themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from afterguard.store.database import Store, open_store

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
    Path(found) for found in [shutil.which("initdb")] if found
]


def _run(user: list[str], *command: str) -> None:
    subprocess.run([*user, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)


@contextmanager
def running(binaries: Path) -> Iterator[str]:
    """URL of a fresh server on a Unix socket, without the network; `binaries` is the folder of its programs."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    user = []
    if os.geteuid() == 0:
        user = (
            ["runuser", "-u", "postgres", "--"]
            if shutil.which("runuser")
            else ["su", "postgres", "-s", "/bin/sh", "-c"]
        )
        shutil.chown(folder, "postgres")
    data = folder / "data"
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c shared_buffers=16MB"
    try:
        _run(
            user,
            str(binaries / "initdb"),
            "-D",
            str(data),
            "-A",
            "trust",
            "-U",
            "postgres",
            "-N",
            "-E",
            "UTF8",
            "--locale=C",
        )
        _run(user, str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        yield f"postgresql://postgres@/postgres?host={folder}"
    finally:
        subprocess.run(
            [*user, str(binaries / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a server of this machine's own."""
    if not BINARIES:
        pytest.skip("no PostgreSQL server binaries (initdb) on this machine")
    pytest.importorskip("psycopg", reason="the psycopg package is not installed")
    with running(BINARIES[-1].parent) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where a store can be opened: a file, then a schema of its own on the server."""
    if request.param == "sqlite":
        yield str(tmp_path / "store" / "afterguard.db")
        return
    import psycopg

    url = request.getfixturevalue("postgres_server")
    name = "t" + os.urandom(6).hex()
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_793_700_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(target: str, clock: Clock) -> Iterator[Callable[[], Store]]:
    """Opens the store, as often as a test wants; all are closed at the end."""
    stores: list[Store] = []

    def make() -> Store:
        stores.append(open_store(target, clock=clock))
        return stores[-1]

    yield make
    for one in stores:
        one.close()
