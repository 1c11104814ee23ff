"""What is held against a worker that says nothing: moments as the system could show them, and real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from afterguard.guard.liveness import Pulse, Seen, look

STEP = 0.25


def ended(seen: Callable[[float], Seen | None], within: float = 60.0, hang: float = 5.0) -> float:
    """Seconds of silence after which the worker is given up; 0 where it never is."""
    pulse = Pulse(100.0)
    silence = 1.25
    while silence < within:
        if pulse.weighed(100.0 + silence, hang, seen(silence)):
            return silence
        silence += STEP
    return 0.0


def test_standing_still_counts_whole() -> None:
    assert 4.5 <= ended(lambda _: Seen("still", 3.0)) <= 6.5


def test_a_stopped_process_has_no_excuse() -> None:
    assert 2.0 <= ended(lambda _: Seen("stopped", 3.0)) <= 2.5


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_computing_counts_a_quarter_of_the_time_it_was_given(share: float) -> None:
    assert ended(lambda silence: Seen("running", silence * share)) == pytest.approx(1.25 + 4 * 3.8 / share, abs=0.6)


def test_a_starved_worker_is_left_alone() -> None:
    assert not ended(lambda silence: Seen("running", silence * 0.02), within=300)


def test_a_disk_may_be_slow() -> None:
    assert 15 < ended(lambda _: Seen("disk", 3.0)) < 20


def test_what_the_parent_did_not_watch_does_not_count() -> None:
    pulse = Pulse(0.0)
    assert not pulse.weighed(30.0, 5.0, Seen("still", 1.0))
    assert not pulse.weighed(60.0, 5.0, Seen("still", 1.0))
    pulse.heard(61.0)
    assert not pulse.blame


def test_where_the_system_says_nothing_silence_must_do() -> None:
    assert 20 <= ended(lambda _: None) <= 20.5


@pytest.mark.parametrize(("code", "state"), [("import time; time.sleep(60)", "still"), ("while True: pass", "running")])
def test_real_processes(code: str, state: str) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", code]) as process:
        try:
            time.sleep(0.8)
            first = look(process.pid)
            assert first is not None and first.state == state
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.1)
            found = look(process.pid)
            assert found is not None and found.state == "stopped" and found.cpu >= first.cpu
        finally:
            process.kill()
    assert look(process.pid) is None
