"""What the watch knows -> bytes, and back, with a version.

In: a Watch, or bytes. Out: bytes (msgpack, packed by zstd), or the Watch filled. As large as the tables and the memory of pairs: bounded as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import zstandard

from afterguard.errors import AfterguardError
from afterguard.watch import replies
from afterguard.watch.event import Event
from afterguard.watch.seen import Seen
from afterguard.watch.site import Site
from afterguard.watch.table import Table

if TYPE_CHECKING:
    from afterguard.watch.live import Watch

FORMAT = "afterguard.watch/6"
LARGEST = 1 << 30
"""Bytes after unpacking."""
ROWS = (
    "sums",
    "usual",
    "today",
    "peak",
    "peak_today",
    "last",
    "first",
    "rolled",
    "days",
    "hour",
    "gap",
    "at",
    "place",
    "placed",
    "owed",
)
MEASURED = (
    "jump",
    "wild",
    "company",
    "whole",
    "everybody",
    "middle",
    "middles",
    "record",
    "looked",
    "newcomer",
    "established",
)


def state_of(watch: Watch) -> bytes:
    """Everything that is known."""
    state = {
        "format": FORMAT,
        "minute": watch.minute,
        "open": watch.open,
        "waiting": watch.waiting,
        "counts": [watch.late, watch.ahead, watch.refused],
        "shift": watch.shift,
        "seen": _pairs(watch.seen),
        "read": _pairs(watch.read),
        "sites": {app: _site(site) for app, site in watch.sites.items()},
    }
    return zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(state))


def fill(watch: Watch, data: bytes) -> None:
    """Put what was kept into a fresh Watch. Other data raise AfterguardError."""
    try:
        raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=LARGEST)
        _fill_watch(watch, msgspec.msgpack.decode(raw))
    except AfterguardError:
        raise
    except Exception as error:  # whatever bytes that are no state lead to
        raise _unreadable(str(error)) from error


def _unreadable(why: str) -> AfterguardError:
    return AfterguardError(
        f"the kept state of the watch cannot be read: {why[:200]}",
        hint="remove it; the watch then learns from the start, which takes three days",
        slug="watch-state-unreadable",
    )


def _fill_watch(watch: Watch, state: Any) -> None:
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise _unreadable(
            f"its format is {state.get('format') if isinstance(state, dict) else 'unknown'}, not {FORMAT}"
        )
    _fill_pairs(watch.seen, state["seen"])
    _fill_pairs(watch.read, state["read"])
    watch.minute = state["minute"]
    watch.open = msgspec.convert(state["open"], list[Event])
    watch.waiting = msgspec.convert(state["waiting"], dict[str, list[Event]])
    watch.late, watch.ahead, watch.refused = state["counts"]
    watch.shift = state["shift"]
    for app, rows in state["sites"].items():
        watch.sites[app] = site = Site(app, watch.settings, watch.seen, watch.read)
        _fill(site, rows)


def _pairs(seen: Seen) -> list[Any]:
    return [seen.bits, seen.young.tobytes(), seen.old.tobytes(), seen.since, seen.added]


def _fill_pairs(seen: Seen, kept: list[Any]) -> None:
    seen.bits, young, old, seen.since, seen.added = kept
    seen.young, seen.old = (np.frombuffer(part, dtype=np.uint8).copy() for part in (young, old))


def _site(site: Site) -> dict[str, Any]:
    season = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(site.season).items()}
    return {
        "begun": [site.begun, site.events, site.last],
        "tables": {scope: _table(table) for scope, table in site.tables.items()},
        "season": season,
        "topics": [site.topics.first, site.topics.odds.tolist(), site.topics.line, site.topics.fits, site.topics.moved],
        "heavy": [site.heavy.lines, site.heavy.sample, site.heavy.moved],
        "replies": [[list(key), replies.kept(stream)] for key, stream in site.replies.streams.items()],
        "budgets": [[list(key), row] for key, row in site.budgets.rows.items()],
        "told": [[list(key), row] for key, row in site.cooling.told.items()],
        "causes": [[list(key), until] for key, until in site.cooling.causes.items()],
        "rises": [[list(key), times] for key, times in site.rises.items()],
        "storms": site.storms.kept(),
        "rang": site.rang,
        "spoken": [list(one) for one in site.releases.spoken],
        "released": site.releases.last,
        "acts": site.acts,
    }


def _table(table: Table) -> dict[str, Any]:
    count = len(table.names)
    return {
        "measures": table.columns,
        "names": table.names,
        "counts": [table.overlooked, table.evicted],
        "loose": table.loose,
        "forgotten": [table.forgotten.cells.tobytes(), table.forgotten.faded, table.forgotten.is_full],
        **{name: getattr(table, name)[:count].tobytes() for name in ROWS},
        **{name: getattr(table, name).tobytes() for name in MEASURED},
    }


def _fill(site: Site, kept: dict[str, Any]) -> None:
    site.begun, site.events, site.last = kept["begun"]
    for scope, table in kept["tables"].items():
        if scope in site.tables:
            _fill_table(site.tables[scope], table)
    for name, value in kept["season"].items():
        setattr(site.season, name, np.array(value) if isinstance(value, list) else value)
    site.topics.first, odds, site.topics.line, site.topics.fits, site.topics.moved = kept["topics"]
    site.topics.odds = np.array(odds).reshape(-1, 64)
    site.heavy.lines, site.heavy.sample, site.heavy.moved = kept["heavy"]
    site.replies.streams.update({(k[0], k[1], k[2]): replies.restored(row) for k, row in kept["replies"]})
    site.budgets.rows.update({(k[0], k[1]): row for k, row in kept["budgets"] if k[0] < len(site.budgets.budgets)})
    site.cooling.told.update({(k[0], k[1], k[2]): row for k, row in kept["told"]})
    site.cooling.causes.update({(k[0], k[1], k[2]): until for k, until in kept["causes"]})
    site.rises.update({(k[0], k[1], k[2]): (times[0], times[1]) for k, times in kept["rises"]})
    site.storms.take(kept["storms"])
    site.rang, site.releases.last, site.acts = kept["rang"], kept["released"], kept["acts"]
    site.releases.spoken = {(one[0], one[1], one[2]): None for one in kept["spoken"]}


def _fill_table(table: Table, kept: dict[str, Any]) -> None:
    """Where the rules changed meanwhile, the scope learns anew."""
    names = kept["names"][: table.size]
    if kept["measures"] != table.columns or len(names) != len(kept["names"]):
        return
    table.names, table.rows = names, {name: row for row, name in enumerate(names)}
    table.overlooked, table.evicted = kept["counts"]
    table.loose = kept["loose"]
    cells, table.forgotten.faded, table.forgotten.is_full = kept["forgotten"]
    table.forgotten.cells = np.frombuffer(cells, dtype=np.float32).reshape(2, -1).copy()
    have, table.names = table.names, []
    table.make_room(max(len(have), 1))
    table.names = have
    for name in ROWS:
        array = getattr(table, name)
        array[: len(have)] = np.frombuffer(kept[name], dtype=array.dtype).reshape(array[: len(have)].shape)
    for name in MEASURED:
        array = getattr(table, name)
        setattr(table, name, np.frombuffer(kept[name], dtype=array.dtype).reshape(array.shape).copy())
