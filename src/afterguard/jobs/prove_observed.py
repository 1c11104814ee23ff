"""Probes through what only shows the guard what passes: an Envoy in observability mode, an Envoy that taps, a mirror.

In: the guard, the URL of what stands there. Out: `Proof`s, one a cell of what stands in requests. The provider is asked, because nobody else can answer: with a model and a key that do not exist, and without the guard's token.

Theory of operation. Nothing says on the way back which decision was made, so each probe carries a nonce under its signature and the guard is asked for it. All of a mount go over one connection, one after the other, and are then waited
for together. An Envoy that taps gathers 16 KiB of a connection to the provider before it writes them, and holds the end of that back until it writes again; so where something is still missing after PUSHED seconds, the first probe goes
twice more, with that many blanks behind it, over the same connection. If Envoy used others meanwhile, the rest comes when they end, a minute later as `guard envoy-config` prints it.
"""

from __future__ import annotations

import http.client
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from afterguard.errors import Unreachable
from afterguard.guard import probe
from afterguard.jobs.prove import Guard, Proof, asked, line, missed, written

DOOR = "observed"
"""What these are called among the doors."""
PUSHED = 2.0
PUSHES, PUSH = 2, 20 << 10
"""Requests, and bytes of each, that make Envoy write what it holds of a connection."""
PAUSE = 0.25
"""Seconds between two questions for what is missing."""
CHECK = (
    "it is this guard that is shown it (--listen, --folder), and no other one behind the same Envoy",
    "the answers were the provider's: a 404 or 503 may be Envoy's own, for a path it does not know or a provider it does not reach",
    "the route of that mount has the filter, or its cluster the tap: afterguard guard envoy-config --observe",
    "the guard reads the folder into which is tapped (--taps), or has the door ext_proc; afterguard_collected_total and afterguard_failures_total of its /metrics say what came",
    "connections to the provider end sooner than --wait (idle_timeout of a tapped cluster)",
)
"""What to look at where nothing was seen."""


class Mount(NamedTuple):
    """Where probes go."""

    name: str
    kind: str
    upstream: str

    @property
    def cells(self) -> list[probe.Cell]:
        return list(probe.shown(self.kind))


class Sent(NamedTuple):
    """A probe that is on its way."""

    mount: Mount
    cell: probe.Cell
    status: int
    decision: str
    """Of whom answered it, where that was the guard."""
    at: float


class Way:
    """One connection to what stands in front, for the probes of one mount."""

    def __init__(self, guard: Guard, mount: Mount) -> None:
        self.guard, self.mount = guard, mount
        self.line = line(guard.through)

    def send(self, cell: probe.Cell, blanks: int = 0) -> Sent:
        """Send a probe with a nonce of its own, over a new connection where the old one has ended meanwhile. Raises Unreachable."""
        is_used = self.line.sock is not None
        try:
            return self._sent(cell, blanks)
        except (OSError, http.client.HTTPException) as error:
            self.line.close()
            if is_used:
                return self.send(cell, blanks)
            raise Unreachable(
                f"no answer at {self.guard.through.netloc}: {error}",
                hint="--through takes the URL that applications talk to",
                slug="guard-unreachable",
            ) from None

    def _sent(self, cell: probe.Cell, blanks: int) -> Sent:
        cell = cell._replace(nonce=secrets.token_hex(8))
        body, told = written(cell, self.guard.key, DOOR, self.mount.name)
        moment = time.time()
        headers = {name.replace("_", "-"): value for name, value in told.items()}
        headers[probe.HEADER.decode()] = probe.signature(self.guard.key, probe.named(cell), int(moment)).decode()
        target = f"/{self.mount.name}{probe.path(cell)}"
        status, said, _ = asked(self.line, "POST", target, body + b" " * blanks, headers)
        return Sent(self.mount, cell, status, said.get("x-afterguard-decision", ""), moment)


def mounts(guard: Guard) -> list[Mount]:
    """Those that lead to a provider. Raises Unreachable."""
    return [Mount(name, kind, upstream) for name, kind, _, upstream in guard.mounts()[0] if upstream]


def proofs(
    guard: Guard,
    found: list[Mount],
    patience: float,
    progress: Callable[[int, int], None] = lambda *_: None,
    waits: Callable[[int, int], None] = lambda *_: None,
) -> Iterator[Proof]:
    """Every cell of these mounts, waited for so many seconds; `progress` is told how many of how many were seen, `waits` once, where some have to be waited for."""
    ways = {mount: Way(guard, mount) for mount in found if mount.cells}
    try:
        rows = [way.send(cell) for mount, way in ways.items() for cell in mount.cells]
        told: dict[str, Any] = {}
        for until in (PUSHED, patience):
            _hear(guard, rows, told, until, progress)
            missing = [one for one in rows if one.cell.nonce not in told]
            if until == PUSHED and missing:
                waits(len(told), len(rows))
                for mount in dict.fromkeys(one.mount for one in missing):
                    for _ in range(PUSHES):
                        ways[mount].send(mount.cells[0], PUSH)
    finally:
        for way in ways.values():
            way.line.close()
    yield from (_proof(one, told.get(one.cell.nonce), patience) for one in rows)


def _hear(
    guard: Guard, rows: list[Sent], told: dict[str, Any], seconds: float, progress: Callable[[int, int], None]
) -> None:
    """Ask for what is missing until it is there, or so long after the last of them."""
    last = rows[-1].at if rows else 0.0
    while True:
        for one in rows:
            if one.cell.nonce not in told and (found := guard.decided(one.cell.nonce)) is not None:
                told[one.cell.nonce] = found
            progress(len(told), len(rows))
        if len(told) == len(rows) or time.time() > last + seconds:
            return
        time.sleep(PAUSE)


def _proof(one: Sent, made: Any, patience: float) -> Proof:
    cell, mount = one.cell, one.mount.name
    if made is None:
        gap = f"the guard saw nothing of it within {patience:g} seconds; the answer was {one.status}"
        return Proof(
            mount, cell.operation, cell.place, cell.streamed, cell.encoding, False, "allow", "allow",
            "observe", one.status, one.at, DOOR, gap,
        )  # fmt: skip
    gap = missed(cell, made)
    if made["route"] != mount:
        gap = f"it was judged as one of the mount {made['route']}"
    is_own = one.decision == made["id"]
    return Proof(
        mount, cell.operation, cell.place, cell.streamed, cell.encoding, not gap, made["action"], made["would"],
        made["mode"], one.status, one.at, "" if is_own else DOOR, gap, made["id"], made.get("status", 0),
    )  # fmt: skip


def replies(rows: list[Proof]) -> str:
    """What is proven of replies."""
    given = [row for row in rows if row.door == DOOR]
    heard = sum(1 for row in given if row.heard == row.status)
    codes = ", ".join(map(str, sorted({row.status for row in given}))) or "none"
    own = len(rows) - len(given)
    out = f"{len(given)} probes went on to the provider, and nothing was held off; the guard saw {heard} of the answers (status {codes}), and nothing is proven of marks in answers\n"
    if own:
        out += (
            f"{own} were answered by the guard itself, which is waited for there: prove that way without --observed\n"
        )
    return out


def checks(rows: list[Proof]) -> str:
    """What to look at where something was not seen at all; "" where nothing is missing."""
    missing = sum(1 for row in rows if not row.decision)
    if not missing:
        return ""
    return f"{missing} of {len(rows)} probes did not come to this guard in time. See whether\n" + "".join(
        f"  - {one}\n" for one in CHECK
    )
