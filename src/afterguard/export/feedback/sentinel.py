"""Microsoft Sentinel: incidents of its REST API, of an incident trigger, and rows of the table SecurityIncident.

In: a document. Out: a `Word`, and the alerts of ours it is about. Our id stands in the custom details of the related alerts (one mapped to the column `id`), in a label, or in a column beside the classification. Sources: Azure REST specification securityinsights 2025-09-01
(IncidentClassification, IncidentClassificationReason), Azure Monitor's reference of the tables SecurityIncident and SecurityAlert.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from afterguard.export.feedback.heard import Word, moment, names, text, values, worded
from afterguard.watch.triage import UNDETERMINED

NUMBERED = ("incidentNumber", "IncidentNumber")
"""What an incident has: `classification` alone is a field of many things."""
DETAIL = frozenset({"afterguardid", "afterguardalertid", "alertid", "eventid", "id"})
"""Names of custom details that may hold our id, without what is no letter."""


def read(document: dict[str, Any]) -> Word | None:
    """What an incident says, None for what is none."""
    held = _incident(document)
    if not any(name in held for name in (NUMBERED if held is document else (*NUMBERED, "classification"))):
        return None
    value = text(held, "classification", "Classification")
    status = text(held, "status", "Status").lower()
    is_open = status not in ("closed", "")
    if is_open:  # one that was closed once, and is worked on again; nobody has said anything of a new one
        what, value = (UNDETERMINED if value or status != "new" else ""), ""
    else:
        what = worded(value)
    reason = [text(held, "classificationReason", "ClassificationReason"), text(held, "classificationComment", "ClassificationComment")]  # fmt: skip
    return Word(
        "sentinel",
        what,
        value,
        moment(held, "lastModifiedTimeUtc", "LastModifiedTime", "ClosedTime"),
        _owner(held),
        text(document, "name", "object.name") or text(held, "IncidentName", "incidentNumber", "IncidentNumber"),
        ": ".join(filter(None, reason)),
    )


def about(document: dict[str, Any]) -> dict[str, int]:
    """Alerts that the incident's alerts, labels and columns name."""
    held = _incident(document)
    return names([*_details(document), *_details(held), *values(held, "labels.labelName"), *values(held, "Labels.labelName")])  # fmt: skip


def _incident(document: dict[str, Any]) -> dict[str, Any]:
    for path in ("properties", "object.properties"):
        for one in values(document, path):
            if isinstance(one, dict):
                return one
    return document


def _owner(held: dict[str, Any]) -> str:
    owner = next(values(held, "Owner"), None)
    known = _parsed(owner) if isinstance(owner, str) and owner.startswith("{") else held
    return text(known, "owner.userPrincipalName", "owner.email", "owner.assignedTo", "Owner.userPrincipalName", "Owner.email", "Owner.assignedTo", "userPrincipalName", "email", "assignedTo")  # fmt: skip


def _details(held: dict[str, Any]) -> Iterator[Any]:
    """Values of custom details that are named like an id. They come as JSON in a text, each a list."""
    for alert in (*values(held, "alerts"), *values(held, "Alerts"), held):
        for path in ("properties.additionalData", "additionalData", "ExtendedProperties"):
            for more in values(alert, path):
                details = _parsed(_parsed(more).get("Custom Details"))
                for name in filter(_is_id, details):
                    yield from values(details, name)


def _is_id(name: Any) -> bool:
    return isinstance(name, str) and "".join(one for one in name.lower() if one.isalpha()) in DETAIL


def _parsed(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}
