"""Real clients against the stand-in providers, with and without the guard between.

In: nothing but this machine. Out: `both`, which lets a client talk directly and through the way under test and compares what the client
got and which bytes the provider received. The guard is the real command in a process of its own. It calls nobody outside.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

ROOT = Path(__file__).resolve().parents[3]
MOUNTS = ("openai", "azure", "anthropic", "gemini", "ollama", "mcp/pages", "mcp/pages-sse")
WAYS = ("direct", "observe", "enforce")
SECRET = "stand-in-secret"
PATIENCE = 60.0
OTHER = "AFTERGUARD_COMMAND"
COMMAND = os.environ.get(OTHER, f"{sys.executable} -m afterguard").split()
"""Another installation, or any proxy that takes the guard's arguments, to see what is the guard's doing."""

# Settings of the machine must not send a client elsewhere, and no client may report home.
for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
    os.environ.pop(name, None)
os.environ |= {
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "DO_NOT_TRACK": "1",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings inside other people's clients are not this project's."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for kind in (
                "DeprecationWarning",
                "PendingDeprecationWarning",
                "ResourceWarning",
                "pytest.PytestUnraisableExceptionWarning",
            ):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


@pytest.fixture(scope="module", autouse=True)
def left() -> Iterator[None]:
    """What other people's clients left open is found here, and not by whichever test collects garbage next; also what a guard in this process has set aside."""
    yield
    gc.unfreeze()
    gc.collect()


class StandIn:
    """The stand-in's own controls."""

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def requests(self, tag: str) -> list[dict[str, Any]]:
        return _ask(f"{self.origin}/stand-in/requests?tag={urllib.parse.quote(tag)}")["requests"]

    def script(self, **orders: Any) -> None:
        _ask(f"{self.origin}/stand-in/script", orders)

    def forget(self) -> None:
        _ask(f"{self.origin}/stand-in/forget", {})

    def outcome(self, tag: str, within: float = 2.0) -> dict[str, Any]:
        """The one request of that tag, as soon as it ended."""
        until = time.monotonic() + within
        while True:
            rows = self.requests(tag)
            if (rows and rows[-1]["outcome"] != "open") or time.monotonic() > until:
                assert len(rows) == 1, [row["outcome"] for row in rows]
                return rows[0]
            time.sleep(0.02)


def _ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, data, {"content-type": "application/json"}), timeout=10
    ) as reply:
        return json.load(reply)


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    command = [sys.executable, str(ROOT / "examples/stand_in_providers.py"), "--port", "0", "--aws-secret", SECRET]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield StandIn(process.stdout.readline().split()[-1])
    finally:
        _end(process)
        process.stdout.close()


def _end(process: subprocess.Popen[Any]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def environment() -> dict[str, str]:
    """Without what is meant for the tests: to the guard it would be a setting that nobody knows."""
    return {name: value for name, value in os.environ.items() if name != OTHER}


@pytest.fixture(scope="session")
def guard_missing() -> str:
    """Why there is no guard to run, or nothing."""
    asked = subprocess.run([*COMMAND, "guard", "--help"], capture_output=True, text=True, cwd=ROOT, env=environment())
    shown = asked.stdout + asked.stderr
    return "" if asked.returncode == 0 and "--listen" in shown else "the command `afterguard guard` does not exist yet"


@pytest.fixture(scope="session")
def start_guard(
    stand_in: StandIn, guard_missing: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """Starts the command in a mode, once, and says where it listens."""
    running: dict[str, tuple[subprocess.Popen[bytes], str]] = {}
    failed: dict[str, str] = {}

    def start(mode: str) -> str:
        if guard_missing:
            pytest.skip(guard_missing)
        if mode in failed:
            pytest.fail(failed[mode])
        if mode not in running:
            folder = tmp_path_factory.mktemp(f"guard-{mode}")
            try:
                running[mode] = launch_guard(stand_in.origin, folder, mode)
            except RuntimeError as error:
                # Once is enough: starting it in vain takes its time.
                failed[mode] = str(error)
                pytest.fail(failed[mode])
        return running[mode][1]

    yield start
    for process, _ in running.values():
        _end(process)


@pytest.fixture(scope="module")
def guard_with(
    stand_in: StandIn, guard_missing: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """Starts an enforcing guard with this text as its policy and says where it listens."""
    running: list[subprocess.Popen[bytes]] = []

    def start(policy: str) -> str:
        if guard_missing:
            pytest.skip(guard_missing)
        folder = tmp_path_factory.mktemp("guard-with")
        file = folder / "policy.yaml"
        file.write_text(policy)
        process, url = launch_guard(stand_in.origin, folder, "enforce", str(file))
        running.append(process)
        return url

    yield start
    for process in running:
        _end(process)


def launch_guard(
    upstream: str, folder: Path, mode: str, policy: str = "starter"
) -> tuple[subprocess.Popen[bytes], str]:
    listen = f"127.0.0.1:{free_port()}"
    command = [*COMMAND, "guard", "--listen", listen, "--mode", mode, "--policy", policy]
    for mount in (*MOUNTS, "bedrock"):
        command += ["--upstream", f"{mount}={upstream}/{mount}"]
    given = environment() | {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    # The compiled patterns stay where they are: building them anew takes seconds.
    given.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    given |= {"AWS_ACCESS_KEY_ID": "AKIDSTANDIN", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    said = folder / "said.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=given)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{listen}/readyz", timeout=2) as reply:
                if reply.status == 200:
                    return process, f"http://{listen}"
        except OSError:
            time.sleep(0.05)
    if process.poll() is None:
        _end(process)
    raise RuntimeError(f"the guard did not become ready:\n{said.read_text(errors='replace')[-3000:]}")


@dataclass
class Way:
    """One way to the provider."""

    name: str
    origin: str
    stand_in: StandIn


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, stand_in: StandIn) -> Way:
    origin = stand_in.origin if request.param == "direct" else request.getfixturevalue("start_guard")(request.param)
    return Way(request.param, origin, stand_in)


@pytest.fixture
def tag(request: pytest.FixtureRequest) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


Talk = Callable[[str], Any]


@pytest.fixture
def both(way: Way, tag: str) -> Callable[[Talk], Any]:
    """Talks directly, then by the way under test: the client must get the same, the provider must receive the same bytes."""

    def run(talk: Talk, same: bool = True) -> Any:
        told, received = [], []
        for origin in (way.stand_in.origin, way.origin):
            way.stand_in.forget()
            told.append(talk(origin))
            received.append(sorted(row["sha256"] for row in way.stand_in.requests(tag)))
        assert received[0], "the provider saw nothing: the tag is not in the message"
        assert received[1] == received[0], "the provider received other bytes, or not as often"
        if same:
            assert told[1] == told[0]
        return told[1]

    return run
