"""Programs of others that tests start, from the ordinary registry: each in an environment of its own.

In: a name, packages. Out: the interpreter of an environment that has them, made once in the user's cache; where they cannot be had the test skips and says why. uv makes it, some ten times as quick as pip;
where uv cannot, because it does not read pip's settings, pip does.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "afterguard-foreign"


def environment(name: str, *packages: str) -> Path:
    """The interpreter of an environment with these; made by one process while others wait."""
    folder, mark = CACHE / name, CACHE / name / "whole"
    python = folder / "bin/python"
    uv = [sys.executable, "-m", "uv"]
    ways = (
        ([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(folder)], [*uv, "pip", "install", "-q", "--python", str(python), *packages]),
        ([sys.executable, "-m", "venv", "--clear", str(folder)], [str(python), "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", *packages]),
    )  # fmt: skip
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text() != repr(packages):
            for way in ways:
                made = [subprocess.run(command, capture_output=True, text=True, check=False) for command in way]
                if not any(one.returncode for one in made):
                    break
            else:
                pytest.skip(f"{name} cannot be had here: {made[-1].stderr.strip()[-200:]}")
            mark.write_text(repr(packages))
    return python


def litellm() -> str:
    """The program."""
    return str(environment("litellm", "litellm[proxy]").with_name("litellm"))
