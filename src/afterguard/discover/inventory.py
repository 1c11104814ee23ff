"""One asset joined over all its evidence, and what code and traffic say about each other.

In: assets from every reader, the same thing many times. Out: one Asset per (kind, name) in a fixed order, and findings for
what only traffic knows and what only code knows. Reads nothing itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import blake2b

import msgspec

from afterguard.catalog import load
from afterguard.model import Asset, AssetKind, Certainty, Confidence, Edge, Evidence, Finding, Severity
from afterguard.scan import Check

EVIDENCE = 50
EDGES = 500
SURE = {Certainty.declared: 0, Certainty.inferred: 1, Certainty.unresolved: 2}
SUMS = {"requests", "bytes"}
PEAKS = {"distinct_clients", "peak_per_hour"}
LEAST = {"first_hour"}
MOST = {"last_hour"}
UNIONS = {"use", "task", "time_zone", "channel"}
IN_CODE = {"code", "manifest", "config", "infrastructure"}
IN_USE = {"traffic", "audit", "billing", "lookback"}
PROVIDERS = {AssetKind.provider, AssetKind.cloud_ai_service}
DAY = 86_400.0
TAXONOMIES = ("AML.T0047", "LLM03:2025", "LLM04:2026")
SHADOW = Check(
    id="shadow-ai-traffic",
    title="AI is used that no code given declares",
    severity=Severity.medium,
    taxonomies=TAXONOMIES,
    why="Data goes to a provider nobody has agreed with, from an application nobody has looked at.",
    fix="Find who is behind it from the line named here, then give the use an owner and an agreement with the provider, "
    "or block it at the egress proxy or in the account. If its code was not among the paths given, add that path "
    "and run again.",
    kinds=("traffic", "audit", "billing"),
)
UNUSED = Check(
    id="unused-ai-dependency",
    title="AI is declared that the logs given never show",
    severity=Severity.low,
    taxonomies=TAXONOMIES,
    why="A dependency and a key that nobody needs are still a way in; or the traffic takes a path that nobody logs.",
    fix="If it is no longer used, remove the dependency and revoke its key. If it is used elsewhere or through a "
    "gateway, give the log of that path as well.",
    kinds=("traffic",),
)
ONE_MARK = "one mark"
"""Value of the attribute `sign` of what is only worth keeping when other evidence names the same thing."""
VARIABLE = re.compile(r"(?<=/)(?:\{[^/]*\}|:[A-Za-z_]\w*|<[^/]*>|\[[^/]*\])(?=/|\Z)")
BUILD = re.compile(
    r"(?:\A|/)(?:\.github|\.gitlab|\.circleci|\.buildkite|ci|tests?|docs?|examples?)/|\.gitlab-ci\.ya?ml\Z|(?:\A|/)Jenkinsfile\Z"
)
Key = tuple[AssetKind, str]


class Period(msgspec.Struct, frozen=True):
    """What a log covered: event times in seconds since the epoch, whether it would show calls to the outside."""

    path: str
    kind: str
    lines: int
    first: float | None = None
    last: float | None = None
    outward: bool = False
    """A proxy, DNS or client log: a provider that was called would show in it."""
    clouds: tuple[str, ...] = ()
    """Clouds whose audit trail or bill this is: aws, azure, google."""

    @property
    def seconds(self) -> float:
        """Between the first and the last event, 0 when unknown."""
        return 0.0 if self.first is None or self.last is None else max(0.0, self.last - self.first)


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
        one.name for one in assets if one.kind is AssetKind.model_artifact and "artefact" in _sources(one) and one.name
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


def gaps(assets: Sequence[Asset], periods: Sequence[Period] = (), code_read: bool | None = None) -> tuple[Finding, ...]:
    """What traffic shows and code does not, and the reverse. `assets` are joined; `periods` say what the logs covered.

    Without code in the survey nothing is called absent from it; without a day of a log that would show the call, nothing is
    called unused. `code_read` None means: some asset has evidence in code.
    """
    in_code = _named(assets, IN_CODE)
    in_use = _named(assets, IN_USE)
    if code_read is None:
        code_read = any(_sources(asset) & IN_CODE for asset in assets)
    out: list[Finding] = []
    for asset in assets:
        group = _group(asset.kind)
        sources = _sources(asset)
        if group is None or not asset.evidence:
            continue
        identity = (group, key_of(AssetKind.provider, asset.name)[1])
        hours = asset.attributes.get("use") == "accelerator"
        if code_read and sources & IN_USE and identity not in in_code and not hours:
            out.append(_shadow(asset))
        if _declared(asset) and identity not in in_use and _would_show(asset, periods):
            out.append(_unused(asset, periods))
    return tuple(sorted(out, key=lambda one: (one.rule, one.path, one.line, one.asset)))


def _group(kind: AssetKind) -> str | None:
    if kind in PROVIDERS:
        return "provider"
    return {AssetKind.vector_store: "vector_store", AssetKind.inference_server: "inference_server"}.get(kind)


def _sources(asset: Asset) -> set[str]:
    return {one.source for one in asset.evidence}


def _named(assets: Sequence[Asset], sources: set[str]) -> set[tuple[str, str]]:
    """(group, name) that evidence of these sources names: the assets, the providers they say they use, and their edges."""
    out: set[tuple[str, str]] = set()
    for asset in assets:
        if not _sources(asset) & sources:
            continue
        group = _group(asset.kind)
        if group:
            out.add((group, key_of(AssetKind.provider, asset.name)[1]))
        if asset.attributes.get("provider") and asset.attributes.get("use") != "staff":
            out.add(("provider", key_of(AssetKind.provider, asset.attributes["provider"])[1]))
        for edge in asset.edges:
            target = _group(edge.kind)
            if target:
                out.add((target, key_of(AssetKind.provider, edge.name)[1]))
    return out


def _declared(asset: Asset) -> list[Evidence]:
    """Where the application's own code names an asset; what a build server calls passes another network."""
    return [one for one in asset.evidence if one.source in IN_CODE and not BUILD.search(one.path)]


