"""OCSF 1.8: findings (2004, 2005, 2006) whose `verdict_id` says what somebody made of them.

In: an event. Out: a `Word`. Our id is `finding_info.uid`, or stands in `finding_info_list`. Source: the schema's enumeration of `verdict_id`, 1.8.0.
"""

from __future__ import annotations

from typing import Any

from afterguard.export.feedback.heard import Word, moment, number, text, worded
from afterguard.export.ocsf import DISPOSED
from afterguard.watch.triage import UNDETERMINED

FINDINGS = (2004, 2005, 2006)
VERDICTS = {
    0: UNDETERMINED, 1: "false_positive", 2: "true_positive", 3: "benign_positive", 5: "benign_positive", 6: "benign_positive", 7: UNDETERMINED,
    10: "duplicate",
}  # fmt: skip
"""Disregard, Benign and Test are right about what happened, and nobody minds. Suspicious, Security Risk and Managed Externally settle nothing."""
OTHER = 99


def read(document: dict[str, Any]) -> Word | None:
    """What a finding says, None for what is none. One without a verdict says nothing, whatever its status; our own word, handed back as we wrote it, neither."""
    if number(document, "class_uid") not in FINDINGS:
        return None
    found, said = number(document, "verdict_id"), text(document, "verdict")
    changed = moment(document, "metadata.modified_time")
    is_ours = said in DISPOSED and not changed
    value = "" if is_ours else said or (f"verdict_id {found:g}" if found is not None else "")
    known = VERDICTS.get(int(found), "") if found is not None and found != OTHER else worded(said)
    what = known if value else ""
    return Word(
        "ocsf",
        what,
        value,
        # What says "unknown" without having been changed is the event as it was made.
        changed or (moment(document, "time") if what != UNDETERMINED else 0.0),
        text(document, "assignee.name", "assignee.email_addr", "assignee.uid", "assignee_group.name"),
        text(document, "finding_info.uid", "metadata.uid"),
        ": ".join(filter(None, (said, text(document, "comment", "status_detail")))),
    )
