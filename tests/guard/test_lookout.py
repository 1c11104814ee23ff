"""The watch over time in a guard: exchanges become events, alarms become lines, what is usual outlives a restart."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from afterguard.guard.decision import seen
from afterguard.guard.journal import Journal
from afterguard.guard.lookout import FILE, Lookout
from afterguard.guard.metrics import Metrics
from afterguard.guard.part import Place
from afterguard.model import Severity
from afterguard.watch.alarm import of
from afterguard.watch.live import Watch

from . import running
from .test_notice import ASKED, over, said


def lookout(folder: Path) -> Lookout:
    return Lookout(Place(folder, Journal(folder / "decisions.jsonl"), Metrics(), running.pseudonym))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (folder / "decisions.jsonl").read_text().splitlines()]


def test_exchanges_become_events_and_what_is_usual_is_kept(tmp_path: Path) -> None:
    one = lookout(tmp_path)
    session = over(ASKED, said({"content": "Done."}))
    one.saw(session, seen(session, 1_000.0, 1.0, 0.1))
    asyncio.run(one.close())
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    again = lookout(tmp_path)
    assert [row["app"] for row in again.watch.standing()] == [row["app"] for row in one.watch.standing()]
    assert not one.metrics.numbers["afterguard_failures_total"]


def test_an_alarm_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised = of("burst", "rates", ("LLM10:2025",), [("id-1", 1.0)], severity=Severity.medium, cause="key k", rule="r", would_change="w")  # fmt: skip
    one = lookout(tmp_path)
    monkeypatch.setattr(one.watch, "tick", lambda now: [raised])
    asyncio.run(one.step(5.0))
    one.journal.close()
    (row,) = lines(tmp_path)
    assert (row["class_uid"], row["type_uid"], row["is_alert"]) == (2004, 200401, True)
    assert row["unmapped"]["afterguard"]["kind"] == "burst" and row["unmapped"]["afterguard"]["exchanges"] == ["id-1"]
    assert one.metrics.numbers["afterguard_alarms_total"] == {("burst",): 1.0}


def test_a_watch_that_fails_is_counted_and_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lookout(tmp_path)
    one.saw(None, None)  # type: ignore[arg-type]
    monkeypatch.setattr(Watch, "tick", lambda self, now: 1 / 0)
    asyncio.run(one.step(5.0))
    assert sorted(one.metrics.numbers["afterguard_failures_total"]) == [
        ("all", "watch:AttributeError", "yes"),
        ("all", "watch:ZeroDivisionError", "yes"),
    ]


def test_what_cannot_be_kept_is_counted_and_the_watch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lookout(tmp_path)
    one.step_every, one.keep_every = 0.01, 0.0
    monkeypatch.setattr(Watch, "kept", lambda self: 1 / 0)

    async def some() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(one.keep(), 0.5)

    asyncio.run(some())
    assert one.metrics.numbers["afterguard_failures_total"][("all", "watch_not_kept", "yes")] > 2


def test_a_damaged_file_is_said_and_learned_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xc1 no state")
    assert lookout(tmp_path).watch.standing() == []
