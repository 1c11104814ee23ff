"""The openai Node SDK: one script, run directly and through the guard."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def node_script() -> Path:
    """The script beside its installed package, in the user's cache, keyed by what is to be installed."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no node and npm here")
    key = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "afterguard" / "tests" / f"node-{key}"
    if not (folder / ".ready").exists():
        # Each worker fills a folder of its own; the first to be done puts it in place.
        fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
        fresh.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, fresh)
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=fresh,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            pytest.skip(f"npm could not install the SDK: {done.stderr.strip()[-200:]}")
        (fresh / ".ready").touch()
        try:
            fresh.rename(folder)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
    script = folder / f"trial.{os.getpid()}.mjs"
    shutil.copy(HERE / "trial.mjs", script)
    yield script
    script.unlink(missing_ok=True)


def test_node(node_script: Path, both: Any, way: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        done = subprocess.run(
            ["node", str(node_script), f"{origin}/openai/v1", tag], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    told = both(talk)
    assert [choice["message"]["content"] for choice in told["plain"]["choices"]] == [
        "Grüezi 你好 👋🏽",
        "Grüezi 你好 👋🏽 (choice 1)",
    ]
    assert (
        "".join(event["choices"][0]["delta"].get("content") or "" for event in told["stream"] if event["choices"])
        == "Grüezi 你好 👋🏽"
    )
    assert told["tools"]["tool_calls"][0]["function"] == {"name": "forecast", "arguments": '{"city": "Bern"}'}
    assert (told["image"], told["long"], told["compressed"], told["responses"]) == ("A point.", "Read.", "small", "So.")
    assert told["refused"]["status"] == 400 and told["refused"]["name"] == "BadRequestError"
    assert told["many"] == [f"number {n}" for n in range(12)]
    until = time.monotonic() + 20
    while way.stand_in.requests(tag)[-1]["outcome"] == "open" and time.monotonic() < until:
        time.sleep(0.02)
    assert way.stand_in.requests(tag)[-1]["outcome"] == "cancelled"
