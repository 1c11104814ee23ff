"""What scan, attack, onboard and respond write as JSON becomes events of every format, and no document makes it stumble."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.attack.findings import weaknesses
from afterguard.cli.run import run
from afterguard.export import documents
from afterguard.export.documents import Unread, is_document, things
from afterguard.export.formats import TEXTS
from afterguard.model import Alert, Case, Deed, Found
from afterguard.policy.shipped import rule_text
from afterguard.report.attack import json as attack_json
from afterguard.respond import whole
from afterguard.respond.act import Act
from afterguard.respond.journal import Line, Verified

from ..attack.test_results import found as attacked  # noqa: TID252 - tests are no package that has a name
from .test_docs import beside
from .test_ocsf import errors

samples: Any = beside("samples")
WEAK = """from openai import OpenAI

client = OpenAI(api_key="sk-proj-Abcdefghijklmnopqrstuvwxyz0123456789ABCD")
eval(client.responses.create(model="gpt-5", input="x").output_text)
eval(client.responses.create(model="gpt-5", input="x").output_text)  # afterguard: ignore[*] a laboratory
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What the commands write."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "app").mkdir()
    (folder / "app" / "main.py").write_text(WEAK)
    out = {name: folder / f"{name}.json" for name in ("scan", "lines", "onboard", "attack", "case")}
    for name, words in (("scan", ["scan", "-f", "json"]), ("lines", ["scan", "-f", "jsonl"]), ("onboard", ["onboard", "-f", "json"])):  # fmt: skip
        assert run([words[0], str(folder / "app"), *words[1:], "-o", str(out[name]), "--no-store", "--no-config", "-q"]) == 0  # fmt: skip
    one = attacked(canary_question=(3, 5), order_in_document=(5, 5))
    text = io.StringIO()
    attack_json.render(one, weaknesses(one, rule_text), text)
    out["attack"].write_text(text.getvalue())
    act = Act("act-1", samples.CASE.id, "indirect-injection", "refuse-caller", "contain", "quarantine_identity", "identity", samples.WHO, "Refuse the caller.")  # fmt: skip
    lines = tuple(Line(n, samples.AT + n, what, who, "act-1", "so it is", hash=f"{n:064x}") for n, (what, who) in enumerate((("requested", "os:lee"), ("approved", "os:dana"), ("begun", "os:lee"), ("done", "os:lee"), ("undone", "os:lee"))))  # fmt: skip
    out["case"].write_bytes(whole.as_json(samples.CASE, samples.ALERTS, (act,), Verified(lines, "", (), 0), samples.AT))
    return out


def exported(path: Path | None, name: str, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    assert run(["export", *([str(path)] if path else []), "-f", name]) == 0
    told = capsys.readouterr()
    return told.out.splitlines() if name not in ("cef", "leef") else told.out.split("\n")[:-1], told.err


@pytest.mark.parametrize(("name", "classes"), [("scan", {2007}), ("lines", {2007}), ("onboard", {2007}), ("attack", {2007}), ("case", {2004, 2005, 2006, 3003, 7001})])  # fmt: skip
def test_every_document_is_valid_ocsf(name: str, classes: set[int], written: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    events = [json.loads(one) for one in exported(written[name], "ocsf", capsys)[0]]
    assert [error for one in events for error in errors(one)] == []
    assert {one["class_uid"] for one in events} == classes
    assert len({one["metadata"]["uid"] for one in events}) == len(events)


@pytest.mark.parametrize("name", TEXTS)
def test_every_document_in_every_format(name: str, written: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    formats: Any = beside("test_formats")
    for document, path in written.items():
        rows, _ = exported(path, name, capsys)
        assert rows and all(formats.is_one_line(name, row.encode()) for row in rows), document
        for row in rows:
            if name == "ecs":
                assert formats.ecs_errors(json.loads(row)) == []
            elif name == "stix":
                assert formats.stix_errors(row.encode()) == []
            elif name == "cef":
                assert formats.cef_parsed(row)
            elif name == "leef":
                assert formats.leef_parsed(row)["id"]
            elif name == "otlp":
                assert formats.Parse(row, formats.ExportLogsServiceRequest()).resource_logs
            elif name == "cim":
                assert {"signature", "severity", "type"} <= json.loads(row).keys()


def test_findings_say_what_they_are(written: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(one) for one in exported(written["scan"], "ocsf", capsys)[0]]
    by_state = {(one["finding_info"]["types"][0], one["status_id"]) for one in rows}
    assert {("model-output-to-eval", 1), ("model-output-to-eval", 3)} <= by_state, "what a person set aside is suppressed"  # fmt: skip
    assert all(abs(one["time"] / 1000 - written["scan"].stat().st_mtime) < 1 for one in rows)
    assert {one["application"]["name"] for one in rows} == {"app"}
    (row, *_) = [json.loads(one) for one in exported(written["attack"], "ocsf", capsys)[0]]
    assert row["time"] == 1_800_000_000_000 and row["application"]["name"] == "desk" and row["unmapped"]["afterguard"]["attributes"]  # fmt: skip
    again = [json.loads(one)["finding_info"]["uid"] for one in exported(written["onboard"], "ocsf", capsys)[0]]
    assert set(again) == {one["finding_info"]["uid"] for one in rows}, "a finding is one, whichever command wrote it"


def test_a_document_is_read_packed_from_standard_input_and_beside_lines(written: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    whole_rows, _ = exported(written["case"], "cim", capsys)
    packed = tmp_path / "case.json.gz"
    packed.write_bytes(gzip.compress(written["case"].read_bytes()))
    assert exported(packed, "cim", capsys)[0] == whole_rows
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(written["case"].read_bytes())))
    assert exported(None, "cim", capsys)[0] == whole_rows
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_bytes(b"{broken\n" + json.dumps(json.loads(written["scan"].read_bytes())).encode() + b'\n\n{"a": 1}\nnull\n[7]\n')  # fmt: skip
    rows, said = exported(mixed, "cim", capsys)
    assert len(rows) == len(exported(written["scan"], "cim", capsys)[0]) and "4 other lines left out" in said


def test_rows_that_are_not_whole_are_counted_and_the_rest_is_told(written: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    held = json.loads(written["case"].read_bytes())
    held["alerts"][0]["severity"] = "terrible"
    held["deeds"].append(7)
    held["case"] = []
    (tmp_path / "bent.json").write_text(json.dumps(held, indent=1))
    rows, said = exported(tmp_path / "bent.json", "ocsf", capsys)
    assert len(rows) == len(samples.ALERTS) - 1 + 3 and "3 other lines left out" in said


def test_what_is_no_weakness_is_no_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "assets.json").write_text('{"format": "afterguard.discover/1", "app": "a", "assets": [{"kind": "model"}]}')  # fmt: skip
    assert run(["export", str(tmp_path / "assets.json"), "-f", "ocsf"]) == 3
    assert "no alert, case, finding" in capsys.readouterr().err


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["findings", "suppressed", "apps", "scan", "case", "alerts", "cases", "deeds", "type", "app", "ended", "created_at", "id", "rule"]), inner, max_size=5),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(documents.READERS)), json_values)
def test_no_document_makes_it_stumble(name: str, held: Any) -> None:
    made = {**(held if isinstance(held, dict) else {"findings": held}), "format": name}
    assert is_document(made) and not is_document(held if not isinstance(held, dict) or "format" not in held else None)
    try:
        for one in things(made, 0.0):
            assert isinstance(one, Alert | Case | Deed | Found)
    except Unread as error:
        assert error.count > 0
