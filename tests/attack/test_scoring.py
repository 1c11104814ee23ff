"""An assessment of predictive models over HTTP: every planted weakness of the weak fraud model is found, nothing is claimed of the mended one, and none of those that are there to fool whoever measures does."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from afterguard.attack.scoring.techniques import BY_ID, TECHNIQUES
from afterguard.errors import UsageError
from afterguard.jobs import authorisation, scoring
from afterguard.jobs.attack import Head, Journal
from afterguard.jobs.authorisation import Leave
from afterguard.targets.document import Limits
from afterguard.targets.load import load

_spec = importlib.util.spec_from_file_location("attack_scored_models", Path(__file__).with_name("scored_models.py"))
assert _spec and _spec.loader
models: Any = importlib.util.module_from_spec(_spec)
sys.modules["attack_scored_models"] = models
_spec.loader.exec_module(models)

TARGET = """\
format: afterguard.target/1
name: card-fraud
url: http://127.0.0.1:{port}/score
kind: scoring
scoring:
  rows: sample.jsonl
  features:
    amount: {{kind: number, low: 0, high: 5000}}
    hour: {{kind: number, low: 0, high: 23}}
    country_risk: {{kind: number, low: 0, high: 1}}
    merchant_risk: {{kind: number, low: 0, high: 1}}
    days_since_last: {{kind: number, low: 0, high: 365}}
    device_age_days: {{kind: number, low: 0, high: 3650}}
  changes:
    hour: {{}}
    device_age_days: {{up: 800, cost: 3}}
  wanted: approve
  money: {{column: amount}}
