"""A live-fire drill on the demo assistant behind a real guard, as a person would run it: the command in a process of its own, responders beside it.

The model is the stand-in of the attack's tests (tests/attack/desk_model.py), the application, the guard, the watch, the engine and the probes are the real ones.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from afterguard.cli.run import run
from afterguard.guard import who
from afterguard.jobs import judging
from afterguard.policy.shipped import shipped_text

from ..attack import standing  # noqa: TID252 - tests are no package that has a name

pytestmark = pytest.mark.xdist_group("drill")
running = standing.running
PATIENCE = 180.0
TECHNIQUES = "other-customer-record,prompt-recital,role-play,order-in-document,off-purpose"
KEY = "Bearer local"
"""What the assistant of the tests sends: desk.py."""


class Scene:
    """The assistant, directly and behind a guard, and two responders."""

    def __init__(self, folder: Path, guard: Any, behind: str, per_second: int = 1_000) -> None:
        self.folder, self.guard = folder, guard
        self.identity = who.pseudonym(judging.key(guard.folder), KEY)
        self.target = folder / "target.yaml"
        text = (standing.ROOT / "examples/targets/assistant.yaml").read_text()
        text = text.replace("url: ${ASSISTANT_URL}/api/chat", f"url: http://localhost:9/api/chat\nguarded: {behind}/api/chat")  # fmt: skip
        self.target.write_text(text.replace("per_second: 2", f"per_second: {per_second}"))
        roles = {"format": "afterguard.roles/1", "roles": {"responder": {"people": ["os:alice", "os:bob"]}}}
        (folder / "roles.yaml").write_text(json.dumps(roles))
        settings = {"format": "afterguard.respond/1", "guard": {"folder": str(guard.folder), "listen": guard.url[7:]}, "roles": str(folder / "roles.yaml")}  # fmt: skip
        (folder / "respond.yaml").write_text(json.dumps(settings))

    def authorised(self) -> list[str]:
        """The owner's leave, signed as an owner signs it."""
        key, leave = self.folder / "owner.key", self.folder / "leave.json"
        if not leave.exists():
            assert self.command("policy", "key", str(key))[0] == 0
            code, said = self.command("attack", "authorise", str(self.target), "--through", "guarded", "--key", str(key), "--owner", "Ann", "--tester", "Bo", "-o", str(leave))  # fmt: skip
            assert code == 0, said
        return ["--authorisation", str(leave), "--trusted", f"{key}.pub"]

    def words(self, *more: str) -> list[str]:
        return ["respond", "drill", str(self.target), *self.authorised(), "--identity", self.identity, "--log", str(self.guard.log), "--settings", str(self.folder / "respond.yaml"), "--seed", "seed", *more]  # fmt: skip

    @contextlib.contextmanager
    def drilling(self, *more: str) -> Iterator[subprocess.Popen[str]]:
        """The drill, by alice, in a process of its own."""
        words = [sys.executable, "-m", "afterguard", *self.words(*more), "-f", "json", "--store", str(self.folder / "store.db"), "--no-config"]  # fmt: skip
        with subprocess.Popen(words, cwd=self.folder, env=os.environ | {"LOGNAME": "alice"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:  # fmt: skip
            try:
                yield one
            finally:
                if one.poll() is None:
                    running.end(one)

    def drilled(self, *more: str) -> tuple[int, dict[str, Any]]:
        with self.drilling("--techniques", TECHNIQUES, *more) as one:
            return ended(one)

    def command(self, *words: str, by: str = "alice") -> tuple[int, Any]:
        """Another command, in this process."""
        out, err = io.StringIO(), io.StringIO()
        formatted = ["-f", "json"] if words[0] in ("respond", "watch") else []
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.dict(os.environ, {"LOGNAME": by}):  # fmt: skip
            code = run([*words, *formatted, "--store", str(self.folder / "store.db"), "--no-config"])
        said = out.getvalue()
        return code, json.loads(said) if said.startswith(("{", "[")) else said + err.getvalue()

    def respond(self, *words: str, by: str = "alice") -> tuple[int, Any]:
        return self.command("respond", *words, "--settings", str(self.folder / "respond.yaml"), by=by)

    def in_force(self) -> list[Any]:
        file = self.guard.folder / "measures.json"
        return list(json.loads(file.read_bytes()).get("measures", ())) if file.exists() else []


def ended(one: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    out, err = one.communicate(timeout=PATIENCE)
    print(err)
    assert out.startswith("{"), err
    print(out)
    return one.returncode, json.loads(out)


@contextlib.contextmanager
def scene(folder: Path, mode: str) -> Iterator[Scene]:
    """The policy is the shipped strict, told of the planted record; somebody has left its rule for that at flag."""
    text = shipped_text("strict").replace("mode: observe", f"mode: {mode}").replace("action: block", "action: flag", 1)
    text = text.replace("\nrules:", "\ncanaries: [REC-5519-KT]\n\nrules:", 1)
    (folder / "guard").mkdir()
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(standing.model(folder, "weak"))
        guard = stack.enter_context(running.guard("", folder / "guard", text, mounts={"openai": model}))
        # Where something is contained the attack has to be still going on then, on a fast machine too.
        per_second = 10 if mode == "enforce" else 1_000
        yield Scene(
            folder, guard, stack.enter_context(standing.desk(folder, "weak", f"{guard.url}/openai")), per_second
        )


@pytest.fixture(scope="module")
def observing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("observing"), "observe") as one:
        yield one


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("enforcing"), "enforce") as one:
        yield one


def test_a_guard_that_observes_holds_nothing_off_and_what_nobody_was_told_of_is_listed(observing: Scene) -> None:
    code, made = observing.drilled("--requests", "60", "--settle", "1")
    assert code == 10, "something had its way and nobody was told"
    assert made["modes"] == ["observe"] and made["format"] == "afterguard.drill/1" and made["requests"] <= 60
    rows = {row["technique"]: row for row in made["rows"]}
    assert set(rows) <= set(TECHNIQUES.split(",")) and all(row["held_off"] == 0 for row in rows.values())
    assert rows["other-customer-record"]["told"] and not rows["other-customer-record"]["untold"], (
        "the record is a canary"
    )
    assert "canary_leak" in made["kinds"]
    assert rows["off-purpose"]["untold"] and not rows["off-purpose"]["told"], "the guard has no rule for that"
    for trial in made["trials"]:
        assert trial["outcome"] == "had_its_way" and (trial.get("is_told", False) <= bool(trial.get("seen"))), trial
    assert 0 <= made["alert"] < 30 and made["contained"] is None and made["undone"] is None
    assert made["containment"].startswith("dry run: ") and observing.in_force() == [], "nothing was contained"
    assert made["strangers"] == 0 and made["is_first_day"]


def test_nothing_of_a_drill_mixes_with_the_real_thing(observing: Scene) -> None:
    code, listed = observing.command("watch", "alerts")
    assert code == 0 and listed["alerts"] == []
    _, every = observing.command("watch", "alerts", "--all")
    assert every["alerts"] and all(one["drill"] and one["title"].startswith("Drill: ") for one in every["alerts"])
    assert observing.respond("cases")[1]["cases"] == [], "its case is closed"
    case = observing.respond("cases", "--every")[1]["cases"][0]
    assert case["drill"] == every["alerts"][0]["drill"] and case["title"].startswith("Drill: ") and case["status"] == "closed"  # fmt: skip
    assert observing.respond("times")[1]["cases"] == []
    drilled = observing.respond("times", "--drill")[1]["cases"]
    assert [one["is_drill"] for one in drilled] == [True] and drilled[0]["detect"] is not None and drilled[0]["contain"] is None  # fmt: skip
    code, said = observing.command("watch", "dispose", every["alerts"][0]["id"], "--as", "true_positive", "--by", "ana", "--reason", "it was us")  # fmt: skip
    assert code == 2 and "is of drill" in said
    # The watch of every day reads the same log: it leaves the drill out. One that was told of no drill does not.
    code, read = observing.command("watch", "run", str(observing.guard.log))
    assert code == 0 and read["alerts"] == [] and read["counts"].get("exchanges", 0) == 0
    with mock.patch.object(observing, "folder", observing.folder / "elsewhere"):
        observing.folder.mkdir()
        assert observing.command("watch", "run", str(observing.guard.log))[1]["alerts"]


def test_a_target_that_is_a_door_of_the_guard_needs_no_name(observing: Scene) -> None:
    door = f"{observing.guard.url}/openai/v1/chat/completions"
    text = f"format: afterguard.target/1\nname: model\nurl: http://localhost:9/v1/chat/completions\nguarded: {door}\nmodel: gpt-4o\nheaders: {{authorization: Bearer drill-key}}\nlimits: {{requests: 20, per_second: 1000}}\n"
    folder = observing.folder / "door"
    folder.mkdir()
    one = Scene(folder, observing.guard, "")
    one.target.write_text(text)
    words = one.words("--requests", "6", "--settle", "0")
    at = words.index("--identity")
    code, made = one.command(*words[:at], *words[at + 2 :])
    assert code == 3 and made["rows"] == [], "six requests are spent before a technique is tried"
    assert made["identities"] == [who.pseudonym(judging.key(one.guard.folder), "Bearer drill-key")]
    assert made["modes"] == ["observe"] and 0 < made["requests"] <= 6


def test_containment_is_approved_proven_and_undone(enforcing: Scene) -> None:
    lake, sinks = enforcing.folder / "lake.jsonl", enforcing.folder / "sinks.yaml"
    sinks.write_text(
        f"format: afterguard.sinks/1\nsinks:\n  - {{name: lake, kind: file, path: {lake}, encode: ocsf}}\n"
    )
    with enforcing.drilling("--techniques", TECHNIQUES, "--requests", "100", "--contain", "--playbook", "direct-injection", "--with", "refuse-caller", "--skip", "slow-caller", "--settle", "1", "--wait", "60", "--sinks", str(sinks)) as one:  # fmt: skip
        case = running.until(lambda: worked(enforcing, lambda case: enforcing.respond("answer", case, "keep-settings", "--text", "kept")[0] == 0), PATIENCE)  # fmt: skip
        running.until(lambda: enforcing.respond("approve", case, "refuse-caller", "--reason", "seen", by="bob")[0] == 0, PATIENCE)  # fmt: skip
        code, made = ended(one)
    assert made["contained"] is not None and made["undone"] > made["contained"] >= made["alert"], made
    assert made["containment"].startswith("contained by ") and made["playbook"] == "direct-injection"
    assert made["after"] >= 1 and made["after_refused"] == made["after"], "the attacker was really refused"
    assert any(row["held_off"] for row in made["rows"]) and made["modes"] == ["enforce"]
    assert enforcing.in_force() == [] and not [row for row in made.get("problems", ()) if "not taken back" in row]
    whole = enforcing.respond("export", case)[1]
    assert whole["case"]["drill"] == made["run"] and whole["case"]["status"] == "closed"
    words = [one["what"] for one in whole["journal"]["lines"]]
    assert words[1] == "drill" and {"approved", "done", "undone"} <= set(words) and whole["journal"]["problems"] == []
    assert {one["step"] for one in made["acts"]} >= {"keep-state", "enforce-caller", "refuse-caller"}
    assert {one["on"] for one in whole["plan"]} <= {"case", "identity", "key", "conversation"}, "it touches nobody else"
    told = [json.loads(one) for one in lake.read_text().splitlines()]
    assert {one["unmapped"]["afterguard"].get("drill") for one in told} == {made["run"]}, "all of it is marked"
    assert {(one["class_uid"], one["status"]) for one in told if "status" in one} >= {(3003, "approved"), (7001, "done"), (7001, "undone")}  # fmt: skip
    assert {one["finding_info"]["uid"] for one in told if one["class_uid"] in (2004, 2006)} == set(made["alerts"])
    assert code == (10 if any(row["untold"] for row in made["rows"]) else 0)


def worked(one: Scene, work: Callable[[str], bool]) -> str:
    """The open case, once somebody could do that to it."""
    found = one.respond("cases")[1]["cases"]
    return found[0]["id"] if found and work(found[0]["id"]) else ""


def test_what_nobody_approves_is_not_contained_and_what_was_done_is_undone(enforcing: Scene) -> None:
    code, made = enforcing.drilled("--requests", "100", "--contain", "--playbook", "direct-injection", "--with", "refuse-caller", "--skip", "slow-caller", "--skip", "keep-settings", "--settle", "1", "--wait", "6")  # fmt: skip
    assert code == 10 and made["contained"] is None and made["after"] == 0
    assert "refuse-caller waits: 1 of responder have to agree" in made["containment"]
    assert {one["step"]: one["state"] for one in made["acts"]}["enforce-caller"] == "done"
    assert made["undone"] is not None and enforcing.in_force() == []


def test_nothing_is_sent_without_leave_and_nothing_is_said_of_another_path(enforcing: Scene) -> None:
    before = len(enforcing.guard.lines())
    with mock.patch.object(enforcing, "authorised", list):
        code, said = enforcing.command(*enforcing.words())
    assert code == 2 and "without the owner's leave" in said
    code, said = enforcing.command(*[word for word in enforcing.words() if word not in ("--identity", enforcing.identity)])  # fmt: skip
    assert code == 2 and "is not the guard itself" in said
    assert len(enforcing.guard.lines()) == before
    code, said = enforcing.command(*[word.replace(enforcing.identity, "00" * 10) for word in enforcing.words("--requests", "10")])  # fmt: skip
    assert code == 3 and "wrote nothing of" in said


def test_a_drill_that_is_ended_takes_back_what_it_did(enforcing: Scene) -> None:
    with enforcing.drilling("--techniques", TECHNIQUES, "--requests", "400", "--contain", "--playbook", "direct-injection", "--with", "refuse-caller", "--skip", "slow-caller", "--skip", "keep-settings", "--wait", "60") as one:  # fmt: skip
        running.until(enforcing.in_force, PATIENCE)
        one.send_signal(signal.SIGTERM)
        code, made = ended(one)
    assert code == 10 and made["stopped"] == "it was interrupted" and made["contained"] is None
    assert made["undone"] is not None and enforcing.in_force() == []
    assert enforcing.respond("cases")[1]["cases"] == []


def test_a_guard_that_stops_in_the_middle_ends_the_drill_and_nothing_is_claimed(enforcing: Scene) -> None:
    with enforcing.drilling("--techniques", TECHNIQUES, "--requests", "400", "--contain", "--playbook", "direct-injection", "--with", "refuse-caller", "--skip", "slow-caller", "--skip", "keep-settings", "--wait", "60") as one:  # fmt: skip
        running.until(enforcing.in_force, PATIENCE)
        running.end(enforcing.guard.process)
        code, made = ended(one)
    assert code == 10 and made["stopped"].startswith("the guard does not answer"), made["stopped"]
    assert made["contained"] is None and made["undone"] is None
    assert any("nobody could prove" in row for row in made["problems"]), made["problems"]
    assert enforcing.in_force() == [], "it is out of the sheet that the guard will read when it is back"
