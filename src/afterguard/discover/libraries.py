"""AI libraries a file imports -> frameworks, providers and vector stores.

In: Facts. Out: Assets, declared where the import is used, inferred where it only stands there. A provider's own SDK that is
pointed at another address is no sign of that provider; see clients.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from afterguard.code.syntax import Import
from afterguard.discover.facts import Facts
from afterguard.model import Asset, AssetKind, Certainty, Edge


def find(facts: Facts) -> Iterator[Asset]:
    """One asset an import; the join over files merges them."""
    if not facts.products:
        return
    used = _used(facts)
    for one, signal in facts.products:
        sure = Certainty.declared if _is_used(facts, one, used) else Certainty.inferred
        version = "dynamic" if one.dynamic else ""
        if signal.kind is AssetKind.provider:
            continue
        edges = [Edge("calls", AssetKind.provider, signal.provider)] if signal.provider else []
        roles = " ".join(role for role in signal.roles if role not in ("weak", "guess"))
        yield facts.asset(signal.kind, signal.name, one.line, sure, edges, package=one.module, use=roles, load=version)


def is_used(facts: Facts, one: Import) -> bool:
    """Whether the name an import binds appears anywhere in the file."""
    return _is_used(facts, one, _used(facts))


def _is_used(facts: Facts, one: Import, used: set[str]) -> bool:
    if one.dynamic or one.name == "*":
        return True
    full = f"{one.module}.{one.name}" if one.name and one.name != "default" else one.module
    return any(text == full or text.startswith((full + ".", full + "(")) for text in used if text.startswith(full))


def _used(facts: Facts) -> set[str]:
    found = getattr(facts, "_used_names", None)
    if found is None:
        found = {expr.text for _, expr in facts.of_kind("name", "call", "index")}
        found |= {base for bases in facts.classes.values() for base in bases}
        found |= {
            re.sub(r"[<\[].*", "", param.annotation) for function in facts.module.functions for param in function.params
        }
        facts._used_names = found  # type: ignore[attr-defined]
    return found
