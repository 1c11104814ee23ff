"""Export on one core: events a second into a file and into syslog with the spool synced at most every 50 ms, beside the floor of the same run; memory while a sink is away for an hour; kills.

python bench/sinks.py                 speed and memory
python bench/sinks.py --faults 200    as many kills at random moments of a process that puts and delivers

In: nothing; servers and files of its own in a temporary folder. Out: figures. The floors are what the machine does without us: a loop that writes the same bytes and syncs every 50 ms, and a loop that sends them over TCP to the same kind of receiver. The
speed runs are pinned to one core; the receiver of the syslog run, a plain process that reads and counts, is on another. Percentages of ours against floor are paired, run by run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from afterguard.export.exporter import Exporter
from afterguard.export.settings import parse
from afterguard.model import Alert, Confidence, Entity, Severity

EVENTS = 20_000
ROUNDS = 5
RECEIVER = """
import socket, sys
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
print(server.getsockname()[1], flush=True)
while True:
    line, _ = server.accept()
    count = 0
    while piece := line.recv(1 << 18):
        count += len(piece)
    print(count, flush=True)
"""


def event(n: int) -> Alert:
    """An alert as the watch makes them, of about 800 bytes of JSON."""
    return Alert(
        id=f"al-{n:032x}", fingerprint=f"{n % 997:032x}", kind="exfil-link", title="A link that carries data out was withheld",
        severity=Severity.high, confidence=Confidence.high, first_seen=1.8e9 + n, last_seen=1.8e9 + n + 5, observed=1.8e9 + n + 6, app="shop",
        detector="exfil_link", rule="exfil-link", cause="third-party text", taxonomies=("LLM02:2026", "AML.T0057"), excerpt="x" * 120,
        count=3, exchanges=tuple(f"{n + one:032x}" for one in range(3)), entities=(Entity("identity", f"{n % 5_000:016x}"), Entity("tool", "send_mail", "means")),
        touched={"identity": 1, "tool": 1}, risk=61, mount="chat", model="m-large", policy="r7",
    )  # fmt: skip


def pinned() -> None:
    """This process on the first core that it may use."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def ours(text: str, folder: Path, events: list[Alert]) -> tuple[float, float, float]:
    """Seconds until everything was delivered, processor seconds meanwhile, and the longest time unsynced."""
    settings = parse(f"format: afterguard.sinks/1\nsinks:\n  - {{name: it, lanes: [audit], {text}}}").sinks
    with Exporter(settings, folder) as out:
        began, used = time.perf_counter(), time.process_time()
        for one in events:
            out.put("audit", one)
        assert out.drain(120), out.counts()
        return time.perf_counter() - began, time.process_time() - used, out.longest_unsynced


def floor_file(path: Path, bodies: list[bytes]) -> float:
    """Write each line, sync every 50 ms."""
    began = last = time.perf_counter()
    with path.open("ab", buffering=0) as file:
        for one in bodies:
            file.write(one + b"\n")
            if time.perf_counter() - last >= 0.05:
                os.fdatasync(file.fileno())
                last = time.perf_counter()
        os.fdatasync(file.fileno())
    return time.perf_counter() - began


