"""Our rules in the SOC's own tools: pySigma reads them without complaint and makes queries for Splunk, Elasticsearch and Sentinel."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from sigma.backends.elasticsearch import ESQLBackend, LuceneBackend
from sigma.backends.kusto import KustoBackend
from sigma.backends.splunk import SplunkBackend
from sigma.collection import SigmaCollection
from sigma.processing.pipeline import ProcessingPipeline
from sigma.validation import SigmaValidator
from sigma.validators.core import validators

from afterguard.export import cim, row, sigma

if "export_samples" not in sys.modules:
    _spec = util.spec_from_file_location("export_samples", Path(__file__).with_name("samples.py"))
    assert _spec and _spec.loader
    sys.modules["export_samples"] = util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["export_samples"])
samples: Any = sys.modules["export_samples"]
BACKENDS: dict[str, tuple[Any, str]] = {
    "splunk": (SplunkBackend, "splunk"),
    "lucene": (LuceneBackend, "elastic"),
    "esql": (ESQLBackend, "elastic"),
    "kusto": (KustoBackend, "sentinel"),
}
CORRELATES = {
    "splunk": {"event_count", "value_count", "temporal"},
    "esql": {"event_count", "value_count", "temporal"},
}
"""What pySigma's backends can say of correlations; none knows an order, Lucene and KQL none at all."""


@cache
def collection() -> SigmaCollection:
    return SigmaCollection.from_yaml("\n---\n".join(sigma.rules().values()))


def converted(backend: str) -> dict[str, str]:
    """Rule -> query, of all that the backend can say."""
    make, pipeline = BACKENDS[backend]
    out = {}
    for name, text in sigma.rules().items():
        correlation = yaml.safe_load(text).get("correlation")
        if correlation and correlation["type"] not in CORRELATES.get(backend, ()):
            continue
        texts = [sigma.rules()[each] for each in correlation["rules"]] + [text] if correlation else [text]
        made = make(processing_pipeline=ProcessingPipeline.from_yaml(sigma.pipelines()[pipeline]))
        out[name] = str(made.convert(SigmaCollection.from_yaml("\n---\n".join(texts)))[-1])
    return out


def test_pysigma_has_nothing_against_the_rules() -> None:
    rules = collection()
    assert not rules.errors and len(rules.rules) == len(sigma.rules())
    known = {
        name: one for name, one in validators.items() if not name.startswith(("attack", "cve", "car", "stp", "d3"))
    }
    issues = SigmaValidator(known.values()).validate_rules(rules)
    assert [str(one) for one in issues if one.severity.name != "LOW"] == []
    for one in rules.rules:
        assert isinstance(one.id, UUID) and one.level is not None and one.title


@pytest.mark.parametrize("backend", BACKENDS)
def test_rules_become_queries(backend: str) -> None:
    queries = converted(backend)
    plain = [name for name, text in sigma.rules().items() if "\ncorrelation:" not in text]
    assert set(plain) <= queries.keys() and len(queries) - len(plain) == {"splunk": 4, "esql": 4}.get(backend, 0)
    assert all(len(query) > 10 for query in queries.values())


def test_queries_ask_for_the_fields_that_are_written() -> None:
    assert converted("splunk")["injection_followed"].startswith(
        '"unmapped.afterguard.hits{}.kind" IN ("*injection_followed*", "*unexplained'
    )
    assert converted("kusto")["injection_followed"].startswith(
        'Afterguard_CL\n| where (kinds contains "injection_followed" or kinds contains'
    )
    assert (
        "unmapped.afterguard.hits.kind:(*injection_followed* OR *unexplained_tool_call*)"
        in converted("lucene")["injection_followed"]
    )
    for query in converted("kusto").values():
        assert "'" not in query and "unmapped" not in query, "a quoted or nested name would be a text there"


def test_columns_of_the_table_are_those_of_cim() -> None:
    """What a query for Sentinel asks for is what format cim writes."""
    held = ProcessingPipeline.from_yaml(sigma.pipelines()["sentinel"]).items[0].transformation.mapping
    written = set()
    for name in sigma.rules():
        for runs in sigma.samples(name).values():
            written |= {key for run in runs for event in run for key in cim.fields(row.of_line(event))}
    written |= {key for one in samples.ALERTS for key in cim.fields(row.of_alert(one))}
    assert set(held.values()) <= written


def test_samples_are_events_as_they_are_written() -> None:
    from jsonschema import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.8.0"))
    checks: dict[int, Draft202012Validator] = {}
    for name in sigma.rules():
        event = sigma.samples(name)["hits"][0][0]
        kind = event["class_uid"]
        if kind not in checks:
            described = schema.get_class_schema(schema.lookup_class_name_from_uid(kind), event["metadata"]["profiles"])
            checks[kind] = Draft202012Validator(described)
        assert not list(checks[kind].iter_errors(json.loads(json.dumps(event))))
