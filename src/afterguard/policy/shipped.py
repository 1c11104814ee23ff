"""The policies that come with Afterguard: starter, which needs no description of the application, strict, and rules to add.

In: a name. Out: the text as it stands in the catalog, one rule of it, or the loaded Policy, cached for the process.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

from afterguard import catalog
from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.policy.load import Policy, load

SHIPPED = ("starter", "strict")
EXTRA = "extra"
"""Rules that a policy can be given where an attack showed that it needs them; no policy by itself."""


def shipped_text(name: str) -> str:
    """The YAML of a policy that comes with Afterguard, or of the rules to add. Raises UsageError for another name."""
    if name not in (*SHIPPED, EXTRA):
        raise UsageError(
            f"no policy {name!r} comes with Afterguard", hint=nearest(name, list(SHIPPED)), slug="bad-policy"
        )
    return resources.files(catalog).joinpath("policies", f"{name}.yaml").read_text(encoding="utf-8")


@cache
def rule_text(id: str) -> str:
    """One rule as it is written, ready to stand under `rules:`; "" where none of those that act is called so."""
    for name in ("strict", EXTRA):
        text = shipped_text(name)
        found = re.search(rf"^  - id: {re.escape(id)}\n(?:    .*\n)*", text, re.M)
        if found and not re.search(r"^    action: flag$", found[0], re.M):
            return found[0]
    return ""


@cache
def shipped(name: str) -> Policy:
    """A policy that comes with Afterguard, loaded."""
    return load(shipped_text(name), name)
