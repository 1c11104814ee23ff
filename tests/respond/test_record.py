"""The record of a case: kept on both databases, merged, split, undone; told to ticket systems and heard from them; clocks."""

from __future__ import annotations

import base64
import hmac
import importlib.util
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.cli.run import run
from afterguard.errors import AfterguardError, UsageError
from afterguard.jobs import respond as responding
from afterguard.model import Alert, Case, Confidence, Entity, Range, Severity
from afterguard.respond import case as cases_of
from afterguard.respond import clocks, tickets, whole
from afterguard.respond.act import Act
from afterguard.respond.journal import Line, Verified
from afterguard.store.cases import Cases
from afterguard.store.database import open_store

STORE = Path(__file__).parents[1] / "store" / "conftest.py"
spec = importlib.util.spec_from_file_location("respond_store_conftest", STORE)
assert spec and spec.loader
store_conftest = importlib.util.module_from_spec(spec)
sys.modules["respond_store_conftest"] = store_conftest
spec.loader.exec_module(store_conftest)
postgres_server, target = store_conftest.postgres_server, store_conftest.target


def alert(number: int, kind: str = "jailbreak", severity: Severity = Severity.medium, **more: Any) -> Alert:
    return Alert(f"al-{number:032x}", f"fp-{number}", kind, f"alert {number}", severity, Confidence.high, 100.0 + number, 200.0, 201.0, "shop",
                 entities=(Entity("identity", f"who-{number}"), Entity("tool", "pay", "means")), money=Range(1, 2, 3), **more)  # fmt: skip


@pytest.fixture
def cases(target: str) -> Iterator[Cases]:
    with open_store(target) as store:
        yield Cases(store)


def opened(cases: Cases, *numbers: int) -> Case:
    alerts = [alert(number) for number in numbers]
    made = cases_of.opened(alerts, id=cases.store.made(), who="ann", now=1_000.0 + numbers[0])
    cases.save([made], {}, {made.id: alerts}, who="ann", what="open")
    return made


def test_contained_is_what_is_in_effect_everywhere_and_not_taken_back() -> None:
    case = cases_of.opened([alert(1)], id="c-1", who="ann", now=1_000.0)
    acts = [Act(f"act-{n}", "c-1", "b", f"s{n}", "contain", "quarantine_identity", "identity", f"who-{n}", "x") for n in (1, 2)]  # fmt: skip

    def status(held: Case, *whats: tuple[int, str]) -> str:
        lines = [Line(n, 1_001.0 + n, what, "os:ann", act=f"act-{act}", hash=f"{n:02x}" * 8) for n, (act, what) in enumerate(whats, 1)]  # fmt: skip
        return responding.told(held, lines, acts, 1_010.0).status

    assert status(case, (1, "done"), (2, "partly")) == status(case, (1, "done")) == "open"
    assert status(case, (1, "done"), (2, "partly"), (2, "done")) == "contained"
    contained = msgspec.structs.replace(case, status="contained")
    for what in ("undone", "undo_partly"):
        assert status(contained, (1, "done"), (2, "done"), (2, what)) == "open", "one of two is not all"
    assert status(contained, (1, "done"), (2, "done"), (2, "expired")) == "contained", "it ended as it was planned"


def test_three_cases_become_one_and_three_again(cases: Cases) -> None:
    one, two, three = opened(cases, 1, 2), opened(cases, 2, 3), opened(cases, 4)
    held = [cases.get(each.id) for each in (one, two, three)]
    made = cases_of.merged([each.case for each in held], who="ben", now=2_000.0, why="one actor")
    alerts = {each.id: each for row in held for each in row.alerts}
    change = cases.save(
        made, {each.case.id: each.version for each in held}, {one.id: tuple(alerts.values())}, who="ben", what="merge"
    )
    big = cases.get(one.id)
    assert (
        len(big.alerts) == len(big.case.alerts) == 4 and len(big.case.entities) == 5
    )  # nothing is doubled, nothing lost
    assert cases.get(two.id).case.merged_into == one.id and [each.id for each in cases.list()] == [one.id]
    assert {each.ref for each in big.case.timeline if each.what == "alert"} == {alert(n).id for n in (1, 2, 3, 4)}
    cases.save(
        [cases_of.said(big.case, "note", "seen since", who="ann", now=2_001.0)],
        {one.id: big.version},
        {},
        who="ann",
        what="note",
    )
    with pytest.raises(UsageError, match="changed since"):
        cases.undo(change, who="ben", said=lambda case: case)
    again = cases.changes(one.id)
    cases.undo(
        again[0][0], who="ann", said=lambda case: cases_of.said(case, "undo", "note back", who="ann", now=2_002.0)
    )
    with pytest.raises(UsageError, match="changed since"):  # the undoing is a change too
        cases.undo(change, who="ben", said=lambda case: case)


