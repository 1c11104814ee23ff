"""What responders do reaches the SOC: acts and their undo as 7001, approvals as 3003, each once, whoever has the spools, and after a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afterguard.cli.run import run
from afterguard.errors import Unreachable
from afterguard.export import inbox
from afterguard.export.exporter import Exporter
from afterguard.export.settings import parse
from afterguard.export.sink import opened_spool
from afterguard.export.spool.bound import Lane
from afterguard.jobs import handover
from afterguard.model import Alert, Case, Confidence, Deed, Entity, Severity
from afterguard.respond.deeds import DONE, deeds
from afterguard.respond.engine import OVER
from afterguard.respond.journal import Line

from ..export import test_ocsf as schema  # noqa: TID252

PLAYBOOK = """format: afterguard.playbook/1
id: freeze
title: Freeze the index
says: For the test.
created: "2026-11-30"
modified: "2026-11-30"
triggers: [made_up]
decide: [What is it?]
steps:
  - {id: keep-state, phase: evidence, do: snapshot, says: Keep it.}
  - {id: freeze-ingest, phase: contain, do: freeze_writes, hook: freeze, approvals: 1, says: Stop the ingest.}
  - {id: rotate-key, phase: eradicate, do: rotate_secret, on: key, hook: rotate, timeout: 1, says: A new key.}
  - {id: look-again, phase: recover, do: ask, says: Ask again.}
  - {id: tell, phase: notify, do: ask, says: Tell them.}
  - {id: cost, phase: money, do: ask, says: Write it down.}
"""


class Place:
    """A case, and people of this machine who respond to it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
        (folder / "books").mkdir()
        (folder / "books" / "freeze.yaml").write_text(PLAYBOOK)
        frozen = str(folder / "frozen")
        roles = {"format": "afterguard.roles/1", "roles": {"responder": {"people": ["os:ann", "os:bob"]}}}
        (folder / "roles.yaml").write_text(json.dumps(roles))
        settings = {
            "format": "afterguard.respond/1", "playbooks": str(folder / "books"), "roles": str(folder / "roles.yaml"),
            "hooks": {
                "freeze": {"command": ["/bin/mkdir", frozen], "check": ["/usr/bin/test", "-d", frozen], "undo": ["/bin/rmdir", frozen]},
                "rotate": {"command": ["/bin/true"], "check": ["/bin/false"], "timeout": 1},
            },
        }  # fmt: skip
        (folder / "respond.yaml").write_text(json.dumps(settings))
        self.sinks = folder / "sinks.yaml"
        self.sinks.write_text(f"format: afterguard.sinks/1\nsinks:\n  - {{name: lake, kind: file, path: {folder}/lake.jsonl, encode: ocsf}}\n")  # fmt: skip
        alert = Alert("al-1", "f", "made_up", "t", Severity.high, Confidence.high, 1.0, 2.0, 2.0, "desk", entities=(Entity("key", "k-1"),))  # fmt: skip
        (folder / "alert.json").write_bytes(msgspec.json.encode(alert))
        assert self("open", str(folder / "alert.json"))[0] == 0
        self.case = json.loads(self("cases")[1])["cases"][0]["id"]

    def __call__(self, *words: str, by: str = "ann") -> tuple[int, str, str]:
        self.monkeypatch.setenv("LOGNAME", by)
        code = run(["respond", *words, "-f", "json", "--settings", str(self.folder / "respond.yaml"), "--store", str(self.folder / "store.db"), "--no-config"])  # fmt: skip
        told = self.capsys.readouterr()
        return code, told.out, told.err

    def told(self, *words: str, by: str = "ann") -> tuple[int, str]:
        code, _, err = self(*words, "--sinks", str(self.sinks), by=by)
        return code, err

    @property
    def lake(self) -> list[dict[str, Any]]:
        file = self.folder / "lake.jsonl"
        return [json.loads(one) for one in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, monkeypatch, capsys)


