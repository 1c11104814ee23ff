"""One walk: assets and findings together, values followed across files, memory bounded, owners named."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterguard.jobs import survey as job
from afterguard.jobs.survey import survey
from afterguard.model import App, AssetKind, Coverage

ASK = "import openai\n\n\ndef ask(q):\n    return openai.OpenAI().responses.create(model='gpt-4o', input=q, max_output_tokens=9).output_text\n"
RUN = "import os\nfrom app.llm import ask\n\n\ndef run(q):\n    os.system(ask(q))\n"


def tree(root: Path) -> Path:
    (root / "app").mkdir()
    (root / "app" / "llm.py").write_text(ASK)
    (root / "app" / "act.py").write_text(RUN)
    (root / "app" / "other.py").write_text("import subprocess\nsubprocess.run('ls', shell=True)\n")
    (root / "CODEOWNERS").write_text("* @team/a\n")
    return root


def test_a_risky_file_without_ai_words_is_judged_where_it_belongs_to_ai_code(tmp_path: Path) -> None:
    result = survey([tree(tmp_path)], App("x"), note=lambda _row: None)
    assert [(one.rule, one.path, one.line) for one in result.findings if one.rule == "model-output-to-shell"] == [
        ("model-output-to-shell", "app/act.py", 6)
    ]
    assert result.app.owner == "@team/a"
    assert {(AssetKind.provider, "openai"), (AssetKind.model, "gpt-4o")} <= {
        (one.kind, one.name) for one in result.assets
    }
    assert result.checks["model-output-to-shell"] == "hit"
    assert result.checks["public-bucket"] in ("miss", "not_applicable")


def test_discover_alone_runs_no_check(tmp_path: Path) -> None:
    result = survey([tree(tmp_path)], App("x"), note=lambda _row: None, checking=False)
    assert result.checks == {}
    assert result.assets


def test_beyond_the_cap_files_are_checked_one_by_one_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "KEPT_BYTES", 10)
    rows: list[Coverage] = []
    result = survey([tree(tmp_path)], App("x"), note=rows.append)
    assert any(row.reason == "cap" for row in rows)
    assert result.coverage == tuple(rows)


def test_logs_in_the_tree_are_streamed_and_compared_with_code(tmp_path: Path) -> None:
    tree(tmp_path)
    line = "1793198071.405 120 10.0.0.5 TCP_TUNNEL/200 4000 CONNECT {host}:443 - HIER_DIRECT/203.0.113.10 -\n"
    (tmp_path / "squid.log").write_text(
        line.format(host="api.deepseek.com") * 30 + line.format(host="api.openai.com") * 30
    )
    result = survey([tmp_path], App("x"), note=lambda _row: None, checking=False)
    shadows = [one for one in result.findings if one.rule == "shadow-ai-traffic"]
    assert [one.asset for one in shadows] == ["provider:deepseek"]
    openai = next(one for one in result.assets if (one.kind, one.name) == (AssetKind.provider, "openai"))
    assert {one.source for one in openai.evidence} >= {"code", "traffic"}


def test_what_a_cap_leaves_out_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterguard.jobs.held.HELD_BYTES", 10)
    monkeypatch.setattr("afterguard.discover.code.LIMIT", 1)
    tree(tmp_path)
    (tmp_path / "app" / "bad.py").write_text("import openai\n" + "x = = 1\n\n\ndef f():\n    pass\n\n\n" * 9)
    result = survey([tmp_path], App("x"), note=lambda _row: None, checking=False)
    rows = {(row.path, row.reason): row for row in result.coverage}
    assert rows["(code)", "cap"].count >= 1
    assert "more than 1 assets" in rows["app/llm.py", "cap"].detail
    told = [row for row in result.coverage if (row.path, row.reason) == ("app/bad.py", "bad_syntax")]
    assert sum(row.count for row in told) >= 4


def test_a_file_that_breaks_the_first_pass_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_parsed: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr("afterguard.scan.examination.summarise", broken)
    result = survey([tree(tmp_path)], App("x"), note=lambda _row: None)
    assert any("first pass failed: ValueError" in row.detail for row in result.coverage)
