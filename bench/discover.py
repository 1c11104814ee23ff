"""Discovery of 5,000 files on one core, beside the floor of only reading them in the same run.

    python bench/discover.py [--files 5000]

Prints seconds, files a second, and the ratio to the floor. The core is pinned where the system allows it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from afterguard.jobs.survey import survey
from afterguard.model import App
from corpus import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as scratch:
        root = build(Path(scratch) / "tree", args.files)
        floors, discovers, scans = [], [], []
        for _ in range(args.rounds):
            floors.append(_time(lambda: sum(len(p.read_bytes()) for p in root.rglob("*") if p.is_file())))
            discovers.append(_time(lambda: survey([root], App("bench"), note=lambda _row: None, checking=False)))
            scans.append(_time(lambda: survey([root], App("bench"), note=lambda _row: None)))
        floor, discover, scan = (statistics.median(rows) for rows in (floors, discovers, scans))
        print(f"files {args.files}, rounds {args.rounds}, one core, medians")
        print(f"floor (read every byte)   {floor:7.2f} s")
        print(
            f"discover                  {discover:7.2f} s  {args.files / discover:7.0f} files/s  {discover / floor:5.1f} x floor"
        )
        print(f"discover and scan         {scan:7.2f} s  {args.files / scan:7.0f} files/s  {scan / floor:5.1f} x floor")


def _time(job: Callable[[], object]) -> float:
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
