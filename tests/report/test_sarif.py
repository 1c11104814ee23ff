"""SARIF: valid against the published schema, stable fingerprints, relative encoded paths, coverage told."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import msgspec
import pytest

from afterguard.model import Survey
from afterguard.report import sarif

SCHEMAS = Path(__file__).parents[1] / "schemas"


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft4Validator(schema)


def written(survey: Survey, **more: Any) -> dict[str, Any]:
    out = io.StringIO()
    sarif.render(survey, out, **more)
    document: dict[str, Any] = json.loads(out.getvalue())
    return document


def test_valid_for_every_sample(sample: ModuleType, validator: Any) -> None:
    for result in (sample.result(), sample.empty(), sample.hostile()):
        for app in result.apps:
            document = written(app.survey, created_at=sample.NOW, suppressed={f"{1:032x}": "rotated"})
            assert [error.message for error in validator.iter_errors(document)] == []


def test_results_point_at_rules_places_and_taxa(sample: ModuleType) -> None:
    run = written(sample.assistant().survey)["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["partialFingerprints"]["afterguard/v1"]
        for taxon in result["taxa"]:
            component = run["taxonomies"][taxon["toolComponent"]["index"]]
            assert component["taxa"][taxon["index"]]["id"] == taxon["id"]
            assert component["name"] == taxon["toolComponent"]["name"]
    assert all(float(rule["properties"]["security-severity"]) >= 0 for rule in rules)
    first = run["results"][0]["locations"][0]["physicalLocation"]
    assert first["artifactLocation"] == {"uri": ".env.production", "uriBaseId": "SRCROOT"}
    assert first["region"]["startLine"] == 3


def test_what_was_not_read_is_a_notification(sample: ModuleType) -> None:
    notices = written(sample.assistant().survey)["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert sum(notice["descriptor"]["id"] == "not-read" for notice in notices) == 4
    assert {"Check notebook-open: error.", "Check public-bucket: not available."} <= {
        n["message"]["text"] for n in notices
    }


def test_suppressed_findings_carry_the_reason(sample: ModuleType) -> None:
    results = written(sample.assistant().survey, suppressed={f"{1:032x}": "rotated on Monday"})["runs"][0]["results"]
    told = [result["suppressions"][0]["justification"] for result in results if "suppressions" in result]
    assert told == ["rotated on Monday"]


def test_paths_are_relative_and_encoded() -> None:
    assert sarif.uri("/a b/ü#?%.py") == "a%20b/%C3%BC%23%3F%25.py"
    assert sarif.uri("a.zip!/x:y.py") == "a.zip!/x%3Ay.py"
    assert sarif.uri("./a//b") == "a/b"


def test_a_finding_without_a_file_points_at_its_asset(sample: ModuleType) -> None:
    survey = sample.assistant().survey
    lost = msgspec.structs.replace(survey.findings[0], path="", line=0, asset="tool:run_sql")
    results = written(msgspec.structs.replace(survey, findings=(lost,)))["runs"][0]["results"]
    assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "app/tools/database.py"


def test_what_was_set_aside_in_the_source_is_still_there(sample: ModuleType) -> None:
    survey = sample.assistant().survey
    moved = msgspec.structs.replace(survey, findings=survey.findings[1:], suppressed=survey.findings[:1])
    results = written(moved)["runs"][0]["results"]
    assert len(results) == len(survey.findings)
    assert [row["ruleId"] for row in results if row.get("suppressions")] == [survey.findings[0].rule]
