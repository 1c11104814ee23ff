"""Each format is read back by somebody else's reader: ECS's field list, OASIS's STIX validator, a CEF parser, OTLP's own messages."""

from __future__ import annotations

import csv
import json
import re
import sys
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

import msgspec
import pycef
import pytest
import stix2
from google.protobuf.json_format import Parse
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from stix2validator import ValidationOptions, validate_instance

from afterguard.errors import UsageError
from afterguard.export import cef, leef, row
from afterguard.export.formats import FORMATS, TEXTS, named, read
from afterguard.model import Alert

if "export_samples" not in sys.modules:
    _spec = util.spec_from_file_location("export_samples", Path(__file__).with_name("samples.py"))
    assert _spec and _spec.loader
    sys.modules["export_samples"] = util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["export_samples"])
samples: Any = sys.modules["export_samples"]
FIELDS = Path(__file__).parent.parent / "schemas" / "ecs-9.4.0-fields.csv"


def every(name: str) -> list[bytes]:
    """Every sample in a format."""
    one = FORMATS[name]
    return [
        *map(one.alert, samples.ALERTS),
        *map(one.decision, samples.LINES),
        *map(one.case, samples.CASES),
        *map(one.deed, samples.DEEDS),
        *map(one.finding, samples.FOUNDS),
    ]


def is_one_line(name: str, event: bytes) -> bool:
    """JSON lines end at a line feed only; whoever reads syslog may end one at more."""
    return len(event.decode().splitlines()) == 1 if name in ("cef", "leef") else not {10, 13} & set(event)


@pytest.mark.parametrize("name", TEXTS)
def test_text_formats_are_one_line_each(name: str) -> None:
    for event in every(name):
        assert event.strip() == event and is_one_line(name, event)


@settings(max_examples=30, deadline=None)
@given(samples.alerts(), st.sampled_from(TEXTS))
def test_any_alert_is_one_line(one: Alert, name: str) -> None:
    assert is_one_line(name, FORMATS[name].alert(one))


def test_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UsageError) as error:
        named("oscf")
    assert "ocsf" in error.value.hint


# ECS


@cache
def ecs_fields() -> dict[str, dict[str, str]]:
    with FIELDS.open(encoding="utf-8") as lines:
        return {one["field"]: one for one in csv.DictReader(lines)}


TYPES: dict[str, Any] = {
    "keyword": str, "constant_keyword": str, "match_only_text": str, "wildcard": str, "date": str, "ip": str, "long": int, "integer": int,
    "float": (int, float), "double": (int, float), "boolean": bool, "object": dict,
}  # fmt: skip
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def ecs_errors(document: dict[str, Any], path: str = "") -> list[str]:
    """What the official field list has against a document; `afterguard.*` is ours."""
    out: list[str] = []
    for name, held in document.items():
        whole = f"{path}.{name}" if path else name
        about = ecs_fields().get(whole)
        if whole == "afterguard":
            continue
        if about is None:
            out += ecs_errors(held, whole) if isinstance(held, dict) else [f"{whole}: no such field"]
            continue
        is_list = isinstance(held, list)
        if is_list != (about["normalize"] == "array"):
            out.append(f"{whole}: a list or not")
        for one in held if is_list else [held]:
            if not isinstance(one, TYPES[about["type"]]) or (about["type"] == "date" and not DATE.fullmatch(one)):
                out.append(f"{whole}: {one!r} is no {about['type']}")
            if about["allowed"] and one not in about["allowed"].split("|"):
                out.append(f"{whole}: {one!r} is not allowed")
    return out


def test_ecs_documents_hold_official_fields() -> None:
    for event in every("ecs"):
        document = json.loads(event)
        assert ecs_errors(document) == []
        assert {"@timestamp", "ecs", "event", "message", "observer"} <= document.keys()


def test_ecs_of_an_alert() -> None:
    document = json.loads(FORMATS["ecs"].alert(samples.ALERT))
    assert document["event"] | {"created": ""} == {
        "kind": "alert", "category": ["intrusion_detection"], "type": ["allowed"], "action": "alert-modified", "outcome": "success",
        "id": samples.ALERT.id + ".3", "code": "injection_followed", "module": "afterguard", "dataset": "afterguard.alert",
        "provider": "afterguard", "severity": 80, "risk_score": 71.0, "start": "2026-11-16T03:23:20.250Z", "end": "2026-11-16T03:33:20.250Z",
        "created": "", "reason": samples.ALERT.title,
    }  # fmt: skip
    assert document["threat"]["technique"] == {
        "id": ["AML.T0051", "AML.T0086"],
        "subtechnique": {"id": ["AML.T0051.001"]},
    }
    assert document["gen_ai"]["request"]["model"] == "gpt-5.2" and document["source"]["ip"] == "203.0.113.9"


