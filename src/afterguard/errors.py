"""Errors a person sees: what went wrong, what to do next, and the exit code that says so.

In: nothing. Out: five exception kinds. Anything else that escapes is a defect in Afterguard and exits with 1.
"""

from __future__ import annotations


class AfterguardError(Exception):
    """A problem to tell the user about. `hint` says what to do next; `slug` names the page in docs/reference/messages.md."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str, slug: str) -> None:
        super().__init__(message)
        self.hint = hint
        self.slug = slug


class UsageError(AfterguardError):
    """A wrong flag, an unreadable configuration, a business file that does not fit."""

    exit_code = 2


class NothingToExamine(AfterguardError):
    """The paths exist but hold nothing this command can read."""

    exit_code = 3


class Unreachable(AfterguardError):
    """A database, key command or host did not answer."""

    exit_code = 4


class NotAllowed(AfterguardError):
    """The owner's leave does not hold now: it ended, has not begun, or these are quiet hours."""

    exit_code = 5


EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_NOTHING = 3
EXIT_UNREACHABLE = 4
EXIT_NOT_ALLOWED = 5
EXIT_GATE = 10
