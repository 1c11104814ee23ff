"""The options every command takes, and what they open: configuration, terminal, notes.

In: parsed flags. Out: a Session. Talk goes to stderr, data to stdout or --output.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from cyclopts import Parameter

from afterguard import config as configuration
from afterguard.compiled import Compiled, cache_folder
from afterguard.detect.prefilter import remember
from afterguard.errors import UsageError
from afterguard.model import SEVERITIES, App, Coverage
from afterguard.safe import terminal

Format = Literal["table", "json", "jsonl", "sarif", "junit", "md", "html", "cyclonedx", "csv"]
Level = Literal["info", "low", "medium", "high", "critical"]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    format: Annotated[Format, Parameter(name=["--format", "-f"])] = "table"
    "How to write the result."
    output: Annotated[str, Parameter(name=["--output", "-o"])] = "-"
    "Where to write it; - is standard output. Files are replaced whole."
    app: str | None = None
    "Name of the application."
    tenant: str | None = None
    "Whose data this is."
    fail_on: Level | None = None
    "Exit with 10 when a finding or incident is at or above this."
    no_fail: Annotated[bool, Parameter(negative=())] = False
    "Exit with 0 whatever was found."
    min_severity: Level | None = None
    "Leave out what is below this."
    persona: Literal["regular", "auditor"] | None = None
    "auditor also shows what is often fine."
    baseline: Path | None = None
    "Earlier JSON result; what stands in it is not reported again."
    config: Path | None = None
    "Configuration file."
    no_config: Annotated[bool, Parameter(negative=())] = False
    "Read no configuration file."
    store: str | None = None
    "SQLite file or postgresql:// address of the store."
    no_store: Annotated[bool, Parameter(negative=())] = False
    "Record nothing."
    offline: Annotated[bool, Parameter(negative=())] = False
    "Refuse every network access. Nothing here makes one but a PostgreSQL store."
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative=())] = False
    "Only data and errors."
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"], negative=())] = False
    "Also say what was skipped, line by line."
    color: Literal["auto", "always", "never"] = "auto"
    "Colours. NO_COLOR and FORCE_COLOR are respected."
    no_progress: Annotated[bool, Parameter(negative=())] = False
    "No progress line."


DEFAULT = Common()
Written = Literal["ocsf", "ocsf-1.9", "ecs", "cim", "cef", "leef", "otlp", "stix"]


@Parameter(name="*")
@dataclass(frozen=True)
class Exported(Common):
    """The options of every command, with the formats of a SOC in place of ours."""

    format: Annotated[Written, Parameter(name=["--format", "-f"])] = "ocsf"  # type: ignore[assignment]
    "How to write each event: one line each."


@dataclass
class Session:
    """An open command: merged configuration, collected coverage, and where talk goes."""

    common: Common
    loaded: configuration.Loaded
    coverage: list[Coverage] = field(default_factory=list)

    @property
    def config(self) -> configuration.Config:
        return self.loaded.config

    def note(self, row: Coverage) -> None:
        """Collect a coverage row; with --verbose say it at once."""
        self.coverage.append(row)
        if self.common.verbose:
            self.say(f"not read: {row.path}: {row.reason} {row.detail}")

    def say(self, text: str) -> None:
        """A line for the person, unless --quiet."""
        if not self.common.quiet:
            print(terminal(text), file=sys.stderr)

    def next(self, command: str) -> None:
        """Name the next command."""
        self.say(f"\nNext: {command}")

    def application(self, paths: list[Path]) -> App:
        """The application: --app, configuration, or the name of the first folder."""
        first = paths[0].resolve() if paths else Path.cwd()
        is_folder = os.path.isdir(first)
        folder = first if is_folder or not first.suffix else first.parent
        name = self.config.app or (first.name if is_folder else folder.name) or "application"
        return App(name=name, tenant=self.config.tenant, root=str(paths[0]) if paths else "")


def open_session(common: Common, start: Path | None = None, also: Mapping[str, Any] | None = None) -> Session:
    """Merge configuration for this command; `also` are settings given as flags of its own. Raises UsageError."""
    remember(Compiled(cache_folder()))
    named = common.config or (Path(os.environ["AFTERGUARD_CONFIG"]) if os.environ.get("AFTERGUARD_CONFIG") else None)
    file = None if common.no_config else named or configuration.find((start or Path.cwd()).resolve())
    if common.no_config and common.config:
        raise UsageError("--config and --no-config exclude each other", hint="give one of them", slug="bad-usage")
    flags: dict[str, Any] = {
        "app": common.app,
        "tenant": common.tenant,
        "scan.fail_on": common.fail_on,
        "scan.min_severity": common.min_severity,
        "scan.persona": common.persona,
        "store.url": common.store,
        "store.enabled": False if common.no_store else None,
        **(also or {}),
    }
    return Session(common, configuration.load(file, os.environ, flags, is_named=named is not None))


def gate(session: Session, severities: list[str]) -> int:
    """0, or 10 when something reaches --fail-on."""
    level = session.config.scan.fail_on
    if not level or session.common.no_fail:
        return 0
    floor = [str(one) for one in SEVERITIES].index(level)
    return 10 if any([str(one) for one in SEVERITIES].index(one) >= floor for one in severities) else 0


@contextmanager
def writing(target: str) -> Iterator[IO[str]]:
    """Standard output, or a file that is replaced whole or not at all."""
    if target == "-":
        yield sys.stdout
        return
    path = Path(target)
    try:
        path = path.resolve()
        if path.exists() and not path.is_file() and not path.is_dir():
            # A device or pipe is written to; a new file in its place would break it for everybody.
            with path.open("w", encoding="utf-8", newline="\n") as out:
                yield out
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        with part.open("w", encoding="utf-8", newline="\n") as out:
            try:
                yield out
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        part.replace(path)
    except OSError as error:
        raise UsageError(
            f"cannot write {target}: {error.strerror}", hint="choose another --output", slug="cannot-write"
        ) from None


class Progress:
    """One line on a terminal, from half a second on: what is being read, how much so far."""

    def __init__(self, session: Session, what: str) -> None:
        self.on = sys.stderr.isatty() and not session.common.no_progress and not session.common.quiet
        self.what = what
        self.started = self.shown = time.monotonic()

    def __call__(self, count: int, unit: str, done: int = 0) -> None:
        """`count` things of a unit so far, `done` bytes."""
        now = time.monotonic()
        if self.on and now - self.started > 0.5 and now - self.shown > 0.1:
            self.shown = now
            size = f", {done / 1e6:.0f} MB" if done else ""
            print(
                f"\r\x1b[2K{self.what}: {count:,} {unit}{size}, {now - self.started:.0f} s",
                end="",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Remove the line."""
        if self.on and self.shown != self.started:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
