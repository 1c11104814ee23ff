"""The JSON documents: the promised shapes, deterministic, hostile text survives as data."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from afterguard.report import json as documents
from afterguard.report import jsonl

ASSET = {"kind", "name", "confidence", "evidence", "edges"}
INCIDENT = {"kind", "severity", "first_seen", "last_seen", "exchange_ids", "identifiers", "taxonomies", "excerpt"}
FINDING = {"rule", "severity", "confidence", "path", "line", "taxonomies", "fix"}


def written(result: Any, what: str = "") -> dict[str, Any]:
    out = io.StringIO()
    documents.render(result, out, what=what)
    parsed: dict[str, Any] = json.loads(out.getvalue().encode())
    return parsed


def test_shapes(sample: ModuleType) -> None:
    app = sample.assistant()
    discover = written(app.survey)
    assert discover["format"] == "afterguard.discover/1"
    assert all(set(item) >= ASSET for item in discover["assets"])
    assert all(set(seen) >= {"path", "line", "matched"} for item in discover["assets"] for seen in item["evidence"])
    scan = written(app.survey, "scan")
    assert scan["format"] == "afterguard.scan/1"
    assert all(set(item) >= FINDING for item in scan["findings"])
    assert [item["severity"] for item in scan["findings"]][:3] == ["critical", "critical", "high"]
    lookback = written(app.lookback)
    assert lookback["format"] == "afterguard.lookback/1"
    assert lookback["exchanges"] == 12417
    assert all(set(item) >= INCIDENT for item in lookback["incidents"])
    assert set(lookback["unjudged"]) == {"truncated", "image", "opaque_reasoning", "response_not_logged"}
    onboard = written(sample.result())
    assert onboard["format"] == "afterguard.onboard/1"
    assert [app["app"] for app in onboard["apps"]] == ["support-assistant", "fraud-scoring"]
    assert onboard["apps"][1]["lookback"] is None


def test_format_comes_first(sample: ModuleType) -> None:
    out = io.StringIO()
    documents.render(sample.result(), out)
    assert out.getvalue().startswith('{\n  "format": "afterguard.onboard/1",')


def test_empty_results_keep_their_lists(sample: ModuleType) -> None:
    survey = sample.empty().apps[0].survey
    assert written(survey)["assets"] == written(survey)["coverage"] == written(survey, "scan")["findings"] == []


def test_hostile_text_is_data(sample: ModuleType) -> None:
    onboard = written(sample.hostile())
    name = onboard["apps"][0]["app"]
    assert "<script>" in name and "\\ud800" in name


def test_jsonl_counts_itself(sample: ModuleType) -> None:
    app = sample.assistant()
    for result, what, kind, total in (
        (app.survey, "", "asset", 21),
        (app.survey, "scan", "finding", 10),
        (app.lookback, "", "incident", 4),
    ):
        out = io.StringIO()
        jsonl.render(result, out, what=what)
        rows = [json.loads(line) for line in out.getvalue().splitlines()]
        assert sum(row["type"] == kind for row in rows) == total == rows[-1][f"{kind}s"]
        assert rows[-1]["coverage"] == sum(row["type"] == "coverage" for row in rows)


def test_every_field_is_documented(sample: ModuleType) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
    missing: set[str] = set()

    def visit(value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key not in (
                    "attributes",
                    "checks",
                    "unjudged",
                    "inventory",
                    "models",
                    "protocols",
                    "unchanged",
                    "deltas",
                    "files",
                ):
                    visit(item)
                if f"`{key}`" not in text and not hexlike(key):
                    missing.add(key)
        elif isinstance(value, list):
            for item in value:
                visit(item)

    visit(written(sample.result()))
    assert missing == set()


def hexlike(key: str) -> bool:
    return len(key) == 32 and all(char in "0123456789abcdef" for char in key)
