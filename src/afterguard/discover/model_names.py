"""Whether a word names a model, and which kind; provider prefixes taken apart.

In: a word from configuration. Out: yes or no, or its parts. What a slot called "model" holds is judged leniently (`is_id`);
a word anywhere else must belong to a known family (`signals.model`).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from afterguard.catalog import load
from afterguard.model import AssetKind

_ID = re.compile(r"[A-Za-z0-9@~./$(){][\w.\-:/@+\[\](){}$~]{1,199}\Z")
_PLACEHOLDER = re.compile(
    r"(?i)^(your|my|some|example|sample|test|dummy|placeholder|change|todo|foo|bar|xxx+|none|null|nil|default|auto|latest|true"
    r"|false|unknown|n/?a|string|model|models?|name|custom|any|all|on|off|yes|no|base|main|local|remote|fake|mock)"
    r"([-_ .]?(model|name|id|here|llm|goes|deployment|value|one|me|path).*)?$|^<.*>$|^\[.*\]$|^\.+$|^x+$"
)
_EMBEDDING = re.compile(
    r"(?i)(embed|(?:^|[/_-])(bge|gte|e5|minilm|mpnet|stella|instructor|uae|arctic-embed|jina-emb|voyage-\d|voyage-(code|law|large)"
    r"|text-similarity|sentence-t5|labse|mxbai)(?:[-_.\d]|$)|all-minilm|ada-002|search-(ada|babbage|curie|davinci))"
)
_OPEN_WEIGHTS = re.compile(r"gpt-oss|whisper-(large|medium|small|base|tiny)|clip-|shap-e")
_PREFIX = re.compile(r"^([a-z][a-z0-9_-]{1,30})(/|:)(?=[A-Za-z0-9])")


def is_id(text: str) -> bool:
    """Whether a word in a slot for models can be one: an id or a template, not a placeholder, flag or number."""
    text = text.strip()
    if not _ID.match(text) or _PLACEHOLDER.match(text) or not re.search(r"[A-Za-z]", text):
        return False
    return "://" not in text or text.startswith(("hf://", "s3://", "gs://", "models:/", "ollama://"))


def is_model_path(text: str) -> bool:
    """Whether a path on disk says which model lies there; `/mnt/models` does not."""
    last = text.rstrip("/").rsplit("/", 1)[-1].lower()
    generic = {
        "model",
        "models",
        "mnt",
        "data",
        "weights",
        "checkpoint",
        "checkpoints",
        "latest",
        "current",
        "output",
        "base",
    }
    return is_resolved(last) and len(last) > 2 and last not in generic


def is_resolved(text: str) -> bool:
    """Whether the id holds no template or variable."""
    return "$" not in text and "{" not in text and "(" not in text


def is_embedding(text: str) -> bool:
    """Whether the id is one of an embedding or similarity model."""
    return _EMBEDDING.search(text) is not None


def kind_of(text: str) -> AssetKind:
    """model or embedding_model."""
    return AssetKind.embedding_model if is_embedding(text) else AssetKind.model


@lru_cache(maxsize=65536)
def provider(word: str) -> str:
    """The provider a configuration word such as "azure_openai" stands for, "" when unknown."""
    if len(word) > 60:
        return ""
    plain = re.sub(r"\s+", "-", word.strip().lower())
    return _words().get(plain, "") or _words().get(plain.replace("-", "_"), "")


@cache
def _words() -> dict[str, str]:
    rows = load("signals/provider_words")["words"]
    return {word: name for name, words in rows.items() for word in words}


def split(text: str) -> tuple[str, str]:
    """(provider, model) of "openai/gpt-4o", "anthropic:claude-3"; provider "" where there is no known prefix.

    `mistralai/Mistral-7B` is a repository, not a provider with a model: only a name with capitals or two slashes stays whole.
    """
    found = _PREFIX.match(text)
    if found is None:
        return "", text
    name, rest = found[1], text[found.end() :]
    if found[2] == "/" and name in load("signals/provider_words")["bare_prefixes"]:
        return ("google-gemini", rest) if name == "google" and rest.startswith("gemini") else ("", text)
    if name == "openai" and _OPEN_WEIGHTS.match(rest):
        return "", text
    known = _words().get(name, "")
    return (known, rest) if known else ("", text)
