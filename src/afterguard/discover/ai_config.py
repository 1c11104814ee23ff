"""AI in application configuration of any shape: a model beside a provider, addresses, Spring and .NET settings.

In: a tree of configuration, or Parsed. Out: Assets. A claim needs two markers: a key that says model with a value of a known
family, or a key that says model beside one that names a provider, an AI address or a sampling setting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from afterguard.code.document import Node, holders
from afterguard.code.parse import Parsed
from afterguard.discover import model_names, settings, signals
from afterguard.discover.settings import Setting
from afterguard.discover.sheet import Sheet
from afterguard.model import Asset, AssetKind, Certainty, Edge

_MODEL_KEY = re.compile(
    r"(?i)^(.*[._-])?(models?|model[_-]?(id|name|source)|llm([_-]?model)?|chat[_-]?model|deployment([_-]?name|[_-]?id)?|engine|embedding"
    r"([_-]?model)?s?|embed[_-]?model|embedder|reranker?([_-]?model)?|default[_-]?model|base[_-]?model|completion[_-]?model"
    r"|(small|large|fast|main|weak|editor|fallback|vision|title|judge|summary)[_-]?(llm|model)|fallbacks?)$|[a-z](Model|ModelId|ModelName|DeploymentName)$"
)
_PROVIDER_KEY = re.compile(
    r"(?i)^(provider|llm[_-]?provider|api[_-]?type|vendor|backend|model[_-]?provider|service|type|platform|llm|name|custom_llm_provider)$"
)
_SAMPLING = {
    "temperature", "max_tokens", "maxtokens", "max-tokens", "top_p", "topp", "top-p", "top_k", "system_prompt", "systemprompt",
    "context_window", "max_completion_tokens", "frequency_penalty", "presence_penalty", "api_base", "stop_sequences",
    "num_ctx", "max_output_tokens", "maxoutputtokens", "reasoning_effort", "prompt_template", "embedding_dimensions",
}  # fmt: skip
_ADDRESS_KEY = re.compile(r"(?i)(base[_-]?url|api[_-]?base|endpoint|host|url|uri|address|baseaddress|server)$")
_SECRET_KEY = re.compile(
    r"(?i)^(.*[._-])?(api[_-]?key|apikey|access[_-]?token|auth[_-]?token|api[_-]?token|secret[_-]?key|master[_-]?key|token)$"
)
_PROSE_FOLDERS = re.compile(
    r"(?i)(^|/)(docs?|translations?|locales?|i18n|fixtures|__snapshots__|cassettes|testdata|schemas?|openapi)(/|$)"
)
_NOT_CONFIG = re.compile(
    r"(?i)(^|/)(package(-lock)?|tsconfig[\w.-]*|composer|pnpm-lock|mkdocs|\.pre-commit-config|renovate|\.eslintrc|openapi[\w.-]*|swagger[\w.-]*|vercel|turbo|lerna|nx|dependabot|codecov|\.readthedocs|citation)\.(json|ya?ml|toml)$"
)
_MODELS = re.compile(r"(?i)(^|[_-])(models?|llms?|deployments?|embedders?|embeddings?)$")
_STORES = re.compile(r"(?i)vector|(^|[_-])(retriever|knowledge_?base|embedding_?store)")
_HINT = re.compile(
    rb"(?i)model|llm|vector|retriever|engine|embed|deployment|provider|openai|anthropic|api[_-]?(key|base)|base[_-]?url|_KEY|_URL|_TOKEN"
    rb"|semantickernel|langchain|https?://[\w.-]+\.(com|ai|cloud|io|net)"
)
MAX_NODES = 50_000


def find(parsed: Parsed) -> Iterator[Asset]:
    """Assets of a configuration file without a format of its own."""
    document = parsed.document
    path = parsed.source.path
    if document is None or document.format not in ("yaml", "json", "toml", "ini") or _NOT_CONFIG.search(path):
        return
    if parsed.source.kind == "manifest" or _PROSE_FOLDERS.search(path) or len(document.roots) > 50:
        return
    if _HINT.search(parsed.source.data) is None:
        return
    sheet = Sheet(path)
    for root in document.roots:
        if not _has_own_finder(root):
            read(sheet, root, path.rsplit("/", 1)[-1], 0)
    yield from sheet.assets


def _has_own_finder(root: Node) -> bool:
    """Formats that another finder reads whole."""
    if root.kind != "map":
        return True
    own = (
        ("mcpServers", "AWSTemplateFormatVersion", "jobs", "$schema")
        if root.get("jobs") is not None
        else ("mcpServers",)
    )
    kubernetes = root.get("kind") is not None and root.get("apiVersion") is not None
    compose = root.get("services") is not None and root.get("image") is None
    notebook = root.get("nbformat") is not None
    chat = root.get("openapi") is not None or root.get("swagger") is not None or root.get("paths") is not None
    recorded = any(root.get(key) is not None for key in ("interactions", "http_interactions", "log"))
    weights = root.get("architectures") is not None or root.get("model_type") is not None
    return (
        kubernetes
        or compose
        or notebook
        or chat
        or weights
        or recorded
        or any(root.get(key) is not None for key in own)
    )


def read(sheet: Sheet, root: Node, name: str, offset: int) -> None:
    """Write down what a configuration tree says. `offset` is added to its lines (a file inside a ConfigMap)."""
    for number, (path, node) in enumerate(holders(root)):
        if number > MAX_NODES:
            return
        if node.kind == "map":
            _map(sheet, path, node, offset)


@lru_cache(maxsize=65536)
def _is(pattern: re.Pattern[str], key: str) -> bool:
    """Whether a key belongs to a group; keys repeat, so the answer is kept."""
    return len(key) < 200 and pattern.search(key) is not None


def _map(sheet: Sheet, path: tuple[str, ...], node: Node, offset: int) -> None:
    here = ".".join(path)
    scalars = [(key, value) for key, value in node.fields if value.kind not in ("map", "list")]
    edges: list[Edge] = []
    named = [one for one in node.fields if _is(_MODEL_KEY, one[0].text)]
    provider, provider_line, provider_text = _provider(scalars, path)
    sampling = any(key.text.lower().replace("-", "_") in _SAMPLING for key, _ in node.fields)
    hosts: list[Edge] = []
    for key, value in scalars:
        if _is(_ADDRESS_KEY, key.text) or value.text[:4] == "http":
            hosts.extend(settings.addresses(sheet, value.text, value.line + offset, f"{key.text}: "))
    if path and (provider or _MODELS.search(path[-1]) or (len(path) > 1 and _MODELS.search(path[-2]))):
        for key, value in scalars:
            if key.text in ("id", "name") and value.kind == "text" and signals.model(value.text) is not None:
                edges.extend(_model(sheet, key.text, value, provider, True, offset))
    _store(sheet, path, scalars, offset)
    for key, value in named:
        for one in value.items if value.kind == "list" else (value,):
            if one.kind == "text":
                edges.extend(_model(sheet, key.text, one, provider, bool(provider or hosts or sampling), offset))
    if provider and (edges or hosts or _has_secret(scalars) or (sampling and not provider_text.endswith(":"))):
        served = tuple(
            Edge("serves", e.kind, e.name) for e in edges if e.kind in (AssetKind.model, AssetKind.embedding_model)
        )
        kind = settings.vendor_kind(provider)
        sheet.add(kind, provider, provider_line + offset, provider_text, Certainty.declared, served)
    _settings(sheet, path, scalars, bool(edges or hosts or provider), offset)
    _dotted(sheet, here, scalars, offset)


def _provider(scalars: list[tuple[Node, Node]], path: tuple[str, ...]) -> tuple[str, int, str]:
    """The provider a map names by a key of its own, else by the name the map stands under."""
    for key, value in scalars:
        if _is(_PROVIDER_KEY, key.text):
            name = model_names.provider(value.text)
            if name:
                return name, value.line, f"{key.text}: {value.text}"
    for word in reversed(path[-2:]):
        name = model_names.provider(word)
        if name and scalars:
            return name, scalars[0][0].line, f"{word}:"
    return "", 0, ""


def _store(sheet: Sheet, path: tuple[str, ...], scalars: list[tuple[Node, Node]], offset: int) -> None:
    """A vector store by name, where the map or the key says that stores of vectors stand here."""
    for key, value in scalars:
        here = _STORES.search(key.text[:100]) or (
            path and _is(_PROVIDER_KEY, key.text) and _STORES.search(path[-1][:100])
        )
        if here and value.kind == "text" and len(value.text) < 60:
            name = (
                value.text.lower().replace("_", "-").removesuffix("db")
                if value.text.lower() != "lancedb"
                else "lancedb"
            )
            if settings.vendor_kind(name) is AssetKind.vector_store:
                sheet.add(AssetKind.vector_store, name, value.line + offset, f"{key.text}: {value.text}")


def _has_secret(scalars: list[tuple[Node, Node]]) -> bool:
    return any(_is(_SECRET_KEY, key.text) for key, _ in scalars)


def _model(sheet: Sheet, key: str, node: Node, provider: str, second: bool, offset: int) -> list[Edge]:
    text = node.text.strip()
    if len(text) > 120 or " " in text or not node.resolved:
        return []
    family = signals.model(text)
    prefix, _ = model_names.split(text)
    if family is None and not prefix and not (second and re.search(r"[\d/:-]", text)):
        return []
    return settings.model(sheet, text, node.line + offset, key, provider, "embed" in key.lower(), certain=True)


def _settings(sheet: Sheet, path: tuple[str, ...], scalars: list[tuple[Node, Node]], marked: bool, offset: int) -> None:
    """Variables of known name among the keys, and secrets of a map that AI settings stand in."""
    group = [
        Setting(key.text, value.text, key.line + offset, not value.resolved)
        for key, value in scalars
        if "_" in key.text and key.text.upper() == key.text
    ]
    settings.read(sheet, group)
    provider = next((model_names.provider(key) for key in reversed(path) if model_names.provider(key)), "")
    for key, value in scalars:
        if not _is(_SECRET_KEY, key.text) or not (marked or provider) or key.text.upper() == key.text:
            continue
        reference = re.search(
            r"\$\{?([A-Z][A-Z0-9_]{2,80})|os\.environ/(\w{2,80})|env[:.(]['\"]?(\w{2,80})", value.text
        )
        name = next((g for g in reference.groups() if g), "") if reference else ".".join((*path[-3:], key.text))
        if value.kind == "null" or name.lower().startswith("example"):
            continue
        held = "reference" if reference or not value.resolved else "value"
        sheet.add(AssetKind.secret_reference, name, value.line + offset, key.text, provider=provider, held=held)


_DOTTED = re.compile(
    r"(?i)(?:^|\.)(?:spring\.ai|langchain4j|quarkus\.langchain4j|semantickernel|langchain)\.(?:vectorstore\.)?([a-z0-9-]+)(?:\.|$)"
)


def _dotted(sheet: Sheet, here: str, scalars: list[tuple[Node, Node]], offset: int) -> None:
    """Spring AI, LangChain4j and Quarkus keys, nested in YAML or written with dots in properties."""
    framed = "." in here and any(word in here.lower() for word in ("spring", "langchain4j", "semantickernel"))
    for key, value in scalars:
        full = f"{here}.{key.text}" if here else key.text
        found = _DOTTED.search(full) if framed or "." in key.text else None
        if found is None:
            continue
        framework = (
            "spring-ai"
            if "spring.ai" in full.lower()
            else "semantic-kernel"
            if "semantickernel" in full.lower()
            else "langchain4j"
        )
        line = key.line + offset
        sheet.add(AssetKind.framework, framework, line, full)
        word = found[1].lower()
        name = model_names.provider(word) or (word if settings.vendor_kind(word) is AssetKind.vector_store else "")
        name = name or next((n for n in (model_names.provider(word.rsplit("-", i)[0]) for i in (1, 2)) if n), "")
        if name:
            sheet.add(settings.vendor_kind(name), name, line, full, framework=framework)
        last = full.lower().rsplit(".", 1)[-1]
        if last in ("model", "model-name", "deployment-name", "model-id", "modelid", "modelname", "chat-model"):
            settings.model(sheet, value.text, value.line + offset, full, name, "embed" in full.lower(), certain=True)
        if last in ("api-key", "apikey", "api_key", "secret-key", "token"):
            reference = re.search(r"\$\{([\w.]{2,80})", value.text)
            secret = reference[1] if reference else full
            held = "reference" if reference else "value"
            sheet.add(AssetKind.secret_reference, secret, line, full, provider=name, held=held)
        if last in ("base-url", "endpoint", "url", "host"):
            settings.addresses(sheet, value.text, value.line + offset, f"{full}=")