def about(event: dict[str, Any]) -> tuple[int, str, str, int]:
    own = event["unmapped"]["afterguard"]
    return event["class_uid"], own.get("step", ""), event["status"], event["activity_id"]


def test_acts_approvals_and_undo_arrive_as_the_schema_wants_them(place: Place) -> None:
    code, said = place.told("run", place.case, "--only", "freeze-ingest")
    assert code == 10 and "1 events for 1 sinks" in said
    code, said = place.told("approve", place.case, "freeze-ingest", "--reason", "the index is poisoned", by="bob")
    assert code == 0 and "1 events" in said
    assert place.told("run", place.case)[0] == 0
    assert place.told("undo", place.case)[0] == 0
    assert [about(one) for one in place.lake] == [
        (7001, "keep-state", "done", 99),
        (3003, "freeze-ingest", "approved", 1),
        (7001, "freeze-ingest", "done", 1),
        (7001, "freeze-ingest", "undone", 3),
    ]
    assert [error for one in place.lake for error in schema.errors(one)] == []
    agreed, done, undone = place.lake[1:]
    assert agreed["user"]["uid"] == "os:ann" and agreed["actor"]["user"]["uid"] == "os:bob"
    assert agreed["status_detail"] == "the index is poisoned" and agreed["session"]["uid"] == place.case
    assert done["command_uid"] == undone["command_uid"] and done["metadata"]["uid"] != undone["metadata"]["uid"]
    # Nothing new: nothing is told, and another look tells nothing twice.
    assert "events" not in place.told("expire", place.case)[1] and len(place.lake) == 4


def test_what_was_done_before_the_sinks_were_named_is_told_with_the_next_command_and_a_failure_is_grave(place: Place) -> None:  # fmt: skip
    assert place("run", place.case, "--only", "rotate-key")[0] == 10
    code, said = place.told("undo", place.case)
    assert code == 0 and "2 events for 1 sinks" in said
    failed = place.lake[-1]
    assert about(failed) == (7001, "rotate-key", "failed", 2) and (failed["status_id"], failed["severity_id"]) == (2, 4)
    assert failed["countermeasures"][0]["d3f_technique"]["uid"] == "D3-CRO" and schema.errors(failed) == []
    assert failed["observables"][0]["value"] == "k-1"


def test_a_dry_run_an_offline_one_and_a_wrong_file_say_so_before_anything_is_done(place: Place) -> None:
    assert place.told("run", place.case, "--dry-run")[0] == 2
    assert place.told("run", place.case, "--offline")[0] == 2
    place.sinks.write_text("format: afterguard.sinks/1\nsinks: [{name: x, kind: carrier-pigeon}]\n")
    code, said = place.told("run", place.case)
    assert code == 2 and "there is no kind" in said
    assert not list(place.folder.glob("respond/cases/*/journal.jsonl"))


HOLDS = """
import sys, time
from pathlib import Path
from afterguard.export.exporter import Exporter
from afterguard.export.settings import load
file = Path(sys.argv[1])
found = load(file)
with Exporter(found.sinks, found.spools(file)) as exporter:
    print("holds", flush=True)
    time.sleep(60)
"""


def test_another_process_that_has_the_spools_takes_it_in(place: Place) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(place.sinks)], stdout=subprocess.PIPE, env=os.environ
    ) as one:
        try:
            assert one.stdout is not None and one.stdout.readline() == b"holds\n"
            code, said = place.told("run", place.case, "--only", "freeze-ingest")
            assert code == 10 and "another process has these spools" in said
            until = time.monotonic() + 30
            while len(place.lake) < 1 and time.monotonic() < until:
                time.sleep(0.05)
        finally:
            one.kill()
    assert [about(event)[:3] for event in place.lake] == [(7001, "keep-state", "done")]
    assert not list(place.folder.glob("spool/lake/inbox/*.jsonl"))


