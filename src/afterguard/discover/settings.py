"""Settings of a process, whatever file they stand in: environment variables, .env pairs, application configuration.

In: names with values, lines and whether a value is a reference. Out: providers, models, stores, servers and secret references
on a Sheet, and the edges for the workload they belong to. A value in a slot for secrets is never looked at beyond whether it is
there. A weak name needs a second marker in the same group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple
from urllib.parse import urlsplit

from afterguard.catalog import load
from afterguard.discover import model_names, signals
from afterguard.discover.images import product_kinds
from afterguard.discover.sheet import Sheet
from afterguard.model import AssetKind, Certainty, Edge

_URL = re.compile(r"\b(?:https?|wss?|grpcs?|redis|postgres(?:ql)?)://[^\s\"'<>,;]{1,500}")
_HOST = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]{2,200}\.[a-zA-Z]{2,20}(?::\d{1,5})?\Z")
_SECRET_NAME = re.compile(
    r"(?i)(api[_-]?key|apikey|token|secret|passw(or)?d|credential|access[_-]?key|master[_-]?key)$"
)
_EXAMPLE = re.compile(r"(^|[.-])(example|test|invalid|localhost|local)(\.(com|org|net))?$|^(your|my|<)[-_<]")


class Setting(NamedTuple):
    """A name with its value. `reference`: the value comes from a secret store or another variable, `secret` names which."""

    name: str
    value: str
    line: int
    reference: bool = False
    secret: str = ""


def read(sheet: Sheet, settings: Iterable[Setting]) -> tuple[Edge, ...]:
    """Write down what the settings of one group say; the edges of the workload that holds them."""
    group = list(settings)[:5000]
    found = [(one, signals.variable(one.name)) for one in group]
    strong = any(signal is not None and not signal.weak for _, signal in found)
    edges: list[Edge] = []
    for one, signal in found:
        if signal is None or (signal.weak and not (strong or _is_marked(one.value))):
            edges.extend(addresses(sheet, one.value, one.line, f"{one.name}="))
            continue
        edges.extend(_known(sheet, one, signal))
    return tuple(dict.fromkeys(edges))


def _is_marked(value: str) -> bool:
    return signals.model(value) is not None


def _known(sheet: Sheet, one: Setting, signal: signals.VariableSignal) -> list[Edge]:
    if signal.kind == "secret":
        return _secret(sheet, one, signal.provider)
    edges: list[Edge] = []
    if signal.kind in ("model", "embedding_model"):
        edges.extend(model(sheet, one.value, one.line, one.name, signal.provider, signal.kind == "embedding_model"))
    if signal.kind == "address":
        edges.extend(addresses(sheet, one.value, one.line, f"{one.name}="))
    host = ""
    if signal.kind == "address" and "://" in one.value and model_names.is_resolved(one.value):
        host = host_of(one.value)
        if not edges and host.partition(".")[0] in product_kinds():
            product = host.partition(".")[0]
            return [
                sheet.add(product_kinds()[product], product, one.line, f"{one.name}={one.value}", Certainty.inferred)
            ]
    if signal.provider and not any(edge.name == signal.provider for edge in edges):
        served = tuple(
            Edge("serves", e.kind, e.name) for e in edges if e.kind in (AssetKind.model, AssetKind.embedding_model)
        )
        matched = one.name if signal.kind != "address" else f"{one.name}={one.value}"
        certainty = Certainty.declared if host or served else Certainty.inferred
        kind = vendor_kind(signal.provider)
        edges.append(sheet.add(kind, signal.provider, one.line, matched, certainty, served, host=host))
    return edges


def _secret(sheet: Sheet, one: Setting, provider: str) -> list[Edge]:
    edges: list[Edge] = []
    held = "reference" if one.reference or not one.value else "placeholder" if is_placeholder(one.value) else "value"
    secret = sheet.add(
        AssetKind.secret_reference, one.name, one.line, one.name, provider=provider, held=held, store=one.secret
    )
    if provider:
        holds = (Edge("authenticates_with", AssetKind.secret_reference, one.name),)
        edges.append(sheet.add(vendor_kind(provider), provider, one.line, one.name, Certainty.inferred, holds))
    return [*edges, Edge("authenticates_with", secret.kind, secret.name)]


def model(
    sheet: Sheet, value: str, line: int, name: str, provider: str = "", embedding: bool = False, certain: bool = False
) -> list[Edge]:
    """Write down the model a slot for models holds; nothing for a placeholder or a template."""
    value = value.strip().strip("\"'")
    if not model_names.is_id(value):
        return []
    if not model_names.is_resolved(value):
        return []
    prefix, bare = model_names.split(value)
    family = signals.model(value)
    kind = AssetKind.embedding_model if embedding or model_names.is_embedding(bare) else AssetKind.model
    if family is not None and family.kind is AssetKind.embedding_model:
        kind = family.kind
    provider = prefix or provider or (family.provider if family is not None else "")
    edge = sheet.add(kind, bare, line, f"{name}: {value}" if certain else f"{name}={value}", provider=provider)
    edges = [edge]
    if prefix:
        served = (Edge("serves", edge.kind, edge.name),)
        edges.append(sheet.add(vendor_kind(prefix), prefix, line, f"{name}: {value}", Certainty.declared, served))
    return edges


def addresses(sheet: Sheet, value: str, line: int, before: str = "") -> list[Edge]:
    """Write down the known AI hosts in a value: URLs, or a bare host that is the whole value."""
    if "." not in value or len(value) > 20_000:
        return []
    urls = [found[0] for found in _URL.finditer(value)][:20]
    if not urls and _HOST.match(value.strip()):
        urls = [f"https://{value.strip()}"]
    edges: list[Edge] = []
    for url in urls:
        host, path = host_of(url), path_of(url)
        signal = signals.host(host, path) if host else None
        if signal is None or signal.kind in ("staff_tool", "coding_tool", "registry"):
            continue
        kind = vendor_kind(signal.provider, signal.kind)
        edges.append(
            sheet.add(
                kind, signal.provider, line, f"{before}{url}", Certainty.declared, host=host, region=signal.region
            )
        )
    return edges


def host_of(url: str) -> str:
    """The host of a URL in lower case without user and port, "" where there is none."""
    try:
        return (urlsplit(url if "://" in url else f"https://{url}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def path_of(url: str) -> str:
    """The path of a URL, "" where it cannot be told."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def is_example(host: str) -> bool:
    """Whether a host is one that documentation uses."""
    return not host or _EXAMPLE.search(host) is not None


