"""A process that fills a spool and delivers to a file until it is killed.

In: FOLDER, OUT; on standard input the number of the first event, one for each process to come. Out: their process ids; events in OUT, and in OUT with the ending .said a line for each whose `put` returned.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from afterguard.export.exporter import Exporter
from afterguard.export.settings import parse


def sinks(out: Path) -> tuple:  # type: ignore[type-arg]
    return parse(
        f"format: afterguard.sinks/1\nsinks:\n  - {{name: it, kind: file, path: {out}, spool_mb: 4, batch: 7}}"
    ).sinks


def write(folder: Path, out: Path, start: int) -> None:
    """Put alerts and audit events in turn, delivering meanwhile; say which were taken."""
    said = os.open(out.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Exporter(sinks(out), folder) as one:
        n = start
        while True:
            lane = "alert" if n % 5 == 0 else "audit"
            one.put(lane, {"id": f"e{n}", "pad": "x" * (n % 700)})
            # One small write, which a kill does not tear.
            os.write(said, f"e{n}\n".encode())
            n += 1


if __name__ == "__main__":
    # What is imported once serves many: each line on standard input is the first number of another child.
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            write(Path(sys.argv[1]), Path(sys.argv[2]), int(line))
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)
