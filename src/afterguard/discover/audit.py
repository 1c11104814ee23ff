"""Cloud audit trails -> assets: CloudTrail, Google Cloud audit logs, Azure activity and diagnostic logs.

In: one record as bytes. Out: an Event with what was called, counted into the tally; False when the record does not parse. A record
that only lists or describes is not use. Principals and addresses are counted through the tally's keyed hash, never shown.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from afterguard.catalog import load
from afterguard.discover import stamps
from afterguard.discover.events import Event
from afterguard.discover.fields import decode
from afterguard.discover.tally import Tally
from afterguard.model import AssetKind, Edge

ARN_TAIL = re.compile(
    r"\A(?:arn:[^/]{1,200}/)?(?:foundation-model/|inference-profile/|custom-model/)?(.{1,200})\Z", re.S
)
SAFE = re.compile(r"\A[\w.:/@+ -]{1,200}\Z")
GOOGLE_MODEL = re.compile(r"/(models|endpoints|reasoningEngines)/([\w.@-]{1,120})")
AZURE_PART = re.compile(r"/(accounts|deployments|workspaces|onlineEndpoints|searchServices)/([\w.-]{1,120})", re.I)


def _text(value: Any, *path: str) -> str:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value[:400] if isinstance(value, str) else ""


def _event(line: int, time: str, name: str, client: str, agent: str) -> Event:
    stamp = stamps.read(time[:40])
    return Event(
        line, method=name[:120], time=stamp.seconds if stamp else None, zoned=bool(stamp and stamp.zoned),
        dated=bool(stamp and stamp.dated), client=client, agent=agent, channel="audit",
    )  # fmt: skip


def read_cloudtrail(line: int, data: bytes, tally: Tally) -> bool:
    """One CloudTrail record, also when wrapped as a string in lookup-events output or EventBridge's `detail`."""
    record = decode(data)
    if not isinstance(record, dict):
        return False
    for wrapper in ("CloudTrailEvent", "detail", "message"):
        inner = record.get(wrapper)
        if "eventSource" not in record and inner is not None:
            record = decode(inner) if isinstance(inner, str) else inner
            if not isinstance(record, dict):
                return False
    known = _aws()["sources"].get(_text(record, "eventSource"))
    name = _text(record, "eventName")
    if known is None:
        return bool(name)
    if name.startswith(tuple(_aws()["reads"])) and not known.get("always") and name not in _aws()["not_reads"]:
        return True
    identity = _text(record, "userIdentity", "arn") or _text(record, "sourceIPAddress")
    event = _event(line, _text(record, "eventTime"), name, identity, _text(record, "userAgent"))
    denied = bool(_text(record, "errorCode"))
    _count(tally, event, known["service"], name, denied, "aws", _text(record, "awsRegion"))
    if not denied:
        _aws_models(tally, event, known["service"], record, name)
    return True


def _aws_models(tally: Tally, event: Event, service: str, record: dict[str, Any], name: str) -> None:
    asked = record.get("requestParameters")
    for field in _aws()["model_fields"]:
        _model(tally, event, service, ARN_TAIL.sub(r"\1", _text(asked, field)), name)
    if service == "aws-sagemaker":
        for field in _aws()["endpoint_fields"][:2]:
            _model(tally, event, service, _text(asked, field), name, "predictive")
    agent = _text(asked, "agentId")
    if agent and SAFE.match(agent):
        tally.count(event, AssetKind.agent, agent, f"{name} {agent}", provider=service)


