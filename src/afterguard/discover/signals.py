"""The names that say AI, looked up: hosts, variables, packages, imports and model ids, from the dated catalog.

In: a name as found in code, configuration or traffic. Out: what it stands for, or None. Also `worth_parsing`: one native scan
over the bytes of a file that says whether parsing it can tell anything. It decides nothing by itself.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any, NamedTuple

from afterguard.catalog import load
from afterguard.model import AssetKind


class HostSignal(NamedTuple):
    """A known host. `kind`: provider gateway vector_store observability registry staff_tool coding_tool."""

    match: str
    provider: str
    kind: str
    region: str
    """us eu cn ..., `customer` where the customer chooses, `global` where it cannot be told."""
    path: str = ""
    """Where set, the host is shared with other services: only a URL path below this counts."""


class VariableSignal(NamedTuple):
    """A known variable. `kind`: secret address model embedding_model path switch setting. `provider` may be empty."""

    match: str
    provider: str
    kind: str
    weak: bool = False
    """A second marker is needed: other software uses the name too."""


class ProductSignal(NamedTuple):
    """A known library. `provider` is the provider it reaches where that is fixed, else empty."""

    name: str
    kind: AssetKind
    provider: str = ""
    match: str = ""
    roles: tuple[str, ...] = ()
    """Further things it says: predictive, serving, tracking, mcp, agents, guardrail."""


class ModelSignal(NamedTuple):
    """A known family of model ids. `provider` is who makes it, empty for open weights served by anyone."""

    kind: AssetKind
    provider: str
    match: str


_LABEL = re.compile(r"^[a-z0-9_*]([a-z0-9_*-]*[a-z0-9_*])?$")


def host(name: str, path: str = "") -> HostSignal | None:
    """The signal of a host name (port, trailing dot and case do not matter), matched label by label; the longest wins.

    A host shared with other services (Databricks, Snowflake) answers only when `path`, the URL's path, says AI.
    """
    plain = name.strip().lower().rstrip(".")
    if plain.count(":") == 1:
        plain = plain.split(":")[0].rstrip(".")
    if not plain or len(plain) > 253:
        return None
    found = _host(plain)
    return next((one for one in found if not one.path or path.startswith(one.path)), None)


@lru_cache(maxsize=65536)
def _host(plain: str) -> tuple[HostSignal, ...]:
    labels = plain.split(".")
    exact, suffixes = _hosts()
    out = list(exact.get(plain, ()))
    for size in (2, 3):
        for expression, signal in suffixes.get(".".join(labels[-size:]), ()):
            if expression.fullmatch(plain):
                out.append(signal)
    return tuple(sorted(out, key=lambda one: (-one.match.count("."), one.match.count("*"), -len(one.match))))


@cache
def _hosts() -> tuple[dict[str, list[HostSignal]], dict[str, list[tuple[re.Pattern[str], HostSignal]]]]:
    exact: dict[str, list[HostSignal]] = {}
    suffixes: dict[str, list[tuple[re.Pattern[str], HostSignal]]] = {}
    for row in load("signals/hosts")["hosts"]:
        signal = HostSignal(row["match"], row["provider"], row["kind"], row["region"], row.get("path", ""))
        if "*" not in signal.match:
            exact.setdefault(signal.match, []).append(signal)
            continue
        labels = [
            r"[a-z0-9_-]+(?:\.[a-z0-9_-]+){0,8}" if label == "*" else re.escape(label).replace(r"\*", "[a-z0-9_-]*")
            for label in signal.match.split(".")
        ]
        fixed: list[str] = []
        for label in reversed(signal.match.split(".")):
            if "*" in label or len(fixed) == 3:
                break
            fixed.insert(0, label)
        key = ".".join(fixed)
        suffixes.setdefault(key, []).append((re.compile(r"\.".join(labels)), signal))
    return exact, suffixes


@lru_cache(maxsize=16384)
def variable(name: str) -> VariableSignal | None:
    """The signal of an environment variable or settings key, whatever prefix a framework demands (REACT_APP_, VITE_...)."""
    plain = re.sub(r"[-.\s]", "_", name.strip()).upper()
    plain = re.sub(r"^(SPRING_AI|REACT_APP|NEXT_PUBLIC|VITE|NUXT_PUBLIC|NUXT|EXPO_PUBLIC|TF_VAR|APP|MY)_+", "", plain)
    if not plain or len(plain) > 120:
        return None
    exact, patterns = _variables()
    if plain in exact:
        return exact[plain]
    return next((signal for expression, signal in patterns if expression.fullmatch(plain)), None)


@cache
def _variables() -> tuple[dict[str, VariableSignal], list[tuple[re.Pattern[str], VariableSignal]]]:
    exact: dict[str, VariableSignal] = {}
    patterns: list[tuple[re.Pattern[str], VariableSignal]] = []
    for row in load("signals/environment")["variables"]:
        signal = VariableSignal(row["match"], row["provider"], row["kind"], bool(row.get("weak")))
        if "*" in signal.match:
            patterns.append((re.compile(re.escape(signal.match).replace(r"\*", "[A-Z0-9_]*")), signal))
        else:
            exact[signal.match] = signal
    return exact, patterns


def _rows(name: str, key: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = load(f"signals/{name}")[key]
    return rows


class Products(NamedTuple):
    """One language's or ecosystem's names: exact ones and those that end in a wildcard."""

    exact: dict[str, ProductSignal]
    patterns: tuple[tuple[re.Pattern[str], ProductSignal], ...]


# Import names by language; the npm names are both.
_LANGUAGE_KEYS = {"python": "python", "notebook": "python", "javascript": "npm", "typescript": "npm", "java": "java"}
_LANGUAGE_KEYS |= {"kotlin": "java", "go": "go"}
ECOSYSTEMS = ("pypi", "npm", "maven", "go", "cargo", "gem", "nuget", "packagist")


@cache
def _products(key: str) -> Products:
    exact: dict[str, ProductSignal] = {}
    patterns: list[tuple[re.Pattern[str], ProductSignal]] = []
    for row in _rows("products", "products"):
        roles = tuple(row.get("roles", ())) + tuple(word for word in ("weak", "guess") if row.get(word))
        for name in row.get(key, ()):
            plain = name.lower() if key not in ("python", "java") else name
            signal = ProductSignal(row["name"], AssetKind(row["kind"]), row.get("provider", ""), name, roles)
            if "*" in plain:
                patterns.append((re.compile(re.escape(plain).replace(r"\*", "[^:]*")), signal))
            else:
                exact[plain] = signal
    patterns.sort(key=lambda one: -len(one[0].pattern))
    return Products(exact, tuple(patterns))


@lru_cache(maxsize=65536)
def package(ecosystem: str, name: str) -> ProductSignal | None:
    """The signal of a package name. Maven names are group:artifact; a known group alone is enough."""
    plain = name.strip().lower()
    if ecosystem == "pypi":
        plain = re.sub(r"[-_.]+", "-", plain)
    table = _products(ecosystem)
    if plain in table.exact:
        return table.exact[plain]
    for expression, signal in table.patterns:
        if expression.fullmatch(plain):
            return signal
    if ecosystem == "maven":
        return _nearest(table.exact, plain.split(":")[0], ".")
    return _nearest(table.exact, plain, "/") if ecosystem == "go" else None


@lru_cache(maxsize=65536)
def import_(language: str, module: str) -> ProductSignal | None:
    """The signal of an imported module, matched on its dots (Python, Java, Kotlin) or slashes (Go, npm); the longest wins."""
    key = _LANGUAGE_KEYS.get(language, "")
    if not key or not module or module.startswith("."):
        return None
    if key == "python" or key == "java":
        return _nearest(_products(key).exact, module, ".")
    plain = module.lower().removeprefix("npm:")
    table = _products(key)
    found = _nearest(table.exact, plain, "/")
    if found:
        return found
    head = "/".join(plain.split("/")[: 2 if plain.startswith("@") else 1])
    return next((signal for expression, signal in table.patterns if expression.fullmatch(head)), None)


def _nearest(table: dict[str, ProductSignal], name: str, separator: str) -> ProductSignal | None:
    while name:
        if name in table:
            return table[name]
        name = name.rpartition(separator)[0]
    return None


@lru_cache(maxsize=16384)
def model(name: str) -> ModelSignal | None:
    """The family of a model id as written, or None. Prefixes of gateways and clouds are looked through.

    Families whose name is a common word ("command-", "o1", "flux") must go on with a digit, a dash or a colon.
    """
    plain = name.strip().lower()
    if not 2 <= len(plain) <= 200 or any(c.isspace() for c in plain):
        return None
    table = load("signals/models")
    provider, plain = _gateway(plain, table["prefixes"])
    plain = re.sub(r"^(us|eu|apac|au|jp|global|us-gov)\.(?=[a-z0-9]+\.)", "", plain.removeprefix("models/"))
    plain = re.sub(r"^arn:aws[^:]*:bedrock:[^:]*:[^:]*:(foundation-model|inference-profile|[a-z-]+)/", "", plain)
    for expression, signal in _models():
        if expression.fullmatch(plain):
            return signal._replace(provider=provider or signal.provider)
    owner, slash, rest = plain.partition("/")
    if slash and rest and "/" not in rest and owner in _owners():
        kind = AssetKind.embedding_model if "embed" in rest or "minilm" in rest else AssetKind.model
        return ModelSignal(kind, provider, owner + "/*")
    if provider and provider not in ("google-gemini", "databricks") and slash_or_colon(name):
        return ModelSignal(AssetKind.embedding_model if "embed" in plain else AssetKind.model, provider, "prefix")
    return None


def slash_or_colon(name: str) -> bool:
    """Whether a name has the form a gateway gives: provider/model or provider:model."""
    return bool(re.fullmatch(r"[\w.-]+[/:][\w.:/@-]*[\w-]", name.strip()))


def _gateway(plain: str, prefixes: dict[str, str]) -> tuple[str, str]:
    provider = ""
    for _ in range(2):
        head, mark, rest = plain.partition("/")
        if not mark:
            head, mark, rest = plain.partition(":")
        if not mark or not rest or head not in prefixes or (mark == ":" and rest.isdigit()):
            break
        if mark == "/" and head in _owners():
            # An owner on a model hub as well as a gateway's word: the family says whose it is.
            plain = rest
            break
        provider = provider or prefixes[head]
        plain = rest
    return provider, plain


@cache
def _models() -> tuple[tuple[re.Pattern[str], ModelSignal], ...]:
    out = []
    for row in _rows("models", "models"):
        kind = AssetKind(row["kind"])
        text = re.escape(row["match"]).replace(r"\*", "[a-z0-9._:@/+-]*")
        if row.get("strict"):
            text = re.escape(row["match"].rstrip("*-")) + r"(?:[-.:0-9][a-z0-9._:@/+-]*)?"
            if row["match"].endswith("-*"):
                text = re.escape(row["match"][:-1]) + r"[a-z0-9._:@/+-]*[0-9][a-z0-9._:@/+-]*"
        out.append((re.compile(text), ModelSignal(kind, row["provider"], row["match"])))
    return tuple(out)


@cache
def _owners() -> frozenset[str]:
    return frozenset(load("signals/models")["owners"])


def worth_parsing(data: bytes) -> bool:
    """Whether a source file holds a name that discovery or a check could need; see worth.py."""
    from afterguard.discover.worth import worth_parsing as worth

    return worth(data)


@cache
def call_names(group: str, name: str = "") -> frozenset[str]:
    """A list of signals/calls, or one entry of a table there."""
    rows = load("signals/calls")[group]
    return frozenset(rows.get(name, ()) if name else rows)


@cache
def endings(group: str) -> tuple[str, ...]:
    """A list of signals/calls for `str.endswith`: each entry after a dot."""
    return tuple(word if word.startswith(".") else f".{word}" for word in load("signals/calls")[group])


@cache
def client_providers() -> dict[str, str]:
    """Class or function that makes a client -> provider it reaches."""
    rows = load("signals/calls")["clients"]
    return {word: provider for provider, words in rows.items() for word in words}
