"""Two runs compared: new, fixed, unchanged, and what nobody can say because its place was not read this time.

In: both runs' assets, findings and incidents. Out: Change. Findings are compared by fingerprint, assets by kind and name, incidents
by kind and cause. Reads nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from afterguard.model import Asset, Change, Changed, Finding, Incident
from afterguard.store import rows


class Side(msgspec.Struct, frozen=True):
    """One run's results. Log times in seconds since the epoch."""

    id: str
    started: float
    root: str
    parts: tuple[str, ...]
    assets: tuple[Asset, ...]
    findings: tuple[Finding, ...]
    incidents: tuple[Incident, ...]
    log_first: float | None = None
    log_last: float | None = None
    suppressed: frozenset[str] = frozenset()


class _Sums:
    def __init__(self) -> None:
        self.new: list[Changed] = []
        self.fixed: list[Changed] = []
        self.unread: list[Changed] = []
        self.unchanged: Counter[str] = Counter()

    def add(
        self, what: str, now: Mapping[str, Changed], then: Mapping[str, Changed], seen: Callable[[str], bool]
    ) -> None:
        """Sort both sides' things into the four heaps; `seen` tells whether a vanished one would have been found."""
        self.new += [one for key, one in now.items() if key not in then]
        self.unchanged[what] += sum(1 for key in now if key in then)
        for key, one in then.items():
            if key not in now:
                (self.fixed if seen(key) else self.unread).append(one)


def compare(
    now: Side, before: Mapping[str, Side], unread: frozenset[str], examined: Callable[[str], bool] | None
) -> Change:
    """This run against the run before, per part. Parts without a run before are left out; with none at all nothing changed."""
    if not before:
        return Change()
    sums = _Sums()
    reads = _reader(unread, examined)
    if "finding" in before:
        old = before["finding"]
        then = _findings(old)
        paths = {_print(one): one.path for one in old.findings}
        kept = {key: one for key, one in then.items() if key not in now.suppressed}
        sums.add("finding", _findings(now), kept, lambda key: _same_root(now, old) and reads(paths[key]))
    if "asset" in before:
        old_side = before["asset"]
        places = {_asset_key(one): {place.path for place in one.evidence} for one in old_side.assets}
        sums.add(
            "asset",
            _assets(now),
            _assets(old_side),
            lambda key: _same_root(now, old_side) and all(map(reads, places[key])),
        )
    if "incident" in before:
        last = {_incident_key(one): one.last_seen for one in before["incident"].incidents}
        sums.add("incident", _incidents(now), _incidents(before["incident"]), lambda key: _covers(now, last[key]))
    latest = max(before.values(), key=lambda side: (side.started, side.id))
    return Change(
        new=_ordered(sums.new),
        fixed=_ordered(sums.fixed),
        not_examined=_ordered(sums.unread),
        unchanged=dict(sorted(sums.unchanged.items())),
        previous_run=latest.id,
        previous_time=latest.started,
    )


def _ordered(heap: list[Changed]) -> tuple[Changed, ...]:
    order = {"finding": 0, "incident": 1, "asset": 2}
    return tuple(sorted(heap, key=lambda one: (order[one.what], one.where, one.id)))


def _reader(unread: frozenset[str], examined: Callable[[str], bool] | None) -> Callable[[str], bool]:
    """Whether a path was read: neither it, nor a folder or archive above it, has a coverage row."""

    def reads(path: str) -> bool:
        if examined is not None and not examined(path):
            return False
        parts = path.replace("!/", "/").split("/")
        return (
            not any(_joined(parts, size) in unread for size in range(1, len(parts) + 1))
            and path not in unread
            and "." not in unread
        )

    return reads


def _joined(parts: list[str], size: int) -> str:
    return "/".join(parts[:size])


def _same_root(now: Side, then: Side) -> bool:
    return now.root == then.root or not now.root or not then.root


def _covers(now: Side, last: float | None) -> bool:
    """Whether this run's logs reach back to when the incident was last seen; an unknown time cannot be covered."""
    return last is not None and now.log_first is not None and now.log_first <= last <= (now.log_last or last)


def _print(one: Finding) -> str:
    return one.fingerprint or f"{one.rule}|{one.path}|{one.message}"[:400]


def _asset_key(one: Asset) -> str:
    return rows.identity(one.kind.value, one.name)


def _incident_key(one: Incident) -> str:
    return f"{one.kind}\0{one.cause}"


def _findings(side: Side) -> dict[str, Changed]:
    return {
        _print(one): Changed(
            "finding", _print(one), one.title or one.message, one.severity.value, f"{one.path}:{one.line}"
        )
        for one in side.findings
    }


def _assets(side: Side) -> dict[str, Changed]:
    out = {}
    for one in side.assets:
        where = f"{one.evidence[0].path}:{one.evidence[0].line}" if one.evidence else ""
        out[_asset_key(one)] = Changed("asset", f"{one.kind.value}:{one.name}", one.name, "", where)
    return out


def _incidents(side: Side) -> dict[str, Changed]:
    return {
        _incident_key(one): Changed("incident", one.id, one.title or one.kind, one.severity.value, "")
        for one in side.incidents
    }
