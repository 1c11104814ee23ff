"""The sample results as fixtures; `sample` is a plain module beside this file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load(name: str) -> ModuleType:
    """A module beside this file, imported by path."""
    key = f"report_tests_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, Path(__file__).with_name(f"{name}.py"))
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[key] = module
        spec.loader.exec_module(module)
    return sys.modules[key]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make gold` runs with this; a run of all tests does not know the option and never renews anything."""
    parser.addoption("--update-gold", action="store_true", help="renew tests/gold/report from what is rendered now")


@pytest.fixture
def renew(request: pytest.FixtureRequest) -> bool:
    """Whether gold files are written instead of compared."""
    return bool(request.config.getoption("--update-gold", default=False))


@pytest.fixture(scope="session")
def sample() -> ModuleType:
    """The sample builders."""
    return load("sample")
