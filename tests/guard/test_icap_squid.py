"""The ICAP door behind a real Squid that opens TLS: the OpenAI SDK through it, whole and streamed, blocked, edited, compressed; and what clients see when the guard or Squid is away."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
box: Any = running.module(Path(__file__).with_name("squid.py"))
openai = pytest.importorskip("openai")
pytestmark = pytest.mark.skipif(not box.is_here(), reason=box.MISSING)
KEY = running.KEY
SECRET = "ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA4"
RULES = running.rules(
    running.rule("no-keys-out", "redact", "request", {"hit.kind": "secret_in_input"}), head="mode: {mode}"
)


class World(NamedTuple):
    """Everything on the way."""

    stand_in: Any
    origin: str
    guard: Any
    squid: Any
    door: int
    client: Any
    http: httpx.Client

    def ask(self, *messages: str, **more: Any) -> Any:
        turns = [{"role": ("user", "assistant")[n % 2], "content": m} for n, m in enumerate(messages)]
        return self.client.chat.completions.create(model=more.pop("model", "m"), messages=turns, **more)

    def last(self, count: int) -> list[dict[str, Any]]:
        """The decisions behind the first `count`, as soon as there are any."""
        return running.until(lambda: self.guard.lines()[count:], 8.0)


def lines(door: int, origin: str, policy: Path, *more: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "afterguard", "guard", "squid-config", "--door", f"127.0.0.1:{door}"]
    command += [f"--upstream=openai={origin}/openai", "--policy", str(policy), *more]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout


@contextlib.contextmanager
def world(folder: Path, authority: Any, mode: str, *flags: str, squid_flags: tuple[str, ...] = ()) -> Iterator[World]:
    """Stand-in, TLS before it, guard with the door, Squid, and an SDK that uses it."""
    policy = RULES.replace("{mode}", mode)
    door, port = running.free_port(), running.free_port()
    with running.stand_in() as stand_in, box.front(stand_in.origin, *authority.issue("front")) as tls:
        origin = f"https://localhost:{tls}"
        mounts = {"openai": f"{origin}/openai"}
        with running.guard("", folder, policy, f"--door=icap=127.0.0.1:{door}", *flags, *os.environ.get("AG_FLAGS","").replace("ORIGIN",stand_in.origin.replace("127.0.0.1","localhost")).split(), mounts=mounts) as guard:
            told = lines(door, origin, guard.policy, *squid_flags)
            with box.squid(told, authority, port, extra=os.environ.get("SQ_EXTRA", "")) as squid, client_of(authority, squid.url, origin) as (client, http):
                yield World(stand_in, origin, guard, squid, door, client, http)


@contextlib.contextmanager
def client_of(authority: Any, proxy: str, origin: str) -> Iterator[tuple[Any, httpx.Client]]:
    """The SDK as it is on a machine of that company: its proxy, its authority."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    with httpx.Client(proxy=proxy, verify=context, timeout=20) as http:
        yield openai.OpenAI(base_url=f"{origin}/openai/v1", api_key="sk-test", http_client=http, max_retries=0), http


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory, authority: Any) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("enforce"), authority, "enforce") as one:
        yield one


@pytest.fixture(scope="module")
def observing(tmp_path_factory: pytest.TempPathFactory, authority: Any) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("observe"), authority, "observe") as one:
        yield one


def test_a_whole_reply_is_one_decision(enforcing: World) -> None:
    before = len(enforcing.guard.lines())
    said = enforcing.ask("Good morning. [[say: Hello there.]]")
    assert said.choices[0].message.content == "Hello there."
    (line,) = enforcing.last(before)
    assert line["status_code"] == "200" and line["api"]["operation"] == "chat"
    assert "unjudged" not in line["unmapped"]["afterguard"], line["unmapped"]
