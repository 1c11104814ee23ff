"""The guard beside nginx, HAProxy and the LiteLLM proxy: one upstream, one worker each, one run.

    python bench/gateway.py [--quick] [--rounds 3] [--rows direct,nginx,guard] [--json FILE] [--big 0.05] [--guard-argument=--judge --guard-argument=one]

In: this machine, with a C compiler; nginx and HAProxy where they are installed, LiteLLM in an environment of its own under the user's
cache (made on the first run, `--no-litellm` leaves it out). Out: a table and, with --json, every figure of every round. A proxy is pinned to
the first core, upstream and load to the second; LiteLLM, which works even when idle, is stopped while others are measured. Rounds are interleaved in random
order and the medians shown. It starts no system service and calls nothing outside this machine but the package registry for LiteLLM.

Columns: requests a second with 32 connections and 1.5 KB bodies that are all different, CPU a request (utime and stime of the whole
process tree), latency of one connection, latency at 200 requests a second above that of the direct way in the same round (20 for
LiteLLM, which cannot do 200), CPU a chunk and chunk latency with 50 streams of 100 chunks, one in 20 ms (5 for LiteLLM), resident
memory of the tree. With --big SHARE another column: that share of 200 requests a second carries a prompt of 400 KB never seen before while the
streams run, and what the chunks of the streams then wait. In that column every chunk ends with its word: one that ends within a word waits for the next chunk,
as it should (the column without large prompts shows that), and would hide what large prompts cost.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "gateway"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "afterguard" / "bench"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
UPSTREAM_PORT = 19300
COMMAND = os.environ.pop("AFTERGUARD_COMMAND", f"{sys.executable} -m afterguard").split()
"""Another installation of the guard, to compare versions. It is no setting of the guard, so no process gets it to see."""
KEY = "sk-stand-in"
FORMAT = "afterguard.bench-gateway/1"

NOUNS = ("office", "letter", "ticket", "invoice", "garden", "bridge", "train", "market", "station", "museum")
PLACES = ("Basel", "Bern", "Chur", "Davos", "Genoa", "Lyon", "Milan", "Turin", "Vienna", "Zug")
FRAMES = (
    "The {a} near the {b} in {p} was closed on the {n}th.",
    "Could you tell me whether the {a} in {p} is open after {n}?",
    "My {a} number {n} has not arrived at the {b} yet.",
    "We moved the {a} from {p} to the {b} about {n} days ago.",
    "Last year the {a} had {n} visitors, and the {b} somewhat fewer.",
    "I would like to change the {a} that I ordered for the {b} in {p}.",
    "Is there a {b} within {n} minutes of the {a}?",
    "The colour of the {a} differs from the one shown in {p}.",
    "They said that the {b} would call back before the {n}th, about the {a}.",
    "A friend in {p} recommended your {a}, so I looked at the {b}.",
    "It rained for {n} hours, and the {a} behind the {b} was wet.",
    "Please explain how the {a} compares with the {b} that you had in {p}.",
)


@dataclass
class Row:
    """One way to the upstream."""

    name: str
    port: int
    path: str = "/v1/chat/completions"
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    ready: str = ""
    metrics: str = ""
    is_slow: bool = False
    process: subprocess.Popen[bytes] | None = None
    missing: str = ""
    cache: str = ""
    log: Path | None = None


# --- processes -------------------------------------------------------------------------------------------------------


def cores() -> tuple[int, int]:
    held = sorted(os.sched_getaffinity(0))
    return held[0], held[min(1, len(held) - 1)]


def start(command: list[str], core: int, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
        )


def tree(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def cpu_seconds(root: int) -> float:
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident(root: int) -> float:
    """Megabytes, summed; pages that processes share count once for each."""
    total = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * PAGE / 1e6


def to_tree(root: int, sign: signal.Signals) -> None:
    for pid in tree(root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)


def pause(row: Row) -> None:
    if row.is_slow and row.process:
        to_tree(row.process.pid, signal.SIGSTOP)


def busy_share(seconds: float = 0.5) -> float:
    """The share of all cores that something else is using now."""

    def read() -> tuple[int, int]:
        fields = [int(one) for one in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
        return sum(fields), fields[3] + fields[4]

    whole, idle = read()
    time.sleep(seconds)
    after, idle_after = read()
    return 1 - (idle_after - idle) / max(1, after - whole)


def end(process: subprocess.Popen[bytes]) -> None:
    to_tree(process.pid, signal.SIGCONT)
    held = tree(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    for pid in held:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def fetch(url: str, timeout: float = 3.0) -> bytes:
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=timeout) as reply:
        return bytes(reply.read())


def wait_ready(row: Row, patience: float = 120.0) -> None:
    assert row.process is not None and row.log is not None
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if row.process.poll() is not None:
            break
        try:
            if row.ready:
                fetch(f"http://127.0.0.1:{row.port}{row.ready}")
            else:
                socket.create_connection(("127.0.0.1", row.port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    row.missing = f"did not start: {row.log.read_text(errors='replace').strip()[-300:]}"
    end(row.process)
    row.process = None


# --- the rows --------------------------------------------------------------------------------------------------------


def direct(_scratch: Path) -> Row:
    return Row("direct", UPSTREAM_PORT)


def nginx(scratch: Path) -> Row:
    port = free_port()
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).exists():
        return Row("nginx", port, missing="not installed (apt-get install nginx-light)")
    folder = scratch / "nginx"
    folder.mkdir()
    temporary = " ".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(f"""
{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; {temporary}
  client_max_body_size 32m; client_body_buffer_size 1m; keepalive_requests 100000000; tcp_nodelay on;
  upstream model {{ server 127.0.0.1:{UPSTREAM_PORT}; keepalive 256; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_request_buffering off; }} }}
}}
""")
    return Row(
        "nginx",
        port,
        command=[program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")],
    )


def haproxy(scratch: Path) -> Row:
    port = free_port()
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not Path(program).exists():
        return Row("haproxy", port, missing="not installed (apt-get install haproxy)")
    config = scratch / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  http-reuse always
  option http-no-delay
frontend door
  bind 127.0.0.1:{port}
  default_backend model
backend model
  server one 127.0.0.1:{UPSTREAM_PORT} pool-max-conn 512
""")
    return Row("haproxy", port, command=[program, "-db", "-f", str(config)])


