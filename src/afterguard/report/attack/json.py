"""afterguard.attack/1: an attack's result for machines, and the way back.

In: an Assessment and its findings; or the bytes of such a file. Out: one JSON document; or the Assessment. Fields are only ever added.
"""

from __future__ import annotations

from typing import IO

import msgspec

from afterguard.attack.assessment import FORMAT, Assessment
from afterguard.attack.findings import Weakness
from afterguard.errors import UsageError
from afterguard.model import Family
from afterguard.report import json


def document(found: Assessment, weak: tuple[Weakness, ...]) -> json.Json:
    """The result, each family with its rate and interval, and `findings`."""
    whole: json.Json = json.plain(found)
    whole["families"] = [_family(one) for one in found.families]
    whole["findings"] = [{**json.finding(one.finding), "hits": [hit.id for hit in one.hits], "policy_rule": one.rule, "policy_note": one.rule_note} for one in weak]  # fmt: skip
    return whole


def render(found: Assessment, weak: tuple[Weakness, ...], out: IO[str]) -> None:
    """Write the document, indented."""
    out.write(json.dumps(document(found, weak)))


def read(data: bytes, name: str) -> Assessment:
    """A result as it was written. Raises UsageError."""
    try:
        return msgspec.json.decode(data, type=Assessment)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{name} is no result of an attack ({FORMAT}): {str(error)[:200]}", hint="write one with: afterguard attack TARGET.yaml --format json -o FILE", slug="bad-baseline") from None  # fmt: skip


def _family(one: Family) -> json.Json:
    share = one.share
    return {**json.plain(one), "succeeded": one.succeeded, "resisted": one.resisted, "trials": share.of, "rate": share.rate, "low": share.low, "high": share.high, "effective": one.effective}  # fmt: skip
