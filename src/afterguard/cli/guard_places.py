"""Where a guard keeps its things, as a command finds them.

In: flags and the configuration. Out: a Session, its folder, its log, the desk where persons settle what it asked.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterguard.cli.options import Common, Session, open_session
from afterguard.cli.recording import beside

if TYPE_CHECKING:
    from afterguard.jobs.approvals import Approver


def opened(common: Common, flags: dict[str, Any]) -> Session:
    return open_session(common, also={f"guard.{name}": value for name, value in flags.items()})


def folder_of(session: Session) -> Path:
    named = session.config.guard.folder
    return Path(named) if named else beside(session, "guard")


def log_of(session: Session) -> Path:
    named = session.config.guard.log
    return Path(named) if named else folder_of(session) / "decisions.jsonl"


def desk_of(session: Session) -> Approver:
    """Where a person settles what the guard asked."""
    from afterguard.jobs.approvals import desk

    return desk(folder_of(session), session.config.guard.redis, log_of(session), time.time())
