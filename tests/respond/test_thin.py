"""A stolen key, from the first alert to the proof that the guard refuses it, and back: with the commands a person types."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afterguard.cli.run import run
from afterguard.model import Alert, Confidence, Entity, Range, Severity
from afterguard.respond.journal import verify
from afterguard.respond.roles import hashed


def load(name: str, path: Path) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


HERE = Path(__file__)
net = load("guard_tests_running", HERE.parents[1] / "guard" / "running.py")
measures = load("respond_test_measures", HERE.with_name("test_measures.py"))
PASSWORD = "a password in an envelope"
SALT = "ab" * 16


def alert(thief: str, number: int = 1, kind: str = "denial_of_wallet", **more: Any) -> Alert:
    return Alert(
        f"al-{number:032x}", f"fp-{number}", kind, "Requests made to be expensive", Severity.high, Confidence.high, time.time() - 600, time.time(),
        time.time(), "shop", entities=(Entity("key", thief), Entity("mount", "openai", "means")), money=Range(1e3, 1e4, 1e5), currency="USD", **more,
    )  # fmt: skip


def respond_yaml(folder: Path, guard: Any) -> Path:
    roles = folder / "roles.yaml"
    mine = __import__("getpass").getuser()
    glass = {"account": "envelope", "salt": SALT, "hash": hashed(PASSWORD, SALT)}
    roles.write_text(json.dumps({"format": "afterguard.roles/1", "roles": {"responder": {"people": [f"os:{mine}"]}, "lead": {}}, "break_glass": glass}))  # fmt: skip
    file = folder / "respond.yaml"
    given = {"folder": str(guard.folder), "listen": guard.url[7:]}
    file.write_text(json.dumps({"format": "afterguard.respond/1", "guard": given, "roles": str(roles)}))
    return file


def test_a_stolen_key_is_contained_proven_and_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLASS_PASSWORD", PASSWORD)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    guarded = tmp_path / "guard"
    guarded.mkdir()

    def cli(*words: str) -> tuple[int, Any]:
        code = run(["respond", *words, "-f", "json", "--store", str(here / "store.db"), "-q"])
        out = capsys.readouterr()
        return code, json.loads(out.out) if out.out.strip() else out.err

    with (
        net.stand_in() as origin,
        net.guard(origin.origin, guarded, net.rules(head="mode: observe"), mounts=("openai",)) as guard,
    ):
        respond_yaml(here, guard)
        _, identifier = measures.ask(guard, "stolen")
        thief = guard.decided(identifier)["actor"]["user"]["uid"]
        (here / "alerts.jsonl").write_bytes(msgspec.json.encode(alert(thief)) + b"\n")
        code, made = cli("open", "alerts.jsonl")
        case = made["case"]["id"]
        assert code == 0 and made["case"]["money"]["mid"] == 1e4
        code, made = cli("run", case, "--dry-run")
        assert code == 0 and {one["state"] for one in made["acts"]} == {"would"}, made
        assert not (guarded / "measures.json").exists()  # a dry run changes nothing
        code, made = cli("run", case)
        states = {one["act"]["step"]: one["state"] for one in made["acts"]}
        assert code == 10 and states == {"keep-state": "done", "cap-quota": "done", "refuse-key": "waiting"}, made
        assert measures.ask(guard, "stolen")[0] in (200, 429)
        code, said = cli("approve", case, "refuse-key", "--reason", "I want it")
        assert code == 2 and "who asks cannot approve" in said
        assert cli("approve", case, "refuse-key", "--reason", "provider away", "--break-glass", "envelope")[0] == 0
        code, made = cli("run", case)
        rows = {one["act"]["step"]: one for one in made["acts"]}
        assert rows["refuse-key"]["state"] == "done" and "block by measure-" in rows["refuse-key"]["says"], made
        assert measures.ask(guard, "stolen")[0] in (400, 429) and measures.ask(guard, "honest")[0] == 200
        code, made = cli("show", case)
        assert made["case"]["status"] == "contained" and any(
            "GLASS WAS BROKEN" in one["text"] for one in made["case"]["timeline"]
        )
        assert len(made["open_tasks"]) == 4
        code, made = cli("undo", case)
        assert code == 0 and [one["state"] for one in made["acts"]] == ["undone", "undone"], made
        assert measures.ask(guard, "stolen")[0] == 200
        assert cli("show", case)[1]["case"]["status"] == "open"
        journal = next(here.glob("respond/cases/*/journal.jsonl"))
        assert cli("verify", str(journal))[1]["problems"] == []
        data = journal.read_bytes()
        journal.write_bytes(data.replace(b"provider away", b"provider gone"))
        assert cli("verify", str(journal))[0] == 10 and verify(data).problems == ()
