"""Compiled patterns kept between runs, in a folder of the user's cache.

In: a key and bytes. Out: the same bytes in a later run, or None. It believes only files that this account alone can write, and it may be
deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

KEPT = 24
"""Files of compiled patterns kept; older versions make room."""


def cache_folder() -> Path:
    """The user's cache folder for Afterguard; what lies there can be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else "")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "afterguard"
    except RuntimeError:  # an account without a home
        return Path(os.devnull) / "afterguard"


class Compiled:
    """Compiled patterns kept in a folder of the user's cache. Only files that this account alone can write are believed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> bytes | None:
        """What was kept under a key; None when it is missing, of another owner, writable by others or damaged."""
        path = self.folder / key
        try:
            for place in (self.folder, path):
                info = place.lstat()
                if (
                    stat.S_ISLNK(info.st_mode)
                    or info.st_mode & 0o022
                    or (hasattr(os, "getuid") and info.st_uid != os.getuid())
                ):
                    return None
            data = path.read_bytes()
        except OSError:
            return None
        return data[32:] if hashlib.sha256(data[32:]).digest() == data[:32] else None

    def put(self, key: str, data: bytes) -> None:
        """Keep it; a folder that cannot be written costs nothing but time."""
        part = self.folder / f".{key}.{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(hashlib.sha256(data).digest() + data)
            part.replace(self.folder / key)
            kept = sorted(self.folder.iterdir(), key=lambda path: path.lstat().st_mtime)
            for path in kept[:-KEPT]:
                path.unlink(missing_ok=True)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
