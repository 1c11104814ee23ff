"""Scoring endpoints of one's own: plain JSON, read by a mapping, or by the names that such APIs use for scores and decisions.

In: the bytes of a request or a reply, and a `Scoring` where a person wrote or learned one. Out: a table of features; what the reply says, with the places of its scores. `learn` makes a Scoring of recorded pairs and
says what it is not sure of. Without a mapping only names that say themselves what they are (signals/columns.yaml) are taken for scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from afterguard.wire import learned
from afterguard.wire.predict import role_of
from afterguard.wire.scores import LABEL, Place, Told, told
from afterguard.wire.splice import Unspliceable, step
from afterguard.wire.table import Table, Unreadable, of_records, of_value
from afterguard.wire.tfserving import opened

Heads = Mapping[bytes, bytes]
DEPTH = 8
LEAVES = 5_000
ENOUGH = 3
"""Pairs below which nothing is sure."""


class Scoring(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where in the bodies what stands, as jq writes it: `.applicant`, `.rows[*]`, `.result.score`. Empty ones are found by their names, or are not in this API."""

    features: str = ""
    """The object or the list that holds the features, one row or several."""
    score: str = ""
    decision: str = ""
    version: str = ""
    identity: str = ""
    samples: int = 0
    unsure: tuple[str, ...] = ()


class Read(NamedTuple):
    """A request as a mapping reads it."""

    table: Table
    identity: str = ""
    model: str = ""
    version: str = ""
    """Where the body says them."""


WAYS = ("features", "score", "decision", "version", "identity")


def checked(data: Any) -> Scoring:
    """The mapping a person wrote. Raises ValueError with the field that is wrong."""
    try:
        found = msgspec.convert(data, Scoring)
        for name in WAYS:
            learned.way(getattr(found, name))
    except msgspec.ValidationError as bad:
        raise ValueError(str(bad)) from None
    except Unspliceable as bad:
        raise ValueError(f"{name}: {bad}") from None
    if not (found.features or found.score or found.decision):
        raise ValueError("says neither where the features stand nor where the score or the decision does")
    return found


def request(body: bytes, heads: Heads, mapping: Scoring | None = None) -> Read:
    """The features of a request, and who it is about where the mapping says so."""
    value = opened(body)
    if mapping is None:
        return Read(_by_name(value))
    who = next((str(one)[:LABEL] for _, one in _found(value, mapping.identity)), "")
    if not mapping.features:
        return Read(_by_name(value), who)
    rows = [one for _, one in _found(value, mapping.features)]
    if not rows:
        raise Unreadable("unknown_shape")
    if len(rows) == 1:
        return Read(of_value(rows[0] if isinstance(rows[0], (dict, list)) else [rows[0]]), who)
    return Read(of_records(rows) if isinstance(rows[0], dict) else of_value(rows), who)


def response(body: bytes, heads: Heads, mapping: Scoring | None = None) -> Told:
    """Scores and decisions of a reply."""
    value = opened(body)
    if mapping is None or not (mapping.score or mapping.decision):
        scores = [(where, one) for role, where, one in _roles(value) if role == "score"]
        labels = [one for role, _, one in _roles(value) if role == "decision" and not isinstance(one, (dict, list))]
        scores += [
            (where, one)
            for role, where, one in _roles(value)
            if role == "decision" and isinstance(one, (dict, list, float))
        ]
    else:
        scores = list(_found(value, mapping.score, "response"))
        labels = [one for _, one in _found(value, mapping.decision)]
    if not scores and not labels:
        raise Unreadable("unknown_shape")
    found = told([Place(where, one, len(one) if isinstance(one, list) else 0) for where, one in scores[:LEAVES]])
    every = tuple(score for where, one in scores[:LEAVES] for score in told([Place(where, one)]).scores)
    version = next((str(one)[:LABEL] for _, one in _found(value, mapping.version)), "") if mapping else ""
    named = tuple(_label(one) for one in labels[:LEAVES] if one is not None) or found.decisions
    return found._replace(scores=every or found.scores, decisions=named, version=version)


def _label(one: Any) -> str:
    return (str(one).lower() if isinstance(one, bool) else str(one))[:LABEL]


def _found(value: Any, path: str, where: str = "") -> Iterator[tuple[str, Any]]:
    if path:
        yield from learned.at(value, path, where)


def _by_name(value: Any) -> Table:
    """The features of a body that nobody described: what stands under a name for features, else the body itself."""
    for _ in range(3):
        if not isinstance(value, dict):
            break
        inner = next((one for name, one in value.items() if _is_rows(one) and role_of(name) == "features"), None)
        if inner is None:
            break
        value = inner
    if isinstance(value, dict):
        return of_records([dict(_flat(value))])
    return of_value(value)


