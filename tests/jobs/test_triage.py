"""What is shown: exceptions end, baselines hide the known, floors hold; nothing set aside is lost."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard.config import Config, ScanConfig, Suppression
from afterguard.errors import UsageError
from afterguard.jobs import triage
from afterguard.model import App, Confidence, Finding, Incident, Lookback, Severity, Survey

TODAY = date(2026, 11, 23)


def finding(rule: str, severity: Severity = Severity.high, path: str = "a/b.py") -> Finding:
    return Finding(rule, severity, Confidence.high, path, 1, ("CWE-94",), "m", "f", fingerprint=f"v1:{rule}")


def exception(expires: date, path: str = "*") -> Suppression:
    return Suppression(rule="one", reason="r", expires=expires, path=path)


def test_an_exception_holds_until_its_day_has_passed() -> None:
    full = Survey(App("x"), findings=(finding("one"), finding("two")))
    shown = triage.survey(full, Config(suppress=[exception(TODAY)]), TODAY)
    assert [one.rule for one in shown.findings] == ["two"]
    assert [one.rule for one in shown.suppressed] == ["one"]
    later = date(2026, 11, 24)
    assert len(triage.survey(full, Config(suppress=[exception(TODAY)]), later).findings) == 2
    assert triage.expired([exception(TODAY)], later) == ["the exception for one on * ended on 2026-11-23: r"]
    assert len(triage.survey(full, Config(suppress=[exception(TODAY, "other/*")]), TODAY).findings) == 2


def test_floors_and_disabled_rules() -> None:
    full = Survey(App("x"), findings=(finding("one"), finding("two", Severity.low)))
    assert len(triage.survey(full, Config(scan=ScanConfig(min_severity=Severity.medium)), TODAY).findings) == 1
    assert len(triage.survey(full, Config(scan=ScanConfig(disable=["one"])), TODAY).findings) == 1


def test_a_baseline_hides_what_it_told(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    part = {
        "findings": [{"fingerprint": "v1:one"}],
        "incidents": [{"id": "i"}],
        "assets": [{"kind": "model", "name": "m"}],
    }
    for document in (
        {"format": "afterguard.scan/1", **part},
        {"format": "afterguard.onboard/1", "apps": [{"scan": part, "lookback": part}]},
    ):
        path.write_text(json.dumps(document))
        baseline = triage.read_baseline(path)
        assert baseline.fingerprints == {"v1:one"}
        assert baseline.incidents == {"i"}
    shown = triage.survey(Survey(App("x"), findings=(finding("one"), finding("two"))), Config(), TODAY, baseline)
    assert [one.rule for one in shown.findings] == ["two"]
    incident = Incident("i", "jailbreak", "t", Severity.low, Confidence.low, None, None, (), 0, (), "")
    assert triage.lookback(Lookback(1, (incident,), {}), Config(), baseline).incidents == ()


@given(
    st.binary(max_size=200)
    | st.sampled_from([b"[]", b"{}", b"null", b'{"format": "afterguard.scan/1", "findings": 5}', b"[" * 5000])
)
def test_any_baseline_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("b") / "b.json"
    path.write_bytes(data)
    try:
        triage.read_baseline(path)
    except UsageError:
        pass
