"""What is written as OCSF is read by OCSF's own schema, 1.8.0; and by a consumer that knows only 1.5 or 1.3."""

from __future__ import annotations

import copy
import json
import sys
from functools import cache
from importlib import util
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from afterguard.export import approved, ocsf
from afterguard.model import Alert, Deed, Found
from afterguard.respond.kinds import KINDS

if "export_samples" not in sys.modules:
    _spec = util.spec_from_file_location("export_samples", Path(__file__).with_name("samples.py"))
    assert _spec and _spec.loader
    sys.modules["export_samples"] = util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["export_samples"])
samples: Any = sys.modules["export_samples"]


@cache
def schema(version: str) -> Any:
    return OcsfJsonSchemaEmbedded(get_ocsf_schema(version=version))


@cache
def validator(version: str, class_uid: int, profiles: tuple[str, ...]) -> Draft202012Validator:
    one = schema(version)
    return Draft202012Validator(one.get_class_schema(one.lookup_class_name_from_uid(class_uid), list(profiles)))


def described(event: dict[str, Any], version: str) -> dict[str, Any]:
    """The class of an event as a version of the schema describes it."""
    whole = schema(version)
    held: dict[str, Any] = whole.schema.schema["classes"][whole.lookup_class_name_from_uid(event["class_uid"])]
    return held


def errors(event: dict[str, Any], version: str = "1.8.0") -> list[str]:
    profiles = tuple(name for name in event["metadata"]["profiles"] if name in described(event, version)["profiles"])
    return [
        f"{one.json_path}: {one.message[:200]}"
        for one in validator(version, event["class_uid"], profiles).iter_errors(event)
    ]


def plain(event: Any) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(msgspec.json.encode(event))
    return held


