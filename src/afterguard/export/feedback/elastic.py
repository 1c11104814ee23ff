"""Elastic Security: alerts (signals) as they lie in `.alerts-security.alerts-*`.

In: a document, its keys nested or with dots. Out: a `Word`. An alert says something when it is closed with a reason (Kibana 9.2), or closed or acknowledged with a tag that names a disposition; one that was opened again takes back what it said. Our id stands in the event that the rule
copied, or among its ancestors. Sources: Elastic's alert schema, its API "Set a detection alert status", and Kibana's pull request 226590.
"""

from __future__ import annotations

from typing import Any

from afterguard.export.feedback.heard import Word, moment, text, values, worded
from afterguard.watch.triage import UNDETERMINED

SETTLED = ("closed", "acknowledged", "in-progress")


def read(document: dict[str, Any]) -> Word | None:
    """What an alert says, None for what is none."""
    status = text(document, "kibana.alert.workflow_status", "signal.status").lower()
    if not status:
        return None
    value = text(document, "kibana.alert.workflow_reason") if status == "closed" else ""
    tags = [one for one in values(document, "kibana.alert.workflow_tags") if isinstance(one, str)]
    said = {worded(one) for one in tags if worded(one)} if not value and status in SETTLED else set()
    what = worded(value) or (next(iter(said)) if len(said) == 1 else "")
    return Word(
        "elastic",
        UNDETERMINED if status == "open" else what,
        value or (", ".join(tags)[:500] if said else ""),
        moment(document, "kibana.alert.workflow_status_updated_at", "kibana.alert.updated_at"),
        text(document, "kibana.alert.workflow_user", "kibana.alert.workflow_assignee_ids"),
        text(document, "kibana.alert.uuid", "_id"),
        value or ", ".join(tags)[:500],
    )
