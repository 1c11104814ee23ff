"""Where responders keep their things, and who asks, as a command finds them.

In: flags and the configuration. Out: a Session with the store's cases, and the Room that jobs/respond.py works in.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cyclopts import Parameter

from afterguard.cli.guard_places import folder_of, log_of
from afterguard.cli.options import Common, Session, open_session
from afterguard.cli.policy_files import text_of
from afterguard.cli.recording import beside, target
from afterguard.errors import UsageError

if TYPE_CHECKING:
    from afterguard.jobs.respond import Room
    from afterguard.respond.roles import Person
    from afterguard.respond.settings import Settings
    from afterguard.store.cases import Cases

SETTINGS = "respond.yaml"


@Parameter(name="*")
@dataclass(frozen=True)
class Acting:
    """Options of every command that does something in a case: who acts, whom it is told, what may be done."""

    token: Path | None = None
    "File with your ID token, where roles come from a provider."
    break_glass: str = ""
    "The break-glass account, for when the provider is away: it agrees alone, and that is written everywhere. Its password is asked for."
    sinks: Path | None = None
    "The sinks file: what was done, and who agreed, goes to these destinations too."
    settings: Path | None = None
    "respond.yaml."


ACTING = Acting()


class Desk(NamedTuple):
    """What a command works with."""

    session: Session
    room: Room
    cases: Cases

    @property
    def now(self) -> float:
        return self.room.clock()


@contextmanager
def opened(common: Common, settings: Path | None = None) -> Iterator[Desk]:
    """Session, room and cases. Raises UsageError."""
    from afterguard.jobs.respond import Room
    from afterguard.respond import roles
    from afterguard.store.cases import Cases
    from afterguard.store.database import open_store

    session = open_session(common)
    folder = beside(session, "respond")
    found = settings_of(settings, folder)
    known = roles.load(text_of(Path(found.roles)), found.roles) if found.roles else None
    room = Room(folder, found, session.config.guard, folder_of(session), log_of(session), known)
    where = target(session)
    if "://" not in str(where):
        Path(where).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_store(where) as store:
        yield Desk(session, room, Cases(store))


def settings_of(named: Path | None, folder: Path) -> Settings:
    """The settings: as named, else respond.yaml here, else in the folder; else none, with which only cases can be kept and people asked."""
    from afterguard.respond import settings

    places = [named] if named else [Path(SETTINGS), folder / SETTINGS]
    for place in places:
        if named or place.is_file():
            return settings.load(text_of(place), str(place))
    return settings.Settings("afterguard.respond/1")


def who(desk: Desk, token: Path | None = None, break_glass: str = "") -> Person:
    """Who asks; without a token, where a provider says who somebody is, an account of this machine without a role, which may keep the record and look. The password of the break-glass account comes from GLASS_PASSWORD or the terminal, never from a flag. Raises UsageError."""
    from afterguard.files import secret
    from afterguard.jobs.respond import person_of
    from afterguard.respond.roles import Person

    if not token and not break_glass and desk.room.roles is not None and desk.room.roles.issuer:
        # The record says which account wrote it; a role comes from the provider alone.
        return Person(f"os:{account()}", account(), (), "os")
    password = ""
    if break_glass:
        password = os.environ.get("GLASS_PASSWORD") or getpass.getpass(f"password of {break_glass}: ")
    told = secret(str(token)) if token else ""
    return person_of(desk.room, account(), told, break_glass, password)


def acting(desk: Desk, token: Path | None = None, break_glass: str = "") -> Person:
    """The same of somebody who is about to act: where there is a roles file, it takes a role. Raises UsageError."""
    person = who(desk, token, break_glass)
    if desk.room.roles is not None and not person.roles:
        raise UsageError(f"{person.name} has no role here", hint=f"--token FILE, where a provider says who somebody is; somebody with one, or the roles file {desk.room.settings.roles}", slug="not-recognised")  # fmt: skip
    return person


def account() -> str:
    """The account of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}" if hasattr(os, "getuid") else "unknown"


def read_alerts(file: str) -> list[bytes]:
    """Alerts as JSON values: one, a list, or one a line. Raises UsageError."""
    import sys

    import msgspec

    data = sys.stdin.buffer.read(64 << 20) if file == "-" else text_of(Path(file)).encode()
    try:
        found = msgspec.json.decode(data)
        return [msgspec.json.encode(one) for one in (found if isinstance(found, list) else [found])]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        rows = [row for row in data.splitlines() if row.strip()]
    if not rows:
        raise UsageError(f"{file} holds no alerts", hint="JSON Lines of afterguard.alert/1", slug="bad-alerts")
    return rows
