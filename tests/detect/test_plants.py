"""Trouble planted into real transcripts is found, in both formats, whatever the wording; the rest is left alone."""

from __future__ import annotations

import hashlib
import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest

from afterguard.jobs.lookback import lookback

SHARED = Path(__file__).parents[3] / "shared"
PLANT = SHARED / "bench" / "plant.py"
TRACES = SHARED / "data" / "agent_traces" / "airline_dev.jsonl.gz"
PHRASES = json.loads((Path(__file__).parent / "phrases.json").read_text(encoding="utf-8"))
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not PLANT.exists(), reason="the evaluation folder is not beside the checkout"),
]


def plant(folder: Path, seed: int, rate: float, form: str, phrases: dict[str, list[str]] | None, repeat: int) -> None:
    """Run the planting script in this process."""
    arguments = [str(PLANT), str(TRACES), str(folder), "--seed", str(seed), "--rate", str(rate), "--format", form]
    arguments += ["--repeat", str(repeat)]
    if phrases:
        path = folder.parent / f"phrases-{seed}.json"
        path.write_text(json.dumps(phrases), encoding="utf-8")
        arguments += ["--phrases", str(path)]
    before = sys.argv
    sys.argv = arguments
    try:
        runpy.run_path(str(PLANT), run_name="__main__")
    finally:
        sys.argv = before


def pseudonym(value: str) -> str:
    return hashlib.blake2b(value.encode("utf-8", "replace"), digest_size=8).hexdigest()


def is_in_log(kind: str, line: str) -> bool:
    """The request/response format ends with the last reply; what was planted into a later user text is not in the log."""
    if kind == "invisible_text":
        return "\U000e0041" in line
    return kind not in ("jailbreak", "injection_ignored", "injection_followed")


def measure(folder: Path, only_present: bool) -> tuple[Counter[str], Counter[str], int, int]:
    """(planted by kind, found by kind, untouched conversations, untouched ones in an incident)."""
    result = lookback([folder / "log.jsonl"], app="t", pseudonym=pseudonym)
    got: dict[str, set[str]] = {}
    for incident in result.incidents:
        for exchange in incident.exchange_ids:
            got.setdefault(exchange, set()).add(incident.kind)
    labels = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    touched = {row["exchange_id"] for row in labels}
    if only_present:
        lines = {json.loads(line)["id"]: line for line in (folder / "log.jsonl").read_text().splitlines()}
        labels = [row for row in labels if is_in_log(row["kind"], lines[row["exchange_id"]])]
    planted = Counter(row["kind"] for row in labels)
    found = Counter(row["kind"] for row in labels if row["kind"] in got.get(row["exchange_id"], ()))
    return planted, found, result.exchanges - len(touched), len(set(got) - touched)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_own_wording_of_the_script(tmp_path: Path, seed: int) -> None:
    plant(tmp_path / "out", seed, 0.5, "messages", None, 1)
    planted, found, _, false = measure(tmp_path / "out", False)
    assert false <= 1
    assert {kind: found[kind] / planted[kind] >= 0.95 for kind in planted} == dict.fromkeys(planted, True)


@pytest.mark.parametrize("half", ["dev", "test"])
def test_other_wordings(tmp_path: Path, half: str) -> None:
    """Four passes over the transcripts; the test half was only ever counted."""
    plant(tmp_path / "out", 21, 0.9, "messages", PHRASES[half], 4)
    planted, found, _, false = measure(tmp_path / "out", False)
    assert false <= 1
    for kind in planted:
        assert found[kind] / planted[kind] >= (0.9 if kind == "jailbreak" else 0.95), kind


def test_request_and_response_format(tmp_path: Path) -> None:
    plant(tmp_path / "out", 4, 0.9, "openai", None, 2)
    planted, found, _, false = measure(tmp_path / "out", True)
    assert false <= 1
    assert all(found[kind] / planted[kind] >= 0.95 for kind in planted)


def test_untouched_transcripts_raise_nothing(tmp_path: Path) -> None:
    plant(tmp_path / "out", 1, 0.0, "messages", None, 1)
    _, _, untouched, false = measure(tmp_path / "out", False)
    assert untouched == 80
    assert false <= 1
