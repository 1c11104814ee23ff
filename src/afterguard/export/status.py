"""What a sink's spool says about itself, for a person and for whoever feeds it.

In: a spool, alone or with its worker. Out: `Status`, and the file `status.json` in the spool's folder, which `afterguard export status` reads while another process delivers.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from afterguard.errors import UsageError
from afterguard.export.deliver import BOUNDS
from afterguard.export.inbox import take_in
from afterguard.export.sink import Settings, opened_spool
from afterguard.export.spool.bound import LANES, LOGS, Spool

FILE = "status.json"


class LaneStatus(msgspec.Struct, frozen=True):
    """One lane. put = delivered + shed + missing + poison + backlog, but for what was sent twice after a crash."""

    put: int
    delivered: int
    backlog: int
    """Not settled yet."""
    shed: int
    """Dropped for want of room."""
    missing: int
    """Damaged or gone on disk."""
    poison: int
    """Became dead letters."""
    refused: int
    """Not taken: their producer got an error."""


class Status(msgspec.Struct, frozen=True):
    """One sink at one moment."""

    sink: str
    kind: str
    at: float
    """Seconds since the epoch, UTC."""
    state: str
    """`up`, `failing`, `open` (the breaker), or `stopped`."""
    why: str
    """What went wrong last, while it does."""
    lag: float
    """Age in seconds of the oldest event that is not safe at the destination."""
    bytes: int
    """On disk."""
    lanes: dict[str, LaneStatus]
    dead: int
    """Dead letters that wait for a person."""
    dead_shed: int
    counts: dict[str, int]
    """torn, trimmed, retries, failures, redriven; canaries sent, seen, missed."""
    canary: str
    """`none`, `seen in N s`, `accepted in N s` (nobody can be asked whether it arrived), `not seen yet`."""
    times: dict[str, int]
    """Upper bound in seconds -> batches whose oldest event took at most that long and more than the bound before."""
    format: str = "afterguard.sink-status/1"


def snapshot(line: Any) -> Status:
    """The status of a sink that runs here."""
    worker, watched = line.worker, line.watched
    canary = "none"
    if watched is not None:
        word = "accepted" if watched.is_blind else "seen"
        canary = "not seen yet" if watched.last < 0 else f"{word} in {watched.last:.3f} s"
    times = {str(bound): count for bound, count in zip((*BOUNDS, "more"), worker.times, strict=True)}
    return of(line.spool, line.settings.name, str(line.settings.__struct_config__.tag), worker.retry.state, worker.why or line.sync_trouble, worker.lag, canary, times)  # fmt: skip


def of(
    spool: Spool, name: str, kind: str, state: str, why: str, lag: float, canary: str, times: dict[str, int]
) -> Status:
    """A status of what the spool counts and what its worker knows."""
    counts = spool.counts
    lanes = {str(lane): _lane(spool, lane) for lane in LANES}
    once = {name: number for name, number in counts.all().items() if "." not in name and name != "told"}
    return Status(name, kind, time.time(), state, why, round(lag, 3), spool.size(), lanes, spool.backlog("dead"), counts["dead.shed"], once, canary, times)  # fmt: skip


def _lane(spool: Spool, lane: str) -> LaneStatus:
    def count(what: str) -> int:
        return spool.counts[f"{lane}.{what}"]

    put = max(0, count("next") - 1)
    return LaneStatus(put, count("delivered"), spool.backlog(lane), count("shed"), count("missing"), count("poison"), count("refused"))  # fmt: skip


def lost(spool: Spool) -> int:
    """Events that were not and will not be delivered, all counted."""
    return sum(spool.counts[f"{log}.{what}"] for log in LOGS for what in ("shed", "missing", "refused"))


def write(folder: Path, status: Status) -> None:
    """Replace the status file whole."""
    part = folder / (FILE + ".part")
    part.write_bytes(msgspec.json.encode(status))
    part.replace(folder / FILE)


def at_rest(folder: Path, settings: Settings) -> Status | None:
    """A sink's status from outside: what the delivering process wrote last, or, where none delivers, what its spool says now. None where it has no spool."""
    if not (folder / settings.name).is_dir():
        return None
    written = read(folder / settings.name)
    try:
        spool = opened_spool(folder, settings)
    except UsageError as error:
        if error.slug == "spool-in-use" and written is not None:
            return written
        raise
    try:
        take_in(spool)
        waiting = [spool.age(lane, one) for lane in LANES if (one := spool.peek(lane)) is not None]
        why, canary, times = (written.why, written.canary, written.times) if written else ("", "none", {})
        return of(
            spool,
            settings.name,
            str(settings.__struct_config__.tag),
            "stopped",
            why,
            max(waiting, default=0.0),
            canary,
            times,
        )
    finally:
        spool.close()


def read(folder: Path) -> Status | None:
    """The status that the delivering process wrote last."""
    try:
        return msgspec.json.decode((folder / FILE).read_bytes(), type=Status)
    except (OSError, msgspec.MsgspecError):
        return None