@settings(max_examples=30, deadline=None)
@given(samples.alerts())
def test_any_alert_is_ecs(one: Alert) -> None:
    assert ecs_errors(json.loads(FORMATS["ecs"].alert(one))) == []


# CIM


def test_cim_has_the_alert_models_fields() -> None:
    held = json.loads(FORMATS["cim"].alert(samples.ALERT))
    wanted = {
        "app",
        "description",
        "id",
        "mitre_technique_id",
        "severity",
        "severity_id",
        "signature",
        "signature_id",
        "src",
        "subject",
        "type",
        "user",
    }
    assert wanted <= held.keys() and held["tag"] == ["alert"] and held["severity"] == "high"
    assert held["type"] in {"alarm", "alert", "event", "task", "warning", "unknown"}
    assert "tag" not in json.loads(FORMATS["cim"].decision(samples.LINES[2]))
    for event in every("cim"):
        flat = json.loads(event)
        assert all(
            not isinstance(one, dict) for held in flat.values() for one in (held if isinstance(held, list) else [held])
        )
        assert flat["severity"] in {"critical", "high", "medium", "low", "informational", "unknown"}


# CEF and LEEF


def cef_parsed(line: str) -> dict[str, str]:
    held: dict[str, str] | None = pycef.parse(line)
    assert held is not None
    return held


def test_cef_is_read_by_another_parser() -> None:
    for event in every("cef"):
        held = cef_parsed(event.decode())
        assert held["DeviceVendor"] == "Afterguard" and held["DeviceSeverity"].isdigit() and held["DeviceEventClassID"]
    held = cef_parsed(FORMATS["cef"].alert(samples.ALERT).decode())
    assert held["externalId"] == samples.ALERT.id and held["act"] == "modified" and held["model"] == "gpt-5.2"
    assert held["src"] == "203.0.113.9" and held["suid"] == samples.WHO and held["rule"] == "injection_followed"


def by_the_letter(line: str) -> dict[str, str]:
    """CEF as its guide says: what pycef does not read, marks in a header and before line breaks."""
    parts = split_header(line)
    assert len(parts) == 8 and parts[0] == "CEF:0"
    found = re.findall(r"(\w+)=((?:\\.|[^=\\])*?)(?= \w+=|$)", parts[7])
    assert " ".join(f"{key}={value}" for key, value in found) == parts[7]
    return {"Name": unmarked(parts[5]), **{key: unmarked(value) for key, value in found}}


def split_header(line: str) -> list[str]:
    parts, at = [""], 0
    while at < len(line):
        if len(parts) == 8:
            parts[-1] += line[at:]
            break
        if line[at] == "\\":
            parts[-1] += line[at : at + 2]
            at += 2
        elif line[at] == "|":
            parts.append("")
            at += 1
        else:
            parts[-1] += line[at]
            at += 1
    return parts


def unmarked(text: str) -> str:
    marks = {"\\\\": "\\", "\\=": "=", "\\n": "\n", "\\|": "|"}
    return re.sub(r"\\[\\=n|]", lambda found: marks[found[0]], text)


@pytest.mark.parametrize(
    "nasty", ["a|b", "a\\|b", "x=1 src=10.0.0.1", "l1\nCEF:0|evil|evil|1|1|1|10|", "back\\slash\\", "tab\there"]
)
def test_cef_cannot_be_led_astray(nasty: str) -> None:
    one = row.Row(
        "alert", "id-1", "id-1.1", samples.AT, nasty, "high", message=nasty, kind="k|k", actor=nasty, excerpt=nasty
    )
    line = cef.line(one)
    held = by_the_letter(line)
    want = nasty.replace("\t", " ")
    assert len(line.splitlines()) == 1 and "src" not in held
    assert held["Name"] == want.replace("\n", " ") and held["suid"] == held["msg"] == want


def leef_parsed(line: str) -> dict[str, str]:
    """By the letter of LEEF 2.0: six parts of a header, then fields parted by the delimiter that the header names."""
    version, vendor, product, release, event, delimiter, rest = line.split("|", 6)
    assert (version, vendor, product) == ("LEEF:2.0", "Afterguard", "Afterguard") and release and event
    mark = chr(int(delimiter.removeprefix("x"), 16))
    pairs = [one.partition("=") for one in rest.split(mark)]
    assert len({key for key, _, _ in pairs}) == len(pairs)
    return {key: value for key, _, value in pairs}