@cache
def _vendors() -> dict[str, AssetKind]:
    kinds = {
        "vector_store": AssetKind.vector_store,
        "gateway": AssetKind.provider,
        "observability": AssetKind.framework,
    }
    out = {row["provider"]: kinds.get(row["kind"], AssetKind.provider) for row in load("signals/hosts")["hosts"]}
    out.update((name, AssetKind.cloud_ai_service) for name in load("signals/audit_events").get("cloud_services", ()))
    out.update(product_kinds())
    for name in ("langsmith", "wandb", "braintrust", "crewai", "autogen", "dspy", "huggingface-hub"):
        out[name] = AssetKind.framework
    return out


def vendor_kind(name: str, host_kind: str = "") -> AssetKind:
    """The kind of asset a vendor's name is: provider, cloud service, server, store or framework."""
    if host_kind == "vector_store":
        return AssetKind.vector_store
    return _vendors().get(name, AssetKind.provider)


_UNSET = re.compile(
    r"(?i)(your|my|changeme|change[-_]?me|replace|placeholder|example|dummy|fake|todo|xxx|<.*>|insert|put[-_]|\.\.\.|\*{3}|here$|goes)"
    r"|^(sk-)?[x0*.-]+$|^(test|none|null|secret|key|token|password|not[-_]?needed|empty|na|n/a|ollama|dummy-key)$"
)


def is_placeholder(value: str) -> bool:
    """Whether a value only stands for a key that someone still has to put in."""
    return len(value) < 6 or _UNSET.search(value[:200]) is not None


def is_secret_name(name: str) -> bool:
    """Whether a name is that of a credential."""
    return _SECRET_NAME.search(name) is not None
