"""The files of encrypted originals: written whole, erased for good, strays removed.

In: encrypted bytes with an id of our own making. Out: files of mode 0600 in one folder. It knows nothing of keys and follows no link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Container
from pathlib import Path

from afterguard.errors import UsageError

CAP = (64 << 20) + 1024
"""Bytes of a file that are read; a longer one cannot be ours."""
YOUNG_SECONDS = 3600.0
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Blobs:
    """One folder of files. UsageError when it cannot be made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._failed("made", error, "unwritable") from error

    def path(self, name: str) -> Path:
        """Where the file of an id is."""
        return self.folder / f"{name}.blob"

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, None when it is gone or no regular file."""
        try:
            handle = os.open(self.path(name), os.O_RDONLY | NO_FOLLOW | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(handle, "rb") as file:
                return file.read(CAP + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all, and on the disk before anything says that it exists. UsageError."""
        scratch = self.folder / f".{name}.part"
        try:
            handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o600)
            with os.fdopen(handle, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            scratch.replace(self.path(name))
        except OSError as error:
            with contextlib.suppress(OSError):
                scratch.unlink(missing_ok=True)
            raise self._failed("written", error, "unwritable") from error

    def erase(self, name: str) -> bool:
        """Overwrite and remove the file of an id; whether it was there. UsageError when it stays."""
        return self._erase(self.path(name))

    def sweep(self, owned: Container[str], now: float) -> int:
        """Remove files of ids that nobody owns; young ones may belong to a run that is still writing. How many."""
        count = 0
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            name = path.name.lstrip(".").partition(".")[0]
            if path.suffix not in (".blob", ".part") or name in owned or path.is_symlink() or not path.is_file():
                continue
            if now - path.stat().st_mtime > YOUNG_SECONDS:
                count += self._erase(path)
        return count

    def _erase(self, path: Path) -> bool:
        try:
            info = path.lstat()
            if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
                # Overwriting is best effort, a disk may keep copies: destroying the key is what counts.
                with contextlib.suppress(OSError):
                    handle = os.open(path, os.O_WRONLY | NO_FOLLOW)
                    with os.fdopen(handle, "wb") as out:
                        out.write(bytes(min(info.st_size, CAP)))
                        out.flush()
                        os.fsync(out.fileno())
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failed("deleted", error, "undeletable") from error
        return True

    def _failed(self, what: str, error: OSError, kind: str) -> UsageError:
        message = f"originals in {self.folder} cannot be {what}: {error.strerror}"
        hint = "check evidence.folder, its permissions and the free space, then try again"
        if kind == "undeletable":
            return UsageError(message, hint=hint, slug="evidence-undeletable")
        return UsageError(message, hint=hint, slug="evidence-unwritable")
