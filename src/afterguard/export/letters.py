"""Dead letters: what a destination will never take as it is, kept with the reason, and sent again when a person says so.

In: the JSON of an event and why it died; a request to redrive. Out: the letter's JSON; the events in their lanes again. A letter stays until its event is in a lane again.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from afterguard.errors import UsageError
from afterguard.export.sink import Settings, opened_spool
from afterguard.export.spool.bound import Lane, Spool

REQUEST = "redrive"
"""The file in a sink's spool that asks for it; whoever holds the spool's lock acts on it."""


class Letter(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event that was not delivered."""

    lane: Lane
    why: str
    at: float
    """When it died; seconds since the epoch, UTC."""
    event: msgspec.Raw
    format: str = "afterguard.dead-letter/1"


def buried(lane: str, body: bytes, why: str) -> bytes:
    """The letter of an event."""
    return msgspec.json.encode(Letter(lane, why[:300], time.time(), msgspec.Raw(body)))  # type: ignore[arg-type]


def is_asked(spool: Spool) -> bool:
    """Whether somebody asked to send the dead letters again."""
    return (spool.folder / REQUEST).exists()


def ask(folder: Path, settings: Settings) -> int | None:
    """Ask to send a sink's dead letters again. Where no process delivers, it is done here: how many; None where it was asked of one. Raises UsageError."""
    (folder / settings.name / REQUEST).touch(mode=0o600)
    try:
        spool = opened_spool(folder, settings)
    except UsageError as error:
        if error.slug == "spool-in-use":
            return None
        raise
    try:
        return redrive(spool)
    finally:
        spool.close()


def redrive(spool: Spool) -> int:
    """Put the dead letters into their lanes again; how many. Stops where there is no room, and goes on at the next call; done, the request is taken away."""
    count = 0
    while letters := spool.exhume(100):
        for one in letters:
            letter = msgspec.json.decode(one.body, type=Letter)
            if spool.offer(letter.lane, one.id, bytes(letter.event)) is None:
                spool.lay_back("dead")
                return count
            spool.acknowledge("dead", one.seq, 0)
            spool.counts.add("redriven")
            count += 1
    (spool.folder / REQUEST).unlink(missing_ok=True)
    return count
