"""Configuration: layers, origins, and errors that say what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from afterguard import config
from afterguard.errors import UsageError


def test_layers_and_origins(tmp_path: Path) -> None:
    file = tmp_path / "afterguard.toml"
    file.write_text('tenant = "bank"\n[scan]\nfail_on = "high"\n')
    loaded = config.load(file, {"AFTERGUARD_SCAN_FAIL_ON": "low"}, {"app": "chat"})
    assert (loaded.config.tenant, loaded.config.scan.fail_on, loaded.config.app) == ("bank", "low", "chat")
    assert loaded.origins["tenant"] == f"{file}:1"
    assert loaded.origins["scan.fail_on"] == "environment AFTERGUARD_SCAN_FAIL_ON"
    assert loaded.origins["app"] == "flag"
    assert loaded.origins["risk.seed"] == "default"


def test_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "afterguard.toml"
    file.write_text("\n[scan]\nfail_onn = 'high'\n")
    with pytest.raises(UsageError, match=r"afterguard.toml:3: unknown setting 'scan.fail_onn'") as caught:
        config.load(file, {})
    assert "scan.fail_on" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        config.load(None, {"AFTERGUARD_TENNANT": "x"})
    assert "AFTERGUARD_TENANT" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "tenant = 1.5",
        "scan = 3",
        "[risk]\nyears = 10",
        "[limits]\nfiles = 0",
        "[[suppress]]\nrule = 'x'",
        "a = [" * 3000,
        "\x00",
    ],
)
def test_bad_values_are_usage_errors(tmp_path: Path, text: str) -> None:
    file = tmp_path / "afterguard.toml"
    file.write_text(text)
    with pytest.raises(UsageError):
        config.load(file, {})


def test_pyproject_and_search_stop_at_the_repository(tmp_path: Path) -> None:
    (tmp_path / "afterguard.toml").write_text("")
    inner = tmp_path / "repo" / "src"
    inner.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    assert config.find(inner) is None
    (tmp_path / "repo" / "pyproject.toml").write_text("[tool.afterguard]\napp = 'x'\n")
    found = config.find(inner)
    assert found is not None
    assert config.load(found, {}).config.app == "x"


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_loader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("c") / "afterguard.toml"
    file.write_bytes(data)
    try:
        config.load(file, {})
    except UsageError:
        pass


def test_the_schema_names_every_setting_and_what_is_no_list_has_a_variable() -> None:
    text = str(config.schema())
    for key, value in msgspec.to_builtins(_flat(config.Config())).items():
        assert key.rsplit(".", 1)[-1] in text
        variable = config.variable(key)
        assert bool(variable) != isinstance(value, list | dict), key
        if variable and value not in ("", None):
            assert config.load(None, {variable: str(value)}).origins[key] == f"environment {variable}"


def test_a_list_in_the_environment_is_refused_with_where_to_put_it() -> None:
    with pytest.raises(UsageError) as caught:
        config.load(None, {"AFTERGUARD_GUARD_GRPC": "x"})
    assert "guard.grpc is a list" in (caught.value.hint or "")


def _flat(of: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting's default by its dotted key."""
    out: dict[str, Any] = {}
    for field in msgspec.structs.fields(of):
        value, key = getattr(of, field.name), f"{prefix}{field.name}"
        out |= _flat(value, f"{key}.") if isinstance(value, msgspec.Struct) else {key: value}
    return out


@pytest.mark.parametrize(
    "text",
    [
        "[evidence]\nkey_command = 'touch x'\n",
        "[evidence]\nkeep = true\n",
        "[store]\nurl = 'postgresql://elsewhere.example/x'\n",
        "[limits]\nsource_bytes = 99999999999\n",
    ],
)
def test_a_file_that_was_only_found_runs_nothing_and_sends_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "afterguard.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match="only found"):
        config.load(file, {}, is_named=False)
    config.load(file, {})


def test_a_pipe_in_place_of_a_configuration_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "afterguard.toml")
    with pytest.raises(UsageError, match="not a regular file"):
        config.load(tmp_path / "afterguard.toml", {})
    assert config.find(tmp_path) is None
