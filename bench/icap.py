"""What the ICAP door adds: the same requests through a Squid that opens TLS, without the guard, with it observing and with it enforcing, in one run.

In: --requests. Out: a table on standard output. Needs squid-openssl; says so where it is missing. The clients take turns, so that whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

TESTS = Path(__file__).resolve().parents[1] / "tests/guard"


def module(name: str) -> ModuleType:
    """A file of the guard's tests: they start what is measured."""
    key = f"guard_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, TESTS / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[key] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=400)
    count = parser.parse_args().requests
    running, box, peers, squid = module("running"), module("squid"), module("peers"), module("test_icap_squid")
    if not box.is_here():
        print(box.MISSING)
        return
    with contextlib.ExitStack() as stack:
        authority = peers.Authority(Path(tempfile.mkdtemp()))
        stand_in = stack.enter_context(running.stand_in())
        tls = stack.enter_context(box.front(stand_in.origin, *authority.issue("front")))
        origin = f"https://localhost:{tls}"
        ways: dict[str, Any] = {"Squid alone": client(stack, squid, box, authority, origin, "")}
        for mode in ("observe", "enforce"):
            door = running.free_port()
            mounts = {"openai": f"{origin}/openai"}
            folder = Path(tempfile.mkdtemp())
            flags = ("--mode", mode, f"--door=icap=127.0.0.1:{door}")
            guard = stack.enter_context(running.guard("", folder, "", *flags, mounts=mounts))
            lines = squid.lines(door, origin, guard.policy)
            ways[f"with the guard, {mode}"] = client(stack, squid, box, authority, origin, lines)
        report(measured(ways, origin, count))


def client(stack: contextlib.ExitStack, squid: Any, box: Any, authority: Any, origin: str, lines: str) -> Any:
    port = module("running").free_port()
    one = stack.enter_context(box.squid(lines, authority, port))
    return stack.enter_context(squid.client_of(authority, one.url, origin))[1]


def measured(ways: dict[str, Any], origin: str, count: int) -> dict[str, list[float]]:
    """Milliseconds of each request, by way."""
    out: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(count + 20):
        for name, http in ways.items():
            turns = [
                {
                    "role": "user",
                    "content": f"What are the opening hours of depot {name} {number}? [[say: From eight to six.]]",
                }
            ]
            began = time.perf_counter()
            http.post(f"{origin}/openai/v1/chat/completions", json={"model": "m", "messages": turns}).raise_for_status()
            if number >= 20:
                out[name].append((time.perf_counter() - began) * 1000)
    return out


def report(found: dict[str, list[float]]) -> None:
    base: list[float] | None = None
    print(
        f"{'':<26} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'added p50':>10}   load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    for name, times in found.items():
        times.sort()
        at = [times[min(len(times) - 1, int(len(times) * part))] for part in (0.5, 0.9, 0.99)]
        base = base or at
        print(f"{name:<26} {at[0]:>8.2f} {at[1]:>8.2f} {at[2]:>8.2f} {at[0] - base[0]:>10.2f}")


if __name__ == "__main__":
    main()
