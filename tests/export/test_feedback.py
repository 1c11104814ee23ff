"""What SIEMs say of our alerts: what was exported in a format comes back in the SIEM's shape as a verdict on the same alert, and whatever else comes is counted."""

from __future__ import annotations

import json
import sys
from importlib import util
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterguard.export.event import spooled
from afterguard.export.feedback import Found, read
from afterguard.export.feedback.heard import NAME, moment, worded
from afterguard.export.formats import FORMATS
from afterguard.model import Alert

if "export_samples" not in sys.modules:
    _spec = util.spec_from_file_location("export_samples", Path(__file__).with_name("samples.py"))
    assert _spec and _spec.loader
    sys.modules["export_samples"] = util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["export_samples"])
samples: Any = sys.modules["export_samples"]
ALERT: Alert = samples.ALERT


def event(format: str) -> dict[str, Any]:
    """The alert as a sink with that `encode` sends it."""
    body = spooled(ALERT)[1] if format == "json" else FORMATS[format].alert(ALERT)
    held: dict[str, Any] = json.loads(body)
    return held


def flat(held: dict[str, Any], before: str = "") -> dict[str, Any]:
    """As Splunk extracts the fields of a JSON event: dots for maps, {} for lists."""
    out: dict[str, Any] = {}
    for name, value in held.items():
        if isinstance(value, dict):
            out |= flat(value, f"{before}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for key in value[0]:
                out[f"{before}{name}{{}}.{key}"] = [str(one.get(key, "")) for one in value]
        else:
            out[f"{before}{name}"] = [str(one) for one in value] if isinstance(value, list) else str(value)
    return out


def kibana(source: dict[str, Any], **said: Any) -> dict[str, Any]:
    """The alert that a rule of Elastic Security makes of a document of ours: it copies the fields and says where they come from."""
    own = {
        "kibana.alert.uuid": "4a1d", "kibana.alert.workflow_status": "closed", "kibana.alert.workflow_status_updated_at": "2026-11-20T10:00:00.000Z",
        "kibana.alert.workflow_user": "u_ana", "kibana.alert.ancestors": [{"id": spooled(ALERT)[0], "type": "event", "index": "soc", "depth": 0}],
    }  # fmt: skip
    inner = source | {"event": source.get("event", {}) | {"kind": "signal"}} if "event" in source else dict(source)
    return {"_index": ".alerts-security.alerts-default", "_id": "4a1d", "_source": inner | own | said}


def notable(source: dict[str, Any], **said: Any) -> dict[str, Any]:
    """The finding that a correlation search makes of an event of ours; `event_id`, `severity`, `owner` and `status` are the SIEM's own."""
    own = {
        "event_id": "FB7D@@notable@@31854ec2", "rule_title": "Afterguard", "severity": "high", "urgency": "high", "owner": "unassigned", "reviewer": "ana",
        "status": "5", "status_label": "Closed", "disposition": "disposition:3", "disposition_label": "False Positive - Incorrect Analytic Logic",
        "review_time": "1795082400.25", "comment": "our own drill",
    }  # fmt: skip
    return {"preview": False, "offset": 0, "result": flat(source) | own | said}


def incident(details: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    """An incident of Sentinel with the alert of an analytics rule that maps `id` to a custom detail."""
    own = {
        "title": "Afterguard", "status": "Closed", "severity": "High", "classification": "FalsePositive", "classificationReason": "IncorrectAlertLogic",
        "classificationComment": "our own drill", "incidentNumber": 42, "lastModifiedTimeUtc": "2026-11-20T10:00:00.5416527Z", "labels": [],
        "owner": {"assignedTo": "Ana", "userPrincipalName": "ana@soc.example", "objectId": "3f49"},
    }  # fmt: skip
    more = {
        "Query": "soc_CL",
        "Custom Details": json.dumps(details if details is not None else {"AfterguardId": [ALERT.id]}),
    }
    alert = {"name": "a1", "kind": "SecurityAlert", "properties": {"alertDisplayName": "x", "additionalData": more}}
    return {
        "name": "edb492c8",
        "type": "Microsoft.SecurityInsights/Incidents",
        "properties": own | said,
        "alerts": [alert],
    }


def finding(**said: Any) -> dict[str, Any]:
    held = (
        event("ocsf")
        | {"verdict_id": 1, "verdict": "False Positive", "status_id": 4, "assignee": {"name": "ana"}}
        | said
    )
    held["metadata"] |= {"modified_time": 1_795_082_400_250}
    return held


def heard(*documents: Any) -> Found:
    return read(json.dumps(list(documents)).encode())


@pytest.mark.parametrize("format", ["json", "ecs", "cim", "ocsf", "ocsf-1.9"])
@pytest.mark.parametrize("siem", ["elastic", "splunk"])
def test_what_is_exported_comes_back_to_the_same_alert(format: str, siem: str) -> None:
    source = event(format)
    one = kibana(source, **{"kibana.alert.workflow_reason": "false_positive"}) if siem == "elastic" else notable(source)
    (found,) = heard(one).heard
    assert (found.alert, found.revision) == (ALERT.id, ALERT.revision)
    assert (found.word.system, found.word.what) == (siem, "false_positive") and found.word.who in ("u_ana", "ana")
    assert abs(found.word.at - 1_795_168_800) < 86_401
    if format != "json":  # severity is the rule's own there, and so are some fields of a finding
        seen = found.seen
        assert seen is not None and seen.severity == ALERT.severity and seen.count == ALERT.count
        assert abs(seen.last_seen - ALERT.last_seen) < 0.01
        if siem == "elastic" or format == "cim":
            assert seen.means == {"invoice-4711.html", "send_mail"}


def test_the_other_shapes() -> None:
    (one,) = heard(incident()).heard
    assert (one.alert, one.word.what, one.word.who, one.word.ref) == (ALERT.id, "false_positive", "ana@soc.example", "edb492c8")  # fmt: skip
    assert one.word.reason == "IncorrectAlertLogic: our own drill"
    (one,) = heard(
        {"object": incident() | {"properties": incident()["properties"] | {"Alerts": incident()["alerts"]}}}
    ).heard
    assert (one.alert, one.word.what) == (ALERT.id, "false_positive"), "the body of an incident trigger"
    table = {"IncidentNumber": 42, "Status": "Closed", "Classification": "TruePositive", "LastModifiedTime": "2026-11-20T10:00:00Z", "Owner": '{"email": "ana@soc.example"}', "ExtendedProperties": json.dumps({"Custom Details": json.dumps({"Alert Id": [f"{ALERT.id}.3"]})})}  # fmt: skip
    (one,) = heard(table).heard
    assert (one.alert, one.revision, one.word.what, one.word.who) == (ALERT.id, 3, "true_positive", "ana@soc.example")
    (one,) = heard(incident({}, labels=[{"labelName": ALERT.id, "labelType": "User"}])).heard
    assert one.alert == ALERT.id
    (one,) = heard(finding()).heard
    assert (one.alert, one.revision, one.word.what, one.word.who) == (ALERT.id, 3, "false_positive", "ana")
    case = json.loads(FORMATS["ocsf"].case(samples.CASE)) | {"verdict_id": 2, "verdict": "True Positive"}
    assert {one.alert for one in heard(case).heard} == set(samples.CASE.alerts), "an incident is about all its alerts"


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (incident(classification="BenignPositive"), "benign_positive"),
        (incident(classification="TruePositive"), "true_positive"),
        (incident(classification="Undetermined"), "undetermined"),
        (incident(status="Active"), "undetermined"),
        (notable(event("cim"), disposition="disposition:1", disposition_label=""), "true_positive"),
        (notable(event("cim"), disposition="disposition:2", disposition_label=""), "benign_positive"),
        (notable(event("cim"), disposition="disposition:4", disposition_label=""), "false_positive"),
        (notable(event("cim"), disposition="disposition:6", disposition_label="Undetermined"), "undetermined"),
        (notable(event("cim"), disposition="disposition:9", disposition_label="True Positive - Our own"), "true_positive"),
        (kibana(event("ecs"), **{"kibana.alert.workflow_reason": "duplicate"}), "duplicate"),
        (kibana(event("ecs"), **{"kibana.alert.workflow_reason": "benign_positive"}), "benign_positive"),
        (kibana(event("ecs"), **{"kibana.alert.workflow_tags": ["False Positive", "weekend"]}), "false_positive"),
        (kibana(event("ecs"), **{"kibana.alert.workflow_status": "open"}), "undetermined"),
        (finding(verdict_id=2, verdict=""), "true_positive"),
        (finding(verdict_id=10, verdict=""), "duplicate"),
        (finding(verdict_id=5, verdict="Benign"), "benign_positive"),
        (finding(verdict_id=99, verdict="benign positive"), "benign_positive"),
        (finding(verdict_id=0, verdict="Unknown"), "undetermined"),
    ],
)  # fmt: skip
def test_what_each_value_means(document: dict[str, Any], what: str) -> None:
    (one,) = heard(document).heard
    assert (one.alert, one.word.what) == (ALERT.id, what)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (incident(classification="Meh"), "unknown"),
        (notable(event("cim"), disposition="disposition:7", disposition_label="Testing"), "unknown"),
        (notable(event("cim"), disposition="disposition:5", disposition_label=""), "unknown"),
        (kibana(event("ecs"), **{"kibana.alert.workflow_reason": "automated_closure"}), "unknown"),
        (kibana(event("ecs"), **{"kibana.alert.workflow_tags": ["false positive", "duplicate"]}), "unknown"),
        (finding(verdict_id=8, verdict="Security Risk"), "unknown"),
        (finding(verdict_id=4, verdict=""), "unknown"),
        (kibana(event("ecs")), "silent"),
        (kibana(event("ecs"), **{"kibana.alert.workflow_status": "open", "kibana.alert.workflow_status_updated_at": None}), "silent"),
        (notable(event("cim"), disposition="disposition:6", disposition_label="Undetermined", disposition_default="true"), "silent"),
        (incident(classification=None), "silent"),
        (event("ocsf"), "silent"),
        (json.loads(FORMATS["ocsf"].alert(samples.LEAK)), "silent"),  # our own word, handed back
        (incident({}), "unnamed"),
        (incident({"Excerpt": [ALERT.id]}), "unnamed"),  # a column that attackers write into
        (incident({"AfterguardId": [f"see {ALERT.id}"]}), "unnamed"),
        (notable({"id": "al-1", "body": ALERT.id}), "unnamed"),
        (event("cim") | {"classification": "FalsePositive"}, "strange"),
        (event("ecs"), "strange"),
        ({"a": 1}, "strange"),
        ([[ALERT.id]], "strange"),
        (7, "strange"),
    ],
)  # fmt: skip
def test_what_says_nothing_is_counted(document: Any, why: str) -> None:
    found = heard(document)
    assert found.heard == [] and found.documents == 1
    assert (sum(found.unknown.values()) if why == "unknown" else getattr(found, why)) == 1


