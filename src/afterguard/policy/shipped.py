"""The policies that come with Afterguard: starter, which needs no description of the application, and strict.

In: a name. Out: the text as it stands in the catalog, or the loaded Policy, cached for the process.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from afterguard import catalog
from afterguard.config import nearest
from afterguard.errors import UsageError
from afterguard.policy.load import Policy, load

SHIPPED = ("starter", "strict")


def shipped_text(name: str) -> str:
    """The YAML of a policy that comes with Afterguard. Raises UsageError for another name."""
    if name not in SHIPPED:
        raise UsageError(
            f"no policy {name!r} comes with Afterguard", hint=nearest(name, list(SHIPPED)), slug="bad-policy"
        )
    return resources.files(catalog).joinpath("policies", f"{name}.yaml").read_text(encoding="utf-8")


@cache
def shipped(name: str) -> Policy:
    """A policy that comes with Afterguard, loaded."""
    return load(shipped_text(name), name)
