"""Verdicts of a SIEM in the store: each once, the newest holds, nothing new is hidden; and the whole way round at the command line."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afterguard.cli.run import run
from afterguard.export.feedback import Found, Heard, Seen, Word
from afterguard.export.pulls import Cursor, Page
from afterguard.export.pulls.elastic import ElasticPull
from afterguard.jobs import feedback as job
from afterguard.jobs import watch as watching
from afterguard.model import Alert, Confidence, Entity, Severity
from afterguard.store import alerts as stored
from afterguard.store.database import Store, open_store
from afterguard.watch.triage import Disposition

NOON = 1_790_000_000.0
DAY = 86_400.0
ID = "al-" + "0" * 32
ALERT = Alert(
    ID, "f00d", "canary_leak", "A planted reference came out", Severity.high, Confidence.high, NOON - DAY, NOON, NOON, "desk", count=10, detector="canary",
    entities=(Entity("tool", "send_mail", "means"), Entity("identity", "eve")),
)  # fmt: skip


def heard(what: str = "false_positive", at: float = NOON + 60, ref: str = "doc", revision: int = 1, seen: Seen | None = None, system: str = "elastic", alert: str = ID) -> Heard:  # fmt: skip
    return Heard(alert, revision, Word(system, what, what, at, "ana", ref, "why"), seen)


def taken(store: Store, *found: Heard, now: float = NOON + 3_600, tenant: str = "default") -> job.Outcome:
    """What becomes of them, by somebody who has read nothing before."""
    one = job.Feedback(store, tenant, lambda: now)
    one.take(Found(len(found), list(found)))
    return one.outcome


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(tmp_path / "store.db") as one:
        stored.keep(one.connection, [ALERT])
        yield one


def rows(store: Store) -> tuple[Disposition, ...]:
    return stored.said(store.connection, "default", "disposition", Disposition)


def hides(store: Store, alert: Alert, a_day: float = 10.0) -> str:
    return watching.said(store.connection, "default").hides(alert, a_day, NOON + 2 * DAY)


def test_each_verdict_is_applied_once(store: Store) -> None:
    assert taken(store, heard(), heard()).applied == {"false_positive": 1}
    again = taken(store, heard(), heard(at=NOON + 900), heard(at=0))
    assert (again.applied, again.known) == ({}, 3), "read again, touched again, and without a time"
    assert len(rows(store)) == 1 and rows(store)[0].who == "elastic:ana" and rows(store)[0].a_day == 10
    assert stored.one(store.connection, "default", ID)[0].disposition == "false_positive"
    assert hides(store, ALERT) == "false positive says elastic:ana"


def test_the_newest_holds_and_the_older_is_told(store: Store) -> None:
    out = taken(store, heard("true_positive", NOON + 90, "b"), heard("false_positive", NOON + 60, "a"))
    assert out.applied == {"true_positive": 1, "false_positive": 1} and out.older == 0, "in the order of time"
    assert hides(store, ALERT) == "" and watching.said(store.connection, "default").verdicts["canary", "canary_leak"] == (1, 0)  # fmt: skip
    out = taken(store, heard("benign_positive", NOON + 70, "c"))
    (one,) = out.conflicts
    assert out.older == 1 and (one.what, one.stands, one.by) == ("benign_positive", "true_positive", "elastic:ana")
    assert taken(store, heard("false_positive", NOON + 150, "a")).known == 1, "touched: a comment is no verdict"
    for at, what in ((160, "false_positive"), (170, "true_positive"), (180, "false_positive")):
        assert taken(store, heard(what, NOON + at, "b")).applied == {what: 1}, "somebody changed their mind, and again"
    assert taken(store, heard("false_positive", NOON + 100, "z")).known == 1, "another says the same, earlier"


def test_a_file_without_times_does_not_fight_a_person(store: Store) -> None:
    assert taken(store, heard(at=0)).applied == {"false_positive": 1}
    stored.say(store.connection, "default", "desk", "disposition", "x", NOON, Disposition("f00d", "true_positive", "bo", NOON + 4_000))  # fmt: skip
    later = NOON + 5_000
    assert taken(store, heard(at=0), now=later).known == 1
    assert taken(store, heard(at=later + 9_999, ref="f"), now=later).applied, "a time that has not come is no time"
    assert rows(store)[-1].at == later
    assert taken(store, heard(at=later + 9_999, ref="f"), now=later + 60).known == 1


def test_undetermined_takes_back_only_what_the_same_document_said(store: Store) -> None:
    assert taken(store, heard("undetermined")).silent == 1, "nobody has said anything"
    taken(store, heard())
    assert taken(store, heard("undetermined", NOON + 200, system="splunk")).silent == 1
    assert taken(store, heard("undetermined", NOON + 200, ref="other")).silent == 1, (
        "a later revision, which nobody has judged"
    )
    assert taken(store, heard("undetermined", NOON + 30)).silent == 1, "it was opened before"
    assert taken(store, heard("undetermined", 0)).silent == 1
    assert hides(store, ALERT)
    assert taken(store, heard("undetermined", NOON + 200)).withdrawn == 1
    assert hides(store, ALERT) == "" and stored.one(store.connection, "default", ID)[0].disposition == ""
    assert watching.said(store.connection, "default").verdicts["canary", "canary_leak"] == (0, 0)
    assert taken(store, heard("undetermined", NOON + 300)).silent == 1
    assert taken(store, heard(at=NOON + 400)).applied, "closed again"


def test_a_verdict_is_for_what_was_judged(store: Store) -> None:
    grown = msgspec.structs.replace(ALERT, revision=2, count=90, observed=NOON + 600, severity=Severity.critical, entities=(*ALERT.entities, Entity("tool", "pay", "means")))  # fmt: skip
    stored.keep(store.connection, [grown])
    shown = Seen(Severity.high, 10, NOON, frozenset({"send_mail"}))
    assert taken(store, heard(seen=shown)).behind == 0
    (row,) = rows(store)
    assert (row.severity, row.a_day, row.means, row.revision) == (Severity.high, 10, ("send_mail",), 1)
    assert hides(store, ALERT) and hides(store, grown) == "", "what nobody has seen comes back"
    assert stored.one(store.connection, "default", ID)[0].disposition == "", "and carries no verdict"
    assert taken(store, heard(at=NOON + 700, revision=2)).applied, "the same document, about what it is now"
    assert hides(store, grown)


def test_where_nobody_shows_what_was_judged_it_teaches_and_hides_nothing(store: Store) -> None:
    stored.keep(store.connection, [msgspec.structs.replace(ALERT, revision=2, count=90, observed=NOON + 600)])
    assert taken(store, heard(revision=0)).behind == 1
    assert hides(store, ALERT, 1.0) == "" and watching.said(store.connection, "default").verdicts["canary", "canary_leak"] == (0, 1)  # fmt: skip
    assert taken(store, heard(revision=0, at=NOON + 700, ref="other")).behind == 0, "said after the revision was told"
    assert hides(store, ALERT)


def test_what_a_document_shows_is_never_more_than_there_is(store: Store) -> None:
    stored.keep(store.connection, [msgspec.structs.replace(ALERT, revision=3, observed=NOON + 600)])
    taken(store, heard(seen=Seen(Severity.critical, 10**9, NOON + 900 * DAY, frozenset({"pay", "send_mail"}))))
    (row,) = rows(store)
    assert (row.severity, row.a_day, row.means) == (Severity.high, 10, ("send_mail",))


def test_alerts_that_are_not_here_are_counted(store: Store) -> None:
    assert taken(store, heard(alert="al-" + "f" * 32)).absent == 1
    assert taken(store, heard(), tenant="other").absent == 1, "of another tenant"
    assert rows(store) == ()


def test_of_a_drill_nothing_is_taken(store: Store) -> None:
    mine = "al-" + "d" * 32
    stored.keep(store.connection, [msgspec.structs.replace(ALERT, id=mine, drill="3f2a91cc")])
    out = taken(store, heard(alert=mine))
    assert out.drilled == 1 and not out.applied and rows(store) == ()
    assert hides(store, ALERT) == "", "the same cause in real traffic has the same fingerprint"


word = st.builds(
    Word, st.sampled_from(["elastic", "splunk"]), st.sampled_from(["true_positive", "false_positive", "benign_positive", "duplicate", "undetermined"]),
    st.text(max_size=9), st.floats(0, 2e9), st.text(max_size=9), st.sampled_from(["a", "b", ""]), st.text(max_size=9),
)  # fmt: skip
shown = st.none() | st.builds(Seen, st.sampled_from(list(Severity)), st.integers(1, 10**15), st.floats(1, 1e11), st.frozensets(st.text(max_size=9)))  # fmt: skip


@given(st.lists(st.builds(Heard, st.sampled_from([ID, "al-" + "f" * 32]), st.integers(0, 3), word, shown), max_size=8))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_verdicts_are_taken_or_counted_and_then_known(store: Store, found: list[Heard]) -> None:
    before = len(rows(store))
    out = taken(store, *found)
    fresh = sum(out.applied.values()) + out.withdrawn
    assert fresh + out.known + out.older + out.absent + out.silent == len(found) and len(rows(store)) == before + fresh
    now, stands = {}, rows(store)[-1:]
    for _ in range(3):
        now = taken(store, *[one for one in found if 0 < one.word.at <= NOON]).applied
        stands, last = rows(store)[-1:], stands
    assert now == {} and stands == last, "read again it settles"


def test_a_pull_goes_on_where_it_was(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Cursor] = []

    class Some:
        """Pages in order; the third fails once. It stands for no SIEM: those are in tests/export/test_pulls.py."""

        def page(self, cursor: Cursor) -> Page:
            asked.append(cursor)
            if cursor.time == 2 and asked.count(cursor) == 1:
                raise KeyboardInterrupt
            return Page([7], Cursor(cursor.time + 1, "k"), cursor.time == 4)

    monkeypatch.setattr(job, "opened", lambda *_: Some())
    place = tmp_path / "watch" / "pulled.json"
    one, it = job.Feedback(store, "default", lambda: NOON), ElasticPull(name="it", url="https://siem.example")
    with pytest.raises(KeyboardInterrupt):
        job.pull(it, place, one)
    assert job.pull(it, place, one, most=2) is False
    assert job.pull(it, place, one) is True
    assert [cursor.time for cursor in asked] == [0, 1, 2, 2, 3, 4] and one.outcome.strange == 5
    place.write_text("{broken")
    assert job.pull(it, place, one) is True, "begins anew, and knows everything"


def line(time: float, who: str, tools: tuple[str, ...] = ("send_mail",), hit: bool = True) -> str:
    one = {
        "kind": "canary_leak",
        "detector": "canary",
        "severity": "high",
        "confidence": "high",
        "cause": f"canary_leak of {who}",
        "rule": "r",
    }
    event = {
        "class_uid": 6003, "time": int(time * 1000), "metadata": {"uid": f"x{time:.3f}{who}", "log_name": "guard"}, "api": {"operation": "chat", "service": {"name": "openai", "uid": "desk"}},
        "actor": {"user": {"uid": who}, "app_name": "desk"}, "ai_model": {"name": "m-1"}, "message_context": {"uid": f"c-{who}"},
        "unmapped": {"afterguard": {"action": "allow", **({"hits": [one], "tools": list(tools)} if hit else {})}},
    }  # fmt: skip
    return json.dumps(event) + "\n"


@pytest.mark.parametrize("format", ["ecs", "ocsf", "json"])
def test_from_alert_to_siem_and_back(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """An alert goes out by a sink, is judged there, flows back; the same noise is set aside, what is new is told. The alert is judged as Elastic Security writes it (format ecs, json), or in an OCSF lake."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    log, sinks = tmp_path / "d.jsonl", tmp_path / "sinks.yaml"
    sinks.write_text(f"format: afterguard.sinks/1\nsinks:\n  - {{name: siem, kind: file, path: {tmp_path}/siem.jsonl, encode: {format}, lanes: [alert]}}\n")  # fmt: skip

    def watch(*more: str) -> list[dict[str, Any]]:
        assert run(["watch", "run", str(log), "--format", "json", *more]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["alerts"]
        return found

    log.write_text(line(NOON, "eve"))
    (first,) = watch("--sinks", str(sinks))
    (document,) = [json.loads(row) for row in (tmp_path / "siem.jsonl").read_text().splitlines()]
    if format == "ocsf":
        judged = document | {"verdict_id": 1, "verdict": "False Positive", "assignee": {"name": "ana"}}
    else:
        # Elastic Security: a rule copies the fields, and says by which document (_id) and event.id it was raised.
        own = {"kibana.alert.uuid": "u1", "kibana.alert.workflow_status": "closed", "kibana.alert.workflow_reason": "false_positive", "kibana.alert.workflow_user": "ana", "kibana.alert.ancestors": [{"id": first["id"]}]}  # fmt: skip
        judged = {"_id": "u1", "_source": document | own}
    (tmp_path / "judged.json").write_text(json.dumps([judged]))
    assert run(["watch", "feedback", "judged.json"]) == 0
    said = capsys.readouterr().err
    assert "1 documents: 1 false positive taken" in said and "afterguard watch alerts" in said
    assert run(["watch", "feedback", "judged.json", "--format", "json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["format"], again["known"], again.get("applied", {})) == ("afterguard.feedback/1", 1, {})
    assert run(["watch", "show", first["id"][:12]]) == 0 and "false positive" in capsys.readouterr().out

    def later(day: int, *lines: str) -> list[dict[str, Any]]:
        """What is told of these lines, once what was open before is over."""
        with log.open("a") as out:
            out.write(line(NOON + (day - 1) * DAY, "bo", hit=False))
        assert all(one["state"] == "closed" for one in watch())
        with log.open("a") as out:
            out.writelines(lines)
        return watch()

    assert later(10, line(NOON + 10 * DAY, "eve")) == [], "it sticks"
    (other,) = later(20, line(NOON + 20 * DAY, "eve", ("send_mail", "pay")))
    assert "pay" in {one["name"] for one in other["entities"]}, "another tool comes back"
    more = later(30, *(line(NOON + 30 * DAY + at, "eve") for at in range(9)))
    assert more and more[-1]["count"] > 4, "nine a day are more than four times one a day"
    (stranger,) = later(40, line(NOON + 40 * DAY, "mallory"))
    assert stranger["likelihood"] < first["likelihood"], "it taught how often its detector is right"


def test_a_watch_that_never_ends_hears_of_it(tmp_path: Path, store: Store) -> None:
    log = tmp_path / "d.jsonl"
    log.write_text(line(NOON, "eve"))
    wall = [NOON]
    told: list[Alert] = []
    said = lambda: watching.said(store.connection, "default")  # noqa: E731
    triage = watching.Triage(said())
    one = watching.Watch([log], triage, store.connection, "default", tmp_path / "s", told.extend, lambda: wall[0], hear=said)  # fmt: skip
    one.step()
    taken(store, heard(alert=told[0].id), now=NOON + 120)
    with log.open("a") as out:
        out.write(line(NOON + 9 * DAY, "eve"))
    wall[0] = NOON + 9 * DAY
    before = len(told)
    one.step()  # reads with what it knew; then listens
    with log.open("a") as out:
        out.write(line(NOON + 18 * DAY, "eve"))
    wall[0] = NOON + 18 * DAY
    middle = len(told)
    one.step()
    assert middle > before and [alert for alert in told[middle:] if alert.state == "new"] == []


def test_a_webhook_proves_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOOK", "0123456789abcdef")
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"properties": {"classification": "FalsePositive", "labels": [{"labelName": ID}]}}))
    sign = "sha256=" + hmac.digest(b"0123456789abcdef", body.read_bytes(), "sha256").hex()
    words = ["watch", "feedback", str(body), "--secret", "HOOK", "--header"]
    assert run([*words, f"X-Hub-Signature: {sign}"]) == 0
    assert "1 of alerts that this store never had" in capsys.readouterr().err
    assert run([*words, f"X-Hub-Signature: {sign[:-1]}0"]) == 2 and run([*words, "Authorization: Basic eA=="]) == 2
    assert run(["watch", "feedback", str(body), "--secret", "HOOK"]) == 2
    assert "prove" in capsys.readouterr().err


def test_what_a_person_gets_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "empty.json").write_text("")
    sinks = tmp_path / "sinks.yaml"
    sinks.write_text(
        "format: afterguard.sinks/1\npulls:\n  - {name: kibana, kind: elastic, url: 'http://127.0.0.1:9'}\n"
    )
    assert run(["watch", "feedback"]) == 2
    assert run(["watch", "feedback", str(tmp_path / "missing.json")]) == 2
    assert run(["watch", "feedback", str(tmp_path / "empty.json")]) == 3
    assert run(["watch", "feedback", "--pull", "kibana"]) == 2
    assert run(["watch", "feedback", "--pull", "kibna", "--sinks", str(sinks)]) == 2
    assert "did you mean 'kibana'" in capsys.readouterr().err
    assert run(["watch", "feedback", "--pull", "kibana", "--sinks", str(sinks), "--offline"]) == 2
    assert run(["watch", "feedback", "--pull", "kibana", "--sinks", str(sinks)]) == 4
    assert "does not answer" in capsys.readouterr().err
