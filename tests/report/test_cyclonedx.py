"""The AI-BOM: valid against the official schemas, deterministic, complete only as far as known."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource

from afterguard.model import App, Asset, AssetKind, Certainty, Edge, Evidence, Survey
from afterguard.report import cyclonedx

SCHEMAS = Path(__file__).parents[1] / "schemas"


def checker(spec: str) -> Any:
    registry: Any = Registry()
    for name in ("spdx", "jsf-0.82", "cryptography-defs"):
        resource = Resource.from_contents(json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))
        for uri in (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", f"{name}.SNAPSHOT.schema.json"):
            registry = registry.with_resource(uri, resource)
    schema = json.loads((SCHEMAS / f"bom-{spec}.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(schema, registry=registry, format_checker=jsonschema.FormatChecker())


@pytest.fixture(scope="module")
def validators() -> dict[str, Any]:
    return {spec: checker(spec) for spec in cyclonedx.VERSIONS}


def written(survey: Survey, **more: Any) -> dict[str, Any]:
    out = io.StringIO()
    cyclonedx.render(survey, out, **more)
    document: dict[str, Any] = json.loads(out.getvalue().encode())
    return document


@pytest.mark.parametrize("spec", cyclonedx.VERSIONS)
def test_valid_for_every_sample(sample: ModuleType, validators: dict[str, Any], spec: str) -> None:
    for result in (sample.result(), sample.empty(), sample.hostile()):
        for app in result.apps:
            document = written(app.survey, created_at=sample.NOW, spec=spec)
            assert [
                f"{error.json_path} {error.message[:200]}" for error in validators[spec].iter_errors(document)
            ] == []


def test_the_schema_check_can_fail(sample: ModuleType, validators: dict[str, Any]) -> None:
    document = written(sample.assistant().survey)
    document["components"][0]["type"] = "brain"
    assert list(validators["1.6"].iter_errors(document))


def test_kinds_land_where_readers_look(sample: ModuleType) -> None:
    bom = written(sample.assistant().survey)
    types = {part["name"]: part["type"] for part in bom["components"]}
    assert types["gpt-4o-mini"] == "machine-learning-model" and types["langchain"] == "library"
    assert types["customers"] == "data" and types["OPENAI_API_KEY"] == "cryptographic-asset"
    assert {"openai", "handbook", "reranker", "POST /api/chat"} <= {service["name"] for service in bom["services"]}
    purls = {part["name"]: part["purl"] for part in bom["components"] if "purl" in part}
    assert purls == {
        "langchain": "pkg:pypi/langchain@0.2.11",
        "@modelcontextprotocol/sdk": "pkg:npm/%40modelcontextprotocol/sdk@1.4.0",
    }


def test_only_known_fields_are_written(sample: ModuleType) -> None:
    bom = written(sample.assistant().survey)
    assert not any("modelCard" in part for part in bom["components"])
    authenticated = {service["name"]: service.get("authenticated") for service in bom["services"]}
    assert authenticated["handbook"] is False and authenticated["openai"] is None
    facts = {row["name"]: row["value"] for row in bom["metadata"]["properties"]}
    assert facts["afterguard:unknown:model.version"] == "2 of 2"
    assert facts["afterguard:count:tool"] == "3" and facts["afterguard:count:agent"] == "1"
    assert facts["afterguard:not-read:encrypted"] == "1"
    assert {row["aggregate"] for row in bom["compositions"]} == {"incomplete", "unknown"}


def test_a_model_card_where_something_is_known() -> None:
    data = Asset(AssetKind.dataset, "claims", Certainty.declared, ())
    edges = (Edge("trained_on", AssetKind.dataset, "claims"), Edge("trained_on", AssetKind.dataset, "gone"))
    model = Asset(AssetKind.model, "m", Certainty.declared, (), edges, attributes={"task": "classification"})
    bom = written(Survey(App("a"), (data, model)))
    card = next(part for part in bom["components"] if part["name"] == "m")["modelCard"]
    assert card == {"modelParameters": {"task": "classification", "datasets": [{"ref": "dataset:claims"}]}}


def test_evidence_and_dependencies(sample: ModuleType) -> None:
    bom = written(sample.assistant().survey)
    agent = next(part for part in bom["components"] if part["name"] == "support-agent")
    assert agent["evidence"]["occurrences"][0] == {
        "location": "app/agent.py",
        "line": 44,
        "additionalContext": "code: support-agent = …",
    }
    edges = {row["ref"]: row["dependsOn"] for row in bom["dependencies"]}
    assert "tool:issue_refund" in edges["agent:support-agent"]
    refs = {bom["metadata"]["component"]["bom-ref"], *(x["bom-ref"] for x in bom["components"] + bom["services"])}
    assert all(ref in refs and set(below) <= refs for ref, below in edges.items())


def test_same_content_same_serial_whatever_the_time_and_order(sample: ModuleType) -> None:
    survey = sample.assistant().survey
    turned = msgspec.structs.replace(survey, assets=tuple(reversed(survey.assets)))
    first, second = written(survey, created_at=1.0), written(turned, created_at=2e9)
    assert first["serialNumber"] == second["serialNumber"]
    changed = msgspec.structs.replace(survey, assets=survey.assets[1:])
    assert written(changed)["serialNumber"] != first["serialNumber"]


@given(
    st.lists(
        st.tuples(st.sampled_from(list(AssetKind)), st.text(max_size=12), st.text(max_size=12)),
        max_size=6,
        unique_by=lambda row: row[:2],
    )
)
def test_any_names_give_a_bom(rows: list[tuple[AssetKind, str, str]]) -> None:
    assets = tuple(
        Asset(kind, name, Certainty.inferred, (Evidence(more, 0, more),), attributes={"host": more, "version": more})
        for kind, name, more in rows
    )
    bom = written(Survey(App("x"), assets))
    refs = [part["bom-ref"] for part in bom["components"] + bom["services"]]
    assert len(refs) == len(set(refs)) == len(rows)


def test_package_urls_say_only_what_is_known() -> None:
    def made(kind: AssetKind, name: str, path: str = "x.py", **facts: str) -> str:
        return cyclonedx.purl(Asset(kind, name, Certainty.declared, (Evidence(path, 1, name),), attributes=facts))

    assert made(AssetKind.framework, "Lang_Chain", "requirements/base.txt", version=">=0.2") == "pkg:pypi/lang-chain"
    assert made(AssetKind.framework, "github.com/a/b", "go.mod", version="v1.2.0") == "pkg:golang/github.com/a/b@v1.2.0"
    assert made(AssetKind.framework, "dev.langchain4j:core", "pom.xml") == "pkg:maven/dev.langchain4j/core"
    assert made(AssetKind.mcp_server, "crm", package="@x/crm-mcp", ecosystem="npm") == "pkg:npm/%40x/crm-mcp"
    assert made(AssetKind.mcp_server, "crm", "package.json") == made(AssetKind.framework, "langchain") == ""
