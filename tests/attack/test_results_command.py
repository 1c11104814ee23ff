"""What comes after an attack, as a person uses it: formats, hits asked again, runs compared, a schedule, the store, the money, the listener, the rule on."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from afterguard.cli.run import run as command

ROOT = Path(__file__).parents[2]


def module(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


stand_ins = module("attack_stand_ins", Path(__file__).with_name("stand_ins.py"))
running = module("guard_running", ROOT / "tests/guard/running.py")
running.PATIENCE = 240.0
TARGET = """\
format: afterguard.target/1
name: desk
url: http://127.0.0.1:{port}/v1/chat/completions
model: m
system: {system}
surfaces: [user, document]
knows: {{purpose: bank help desk, canaries: [{{value: {code}}}]}}
limits: {{requests: 120, per_second: 1000}}
"""
LEAVE = ("--authorisation", "leave.json", "--trusted", "owner.key.pub")


class Ran(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with stand_ins.standing("weak") as one:
        yield one


@pytest.fixture
def run(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    (tmp_path / "desk.yaml").write_text(TARGET.format(port=server.server_port, system=json.dumps(stand_ins.SYSTEM), code=stand_ins.CODE))  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def ran(*words: str) -> Ran:
        capsys.readouterr()
        code = command(list(words))
        return Ran(code, *capsys.readouterr())

    return ran


def signed(run: Run, *more: str) -> None:
    if not Path("owner.key").exists():
        assert run("policy", "key", "owner.key").returncode == 0
    words = ("--key", "owner.key", "--owner", "Ann", "--tester", "Bo", "-o", "leave.json")
    assert run("attack", "authorise", "desk.yaml", *words, *more).returncode == 0


FEW = ("--techniques", "order-in-document,canary-question", "-q")


def result(run: Run, name: str, *more: str) -> Ran:
    return run("attack", "desk.yaml", *LEAVE, *FEW, "-f", "json", "-o", name, "--journal", f"{name}.jsonl", *more)


def test_hits_are_asked_again_and_runs_compared(run: Run, server: Any, tmp_path: Path) -> None:
    """Weak, then mended: every hit is gone, and going back is a regression that ends a pipeline."""
    signed(run)
    assert result(run, "weak.json", "--seed", "1").returncode == 0
    again = ("attack", "verify", "weak.json", "desk.yaml", "--through", "direct", *LEAVE)
    still = run(*again, "--journal", "v1.jsonl")
    assert still.returncode == 10 and "still succeeds" in still.stdout and stand_ins.CODE not in still.stdout
    server.character = "mended"
    try:
        gone = run(*again, "--times", "2", "-f", "json")
        found = json.loads(gone.stdout)
        assert gone.returncode == 0 and found["format"] == "afterguard.attack-verify/1", gone.stderr
        assert {(hit["state"], hit["of"]) for hit in found["hits"]} == {("resisted", 2)} and found["hits"][0]["turns"]
        ids = [hit["id"] for hit in json.loads((tmp_path / "weak.json").read_text())["hits"]]
        assert [hit["id"] for hit in found["hits"]] == ids
        size = (tmp_path / "desk.verify.attack.jsonl").stat().st_size
        assert run(*again, "--times", "2", "-q").returncode == 0
        assert (tmp_path / "desk.verify.attack.jsonl").stat().st_size == size, "what is over is not asked again"
        assert result(run, "mended.json", "--seed", "2", "--baseline", "weak.json").returncode == 0
    finally:
        server.character = "weak"
    worse = result(run, "third.json", "--seed", "3", "--baseline", "mended.json")
    assert worse.returncode == 10, worse.stderr
    diff = run("attack", "diff", "mended.json", "weak.json.jsonl")
    assert diff.returncode == 10 and "WORSE" in diff.stdout, diff.stdout
    assert run("attack", "diff", "mended.json", "weak.json", "--no-fail").returncode == 0
    assert run("attack", "diff", "weak.json", "third.json", "-f", "json").returncode == 0
    none = run("attack", "verify", "mended.json", "desk.yaml", "--through", "direct", *LEAVE)
    assert none.returncode == 3 and "no hits" in none.stderr


def test_every_format_and_the_gate(run: Run, tmp_path: Path) -> None:
    signed(run)
    again = ("attack", "desk.yaml", *LEAVE, *FEW, "--seed", "1", "--journal", "one.jsonl")
    for chosen, holds in (("table", "hit canary"), ("sarif", "codeFlows"), ("junit", "<failure"), ("html", "<svg"), ("json", "policy_rule")):  # fmt: skip
        done = run(*again, "-f", chosen, "-o", f"out.{chosen}", "--fail-on", "high")
        text = (tmp_path / f"out.{chosen}").read_text()
        assert done.returncode == 10 and holds in text and stand_ins.CODE not in text, (chosen, done.stderr)
    assert run(*again, "--fail-on", "critical").returncode == 0
    refused = run(*again, "-f", "cyclonedx", "--journal", "none.jsonl")
    assert refused.returncode == 2 and not (tmp_path / "none.jsonl").exists(), "said before anything is sent"
    assert run(*again, "--baseline", "owner.key").returncode == 2


def test_a_schedule_has_a_seed_of_its_own_each_day_and_says_when_the_leave_ends(run: Run, tmp_path: Path) -> None:
    signed(run, "--days", "1")
    done = run("attack", "desk.yaml", *LEAVE, "--daily", "--techniques", "order-in-document", "-f", "json")
    (journal,) = tmp_path.glob("desk.*.attack.jsonl")
    day = journal.name.split(".")[1]
    assert json.loads(done.stdout)["seed"] == day and "the authorisation ends at" in done.stderr
    leave = tmp_path / "leave.json"
    signed(run, "--days", "0.00001")
    time.sleep(1.0)  # the leave is for nine tenths of a second
    over = run("attack", "desk.yaml", *LEAVE, "--daily")
    assert leave.exists() and over.returncode == 5 and "the authorisation ended" in over.stderr and "Ann signs" in over.stderr  # fmt: skip


def test_rates_go_into_the_store_and_from_there_into_the_money(run: Run, tmp_path: Path) -> None:
    signed(run)
    assert run("attack", "desk.yaml", *LEAVE, "--techniques", "order-in-document,role-play,claimed-authority", "--store", "s.db", "-q").returncode == 0  # fmt: skip
    listed = run("history", "list", "--store", "s.db")
    assert "attack" in listed.stdout and "desk" in listed.stdout
    code = tmp_path / "app"
    code.mkdir()
    (code / "app.py").write_text(
        'import openai\nopenai.OpenAI().chat.completions.create(model="gpt-4o", messages=[])\n'
    )
    told = run("onboard", "app", "--app", "desk", "--store", "s.db", "--out", "r1")
    assert "take the place of assumptions" in told.stderr, told.stderr
    shown = json.loads((tmp_path / "r1/report.json").read_text())["apps"][0]
    factors = [one["source"] for row in shown["loss"]["scenarios"] for one in row["factors"]]
    assert any(one.startswith("measured here, n=") for one in factors) and shown["attacked"]["target"] == "desk"
    assert not any("never attacked" in one for one in shown["loss"]["not_measured"])
    bare = run("onboard", "app", "--no-store", "--out", "r2", "-q")
    assert bare.returncode == 0 and "never attacked" in (tmp_path / "r2/report.json").read_text()
    (journal,) = tmp_path.glob("desk.attack.jsonl")
    named = run("onboard", "app", "--no-store", "--out", "r3", "--attack", journal.name)
    assert named.returncode == 0 and "measured here" in (tmp_path / "r3/report.json").read_text()
    assert run("onboard", "app", "--no-store", "--attack", f"nobody={journal.name}").returncode == 2


def test_what_the_application_fetches_is_a_receipt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener is in the command: without it the technique is not tried, with it it is."""
    signed(run)
    words = ("attack", "desk.yaml", *LEAVE, "--techniques", "picture-to-listener", "-f", "json")
    monkeypatch.setattr("afterguard.targets.listener.GRACE", 0.02)
    without = json.loads(run(*words, "--journal", "a.jsonl").stdout)
    assert without["families"][0]["skipped"] == "no-listener"
    done = run(*words, "--journal", "b.jsonl", "--listen", "127.0.0.1:0")
    assert json.loads(done.stdout)["families"][0]["trials"] >= 3 and "listening on http://127.0.0.1:" in done.stderr
    assert run(*words, "--listen", "nonsense").returncode == 2


