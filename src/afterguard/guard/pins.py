"""Tools of an MCP server as they were described when they were first seen, kept in a file.

In: what tools/list says. Out: the pins the detectors compare with, and a JSON file that a person can read, check in and correct. The first list is taken as it is; what differs later is a hit
(detect/tool_rules.py), until somebody takes the entry out of the file. It decides nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from afterguard import files
from afterguard.detect import tool_rules
from afterguard.detect.tool_rules import ToolRules
from afterguard.errors import UsageError
from afterguard.guard.brain import Brain
from afterguard.model import ToolSpec

CAP = 4 << 20
TOOLS = 2_000
"""Tools of one server that are pinned."""
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class File(msgspec.Struct, forbid_unknown_fields=True):
    """The file."""

    format: str = "afterguard.pins/1"
    servers: dict[str, dict[str, Digest]] = {}
    """Server -> tool -> SHA-256 of its name, description and schema."""


class Pins:
    """Pins of one server."""

    def __init__(self, path: Path, server: str) -> None:
        self.path = path
        self.server = server
        known = _read(path).servers.get(server)
        self.is_first = known is None
        """Whether this process is the first to see the server: what it offers is pinned, page by page."""
        self.pinned: dict[str, str] = dict(known or {})

    def see(self, tools: Sequence[ToolSpec]) -> None:
        """Take tools that are seen for the first time, while the server itself is new."""
        if self.is_first:
            fresh = [(name, pin) for name, pin in tool_rules.pins(tools).items() if name not in self.pinned]
            self.pinned.update(fresh[: max(0, TOOLS - len(self.pinned))])

    def agree(self, brain: Brain) -> None:
        """Let the detectors know. What the policy pins itself wins."""
        known = brain.agreed.tools or ToolRules()
        merged = {**self.pinned, **known.pins}
        if known.pins != merged:
            brain.agreed = brain.agreed._replace(tools=msgspec.structs.replace(known, pins=merged))
            brain.agreed.put_into(brain.context)

    def keep(self, *, is_last: bool) -> None:
        """Write the file, whole or not at all; other servers' pins stay as they are now. After the last page the list is closed. Raises UsageError."""
        self.is_first = not is_last
        file = _read(self.path)
        file.servers[self.server] = dict(sorted(self.pinned.items()))
        data = msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.write_bytes(data)
            part.replace(self.path)
        except OSError as error:
            raise UsageError(
                f"cannot write {self.path}: {files.why(error)}", hint="choose another --pins", slug="cannot-write"
            ) from None


def _read(path: Path) -> File:
    try:
        data = files.named(path, CAP)
    except FileNotFoundError:
        return File()
    except OSError as error:
        raise _bad(path, files.why(error)) from None
    try:
        found = msgspec.json.decode(data, type=File)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise _bad(path, str(error)) from None
    if found.format != File().format:
        raise _bad(path, "another format")
    return found


def _bad(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} holds no pins: {why[:300]}", hint="mend it, or name a new file with --pins", slug="bad-pins"
    )
