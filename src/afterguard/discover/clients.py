"""Providers a file reaches: client construction, base addresses, cloud clients by name, raw HTTP calls.

In: Facts. Out: provider, inference_server and vector_store Assets, and the provider of any callee (`provider_of`). An address
on this machine or network is an inference server of one's own, not a provider.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from afterguard.catalog import load
from afterguard.code.syntax import Expr, Function, argument
from afterguard.discover import signals
from afterguard.discover.facts import Facts, last_part
from afterguard.discover.libraries import is_used
from afterguard.discover.reach import Reach
from afterguard.model import Asset, AssetKind, Certainty, Edge

ADDRESSES = ("base_url", "baseURL", "baseUrl", "api_base", "openai_api_base", "azure_endpoint", "endpoint", "host", "BaseURL",
             "apiBase", "inference_server_url", "endpoint_url", "server_url", "url", "basePath", "apiHost", "openai_api_base")  # fmt: skip
_CLOUD_CLIENT = re.compile(
    r"(?:^|\.)(?:boto3|aioboto3|aiobotocore|session|Session)?(?:\(\))?\.?(?:client|create_client|resource)$"
)
_URL = re.compile(r"^(?:https?|wss?|grpcs?)://[^\s\"'<>]{3,400}$")
PORTS = {11434: "ollama", 8000: "vllm", 30000: "sglang", 1234: "lm-studio", 4000: "litellm", 8080: "llama.cpp"}
_OWN = re.compile(
    r"^(localhost|127\.|0\.0\.0\.0|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|host\.docker\.internal|[a-z][a-z0-9-]*$|.*\.(local|internal|svc|lan)$|.*\.svc\.cluster\.local$)"
)
SERVED = (
    "ollama",
    "vllm",
    "sglang",
    "litellm",
    "localai",
    "llama",
    "tgi",
    "text-generation",
    "triton",
    "xinference",
    "lmstudio",
)


def find(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Providers and servers, by import, construction and address."""
    pointed: set[str] = set()
    made: set[str] = set()
    for function, call in facts.calls:
        for asset in _client(facts, function, call):
            if asset.attributes.get("client"):
                (pointed if asset.attributes.get("host") else made).add(asset.attributes["client"])
            reach.mark(function, call, asset.kind, asset.name)
            yield asset
        yield from _cloud(facts, reach, function, call)
    yield from _urls(facts, reach)
    yield from _sent(facts, reach)
    yield from _imports(facts, made, pointed)


def provider_of(facts: Facts, full: str) -> str:
    """The provider a resolved callee reaches, "" when it cannot be told."""
    known = signals.client_providers()
    signal = facts.product(full)
    if signal is not None:
        for word in reversed(re.split(r"[.()\[\]/]+", full)):
            if word in known and (
                known[word] != "huggingface" or signal.kind is not AssetKind.framework or "langchain" in full
            ):
                return known[word]
        return signal.name if signal.kind is AssetKind.provider else signal.provider
    if _CLOUD_CLIENT.search(full):
        return ""
    return ""


def _client(facts: Facts, function: Function, call: Expr) -> Iterator[Asset]:
    """A client of a provider, by the class that is constructed and the address it is given."""
    full = facts.full(call.text, function.name)
    word = last_part(full)
    known = signals.client_providers()
    signal = facts.product(full)
    if signal is None:
        return
    sdk_client = signal.kind is AssetKind.provider and (
        word in ("Client", "AsyncClient", "newClient", "NewClient", "configure") or word == signal.name
    )
    if word in ("builder", "create", "fromEnv", "of") and "." in full:
        word = last_part(full.rpartition(".")[0])
    if word not in known and not sdk_client:
        return
    provider = known.get(word) or signal.name
    if signal.kind is AssetKind.vector_store or (
        signal.kind is AssetKind.framework and signal.provider and provider == "huggingface"
    ):
        provider = signal.provider or provider
    address = next((given for name in ADDRESSES if (given := argument(call, name)) is not None), None)
    if address is None and word in ("Client", "AsyncClient", "NewClientWithConfig") and provider == "ollama":
        address = call.parts[0] if call.parts and call.parts[0].kind in ("text", "name") else None
    words = facts.texts(address, function.name) if address is not None else []
    edges = _keys(facts, function, call)
    for one in words[:2]:
        found = server_of(one.text)
        if found is not None and found[1] != provider:
            kind, name, host = found
            yield facts.asset(kind, name, call.line, _least(one.certainty), edges, client=full.rstrip("()"), host=host)
            return
    region = ""
    if words and words[0].certainty is not Certainty.unresolved:
        region = urlsplit(words[0].text).hostname or "" if "://" in words[0].text[:10] else ""
    custom = bool(words) and words[0].certainty is Certainty.unresolved and provider == "openai"
    sure = Certainty.inferred if custom else Certainty.declared
    yield facts.asset(AssetKind.provider, provider, call.line, sure, edges, client=full.rstrip("()"), address=region)