def test_a_disk_that_takes_nothing_is_said_and_the_next_command_tells_it(place: Place) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(inbox, "_put", full)
        code, said = place.told("run", place.case, "--only", "freeze-ingest")
    assert code == 10 and "THE SINKS WERE NOT TOLD" in said and place.lake == []
    assert place.told("run", place.case)[0] == 10
    assert [about(event)[1] for event in place.lake] == ["keep-state"]


def test_a_destination_that_is_away_holds_nothing_up_and_gets_it_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("afterguard.cli.respond_sinks.DRAIN", 0.3)
    (place.folder / "lake.jsonl").mkdir()
    code, said = place.told("run", place.case, "--only", "freeze-ingest")
    assert code == 10 and "1 events wait for their destination" in said
    (place.folder / "lake.jsonl").rmdir()
    found = parse(place.sinks.read_text())
    assert handover.deliver(found, place.folder / "spool", 30.0).waits == 0
    assert [about(event)[1] for event in place.lake] == ["keep-state"]


CASE = Case("0199a0b1-0000-7000-8000-00000000000c", "t", Severity.high, 1.0, 2.0, "desk")


def lines(*whats: str) -> list[Line]:
    return [Line(n, float(n), what, "os:ann", "act-1", f"{what} it", hash=f"{n:064x}") for n, what in enumerate(whats)]


def test_a_line_is_the_same_deed_however_often_it_is_told_and_what_prepares_is_none() -> None:
    journal = lines("opened", "planned", "requested", "denied", "approved", "begun", "partly", "done", "undo_begun", "undo_partly", "failed", "undo_begun", "undone", "ended")  # fmt: skip
    made = list(deeds(CASE, (), journal))
    assert [one.what for one in made] == ["denied", "approved", "partly", "done", "undo_partly", "not_undone", "undone"]
    assert made == list(deeds(CASE, (), journal)) and len({one.id for one in made}) == 7
    assert made[0].asked == "os:ann" and made[5].severity is Severity.high and made[2].severity is Severity.medium
    # Whatever the engine can say of an act is told, but that it was left out.
    assert {*OVER, "undo_partly"} - {"skipped"} == set(DONE)


