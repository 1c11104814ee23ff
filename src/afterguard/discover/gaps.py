"""What only traffic knows and what only code knows, as findings.

In: joined assets and what the logs given covered. Out: findings of two rules. Reads nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from afterguard.discover.inventory import PROVIDERS, key_of, sources_of
from afterguard.model import Asset, AssetKind, Certainty, Confidence, Evidence, Finding, Severity
from afterguard.scan import Check

IN_CODE = {"code", "manifest", "config", "infrastructure"}
IN_USE = {"traffic", "audit", "billing", "lookback"}
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
BUILD = re.compile(
    r"(?:\A|/)(?:\.github|\.gitlab|\.circleci|\.buildkite|ci|tests?|docs?|examples?)/|\.gitlab-ci\.ya?ml\Z|(?:\A|/)Jenkinsfile\Z"
)


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


def gaps(assets: Sequence[Asset], periods: Sequence[Period] = (), code_read: bool | None = None) -> tuple[Finding, ...]:
    """What traffic shows and code does not, and the reverse. `assets` are joined; `periods` say what the logs covered.

    Without code in the survey nothing is called absent from it; without a day of a log that would show the call, nothing is
    called unused. `code_read` None means: some asset has evidence in code.
    """
    in_code = _named(assets, IN_CODE)
    in_use = _named(assets, IN_USE)
    if code_read is None:
        code_read = any(sources_of(asset) & IN_CODE for asset in assets)
    out: list[Finding] = []
    for asset in assets:
        group = _group(asset.kind)
        sources = sources_of(asset)
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


def _named(assets: Sequence[Asset], sources: set[str]) -> set[tuple[str, str]]:
    """(group, name) that evidence of these sources names: the assets, the providers they say they use, and their edges."""
    out: set[tuple[str, str]] = set()
    for asset in assets:
        if not sources_of(asset) & sources:
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