def _is_rows(one: Any) -> bool:
    return isinstance(one, (dict, list)) and bool(one)


def _flat(value: dict[str, Any], head: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Nested objects as one, their names joined by points."""
    for name, one in value.items():
        if isinstance(one, dict) and depth < DEPTH:
            yield from _flat(one, f"{head}{name}.", depth + 1)
        else:
            yield head + name, one


def _roles(value: Any) -> Iterator[tuple[str, str, Any]]:
    """(role, place, value) of whatever has a name that says its role, outermost first."""
    stack: list[tuple[str, Any, int]] = [("response", value, 0)]
    seen = 0
    while stack and seen < LEAVES:
        where, one, depth = stack.pop()
        seen += 1
        inner: list[tuple[str, Any, int]] = []
        if isinstance(one, dict):
            for name, cell in one.items():
                role = role_of(name)
                place = where + step(name)
                if role in ("score", "decision") and not _holds_names(cell):
                    yield role, place, cell
                elif isinstance(cell, (dict, list)) and depth < DEPTH:
                    inner.append((place, cell, depth + 1))
        elif isinstance(one, list) and depth < DEPTH:
            inner += [(f"{where}[{n}]", cell, depth + 1) for n, cell in enumerate(one[:LEAVES])]
        stack += reversed(inner)


def _holds_names(cell: Any) -> bool:
    """Whether a value under such a name has names of its own that say more."""
    rows = cell if isinstance(cell, list) else [cell]
    return any(isinstance(row, dict) and any(role_of(name) for name in row) for row in rows[:3])


# Learning from recorded pairs.


def learn(samples: Sequence[tuple[Any, Any]]) -> Scoring:
    """The mapping that fits recorded pairs of decoded request and reply."""
    unsure = [] if len(samples) >= ENOUGH else [f"only {len(samples)} pairs; {ENOUGH} or more make it sure"]
    features = _features_way([one for one, _ in samples], unsure)
    replies = [two for _, two in samples]
    leaves = [dict(_leaves(two)) for two in replies]
    common = [way for way in leaves[0] if all(way in one for one in leaves)] if leaves else []
    numbers = [way for way in common if all(type(one[way]) is float for one in leaves)]
    words = [way for way in common if all(isinstance(one[way], (str, bool, int)) for one in leaves)]
    score = _best("score", numbers, leaves, unsure)
    decision = _best("decision", words, leaves, unsure)
    versions = [way for way in words if "version" in way.lower()]
    return Scoring(
        features=features,
        score=score,
        decision=decision,
        version=versions[0] if versions else "",
        samples=len(samples),
        unsure=tuple(unsure),
    )


def _features_way(bodies: Sequence[Any], unsure: list[str]) -> str:
    """The object or list with most scalars, one with a name for features before others."""
    counted: Counter[str] = Counter()
    for body in bodies:
        for way, size, is_named in _containers(body):
            counted[way] += size + (1_000 if is_named else 0)
    if not counted:
        unsure.append("features: no object or list of values in the requests")
        return ""
    best = counted.most_common(2)
    if len(best) > 1 and best[1][1] * 2 > best[0][1]:
        unsure.append(f"features: {best[0][0]} or {best[1][0]}")
    return best[0][0]


def _containers(value: Any, way: str = "", depth: int = 0, named: bool = False) -> Iterator[tuple[str, int, bool]]:
    if depth > DEPTH:
        return
    if isinstance(value, dict):
        size = sum(not isinstance(one, (dict, list)) for one in value.values())
        if size and way:
            yield way, size, named
        for name, one in value.items():
            yield from _containers(one, way + step(name), depth + 1, role_of(name) == "features")
    elif isinstance(value, list) and value:
        if isinstance(value[0], dict):
            yield from _containers(value[0], way + "[*]", depth + 1, named)
        elif not isinstance(value[0], list):
            yield way, len(value), named


def _leaves(value: Any, way: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth > DEPTH:
        return
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, way + step(name), depth + 1)
    elif isinstance(value, list):
        for one in value[:1]:
            yield from _leaves(one, way + "[*]", depth + 1)
    else:
        yield way, value


def _best(role: str, ways: Sequence[str], leaves: Sequence[dict[str, Any]], unsure: list[str]) -> str:
    """The way whose name says the role; else the only one that varies."""
    named = [way for way in ways if role_of(way.rpartition(".")[2].removesuffix("[*]")) == role]
    if named:
        return named[0]
    varied = [way for way in ways if len({repr(one[way]) for one in leaves}) > 1 and "id" not in way.lower()]
    if not varied:
        unsure.append(f"{role}: nothing in the replies looks like it")
        return ""
    unsure.append(f"{role}: {varied[0]} was taken because it varies; no name says so")
    return varied[0]