def read_google(line: int, data: bytes, tally: Tally) -> bool:
    """One Cloud Logging entry with an audit payload."""
    record = decode(data)
    if not isinstance(record, dict):
        return False
    payload = record.get("protoPayload") or record.get("proto_payload") or record.get("jsonPayload") or {}
    service = _google()["services"].get(_text(payload, "serviceName"))
    name = _text(payload, "methodName")
    short = name.rpartition(".")[2]
    if service is None or short.startswith(tuple(_google()["reads"])):
        return True
    identity = _text(payload, "authenticationInfo", "principalEmail") or _text(payload, "requestMetadata", "callerIp")
    agent = _text(payload, "requestMetadata", "callerSuppliedUserAgent")
    event = _event(line, _text(record, "timestamp") or _text(record, "receiveTimestamp"), short, identity, agent)
    status = payload.get("status") if isinstance(payload, dict) else None
    denied = isinstance(status, dict) and status.get("code") in (7, 16)
    _count(tally, event, service, short, denied, "google", _text(record, "resource", "labels", "location"))
    found = GOOGLE_MODEL.search(_text(payload, "resourceName"))
    if found and not denied:
        _model(tally, event, service, found[2], short, "predictive" if found[1] == "endpoints" else "")
    return True


def read_azure(line: int, data: bytes, tally: Tally) -> bool:
    """One Azure activity or diagnostic record, in the portal's, the REST interface's or the event hub's shape."""
    record = decode(data)
    if not isinstance(record, dict):
        return False
    operation = (
        _text(record, "operationName") or _text(record, "operationName", "value") or _text(record, "OperationNameValue")
    ).upper()
    resource = (
        _text(record, "resourceId")
        or _text(record, "resource_id")
        or _text(record, "ResourceId")
        or _text(record, "_ResourceId")
    )
    text = f"{resource} {operation}".upper()
    service = next((name for key, name in _azure()["services"].items() if key in text), None)
    if service is None or operation.endswith(tuple(_azure()["reads"])):
        return bool(operation or resource)
    if service == "azure-ai" and operation.startswith(tuple(_azure()["openai_operations"])):
        service = "azure-openai"
    time = next(
        (
            value
            for key in ("time", "eventTimestamp", "TimeGenerated", "submissionTimestamp")
            if (value := _text(record, key))
        ),
        "",
    )
    identity = _text(record, "caller") or _text(record, "callerIpAddress") or _text(record, "CallerIPAddress")
    short = operation.rpartition("MICROSOFT.")[2] if "/" in operation else operation
    event = _event(line, time, short, identity, "")
    status = (
        _text(record, "resultType") or _text(record, "status", "value") or _text(record, "resultSignature")
    ).lower()
    _count(
        tally, event, service, short, "fail" in status or status in ("401", "403"), "azure", _text(record, "location")
    )
    properties = record.get("properties")
    properties = decode(properties) if isinstance(properties, str) else properties
    model = _text(properties, "modelName") or _text(properties, "modelDeploymentName")
    parts = {kind.lower(): name for kind, name in AZURE_PART.findall(resource)}
    _model(tally, event, service, model or parts.get("deployments", "") or parts.get("onlineendpoints", ""), short)
    return True


def _count(tally: Tally, event: Event, service: str, name: str, denied: bool, cloud: str, region: str) -> None:
    entry = tally.count(
        event, AssetKind.cloud_ai_service, service, name, provider=service, cloud=cloud, region=region[:40]
    )
    if entry is None:
        return
    if denied:
        entry.denied += 1
    for row in load("signals/audit_events")[cloud].get("watch", ()):
        if row["event"] in name:
            entry.attributes.setdefault("watch", f"{name}: {row['why']}"[:200])


def _model(tally: Tally, event: Event, service: str, name: str, matched: str, task: str = "") -> None:
    if not name or not SAFE.match(name):
        return
    kind = AssetKind.embedding_model if "embed" in name.lower() else AssetKind.model
    tally.count(event, kind, name, f"{matched} {name}"[:200], provider=service, task=task)
    entry = tally.entry(AssetKind.cloud_ai_service, service)
    if entry is not None and len(entry.edges) < 200:
        entry.edges.setdefault(Edge("serves", kind, name))


@cache
def _aws() -> dict[str, Any]:
    rows: dict[str, Any] = load("signals/audit_events")["aws"]
    return rows


@cache
def _google() -> dict[str, Any]:
    rows: dict[str, Any] = load("signals/audit_events")["google"]
    return rows


@cache
def _azure() -> dict[str, Any]:
    rows: dict[str, Any] = load("signals/audit_events")["azure"]
    return rows
