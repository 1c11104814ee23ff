"""Which format a sink is sent: by name, as `encode` in the sinks file says it.

In: a name. Out: a function from event to bytes. What has no place in the SOC's formats (a canary, a count) leaves as JSON whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.export.event import Encode, as_json
from afterguard.export.formats import FORMATS, Format
from afterguard.model import Alert, Case

LINES = (6003, 2004)
"""Classes of the decision log."""


def _of(one: Format) -> Encode:
    def encode(event: Any) -> bytes:
        is_line = isinstance(event, Mapping) and event.get("class_uid") in LINES
        return one.encode(event) if is_line or isinstance(event, Alert | Case) else as_json(event)

    return encode


ENCODERS: dict[str, Encode] = {"json": as_json} | {name: _of(one) for name, one in FORMATS.items() if one.is_text}


def encoder(name: str) -> Encode:
    """The encoder. Raises UsageError for a format that there is not."""
    if name not in ENCODERS:
        raise UsageError(
            f"there is no format {name!r} for a sink", hint=nearest(name, sorted(ENCODERS)), slug="bad-sinks"
        )
    return ENCODERS[name]
