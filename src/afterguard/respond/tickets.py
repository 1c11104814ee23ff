"""A case as a ticket of Jira or ServiceNow, and what their webhooks say of it. Pure: bodies and headers in, structs out.

In: a case; or a webhook's headers and body, which nobody vouches for, with the secret or account it has to prove. Out: a request to send; or an `Update`. It sends nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, NoReturn

import msgspec

from afterguard.errors import UsageError
from afterguard.model import SEVERITIES, Case
from afterguard.respond.case import open_tasks
from afterguard.safe import line

System = Literal["jira", "servicenow"]
CAP = 4 << 20
LABEL = "afterguard"
JIRA_PRIORITY = ("Lowest", "Low", "Medium", "High", "Highest")
SERVICENOW_LEVEL = ("3", "3", "2", "1", "1")
"""Urgency and impact: 1 high, 2 medium, 3 low."""
STATUS = {
    "to do": "open", "open": "open", "new": "open", "reopened": "open", "in progress": "open", "on hold": "open", "1": "open", "2": "open",
    "3": "open", "contained": "contained", "done": "closed", "resolved": "closed", "closed": "closed", "canceled": "closed", "6": "closed",
    "7": "closed", "8": "closed",
}  # fmt: skip
DISPOSITION = {
    "true positive": "true_positive", "confirmed": "true_positive", "fixed": "true_positive", "done": "true_positive", "solved (permanently)": "true_positive",
    "false positive": "false_positive", "not a bug": "false_positive", "won't do": "benign_positive", "benign": "benign_positive",
    "duplicate": "duplicate", "duplicate incident": "duplicate",
}  # fmt: skip
"""What resolutions say; what is not here changes no disposition."""


class Request(NamedTuple):
    """What to send, below the system's own address."""

    method: str
    path: str
    body: dict[str, Any]


class Update(NamedTuple):
    """What a ticket system said."""

    case: str
    key: str
    status: str
    """open, contained, closed, or "" where it says nothing we know."""
    disposition: str
    comment: str
    who: str


def create(case: Case, system: System, project: str) -> Request:
    """The request that opens a ticket."""
    if system == "jira":
        fields = {"project": {"key": project}, "issuetype": {"name": "Incident"}, **_jira(case)}
        return Request("POST", "/rest/api/2/issue", {"fields": fields})
    return Request("POST", "/api/now/table/incident", {**_servicenow(case), "assignment_group": project})


def update(case: Case, system: System, key: str) -> Request:
    """The request that brings a ticket up to date."""
    if system == "jira":
        return Request("PUT", f"/rest/api/2/issue/{_name(key)}", {"fields": _jira(case)})
    return Request("PATCH", f"/api/now/table/incident/{_name(key)}", {**_servicenow(case), "work_notes": _last(case)})


def _jira(case: Case) -> dict[str, Any]:
    return {
        "summary": _summary(case),
        "description": _description(case),
        "priority": {"name": JIRA_PRIORITY[SEVERITIES.index(case.severity)]},
        "labels": [LABEL, f"{LABEL}-{case.id}"],
    }


def _servicenow(case: Case) -> dict[str, Any]:
    level = SERVICENOW_LEVEL[SEVERITIES.index(case.severity)]
    return {
        "short_description": _summary(case)[:160],
        "description": _description(case),
        "urgency": level,
        "impact": level,
        "correlation_id": case.id,
        "correlation_display": LABEL,
    }


def _summary(case: Case) -> str:
    return line(f"[{case.severity}] {case.title} ({case.app})", 250)


def _description(case: Case) -> str:
    about = ", ".join(f"{one.kind} {one.name}" for one in case.entities[:20]) or "nobody named"
    tasks = "".join(f"\n- {text}" for text in open_tasks(case).values()) or " none"
    cost = f"{case.money.low:,.0f} to {case.money.high:,.0f} {case.currency}" if case.money else "not priced"
    return f"Case {case.id}, status {case.status}.\nAbout: {about}\nAlerts: {len(case.alerts)}\nCan cost: {cost}; so far {case.spent:,.2f}\nOpen tasks:{tasks}"[:30_000]  # fmt: skip