def test_a_crash_after_leaving_and_before_noting_it_tells_it_again_with_the_same_id(tmp_path: Path) -> None:
    found = parse(f"format: afterguard.sinks/1\nsinks: [{{name: it, kind: file, path: {tmp_path}/out.jsonl}}]\n")
    journal = lines("begun", "done")
    args = (CASE, (), journal, tmp_path, found, tmp_path / "spool")
    assert handover.leave_new(*args) == (1, 1) and handover.leave_new(*args) == (0, 0)
    (tmp_path / handover.TOLD).write_text("[torn")
    assert handover.leave_new(*args) == (1, 1)
    assert handover.deliver(found, tmp_path / "spool", 30.0) == handover.Handed(0)
    rows = [json.loads(one) for one in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and rows[0] == rows[1] and rows[0]["format"] == "afterguard.deed/1"
    # Other sinks were told nothing yet.
    assert handover.leave_new(CASE, (), journal, tmp_path, found, tmp_path / "elsewhere") == (1, 1)


def test_what_is_no_event_in_an_inbox_is_left_out_and_the_rest_taken_in(tmp_path: Path) -> None:
    found = parse(f"format: afterguard.sinks/1\nsinks: [{{name: it, kind: file, path: {tmp_path}/out.jsonl}}]\n")
    deed = Deed("d-1", "done", 1.0, "ann", "desk")
    assert inbox.leave(tmp_path, found.sinks, "audit", [deed]) == 1
    (tmp_path / "it" / "inbox" / "0-1.jsonl").write_bytes(b'\xff\n{"lane": "cellar", "id": "x", "event": 1}\n[[[[\n\n')
    with Exporter(found.sinks, tmp_path) as exporter:
        assert exporter.drain(30)
    assert json.loads((tmp_path / "out.jsonl").read_text())["id"] == "d-1"
    assert not list((tmp_path / "it" / "inbox").glob("*.jsonl"))


def test_a_drill_s_alerts_arrive_whoever_has_the_spools_and_what_it_did_says_so(tmp_path: Path) -> None:
    found = parse(f"format: afterguard.sinks/1\nsinks: [{{name: it, kind: file, path: {tmp_path}/out.jsonl, encode: ocsf}}]\n")  # fmt: skip
    alert = Alert("al-1", "f", "made_up", "Drill: t", Severity.high, Confidence.high, 1.0, 2.0, 2.0, "desk", drill="r1")
    case = msgspec.structs.replace(CASE, drill="r1")
    (deed,) = deeds(case, (), [Line(1, 1.0, "done", "os:ann", act="act-1", text="gone", hash="ab" * 8)])
    outlet = handover.Leaving(found, tmp_path)
    with Exporter(found.sinks, tmp_path) as watch, handover.meanwhile(found, tmp_path):
        outlet.hand_over([alert])
        assert watch.drain(30)
    with handover.meanwhile(found, tmp_path):
        inbox.leave(tmp_path, found.sinks, "audit", [deed])
    assert handover.deliver(found, tmp_path, 30.0) == handover.Handed(0)
    told = [json.loads(one) for one in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [one["unmapped"]["afterguard"]["drill"] for one in told] == ["r1", "r1"]
    assert told[1]["message"].startswith("Drill: done") and schema.errors(told[1]) == []


def test_an_answer_to_no_question_is_refused_and_stays_nowhere(place: Place) -> None:
    code, _, err = place("clocks", place.case, "--yes", "gdpr.no-such-question")
    assert code == 2 and "no question is called gdpr.no-such-question" in err
    assert place("clocks", place.case)[0] == 0, "the case can be asked of again"


def test_an_inbox_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parse(f"format: afterguard.sinks/1\nsinks: [{{name: it, kind: file, path: {tmp_path}/out.jsonl}}]\n")
    deed = Deed("d-1", "done", 1.0, "ann", "desk")
    monkeypatch.setattr(inbox, "ROOM", 300)
    assert inbox.leave(tmp_path, found.sinks, "audit", [deed]) == 1
    with pytest.raises(Unreachable, match="does anything deliver"):
        inbox.leave(tmp_path, found.sinks, "audit", [deed, deed])
    spool = opened_spool(tmp_path, found.sinks[0])
    assert inbox.take_in(spool) == 1 and spool.backlog("audit") == 1
    spool.close()


def test_where_there_is_no_room_for_all_the_rest_waits_and_nothing_comes_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    found = parse(f"format: afterguard.sinks/1\nsinks: [{{name: it, kind: file, path: {tmp_path}/out.jsonl}}]\n")
    deeds = [Deed(f"d-{number}", "done", 1.0, "ann", "desk") for number in range(5)]
    assert inbox.leave(tmp_path, found.sinks, "audit", deeds) == 1
    spool = opened_spool(tmp_path, found.sinks[0])
    room, offer = [2], spool.offer

    def narrow(lane: Lane, id: str, body: bytes) -> bool | None:
        if not room[0]:
            return None
        room[0] -= 1
        return offer(lane, id, body)

    monkeypatch.setattr(spool, "offer", narrow)
    assert inbox.take_in(spool) == 2 and inbox.take_in(spool) == 0
    room[0] = 2
    assert inbox.take_in(spool) == 2
    room[0] = 2
    assert inbox.take_in(spool) == 1 and not inbox.is_left(spool)
    assert [one.id for one in spool.read("audit", 10, 1 << 20)] == [f"d-{number}" for number in range(5)]
    spool.close()


def test_a_file_that_is_taken_in_meanwhile_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parse(f"format: afterguard.sinks/1\nsinks: [{{name: it, kind: file, path: {tmp_path}/out.jsonl}}]\n")
    deed = Deed("d-1", "done", 1.0, "ann", "desk")
    gone = tmp_path / "it" / "inbox" / "0-1.jsonl"
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([gone]))
    assert inbox.leave(tmp_path, found.sinks, "audit", [deed]) == 1
