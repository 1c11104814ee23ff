"""Which format a sink is sent: by name, as `encode` in the sinks file says it.

In: a name. Out: a function from event to bytes. The formats themselves have files of their own.
"""

from __future__ import annotations

from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.export.event import Encode, as_json

ENCODERS: dict[str, Encode] = {"json": as_json}


def encoder(name: str) -> Encode:
    """The encoder. Raises UsageError for a format that there is not."""
    if name not in ENCODERS:
        raise UsageError(
            f"there is no format {name!r} for a sink", hint=nearest(name, sorted(ENCODERS)), slug="bad-sinks"
        )
    return ENCODERS[name]
