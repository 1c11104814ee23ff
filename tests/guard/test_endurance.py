"""What long runs and restarts brought to light: each was once wrong.

In: the journal on a disk that fills, a guard whose policy changed before its worker began, the real command while it leaves, a serving process that is killed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

from afterguard.config import Config, GuardConfig
from afterguard.detect.detector import Bounded
from afterguard.guard.gate import Gate
from afterguard.guard.journal import Journal
from afterguard.jobs.guard import Guard, plan
from afterguard.jobs.judging import KILL
from afterguard.wire import mcp
from afterguard.wire.parts import Parts

ROOT = Path(__file__).resolve().parents[2]
LINES = [b'{"n": %d}\n' % number for number in range(6)]


def read(path: Path) -> tuple[int, int]:
    """(decisions, decisions told as lost). Raises for a line that is not JSON."""
    rows = [json.loads(line) for line in path.read_text().splitlines() if line]
    return sum("n" in row for row in rows), sum(row.get("lost", 0) for row in rows)


class Disk:
    """os.write with only so much room."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.real = os.write

    def write(self, handle: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(28, "No space left on device")
        wrote = self.real(handle, bytes(data)[: self.room])
        self.room -= wrote
        return wrote


@pytest.mark.parametrize("room", range(0, 64, 3))
def test_a_line_that_found_half_a_place_is_taken_back_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "log"
    disk = Disk(room)
    journal = Journal(path)
    monkeypatch.setattr(os, "write", disk.write)
    for line in LINES[:3]:
        journal.write(line)
    journal._waiting = LINES[3:5]
    journal.flush()
    disk.room = 30  # room for what was lost, or for a part of it
    journal.write(LINES[5])
    disk.room = 10_000
    journal.write(LINES[0])
    journal.close()
    decisions, lost = read(path)
    assert decisions + lost == 7
    assert decisions == journal.written and lost == journal.lost_ever and not journal.lost


def test_where_another_process_wrote_behind_the_torn_line_the_next_one_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    journal = Journal(path)
    disk = Disk(4)

    def write(handle: int, data: bytes) -> int:
        try:
            return disk.write(handle, data)
        except OSError:
            with path.open("ab") as other:
                other.write(b"x")
            raise

    monkeypatch.setattr(os, "write", write)
    journal.write(LINES[0])
    disk.room = 10_000
    journal.write(LINES[1])
    *_, told, last = path.read_bytes().splitlines()
    assert json.loads(told) == {"format": "afterguard.lost/1", "lost": 1} and json.loads(last) == {"n": 1}


def test_a_worker_that_begins_later_takes_the_policy_as_it_is_then(tmp_path: Path) -> None:
    """The parent read it when the guard was started; a restart by HUP, or after a crash, must not bring that back."""
    file = tmp_path / "policy.yaml"
    text = (ROOT / "src/afterguard/catalog/policies/starter.yaml").read_text()
    file.write_text(text)
    settings = GuardConfig(upstream=["openai=http://127.0.0.1:1"], policy=str(file), detectors=False, helpers=0)
    made = plan(Config(guard=settings), tmp_path / "guard", tmp_path / "log")
    file.write_text(text.replace("\nsays: ", "\nsays: Changed. ", 1))
    (tmp_path / "guard" / KILL).touch()
    one = Guard(made, Gate())
    assert one.brain.policy is not None and made.policy is not None
    assert one.brain.policy.revision != made.policy.revision
    assert one.brain.is_killed, "the switch was pulled while no worker was there"


def test_a_cache_is_bounded_by_what_it_keeps_alive() -> None:
    """4,096 judgements of prompts of 400 KB each were 1.6 GB."""
    cache: Bounded[int] = Bounded(4_096)
    for number in range(100):
        cache.put(f"{number}" + "a" * 400_000, number)
        assert cache.get(f"{number}" + "a" * 400_000) == number
    assert 1 < len(cache) < 30 and cache.held == sum(map(len, cache._rows))
    cache.put("a" * (20 << 20), 1)
    assert not len(cache) and not cache.held


def test_a_batch_of_batches_is_no_message() -> None:
    body: list[Any] = []
    for _ in range(500):
        body = [body]
    assert mcp.request(body, Parts()) == mcp.response(body, Parts()) == ""


HELPED = """
import asyncio, sys
from afterguard.detect import Context
from afterguard.guard.brain import Brain
from afterguard.guard.pool import Pool, Thinking

async def main():
    pool = Pool(Thinking(b"k" * 32, "off"), Brain(Context(str)), 2)
    await pool.ready()
    print(*pool._pool._processes, flush=True)
    await asyncio.sleep(60)

if __name__ == "__main__":
    from pathlib import Path
    from afterguard.compiled import cache_folder
    from afterguard.compiled import Compiled
    from afterguard.detect.prefilter import remember
    remember(Compiled(cache_folder()))
    asyncio.run(main())
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs /proc")
def test_helpers_leave_when_their_process_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "helped.py"
    script.write_text(HELPED)
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        helpers = [int(one) for one in process.stdout.readline().split()]
        assert len(helpers) == 2
    finally:
        process.kill()
        process.communicate()
    until = time.monotonic() + 10
    while any(_runs(pid) for pid in helpers) and time.monotonic() < until:
        time.sleep(0.05)
    left = [pid for pid in helpers if _runs(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _request(words: int, stream: bool) -> bytes:
    text = f"Say something. [[long: {words}]] [[slow: 0.02]]"
    body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()
    return b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _reply(sock: socket.socket, ends: bytes) -> bytes:
    got = b""
    while ends not in got:
        data = sock.recv(65536)
        if not data:
            return got + b"<closed>"
        got += data
    return got


def test_a_connection_that_was_promised_to_stay_can_be_used_once_more_while_the_guard_leaves(tmp_path: Path) -> None:
    """A client that sends its next request the moment a stream has ended must not find the connection closed."""
    model, listen = free_port(), f"127.0.0.1:{free_port()}"
    stand_in = [sys.executable, str(ROOT / "examples/stand_in_providers.py"), "--port", str(model)]
    command = [sys.executable, "-m", "afterguard", "guard", "--listen", listen, "--no-config", "--quiet"]
    command += ["--no-detectors", "--folder", str(tmp_path), "--upstream", f"openai=http://127.0.0.1:{model}/openai"]
    running: list[subprocess.Popen[Any]] = [subprocess.Popen(stand_in, stdout=subprocess.DEVNULL)]
    try:
        guard = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        running.append(guard)
        host, _, number = listen.partition(":")
        until = time.monotonic() + 60
        while True:
            try:
                sock = socket.create_connection((host, int(number)), 10)
                break
            except OSError:
                assert time.monotonic() < until and guard.poll() is None
                time.sleep(0.05)
        with sock:
            sock.sendall(_request(60, True))
            assert b"200 OK" in sock.recv(4096)
            guard.terminate()
            _reply(sock, b"0\r\n\r\n")
            sock.sendall(_request(3, False))
            second = _reply(sock, b'"usage"')
            assert second.startswith(b"HTTP/1.1 200 OK") and b"connection: close" in second.lower()
        assert guard.wait(60) == 0
    finally:
        for process in running:
            process.kill()
            process.wait()
