"""How fast the look-back is against a floor in the same run: reading and JSON-decoding the same file.

    python bench/lookback.py [LOG.jsonl] [--megabytes 40] [--floor 15]

Without a log it writes a synthetic one (agent conversations with tools, one in fifty with trouble). CPU time of one process, so that a
busy machine does not change the answer much; the second of two passes counts, compiled patterns are warm. Exit code 1 below `--floor`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from afterguard.jobs.lookback import lookback

POLICY = " ".join(
    f"Section {n}. Before you change booking class {n}, read the fare note, check the traveller's tier and say what it costs."
    for n in range(60)
)
REPLIES = (
    "I found {n} flights for you. The earliest leaves at 07:{m:02d} and costs {p} dollars, with one bag included.",
    "Your booking {r} is confirmed. You will get a message at the address on file; is there anything else I can do?",
    "To change the date I need your confirmation: the difference is {p} dollars, charged to the card ending in {m:02d}17.",
)


def conversation(rng: random.Random, number: int) -> dict[str, Any]:
    """One synthetic conversation, OpenAI message form."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": POLICY}]
    for turn in range(rng.randrange(3, 9)):
        fill = {
            "n": rng.randrange(2, 9),
            "m": rng.randrange(60),
            "p": rng.randrange(40, 900),
            "r": f"K{rng.randrange(10**5):05d}",
        }
        messages.append(
            {"role": "user", "content": f"I would like to go on May {1 + turn} and pay about {fill['p']} dollars."}
        )
        call = {
            "id": f"call_{number}_{turn}",
            "type": "function",
            "function": {"name": "search_flights", "arguments": json.dumps(fill)},
        }
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        rows = [
            {"flight_number": f"ME{rng.randrange(1000):03d}", "origin": "VIE", "destination": "OSL", "price": rng.randrange(50, 900),
             "departure": f"{rng.randrange(24):02d}:{rng.randrange(60):02d}:00", "seats": {"basic": rng.randrange(30), "business": 4}}
            for _ in range(6)
        ]  # fmt: skip
        messages.append(
            {"role": "tool", "tool_call_id": call["id"], "name": "search_flights", "content": json.dumps(rows)}
        )
        messages.append({"role": "assistant", "content": rng.choice(REPLIES).format(**fill)})
    if number % 50 == 0:
        messages[-1]["content"] += (
            f"\n![s](https://q{number}.example/i?d={hashlib.sha256(str(number).encode()).hexdigest()})"
        )
    when = 1_770_000_000 + number * 40
    return {"id": f"c{number}", "time": when, "user": f"u{rng.randrange(500)}", "key": "app-1", "messages": messages}


def write(path: Path, megabytes: float) -> None:
    """A log of about this size."""
    rng = random.Random(1)
    written = number = 0
    with path.open("w", encoding="utf-8") as out:
        while written < megabytes * 1e6:
            written += out.write(json.dumps(conversation(rng, number)) + "\n")
            number += 1


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of the second of two runs."""
    work()
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path, nargs="?")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--floor", type=float, default=0.0, help="least MB/s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = args.log or Path(folder) / "log.jsonl"
        if args.log is None:
            write(log, args.megabytes)
        size = log.stat().st_size / 1e6
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        def floor() -> None:
            with log.open("rb") as lines:
                for line in lines:
                    msgspec.json.decode(line)

        def whole() -> None:
            lookback([log], app="bench", pseudonym=lambda v: hashlib.blake2b(v.encode(), digest_size=8).hexdigest())

        least, taken = seconds(floor), seconds(whole)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rate = size / taken
    print(
        f"log {size:.1f} MB; floor (read and decode) {size / least:.0f} MB/s; look-back {rate:.1f} MB/s, {taken / least:.1f} times the floor"
    )
    print(f"memory: {before / 1024:.0f} MiB before, {after / 1024:.0f} MiB at most")
    return 0 if rate >= args.floor else 1


if __name__ == "__main__":
    sys.exit(main())
