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