EVENTS: dict[str, dict[str, Any]] = {
    **{f"alert {one.kind}": plain(ocsf.alert(one)) for one in samples.ALERTS},
    **{f"case {one.title}": plain(ocsf.case(one)) for one in samples.CASES},
    **{f"{one.what} {one.do}": plain(ocsf.deed(one)) for one in samples.DEEDS},
    **{f"line {n}": plain(ocsf.decision(one)) for n, one in enumerate(samples.LINES)},
    **{f"call {one.what}": plain(ocsf.deed(one)) for line in samples.LINES for one in approved.deeds(line)},
    "retrieval": plain(ocsf.decision({**samples.LINES[0], "api": {"operation": "retrieval", "service": {"name": "qdrant", "uid": "docs"}}})),
    **{f"finding {n}": plain(ocsf.finding(one)) for n, one in enumerate(samples.FOUNDS)},
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_event_is_valid_1_8(name: str) -> None:
    assert errors(EVENTS[name]) == []


def test_every_class_promised_is_written() -> None:
    assert {one["class_uid"] for one in EVENTS.values()} == {2004, 2005, 2006, 2007, 3003, 6003, 6005, 7001}
    assert {one["activity_id"] for one in EVENTS.values() if one["class_uid"] == 2004} == {1, 2, 3}
    assert {one["activity_id"] for one in EVENTS.values() if one["class_uid"] == 7001} == {1, 2, 3, 4, 99}
    assert {one["status_id"] for one in EVENTS.values() if one["class_uid"] == 7001} == {1, 2, 4, 99}
    assert {one["status_id"] for one in EVENTS.values() if one["class_uid"] == 3003} == {1, 2}
    assert {one["status_id"] for one in EVENTS.values() if one["class_uid"] == 2007} == {1, 3}


def test_what_is_inside_an_alert_and_attacks_of_both_lists_are_told() -> None:
    many = EVENTS["alert hits_of_one_identity"]
    assert [one["kind"] for one in many["unmapped"]["afterguard"]["hits"]] == ["sigma_rule", "jailbreak"]
    assert many["finding_info"]["attacks"][:2] == [{"technique": {"uid": "T1567"}, "sub_technique": {"uid": "T1567.002"}}, {"technique": {"uid": "T1078"}}]  # fmt: skip
    assert many["finding_info"]["attacks"][2]["version"].startswith("ATLAS")


def test_what_becomes_of_one_act_is_known_by_its_id() -> None:
    agreed, done, back = (EVENTS[f"{what} quarantine_identity"] for what in ("approved", "done", "undone"))
    assert done["command_uid"] == back["command_uid"] and done["activity_name"] == "Isolate" and back["activity_name"] == "Restore"  # fmt: skip
    assert done["status_detail"].startswith("the guard refuses it") and done["countermeasures"] and "countermeasures" not in back  # fmt: skip
    assert agreed["user"] == {"uid": "os:lee"} and agreed["actor"]["user"] == {"uid": "os:dana"}
    assert agreed["privileges"] == [f"quarantine_identity {samples.WHO}"] and agreed["session"] == {"uid": samples.CASE.id}  # fmt: skip
    assert EVENTS["failed block_domain"]["status_id"] == 2 and EVENTS["failed block_domain"]["severity_id"] == 4


def test_every_kind_of_act_that_changes_something_has_its_activity() -> None:
    changing = {name for name, kind in KINDS.items() if kind.harsh and kind.through != "person"} - {"call"}
    assert changing == set(ocsf.MEASURES)
    assert {uid for _, uid in ocsf.MEASURES.values() if uid} == set(ocsf.COUNTERMEASURES)
    assert (
        ocsf.deed(msgspec.structs.replace(samples.DEEDS[0], do="call", phase="contain"))["activity_name"] == "Isolate"
    )


def test_validator_would_notice() -> None:
    wrong = EVENTS["alert injection_followed"] | {"severity_id": 77, "made_up": 1}
    del wrong["finding_info"]
    assert len(errors(wrong)) == 3


@settings(max_examples=20, deadline=None)
@given(samples.alerts())
def test_any_alert_is_valid(one: Alert) -> None:
    assert errors(plain(ocsf.alert(one))) == []


@settings(max_examples=20, deadline=None)
@given(samples.deeds)
def test_any_deed_is_valid(one: Deed) -> None:
    assert errors(plain(ocsf.deed(one))) == []


@settings(max_examples=20, deadline=None)
@given(samples.founds)
def test_any_finding_is_valid(one: Found) -> None:
    assert errors(plain(ocsf.finding(one))) == []


def known_only(held: Any, known: dict[str, Any], version: str) -> Any:
    """What a reader of an older schema takes out of an event: the attributes it knows, at any depth."""
    objects = schema(version).schema.schema["objects"]
    if isinstance(held, list):
        return [known_only(one, known, version) for one in held]
    if not isinstance(held, dict):
        return held
    out = {}
    for name, value in held.items():
        about = known.get(name)
        if about is None:
            continue
        if "enum" in about and isinstance(value, int) and str(value) not in about["enum"]:
            # A number that came later is read as Other; the words beside it say what it is.
            value = 99
        inner = objects.get(about.get("object_type", ""), {}).get("attributes") or {}
        out[name] = known_only(value, inner, version) if inner else value
    return out


@pytest.mark.parametrize("version", ["1.3.0", "1.5.0"])
@pytest.mark.parametrize("name", EVENTS)
def test_consumer_of_older_schema_reads_it(name: str, version: str) -> None:
    event = copy.deepcopy(EVENTS[name])
    if event["class_uid"] == 2007 and version < "1.5":
        pytest.skip("1.3 has no such class")
    read = known_only(event, described(event, version)["attributes"], version)
    wrong = errors(read, version)
    assert wrong == []
    # What it is about is still there: class, time, severity, who says it, and our own part.
    assert {"class_uid", "time", "severity_id", "metadata", "type_uid", "unmapped"} <= read.keys()
    assert read["unmapped"] == event["unmapped"] and read["metadata"]["uid"] == event["metadata"]["uid"]


def test_what_only_1_9_has_stands_aside_until_asked_for() -> None:
    old, new = ocsf.alert(samples.ALERT), ocsf.alert(samples.ALERT, newer=True)
    assert old["unmapped"]["ocsf_1_9"]["ai_agent"] == new["evidences"][0]["ai_agent"]
    assert new["metadata"]["version"].startswith("1.9") and "ocsf_1_9" not in new["unmapped"]
    del new["evidences"][0]["ai_agent"]
    assert errors(plain(new)) == []


def test_repeat_is_known_by_its_ids() -> None:
    again = msgspec.structs.replace(samples.ALERT, revision=4)
    first, second = ocsf.alert(samples.ALERT), ocsf.alert(again)
    assert first["finding_info"]["uid"] == second["finding_info"]["uid"]
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