@settings(max_examples=30, deadline=None)
@given(samples.alerts())
def test_any_alert_is_leef_and_cef(one: Alert) -> None:
    made = row.of_alert(one)
    held = leef_parsed(leef.line(made))
    assert held["id"] == one.id and held["devTime"].isdigit() and 1 <= int(held["sev"]) <= 10
    assert set(held) <= set(leef_parsed(leef.line(row.of_alert(samples.ALERT)))) | {
        "where",
        "provider",
        "operation",
        "title",
        "domain",
        "state",
        "excerpt",
        "detector",
        "policy",
    }
    assert by_the_letter(cef.line(made))["externalId"] == one.id


# OTLP


def test_otlp_json_and_protobuf_are_the_same_request() -> None:
    for text, binary in zip(every("otlp"), every("otlp-protobuf"), strict=True):
        held = ExportLogsServiceRequest.FromString(binary)
        assert Parse(text, ExportLogsServiceRequest()) == held
        record = held.resource_logs[0].scope_logs[0].log_records[0]
        assert record.time_unix_nano > 0 and record.severity_number > 0 and record.event_name.startswith("afterguard.")
        assert len({one.key for one in record.attributes}) == len(record.attributes)


# STIX


def stix_errors(event: bytes) -> list[str]:
    """What OASIS's validator has against it: errors, and warnings of what the standard says should be."""
    found = validate_instance(json.loads(event), ValidationOptions(version="2.1", disabled="uuid-check"))
    return [str(one) for one in (*found.errors, *found.warnings)]


def test_stix_bundles_are_valid() -> None:
    for event in every("stix"):
        assert stix_errors(event) == []
        held = stix2.parse(event.decode(), version="2.1")
        assert held.objects[0].name == "Afterguard"


def test_stix_of_an_alert_says_what_to_look_for() -> None:
    held = json.loads(FORMATS["stix"].alert(samples.ALERT))
    kinds = {one["type"]: one for one in held["objects"]}
    assert {
        "identity",
        "incident",
        "indicator",
        "attack-pattern",
        "observed-data",
        "sighting",
        "relationship",
        "user-account",
    } <= set(kinds)
    assert "domain-name:value = 'drop.example'" in kinds["indicator"]["pattern"]
    assert kinds["sighting"]["count"] == 7
    case = json.loads(FORMATS["stix"].case(samples.CASE))
    assert sum(one["type"] == "course-of-action" for one in case["objects"]) == 3
    # The same alert told again is the same object, newer.
    again = json.loads(
        FORMATS["stix"].alert(msgspec.structs.replace(samples.ALERT, observed=samples.AT + 99, revision=4))
    )
    assert {one["id"] for one in again["objects"]} == {one["id"] for one in held["objects"]}


@settings(max_examples=8, deadline=None, phases=[Phase.generate])  # the validator reads patterns slowly
@given(samples.alerts())
def test_any_alert_is_stix(one: Alert) -> None:
    event = FORMATS["stix"].alert(one)
    assert [found for found in stix_errors(event) if "excluded" not in found] == []
    for text in (one.excerpt, one.cause):
        assert len(text) < 8 or text in (one.title, one.rule, one.app) or text.encode() not in event


# reading


@settings(max_examples=30, deadline=None)
@given(samples.alerts())
def test_alert_lines_are_read(one: Alert) -> None:
    assert read(msgspec.json.encode(one)) == one


def test_cases_and_lines_are_read_and_nothing_else() -> None:
    assert read(msgspec.json.encode(samples.CASE)) == samples.CASE
    assert [read(msgspec.json.encode(one)) for one in samples.LINES] == list(samples.LINES)
    for other in (
        b"",
        b"[]",
        b"{}",
        b"null",
        b'{"class_uid": 6003}',
        b'{"class_uid": 4001, "metadata": {}}',
        b"[" * 5_000,
        b'{"format":"afterguard.alert/1"}',
    ):
        assert read(other) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8) | st.integers(-(2**63), 2**63),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metadata", "uid", "unmapped", "afterguard", "hits", "api", "operation", "time", "tools", "why", "status_id", "approvals", "state"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "time",
                "severity_id",
                "api",
                "unmapped",
                "actor",
                "ai_model",
                "message_context",
                "policy",
                "finding_info",
                "message",
            ]
        ),
        json_values,
    ),
    st.sampled_from([6003, 2004]),
    st.sampled_from(sorted(FORMATS)),
)
def test_any_line_is_written(more: dict[str, Any], kind: int, name: str) -> None:
    """A line from elsewhere with anything in it never stops an export."""
    assert FORMATS[name].decision({"class_uid": kind, "metadata": {"uid": "u"}, **more})
