"""One canary straight to a destination, past the spool: whether its settings are right, before anything depends on it.

In: a sink's settings, seconds. Out: `Tried`. It changes no spool and can run beside the process that delivers.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from afterguard.errors import AfterguardError
from afterguard.export.canary import canary, found
from afterguard.export.encoding import encoder
from afterguard.export.event import Unencodable, item, spooled
from afterguard.export.sink import Settings, Sink, Unavailable, Unfit
from afterguard.export.sinks import opened


class Tried(NamedTuple):
    """What came of it."""

    sink: str
    outcome: str
    """`arrived` (read back), `accepted` (nobody can be asked whether it arrived), or `failed`."""
    seconds: float
    why: str = ""


def tried(settings: Settings, within: float) -> Tried:
    """Send one and look for it."""
    began = time.monotonic()
    try:
        sink = opened(settings)
        try:
            outcome, why = _outcome(settings, sink, began + within)
        finally:
            sink.close()
    except (Unavailable, Unfit, Unencodable, AfterguardError, OSError) as error:
        outcome, why = "failed", str(error)
    except Exception as error:  # a client library's own
        outcome, why = "failed", f"{type(error).__name__}: {error}"
    return Tried(settings.name, outcome, time.monotonic() - began, why[:300])


def _outcome(settings: Settings, sink: Sink, until: float) -> tuple[str, str]:
    id, body = spooled(canary(settings.name, time.time()))
    one, _ = item(id, time.time(), "alert", body, encoder(settings.encode), sink.limits)
    sent = sink.send([one])
    if sent.poison or sent.again:
        return "failed", next(iter(sent.poison.values()), "it takes nothing now")
    safe = {0} if not sent.receipt else set()
    while sent.receipt and sent.receipt not in safe and time.monotonic() < until:
        safe |= sink.confirmed()
        time.sleep(0.05)
    if sent.receipt and sent.receipt not in safe:
        return "failed", "it took the canary and did not confirm it"
    while (is_there := found(settings.canary, sink, id)) is False and time.monotonic() < until:
        time.sleep(0.1)
    if is_there is False:
        return "failed", "it said yes, and the canary is not there"
    return ("arrived" if is_there else "accepted"), ""
