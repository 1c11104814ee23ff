"""What the watch hands to the SOC's sinks: each alert once, lines in their lanes, nothing lost between a log and a spool."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

from afterguard.cli import watch as command
from afterguard.cli.run import run
from afterguard.errors import Unreachable
from afterguard.export.exporter import Exporter
from afterguard.export.settings import parse
from afterguard.export.spool import bound
from afterguard.jobs import watch as job
from afterguard.jobs.outlet import Outlet, lane, name
from afterguard.model import Alert, Drill
from afterguard.store import alerts as stored
from afterguard.store.database import open_store
from afterguard.watch.triage import Triage

from ..export import servers_here as servers  # noqa: TID252 - tests are no package that has a name
from ..export import test_ocsf as schema  # noqa: TID252
from .test_watch import NOON, a_log, line


def sinks(folder: Path, lanes: str = "alert, audit, telemetry") -> str:
    return f"format: afterguard.sinks/1\nsinks:\n  - {{name: it, kind: file, path: {folder}/out.jsonl, lanes: [{lanes}]}}\n"


def got(folder: Path) -> list[dict[str, Any]]:
    file = folder / "out.jsonl"
    return [json.loads(row) for row in file.read_text().splitlines()] if file.exists() else []


def watching(folder: Path, log: Path, exporter: Exporter, *, has_lines: bool = True) -> job.Watch:
    store = open_store(folder / "store.db")
    told: list[Alert] = []
    return job.Watch([log], Triage(), store.connection, "default", folder / "triage.state", told.extend, lambda: NOON, Outlet(exporter, has_lines=has_lines))  # fmt: skip


def a_leak(log: Path, at: float = NOON, who: str = "eve") -> None:
    with log.open("a") as out:
        out.write(line(at, who, ("canary_leak",)) + "\n" + line(at + 1, "bob", ("jailbreak",), action="block") + "\n")


def test_every_line_has_its_lane_and_every_event_one_id_however_often_it_is_read(tmp_path: Path) -> None:
    log = tmp_path / "d.jsonl"
    log.touch()
    with Exporter(parse(sinks(tmp_path)).sinks, tmp_path / "spool") as exporter:
        first = watching(tmp_path, log, exporter)
        first.step()
        a_leak(a_log(log, 1, 100))
        with log.open("a") as out:
            out.write('{"format":"afterguard.approval/1","id":"a"}\n{"format":"afterguard.lost/1","lost":2}\n{broken\n')
        first.step()  # and dies before it saves
        second = watching(tmp_path, log, exporter)
        second.step()
        second.save()
        assert exporter.drain(30)
        third = watching(tmp_path, log, exporter)
        assert third.step() == 0 and third.outlet is not None and not third.outlet.sent.alerts
        lanes = exporter.counts()["it"]["lanes"]
    assert {key: row["put"] for key, row in lanes.items()} == {"alert": 2, "audit": 6, "telemetry": 202}
    rows = got(tmp_path)
    ids = [str(row.get("id") or row.get("metadata", {}).get("uid") or row.get("lost")) for row in rows]
    assert len(rows) == 210 and all(ids.count(one) == 2 for one in ids), "the same twice, told apart by nothing"
    assert sum(one.startswith("al-") for one in ids) == 2
    assert json.loads(log.read_text().splitlines()[0]) in rows, "a line is passed on as it is"


def test_a_sink_of_alerts_gets_no_lines(tmp_path: Path) -> None:
    log = a_log(tmp_path / "d.jsonl", 1, 50)
    a_leak(log)
    with Exporter(parse(sinks(tmp_path, "alert")).sinks, tmp_path / "spool") as exporter:
        watching(tmp_path, log, exporter).step()
        assert exporter.drain(30)
    assert [row["kind"] for row in got(tmp_path)] == ["canary_leak"]


def test_a_step_that_is_cut_off_moves_no_cursor(tmp_path: Path) -> None:
    log = a_log(tmp_path / "d.jsonl", 1, 50)
    a_leak(log)
    with Exporter(parse(sinks(tmp_path)).sinks, tmp_path / "spool") as exporter:
        one = watching(tmp_path, log, exporter)
        assert one.outlet is not None

        def full(alerts: Any) -> None:
            raise Unreachable("the spool has no room for another alert", hint="h", slug="spool-full")

        one.outlet.hand_over = full  # type: ignore[method-assign]
        with pytest.raises(Unreachable):
            one.step()
        one.save()
        assert not (tmp_path / "triage.state").exists(), "its lines were not handed over: they are read again"
        again = watching(tmp_path, log, exporter)
        assert again.step() == 52 and again.outlet is not None and again.outlet.sent.alerts == 1


def test_what_a_person_agreed_to_in_a_call_goes_to_the_lane_audit_too(tmp_path: Path) -> None:
    log = tmp_path / "d.jsonl"
    notes = [{"id": "ap-1", "state": "approved", "by": "os:lee"}, {"id": "ap-2", "state": "asked"}, {"id": "ap-3", "state": "denied", "by": "os:lee"}, 7]  # fmt: skip
    log.write_text(line(NOON, "eve", tools=["pay"], approvals=notes) + "\n" + line(NOON + 1, "eve", approvals="x") + "\n")  # fmt: skip
    with Exporter(parse(sinks(tmp_path, "audit").replace("kind: file,", "kind: file, encode: ocsf,")).sinks, tmp_path / "spool") as exporter:  # fmt: skip
        one = watching(tmp_path, log, exporter)
        one.step()
        one.save()
        assert exporter.drain(30)
        assert one.outlet is not None and (one.outlet.sent.audit, one.outlet.sent.telemetry) == (2, 2)
    rows = got(tmp_path)
    assert [(row["class_uid"], row["status_id"], row["privileges"]) for row in rows] == [(3003, 1, ["pay"]), (3003, 2, ["pay"])]  # fmt: skip
    assert rows[0]["actor"]["user"]["uid"] == "os:lee" and rows[0]["user"]["uid"] == "eve" and rows[0]["session"]["uid"] == "c-eve"  # fmt: skip
    assert [error for row in rows for error in schema.errors(row)] == []


def test_lines_of_a_drill_say_so_wherever_they_go(tmp_path: Path) -> None:
    log = tmp_path / "d.jsonl"
    log.write_text(line(NOON, "us", ("jailbreak",)) + "\n" + line(NOON + 1, "eve", ("jailbreak",)) + "\n")
    with Exporter(parse(sinks(tmp_path, "telemetry")).sinks, tmp_path / "spool") as exporter:
        one = watching(tmp_path, log, exporter)
        stored.say(
            one.connection, "default", "desk", job.DRILL, "d1", NOON, Drill("r1", "desk", ("us",), NOON - 5, NOON + 5)
        )
        one.step()
        one.save()
        assert exporter.drain(30) and one.read.drilled == 1
    found = {row["actor"]["user"]["uid"]: row["unmapped"]["afterguard"].get("drill") for row in got(tmp_path)}
    assert found == {"us": "r1", "eve": None}


def test_lanes_and_ids_of_whatever_stands_in_a_log() -> None:
    assert lane({"class_uid": 6003}) == lane({"class_uid": 6003, "unmapped": []}) == "telemetry"
    assert lane({"class_uid": 6003, "unmapped": {"afterguard": {"action": "block"}}}) == "audit"
    assert lane({"class_uid": 2004}) == lane({}) == "audit"
    assert name(b"x", {"metadata": {"uid": "u"}}) == "u"
    for odd in ({}, {"metadata": 7}, {"metadata": {"uid": ""}}, {"metadata": {"uid": "x" * 300}}):
        assert name(b"x", odd) == name(b"x", {}) and name(b"x", odd) != name(b"y", odd)


def test_a_sink_that_is_away_gets_it_from_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(command, "DRAIN", 0.3)
    log, port = a_log(tmp_path / "d.jsonl", 1, 50), free_port()
    a_leak(log)
    file = tmp_path / "sinks.yaml"
    file.write_text(f"format: afterguard.sinks/1\nsinks:\n  - {{name: siem, kind: syslog, host: 127.0.0.1, port: {port}, transport: tcp, settle: 0.1, wait: 0.2}}\n")  # fmt: skip
    words = ["watch", "run", str(log), "--sinks", str(file), "--audit", "--store", str(tmp_path / "s.db")]
    assert run(words) == 0
    said = capsys.readouterr().err
    assert "1 alerts, 1 lines of audit, 51 of telemetry handed to the sinks" in said
    assert "siem: 0 delivered so far, 53 wait" in said and "afterguard export status" in said
    if servers.RSYSLOG is None:
        pytest.skip("no rsyslogd here; apt-get install rsyslog")
    monkeypatch.setattr(command, "DRAIN", 30.0)
    with servers.rsyslog(tmp_path, "tcp", port) as (_, arrived):
        assert run(words) == 0
        assert "siem: 53 delivered so far, 0 wait" in capsys.readouterr().err
        rows = [json.loads(json.loads(row)["msg"]) for row in arrived.read_text().splitlines()]
    assert sum(row.get("kind") == "canary_leak" for row in rows) == 1


def test_what_cannot_be_done_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, file = a_log(tmp_path / "d.jsonl", 1, 5), tmp_path / "sinks.yaml"
    file.write_text(sinks(tmp_path))
    base = ["watch", "run", str(log), "--store", str(tmp_path / "s.db")]
    assert run([*base, "--audit"]) == 2 and "--sinks FILE" in capsys.readouterr().err
    assert run([*base, "--sinks", str(file), "--offline"]) == 2
    assert run([*base, "--sinks", str(tmp_path / "none.yaml")]) == 2
    with Exporter(parse(sinks(tmp_path)).sinks, tmp_path / "spool"):
        assert run([*base, "--sinks", str(file)]) == 2, "another process delivers from these spools"
    assert run([*base, "--sinks", str(file)]) == 0


def test_who_asks_for_the_disk_waits_for_whoever_is_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert is on the disk when put returns, also where another thread is just syncing it."""
    begun, go, sync = threading.Event(), threading.Event(), bound.os.fdatasync

    def slow(handle: int) -> None:
        begun.set()
        assert go.wait(30)
        sync(handle)

    spool = bound.Spool(tmp_path, max_bytes=1 << 20)
    spool.put("audit", "a", b"{}")
    monkeypatch.setattr(bound.os, "fdatasync", slow)
    first, second = threading.Thread(target=spool.sync), threading.Thread(target=spool.sync)
    first.start()
    assert begun.wait(30)
    second.start()
    second.join(0.2)
    assert second.is_alive(), "it said that the disk has what the other thread is still writing"
    go.set()
    first.join(30)
    second.join(30)
    assert not second.is_alive()
    spool.close()
