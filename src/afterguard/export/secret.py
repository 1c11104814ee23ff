"""Secrets by reference: the settings say where one lies, never what it is.

In: `{env: NAME}` or `{file: PATH}`. Out: its text, read each time it is needed, so that a rotated one counts at once. It prints as where it lies; it is kept nowhere.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from afterguard.errors import UsageError

LONGEST = 64 << 10


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
        if self.env:
            text = os.environ.get(self.env, "")
        else:
            text = self._from_file()
        text = text.strip()
        if not text or not text.isprintable():
            raise UsageError(f"there is no secret in {self}", hint="set it, on one line", slug="bad-secret")
        return text

    def _from_file(self) -> str:
        try:
            with Path(self.file).open("rb") as handle:
                return handle.read(LONGEST).decode()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise UsageError(
                f"cannot read the secret in {self.file}: {why}", hint="mount it", slug="bad-secret"
            ) from None


def told(secret: Secret | None) -> str:
    """Its text, "" where none is set."""
    return secret.read() if secret is not None else ""
