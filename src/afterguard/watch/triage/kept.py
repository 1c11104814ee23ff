"""Triage -> bytes, and back, with a version.

In: a Triage, or bytes. Out: bytes (msgpack, packed by zstd), or the Triage filled. A state of another version is not taken over, and says so.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

import msgspec
import zstandard

from afterguard.errors import AfterguardError
from afterguard.watch.triage.gather import FORMAT, Counts, Triage
from afterguard.watch.triage.growing import Growing
from afterguard.watch.triage.incidents import Incidents, Link
from afterguard.watch.triage.surprise import Rate, Row

LARGEST = 1 << 29
Named = list[tuple[tuple[str, str, str], Row]]


class State(msgspec.Struct):
    """What is written down."""

    format: str
    requests: dict[str, Rate]
    kinds: list[tuple[tuple[str, str], Rate]]
    actors: Named
    causes: Named
    open: list[Growing]
    links: list[tuple[str, Link]]
    counts: Counts
    day: int
    today: dict[str, int]
    places: dict[str, Any] = {}
    """How far the logs were read: the job's own."""


def state_of(triage: Triage, places: dict[str, Any]) -> bytes:
    """Everything that is known, and how far the logs were read."""
    state = State(
        FORMAT, triage.rates.requests, list(triage.rates.kinds.items()), list(triage.actors.rows.items()), list(triage.causes.rows.items()), list(triage.open.values()),
        list(triage.incidents.links.items()), triage.counts, triage.day, dict(triage.today), places,
    )  # fmt: skip
    return zstandard.ZstdCompressor(level=3).compress(msgspec.msgpack.encode(state))


def restore(triage: Triage, data: bytes) -> dict[str, Any]:
    """Fill a new Triage; how far the logs were read. Raises AfterguardError for what is no state of this version."""
    try:
        state = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data, max_output_size=LARGEST), type=State)  # fmt: skip
    except (zstandard.ZstdError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise AfterguardError(f"the kept state of triage cannot be read: {error}", hint="move it away; triage then learns anew, and alerts that are open get new ids", slug="bad-state") from None  # fmt: skip
    if state.format != FORMAT:
        raise AfterguardError(f"the kept state of triage is {state.format[:60]}, not {FORMAT}", hint="move it away; triage then learns anew", slug="bad-state")  # fmt: skip
    triage.rates.requests, triage.rates.kinds = state.requests, dict(state.kinds)
    triage.actors.rows, triage.causes.rows = OrderedDict(state.actors), OrderedDict(state.causes)
    triage.open = OrderedDict((one.fingerprint, one) for one in state.open)
    triage.incidents.links = OrderedDict(state.links)
    triage.counts, triage.day, triage.today = state.counts, state.day, Counter(state.today)
    return state.places


def usual(triage: Triage, data: bytes) -> None:
    """Fill a new Triage with what is usual and nothing that is open: a drill judges as the watch would, and joins none of its alerts. Raises AfterguardError."""
    restore(triage, data)
    triage.open, triage.incidents, triage.counts, triage.today = OrderedDict(), Incidents(), Counts(), Counter()
