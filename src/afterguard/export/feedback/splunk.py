"""Splunk Enterprise Security: notables and findings, as the macro `notable` gives them.

In: a result of a search. Out: a `Word`. Dispositions are `disposition:1` to `:6` unless somebody renamed them: their label counts where there is one. Our id stands in the fields of the event that the finding was made of. Sources: Splunk's pages "Configure dispositions for
findings in Splunk Enterprise Security" (8.0) for the labels, and the products that speak to its API for the numbers.
"""

from __future__ import annotations

import re
from typing import Any

from afterguard.export.feedback.heard import Word, moment, text, worded
from afterguard.watch.triage import UNDETERMINED

NUMBERS = {"1": "true_positive", "2": "benign_positive", "3": "false_positive", "4": "false_positive", "6": UNDETERMINED}  # fmt: skip
"""5 is Other: it says nothing."""
NUMBERED = re.compile(r"disposition:([0-9]{1,4})")
NOBODY = ("", "unassigned", "nobody")


def read(document: dict[str, Any]) -> Word | None:
    """What a finding says, None for what is none."""
    number = NUMBERED.fullmatch(text(document, "disposition"))
    label = text(document, "disposition_label")
    if number is None and not label and not ("status_label" in document or "review_time" in document):
        return None
    value = label or text(document, "disposition")
    what = worded(label) if label else NUMBERS.get(number[1], "") if number else worded(value)
    is_untouched = text(document, "disposition_default").lower() in ("true", "1")
    return Word(
        "splunk",
        "" if is_untouched else what,
        "" if is_untouched else value,
        moment(document, "review_time"),
        next((one for one in (text(document, "reviewer"), text(document, "owner")) if one not in NOBODY), ""),
        text(document, "event_id", "finding_id", "rule_id"),
        ": ".join(filter(None, (label, text(document, "review_comment", "comment")))),
    )
