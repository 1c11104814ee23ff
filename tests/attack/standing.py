"""Targets that the tests start, and an assessment of one as a person would run it: a TARGET.yaml, a leave, a journal.

In: the text of a target file, a folder. Out: an `Assessment`; addresses of servers that are running. Whatever is started is ended with its block.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from ports import free_port

from afterguard.attack.contract import Technique
from afterguard.attack.techniques import ALL
from afterguard.jobs.attack import Assessment, Head, Journal, Run
from afterguard.jobs.authorisation import Leave
from afterguard.policy.shipped import shipped_text
from afterguard.targets.document import Limits, Target
from afterguard.targets.load import load

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", HERE.parent / "guard" / "running.py")
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
PATIENCE = 120.0


@contextlib.contextmanager
def process(folder: Path, name: str, command: Sequence[str], is_up: Callable[[], bool], **environment: str) -> Iterator[None]:  # fmt: skip
    """A server, from when it answers."""
    said = folder / f"{name}.txt"
    with said.open("wb") as out:
        one = subprocess.Popen(list(command), stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=os.environ | environment)  # fmt: skip
    try:
        running.until(lambda: one.poll() is not None or is_up(), PATIENCE)
        assert one.poll() is None, said.read_text(errors="replace")[-3000:]
        yield
    finally:
        running.end(one)


def answers(url: str) -> Callable[[], bool]:
    """Whether something listens there."""
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(url)

    def look() -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection((parts.hostname, parts.port), 2).close()
            return True
        return False

    return look


@contextlib.contextmanager
def model(folder: Path, character: str) -> Iterator[str]:
    """The stand-in for the model: its origin."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, str(HERE / "desk_model.py"), character, "--port", url.rpartition(":")[2]]
    with process(folder, f"model-{character}", command, answers(url)):
        yield url


@contextlib.contextmanager
def desk(folder: Path, form: str, origin: str) -> Iterator[str]:
    """The demo assistant with this model behind it: its origin."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, str(HERE / "desk.py"), form, "--port", url.rpartition(":")[2]]
    with process(folder, f"desk-{form}", command, answers(url), OPENAI_BASE_URL=f"{origin}/v1"):
        yield url


@contextlib.contextmanager
def guarded(folder: Path, origin: str, *canaries: str) -> Iterator[str]:
    """The real guard with the shipped policy strict before a model, told what was planted, as its owner can: its origin."""
    text = shipped_text("strict").replace("mode: observe", "mode: enforce")
    text = text.replace("\nrules:", f"\ncanaries: [{', '.join(canaries)}]\n\nrules:", 1)
    (folder / "guard").mkdir()
    with running.guard("", folder / "guard", text, mounts={"openai": origin}) as guard:
        yield f"{guard.url}/openai"


def assessed(
    text: str, folder: Path, techniques: Sequence[Technique] = ALL, requests: int = 600, **more: Any
) -> Assessment:
    """An assessment of what this file says, as fast as the target answers."""
    found = load(text, "TARGET.yaml", os.environ)
    limits = Limits(requests=requests, per_second=more.pop("per_second", 1e9), minutes=60, dollars=0)
    target: Target = msgspec.structs.replace(found, limits=limits)
    leave = Leave(target.name, target.host, "Ann", "Bo", "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z", limits=limits, changes=True)  # fmt: skip
    journal = Journal(folder / f"{target.name}.jsonl", Head(target.name, target.host, more.pop("seed", "seed"), "run", ()))  # fmt: skip
    clock = itertools.count()
    settings: dict[str, Any] = {"wall": lambda: 1.8e9, "clock": lambda: next(clock) / 1_000, "sleep": lambda _: None}
    try:
        return Run(target, techniques, leave, journal, **(settings | more)).whole()
    finally:
        journal.close()


def shown(found: Assessment) -> str:
    """A line for each technique that was tried, for whoever reads a failure or writes a table."""
    rows = [f"{found.target}: {found.requests} requests, manner {found.manner!r}, stopped {found.stopped!r}"]
    rows += [f"  {one.technique}: {one.succeeded} of {one.succeeded + one.resisted}, blocked {one.blocked}, {one.not_assessed}" for one in found.families if not one.skipped]  # fmt: skip
    rows += [f"  hit {one.id}: {one.oracle}: {one.evidence[:100]!r}" for one in found.hits]
    return "\n".join(rows)
