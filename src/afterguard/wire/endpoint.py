"""What a request is for, read from its method, path and query alone.

In: the kind of the mount it came through, method, path below the mount, query. Out: an `Endpoint`. It never looks at a body, never
raises on a hostile path, and says "other" where it does not know: the caller then learns from the body, or counts it as unjudged.
`readdressed` is the way back: the same path with another model in it.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from afterguard.remembered import remembered
from afterguard.wire import predictive

PATH_CAP = 4096
"""Characters of a path that are looked at; no provider has a longer one."""
MODEL_CAP = 512
QUERY_CAP = 2048


class Endpoint(NamedTuple):
    """One operation of one provider."""

    provider: str
    """Kind of the mount: openai azure anthropic gemini bedrock ollama mcp plain, or one of predictive.KINDS."""
    operation: str
    """chat completions responses embeddings messages count_tokens generate embed invoke converse ollama_chat ollama_generate
    ollama_embed mcp predict models files batches audio images realtime other"""
    dialect: str
    """Whose frames and errors apply: openai responses anthropic gemini converse invoke ollama mcp plain, or the protocol of a predictive model."""
    model: str = ""
    """Where the path says it: a model, or the name of an Azure deployment."""
    is_stream: bool | None = None
    """None where only the body says it."""
    version: str = ""
    """Of a predictive model, where the path says it."""


HOME = {
    "openai": "openai", "azure": "openai", "anthropic": "anthropic", "gemini": "gemini", "bedrock": "converse",
    "ollama": "ollama", "mcp": "mcp",
}  # fmt: skip
"""Dialect of a provider's errors where the path says nothing better."""

TAILS: dict[tuple[str, ...], tuple[str, str]] = {
    ("chat", "completions"): ("chat", "openai"),
    ("completions",): ("completions", "openai"),
    ("responses",): ("responses", "responses"),
    ("responses", "compact"): ("responses", "responses"),
    ("responses", "input_tokens"): ("count_tokens", "responses"),
    ("embeddings",): ("embeddings", "openai"),
    ("moderations",): ("other", "openai"),
    ("messages",): ("messages", "anthropic"),
    ("messages", "count_tokens"): ("count_tokens", "anthropic"),
    ("complete",): ("completions", "anthropic"),
    ("realtime",): ("realtime", "openai"),
}
"""Ends of paths that mean the same on every server, whatever stands before them."""

OLLAMA = {
    ("chat",): "ollama_chat", ("generate",): "ollama_generate", ("embed",): "ollama_embed", ("embeddings",): "ollama_embed",
    ("tags",): "models", ("show",): "models", ("ps",): "models", ("pull",): "models", ("version",): "other",
}  # fmt: skip

GEMINI = {
    "generateContent": ("generate", False), "streamGenerateContent": ("generate", True), "countTokens": ("count_tokens", False),
    "embedContent": ("embed", False), "batchEmbedContents": ("embed", False), "predict": ("embed", False),
    "rawPredict": ("messages", False), "streamRawPredict": ("messages", True), "batchGenerateContent": ("batches", False),
    "generateText": ("completions", False), "bidiGenerateContent": ("realtime", True),
}  # fmt: skip

GEMINI_SHELVES = ("models", "tunedModels", "endpoints")
"""What stands before a model's name."""

BEDROCK = {
    "invoke": ("invoke", "invoke", False), "invoke-with-response-stream": ("invoke", "invoke", True),
    "invoke-with-bidirectional-stream": ("realtime", "invoke", True), "converse": ("converse", "converse", False),
    "converse-stream": ("converse", "converse", True), "count-tokens": ("count_tokens", "converse", False),
    "async-invoke": ("batches", "invoke", False),
}  # fmt: skip

SHELVES = {
    "models": "models", "files": "files", "uploads": "files", "batches": "batches", "audio": "audio", "images": "images",
    "deployments": "models", "cachedContents": "files", "blobs": "files", "foundation-models": "models",
}  # fmt: skip
"""First words of paths that are about things kept at the provider."""

VERSION = re.compile(r"v\d{1,2}(?:(?:alpha|beta|preview)\d{0,2})?\Z")
"""v1, v1beta, v1alpha2; the older Azure date versions stand in the query."""


@remembered(2048)
def endpoint(provider: str, method: str, path: str, query: str = "") -> Endpoint:
    """The endpoint of a request. `path` is below the mount, still percent-encoded, with or without a version or deployment."""
    home = HOME.get(provider, "plain")
    if provider == "mcp":
        return Endpoint(provider, "mcp", "mcp")
    if len(path) > PATH_CAP:
        return Endpoint(provider, "other", home)
    raw = _segments(path)
    if provider in predictive.KINDS:
        operation, dialect, model, version = predictive.spot(provider, method, raw)
        return Endpoint(provider, operation, dialect, model, False, version)
    found = (
        _bedrock(provider, raw)
        or _gemini(provider, raw, query)
        or _azure(provider, raw)
        or _native_ollama(provider, raw)
        or _tail(provider, raw, "")
    )
    if found is None:
        return Endpoint(provider, _shelf(raw), home)
    is_read = method.upper() in ("GET", "HEAD", "DELETE", "OPTIONS")
    if is_read and found.operation != "realtime":
        return Endpoint(provider, "models" if found.operation == "models" else "other", found.dialect, found.model)
    return found


