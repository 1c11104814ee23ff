"""Data only: signals, rules, losses and taxonomies, read from the package, never from the network.

In: a name. Out: the parsed document, cached for the process. Every file carries a date and its sources.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def load(name: str) -> Any:
    """The YAML document `name`, for instance "signals/hosts". Treat it as read-only. Raises FileNotFoundError."""
    text = resources.files(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)  # noqa: S506, TID251 - a safe loader, on our own file


def names(folder: str) -> list[str]:
    """Names that `load` takes below a folder, sorted."""
    root = resources.files(__name__).joinpath(folder)
    return sorted(
        f"{folder}/{entry.name.removesuffix('.yaml')}" for entry in root.iterdir() if entry.name.endswith(".yaml")
    )
