"""The decision log: nothing is lost that is not counted, whatever happens to the disk and to the file."""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from afterguard.guard.journal import PAUSE, Journal, estimate


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


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