def litellm(scratch: Path) -> Row:
    port = free_port()
    program, why = litellm_program()
    if why:
        return Row("litellm", port, missing=why)
    config = scratch / "litellm.yaml"
    config.write_text(f"""
model_list:
  - model_name: "*"
    litellm_params: {{model: "openai/*", api_base: "http://127.0.0.1:{UPSTREAM_PORT}/v1", api_key: "{KEY}"}}
general_settings: {{master_key: "{KEY}"}}
litellm_settings: {{telemetry: false, drop_params: true, set_verbose: false}}
""")
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOG": "ERROR",
        "HOME": str(scratch),
    }
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return Row("litellm", port, command=command, environment=environment, ready="/health/liveliness", is_slow=True)


def litellm_program() -> tuple[Path, str]:
    folder = CACHE / "litellm"
    program = folder / "bin" / "litellm"
    if not program.exists():
        print(f"making an environment for LiteLLM in {folder} (once)", file=sys.stderr)
        made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
        if made.returncode == 0:
            pip = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "litellm[proxy]"]
            made = subprocess.run(pip, capture_output=True, text=True)
        if made.returncode:
            return program, f"could not be installed: {made.stderr.strip()[-200:]}"
    return program, ""


def guard(scratch: Path, name: str, arguments: list[str]) -> Row:
    port = free_port()
    folder = scratch / name.replace(" ", "-").replace(",", "")
    folder.mkdir()
    # The folder of compiled patterns is shared: building them is not what is measured here.
    homes = {"XDG_DATA_HOME": str(folder), "XDG_STATE_HOME": str(folder)}
    command = [
        *COMMAND,
        "guard",
        "--listen",
        f"127.0.0.1:{port}",
        "--workers",
        "1",
        "--no-config",
    ]
    command += [
        "--upstream",
        f"openai=http://127.0.0.1:{UPSTREAM_PORT}",
        "--folder",
        str(folder),
        "--log",
        str(folder / "decisions.jsonl"),
        *arguments,
    ]
    return Row(name, port, "/openai/v1/chat/completions", command, homes, ready="/readyz", metrics="/metrics")


