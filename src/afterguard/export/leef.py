r"""LEEF 2.0: one line of QRadar's log event extended format, fields parted by a tab.

In: a Row. Out: a line without line feed. LEEF knows no escape for values: a tab or line break in one becomes the two characters \t or \n,
any other control character a space; in a header a pipe becomes a slash. So no value can end a field or begin another.
"""

from __future__ import annotations

from afterguard import __version__, ocsf
from afterguard.export.cef import flat
from afterguard.export.row import SCORES, Row

TAB = "\t"
TEXT = 4_000


def line(row: Row) -> str:
    """The row as a line of LEEF."""
    header = ("LEEF:2.0", "Afterguard", "Afterguard", __version__, row.kind or row.what, "x09")
    pairs = [(name, value) for name, value in _fields(row) if value not in ("", "0", "0.0")]
    return (
        "|".join(flat(one).replace("|", "/") for one in header) + "|" + TAB.join(f"{k}={_value(v)}" for k, v in pairs)
    )


def _fields(row: Row) -> list[tuple[str, str]]:
    return [
        ("devTime", str(ocsf.milliseconds(row.time))),
        ("sev", str(max(1, SCORES.get(row.severity, 0)))),
        ("cat", row.what),
        ("usrName", row.actor),
        ("src", row.address),
        ("policy", row.policy),
        ("resource", row.app),
        ("reason", row.message),
        ("title", row.title),
        ("id", row.id),
        ("eventId", row.event),
        ("action", row.action),
        ("outcome", row.outcome),
        ("state", (row.suppressed and "suppressed") or row.state),
        ("rule", row.rule),
        ("detector", row.detector),
        ("confidence", row.confidence),
        ("domain", row.tenant),
        ("conversation", row.conversation),
        ("provider", row.provider),
        ("model", row.model),
        ("operation", row.operation),
        ("tools", ",".join(row.tools)),
        ("taxonomies", ",".join(row.taxonomies)),
        ("entities", ",".join(f"{one.kind}:{one.name}" for one in row.entities)),
        ("exchanges", ",".join(row.exchanges or row.alerts)),
        ("count", str(row.count)),
        ("heldOff", str(row.held_off)),
        ("revision", str(row.revision)),
        ("risk", str(row.risk)),
        ("excerpt", row.excerpt),
        ("case", row.case),
        ("where", row.where),
    ]


def _value(text: str) -> str:
    marked = text[:TEXT].replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\\n").replace("\t", "\\t")
    return flat(marked).strip()
