"""How fast the look-back is against a floor in the same run: reading and JSON-decoding the same file.

    python bench/lookback.py [LOG.jsonl] [--megabytes 40] [--floor 15] [--gigabytes 10]

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

from afterguard import files
from afterguard.jobs.lookback import Tally, lookback, result
from afterguard.tap.record import Place, exchanges

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


class Repeated:
    """The conversations of a small log again and again with fresh ids, as a stream of a given size; nothing of it is on disk."""

    def __init__(self, size: int) -> None:
        rng = random.Random(1)
        self.rows = [conversation(rng, number) for number in range(400)]
        self.left, self.round, self.rest = size, 0, b""

    def read(self, size: int = -1) -> bytes:
        """At least one line while anything is left."""
        if self.left <= 0:
            return b""
        for row in self.rows:
            row["id"] = f"{row['id'].partition('-')[0]}-{self.round}"
        self.round += 1
        block = b"".join(json.dumps(row).encode() + b"\n" for row in self.rows)
        self.left -= len(block)
        return block


def soak(gigabytes: float) -> int:
    """Look back over a generated stream of this size; memory at every tenth. 1 where it ends above 1 GiB or still grows fast."""
    tally = Tally("soak", lambda value: hashlib.blake2b(value.encode(), digest_size=8).hexdigest())
    total, seen, began = int(gigabytes * 1e9), 0, time.process_time()
    samples: list[float] = []
    stream: Any = Repeated(total)
    for line in files.lines(stream):
        for one in exchanges(msgspec.json.decode(line.data), Place("soak.jsonl", line.number, len(line.data))):
            if one is not None:
                tally.add(one)
        seen += len(line.data)
        if seen >= (len(samples) + 1) * total / 10:
            samples.append(resident())
            rate = seen / 1e6 / (time.process_time() - began)
            print(f"{seen / 1e9:.2f} GB  {samples[-1]:.0f} MiB  {rate:.1f} MB/s", flush=True)
    result(tally, 0.0)
    return 0 if resident() < 1024 and samples[-1] < samples[len(samples) // 2] + 150 else 1


def resident() -> float:
    """Memory now, MiB (the most so far where the system does not say)."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / (1 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
    parser.add_argument("--gigabytes", type=float, default=0.0, help="stream this much instead, and watch the memory")
    args = parser.parse_args()
    if args.gigabytes:
        return soak(args.gigabytes)
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