def server_of(address: str) -> tuple[AssetKind, str, str] | None:
    """(kind, name, host) of the service at an address: a known provider, or a server of one's own. None when it is neither."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    if not host or address.startswith("unresolved:"):
        return None
    signal = signals.host(host, parts.path)
    if signal is not None and signal.kind in ("provider", "gateway"):
        return AssetKind.provider, signal.provider, host
    if signal is not None and signal.kind == "vector_store":
        return AssetKind.vector_store, signal.provider, host
    if _OWN.match(host):
        name = next((word for word in SERVED if word in host), "") or PORTS.get(port or 0, "")
        return AssetKind.inference_server, name or f"self-hosted:{host}{f':{port}' if port else ''}", host
    return (AssetKind.provider, f"unknown:{host}", host) if "." in host and "://" in address else None


def _least(certainty: Certainty) -> Certainty:
    return Certainty.declared if certainty is Certainty.declared else Certainty.inferred


def _keys(facts: Facts, function: Function, call: Expr) -> list[Edge]:
    """authenticates_with edges for the key arguments of a client."""
    out = []
    for name in (
        "api_key",
        "apiKey",
        "openai_api_key",
        "anthropic_api_key",
        "google_api_key",
        "token",
        "auth_token",
        "key",
        "openAIApiKey",
    ):
        value = argument(call, name)
        for one in facts.resolve(value, function.name) if value is not None else ():
            read = facts.variable(one)
            if read is not None:
                out.append(Edge("authenticates_with", AssetKind.secret_reference, read[0]))
    return out[:3]


def _cloud(facts: Facts, reach: Reach, function: Function, call: Expr) -> Iterator[Asset]:
    """boto3.client("bedrock-runtime") and the like; the AWS service is the literal."""
    if not _CLOUD_CLIENT.search(call.text) and last_part(call.text) not in ("client", "create_client"):
        return
    first = argument(call, "service_name", 0)
    service = facts.literal(first, function.name)
    provider = load("signals/calls")["aws_services"].get(service)
    if provider:
        region = facts.literal(argument(call, "region_name"), function.name)
        reach.mark(function, call, AssetKind.provider, provider)
        yield facts.asset(AssetKind.provider, provider, call.line, region=region, client=f"boto3 {service}")


def _urls(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Addresses of AI services written into the code as whole texts or the head of one."""
    seen: set[tuple[str, int]] = set()
    sent = {
        id(part)
        for _, call in facts.calls
        if _SENDS.search(call.text)
        for part in (*call.parts[:3], *(v for _, v in call.fields))
    }
    inner: set[int] = set()
    for function, expr in facts.of_kind("join", "text"):
        if id(expr) in inner or (expr.kind == "text" and "://" not in expr.text[:12]):
            continue
        text = expr.text.strip()
        if expr.kind == "join":
            inner.update(id(part) for part in expr.parts)
            text = "".join(part.text if part.kind == "text" else "x" for part in expr.parts[:20]).strip()
        if "://" not in text[:10] or len(text) > 500 or not _URL.match(text):
            continue
        found = server_of(text)
        if found is None or found[1].startswith(("unknown:", "self-hosted:")):
            continue
        kind, name, host = found
        if kind is AssetKind.inference_server and not (
            _port(text) == 11434 or any(w in host for w in SERVED) or _AI_PATH.search(text)
        ):
            continue
        if (name, expr.line) not in seen:
            seen.add((name, expr.line))
            reach.mark(function, expr, kind, name)
            sure = Certainty.declared if id(expr) in sent else Certainty.inferred
            if id(expr) in sent and _AI_PATH.search(text):
                reach.runs.add(function.name)
            yield facts.asset(kind, name, expr.line, sure, host=host)


def _sent(facts: Facts, reach: Reach) -> Iterator[Asset]:
    """Requests whose address starts with a variable that can be a known provider: the function that sends one runs a model."""
    for function, call in facts.calls:
        if not _SENDS.search(call.text):
            continue
        address = argument(call, "url", 0)
        head = address.parts[0] if address is not None and address.kind == "join" and address.parts else address
        if head is None or head.kind != "name":
            continue
        for one in facts.texts(head, function.name):
            found = server_of(one.text) if one.certainty is not Certainty.unresolved else None
            if found is not None and found[0] is AssetKind.provider and not found[1].startswith("unknown:"):
                reach.mark(function, call, AssetKind.provider, found[1])
                reach.runs.add(function.name)
                yield facts.asset(AssetKind.provider, found[1], call.line, Certainty.inferred, host=found[2])
                break


_SENDS = re.compile(
    r"(?i)(^|[.])(post|request|get|fetch|stream|axios|urlopen|NewRequest|NewRequestWithContext|send|ofetch|\$fetch|uri|url|create|HttpPost)$"
)
_AI_PATH = re.compile(
    r"/v1/(chat/|completions|embeddings|responses)|/api/(generate|chat|embed)|/generate\b|/v2/models/"
)


def _port(text: str) -> int:
    try:
        return urlsplit(text).port or 0
    except ValueError:
        return 0


def _imports(facts: Facts, made: set[str], pointed: set[str]) -> Iterator[Asset]:
    """Providers by import of their SDK, unless every client of it in the file is one for somebody else."""
    others = {client.partition(".")[0] for client in pointed} - {client.partition(".")[0] for client in made}
    known = signals.client_providers()
    for one, signal in facts.products:
        provider = signal.name if signal.kind is AssetKind.provider else signal.provider
        if not provider:
            continue
        target = known.get(one.name, provider)
        if signal.kind is AssetKind.provider and one.module.partition(".")[0] in others:
            continue
        if not one.name and signal.kind is AssetKind.provider and made:
            reached = {known.get(last_part(client)) for client in made if client.startswith(one.module)} - {None}
            if reached and provider not in reached:
                continue
        sure = Certainty.declared if is_used(facts, one) else Certainty.inferred
        yield facts.asset(AssetKind.provider, target, one.line, sure, package=one.module)
