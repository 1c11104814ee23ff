"""The doors inside an application are proven like all others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from afterguard import clients
clients.guard(None, mode=sys.argv[1], policy="strict", judge="one", folder=sys.argv[2], log=sys.argv[2] + "/decisions.jsonl")
print(clients.prove("openai", "anthropic", "scoring"))
"""


def test_every_cell_of_every_door_inside_is_seen(tmp_path: Path) -> None:
    for mode in ("enforce", "observe"):
        command = [sys.executable, "-c", PROGRAM, mode, str(tmp_path / mode)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        for door in ("asgi/openai chat", "wsgi/openai responses", "httpx/anthropic messages", "asgi/scoring predict"):
            assert door in done.stdout
        assert "GAP" not in done.stdout and "cells seen guarded" in done.stdout, done.stdout