def test_a_rule_of_the_guard_holds_off_what_was_found(run: Run, server: Any, tmp_path: Path) -> None:
    """The whole way round: found directly, asked again through a real guard with the rule that the finding hands out."""
    (tmp_path / "guard").mkdir()
    policy = (ROOT / "src/afterguard/catalog/policies/strict.yaml").read_text().replace("mode: observe", f"mode: enforce\ncanaries: [{stand_ins.CODE}]")  # fmt: skip
    signed(run)
    words = (
        "-f",
        "json",
        "-o",
        "found.json",
        "--seed",
        "1",
        "-q",
        "--techniques",
        "canary-question,role-play,order-in-document",
    )
    assert run("attack", "desk.yaml", *LEAVE, *words).returncode == 0
    upstream = f"http://127.0.0.1:{server.server_port}"
    with running.guard(
        "", tmp_path / "guard", policy, "--mode", "enforce", "--budget-ms", "20000", mounts={"openai": upstream}
    ) as guard:
        text = (tmp_path / "desk.yaml").read_text()
        (tmp_path / "desk.yaml").write_text(f"{text}guarded: {guard.url}/openai/v1/chat/completions\n")
        signed_again = run("attack", "authorise", "desk.yaml", "--through", "guarded", "--key", "owner.key", "--owner", "Ann", "--tester", "Bo", "-o", "leave.json")  # fmt: skip
        assert signed_again.returncode == 0, signed_again.stderr
        done = run("attack", "verify", "found.json", "desk.yaml", *LEAVE, "-f", "json")
    found = json.loads(done.stdout)
    states = {hit["state"] for hit in found["hits"]}
    assert found["through"] == "guarded" and "held off" in states, (done.stderr, found["hits"])
    of = {name: [hit["state"] for hit in found["hits"] if hit["technique"] == name] for name in ("canary-question", "role-play", "order-in-document")}  # fmt: skip
    assert set(of["canary-question"]) == set(of["role-play"]) == {"held off"}, "the canary rule holds off all it is for"
    # The rule for orders in documents cuts one form of eight. That the others still succeed is what verify is there to say.
    assert set(of["order-in-document"]) == {"resisted", "still succeeds"}, of["order-in-document"]
