"""The sum over workers: files of real processes, and a guard with two workers of which one is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afterguard.guard.board import Board
from afterguard.guard.metrics import Metrics

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]


def counted(requests: int, seconds: float = 0.02, in_flight: float = 0.0) -> Metrics:
    out = Metrics()
    for _ in range(requests):
        out.add("afterguard_requests_total", "openai", "chat", "allow", "observe")
        out.time("afterguard_judging_seconds", seconds, "openai")
    out.set("afterguard_in_flight", in_flight, "all")
    out.set("afterguard_killed", 1.0)
    return out


def in_a_worker(work: Callable[[], None]) -> int:
    """Run in a forked process that ends as if it were killed."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return pid


def rows(metrics: Metrics) -> tuple[float, float, float, float]:
    """(requests, judged, in flight, killed)."""
    timed = sum(sum(row[:-1]) for row in metrics.histograms["afterguard_judging_seconds"].values())
    one = {name: sum(found.values()) for name, found in metrics.numbers.items()}
    return one["afterguard_requests_total"], timed, one["afterguard_in_flight"], one["afterguard_killed"]


def test_counters_are_added_and_stay_gauges_go(tmp_path: Path) -> None:
    board = Board(tmp_path)

    def work() -> None:
        board.join()
        board.keep(counted(3, in_flight=2))

    pid = in_a_worker(work)
    board.join()
    own = counted(4, seconds=9.0, in_flight=1)
    assert rows(board.total(own)) == (7, 7, 3, 1)
    board.bury(pid)
    assert rows(board.total(own)) == (7, 7, 1, 1)
    board.bury(pid)
    assert rows(board.total(own)) == (7, 7, 1, 1), "once is enough"
    board.close()
    assert not list(tmp_path.iterdir())


def test_between_adding_and_removing_nobody_counts_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(tmp_path)

    def work() -> None:
        board.join()
        board.keep(counted(3))

    pid = in_a_worker(work)
    board.join()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError()))
        board.bury(pid)
    assert rows(board.total(counted(1)))[0] == 4
    board.bury(in_a_worker(work))
    assert rows(board.total(counted(1)))[0] == 7
    board.close()


def test_what_a_killed_guard_left_is_removed_and_a_living_one_is_not(tmp_path: Path) -> None:
    in_a_worker(lambda: Board(tmp_path).join())
    assert len(list(tmp_path.iterdir())) == 1
    one, two = Board(tmp_path), Board(tmp_path)
    assert set(tmp_path.iterdir()) == {one.folder, two.folder}
    one.close()
    two.close()


def test_a_file_that_is_no_file_of_ours_is_left_out(tmp_path: Path) -> None:
    board = Board(tmp_path)
    (board.folder / "77-1").write_bytes(b"\xc1 nonsense")
    (board.folder / "past").write_bytes(b"")
    board.join()
    assert rows(board.total(counted(2)))[0] == 2
    board.bury(77)
    assert rows(board.total(counted(2)))[0] == 2
    board.close()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_workers_of_which_one_is_killed(tmp_path: Path) -> None:
    policy = running.rules(head="mode: enforce")
    with running.stand_in() as model, running.guard(model.origin, tmp_path, policy, "--workers", "2") as one:
        one_of_two_is_killed(one)


def one_of_two_is_killed(one: Any) -> None:
    def ask() -> None:
        # A connection each, so that the kernel spreads them.
        request = urllib.request.Request(one.url + "/openai/v1/chat/completions", running.chat("Hello"))
        with urllib.request.urlopen(request, timeout=20) as reply:
            assert reply.status == 200

    def total() -> float:
        return float(one.metric("afterguard_requests_total"))

    running.until(lambda: len(children(one.process.pid)) == 2, 30)
    before = children(one.process.pid)
    for _ in range(16):
        ask()
    time.sleep(0.7)
    assert {total() for _ in range(12)} == {16.0}, "whoever answers"
    assert one.metric("afterguard_exchange_seconds_count") == one.metric("afterguard_log_written_total") == 16
    os.kill(before[0], signal.SIGKILL)
    seen = [total()]
    running.until(lambda: seen.append(total()) or len(set(children(one.process.pid)) - {before[0]}) == 2, 30)
    for _ in range(8):
        ask()
    running.until(lambda: seen.append(total()) or seen[-1] == 24, 10)
    assert seen == sorted(seen) and seen[0] == 16
    assert one.metric("afterguard_in_flight") == 0 and one.metric("afterguard_policy_info") == 1