def _would_show(asset: Asset, periods: Sequence[Period]) -> bool:
    """Whether one of the logs given would have shown a call, over at least a day."""
    if asset.kind not in PROVIDERS:
        return False
    cloud = asset.name.split("-")[0]
    return any(one.seconds >= DAY and (one.outward or cloud in one.clouds) for one in periods)


def _shadow(asset: Asset) -> Finding:
    seen = next(one for one in asset.evidence if one.source in IN_USE)
    use = asset.attributes.get("use", "")
    minor = use in ("staff", "model_download") or asset.confidence is Certainty.unresolved
    return Finding(
        rule=SHADOW.id,
        severity=Severity.low if minor else Severity.medium,
        confidence=Confidence.low if asset.confidence is Certainty.unresolved else Confidence.medium,
        path=seen.path,
        line=seen.line,
        taxonomies=TAXONOMIES,
        message=f"{_seen_how(asset, seen.source, use)}, and nothing in the code given declares it.",
        fix=SHADOW.fix,
        title=f"{asset.name} is used but not in the code",
        snippet=seen.matched[:200],
        asset=f"{asset.kind}:{asset.name}",
        fingerprint=_fingerprint(SHADOW.id, asset),
        attributes={"use": use} if use else {},
    )


def _seen_how(asset: Asset, source: str, use: str) -> str:
    """The sighting as the first half of a sentence."""
    count = asset.attributes.get("requests", "")
    times = {"": "", "1": " once"}.get(count, f" {count} times")
    if source == "billing":
        cost = (
            f" ({asset.attributes['cost']} {asset.attributes.get('currency', '')}".rstrip() + ")"
            if "cost" in asset.attributes
            else ""
        )
        return f"The bills show that {asset.name} is paid for{cost}"
    if source == "audit":
        return f"The cloud's audit trail shows {asset.name} in use{times}"
    what = {"staff": "people here use", "model_download": "something here fetches models from"}.get(
        use, "something here calls"
    )
    return f"The logs show that {what} {asset.name}{times}"


def _unused(asset: Asset, periods: Sequence[Period]) -> Finding:
    seen = _declared(asset)[0]
    days = max(one.seconds for one in periods) / DAY
    return Finding(
        rule=UNUSED.id,
        severity=Severity.low,
        confidence=Confidence.low,
        path=seen.path,
        line=seen.line,
        taxonomies=TAXONOMIES,
        message=f"The code declares {asset.name}, and the logs given ({days:.1f} days) never show a call to it.",
        fix=UNUSED.fix,
        title=f"{asset.name} is in the code but was not called",
        snippet=seen.matched[:200],
        asset=f"{asset.kind}:{asset.name}",
        fingerprint=_fingerprint(UNUSED.id, asset),
    )


def _fingerprint(rule: str, asset: Asset) -> str:
    kind, name = key_of(asset.kind, asset.name)
    text = f"{rule}|{_group(kind) or kind}|{name}".encode("utf-8", "replace")
    return "v1:" + blake2b(text, digest_size=16).hexdigest()
