"""AI packages named in manifests and lock files -> framework, provider and vector_store Assets.

In: Parsed. Out: Assets with version and whether it is pinned. A manifest says that a package is wanted, not that it is used: the
certainty is declared for the framework, inferred for the provider behind an integration.
"""

from __future__ import annotations

from collections.abc import Iterator

from afterguard.code.manifest import Package, packages
from afterguard.code.parse import Parsed
from afterguard.discover import signals
from afterguard.discover.evidence import excerpt
from afterguard.model import Asset, AssetKind, Certainty, Edge, Evidence

# Lock files name what others pull in as well: these say nothing about an application by themselves.
_PULLED_IN = {"huggingface", "tiktoken", "safetensors", "langsmith", "tokenizers", "accelerate", "datasets", "jax"}

__all__ = ["find", "packages"]


def find(parsed: Parsed) -> Iterator[Asset]:
    """One asset a package; what a lock file only pulls in is inferred."""
    found = [(one, signals.package(one.ecosystem, one.name)) for one in packages(parsed)]
    known = [(one, signal) for one, signal in found if signal is not None]
    strong = any("weak" not in signal.roles for _, signal in known)
    lines = parsed.source.data.split(b"\n") if known else []
    for one, signal in known:
        if not strong or ("weak" in signal.roles and len(known) < 2):
            continue
        inferred = one.lock and signal.name in _PULLED_IN
        sure = Certainty.inferred if inferred else Certainty.declared
        yield _asset(parsed, lines, one, signal.kind, signal.name, sure, signal.provider)
        if signal.provider and signal.kind is AssetKind.framework:
            yield _asset(parsed, lines, one, AssetKind.provider, signal.provider, Certainty.inferred, "")


def _asset(
    parsed: Parsed, lines: list[bytes], one: Package, kind: AssetKind, name: str, sure: Certainty, provider: str
) -> Asset:
    raw = lines[one.line - 1] if 0 < one.line <= len(lines) else b""
    attributes = {"package": one.name, "pinned": "true" if one.is_pinned else "false"}
    if kind is not AssetKind.provider or not provider:
        attributes["version"] = one.version or one.specifier
    edges = (Edge("calls", AssetKind.provider, provider),) if provider else ()
    kept = {key: value for key, value in attributes.items() if value}
    evidence = Evidence(parsed.source.path, one.line, excerpt(raw), "manifest")
    return Asset(kind, name, sure, (evidence,), edges, attributes=kept)
