"""Every command once, in process: what it prints, what it keeps, how it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from afterguard.cli.run import run

ROOT = Path(__file__).parent.parent.parent
KEY = "sk-proj-Jm4TzW9qLkV2nXc7RbYpT3BlbkFJd8HsQe5GuZa1NiMo6FwP"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AFTERGUARD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def log(folder: Path) -> Path:
    path = folder / "chat.jsonl"
    reply = {"choices": [{"message": {"role": "assistant", "content": f"The key is {KEY}."}}]}
    row = {"id": "c1", "time": "2026-11-01T10:00:00Z", "user": "ann@bank.example"}
    row |= {"request": {"model": "gpt-4o", "messages": [{"role": "user", "content": "key?"}]}, "response": reply}
    path.write_text(json.dumps(row) + "\n")
    return path


def test_rules_and_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "list", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rules"]) > 30
    assert run(["rules", "show", "model-output-to-eval"]) == 0
    assert "Fix:" in capsys.readouterr().out
    assert run(["rules", "show", "model-output-to-evil"]) == 2
    assert "model-output-to-eval" in capsys.readouterr().err


def test_config_says_where_a_value_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "afterguard.toml").write_text("tenant = 'bank'\n")
    assert run(["config", "show", "--origin"]) == 0
    out = capsys.readouterr().out
    assert 'tenant = "bank"' in out and "afterguard.toml:1" in out
    assert run(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$defs"]


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--format", "json"]) == 0
    rows = {row["what"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["store"]["state"] == "ok"
    assert rows["prefilter"]["detail"].startswith("hyperscan")
    assert run(["doctor", "--store", "/dev/null/x.db"]) == 4


def test_history_lists_shows_and_deletes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lookback", str(log(tmp_path)), "--app", "bot", "-q"]) == 0
    capsys.readouterr()
    assert run(["history", "list", "--format", "json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["runs"]
    assert (one["app"], one["incidents"], one["status"]) == ("bot", 1, "complete")
    assert run(["history", "show", "last"]) == 0
    assert "the first run" in capsys.readouterr().out
    assert run(["history", "show", "nothing"]) == 3
    assert run(["history", "delete", one["id"]]) == 0
    assert run(["history", "delete", one["id"], "--yes"]) == 0
    capsys.readouterr()
    assert run(["history", "list", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == []


def test_no_prompt_and_no_secret_rests_in_the_store(tmp_path: Path) -> None:
    assert run(["lookback", str(log(tmp_path)), "--app", "bot", "-q"]) == 0
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert KEY.encode() not in kept
    assert b"ann@bank.example" not in kept
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "data" / "afterguard").iterdir())


def test_evidence_from_key_to_receipt(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "evidence.key"
    assert run(["evidence", "list", "--app", "bot"]) == 2
    assert run(["evidence", "key", str(key)]) == 0
    assert run(["evidence", "key", str(key)]) == 2
    monkeypatch.setenv("AFTERGUARD_EVIDENCE_KEEP", "true")
    monkeypatch.setenv("AFTERGUARD_EVIDENCE_KEY_FILE", str(key))
    assert run(["lookback", str(log(tmp_path)), "--app", "bot", "-q"]) == 0
    capsysbinary.readouterr()
    assert run(["evidence", "list", "--app", "bot"]) == 0
    original = capsysbinary.readouterr().out.split()[0].decode()
    assert run(["evidence", "read", original, "--who", " ", "--why", "x"]) == 2
    assert run(["evidence", "read", original, "--who", "ann", "--why", "case 1"]) == 0
    assert KEY.encode() in capsysbinary.readouterr().out
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert KEY.encode() not in kept
    assert run(["evidence", "hold", "--app", "bot", "--reason", "suit", "--who", "legal"]) == 0
    assert run(["evidence", "erase", "--app", "bot", "--why", "request", "--yes"]) == 2
    held = capsysbinary.readouterr().err.split(b"held: ")[1].split()[0].decode()
    assert run(["evidence", "release", held]) == 0
    assert run(["evidence", "erase", "--app", "bot", "--why", "request"]) == 0
    assert run(["evidence", "erase", "--app", "bot", "--why", "request", "--yes"]) == 0
    assert run(["evidence", "receipts"]) == 0
    assert b"request" in capsysbinary.readouterr().out
    assert run(["evidence", "read", original, "--who", "ann", "--why", "again"]) == 2
    assert run(["evidence", "sweep"]) == 0


def test_every_command_names_the_next_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.py").write_text("import openai\n")
    for words in (
        ["discover", "a.py"],
        ["scan", "a.py"],
        ["lookback", str(log(tmp_path))],
        ["rules", "list"],
        ["doctor"],
        ["history", "list"],
    ):
        assert run(words) == 0
        assert "Next: afterguard" in capsys.readouterr().err, words


def test_an_interrupted_output_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import openai\n")
    (tmp_path / "out.json").write_text("old")
    assert run(["discover", "a.py", "-q", "--format", "html", "-o", "out.json"]) == 2
    assert (tmp_path / "out.json").read_text() == "old"
    assert run(["discover", "a.py", "-q", "--format", "json", "-o", "out.json"]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["format"] == "afterguard.discover/1"
    assert [path.name for path in tmp_path.glob(".*.part")] == []