limits: {{requests: 600, per_second: 1000}}
"""
PLANTED = {"score-digits", "no-value", "out-of-range", "odd-shape", "score-evasion", "boundary-evasion", "model-copy", "label-harvest"}  # fmt: skip


def written(folder: Path, text: str, port: int) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "sample.jsonl").write_text("".join(json.dumps(row) + "\n" for row in models.rows(300, 5)))
    (folder / "fraud.yaml").write_text(text.format(port=port))
    return folder / "fraud.yaml"


def assessed(server: Any, folder: Path, requests: int = 600, techniques: str = "", text: str = TARGET, seed: str = "1") -> scoring.Scored:  # fmt: skip
    path = written(folder, text, server.server_port)
    target, data = scoring.opened(load(path.read_text(), str(path), {}), path)
    chosen = [BY_ID[one] for one in techniques.split(",")] if techniques else list(TECHNIQUES)
    limits = Limits(requests=requests, per_second=1e9, minutes=60, dollars=0)
    leave = Leave(target.name, target.host, "Ann", "Bo", "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z", limits)
    journal = Journal(folder / "run.jsonl", Head(target.name, target.host, seed, "r", tuple(one.id for one in chosen)))
    clock = itertools.count()
    try:
        return scoring.ScoringRun(target, chosen, leave, journal, data=data, wall=lambda: 1.8e9, clock=lambda: next(clock) * 1e-6, sleep=lambda _: None).whole()  # fmt: skip
    finally:
        journal.close()


def by_id(found: scoring.Scored) -> dict[str, Any]:
    return {family.technique: family for family in found.families}


def figure(found: scoring.Scored, technique: str, name: str) -> Any:
    return next(one for each in found.measured if each.technique == technique for one in each.figures if one.name == name)  # fmt: skip


def test_every_planted_weakness_is_found_with_its_money(tmp_path: Path) -> None:
    with models.standing("weak") as server:
        found = assessed(server, tmp_path)
        assert found.requests == server.requests <= 600
    families = by_id(found)
    assert {one.technique for one in found.hits} == PLANTED and not found.stopped and not found.manner
    assert families["two-answers"].resisted == 4 and families["membership"].skipped == "no-sets"
    assert families["score-evasion"].share.rate > 0.5 and families["boundary-evasion"].share.rate > 0.5
    assert figure(found, "score-evasion", "controls-turned").high < 0.25
    copied = figure(found, "model-copy", "agreement")
    assert copied.low > 0.8 and copied.of == 45 and figure(found, "model-copy", "agreement-of-a-guess").value < copied.low  # fmt: skip
    moved, thousand = figure(found, "score-evasion", "moved"), figure(found, "score-evasion", "moved-per-1000")
    assert moved.value > 0 and 0 < thousand.low < thousand.value < thousand.high
    for hit in found.hits:
        if "evasion" in hit.technique:
            assert "amount" not in hit.evidence and ("hour" in hit.evidence or "device_age_days" in hit.evidence)


def test_nothing_is_claimed_of_the_mended_model(tmp_path: Path) -> None:
    with models.standing("mended") as server:
        found = assessed(server, tmp_path)
    families = by_id(found)
    assert not found.hits and not found.manner
    assert {id for id, one in families.items() if one.resisted} >= {"two-answers", "no-value", "out-of-range", "odd-shape", "boundary-evasion", "label-harvest"}  # fmt: skip
    assert families["score-evasion"].skipped == "no-scores" and families["model-copy"].not_assessed == {"rate-limited": 1}  # fmt: skip
    thousand = figure(found, "boundary-evasion", "moved-per-1000")
    assert thousand.value == thousand.low == 0 < thousand.high, "that nothing turned does not show that nothing can"


@pytest.mark.parametrize(
    ("character", "manner"),
    [("lot", "gives the same row other decisions"), ("constant", "says the same to everything"), ("noise", "changes its answer with changes that mean nothing"), ("error", "does not answer honest rows")],
)  # fmt: skip
def test_what_fools_others_shows_nothing(tmp_path: Path, character: str, manner: str) -> None:
    with models.standing(character) as server:
        found = assessed(server, tmp_path)
    assert found.manner == manner
    assert {hit.technique for hit in found.hits} <= ({"two-answers"} if character == "lot" else set())
    assert all(family.share.of == 0 for family in found.families if family.technique != "two-answers")


def test_scores_that_are_noise_are_left_out_and_decisions_are_not(tmp_path: Path) -> None:
    with models.standing("jitter") as server:
        found = assessed(server, tmp_path, techniques="score-digits,score-evasion,boundary-evasion")
    families = by_id(found)
    assert families["score-evasion"].skipped == families["score-digits"].skipped == "no-scores"
    assert families["boundary-evasion"].succeeded


def test_a_quota_is_a_resistance_for_what_looks_for_one_and_none_for_others(tmp_path: Path) -> None:
    with models.standing("quota") as server:
        found = assessed(server, tmp_path)
    families = by_id(found)
    assert not found.hits and families["label-harvest"].resisted == 1
    assert families["no-value"].share.of == families["boundary-evasion"].share.of == 0
    assert "rate-limited" in families["no-value"].not_assessed


def test_a_run_that_broke_off_comes_to_the_same_result(tmp_path: Path) -> None:
    few = "two-answers,no-value,score-evasion"
    with models.standing("weak") as server:
        once = assessed(server, tmp_path / "whole", techniques=few)
        for requests in (10, 70, 130):
            cut = assessed(server, tmp_path / "broken", requests, few)
            assert cut.requests <= requests
        lines = (tmp_path / "broken" / "run.jsonl").read_bytes()
        (tmp_path / "broken" / "run.jsonl").write_bytes(lines[:-20])
        twice = assessed(server, tmp_path / "broken", techniques=few)
    assert twice.families == once.families and twice.measured == once.measured
    assert sorted(hit.id for hit in twice.hits) == sorted(hit.id for hit in once.hits)


def test_few_requests_end_a_run_by_themselves(tmp_path: Path) -> None:
    with models.standing("weak") as server:
        found = assessed(server, tmp_path, 200)
        assert not found.stopped and found.requests == server.requests <= 200
    assert by_id(found)["no-value"].succeeded


def test_as_a_person_uses_it(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "afterguard", *words], cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=120, check=False)  # fmt: skip

    with models.standing("weak") as server:
        written(tmp_path, TARGET, server.server_port)
        dry = run("attack", "fraud.yaml", "--dry-run")
        assert dry.returncode == 0 and "boundary-evasion" in dry.stdout and "order-in-document" not in dry.stdout
        assert not server.requests, "nothing is sent until the owner has signed"
        key = Ed25519PrivateKey.generate()
        leave = authorisation.Leave("card-fraud", "127.0.0.1", "Ann", "Bo", "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z", Limits(per_second=1e9))  # fmt: skip
        (tmp_path / "leave.json").write_bytes(msgspec.json.encode(authorisation.signed(leave, key)))
        (tmp_path / "owner.pub").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))  # fmt: skip
        leave_of = ("--authorisation", "leave.json", "--trusted", "owner.pub")
        done = run("attack", "fraud.yaml", *leave_of, "--seed", "1", "--techniques", "score-evasion")
        again = run("attack", "verify", "card-fraud.attack.jsonl", "fraud.yaml", "--through", "direct", *leave_of, "-f", "json")  # fmt: skip
    with models.standing("mended") as server:
        written(tmp_path, TARGET, server.server_port)
        gone = run("attack", "verify", "card-fraud.attack.jsonl", "fraud.yaml", "--through", "direct", *leave_of, "--journal", "mended.jsonl", "-f", "json")  # fmt: skip
    assert done.returncode == 0 and "moved for 1,000 refused rows" in done.stdout and "hit score-evasion/" in done.stdout, done.stderr  # fmt: skip
    hits = json.loads(again.stdout)["hits"]
    assert again.returncode == 10 and hits and {one["state"] for one in hits} == {"still succeeds"}, again.stderr
    left = json.loads(gone.stdout)["hits"]
    assert gone.returncode == 3 and len(left) == len(hits) and {(one["state"], one["reason"]) for one in left} == {("not assessed", "no-scores")}, left  # fmt: skip
    shown = run("attack", "replay", "score-evasion/by-feature/0", "--journal", "card-fraud.attack.jsonl")
    assert shown.returncode == 0 and '> [{"amount"' in shown.stdout and "=> succeeded" in shown.stdout


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("hour: {{}}\n    device", "hours: {{}}\n    device", "did you mean hour"), ("rows: sample.jsonl", "rows: nowhere.csv", "there is no"), ("column: amount", "column: amounts", "is called 'amounts'"),
        ("rows: sample.jsonl", "rows: fraud.yaml", "no row"), ("  rows: sample.jsonl", "  rows: sample.jsonl\n  schema: none.yaml", "cannot read the schema"),
    ],
)  # fmt: skip
def test_files_that_are_wrong_are_said(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = written(tmp_path, TARGET.replace(old, new, 1), 1)
    with pytest.raises(UsageError) as told:
        scoring.opened(load(path.read_text(), str(path), {}), path)
    assert says in f"{told.value} {told.value.hint}"


def test_a_schema_of_the_guard_is_taken(tmp_path: Path) -> None:
    path = written(tmp_path, TARGET, 1)
    text = path.read_text()
    head, tail = text.split("  features:\n")[0], text[text.index("  changes:") :]
    (tmp_path / "schema.yaml").write_text("format: afterguard.feature-schema/1\nfeatures:\n" + "".join(f"  {name}: {{kind: number, low: {low}, high: {high}}}\n" for name, (low, high) in models.RANGES.items()))  # fmt: skip
    given = load(head + "  schema: schema.yaml\n" + tail, "T", {})
    plain = load(text, "T", {})
    assert scoring.opened(given, path)[0].scoring.features == scoring.opened(plain, path)[0].scoring.features  # type: ignore[union-attr]
