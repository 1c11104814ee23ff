"""Which format a sink is sent: by name, as `encode` in the sinks file says it.

In: a name: `json`, or one of formats.py whose events are lines of text. Out: what turns the JSON of an event into what is sent.
"""

from __future__ import annotations

from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.export.event import Encode, as_json, in_format
from afterguard.export.formats import TEXTS, named

PLAIN = "json"


def encoder(name: str) -> Encode:
    """The encoder. Raises UsageError for a format that there is not."""
    if name == PLAIN:
        return as_json
    if name not in TEXTS:
        hint = nearest(name, [PLAIN, *TEXTS])
        raise UsageError(f"there is no format {name!r} for a sink", hint=hint, slug="bad-sinks")
    return in_format(named(name))