def test_a_merge_is_undone_and_what_was_said_stays_said(cases: Cases) -> None:
    one, two = opened(cases, 1), opened(cases, 2)
    held = [cases.get(each.id) for each in (one, two)]
    made = cases_of.merged([each.case for each in held], who="ben", now=2_000.0, why="?")
    change = cases.save(made, {each.case.id: each.version for each in held}, {one.id: [each for row in held for each in row.alerts]}, who="ben", what="merge")  # fmt: skip
    cases.undo(change, who="ben", said=lambda case: cases_of.said(case, "undo", "were two", who="ben", now=2_001.0))
    for first, number in ((one, 1), (two, 2)):
        back = cases.get(first.id)
        assert (
            back.case.status == "open"
            and back.case.alerts == (alert(number).id,)
            and [each.id for each in back.alerts] == [alert(number).id]
        )
        assert {"merge", "undo"} <= {each.what for each in back.case.timeline}
    with pytest.raises(UsageError, match="no change"):
        cases.undo(change, who="ben", said=lambda case: case)


def test_a_case_is_split_found_and_written_by_one_at_a_time(cases: Cases) -> None:
    one = opened(cases, 1, 2, 3)
    held = cases.get(one.id[-8:])
    with pytest.raises(UsageError, match="both sides"):
        cases_of.split(held.case, held.alerts, [], id="x", who="ann", now=2.0, why="?")
    kept, new = cases_of.split(
        held.case, held.alerts[:1], held.alerts[1:], id=cases.store.made(), who="ann", now=2_000.0, why="other"
    )
    cases.save(
        [kept, new],
        {kept.id: held.version},
        {kept.id: held.alerts[1:], new.id: held.alerts[:1]},
        who="ann",
        what="split",
    )
    assert len(cases.get(kept.id).alerts) == 2 and cases.with_alert(alert(1).id) == new.id
    with pytest.raises(UsageError, match="meanwhile"):
        cases.save([kept], {kept.id: held.version}, {}, who="late", what="note")
    with pytest.raises(UsageError, match="no case"):
        cases.get("nonsense")
    task = cases_of.said(kept, "task", "look", who="ann", now=3_000.0, ref="task-1")
    with pytest.raises(UsageError, match="tasks are open"):
        cases_of.moved(task, "closed", who="ann", now=3_001.0, why="enough")
    done = cases_of.said(task, "task", "done: seen", who="ann", now=3_002.0, ref="task-1")
    assert (
        cases_of.moved(
            cases_of.spent(done, 12.5, who="ann", now=3_003.0, why="tokens"),
            "closed",
            who="ann",
            now=3_004.0,
            why="enough",
        ).spent
        == 12.5
    )


def test_an_export_shows_what_strangers_wrote_as_text() -> None:
    made = cases_of.opened(
        [alert(1)], id="c", who="ann", now=1.0, title="<script>alert(1)</script> [x](http://evil) | a"
    )
    text = whole.as_markdown(made, [alert(1)], (), Verified((), "", (), 0), 5.0)
    assert text.startswith("# `<script>")  # a code span: nothing in it is markup
    found = json.loads(whole.as_json(made, [alert(1)], (), Verified((), "", (), 0), 5.0))
    assert found["format"] == "afterguard.case-export/1" and found["case"]["id"] == "c" and len(found["alerts"]) == 1