def _segments(path: str) -> list[str]:
    """Segments as a server sees them: empty and "." ones are nothing, ".." takes the one before; a version in front is dropped."""
    out: list[str] = []
    for segment in path.split("/"):
        plain = unquote(segment) if "%" in segment and len(segment) < 20 else segment
        if plain == "..":
            del out[-1:]
        elif plain not in ("", "."):
            out.append(segment)
    return out


def _bedrock(provider: str, raw: list[str]) -> Endpoint | None:
    """/model/{id}/converse: the id is one encoded segment, but a proxy before us may have decoded an ARN's slash."""
    if len(raw) < 3 or raw[0] != "model" or raw[-1] not in BEDROCK:
        return None
    operation, dialect, is_stream = BEDROCK[raw[-1]]
    return Endpoint(provider, operation, dialect, _name("/".join(raw[1:-1])), is_stream)


def pinned(spot: Endpoint, path: str, version: str) -> str | None:
    """`path` with a version of the model in it, None where it has no place for one."""
    found = predictive.pinned(spot.provider, _segments(path), version)
    return None if found is None else "/" + "/".join(found)


def _gemini(provider: str, raw: list[str], query: str) -> Endpoint | None:
    """.../models/NAME:generateContent, of AI Studio, Vertex and tuned models."""
    if not raw:
        return None
    name, colon, verb = raw[-1].rpartition(":")
    if not colon:
        name, colon, verb = unquote(raw[-1][:MODEL_CAP]).rpartition(":")
    if not colon or verb not in GEMINI:
        return None
    operation, is_stream = GEMINI[verb]
    if operation == "messages":
        return Endpoint(provider, operation, "anthropic", _name(name), is_stream)
    asks_for_events = "alt=sse" in query and ("alt", "sse") in parse_qsl(query[:QUERY_CAP])
    return Endpoint(provider, operation, "gemini", _name(name), is_stream or asks_for_events)


def readdressed(spot: Endpoint, path: str, model: str) -> str:
    """`path` as it was sent (percent-encoded, below the mount), with `model` where it names one; unchanged where it names none."""
    if not spot.model:
        return path
    raw = _segments(path)
    name = quote(model, safe="-._~")
    if _bedrock(spot.provider, raw):
        raw[1:-1] = [name]
    elif _gemini(spot.provider, raw, ""):
        raw = _other_gemini(raw, model)
    elif _azure(spot.provider, raw):
        raw[raw.index("deployments") + 1] = name
    else:
        return path
    return "/" + "/".join(raw)


def _other_gemini(raw: list[str], model: str) -> list[str]:
    """`model` is a name, or a resource of its own (`tunedModels/x`, `publishers/google/models/x`). A tuned model or an endpoint gives way to a plain one."""
    last = raw[-1] if ":" in raw[-1] else unquote(raw[-1])
    verb = last.rpartition(":")[2]
    kept = raw[:-1]
    parts = model.split("/")
    if len(parts) == 1 and kept:
        plain = {"endpoints": ["publishers", "google", "models"], "tunedModels": ["models"]}
        parts = [*plain.get(kept[-1], kept[-1:]), model]
    if kept and kept[-1] in GEMINI_SHELVES:
        kept = kept[:-3] if kept[-3:-2] == ["publishers"] and parts[0] == "publishers" else kept[:-1]
    return [*kept, *(quote(part, safe="-._~@") for part in parts[:-1]), f"{quote(parts[-1], safe='-._~@')}:{verb}"]


def _azure(provider: str, raw: list[str]) -> Endpoint | None:
    """/openai/deployments/NAME/chat/completions and /openai/v1/...; the deployment stands in for the model."""
    if "deployments" not in raw[:3]:
        return None
    at = raw.index("deployments")
    if len(raw) < at + 3:
        return None
    deployment = _name(raw[at + 1])
    rest = [part for part in raw[at + 2 :] if part != "extensions"]
    return _tail(provider, rest, deployment) or Endpoint(provider, _shelf(rest), "openai", deployment)


def _native_ollama(provider: str, raw: list[str]) -> Endpoint | None:
    """/api/chat and its neighbours, on any mount but those whose own API has such paths."""
    if len(raw) < 2 or raw[-2] != "api" or provider in ("anthropic", "gemini", "bedrock"):
        return None
    operation = OLLAMA.get((raw[-1],))
    if operation is None:
        return None
    streams = None if operation in ("ollama_chat", "ollama_generate") else False
    return Endpoint(provider, operation, "ollama", "", streams)


def _tail(provider: str, raw: list[str], model: str) -> Endpoint | None:
    """What the last one or two segments say; vLLM, LiteLLM and the like hang the same ends under any prefix."""
    words = [unquote(part) if "%" in part and len(part) < 60 else part for part in raw[-2:]]
    for count in (2, 1):
        found = TAILS.get(tuple(words[-count:])) if len(words) >= count else None
        if found is not None:
            operation, dialect = found
            streams = None if operation in ("chat", "completions", "responses", "messages", "realtime") else False
            return Endpoint(provider, operation, dialect, model, streams)
    return None


def _shelf(raw: list[str]) -> str:
    for part in raw[:8]:
        if part in SHELVES:
            return SHELVES[part]
        if not VERSION.match(part) and part not in ("openai", "api", "projects", "locations"):
            break
    return "other"


def _name(raw: str) -> str:
    """A model's name out of a path, decoded once."""
    return unquote(raw[: 3 * MODEL_CAP], errors="replace")[:MODEL_CAP]
