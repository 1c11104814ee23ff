"""Secrets by reference: the settings say where one lies, never what it is.

In: `{env: NAME}` or `{file: PATH}`. Out: its text, read each time it is needed, so that a rotated one counts at once. It prints as where it lies; it is kept nowhere.
"""

from __future__ import annotations

import os

import msgspec

from afterguard import files
from afterguard.errors import UsageError


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret lies: one of the two."""

    env: str = ""
    file: str = ""

    def __str__(self) -> str:
        return f"${self.env}" if self.env else self.file

    def read(self) -> str:
        """Its text, without blanks around it. Raises UsageError, which never quotes it."""
        if bool(self.env) == bool(self.file):
            raise UsageError("a secret needs either env or file", hint="token: {env: NAME}", slug="bad-sinks")
        if self.file:
            return files.secret(self.file)
        text = os.environ.get(self.env, "").strip()
        if not text or not text.isprintable():
            raise UsageError(f"there is no secret in {self}", hint="set it, on one line", slug="bad-secret")
        return text


def told(secret: Secret | None) -> str:
    """Its text, "" where none is set."""
    return secret.read() if secret is not None else ""
