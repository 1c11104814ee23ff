"""OCSF's words, for everything that writes an event: classes, ids, the head that every event has, and ATLAS ids as `attacks`.

In: numbers and names. Out: parts of an event as plain maps. It knows no noun of ours: the guard's log and `export` put their own in.
OCSF 1.8.0 (16 March 2026). What 1.9 adds stays in `unmapped` unless it is asked for. Category 7 is Remediation, whatever a proposal for
AI classes says.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, NamedTuple

from afterguard.names import ATLAS_EDITION, ATTACK

VERSION = "1.8.0"
NEWER = "1.9.0-dev"
SEVERITY_IDS = {"info": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
CONFIDENCE_IDS = {"low": 1, "medium": 2, "high": 3}
ALLOWED, DENIED, MODIFIED, OTHER = 1, 2, 4, 99
"""action_id. 3, Observed, is newer than what many read: what nobody stopped was allowed."""
BLOCKED, CORRECTED, DETECTED = 2, 11, 15
"""disposition_id; 1 is Allowed there too."""
USER_NAME, IP_ADDRESS, HOSTNAME = 4, 2, 1
"""type_id of observables; 99 with the kind's own name for the rest."""


class Class(NamedTuple):
    """One event class."""

    name: str
    category: int
    activities: dict[int, str]


CATEGORIES = {2: "Findings", 3: "Identity & Access Management", 6: "Application Activity", 7: "Remediation"}
LIFE = {1: "Create", 2: "Update", 3: "Close"}
CLASSES = {
    2004: Class("Detection Finding", 2, LIFE),
    2005: Class("Incident Finding", 2, LIFE),
    2006: Class("Data Security Finding", 2, LIFE),
    2007: Class("Application Security Posture Finding", 2, LIFE),
    3003: Class("Authorize Session", 3, {1: "Assign Privileges"}),
    6003: Class("API Activity", 6, {1: "Create", 2: "Read", 3: "Update", 4: "Delete"}),
    6005: Class("Datastore Activity", 6, {4: "Query", 5: "Write", 7: "Delete"}),
    7001: Class("Remediation Activity", 7, {1: "Isolate", 2: "Evict", 3: "Restore", 4: "Harden"}),
}


def head(class_uid: int, activity: int, time: float, activity_name: str = "") -> dict[str, Any]:
    """What says which class and activity an event is; `time` in seconds. `activity_name` goes with activity 99."""
    one = CLASSES[class_uid]
    return {
        "class_uid": class_uid,
        "class_name": one.name,
        "category_uid": one.category,
        "category_name": CATEGORIES[one.category],
        "activity_id": activity,
        "activity_name": activity_name or one.activities[activity],
        "type_uid": class_uid * 100 + activity,
        "time": milliseconds(time),
    }


def milliseconds(time: float) -> int:
    """Seconds since the epoch as OCSF's timestamp."""
    return int(time * 1000)


def metadata(uid: str, log: str, product: str, profiles: Iterable[str] = (), version: str = VERSION) -> dict[str, Any]:
    """Who wrote the event, under which version; `uid` is this event's own."""
    return {
        "uid": uid,
        "version": version,
        "profiles": list(profiles),
        "product": {"name": "Afterguard", "vendor_name": "Afterguard", "version": product},
        "log_name": log,
    }


def attacks(taxonomies: Iterable[str]) -> list[dict[str, Any]]:
    """The ATLAS techniques among taxonomy ids, where `version` says that they are ATLAS's, and those of ATT&CK."""
    out: list[dict[str, Any]] = []
    for name in taxonomies:
        if ATTACK.fullmatch(name):
            whole, _, part = name.partition(".")
            out.append({"technique": {"uid": whole}, **({"sub_technique": {"uid": name}} if part else {})})
        elif name.startswith("AML.T"):
            technique, _, sub = name[4:].partition(".")
            one: dict[str, Any] = {"technique": {"uid": f"AML.{technique}"}, "version": ATLAS_EDITION}
            if sub:
                one["sub_technique"] = {"uid": name}
            out.append(one)
    return out


def observable(path: str, kind: str, value: str) -> dict[str, Any]:
    """One thing to search other logs for; `path` is where in the event it stands."""
    if kind == "address" and is_address(value):
        return {"name": path, "type_id": IP_ADDRESS, "type": "IP Address", "value": value}
    if kind == "identity":
        return {"name": path, "type_id": USER_NAME, "type": "User Name", "value": value}
    if kind == "domain":
        return {"name": path, "type_id": HOSTNAME, "type": "Hostname", "value": value}
    return {"name": path, "type_id": OTHER, "type": kind, "value": value}


def is_address(text: str) -> bool:
    """Whether it is an IP address rather than the keyed hash of one."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
