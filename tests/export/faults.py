"""Faults of the spool, as tests and the long run of bench/sinks.py use them: kills at any moment, and disks that forget.

In: a folder, a number of kills, a seed. Out: what was said to be taken, what arrived, what is counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from afterguard.export.exporter import Exporter

from .spool_child import sinks

CHILD = Path(__file__).with_name("spool_child.py")
SOURCE = Path(__file__).parents[2] / "src"


class Outcome(NamedTuple):
    """After the last kill, everything that was left delivered."""

    taken: int
    """Events whose `put` returned."""
    lost: set[str]
    """Of those, neither delivered nor counted: more ids than the counts account for."""
    arrived: int
    twice: int
    torn: int
    missing: int


def killed(folder: Path, kills: int, seed: int) -> Outcome:
    """A process that puts and delivers, killed with SIGKILL at random moments and started again."""
    draw = random.Random(seed)
    out = folder / "out.jsonl"
    said = out.with_suffix(".said")
    said.touch()
    words = [sys.executable, str(CHILD), str(folder / "spool"), str(out)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        start = 0
        for _ in range(kills):
            before = said.stat().st_size
            print(start, file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            until = time.monotonic() + 60
            # Sometimes before it has begun, sometimes in the middle.
            while draw.random() < 0.98 and said.stat().st_size == before:
                assert time.monotonic() < until, "the child takes nothing"
                time.sleep(0.002)
            time.sleep(draw.uniform(0.0, 0.1))
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == "gone\n"
            start = max((int(one[1:]) for one in said.read_text().split()), default=0) + 2
        parent.stdin.close()
    return settled(folder, out, said.read_text().split())


def settled(folder: Path, out: Path, taken: list[str]) -> Outcome:
    """Deliver what is left, and compare."""
    with Exporter(sinks(out), folder / "spool") as one:
        one.put("alert", {"id": "last"})
        one.put("audit", {"id": "last-too"})
        assert one.drain(120), one.counts()
        status = one.counts()["it"]
    ids = []
    for line in out.read_bytes().split(b"\n"):
        with contextlib.suppress(ValueError):  # the half line of a killed writer
            ids.append(json.loads(line)["id"])
    missing = sum(lane["missing"] for lane in status["lanes"].values())
    gone = set(taken) - set(ids)
    lost = gone if len(gone) > missing else set()
    return Outcome(len(taken), lost, len(set(ids)), len(ids) - len(set(ids)), status["counts"]["torn"], missing)
