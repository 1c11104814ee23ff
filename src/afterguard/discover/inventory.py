"""One asset joined over all its evidence.

In: assets from every reader, the same thing many times. Out: one Asset per (kind, name) in a fixed order. Reads nothing itself;
what code and traffic say about each other stands in gaps.py.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache

import msgspec

from afterguard.catalog import load
from afterguard.model import Asset, AssetKind, Certainty, Edge, Evidence

EVIDENCE = 50
EDGES = 500
SURE = {Certainty.declared: 0, Certainty.inferred: 1, Certainty.unresolved: 2}
SUMS = {"requests", "bytes"}
PEAKS = {"distinct_clients", "peak_per_hour"}
LEAST = {"first_hour"}
MOST = {"last_hour"}
UNIONS = {"use", "task", "time_zone", "channel"}
PROVIDERS = {AssetKind.provider, AssetKind.cloud_ai_service}
ONE_MARK = "one mark"
"""Value of the attribute `sign` of what is only worth keeping when other evidence names the same thing."""
VARIABLE = re.compile(r"(?<=/)(?:\{[^/]*\}|:[A-Za-z_]\w*|<[^/]*>|\[[^/]*\])(?=/|\Z)")
Key = tuple[AssetKind, str]


def key_of(kind: AssetKind, name: str) -> Key:
    """Identity of an asset: spelling differences that mean nothing are removed."""
    plain = " ".join(name.split()).casefold()
    if kind is AssetKind.ai_endpoint:
        return kind, VARIABLE.sub("*", plain).rstrip("/")
    return kind, plain.replace(" ", "-").replace("_", "-") if kind in PROVIDERS else plain


def join(assets: Iterable[Asset]) -> tuple[Asset, ...]:
    """One asset per identity with all evidence, the strongest certainty and merged facts; ordered by kind and name."""
    groups: dict[Key, list[Asset]] = defaultdict(list)
    for asset in _at_their_files([as_server(one) for one in assets]):
        groups[key_of(asset.kind, asset.name)].append(asset)
    for key in [key for key, group in groups.items() if all(one.attributes.get("sign") == ONE_MARK for one in group)]:
        del groups[key]
    names = {key: _strongest(group).name for key, group in groups.items()}
    return tuple(
        _joined(names[key], groups[key], names) for key in sorted(groups, key=lambda one: (one[0].value, one[1]))
    )


def _at_their_files(assets: list[Asset]) -> list[Asset]:
    """Weights that code names by the end of a path, under the path of the one file here that ends so."""
    files = {
        one.name
        for one in assets
        if one.kind is AssetKind.model_artifact and "artefact" in sources_of(one) and one.name
    }
    ends: dict[str, set[str]] = defaultdict(set)
    for name in files:
        parts = name.split("/")
        for start in range(max(0, len(parts) - 8), len(parts)):
            ends["/".join(parts[start:])].add(name)
    known = {end: names.pop() for end, names in ends.items() if len(names) == 1 and end not in files}
    if not known:
        return assets

    def named(kind: AssetKind, name: str) -> str:
        return known.get(name.removeprefix("./"), name) if kind is AssetKind.model_artifact else name

    out = []
    for one in assets:
        edges = tuple(Edge(edge.relation, edge.kind, named(edge.kind, edge.name)) for edge in one.edges)
        name = named(one.kind, one.name)
        changed = name != one.name or edges != one.edges
        out.append(msgspec.structs.replace(one, name=name, edges=edges) if changed else one)
    return out


@cache
def servers() -> frozenset[str]:
    """Products that a team runs itself and nobody sells as an API under that name: ollama, vllm, llama.cpp."""
    signs = load("signals/images")
    run = {row["product"] for rows in signs.values() if isinstance(rows, list) for row in rows if _is_server(row)}
    sold = {row["provider"] for row in load("signals/hosts")["hosts"] if row["kind"] in ("provider", "gateway")}
    return frozenset(run - sold)


def _is_server(row: object) -> bool:
    return isinstance(row, dict) and row.get("kind") == "inference_server" and "product" in row


def as_server(asset: Asset) -> Asset:
    """One rule for every reader: a hosted API is a provider, a server product of one's own is an inference server.

    A client library of such a server says as much as its image, so both are evidence of one asset.
    """
    edges = tuple(
        Edge(one.relation, AssetKind.inference_server, one.name)
        if one.kind is AssetKind.provider and one.name in servers()
        else one
        for one in asset.edges
    )
    kind = asset.kind
    if kind is AssetKind.provider and asset.name in servers():
        kind = AssetKind.inference_server
    if kind is asset.kind and edges == asset.edges:
        return asset
    return msgspec.structs.replace(asset, kind=kind, edges=edges)


def _strongest(group: list[Asset]) -> Asset:
    return min(group, key=lambda one: (SURE[one.confidence], _place(one), one.name))


def _place(asset: Asset) -> tuple[str, int]:
    return min(((one.path, one.line) for one in asset.evidence), default=("", 0))


def _joined(name: str, group: list[Asset], names: dict[Key, str]) -> Asset:
    ordered = sorted(
        group, key=lambda one: (SURE[one.confidence], _place(one), one.name, sorted(one.attributes.items()))
    )
    evidence, total = _evidence(ordered)
    facts = _attributes(ordered)
    if total > len(evidence):
        facts["evidence_total"] = str(total)
    facts["sources"] = " ".join(sorted({one.source for asset in ordered for one in asset.evidence}))
    edges = {
        (edge.relation, edge.kind.value, names.get(key_of(edge.kind, edge.name), edge.name))
        for asset in ordered
        for edge in asset.edges
    }
    first = [one.first_seen for one in ordered if one.first_seen is not None]
    last = [one.last_seen for one in ordered if one.last_seen is not None]
    return Asset(
        ordered[0].kind,
        name,
        ordered[0].confidence,
        evidence,
        tuple(Edge(relation, AssetKind(kind), target) for relation, kind, target in sorted(edges)[:EDGES]),
        next((one.owner for one in ordered if one.owner), ""),
        dict(sorted(facts.items())),
        min(first, default=None),
        max(last, default=None),
    )


def _evidence(group: list[Asset]) -> tuple[tuple[Evidence, ...], int]:
    """The first EVIDENCE places by path and line, with at least the first of every source; and how many there were."""
    unique = {(one.path, one.line, one.matched, one.source): one for asset in group for one in asset.evidence}
    places = [unique[key] for key in sorted(unique)]
    total = max(len(places), sum(_count(one.attributes.get("evidence_total", "")) for one in group))
    if len(places) <= EVIDENCE:
        return tuple(places), total
    leads = {one.source: index for index, one in reversed(list(enumerate(places)))}
    chosen = set(leads.values())
    chosen |= set([index for index in range(len(places)) if index not in chosen][: EVIDENCE - len(chosen)])
    return tuple(places[index] for index in sorted(chosen)), total


def _attributes(group: list[Asset]) -> dict[str, str]:
    """Counts add up, hours widen, uses collect; of anything else the surest asset's value stays."""
    out: dict[str, str] = {}
    for asset in group:
        for key, value in asset.attributes.items():
            if key in ("sources", "evidence_total") or value == ONE_MARK:
                continue
            if key not in out:
                out[key] = value
            elif key in SUMS:
                out[key] = str(_count(out[key]) + _count(value))
            elif key in PEAKS:
                out[key] = max(out[key], value, key=_count)
            elif key in LEAST:
                out[key] = min(out[key], value)
            elif key in MOST:
                out[key] = max(out[key], value)
            elif key in UNIONS:
                out[key] = " ".join(sorted({*out[key].split(), *value.split()}))
    return out


def _count(text: str) -> int:
    plain = text.rstrip("+")
    return int(plain) if plain.isascii() and plain.isdigit() and len(plain) <= 18 else 0


def sources_of(asset: Asset) -> set[str]:
    """Where its evidence comes from: code, manifest, traffic..."""
    return {one.source for one in asset.evidence}