def _last(case: Case) -> str:
    return "\n".join(f"{one.who}: {one.what}: {one.text}" for one in case.timeline[-5:])[:4_000]


def _name(key: str) -> str:
    if not key or not all(letter.isalnum() or letter in "-_" for letter in key):
        _bad(f"{key!r:.50} is no ticket's name", "as the system shows it: SEC-12, or a sys_id")
    return key


def received(system: System, headers: Mapping[str, str], body: bytes, secret: str) -> Update:
    """What a webhook says, once it has proven where it comes from: Jira by HMAC over the body, ServiceNow by basic authentication (`secret` is USER:PASSWORD). Raises UsageError."""
    prove(headers, body, secret, is_signed=system == "jira")
    if len(body) > CAP:
        _bad("the webhook's body is too long", f"at most {CAP >> 20} MiB")
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        _bad(f"the webhook's body is no JSON: {str(error)[:100]}", "send application/json")
    return _of_jira(found) if system == "jira" else _of_servicenow(found)


def prove(headers: Mapping[str, str], body: bytes, secret: str, *, is_signed: bool) -> None:
    """Nothing where a webhook proves where it comes from, by HMAC over the body or by basic authentication. Raises UsageError."""
    told = {name.lower(): value for name, value in headers.items()}
    if len(secret) < 16:
        _bad("the secret of the webhook is too short", "at least 16 characters")
    if is_signed:
        _signed(told.get("x-hub-signature", ""), body, secret)
    else:
        _authorised(told.get("authorization", ""), secret)


def _signed(said: str, body: bytes, secret: str) -> None:
    ours = "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()
    if not hmac.compare_digest(ours.encode(), said.encode("utf-8", "replace")):
        _bad("the webhook's signature does not hold", "one secret on both sides; X-Hub-Signature: sha256=...")


def _authorised(said: str, secret: str) -> None:
    kind, _, value = said.partition(" ")
    try:
        given = base64.b64decode(value.strip(), validate=True) if kind.lower() == "basic" else b""
    except (binascii.Error, ValueError):
        given = b""
    if not hmac.compare_digest(given, secret.encode()):
        _bad("the webhook's account is not the agreed one", "basic authentication, USER:PASSWORD as agreed")


def _of_jira(found: Any) -> Update:
    issue = _map(_map(found).get("issue"))
    fields = _map(issue.get("fields"))
    labels = fields.get("labels")
    mark = f"{LABEL}-"
    case = next((one[len(mark) :] for one in labels if isinstance(one, str) and one.startswith(mark)), "") if isinstance(labels, list) else ""  # fmt: skip
    status = _text(_map(fields.get("status")).get("name"))
    resolution = _text(_map(fields.get("resolution")).get("name"))
    comment = _text(_map(_map(found).get("comment")).get("body"))
    who = _text(_map(_map(found).get("user")).get("displayName") or _map(_map(found).get("user")).get("name"))
    return _update(case, _text(issue.get("key")), status, resolution, comment, who)


def _of_servicenow(found: Any) -> Update:
    row = _map(found)
    row = _map(row["result"]) if isinstance(row.get("result"), dict) else row
    return _update(
        _text(row.get("correlation_id")),
        _text(row.get("number") or row.get("sys_id")),
        _text(row.get("state") or row.get("incident_state")),
        _text(row.get("close_code")),
        _text(row.get("comments") or row.get("work_notes") or row.get("close_notes")),
        _text(row.get("sys_updated_by") or row.get("resolved_by")),
    )


def _update(case: str, key: str, status: str, resolution: str, comment: str, who: str) -> Update:
    if not case:
        _bad("the ticket names no case", "tickets that Afterguard opened carry its id")
    return Update(case[:100], key[:100], STATUS.get(status.lower(), ""), DISPOSITION.get(resolution.lower(), ""), comment[:4_000], who[:200])  # fmt: skip


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if isinstance(value, dict):  # ServiceNow with display values
        value = value.get("value")
    return (
        value
        if isinstance(value, str)
        else str(value)
        if isinstance(value, int) and not isinstance(value, bool)
        else ""
    )


def _bad(says: str, hint: str) -> NoReturn:
    raise UsageError(says, hint=hint, slug="bad-ticket")
