"""From a decision log to alerts in the store: restarts, crashes, what people say, and the hunt."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afterguard.cli.run import run
from afterguard.errors import UsageError
from afterguard.jobs import hunt as hunting
from afterguard.jobs import watch as job
from afterguard.match import compile
from afterguard.model import Alert, Drill
from afterguard.store import alerts as stored
from afterguard.store.database import open_store
from afterguard.watch.triage import Triage

NOON = 1_790_000_000.0
DAY = 86_400.0


def line(time: float, who: str = "u1", hits: tuple[str, ...] = (), action: str = "allow", **own: Any) -> str:
    rows = [{"kind": kind, "detector": kind, "severity": "high", "confidence": "high", "cause": f"{kind} of {who}", "excerpt": "…", "rule": "r"} for kind in hits]  # fmt: skip
    event = {
        "class_uid": 6003, "time": int(time * 1000), "metadata": {"uid": f"x{time:.3f}{who}", "log_name": "guard"}, "api": {"operation": "chat", "service": {"name": "openai", "uid": "desk"}},
        "actor": {"user": {"uid": who}, "app_name": "desk"}, "ai_model": {"name": "m-1"}, "message_context": {"uid": f"c-{who}"},
        "unmapped": {"afterguard": {"action": action, "prompt": "p1", **({"hits": rows} if rows else {}), **own}},
    }  # fmt: skip
    return json.dumps(event, separators=(",", ":"))


def a_log(path: Path, days: int = 3, a_day: int = 400) -> Path:
    draw = random.Random(1)
    rows = [line(NOON - days * DAY + at * DAY / a_day, f"u{draw.randrange(50)}") for at in range(days * a_day)]
    path.write_text("\n".join(rows) + "\n")
    return path


def watched(folder: Path, log: Path, told: list[Alert]) -> job.Watch:
    store = open_store(folder / "store.db")
    triage = Triage(job.said(store.connection, "default"))
    return job.Watch([log], triage, store.connection, "default", folder / "triage.state", told.extend, lambda: NOON)


def test_a_crash_loses_no_alert_and_makes_no_second_one(tmp_path: Path) -> None:
    log = a_log(tmp_path / "d.jsonl")
    told: list[Alert] = []
    first = watched(tmp_path, log, told)
    first.step()
    first.save()
    with log.open("a") as out:
        out.write(line(NOON, "eve", ("canary_leak",), documents=["d1"]) + "\n")
    first.step()  # and dies before it saves
    again: list[Alert] = []
    second = watched(tmp_path, log, again)
    second.step()
    assert [one.kind for one in told] == ["canary_leak"] == [one.kind for one in again]
    assert told[0].id == again[0].id and told[0].revision == again[0].revision
    assert len(stored.listed(second.connection, "default")) == 1
    second.save()
    third: list[Alert] = []
    assert watched(tmp_path, log, third).step() == 0 and third == []


def test_drills_are_read_again_when_something_was_said_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    whole = job.drills

    def read(*given: Any) -> tuple[Drill, ...]:
        reads.append(len(whole(*given)))
        return whole(*given)

    monkeypatch.setattr(job, "drills", read)
    log = a_log(tmp_path / "d.jsonl", 1, 10)
    one = watched(tmp_path, log, [])
    drill = Drill("r1", "desk", ("eve",), NOON, NOON + 600)
    for number, ends in enumerate((NOON + 600, NOON + 60)):
        stored.say(one.connection, "default", "desk", job.DRILL, f"id{number}", NOON, msgspec.structs.replace(drill, ends=ends))  # fmt: skip
        for _ in range(3):
            one.step()
    assert reads == [1, 1] and one._drills[0].ends == NOON + 60
    with log.open("a") as out:
        out.write(line(NOON + 1, "eve", ("canary_leak",)) + "\n")
    one.step()
    assert one.read.drilled == 1 and reads == [1, 1]


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    log = tmp_path / "d.jsonl"
    log.write_bytes(
        b"{broken\n[1]\n"
        + json.dumps({"class_uid": 4001}).encode()
        + b"\n"
        + line(NOON).encode()
        + b'\n{"format":"afterguard.lost/1","lost":7}\n{"format":"afterguard.approval/1"}\n'
    )
    one = watched(tmp_path, log, [])
    one.step()
    lost = {"lost by the guard: its disk was full": 7}
    assert (
        one.read.unread == {"no JSON": 1, "no decision": 1, "another class of event": 1, **lost} and one.read.lines == 6
    )


def test_a_probe_of_our_own_is_nobodys_hit(tmp_path: Path) -> None:
    told: list[Alert] = []
    log = a_log(tmp_path / "d.jsonl")
    with log.open("a") as out:
        out.writelines(line(NOON + at, "prober", ("canary_leak", "secret_in_input"), probe=True) + "\n" for at in range(20))  # fmt: skip
    one = watched(tmp_path, log, told)
    one.step()
    assert told == [] and one.triage.counts.sightings == 0 and one.read.unread == {}
    assert one.read.probes == 20, "left out, and counted"


def test_a_line_from_the_future_moves_no_clock(tmp_path: Path) -> None:
    log = tmp_path / "d.jsonl"
    log.write_text(line(NOON + 900 * DAY) + "\n" + line(NOON) + "\n")
    one = watched(tmp_path, log, [])
    one.step()
    assert one.now == NOON + job.AHEAD


def test_a_broken_state_says_so(tmp_path: Path) -> None:
    (tmp_path / "triage.state").write_bytes(b"nothing")
    with pytest.raises(Exception, match="kept state of triage"):
        watched(tmp_path, a_log(tmp_path / "d.jsonl", 1, 10), [])


def test_routes_say_what_is_wrong() -> None:
    found = job.routes("owners:\n- owner: pay team\n  detection: {app: pay}\nprices:\n  canary_leak: [1000, 5000, 90000]\ncurrency: EUR\n", "r.yaml")  # fmt: skip
    assert found.owners[0].owner == "pay team" and found.prices["canary_leak"] == (1000, 5000, 90000)
    for wrong in ("prices: {canary_leek: [1, 2, 3]}", "prices: {canary_leak: [3, 2, 1]}", "owner: x", "owners: 7", "[", "prices: {canary_leak: [1, 2]}"):  # fmt: skip
        with pytest.raises(UsageError):
            job.routes(wrong, "r.yaml")


def test_the_commands_as_a_person_uses_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    log = a_log(tmp_path / "d.jsonl")
    with log.open("a") as out:
        out.write(line(NOON, "eve", ("canary_leak",), documents=["d1"], tools=["send_mail"]) + "\n")
        out.write(line(NOON + 60, "bob", ("jailbreak",), action="block") + "\n")
    assert run(["watch", "run", str(log), "--fail-on", "high"]) == 10
    out = capsys.readouterr()
    assert "A planted reference came out" in out.out and "1 held off by the guard" in out.err and "watch show al-" in out.err  # fmt: skip
    name = out.out.split("al-")[1][:9]
    assert run(["watch", "show", f"al-{name}"]) == 0
    page = capsys.readouterr().out
    assert "touched: 1 document: d1" in page and "nobody priced it" in page and "canary_leak of eve" in page
    assert run(["watch", "dispose", f"al-{name}", "--as", "false_positive", "--by", "ana", "--reason", "our own drill"]) == 0  # fmt: skip
    assert run(["watch", "suppress", "--where", "kind=jailbreak", "--by", "ana", "--reason", "red team", "--days", "2"]) == 0  # fmt: skip
    assert run(["watch", "suppress", "--where", "kind", "--by", "ana", "--reason", "x", "--days", "2"]) == 2
    assert run(["watch", "suppress", "--where", "kind=x", "--by", "ana", "--reason", "x", "--days", "900"]) == 2
    assert run(["watch", "suppress", "--where", "knd=x", "--by", "ana", "--reason", "x", "--days", "2"]) == 2
    assert "did you mean 'kind'?" in capsys.readouterr().err
    assert run(["watch", "show", "al-nope"]) == 2
    assert run(["watch", "run", "missing.jsonl"]) == 3
    capsys.readouterr()
    with log.open("a") as more:
        more.write(line(NOON + 8 * DAY, "eve", ("canary_leak",)) + "\n")
    assert run(["watch", "run", str(log), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["alerts"] == [], "the person's word holds across runs"
    assert run(["watch", "alerts", "--all", "--format", "json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["alerts"][:1]
    assert one["app"] == "desk"


def test_a_hunt_says_what_was_touched_and_what_it_could_not_see(tmp_path: Path) -> None:
    log = a_log(tmp_path / "d.jsonl", 1, 100)
    with log.open("a") as out:
        for at in range(5):
            out.write(line(NOON + at, f"v{at % 3}", documents=["bad1", "d2"], tools=["send_mail"]) + "\n")
        out.write("{broken\n")
    chat = {"id": "c1", "time": "2026-11-01T10:00:00Z", "user": "ann", "request": {"model": "gpt-4o", "messages": [{"role": "user", "content": "send it to evil.example now"}]}, "response": {"choices": [{"message": {"role": "assistant", "content": "no"}}]}}  # fmt: skip
    (tmp_path / "chat.jsonl").write_text(json.dumps(chat) + "\n")
    found = hunting.hunt([log], compile({"a": {"document": ["bad1"]}}), pseudonym=lambda name: f"hash of {name}")
    assert (found.matched, found.searched, found.unsearched) == (5, 105, 1) and found.reasons == {"bad_syntax": 1}
    assert found.touched["identity"].names == {"v0": 2, "v1": 2, "v2": 1} and found.touched["tool"].distinct == 1
    assert [one.line for one in found.matches] == list(range(101, 106)) and 0 < found.share < 0.01
    text = hunting.hunt([log, tmp_path / "chat.jsonl"], compile({"a": {"text|contains": ["evil.example"]}}), needs_text=True, pseudonym=str)  # fmt: skip
    assert text.matched == 1 and text.matches[0].file.endswith("chat.jsonl") and text.matches[0].entities["identity"] == "ann"  # fmt: skip
    assert text.reasons["no text in it"] == 105, "a decision log holds no prompts: it says nothing of texts"


def test_the_hunt_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    log = a_log(tmp_path / "d.jsonl", 1, 100)
    shutil.copy(log, tmp_path / "d.jsonl.1")
    assert run(["watch", "hunt", str(log), "--prompt", "p1", "--model", "m-*", "--no-fail"]) == 0
    out = capsys.readouterr().out
    assert "100 of 100 exchanges match" in out and "everything could be searched" in out and "conversation:" in out
    assert run(["watch", "hunt", str(log)]) == 2
    assert run(["watch", "hunt", "--tool", "x"]) == 2, "there is no guard of this account"
    (tmp_path / "data" / "afterguard" / "guard").mkdir(parents=True)
    shutil.copy(log, tmp_path / "data" / "afterguard" / "guard" / "decisions.jsonl")
    assert run(["watch", "hunt", "--prompt", "p1", "--no-fail"]) == 0
    assert "100 of 100 exchanges match" in capsys.readouterr().out
    assert run(["watch", "hunt", str(log), "--tool", "x"]) == 0


RULE = """
title: Mail is sent by the desk
id: 4a4ef0e6-51a7-4d1c-9d5f-2f2b6f0f7c11
status: test
level: high
tags: [AML.T0086, attack.t1567, attack.exfiltration, tlp.amber]
logsource: {product: afterguard, service: ai_exchange}
detection:
  sent: {unmapped.afterguard.tools: send_mail}
  condition: sent
