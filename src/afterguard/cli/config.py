"""`afterguard config`: what is set, where it came from, and the schema."""

from __future__ import annotations

import json

import msgspec
from cyclopts import App

from afterguard import config as configuration
from afterguard.cli.options import DEFAULT, Common, open_session, writing

config = App(name="config", help="What is set and where each value came from.", help_format="plaintext")


@config.command
def show(*, origin: bool = False, common: Common = DEFAULT) -> int:
    """Print every setting with its value.

    Parameters
    ----------
    origin
        Also say where the value came from: default, file and line, environment variable or flag.
    """
    session = open_session(common)
    values = msgspec.to_builtins(session.config)
    with writing(common.output) as out:
        if common.format == "json":
            rows = {
                key: {"value": _at(values, key), "origin": session.loaded.origins[key]}
                for key in configuration.settings()
            }
            out.write(json.dumps({"format": "afterguard.config/1", "settings": rows}, indent=2, default=str) + "\n")
            return 0
        for key in configuration.settings():
            tail = f"    # {session.loaded.origins[key]}" if origin else ""
            out.write(f"{key} = {json.dumps(_at(values, key), default=str)}{tail}\n")
    session.next("afterguard config schema")
    return 0


@config.command
def schema(*, common: Common = DEFAULT) -> int:
    """Print the JSON Schema of afterguard.toml."""
    with writing(common.output) as out:
        out.write(json.dumps(configuration.schema(), indent=2) + "\n")
    return 0


def _at(values: object, key: str) -> object:
    for part in key.split("."):
        values = values[part] if isinstance(values, dict) else None
    return values
