r"""CEF: one line of ArcSight's common event format, version 0.

In: a Row. Out: a line without line feed. A header escapes backslash and pipe, an extension backslash, equals sign and line breaks; other
control characters become spaces. Texts are cut at the lengths that the format's dictionary allows each key.
"""

from __future__ import annotations

from afterguard import __version__, ocsf
from afterguard.export.row import SCORES, Row

LENGTHS = {
    "act": 63, "app": 31, "cat": 1_023, "externalId": 40, "msg": 1_023, "reason": 1_023, "outcome": 63, "suid": 1_023, "suser": 1_023,
    "sourceServiceName": 1_023, "deviceExternalId": 255, "deviceFacility": 1_023, "requestContext": 2_048, "dvchost": 100,
    "destinationServiceName": 1_023, "cnt": 20,
}  # fmt: skip
CUSTOM = 4_000
"""Characters of a custom string."""


def line(row: Row) -> str:
    """The row as a line of CEF."""
    header = (
        "CEF:0",
        "Afterguard",
        "Afterguard",
        __version__,
        row.kind or row.what,
        row.title[:512] or row.what,
        str(SCORES.get(row.severity, 0)),
    )
    keys = {name: value for name, value in (*_plain(row), *_custom(row)) if value not in ("", "0", "0.0")}
    return (
        "|".join(map(_header, header)) + "|" + " ".join(f"{name}={_value(name, value)}" for name, value in keys.items())
    )


def _plain(row: Row) -> list[tuple[str, str]]:
    return [
        ("rt", str(ocsf.milliseconds(row.observed or row.time))),
        ("start", str(ocsf.milliseconds(row.begin or row.time))),
        ("end", str(ocsf.milliseconds(row.end or row.time))),
        ("externalId", row.id),
        ("deviceExternalId", row.event),
        ("cat", row.what),
        ("act", row.action),
        ("outcome", row.outcome),
        ("reason", row.message),
        ("msg", row.excerpt or row.message),
        ("suid", row.actor),
        ("src", row.address),
        ("cnt", str(row.count)),
        ("destinationServiceName", row.app),
        ("app", row.provider),
        ("deviceFacility", row.tenant),
        ("requestContext", row.conversation),
    ]


def _custom(row: Row) -> list[tuple[str, str]]:
    """Custom strings and numbers with their labels, of which there are few: what a responder filters by comes first."""
    strings = (
        ("cs1", "model", row.model),
        ("cs2", "rule", row.rule),
        ("cs3", "policy", row.policy),
        ("cs4", "taxonomies", " ".join(row.taxonomies)),
        ("cs5", "entities", " ".join(f"{one.kind}:{one.name}" for one in row.entities) or " ".join(row.tools)),
        ("cs6", "exchanges", " ".join(row.exchanges or row.alerts)),
        ("cn1", "heldOff", str(row.held_off)),
        ("cn2", "risk", str(row.risk)),
        ("cn3", "revision", str(row.revision)),
        ("flexString1", "state", (row.suppressed and "suppressed") or row.state),
        ("flexString2", "case", row.case or row.where),
    )
    return [
        pair
        for key, label, value in strings
        if value not in ("", "0")
        for pair in ((key, value), (f"{key}Label", label))
    ]


def _header(text: str) -> str:
    return flat(text).replace("\\", "\\\\").replace("|", "\\|")


def _value(name: str, text: str) -> str:
    cut = text[: LENGTHS.get(name, CUSTOM)]
    marked = cut.replace("\\", "\\\\").replace("=", "\\=").replace("\r\n", "\n").replace("\r", "\n")
    return "\\n".join(flat(one) for one in marked.split("\n")).strip()


def flat(text: str) -> str:
    """Control characters and line separators as spaces: a line stays one line for every receiver."""
    return "".join(
        " " if ord(c) < 32 or ord(c) in (127, 0x85, 0x2028, 0x2029) or 0xD800 <= ord(c) < 0xE000 else c for c in text
    )