def floor_tcp(port: int, bodies: list[bytes]) -> float:
    """Send each message."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as line:
        for one in bodies:
            line.sendall(b"%d %b" % (len(one), one))
    return time.perf_counter() - began


def rates(name: str, run: Callable[[Path], tuple[float, float, float]], floor: Callable[[Path], float]) -> None:
    """Paired rounds, ours and the floor in turn."""
    seconds, used, pauses, floors = [], [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            one = run(Path(folder))
            floors.append(floor(Path(folder)))
        seconds.append(one[0])
        used.append(one[1])
        pauses.append(one[2])
    rate = [EVENTS / one for one in seconds]
    ratio = [ours_took / floor_took for ours_took, floor_took in zip(seconds, floors, strict=True)]
    print(
        f"{name:8} {statistics.median(rate):9,.0f} events/s (lowest {min(rate):,.0f} of {ROUNDS})  processor {statistics.median(used) / EVENTS * 1e6:.0f} us an event  "
        f"floor {EVENTS / statistics.median(floors):,.0f}/s  {statistics.median(ratio):.1f} times the floor's time  longest unsynced {max(pauses) * 1e3:.0f} ms"
    )


def speed() -> None:
    """File and syslog on one core."""
    cores = sorted(os.sched_getaffinity(0))
    receiver = subprocess.Popen(
        [sys.executable, "-c", RECEIVER],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
    )
    assert receiver.stdout is not None
    port = int(receiver.stdout.readline())
    # What it counts is read, so that its pipe never fills.
    threading.Thread(target=lambda: [None for _ in receiver.stdout or ()], daemon=True).start()
    pinned()
    events = [event(n) for n in range(EVENTS)]
    import msgspec

    bodies = [msgspec.json.encode(one) for one in events]
    print(f"{EVENTS:,} alerts of {sum(map(len, bodies)) // EVENTS} bytes, one core, spool synced within 50 ms")
    rates(
        "file",
        lambda folder: ours(f"kind: file, path: {folder}/out.jsonl", folder / "spool", events),
        lambda folder: floor_file(folder / "floor", bodies),
    )
    text = f"kind: syslog, host: 127.0.0.1, port: {port}, transport: tcp, settle: 0"
    rates("syslog", lambda folder: ours(text, folder / "spool", events), lambda _: floor_tcp(port, bodies))
    paced(port, events)
    receiver.kill()
    receiver.wait()


def paced(port: int, events: list[Alert], per_second: int = 5_000) -> None:
    """File and syslog together at the promised rate: how long anything is unsynced."""
    with tempfile.TemporaryDirectory() as folder:
        text = f"format: afterguard.sinks/1\nsinks:\n  - {{name: f, kind: file, path: {folder}/out}}\n  - {{name: s, kind: syslog, host: 127.0.0.1, port: {port}, transport: tcp, settle: 0}}"
        with Exporter(parse(text).sinks, Path(folder) / "spool") as out:
            began, used = time.perf_counter(), time.process_time()
            for n, one in enumerate(events):
                out.put("audit", one)
                if n % 50 == 49:
                    time.sleep(max(0.0, began + n / per_second - time.perf_counter()))
            took, cpu = time.perf_counter() - began, time.process_time() - used
            worst = out.longest_unsynced
            assert out.drain(30)
            lag = max(one["lag"] for one in out.counts().values())
    print(
        f"paced    {len(events) / took:,.0f} events/s into both at once: {cpu / took:.0%} of the core, longest unsynced {worst * 1e3:.0f} ms, lag at the end {lag:.2f} s"
    )


def away(per_second: int = 200) -> None:
    """An hour without the sink, on a clock that runs as fast as it can; then it is back."""
    now = 0.0
    with tempfile.TemporaryDirectory() as folder:
        gone = socket.socket()
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
        text = f"format: afterguard.sinks/1\nsinks:\n  - {{name: it, kind: syslog, host: 127.0.0.1, port: {port}, transport: tcp, spool_mb: 128, audit: shed}}"
        out = Exporter(parse(text).sinks, Path(folder), clock=lambda: now)
        body = json.dumps({"id": "x", "pad": "y" * 700}).encode()
        memory = []
        for second in range(3_600):
            now += 1.0
            for n in range(per_second):
                out.put_json("telemetry" if n % 4 else "audit", f"e{second}-{n}", body)
            out.step()
            if second % 300 == 299:
                memory.append(resident())
        lanes = out.counts()["it"]["lanes"]
        put, shed, waiting = (sum(one[what] for one in lanes.values()) for what in ("put", "shed", "backlog"))
        out.close()
        gone.close()
        print(
            f"away an hour: {3_600 * per_second:,} events, {waiting:,} wait on disk, {shed:,} shed and counted; resident after each 5 minutes, MB: {' '.join(f'{one:.0f}' for one in memory)}"
        )
        assert put + shed >= 3_600 * per_second and waiting + shed >= 3_600 * per_second, lanes


def resident() -> float:
    """Megabytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def faults(kills: int, seed: int) -> None:
    """Kills, in tens that each start from nothing."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.export.faults import killed

    taken = arrived = twice = torn = missing = 0
    lost: set[str] = set()
    for turn in range(0, kills, 10):
        with tempfile.TemporaryDirectory() as folder:
            one = killed(Path(folder), min(10, kills - turn), seed + turn)
        taken, arrived, twice, torn, missing = (
            taken + one.taken,
            arrived + one.arrived,
            twice + one.twice,
            torn + one.torn,
            missing + one.missing,
        )
        lost |= one.lost
    print(
        f"{kills} kills: {taken:,} events taken, {arrived:,} arrived, {twice:,} of them more than once, {torn} torn ends, {missing} counted as missing, {len(lost)} lost"
    )
    assert not lost


if __name__ == "__main__":
    told = argparse.ArgumentParser()
    told.add_argument("--faults", type=int, default=0, help="kills at random moments")
    told.add_argument("--seed", type=int, default=771_003)
    told.add_argument("--only", choices=("speed", "away"), default="")
    words = told.parse_args()
    if words.faults:
        faults(words.faults, words.seed)
    else:
        if words.only != "away":
            speed()
        if words.only != "speed":
            away()
