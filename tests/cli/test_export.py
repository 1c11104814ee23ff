"""`afterguard export` and `afterguard rules sigma` as a person runs them."""

from __future__ import annotations

import gzip
import json
import sys
from importlib import util
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afterguard.cli.run import run as main
from afterguard.export.formats import TEXTS

if "export_samples" not in sys.modules:
    _spec = util.spec_from_file_location("export_samples", Path(__file__).parent.parent / "export" / "samples.py")
    assert _spec and _spec.loader
    sys.modules["export_samples"] = util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["export_samples"])
samples: Any = sys.modules["export_samples"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["export", *words]) if words[0] != "rules" else main(list(words))
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture
def log(tmp_path: Path) -> Path:
    things = [*samples.ALERTS, *samples.CASES, *samples.LINES]
    path = tmp_path / "log.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join([*map(msgspec.json.encode, things), b"", b"not json", b'{"other": 1}'])))
    return path


@pytest.mark.parametrize("name", TEXTS)
def test_every_format_from_a_file(name: str, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, str(log), "--format", name)
    # The one call that a person approved is two events: the call, and who allowed it.
    assert code == 0 and len(out.split("\n")) == len(samples.ALERTS) + len(samples.CASES) + len(samples.LINES) + 2
    assert "12 events, 0 cut" in err and "2 other lines left out" in err


def test_output_and_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    big = msgspec.structs.replace(samples.ALERT, excerpt="x" * 90_000)
    (tmp_path / "a.jsonl").write_bytes(msgspec.json.encode(big))
    code, _, err = run(
        capsys, str(tmp_path / "a.jsonl"), "-f", "ecs", "--destination", "wazuh", "-o", str(tmp_path / "out")
    )
    assert code == 0 and "1 cut to the limit of wazuh" in err
    assert len((tmp_path / "out").read_bytes()) <= 64_001


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["no-such-file"], 2, "cannot read"),
        (["--format", "oscf"], 2, "ocsf"),
        (["{empty}"], 3, "no alert, case, finding, act or decision"),
        (["{packed}"], 2, "cannot read"),
    ],
)
def test_what_goes_wrong_says_what_to_do(
    words: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").write_text("{}\n")
    (tmp_path / "packed.gz").write_bytes(b"\x1f\x8b\x08nothing")
    names = {"empty": str(tmp_path / "empty"), "packed": str(tmp_path / "packed.gz")}
    got, _, err = run(capsys, *(one.format(**names) for one in words))
    assert got == code and says in err and "Traceback" not in err


def test_sigma_rules_are_printed_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "rules", "sigma")
    assert code == 0 and out.count("\nlogsource:") == 16 and out.count("\ncorrelation:") == 5 and "samples:" not in out
    code, out, err = run(capsys, "rules", "sigma", str(tmp_path / "soc"))
    assert code == 0 and not out and "21 Sigma rules" in err
    assert f"{tmp_path}/soc/pipelines/splunk.yml {tmp_path}/soc/rules/" in err
    assert (
        len(list((tmp_path / "soc" / "rules").iterdir())) == 21
        and len(list((tmp_path / "soc" / "pipelines").iterdir())) == 3
    )
    lines = (tmp_path / "soc" / "samples" / "campaign.hits.jsonl").read_text().splitlines()
    assert len(lines) == 5 and json.loads(lines[0])["class_uid"] == 6003
