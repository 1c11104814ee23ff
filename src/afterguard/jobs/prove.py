"""Probes through a running guard -> which cells were seen guarded, and which were not.

In: the guard's address and key. Out: `Proof`s, one a cell of surface x place x streaming x compression. It talks to the guard alone; the guard answers probes itself, so no
model is asked and nothing is paid.
"""

from __future__ import annotations

import gzip
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import SplitResult, urlsplit

import msgspec

from afterguard.errors import Unreachable
from afterguard.guard import probe, probe_reply, probe_request
from afterguard.guard.door import addresses as door_addresses
from afterguard.guard.passage import REPLY_CAP
from afterguard.guard.proxy import UNKNOWN
from afterguard.guard.stream import event_of
from afterguard.jobs import prove_ext_proc, prove_grpc, prove_icap
from afterguard.jobs.prove_icap import Got
from afterguard.wire.deltas import Deltas
from afterguard.wire.endpoint import endpoint
from afterguard.wire.frames import framer
from afterguard.wire.parts import Parts


class Door(Protocol):
    """A door on an address of its own, asked as what stands in front of it asks."""

    def ask(
        self,
        mount: str,
        upstream: str,
        cell: probe.Cell,
        body: bytes,
        headers: Mapping[str, str],
        reply: probe_reply.Canned,
    ) -> Got: ...


Way = Callable[[probe.Cell, bytes, dict[str, str]], Got]
"""A probe sent, and what came back."""
UNDECIDED = "no decision was written"
"""A gap where it was not the guard that answered."""
WAIT = 5.0
"""Seconds to wait for a decision that is made afterwards."""


class Proof(msgspec.Struct, frozen=True):
    """One cell, as it was found."""

    mount: str
    operation: str
    place: str
    streamed: bool
    encoding: str
    seen: bool
    acted: str
    """What was done about it: allow, flag, redact..."""
    would: str
    mode: str
    status: int
    at: float
    door: str = ""
    """A further door, by its name; "" for the reverse proxy."""
    gap: str = ""
    """Why it counts as a gap; "" where the mark was seen."""
    decision: str = ""
    heard: int = 0
    """Where a provider answered: the status of its reply as the guard saw it, 0 where it saw none."""


class Decided(Protocol):
    """What says what was decided about a probe."""

    key: bytes

    def decision(self, identifier: str) -> Any: ...


