"""The decision log: nothing is lost that is not counted, whatever happens to the disk and to the file."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from afterguard.guard import journal as journals
from afterguard.guard.journal import PAUSE, Journal, estimate


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A log on a disk that never comes back: a pipe without a reader, until the test is over."""
    path = tmp_path / "log"
    os.mkfifo(path)
    monkeypatch.setattr(journals, "CLOSING", 0.2)
    yield path
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # lets the thread go


def test_lines_of_a_few_milliseconds_are_on_disk_after_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "decisions.jsonl"

    async def work() -> None:
        journal = Journal(path)
        for number in range(5):
            journal.write(b'{"n": %d}\n' % number)
        assert not path.exists()
        await asyncio.sleep(PAUSE * 4)
        assert len(lines(path)) == 5

    asyncio.run(work())
    assert path.stat().st_mode & 0o077 == 0


def test_it_rotates_by_size_and_keeps_ten(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = Journal(path, size=100, files=3)
    for number in range(40):
        journal.write(b'{"number": %010d}\n' % number)
    journal.close()
    found = sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("log") and not p.name.endswith(".lock"))
    assert set(found) <= {"log", "log.1", "log.2"} and "log.2" in found


def test_a_full_disk_is_counted_and_said_with_the_next_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    journal = Journal(path)
    real = os.write

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for _ in range(3):
        journal.write(b"{}\n")
    assert journal.lost == 3
    monkeypatch.setattr(os, "write", real)
    again = Journal(path)
    assert again.lost == 3, "the count survives a restart"
    again.write(b'{"after": 1}\n')
    again.close()
    assert lines(path) == [{"format": "afterguard.lost/1", "lost": 3}, {"after": 1}]
    assert Journal(path).lost == 0


def _write(place: str) -> int:
    journal = Journal(Path(place), size=20_000, files=50)
    for _ in range(400):
        journal.write(b'{"pid": %d, "pad": "%s"}\n' % (os.getpid(), b"x" * 60))
    journal.close()
    return 400


def test_several_processes_share_one_file_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with ProcessPoolExecutor(3) as pool:
        total = sum(pool.map(_write, [str(path)] * 3))
    seen = sum(len(lines(one)) for one in tmp_path.iterdir() if not one.name.endswith(".lock"))
    assert seen == total == 1200


def test_the_estimate_is_of_the_right_size() -> None:
    assert 0.5e9 < estimate(1_000_000) < 3e9


def test_a_disk_that_stands_still_holds_up_nothing_but_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe without a reader stands still as a dead network share does: opening it waits."""
    path = tmp_path / "log"
    os.mkfifo(path)
    monkeypatch.setattr(journals, "MOST", 1_000)
    read: list[bytes] = []

    async def work() -> None:
        journal = Journal(path)
        slowest = 0.0
        for number in range(40):
            began = time.perf_counter()
            journal.write(b'{"number": "%060d"}\n' % number)
            await asyncio.sleep(PAUSE * 2)
            slowest = max(slowest, time.perf_counter() - began)
        assert slowest < 20 and journal.waiting > 1_000 and 20 < journal.lost_ever < 30
        reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
        reader.start()
        journal.close()
        reader.join(10)
        assert journal.waiting == 0

    asyncio.run(work())
    found = [json.loads(line) for line in read[0].splitlines()]
    lost = sum(int(one.get("lost", 0)) for one in found)
    assert len(found) - 1 + lost == 40 and lost > 20, "each is in the log or counted there"


def test_what_found_no_room_before_the_end_is_told_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing is written after it any more."""
    path = tmp_path / "log"
    monkeypatch.setattr(journals, "MOST", -1)

    async def work() -> None:
        journal = Journal(path)
        journal.write(b"{}\n")
        await asyncio.sleep(PAUSE * 4)
        journal.close()
        assert journal.lost_ever == 1

    asyncio.run(work())
    assert Journal(path).lost == 1


def test_a_disk_that_never_comes_back_is_not_waited_for(dead: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        journal = Journal(dead)
        journal.write(b"{}\n")
        began = time.perf_counter()
        journal.close()
        assert time.perf_counter() - began < 20

    asyncio.run(work())
    assert "stands still: 3 bytes of decisions" in caplog.text


def test_who_asks_is_told_when_it_is_in_the_file(tmp_path: Path) -> None:
    async def work() -> None:
        journal = Journal(tmp_path / "log")
        assert await journal.settled(), "nothing to write"
        for number in range(50):
            journal.write(b'{"number": %d}\n' % number)
            assert await journal.settled() and len(lines(tmp_path / "log")) == number + 1
        journal.close()

    asyncio.run(work())


def test_who_asks_of_a_disk_that_stands_still_is_told_so(dead: Path) -> None:
    async def work() -> None:
        journal = Journal(dead)
        journal.write(b"{}\n")
        assert not await journal.settled()
        journal.close()

    asyncio.run(work())
