"""Enforcement points -> which policy and which measures each of them has in force: what `policy status --at` shows.

In: addresses of guards, or what they say at /metrics kept in a file (a scrape, the textfile of `guard stdio`); the time. Out: a `Point` each. It asks guards for their numbers and for nothing else, so
that who may see the numbers may see this.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec

from afterguard import net
from afterguard.errors import AfterguardError

ROW = re.compile(r"^(afterguard_\w+)(?:\{(.*)\})? (\S+)$", re.M)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PAGE = 4 << 20
"""Bytes of /metrics that are read."""
AT_ONCE = 16
"""Points that are asked at the same time."""
IS_PAGE = b"# HELP afterguard_"
"""How a file of numbers begins."""


class Point(msgspec.Struct, frozen=True, omit_defaults=True):
    """One enforcement point. Times in seconds; -1 where there is none."""

    at: str
    revision: str = ""
    sequence: int = 0
    age: float = -1.0
    """Since the policy was signed, or its file written."""
    pulled: float = -1.0
    """Since its source was last in touch."""
    valid: float = -1.0
    """Until the bundle expires; below 0 where it has, -1 where there is none."""
    modes: dict[str, str] = {}
    """Route -> mode in force."""
    is_stale: bool = False
    is_killed: bool = False
    is_rolled_back: bool = False
    measures: int = 0
    """Sequence of the sheet of measures in force; 0 where there is none."""
    measures_live: int = 0
    """Measures of it that hold."""
    measures_age: float = -1.0
    """Since the sheet was signed."""
    measures_pulled: float = -1.0
    """Since its source was last in touch."""
    is_measures_pulled: bool = False
    is_measures_stale: bool = False
    names: str = ""
    """Which key callers are named with."""
    problem: str = ""
    """Why nothing is known of it."""


def asked(
    addresses: Sequence[str], token: str, way: net.Way, clock: Callable[[], float], whole: float = net.WHOLE
) -> list[Point]:
    """The points at these addresses, asked at the same time; `whole`: seconds for each."""
    hosts = [net.host_of(one) for one in addresses]
    headers = {"x-afterguard-token": token} if token else {}
    ask = partial(net.get, allow=hosts, headers=headers, way=way, cap=PAGE, whole=whole, is_plain=True)
    with ThreadPoolExecutor(max(1, min(AT_ONCE, len(addresses)))) as pool:
        return list(pool.map(lambda one: _asked(one, ask, clock), addresses))


def _asked(address: str, ask: Callable[[str], net.Reply], clock: Callable[[], float]) -> Point:
    try:
        reply = ask(address.rstrip("/") + "/metrics")
    except AfterguardError as error:
        return Point(address, problem=str(error))
    if reply.status != 200:
        says = ": it wants guard.token" if reply.status == 401 else ""
        return Point(address, problem=f"answers {reply.status}{says}")
    return point(address, reply.body.decode("utf-8", "replace"), clock())


def point(at: str, page: str, now: float) -> Point:
    """The point that says this at /metrics."""
    rows: dict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
    for name, labels, value in ROW.findall(page):
        with contextlib.suppress(ValueError):
            if math.isfinite(found := float(value)):
                rows[name].append(({k: _plain(v) for k, v in LABEL.findall(labels)}, found))

    def number(name: str) -> float:
        found = rows.get("afterguard_" + name)
        return found[0][1] if found else 0.0

    def since(name: str) -> float:
        when = number(name)
        return now - when if when else -1.0

    revisions = [labels.get("policy", "") for labels, value in rows.get("afterguard_policy_info", ()) if value]
    if not revisions:
        return Point(at, problem="these are no numbers of a guard")
    until = number("policy_valid_until_timestamp_seconds")
    modes = {one.get("route", ""): one.get("mode", "") for one, value in rows.get("afterguard_route_mode", ()) if value}
    return Point(
        at,
        revision=" or ".join(sorted(revisions)),
        sequence=int(number("policy_sequence")),
        age=since("policy_created_timestamp_seconds"),
        pulled=since("policy_pulled_timestamp_seconds"),
        valid=until - now if until else -1.0,
        modes=modes,
        is_stale=number("policy_stale") > 0,
        is_killed=number("killed") > 0,
        is_rolled_back=number("rolled_back") > 0,
        measures=int(number("measures_sequence")),
        measures_live=int(number("measures")),
        measures_age=since("measures_created_timestamp_seconds"),
        measures_pulled=since("measures_pulled_timestamp_seconds"),
        is_measures_pulled="afterguard_measures_stale" in rows,
        is_measures_stale=number("measures_stale") > 0,
        names=next((labels.get("key", "") for labels, value in rows.get("afterguard_names_info", ()) if value), ""),
    )


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def odd(points: Sequence[Point]) -> list[str]:
    """Address of each point that is stale, unknown, or has another policy than most, or older measures than the newest of those that pull them."""
    revisions = [one.revision for one in points if not one.problem]
    usual, newest = max(revisions, key=revisions.count, default=""), _newest(points)
    return [
        one.at
        for one in points
        if one.problem or one.is_stale or one.revision != usual or one.is_measures_stale or _is_behind(one, newest)
    ]


def _newest(points: Sequence[Point]) -> int:
    return max((one.measures for one in points if one.is_measures_pulled), default=0)


def _is_behind(one: Point, newest: int) -> bool:
    return one.is_measures_pulled and one.measures < newest


def lines(points: Sequence[Point]) -> Iterator[str]:
    """One line a point, and one for its measures where it has or pulls any."""
    revisions = {one.revision for one in points if not one.problem}
    newest = _newest(points)
    for one in points:
        if one.problem:
            yield f"{one.at}: UNKNOWN, {one.problem}"
            continue
        words = [one.revision, *([f"bundle {one.sequence}"] if one.sequence else [])]
        words += _times(one.age, one.pulled)
        modes = defaultdict(list)
        for route, mode in sorted(one.modes.items()):
            modes[mode].append("/" + route)
        words += [f"{mode} {' '.join(routes)}" for mode, routes in modes.items()]
        words.append("STALE" if one.is_stale else "not stale" if one.sequence else "not pulled")
        words += ["KILLED"] * one.is_killed + ["ROLLED BACK"] * one.is_rolled_back
        words += ["DIFFERS"] * (len(revisions) > 1)
        yield f"{one.at}: {', '.join(words)}"
        if one.measures or one.is_measures_pulled:
            yield f"  measures: {_measures(one, newest)}"


def _measures(one: Point, newest: int) -> str:
    words = [f"sheet {one.measures}, {one.measures_live} hold" if one.measures else "no sheet yet"]
    words += _times(one.measures_age, one.measures_pulled)
    if not one.is_measures_pulled:
        return ", ".join([*words, "not pulled"])
    words.append("STALE" if one.is_measures_stale else "not stale")
    return ", ".join([*words, *["BEHIND"] * _is_behind(one, newest)])


def _times(made: float, pulled: float) -> list[str]:
    return [f"{said} {spell(seconds)} ago" for said, seconds in (("made", made), ("pulled", pulled)) if seconds >= 0]


def spell(seconds: float) -> str:
    """How long, in the largest unit that fits."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