# --- measuring -------------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    load: Path
    text: Path
    scale: float
    big: float
    core: int
    seed: int = 1

    def run(self, row: Row, seconds: float, **options: Any) -> dict[str, Any]:
        """One load, with the CPU time of the row's processes beside it."""
        self.seed += 1
        given = {
            "port": row.port,
            "path": row.path,
            "text": self.text,
            "seconds": seconds * self.scale,
            "seed": self.seed,
            "key": KEY,
        } | options
        command = ["taskset", "-c", str(self.core), str(self.load)]
        for name, value in given.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        before = cpu_seconds(row.process.pid) if row.process else 0.0
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds * self.scale + 60)
        if done.returncode:
            raise RuntimeError(f"{row.name}: {done.stderr.strip()}")
        told: dict[str, Any] = json.loads(done.stdout)
        told["cpu"] = (cpu_seconds(row.process.pid) - before) if row.process else 0.0
        return told

    def measure(self, row: Row) -> dict[str, float | None]:
        slow = row.is_slow
        self.run(row, 0.7, closed=4)
        many = self.run(row, 5, closed=32)
        one = self.run(row, 2, closed=1)
        paced = self.run(row, 6, rate=20 if slow else 200, pool=64)
        streams = self.run(row, 7, streams=5 if slow else 50, pace=20)
        told: dict[str, float | None] = {
            "req_s": many["closed"] / many["seconds"],
            "cpu_us_request": many["cpu"] / max(1, many["closed"]) * 1e6,
            "one_p50_us": at(one, "closed_us", "p50"),
            "one_p99_us": at(one, "closed_us", "p99"),
            "paced_p50_us": at(paced, "open_us", "p50"),
            "paced_p99_us": at(paced, "open_us", "p99"),
            "cpu_us_chunk": streams["cpu"] / max(1, streams["chunks"]) * 1e6,
            "chunks_s": streams["chunks"] / streams["seconds"],
            "chunk_p50_us": at(streams, "chunk_us", "p50"),
            "chunk_p99_us": at(streams, "chunk_us", "p99"),
            "errors": float(
                sum(each["errors"] + each["bad_status"] + each["late"] for each in (many, one, paced, streams))
            ),
        }
        if self.big:
            mixed = self.run(
                row, 8, streams=5 if slow else 50, pace=20, whole=1, rate=20 if slow else 200, pool=64, big=self.big
            )
            told |= {"mix_chunk_p50_us": at(mixed, "chunk_us", "p50"), "mix_chunk_p99_us": at(mixed, "chunk_us", "p99")}
            told |= {
                "mix_small_p99_us": at(mixed, "open_us", "p99"),
                "mix_big_p50_us": at(mixed, "big_us", "p50"),
                "mix_big_p99_us": at(mixed, "big_us", "p99"),
            }
            told["errors"] = (told["errors"] or 0) + mixed["errors"] + mixed["bad_status"] + mixed["late"]
        told["rss_mb"] = resident(row.process.pid) if row.process else 0.0
        return told


def at(told: dict[str, Any], series: str, quantile: str) -> float | None:
    return told[series][quantile] if told.get(series) else None


def cache_hits(row: Row) -> str:
    """What the guard says about its verdict cache, in its own metrics."""
    try:
        text = fetch(f"http://127.0.0.1:{row.port}{row.metrics}").decode()
    except OSError as error:
        return f"not readable ({error})"
    values: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if "cache" in name and not line.startswith("#"):
            with contextlib.suppress(ValueError):
                values[name] = float(value)
    hits = sum(value for name, value in values.items() if "hit" in name)
    misses = sum(value for name, value in values.items() if "miss" in name)
    if hits + misses:
        return f"{hits / (hits + misses):.2%} of {hits + misses:,.0f} look-ups"
    return f"not told in {row.metrics}"