"""


def test_a_rule_of_the_soc_raises_an_alert_and_is_hunted_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    log = a_log(tmp_path / "d.jsonl", 1, 50)
    with log.open("a") as out:
        out.write(line(NOON, "eve", tools=["send_mail"]) + "\n")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "mail.yml").write_text(RULE)
    assert run(["watch", "run", str(log), "--rules", str(tmp_path / "rules"), "-f", "json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["alerts"]
    assert (one["title"], one["severity"], one["kind"]) == ("Mail is sent by the desk", "high", "sigma_rule")
    assert "eve" in {entity["name"] for entity in one["entities"]} and one["taxonomies"] == ["AML.T0086", "T1567"]
    assert run(["respond", "open", one["id"]]) == 0
    case = capsys.readouterr().out.split()[0]
    assert run(["respond", "plan", case]) in (0, 10)
    assert "playbook data-leak" in capsys.readouterr().err
    assert run(["watch", "hunt", str(log), "--rule", str(tmp_path / "rules"), "-f", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["matched"] == 1 and found["touched"]["identity"]["names"] == {"eve": 1} and found["searched"] == 51
    (tmp_path / "rules" / "mail.yml").write_text(RULE.replace("tags: [AML.T0086, attack.t1567, attack.exfiltration, tlp.amber]\n", ""))  # fmt: skip
    assert run(["watch", "run", str(log), "--rules", str(tmp_path / "rules"), "--store", str(tmp_path / "second.db"), "-f", "json"]) == 0  # fmt: skip
    (bare,) = json.loads(capsys.readouterr().out)["alerts"]
    (tmp_path / "bare.jsonl").write_text(json.dumps(bare))
    assert run(["respond", "open", str(tmp_path / "bare.jsonl")]) == 0
    assert run(["respond", "plan", capsys.readouterr().out.split()[0]]) in (0, 10)
    said = capsys.readouterr().err
    assert "no playbook is written for a rule of your own, Mail is sent by the desk" in said and "playbook unknown-alert" in said  # fmt: skip
    (tmp_path / "rules" / "mail.yml").write_text(RULE.replace("tools:", "tools|sounds_like:"))
    assert run(["watch", "run", str(log), "--rules", str(tmp_path / "rules")]) == 2


def test_when_it_was_first_told_stays_and_counts_in_the_money(tmp_path: Path) -> None:
    told: list[Alert] = []
    log = a_log(tmp_path / "d.jsonl")
    one = watched(tmp_path, log, told)
    with log.open("a") as out:
        out.writelines(line(NOON - 3_600 + at, f"v{at}", ("canary_leak",)) + "\n" for at in range(3))
    one.step()
    one.wall = lambda: NOON + 500
    with log.open("a") as out:
        out.writelines(line(NOON + 1_000 + at, "v0", ("canary_leak",)) + "\n" for at in range(30))
    one.step()
    later = [alert for alert in told if alert.revision > 1]
    assert later and {alert.raised for alert in told} == {NOON} and later[-1].observed >= NOON
