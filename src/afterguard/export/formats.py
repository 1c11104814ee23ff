"""Every format by its name: the one table that commands and sinks ask.

In: a name. Out: a `Format`, whose functions turn one noun into bytes. To add a format, write its file and add its row here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.export import cef, cim, ecs, leef, ocsf, otlp, row, stix
from afterguard.export.fit import Fitted, Limit, fit
from afterguard.export.row import Row
from afterguard.model import Alert, Case, Deed, Found

Line = dict[str, Any]
"""A decoded line of the decision log."""
Thing = Alert | Case | Deed | Found | Line


class Format(NamedTuple):
    """A format: how each noun is written. Every function gives one event without a line feed."""

    name: str
    content_type: str
    alert: Callable[[Alert], bytes]
    decision: Callable[[Line], bytes]
    case: Callable[[Case], bytes]
    deed: Callable[[Deed], bytes]
    finding: Callable[[Found], bytes]
    is_text: bool = True
    """Whether an event is one line of UTF-8."""

    def encode(self, thing: Thing) -> bytes:
        """Whichever it is."""
        if isinstance(thing, Alert):
            return self.alert(thing)
        if isinstance(thing, Case):
            return self.case(thing)
        if isinstance(thing, Deed):
            return self.deed(thing)
        return self.finding(thing) if isinstance(thing, Found) else self.decision(thing)

    def fitted(self, thing: Thing, limit: Limit) -> Fitted:
        """The same within a destination's limit."""
        return fit(thing, self.encode, limit)


def _rows(name: str, content_type: str, write: Callable[[Row], bytes], is_text: bool = True) -> Format:
    """A format that is made of rows."""
    return Format(
        name,
        content_type,
        lambda one: write(row.of_alert(one)),
        lambda line: write(row.of_line(line)),
        lambda one: write(row.of_case(one)),
        lambda one: write(row.of_deed(one)),
        lambda one: write(row.of_found(one)),
        is_text,
    )


_json = msgspec.json.encode
JSON = "application/json"


def _ocsf(name: str, newer: bool) -> Format:
    return Format(
        name,
        JSON,
        lambda one: _json(ocsf.alert(one, newer)),
        lambda line: _json(ocsf.decision(line, newer)),
        lambda one: _json(ocsf.case(one, newer)),
        lambda one: _json(ocsf.deed(one, newer)),
        lambda one: _json(ocsf.finding(one, newer)),
    )


def _each(write: Callable[[Sequence[Row]], bytes]) -> Callable[[Row], bytes]:
    return lambda one: write((one,))


_STIX = Format(
    "stix",
    "application/stix+json;version=2.1",
    lambda one: _json(stix.alert(one)),
    lambda line: _json(stix.decision(line)),
    lambda one: _json(stix.case(one)),
    lambda one: _json(stix.deed(one)),
    lambda one: _json(stix.finding(one)),
)
FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        _ocsf("ocsf", False),
        _ocsf("ocsf-1.9", True),
        _rows("ecs", JSON, lambda one: _json(ecs.document(one))),
        _rows("cim", JSON, lambda one: _json(cim.fields(one))),
        _rows("cef", "text/plain; charset=utf-8", lambda one: cef.line(one).encode()),
        _rows("leef", "text/plain; charset=utf-8", lambda one: leef.line(one).encode()),
        _rows("otlp", JSON, _each(otlp.json)),
        _rows("otlp-protobuf", "application/x-protobuf", _each(otlp.protobuf), is_text=False),
        _STIX,
    )
}
TEXTS = tuple(one.name for one in FORMATS.values() if one.is_text)


def named(name: str) -> Format:
    """The format of a name. Raises UsageError with the nearest one."""
    if name not in FORMATS:
        raise UsageError(f"no format {name!r}", hint=nearest(name, list(FORMATS)), slug="bad-format")
    return FORMATS[name]


def read(line: bytes) -> Thing | None:
    """A JSON line as what it is: an alert, a case, something done, a finding, or a line of the decision log; None for anything else."""
    try:
        held = msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return known(held)


def known(held: Any) -> Thing | None:
    """The same of what is decoded already."""
    if not isinstance(held, dict):
        return None
    try:
        kind = held.get("format", "")
        # An encoder that leaves out defaults leaves out the format too.
        if kind == "afterguard.alert/1" or {"fingerprint", "first_seen", "last_seen"} <= held.keys():
            return msgspec.convert(held, Alert)
        if kind == "afterguard.case/1" or {"opened", "updated", "title"} <= held.keys():
            return msgspec.convert(held, Case)
        if kind in ("afterguard.deed/1", "afterguard.found/1"):
            return msgspec.convert(held, Deed | Found)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    is_line = held.get("class_uid") in (6003, 2004) and isinstance(held.get("metadata"), dict)
    return held if is_line else None