def compile_programs(folder: Path) -> tuple[Path, Path]:
    """upstream and load, built once for each version of their source."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        sys.exit("a C compiler is needed: upstream and load must be far quicker than what is measured")
    built = []
    for name in ("upstream", "load"):
        source = HERE / f"{name}.c"
        program = folder / f"{name}-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
        if not program.exists():
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
        built.append(program)
    return built[0], built[1]


def write_sentences(path: Path, count: int = 6000, seed: int = 7) -> None:
    """Ordinary sentences, so that no detector finds anything and the judge has something to read."""
    draw = random.Random(seed)
    rows = (
        draw.choice(FRAMES).format(
            a=draw.choice(NOUNS), b=draw.choice(NOUNS), p=draw.choice(PLACES), n=draw.randint(4, 900)
        )
        for _ in range(count)
    )
    path.write_text("\n".join(rows) + "\n")


COLUMNS = (
    ("req/s c32", "req_s", "{:,.0f}"),
    ("CPU us/req", "cpu_us_request", "{:,.0f}"),
    ("c1 p50 us", "one_p50_us", "{:,.0f}"),
    ("c1 p99", "one_p99_us", "{:,.0f}"),
    ("200/s +p50 us", "added_p50_us", "{:,.0f}"),
    ("+p99", "added_p99_us", "{:,.0f}"),
    ("CPU us/chunk", "cpu_us_chunk", "{:,.0f}"),
    ("chunks/s", "chunks_s", "{:,.0f}"),
    ("chunk p50 us", "chunk_p50_us", "{:,.0f}"),
    ("p99", "chunk_p99_us", "{:,.0f}"),
    ("RSS MB", "rss_mb", "{:,.0f}"),
    ("errors", "errors", "{:,.0f}"),
)
MIXED = (
    ("mix chunk p50", "mix_chunk_p50_us", "{:,.0f}"),
    ("mix chunk p99", "mix_chunk_p99_us", "{:,.0f}"),
    ("mix small p99", "mix_small_p99_us", "{:,.0f}"),
    ("mix 400 KB p50", "mix_big_p50_us", "{:,.0f}"),
)


def median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def summary(rounds: list[dict[str, dict[str, float | None]]]) -> dict[str, dict[str, float | None]]:
    """Medians over the rounds; what is added to the direct way is taken within each round."""
    for one in rounds:
        for figures in one.values():
            for quantile in ("p50", "p99"):
                mine, floor = figures[f"paced_{quantile}_us"], one.get("direct", {}).get(f"paced_{quantile}_us")
                figures[f"added_{quantile}_us"] = mine - floor if mine is not None and floor is not None else None
    names = list(rounds[0])
    return {
        name: {key: median([one[name].get(key) for one in rounds if name in one]) for key in rounds[0][name]}
        for name in names
    }


def table(figures: dict[str, dict[str, float | None]], is_mixed: bool) -> str:
    columns = COLUMNS + (MIXED if is_mixed else ())
    lines = ["| way | " + " | ".join(head for head, _, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in figures.items():
        cells = [form.format(value) if (value := row.get(key)) is not None else "-" for _, key, form in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(figures: dict[str, dict[str, float | None]]) -> Iterator[str]:
    """The claims, as numbers."""

    def share(one: str, other: str, key: str) -> float | None:
        a, b = figures.get(one, {}).get(key), figures.get(other, {}).get(key)
        return a / b if a and b else None

    for name in figures:
        if name.startswith("guard"):
            if faster := share(name, "litellm", "req_s"):
                yield f"{name}: {faster:,.0f} times LiteLLM's requests a second"
            if cost := share(name, "nginx", "cpu_us_request"):
                yield f"{name}: {cost:.1f} times nginx's CPU a request"


def versions(rows: list[Row]) -> dict[str, str]:
    told = {"python": sys.version.split()[0], "system": " ".join(os.uname()[i] for i in (0, 2, 4))}
    for name, command in (("nginx", ["nginx", "-v"]), ("haproxy", ["haproxy", "-v"])):
        if shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True)
            told[name] = (done.stdout + done.stderr).splitlines()[0].strip()
    python = CACHE / "litellm/bin/python"
    if any(row.name == "litellm" and not row.missing for row in rows):
        ask = "import importlib.metadata as m; print(m.version('litellm'))"
        told["litellm"] = subprocess.run([str(python), "-c", ask], capture_output=True, text=True).stdout.strip()
    told["guard"] = " ".join(COMMAND)
    with contextlib.suppress(OSError, IndexError):
        told["cpu"] = next(
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of short runs, about a minute")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default="", help="only those whose name begins with one of these, comma-separated")
    parser.add_argument(
        "--big", type=float, default=0.0, help="share of 400 KB prompts never seen before; adds the mixed columns"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-litellm", action="store_true")
    parser.add_argument("--guard-argument", action="append", default=[], help="handed to every guard row")
    args = parser.parse_args()
    quiet = ["--quiet", *args.guard_argument]
    first, second = cores()
    upstream, load = compile_programs(CACHE)
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as place:
        scratch = Path(place)
        write_sentences(scratch / "sentences.txt")
        makers: list[Callable[[Path], Row]] = [
            direct,
            haproxy,
            nginx,
            *([] if args.no_litellm else [litellm]),
            lambda s: guard(s, "guard, parse and log", ["--mode", "observe", "--no-detectors", *quiet]),
            lambda s: guard(
                s, "guard, everything, strict", ["--mode", "enforce", "--policy", "strict", "--judge", "one", *quiet]
            ),
        ]
        rows = [make(scratch) for make in makers]
        wanted = tuple(name.strip() for name in args.rows.split(",") if name.strip())
        rows = [row for row in rows if not wanted or row.name == "direct" or row.name.startswith(wanted)]
        if (busy := busy_share()) > 0.1:
            print(f"other work holds {busy:.0%} of the cores: trust only CPU a request, and little", file=sys.stderr)
        model = start([str(upstream), str(UPSTREAM_PORT)], second, scratch / "upstream.log")
        running = [model]
        try:
            for row in rows:
                if row.command and not row.missing:
                    row.log = scratch / f"{row.name.replace(' ', '-')}.log"
                    row.process = start(row.command, first, row.log, **row.environment)
                    wait_ready(row)
                    if row.process:
                        running.append(row.process)
                        time.sleep(0.5)
                        pause(row)
            for row in rows:
                if row.missing:
                    print(f"{row.name}: left out, {row.missing}", file=sys.stderr)
            return report(
                args, rows, Bench(load, scratch / "sentences.txt", 0.3 if args.quick else 1.0, args.big, second)
            )
        finally:
            for process in reversed(running):
                end(process)


def report(args: argparse.Namespace, rows: list[Row], bench: Bench) -> int:
    alive = [row for row in rows if not row.missing]
    rounds: list[dict[str, dict[str, float | None]]] = []
    draw = random.Random(int(time.time()))
    for number in range(1 if args.quick else args.rounds):
        told: dict[str, dict[str, float | None]] = {}
        for row in draw.sample(alive, len(alive)):
            if row.process:
                to_tree(row.process.pid, signal.SIGCONT)
                time.sleep(0.2)
            try:
                told[row.name] = bench.measure(row)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{row.name}: {error}", file=sys.stderr)
            if row.process:
                if row.metrics and number == (0 if args.quick else args.rounds - 1):
                    row.cache = cache_hits(row)
                pause(row)
        rounds.append({row.name: told[row.name] for row in alive if row.name in told})
    served = json.loads(fetch(f"http://127.0.0.1:{UPSTREAM_PORT}/count"))["served"]
    figures = summary(rounds)
    shown = versions(rows)
    print(f"rounds {len(rounds)}, medians; " + ", ".join(f"{name} {value}" for name, value in shown.items()))
    print(table(figures, bool(args.big)))
    for line in ratios(figures):
        print(line)
    for row in alive:
        if row.metrics:
            print(f"{row.name}: hits of the verdict cache {row.cache}")
    print(f"requests that reached the upstream: {served:,}")
    if args.json:
        args.json.write_text(
            json.dumps(
                {"format": FORMAT, "versions": shown, "medians": figures, "rounds": rounds, "served": served}, indent=1
            )
            + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