class Guard:
    """A running guard, asked over HTTP."""

    def __init__(self, address: str, key: bytes, headers: Mapping[str, str], through: str = "") -> None:
        self.parts = urlsplit(address)
        self.through = urlsplit(through) if through else self.parts
        """Where probes are sent: the guard itself, or what stands in front of one of its doors."""
        self.key = key
        self.headers = dict(headers)

    def send(self, path: str, cell: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """A probe's (status, headers, body). Raises Unreachable."""
        if self.through is self.parts:
            return self.show(path, cell, body, **headers)
        told = self._ask(self.through, "POST", path, cell, body, False, **headers)
        if (told[0], told[2]) != (UNKNOWN.status, UNKNOWN.body):
            return told
        # Only who is asked for the guard's token by the guard shows it: where a provider answers, it must not have it.
        return self._ask(self.through, "POST", path, cell, body, **headers)

    def show(self, path: str, cell: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """The same for a door off the path, which nothing stands in front of. Raises Unreachable."""
        return self._ask(self.parts, "POST", path, cell, body, **headers)

    def ask(self, method: str, path: str, cell: str) -> tuple[int, dict[str, str], bytes]:
        """What the guard itself says. Raises Unreachable."""
        return self._ask(self.parts, method, path, cell)

    def _ask(
        self,
        at: SplitResult,
        method: str,
        path: str,
        cell: str,
        body: bytes = b"",
        is_known: bool = True,
        /,
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        signed = probe.signature(self.key, cell, int(time.time())).decode()
        told = {
            **(self.headers if is_known else {}),
            probe.HEADER.decode(): signed,
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        connection = line(at)
        try:
            return asked(connection, method, path, body, told)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"no guard at {at.netloc}: {error}",
                hint="start it: afterguard guard --upstream openai=URL",
                slug="guard-unreachable",
            ) from None
        finally:
            connection.close()

    def mounts(self) -> tuple[list[list[str]], str]:
        """([name, kind, mode, upstream] of each mount, revision of the policy). Raises Unreachable."""
        found = self._told()
        return found["mounts"], found["policy"]

    def ports(self) -> dict[str, str]:
        """Port for gRPC -> the mount that it leads to. Raises Unreachable."""
        return {listen.rpartition(":")[2]: mount for listen, mount in self._told().get("ports", ())}

    def _told(self) -> Any:
        status, _, body = self.ask("GET", "/probe/mounts", "openai/chat/user/whole/")
        if status != 200:
            raise Unreachable(
                f"the guard at {self.parts.netloc} does not know this key",
                hint="run prove with the guard's own --folder, on its machine",
                slug="guard-unreachable",
            )
        return json.loads(body)

    def decision(self, identifier: str) -> Any:
        """What was decided about a probe, None where nothing was within WAIT."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            found = self.decided(identifier)
            if found is not None:
                return found
            time.sleep(0.05)
        return None

    def decided(self, name: str) -> Any:
        """What was decided by now about a probe, by the decision's id or the probe's nonce; None where nothing was."""
        status, _, body = self.ask("GET", f"/probe/{name}", "openai/chat/user/whole/")
        return json.loads(body) if status == 200 else None


def line(at: SplitResult) -> http.client.HTTPConnection:
    """A connection that is not yet open."""
    kind = http.client.HTTPSConnection if at.scheme == "https" else http.client.HTTPConnection
    return kind(at.hostname or "127.0.0.1", at.port, timeout=30)


def asked(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of an answer. Raises OSError, HTTPException."""
    connection.request(method, path, body or None, dict(headers))
    reply = connection.getresponse()
    return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read(REPLY_CAP)


def proofs(
    guard: Guard, progress: Callable[[int], None] = lambda _: None, doors: Sequence[tuple[str, Door]] = ()
) -> Iterator[Proof]:
    """Every cell of every mount, through the reverse proxy and then through each further door. Raises Unreachable, UsageError."""
    count = 0
    for name, kind, mode, _ in guard.mounts()[0]:
        for cell in probe.cells(kind):
            yield proved(guard, "", name, mode, cell, _straight(guard, name))
            count += 1
            progress(count)
    for door, one in doors:
        for name, kind, mode, upstream in _behind(guard, one):
            for cell in probe.cells(kind):
                yield proved(guard, door, name, mode, cell, _through(guard, one, name, upstream))
                count += 1
                progress(count)
    for name, cell in _aside(guard):
        yield proved(guard, "", name, "observe", cell, _straight(guard, name, guard.show))
        count += 1
        progress(count)


def _behind(guard: Guard, door: Door) -> list[list[str]]:
    """The mounts behind a further door: those that lead to a provider, and of a port for gRPC the one it leads to. Raises Unreachable, UsageError."""
    rows = [row for row in guard.mounts()[0] if row[3]]
    return [row for row in rows if row[0] == door.mount(guard.ports())] if isinstance(door, prove_grpc.Door) else rows


def _aside(guard: Guard) -> Iterator[tuple[str, probe.Cell]]:
    """Cells of the doors off the path."""
    for name, kind, _, upstream in guard.mounts()[0]:
        if upstream:
            yield from (("mirror/" + name, cell) for cell in probe.mirrored(kind))
    yield from (("otlp", cell) for cell in probe.cells("otlp"))


def doors(rows: list[str], token: str, is_tls: bool = False) -> list[tuple[str, Door]]:
    """The doors that can be proven, each with its name. Raises UsageError."""
    made: dict[str, Callable[[str], Door]] = {
        "icap": lambda address: prove_icap.Door(address, token),
        "ext_proc": lambda address: prove_ext_proc.Door(address, token, is_tls),
        "grpc": lambda address: prove_grpc.Door(address, token, is_tls),
    }
    return [(name, made[name](address)) for name, address in door_addresses(rows, made)]


def _straight(guard: Guard, mount: str, send: Callable[..., tuple[int, dict[str, str], bytes]] | None = None) -> Way:
    """The way through the reverse proxy."""
    send = send or guard.send

    def ask(cell: probe.Cell, body: bytes, headers: dict[str, str]) -> Got:
        status, found, reply = send(f"/{mount}{probe.path(cell)}", probe.named(cell), body, **headers)
        return Got(status, found, reply, found.get("x-afterguard-decision", ""))

    return ask


def _through(guard: Guard, door: Door, mount: str, upstream: str) -> Way:
    """The way through a door on an address of its own."""

    def ask(cell: probe.Cell, body: bytes, headers: dict[str, str]) -> Got:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        told[probe.HEADER.decode()] = probe.signature(guard.key, probe.named(cell), int(time.time())).decode()
        return door.ask(mount, upstream, cell, body, told, probe_reply.reply(cell, guard.key))

    return ask


def proved(guard: Decided, door: str, mount: str, mode: str, cell: probe.Cell, way: Way) -> Proof:
    """One probe, sent a way, and what came of it."""
    status, found, reply, identifier = way(cell, *written(cell, guard.key, door or "proxy", mount))
    made = guard.decision(identifier) if identifier else None
    acted = made.get("action", "allow") if made else "allow"
    leaked = (
        mode == "enforce"
        and acted not in ("allow", "flag")
        and cell.operation != "predict"
        and probe.mark(guard.key, cell.place) in _said(cell, found, reply)
    )
    gap = missed(cell, made) if made else UNDECIDED
    seen = not gap
    if seen and leaked:
        gap = "acted on, but the mark came through"
    return Proof(
        mount, cell.operation, cell.place, cell.streamed, cell.encoding, seen, acted, made.get("would", "allow") if made else "allow",
        mode, status, time.time(), door, gap, identifier,
    )  # fmt: skip


def written(cell: probe.Cell, key: bytes, way: str, mount: str) -> tuple[bytes, dict[str, str]]:
    """(body, headers) of a probe; `way` and the moment tell it from others."""
    body = probe_request.request(cell, key, f"-{way}-{mount.replace('/', '-')}-{int(time.time() * 1000)}")
    headers = {
        "content_type": "application/json",
        "authorization": "Bearer probe",
        "accept": "application/json, text/event-stream",
    }
    if cell.encoding == "gzip" and (cell.place in (*probe.IN_REQUEST, "features") or cell.kind == "otlp"):
        body = gzip.compress(body, mtime=0)
        headers["content_encoding"] = "gzip"
    return body, headers


def missed(cell: probe.Cell, made: Mapping[str, Any]) -> str:
    """Why the mark was not seen by who made this decision; "" where it was."""
    if probe.KINDS[cell.place] in [hit["kind"] for hit in made.get("hits", ())]:
        return ""
    reasons = ", ".join(sorted({row["reason"] for row in made.get("unjudged", ())}))
    return f"the mark was not seen ({reasons})" if reasons else "the mark was not seen"


def _said(cell: probe.Cell, headers: Mapping[str, str], reply: bytes) -> str:
    """What a client would read, its pieces joined."""
    plain = reply.decode("utf-8", "replace")
    if not cell.streamed:
        return plain
    spot = endpoint(cell.kind, "POST", probe.path(cell))
    frames = framer(spot.dialect, headers.get("content-type", ""))
    grown = Deltas()
    for one in (*frames.feed(reply), *frames.close()):
        grown.feed(event_of(one))
    parts = Parts()
    grown.into(parts)
    return "\n".join((*(text.value for text in parts.texts), *(call.arguments for call in parts.calls), plain))


def done(one: Proof) -> str:
    """What was done about a mark that was seen; what would have been, where the policy is not enforced."""
    if one.acted == "flag" and one.would not in ("allow", "flag"):
        return f"would {one.would}"
    return one.acted if one.acted != "allow" else "seen"


def table(rows: list[Proof], policy: str, is_observed: bool = False) -> str:
    """The proofs as a table: a row for each surface and place, a column for each way of sending it."""
    columns = (("whole", False, ""), ("whole+gzip", False, "gzip"), ("stream", True, ""), ("stream+gzip", True, "gzip"))
    names = dict.fromkeys((row.door, row.mount, row.operation, row.place) for row in rows)
    width = max((len(f"{door}/{mount} {operation}") for door, mount, operation, _ in names), default=7)
    lines = [f"{'surface':<{width}} {'place':<12} " + " ".join(f"{name:<14}" for name, _, _ in columns)]
    by = {(row.door, row.mount, row.operation, row.place, row.streamed, row.encoding): row for row in rows}
    for door, mount, operation, place in names:
        cells = []
        for _, streamed, encoding in columns:
            one = by.get((door, mount, operation, place, streamed, encoding))
            cells.append("-" if one is None else "GAP" if one.gap else done(one))
        lines.append(
            f"{door + '/' + mount + ' ' + operation:<{width}} {place:<12} " + " ".join(f"{cell:<14}" for cell in cells)
        )
    gaps = [row for row in rows if row.gap]
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(max((row.at for row in rows), default=0.0)))
    seen = f"{len(rows) - len(gaps)} of {len(rows)} cells seen{'' if is_observed else ' guarded'}"
    lines.append(f"\n{seen} at {moment} UTC, policy {policy}")
    lines += [
        f"GAP {row.door}/{row.mount} {row.operation} {row.place}{' stream' if row.streamed else ''}{' ' + row.encoding if row.encoding else ''}: {row.gap}"
        for row in gaps
    ]
    return "\n".join(lines) + "\n"
