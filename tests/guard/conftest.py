"""Fixtures for the doors: `net` is the module of stand-ins beside this file, `peer` makes servers and closes them, `authority` signs certificates."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


def load(name: str) -> Any:
    """A module beside this file, imported by path."""
    key = f"guard_tests_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, Path(__file__).with_name(f"{name}.py"))
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module
        spec.loader.exec_module(module)
    return sys.modules[key]


@pytest.fixture(scope="session")
def net() -> Any:
    """The stand-ins."""
    return load("peers")


@pytest.fixture
def peer(net: Any) -> Iterator[Callable[..., Any]]:
    """Makes peers, and closes them."""
    made: list[Any] = []

    def make(script: Any, tls: Any = None) -> Any:
        made.append(net.Peer(script, tls))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def authority(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A private certificate authority with files for a server (127.0.0.1, localhost) and a client."""
    return net.Authority(tmp_path_factory.mktemp("ca"))