def test_envelopes() -> None:
    one, other = incident(), notable(event("cim"))
    lines = b"\n".join(json.dumps(row).encode() for row in (one, other)) + b"\n{broken\n\n"
    found = read(b"\xef\xbb\xbf" + lines)
    assert (found.documents, found.unread, len(found.heard)) == (3, 1, 2)
    assert len(read(json.dumps({"value": [one, one], "nextLink": "x"}).encode()).heard) == 2
    assert len(read(json.dumps({"hits": {"total": 1, "hits": [kibana(event("ecs"), **{"kibana.alert.workflow_reason": "duplicate"})]}}).encode()).heard) == 1  # fmt: skip
    assert len(read(json.dumps({"preview": False, "results": [other["result"]]}).encode()).heard) == 1
    assert read(json.dumps(other | {"preview": True}).encode()).documents == 0, "it comes again when the search is done"
    own = {
        "kibana.alert.workflow_status": ["closed"],
        "kibana.alert.workflow_reason": ["duplicate"],
        "kibana.alert.ancestors.id": [ALERT.id],
    }
    fields = {"_index": "i", "_id": "x", "fields": own}
    assert [one.alert for one in heard(fields).heard] == [ALERT.id], "the answer of a search that asked for fields"
    assert read(b"").documents == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2025-08-10T01:53:36.5416527Z", 1_754_790_816.541652), ("2025-08-10T01:53:36", 1_754_790_816), ("2025-08-10T03:53:36+02:00", 1_754_790_816),
        (1_754_790_816, 1_754_790_816), (1_754_790_816_000, 1_754_790_816), ("1754790816.5", 1_754_790_816.5), (["1", "1754790816"], 1_754_790_816),
        (True, 0), (-5, 0), ("NaN", 0), ("1e400", 0), ("soon", 0), ("9999-99-99", 0), ("0001-01-01T00:00:00+14:00", 0), (None, 0), (1e17, 0), ({}, 0),
    ],
)  # fmt: skip
def test_times(value: Any, seconds: float) -> None:
    assert moment({"a": {"b": value}}, "a.b") == pytest.approx(seconds)


