"""Onboarding end to end: applications ranked, logs given to the right one, files written whole, the second run compares."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from afterguard.cli.run import run
from afterguard.config import Config
from afterguard.errors import UsageError
from afterguard.jobs import onboard as job
from afterguard.jobs import report_files
from afterguard.model import App

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CHAT = {
    "id": "c1",
    "time": "2026-11-01T10:00:00Z",
    "user": "u1",
    "request": {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is my key?"}]},
    "response": {
        "choices": [
            {
                "message": {
                    "role": "assistant",
                    "content": "It is sk-proj-Jm4TzW9qLkV2nXc7RbYpT3BlbkFJd8HsQe5GuZa1NiMo6FwP.",
                }
            }
        ]
    },
}


def request(apps: list[str], logs: list[tuple[str, Path]]) -> job.Request:
    named = [(App(name), [EXAMPLES / name]) for name in apps]
    return job.Request(named, logs, None, Config(), "afterguard onboard", "0")


def means() -> job.Means:
    return job.Means(lambda text: text[:4], lambda _row: None, lambda _count, _unit, _done: None)


def test_logs_go_to_the_application_their_path_names(tmp_path: Path) -> None:
    for place in ("assistant/chat.jsonl", "elsewhere/chat.jsonl"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(json.dumps(CHAT) + "\n")
    logs = job.assign(request(["assistant", "fraud"], [("", tmp_path)]), lambda _row: None)
    assert {name: len(one.judged) for name, one in logs.items()} == {"assistant": 1, job.UNASSIGNED: 1}
    only = job.assign(request(["fraud"], [("", tmp_path)]), lambda _row: None)
    assert len(only["fraud"].judged) == 2
    told = job.assign(request(["assistant", "fraud"], [("fraud", tmp_path / "elsewhere")]), lambda _row: None)
    assert list(told) == ["fraud"]
    with pytest.raises(UsageError, match="nobody"):
        job.assign(request(["fraud"], [("nobody", tmp_path)]), lambda _row: None)


def test_a_log_alone_is_enough(tmp_path: Path) -> None:
    log = tmp_path / "chat.jsonl"
    log.write_text(json.dumps(CHAT) + "\n")
    result = job.onboard(
        job.Request([(App("bot"), [log])], [], None, Config(), "c", "0"), job.Clock(1.8e9, time.monotonic), means()
    )
    (app,) = result.apps
    assert app.lookback is not None
    assert [one.kind for one in app.lookback.incidents] == ["secret_in_output"]
    assert [one.name for one in app.survey.assets] == ["gpt-4o"]
    assert app.loss is not None and app.loss.scenarios


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        result = job.onboard(request(["fraud"], []), job.Clock(1.8e9, lambda: 0.0), means())
        report_files.write(result, tmp_path / name, ask_business=True)
        texts.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert texts[0] == texts[1]
    assert set(texts[0]) == {
        "report.html", "report.md", "report.json", "bom.cdx.json", "findings.sarif", "policy.yaml", "data-protection.md",
        "business.yaml", "logging-change.md",
    }  # fmt: skip


def test_odd_names_stay_inside_the_report_folder(tmp_path: Path) -> None:
    for name in ("../../evil", "a/b", "..", "\x1b[31m", "", "ok"):
        assert "/" not in report_files.slug(name)
        assert report_files.slug(name) not in ("", ".", "..")


def test_a_second_run_says_what_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    app = tmp_path / "shop"
    app.mkdir()
    (app / "a.py").write_text(
        "import openai\nreply = openai.OpenAI().responses.create(model='gpt-4o', input='x')\neval(reply.output_text)\n"
    )
    words = ["onboard", str(app), "--out", str(tmp_path / "out"), "--store", str(tmp_path / "s.db"), "--no-config"]
    assert run(words) == 0
    assert "since the last run" not in capsys.readouterr().err
    (app / "a.py").write_text(
        "\n\nimport openai\nreply = openai.OpenAI().responses.create(model='gpt-4o', input='x', max_output_tokens=5)\neval(reply.output_text)\n"
    )
    assert run(words) == 0
    assert "since the last run" in capsys.readouterr().err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    change = report["apps"][0]["change"]
    assert [one["title"] for one in change["fixed"]] and change["unchanged"]["finding"] >= 1
    assert not change.get("new")
    assert run([*words, "--fail-on", "high"]) == 10
