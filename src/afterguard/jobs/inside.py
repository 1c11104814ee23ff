"""Settings -> the guard inside this application's process.

In: a configuration file or none, settings of [guard] by name. Out: an `Inside` (guard/inside.py) and the routes of the application's own endpoints. It reads the files that the command `afterguard guard` reads.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from afterguard import config as configuration
from afterguard.compiled import Compiled, cache_folder
from afterguard.config import Config
from afterguard.detect.prefilter import memory, remember
from afterguard.errors import UsageError
from afterguard.guard.inside import Inside
from afterguard.guard.route import KINDS, Route
from afterguard.jobs.guard import common, mapped
from afterguard.jobs.judging import Judging, key, policy_of
from afterguard.jobs.sheets import sheets_of

UNUSED = (
    "listen",
    "door",
    "gateway",
    "upstream",
    "workers",
    "hang",
    "helpers",
    "token",
    "tls_certificate",
    "tls_key",
    "client_ca",
)
"""Settings of [guard] that mean nothing inside an application."""


class Made:
    """The guard of an application: who judges, and what the settings say of its routes."""

    def __init__(self, config: Config, inside: Inside) -> None:
        self.config = config
        self.inside = inside

    def route(self, name: str, kind: str, mapping: Any = None) -> Route:
        """A route that the guard inside is ready for. Raises UsageError where the name is another's."""
        if kind not in KINDS:
            raise UsageError(f"{kind!r} is no kind of provider", hint=f"one of {', '.join(KINDS)}", slug="bad-upstream")
        made = msgspec.convert(
            {"name": name, "kind": kind, "upstream": "", "mapping": mapping, **common(self.config)}, Route
        )
        try:
            self.inside.know(made)
        except ValueError as error:
            raise UsageError(str(error), hint="give each route its own name", slug="bad-upstream") from None
        return made

    def endpoints(self) -> list[tuple[str, Route]]:
        """(path, route) of the application's chats, as `guard.endpoint` and `guard.mapping` say. Raises UsageError."""
        rows = [_endpoint(text) for text in self.config.guard.endpoint]
        found = mapped(
            [Route(name, kind, "") for _, name, kind in rows], self.config.guard.mapping, self.config.guard.schema
        )
        return [(path, self.route(one.name, one.kind, one.mapping)) for (path, _, _), one in zip(rows, found)]


def _endpoint(text: str) -> tuple[str, str, str]:
    """(path, name, kind) of NAME=/path or NAME:KIND=/path."""
    label, _, path = text.partition("=")
    name, _, kind = label.strip().partition(":")
    kind = kind or (name if name in KINDS else "plain")
    if not name or not path.startswith("/") or kind not in KINDS:
        raise UsageError(
            f"no endpoint: {text!r}",
            hint=f"support=/chat, or openai=/v1/*, or NAME:KIND=/path with KIND one of {', '.join(KINDS)}",
            slug="bad-upstream",
        )
    return path.strip(), name, kind


def made(config: str | Path | None = None, **settings: Any) -> Made:
    """The guard, ready: who judges is made and warm. `settings` are those of [guard] (mode, policy, folder...) and `app`. Raises UsageError."""
    found = loaded(config, settings)
    guard = found.guard
    folder = Path(guard.folder) if guard.folder else _data() / "guard"
    log = Path(guard.log) if guard.log else folder / "decisions.jsonl"
    if memory() is None:
        remember(Compiled(cache_folder()))
    sheets = sheets_of(guard, folder, key(folder))
    policy = policy_of(guard.policy)
    if sheets is not None:
        sheets.first()
    return Made(found, Inside(partial(Judging, guard, folder, log, policy, 0)))


def loaded(config: str | Path | None, settings: dict[str, Any]) -> Config:
    """The configuration: the named file or AFTERGUARD_CONFIG, the environment, then what the application says itself. Raises UsageError."""
    for name in settings:
        if name in UNUSED:
            raise UsageError(
                f"guard.{name} means nothing inside an application", hint="leave it out", slug="unknown-setting"
            )
        if name != "app" and name not in configuration.GuardConfig.__struct_fields__:
            known = [*configuration.GuardConfig.__struct_fields__]
            raise UsageError(
                f"no such setting: {name!r}", hint=configuration.nearest(name, known), slug="unknown-setting"
            )
    named = config or os.environ.get("AFTERGUARD_CONFIG")
    flags = {name if name == "app" else f"guard.{name}": _plain(value) for name, value in settings.items()}
    return configuration.load(Path(named) if named else None, os.environ, flags).config


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _data() -> Path:
    """The user's data folder, as the commands have it."""
    base = os.environ.get("XDG_DATA_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else "")
    return (Path(base) if base else Path.home() / ".local" / "share") / "afterguard"