def test_a_title_or_a_name_makes_no_line_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """Who chooses a caller's name or an alert's id could write what looks like ours."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    wrong = msgspec.structs.replace(alert(1), id="al-\x1b[31m1", title="A\x1b[2J\nNext: rm -rf /", entities=(Entity("identity", "x\nrespond: done"),))  # fmt: skip
    (tmp_path / "a.json").write_bytes(msgspec.json.encode(wrong))
    assert run(["respond", "open", str(tmp_path / "a.json")]) == 0
    assert run(["respond", "cases"]) == run(["respond", "cases", "-f", "json"]) == 0
    shown = capsys.readouterr().out
    case = json.loads(shown[shown.index("{") :])["cases"][0]["id"]
    shown = shown[: shown.index("{")]
    assert run(["respond", "plan", case]) in (0, 10) and run(["respond", "export", case, "-f", "md"]) == 0
    shown += capsys.readouterr().out
    assert "\x1b" not in shown and "A Next: rm -rf /" in shown
    assert not [one for one in shown.splitlines() if one.startswith(("Next: rm", "respond: done"))]
    assert "\n" not in tickets.create(cases_of.opened([wrong], id="c", who="ann", now=1.0), "jira", "SEC").body["fields"]["summary"]  # fmt: skip


SECRET = "a secret of webhooks"


def signed(body: bytes) -> dict[str, str]:
    return {"X-Hub-Signature": "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()}


def test_tickets_go_both_ways() -> None:
    made = cases_of.opened([alert(1, severity=Severity.critical)], id="0190-case", who="ann", now=1.0)
    jira, service = tickets.create(made, "jira", "SEC"), tickets.create(made, "servicenow", "soc")
    assert jira.body["fields"]["priority"] == {"name": "Highest"} and jira.path == "/rest/api/2/issue"
    assert (
        service.body["correlation_id"] == "0190-case"
        and service.body["urgency"] == "1"
        and tickets.update(made, "servicenow", "INC1").method == "PATCH"
    )
    body = json.dumps({"issue": {"key": "SEC-1", "fields": {"labels": jira.body["fields"]["labels"], "status": {"name": "Done"}, "resolution": {"name": "False Positive"}}}, "user": {"displayName": "Jo"}}).encode()  # fmt: skip
    found = tickets.received("jira", signed(body), body, SECRET)
    assert found == tickets.Update("0190-case", "SEC-1", "closed", "false_positive", "", "Jo")
    with pytest.raises(UsageError, match="signature"):
        tickets.received("jira", signed(body), body + b" ", SECRET)
    account = {"authorization": "Basic " + base64.b64encode(SECRET.encode()).decode()}
    row = json.dumps({"result": {"correlation_id": "0190-case", "number": "INC7", "state": {"value": "6", "display_value": "Resolved"}, "close_code": "Duplicate"}}).encode()  # fmt: skip
    assert tickets.received("servicenow", account, row, SECRET)[2:4] == ("closed", "duplicate")
    for headers, secret in (({}, SECRET), ({"authorization": "Basic !!"}, SECRET), (account, "short")):
        with pytest.raises(UsageError):
            tickets.received("servicenow", headers, row, secret)
    with pytest.raises(UsageError, match="no ticket"):
        tickets.update(made, "jira", "../admin")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80) | st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["issue", "fields", "labels", "result", "state", "correlation_id", "status"]), inner, max_size=4)).map(lambda one: json.dumps(one).encode()))  # fmt: skip
def test_no_webhook_makes_it_stumble(body: bytes) -> None:
    account = {"authorization": "Basic " + base64.b64encode(SECRET.encode()).decode()}
    for system, headers in (("jira", signed(body)), ("servicenow", account)):
        try:
            assert tickets.received(system, headers, body, SECRET).case  # type: ignore[arg-type]
        except AfterguardError:
            pass


def test_clocks_say_nothing_before_they_are_answered_and_never_more_than_possible() -> None:
    known = clocks.shipped()
    aware = 1_795_000_000.0  # a Wednesday
    found = clocks.running(known, {}, aware, aware)
    assert found.running == () and {one[0] for one in found.unanswered} == {one.id for one in known}
    answers = {f"gdpr.{name}": True for name in ("personal-data", "scope", "risk")} | {
        "gdpr.people": False,
        "dora.financial": False,
    }
    answers |= {"sec-8k.registrant": True, "sec-8k.material": True}
    found = clocks.running(known, answers, aware, aware + 3_600)
    assert [(one.clock, one.deadline) for one in found.running] == [("gdpr", "authority"), ("sec-8k", "form")]
    assert found.running[0].due == aware + 72 * 3_600 and all(
        one.label == "possible duty, ask Legal" for one in found.running
    )
    assert time.gmtime(found.running[1].due).tm_wday < 5 and found.running[1].due - aware >= 4 * 86_400
    assert found.not_applicable == ("dora",)
    act = {f"ai-act-73.{name}": True for name in ("high-risk", "serious", "provider", "death")} | {
        "ai-act-73.widespread": False
    }
    days = {one.deadline: (one.due - aware) / 86_400 for one in clocks.running(known, act, aware, aware).running}
    assert days == {"general": 15, "death": 10}
    for one in known:
        assert one.source and one.checked and one.sure
    assert msgspec.json.encode(found)


def test_a_change_is_made_to_what_others_left(target: str) -> None:
    """Twenty from each of three connections at once: all are in the case, and nobody is sent away."""
    with open_store(target) as store:
        case = opened(Cases(store), 1).id

    def write(who: str) -> None:
        with open_store(target) as store:
            mine = Cases(store)
            for number in range(20):
                mine.change(case, lambda one, at=2_000.0 + number: cases_of.said(one, "note", f"{who} {at:.0f}", who=who, now=at), who=who, what="note")  # fmt: skip

    writers = [threading.Thread(target=write, args=(who,)) for who in ("ann", "bob", "cem")]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    with open_store(target) as store:
        cases = Cases(store)
        held = cases.get(case)
        assert sum(one.what == "note" for one in held.case.timeline) == 60 and held.version == 61
        assert cases.change(case, lambda one: one, who="ann", what="nothing") == held.case
        assert cases.get(case).version == 61, "where nothing changes nothing is kept"
        cases.change(case, lambda one: cases_of.grown(one, [alert(2)], who="ann", now=9_000.0), who="ann", what="alerts", fresh=[alert(2)])  # fmt: skip
        assert [one.id for one in cases.get(case).alerts] == [alert(1).id, alert(2).id]
