"""What a drill comes to: lines joined to requests by time, outcomes, what nobody was told of; marks that keep it apart from the real thing; times that feed the risk model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.attack.techniques import BY_ID
from afterguard.attack.trial import Result, Verdict
from afterguard.cli import measured
from afterguard.cli.options import Common, open_session
from afterguard.cli.respond_drill import _code as exit_code
from afterguard.errors import UsageError
from afterguard.jobs import drill as drilling
from afterguard.jobs import drill_watch as job
from afterguard.jobs import exercise
from afterguard.jobs import watch as watching
from afterguard.jobs.prove import Guard
from afterguard.model import Alert, App, Confidence, Drill, Severity
from afterguard.respond import case, drill
from afterguard.respond.act import Act
from afterguard.respond.drill import Asked, Drilled, Heard, Row, Tried
from afterguard.store import alerts as stored
from afterguard.store.database import open_store
from afterguard.targets.load import load
from afterguard.watch.triage import Sighting, Triage, of_drill
from afterguard.watch.triage.kept import state_of, usual
from afterguard.watch.triage.sighting import decided

NOW = 1_790_000_000.0
OURS = Drill("3f2a91cc", "desk", ("us",), NOW, NOW + 100)
ASKED = (Asked("control/0", NOW, NOW + 1), Asked("role-play/x/0", NOW + 1, NOW + 2), Asked("role-play/y/0", NOW + 2, NOW + 3), Asked("off-purpose/plain/0", NOW + 3, NOW + 4))  # fmt: skip


def line(time: float, who: str = "us", **own: Any) -> dict[str, Any]:
    return {
        "class_uid": 6003, "time": int(time * 1000), "metadata": {"uid": f"x{time:.3f}"}, "api": {"service": {"uid": "openai"}}, "actor": {"user": {"uid": who}, "app_name": "desk"},
        "message_context": {"uid": f"c-{who}"}, "unmapped": {"afterguard": {"action": "allow", "mode": "observe", **own}},
    }  # fmt: skip


def hit(cause: str = "c") -> dict[str, str]:
    return {"kind": "canary_leak", "detector": "canary", "severity": "high", "confidence": "high", "cause": cause}


def alarm(time: float, callers: list[str]) -> dict[str, Any]:
    own = {"kind": "repeated_attacks", "cause": "c", "why": {"scope": "user", "who": callers[0] if callers else ""}, "callers": callers, "exchanges": ["x1"]}  # fmt: skip
    return {"class_uid": 2004, "time": int(time * 1000), "metadata": {"log_name": "watch"}, "severity_id": 4, "confidence": "high", "message": "m", "unmapped": {"afterguard": own}}  # fmt: skip


def test_lines_belong_to_the_request_during_which_they_were_written() -> None:
    heard = [Heard(str(at), NOW + at, "observe", False) for at in (0.5, 1.0, 1.9, 2.5, 9.0, -3.0)]
    found = drill.joined(ASKED, heard)
    assert {trial: [one.exchange for one in rows] for trial, rows in found.of.items()} == {"control/0": ["0.5"], "role-play/x/0": ["1.0", "1.9"], "role-play/y/0": ["2.5"]}  # fmt: skip
    assert found.strangers == 2
    close = [Asked("a", NOW, NOW + 0.03), Asked("b", NOW + 0.031, NOW + 0.06)]
    found = drill.joined(close, [Heard("1", NOW + 0.025, "observe", False), Heard("2", NOW + 0.031, "observe", False), Heard("3", NOW + 0.065, "observe", False)])  # fmt: skip
    assert {trial: [one.exchange for one in rows] for trial, rows in found.of.items()} == {"a": ["1"], "b": ["2", "3"]}, "the next request began right after"  # fmt: skip
    assert drill.joined((), heard).strangers == len(heard)


def test_outcomes_and_what_nobody_was_told_of() -> None:
    seen = Sighting(NOW + 2.5, "desk", "jailbreak", Severity.high, Confidence.high)
    lines = drill.joined(ASKED, [Heard("a", NOW + 1.5, "enforce", True), Heard("b", NOW + 2.5, "enforce", False, (seen,)), Heard("c", NOW + 3.5, "enforce", False)])  # fmt: skip
    won, lost = Result(Verdict.succeeded), Result(Verdict.not_assessed, "server-error")
    ends = [("role-play/x/0", lost), ("role-play/y/0", won), ("off-purpose/plain/0", won)]
    found = drill.tried(ends, ASKED, lines, lambda one: bool(one.sightings), None)
    assert [(one.outcome, one.is_told) for one in found] == [("held_off", False), ("had_its_way", True), ("had_its_way", False)]  # fmt: skip
    rows = {one.technique: one for one in drill.rows(list(BY_ID.values()), found)}
    assert (rows["role-play"].held_off, rows["role-play"].told, rows["role-play"].untold) == (1, 1, 0)
    assert (rows["off-purpose"].told, rows["off-purpose"].untold) == (0, 1) and set(rows) == {"role-play", "off-purpose"}  # fmt: skip
    after = drill.tried(ends, ASKED, lines, lambda _: True, NOW + 1.5)
    assert [one.is_after for one in after] == [False, True, True]
    assert [one.technique for one in drill.rows(list(BY_ID.values()), after)] == ["role-play"], "containment says nothing of rules"  # fmt: skip


def test_the_important_line_stands_in_every_form() -> None:
    one = drilled(untold=2)
    for text in (drill.text(one), drill.as_markdown(one)):
        assert "off-purpose" in text and "3.0 s" in text and "never" in text
    assert "GOT THROUGH AND NOBODY WAS TOLD: off-purpose (low, 2 of 2)" in drill.text(one)
    assert "nothing" in drill.text(drilled())
    untried = msgspec.structs.replace(drilled(), rows=(), trials=())
    for text in (drill.text(untried), drill.as_markdown(untried)):
        assert "no technique was tried" in text and "TOLD: nothing" not in text and "Nothing." not in text
    assert (exit_code(untried, False), exit_code(drilled(), False), exit_code(one, False)) == (3, 0, 10)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Drilled) == one


def drilled(run: str = "r", alert: float | None = 3.0, untold: int = 0) -> Drilled:
    row = Row("off-purpose", "<b>Off</b>", Severity.low, 0, 2 - untold, untold, 0, 0, 0)
    trials = (Tried("off-purpose/plain/0", "had_its_way"),)
    return Drilled(run, "desk", "desk", NOW, ("us",), 9, alert, None, None, (row,), trials, containment="dry run", is_first_day=True, strangers=1)  # fmt: skip


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["uid", "user", "afterguard", "why", "callers", "who", "scope", "x"]), inner, max_size=4), max_leaves=8)  # fmt: skip
NAMES = st.sampled_from(["class_uid", "time", "actor", "unmapped", "metadata", "severity_id"])


@given(st.dictionaries(NAMES, JSON, max_size=6), st.sampled_from([6003, 2004, 0]))
def test_no_line_is_taken_for_a_drill_s_that_does_not_name_its_caller(row: dict[str, Any], kind: int) -> None:
    assert not of_drill(row | {"class_uid": kind}, (OURS,)), row
    name, mode, is_held_off = decided(row)
    assert isinstance(name, str) and isinstance(mode, str) and is_held_off in (True, False)


def test_whose_lines_are_a_drill_s() -> None:
    assert of_drill(line(NOW), (OURS,)) and of_drill(line(NOW + 100), (OURS,)) and not of_drill(line(NOW), ())
    assert not of_drill(line(NOW + 101), (OURS,)) and not of_drill(line(NOW - 1), (OURS,)) and not of_drill(line(NOW, "eve"), (OURS,))  # fmt: skip
    assert of_drill(alarm(NOW + 300, ["us"]), (OURS,)), "an alarm comes when its slice is over"
    assert not of_drill(alarm(NOW + 300, ["us", "eve"]), (OURS,)) and not of_drill(alarm(NOW + 5_000, ["us"]), (OURS,)) and not of_drill(alarm(NOW, []), (OURS,))  # fmt: skip


def watched(folder: Path, log: Path, told: list[Alert], made: Drill | None = None) -> watching.Watch:
    store = open_store(folder / "store.db")
    given = (Triage(), store.connection, "default", folder / "triage.state", told.extend, lambda: NOW + 50)
    return job.Beside(made, [log], *given) if made else watching.Watch([log], *given)


def test_a_drill_has_a_watch_of_its_own_and_teaches_the_other_one_nothing(tmp_path: Path) -> None:
    log, real, ours = tmp_path / "d.jsonl", [], []  # type: ignore[var-annotated]
    log.write_text(json.dumps(line(NOW - 50)) + "\n")
    every = watched(tmp_path, log, real)
    beside = watched(tmp_path, log, ours, OURS)
    stored.say(every.connection, "default", "desk", watching.DRILL, "d1", NOW, OURS)
    rows = [line(NOW + 1, hits=[hit()]), alarm(NOW + 2, ["us"]), line(NOW + 2, probe=True, hits=[hit()]), line(NOW + 3, "eve", hits=[hit("another")])]  # fmt: skip
    with log.open("a") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    beside.step()
    assert not (tmp_path / "triage.state").exists(), "it keeps nothing"
    every.step()
    assert [one.cause for one in real] == ["another"] and every.read.drilled == 2 and every.read.probes == 1
    assert every.triage.counts.exchanges == 2, "one of before, and eve's"
    assert {one.kind for one in ours} == {"canary_leak", "repeated_attacks"}
    assert all(one.drill == OURS.run and one.title.startswith("Drill: ") and one.id.startswith(f"al-{OURS.run}") for one in ours)  # fmt: skip
    assert [one.exchange for one in beside.heard] == [f"x{NOW + 1:.3f}"] and beside.is_first_day
    assert [one.cause for one in stored.listed(every.connection, "default")] == ["another"], "it is not among what is open"  # fmt: skip
    assert len(stored.listed(every.connection, "default", with_suppressed=True)) == 3


def test_a_drill_begins_with_what_is_usual_and_joins_nothing_that_is_open() -> None:
    triage = Triage()
    for at in range(50):
        triage.rates.ask("desk", NOW + at)
    sighting = Sighting(NOW, "desk", "canary_leak", Severity.high, Confidence.high, cause="c")
    assert triage.feed(sighting, NOW) and triage.tells(sighting)
    fresh = Triage()
    usual(fresh, state_of(triage, {}))
    assert fresh.rates.requests.keys() == triage.rates.requests.keys() and not fresh.open and not fresh.tells(sighting)
    assert fresh.counts.sightings == 0 and not fresh.incidents.links


def alert(name: str, mark: str = "") -> Alert:
    return Alert(name, name, "canary_leak", "t", Severity.high, Confidence.high, NOW, NOW + 60, NOW + 60, "desk", raised=NOW + 60, drill=mark)  # fmt: skip


def test_a_hook_that_contains_is_felt_by_others_than_the_drill() -> None:
    def act(do: str, on: str, phase: str = "contain") -> Act:
        return Act("act-1", "c", "b", "s", phase, do, on, "t", "x")

    assert drilling.is_own(act("quarantine_identity", "identity")) and drilling.is_own(
        act("snapshot", "case", "evidence")
    )
    assert drilling.is_own(act("ask", "case")) and not drilling.is_own(act("disable_tool", "tool"))
    assert not drilling.is_own(act("freeze_writes", "case")) and not drilling.is_own(act("call", "case"))


def test_a_drill_and_the_real_thing_are_not_one_case() -> None:
    ours = case.opened([alert("a", "r")], id="1", who="x", now=NOW)
    real = case.opened([alert("b")], id="2", who="x", now=NOW)
    assert ours.drill == "r" and not real.drill
    with pytest.raises(UsageError, match="do not belong into one case"):
        case.grown(real, [alert("a", "r")], who="x", now=NOW)
    with pytest.raises(UsageError, match="not one case"):
        case.merged([real, ours], who="x", now=NOW, why="w")


def test_times_of_drills_feed_the_risk_model_where_nothing_real_does(tmp_path: Path) -> None:
    session = open_session(Common(store=str(tmp_path / "store.db"), no_config=True, quiet=True))
    app = App("desk")

    def found() -> Any:
        return measured.notice(session, [app]).get("desk", {}).get("notice_days")

    def kept(*drills: Drilled) -> None:
        with open_store(tmp_path / "store.db") as store:
            for one in drills:
                stored.say(store.connection, "default", "desk", drill.DRILLED, store.made(), NOW, one)

    kept(
        drilled("1"),
        drilled("2", 30.0),
        drilled("3", untold=1),
        drilled("4", None),
        msgspec.structs.replace(drilled("6"), rows=()),
    )
    assert found() is None, "two drills that told everything are too few; one that hid something says nothing"
    kept(drilled("5", 300.0))
    own = found()
    assert own.source == "drill" and "in 3 drills, not in real incidents" in own.says
    assert own.value.mid == pytest.approx(30 / 86_400) and own.value.low >= 0
    with open_store(tmp_path / "store.db") as store:
        assert len(exercise.drills(store.connection, "default", "desk")) == 6
        assert exercise.drilled(drilled("2", 30.0)).detect == 30.0 and exercise.drilled(drilled()).is_drill
        stored.keep(store.connection, [alert("al-1"), alert("al-2"), alert("al-3"), alert("al-4", "r")])
    own = found()
    assert own.source == "telemetry" and own.value.mid == pytest.approx(60 / 86_400), "what is real comes first"


def test_as_whom_the_guard_knows_a_drill() -> None:
    text = "format: afterguard.target/1\nname: desk\nurl: http://127.0.0.1:8765/openai/v1/chat/completions\n"
    guard = Guard("http://127.0.0.1:8765", b"k" * 32, {})
    named = load(text + "headers: {authorization: Bearer drill}\n", "t", {})
    (one,) = job.callers(named, guard, ())
    assert len(one) == 20 and job.callers(named, guard, ["x", "x"]) == ("x",)
    with pytest.raises(UsageError, match="no key"):
        job.callers(load(text, "t", {}), guard, ())
    with pytest.raises(UsageError, match="not the guard itself"):
        job.callers(named, Guard("http://127.0.0.1:9", b"k" * 32, {}), ())