def test_words() -> None:
    assert worded("TRUE_POSITIVE") == worded("TruePositive") == worded("True Positive - Suspicious") == "true_positive"
    assert worded("Benign True Positive") == "benign_positive" and worded("not a false positive") == worded("") == ""


KEYS = (
    "id", "event", "event_id", "properties", "classification", "status", "alerts", "additionalData", "Custom Details", "labels", "labelName", "kibana.alert.workflow_status",
    "kibana", "alert", "workflow_tags", "kibana.alert.workflow_reason", "disposition", "disposition_label", "review_time", "class_uid", "verdict_id", "verdict", "finding_info",
    "uid", "metadata", "modified_time", "entities", "count", "severity_id", "last_seen", "_source", "hits", "value", "result", "results", "fields", "owner", "",
)  # fmt: skip
leaf = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
    | st.sampled_from([ALERT.id, f"{ALERT.id}.9", f"{ALERT.id}.999999999", "Closed", "closed", "FalsePositive", "disposition:1", "2026-11-20T10:00:00Z", 2004, 1, "{", '{"Custom Details": "{"}'])
)  # fmt: skip
tree = st.recursive(
    leaf,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6),
    max_leaves=25,
)  # fmt: skip


@given(st.lists(tree, max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_documents_are_heard_or_counted(documents: list[Any]) -> None:
    found = read(msgspec.json.encode(documents))
    loose = found.silent + sum(found.unknown.values()) + found.unnamed + found.strange + found.unread
    assert loose <= found.documents <= loose + len(found.heard)
    for one in found.heard:
        assert NAME.fullmatch(one.alert) and one.word.what and 0 <= one.revision <= 10**9 and one.word.at >= 0
        assert one.seen is None or (one.seen.count >= 1 and one.seen.last_seen > 0)


@given(st.binary(max_size=300) | st.builds(lambda n, b: b * n, st.integers(1, 20_000), st.sampled_from([b"[", b'{"a":', b"[[", b'{"value":['])))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_counted(data: bytes) -> None:
    found = read(data)
    assert found.heard == []
