"""The guard put in, broken, upgraded and taken out under load: what the clients notice.

    python bench/insertion.py [--cases insert,stop,kill-worker] [--rate 200] [--streams 20] [--json FILE] [--guard-argument=--judge --guard-argument=one]

In: this machine; HAProxy and nginx where they are installed. Out: a table, one row a case, and with --json every figure. The load is a client that behaves as the
providers' SDKs do: connections kept and looked at before they are used again, five seconds to connect, two repetitions with a growing pause on connection errors, 408, 409,
429 and 5xx; a stream is never repeated once it has begun. `without retry` counts requests whose first attempt failed, `with retry` those that failed for good. Streams broken
are those that began and did not come to their end. `back after` is the time from the event to the start of the last request that failed or waited more than a second.

The way around the guard is read out of docs/how-to/insert.md, so that what stands there is what was measured; only the addresses are put in. It starts no system service.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/how-to/insert.md"
COMMAND = os.environ.pop("AFTERGUARD_COMMAND", f"{sys.executable} -m afterguard").split()
"""Another installation of the guard, to compare versions. Taken out of the environment: the guard would take it for a misspelt setting."""
FORMAT = "afterguard.bench-insertion/1"
SLOW = 1.0
"""Seconds after which a request counts as having waited for us; the model answers in 0.1."""
THINKS = 0.1
STREAM = (160, 0.05)
"""Chunks of a stream, and seconds between them: eight seconds."""
RETRIES = 2
CONNECT = 5.0
READ = 120.0
CONNECTIONS = 1000
KEPT = 100
AGAIN = frozenset({408, 409, 429})
WORDS = [
    "the",
    "order",
    "from",
    "last",
    "week",
    "arrived",
    "at",
    "our",
    "office",
    "near",
    "Basel",
    "and",
    "one",
    "of",
    "the",
    "two",
    "lamps",
    "does",
    "not",
    "light",
    "could",
    "you",
    "say",
    "what",
    "to",
    "do",
    "next",
]


# --- the model -------------------------------------------------------------------------------------------------------


class Model(asyncio.Protocol):
    """Answers chat requests with the number that stands in them."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.buffer = b""
        self.task: asyncio.Task[None] | None = None

    def connection_lost(self, error: Exception | None) -> None:
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        self.buffer = rest[size:]
        self.task = asyncio.get_running_loop().create_task(self.answer(rest[:size]))

    async def answer(self, body: bytes) -> None:
        number = (re.search(rb"order (\d+)", body) or [b"", b"0"])[1].decode()
        if b'"stream": true' not in body:
            await asyncio.sleep(THINKS)
            message = {"role": "assistant", "content": f"Noted, order {number}."}
            whole = {
                "id": "c",
                "object": "chat.completion",
                "model": "m",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            }
            data = json.dumps(whole).encode()
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data) + data
            )
            return
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for at in range(STREAM[0]):
            await asyncio.sleep(STREAM[1])
            text = f"Noted, order {number}. " if at == 0 else f"{WORDS[at % len(WORDS)]} "
            self._chunk({"content": text}, None)
        self._chunk({}, "stop")
        self.transport.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def _chunk(self, delta: dict[str, str], reason: str | None) -> None:
        event = {
            "id": "c",
            "object": "chat.completion.chunk",
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))


async def model(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Model, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


# --- the client ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A base URL."""

    port: int
    prefix: str = ""


class Failed(Exception):
    """One attempt failed; the argument says how."""

    def __init__(self, why: str, is_final: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.is_final = is_final


@dataclass
class Told:
    """What became of one request."""

    started: float
    ended: float = 0.0
    first: str = ""
    """How the first attempt failed."""
    last: str = ""
    """How the last one failed."""


@dataclass
class Client:
    """One SDK client with its pool."""

    way: Way
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS))

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self.idle:
            reader, writer = self.idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        try:
            async with asyncio.timeout(CONNECT):
                return await asyncio.open_connection("127.0.0.1", self.way.port)
        except TimeoutError:
            raise Failed("connect timed out") from None
        except OSError as error:
            raise Failed("refused" if isinstance(error, ConnectionRefusedError) else "connect") from error

    async def once(self, number: int, stream: bool, began: Callable[[], None]) -> None:
        """One attempt. Raises Failed."""
        async with self.slots:
            reader, writer = await self._connection()
            keep = False
            try:
                writer.write(_request(self.way, number, stream))
                keep = await self._read(reader, number, stream, began)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
                raise Failed(f"broke off ({type(error).__name__})") from error
            finally:
                if keep and len(self.idle) < KEPT:
                    self.idle.append((reader, writer))
                else:
                    writer.close()

    async def _read(self, reader: asyncio.StreamReader, number: int, stream: bool, began: Callable[[], None]) -> bool:
        async with asyncio.timeout(READ):
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        if status == 200:
            began()
        length = re.search(rb"content-length: *(\d+)", head)
        async with asyncio.timeout(READ):
            body = await reader.readexactly(int(length[1])) if length else await _chunked(reader)
        if status != 200:
            raise Failed(f"status {status}", is_final=status < 500 and status not in AGAIN)
        if f"order {number}.".encode() not in body or (stream and b"data: [DONE]" not in body):
            raise Failed("a wrong answer", is_final=True)
        return b"connection: close" not in head

    def close(self) -> None:
        """Leave."""
        for _, writer in self.idle:
            writer.close()


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    out = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        out.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return b"".join(out)


def _request(way: Way, number: int, stream: bool) -> bytes:
    draw = random.Random(number)
    text = f"My order {number}: " + " ".join(draw.choice(WORDS) for _ in range(120)) + "."
    body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()
    head = f"POST {way.prefix}/v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{way.port}\r\nauthorization: Bearer sk-stand-in\r\n"
    return head.encode() + b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


class Load:
    """Requests at a steady rate and a number of open streams."""

    def __init__(self, way: Way, rate: float, streams: int) -> None:
        self.client = Client(way)
        self.old: list[Client] = []
        self.rate = rate
        self.streams = streams
        self.told: list[Told] = []
        self.whole = 0
        """Streams that came to their end."""
        self.broken: Counter[str] = Counter()
        self.number = 0
        self.stopping = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    def switch(self, way: Way) -> None:
        """The application starts to use another base URL; what is under way stays where it is."""
        self.old.append(self.client)
        self.client = Client(way)

    async def run(self) -> None:
        """Until `stopping`; then what is under way ends."""
        streams = [asyncio.create_task(self._streams(at)) for at in range(self.streams)]
        began = time.perf_counter()
        count = 0
        while not self.stopping.is_set():
            task = asyncio.create_task(self._one(False))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            count += 1
            await asyncio.sleep(max(0.0, began + count / self.rate - time.perf_counter()))
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=90)
        for task in (*streams, *self.tasks):
            task.cancel()
        await asyncio.gather(*streams, *self.tasks, return_exceptions=True)
        for client in (self.client, *self.old):
            client.close()

    async def _streams(self, at: int) -> None:
        await asyncio.sleep(at * STREAM[0] * STREAM[1] / max(1, self.streams))
        while not self.stopping.is_set():
            await self._one(True)

    async def _one(self, stream: bool) -> None:
        self.number += 1
        number, client = self.number, self.client
        told = Told(time.perf_counter())
        began = False

        def begun() -> None:
            nonlocal began
            began = True
            if stream:
                told.ended = time.perf_counter()

        for attempt in range(RETRIES + 1):
            try:
                await client.once(number, stream, begun)
            except Failed as error:
                if stream and began:
                    self.broken[error.why] += 1
                    break
                told.first = told.first or error.why
                told.last = error.why
                if error.is_final or attempt == RETRIES:
                    break
                await asyncio.sleep(min(0.5 * 2.0**attempt, 8.0) * (1 - 0.25 * random.random()))
            except TimeoutError:
                told.first, told.last = told.first or "timed out", "timed out"
            else:
                told.last = ""
                self.whole += stream
                break
        told.ended = told.ended or time.perf_counter()
        self.told.append(told)


# --- processes -------------------------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(one for child in children(pid) for one in tree(child))]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def end(process: subprocess.Popen[bytes], patience: float = 45.0) -> None:
    """Ask it to leave, then make it."""
    held = tree(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    for pid in held:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


class Stage:
    """The model, and what may stand before it."""

    def __init__(self, scratch: Path, arguments: list[str]) -> None:
        self.scratch = scratch
        self.arguments = arguments
        self.model = free_port()
        self.port = free_port()
        self.door = free_port()
        self.bypass = free_port()
        self.policy = scratch / "policy.yaml"
        shown = subprocess.run([*COMMAND, "policy", "show", "starter"], capture_output=True, text=True, check=True)
        self.policy.write_text(shown.stdout)
        self.running: list[subprocess.Popen[bytes]] = []
        self.notes: list[str] = []
        self._run([sys.executable, __file__, "--model", str(self.model)])

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.scratch / "said.txt").open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=self.scratch)
        self.running.append(process)
        return process

    def start_guard(self, *more: str) -> subprocess.Popen[bytes]:
        """The real command; does not wait."""
        listen = f"127.0.0.1:{self.port}"
        command = [
            *COMMAND,
            "guard",
            "--listen",
            listen,
            "--upstream",
            f"openai=http://127.0.0.1:{self.model}",
            "--mode",
            "enforce",
        ]
        command += [
            "--policy",
            str(self.policy),
            "--folder",
            str(self.scratch / "guard"),
            "--no-config",
            "--quiet",
            *self.arguments,
            *more,
        ]
        return self._run(command)

    def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Until the guard answers."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if process.poll() is not None:
                break
            if answers(f"http://127.0.0.1:{self.port}/readyz"):
                return
            time.sleep(0.1)
        raise RuntimeError("the guard did not start: " + (self.scratch / "said.txt").read_text(errors="replace")[-600:])

    def _configured(self, language: str) -> str:
        found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
        assert found, f"no {language} block in {PAGE}"
        text = found[1]
        for port, mine in ((8764, self.door), (8765, self.port), (8766, self.bypass)):
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{mine}")
        text = text.replace("/run/haproxy/admin.sock", str(self.scratch / "admin.sock"))
        text = re.sub(r"server provider api\.openai\.com:443.*", f"server provider 127.0.0.1:{self.model}", text)
        return text.replace("https://api.openai.com/", f"http://127.0.0.1:{self.model}/")

    def start_haproxy(self) -> None:
        """HAProxy as the page says."""
        file = self.scratch / "haproxy.cfg"
        file.write_text(self._configured("haproxy"))
        self._run(["haproxy", "-db", "-f", str(file)])
        self._until_open(self.door)

    def start_nginx(self) -> None:
        """nginx as the page says."""
        folder = self.scratch / "nginx"
        folder.mkdir(exist_ok=True)
        places = " ".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        head = f"{user} daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log warn; events {{ worker_connections 8192; }}"
        (folder / "nginx.conf").write_text(
            f"{head}\nhttp {{ access_log off; {places}\n{self._configured('nginx')}\n}}\n"
        )
        self._run(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
        self._until_open(self.door)

    def _until_open(self, port: int) -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            time.sleep(0.05)
        raise RuntimeError("did not start: " + (self.scratch / "said.txt").read_text(errors="replace")[-600:])

    def close(self) -> None:
        """End everything."""
        for process in reversed(self.running):
            if process.poll() is None:
                end(process)


# --- the cases -------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """One thing that happens under load."""

    name: str
    says: str
    door: str = "guard"
    """What the clients talk to at first: model, guard, haproxy or nginx."""
    event: Callable[[Scene], Awaitable[None]] = lambda _: asyncio.sleep(0)
    after: float = 12.0
    """Seconds of load after the event."""
    is_up: bool = True
    """Whether the guard runs before the event."""


@dataclass
class Scene:
    """What an event may touch."""

    stage: Stage
    load: Load
    guard: subprocess.Popen[bytes] | None

    def worker(self) -> int:
        """The process that serves."""
        assert self.guard is not None
        return children(self.guard.pid)[0]

    async def ready(self, process: subprocess.Popen[bytes]) -> None:
        """Without holding up the load."""
        await asyncio.to_thread(self.stage.wait_ready, process)


async def insert(scene: Scene) -> None:
    scene.load.switch(Way(scene.stage.port, "/openai"))


async def remove(scene: Scene) -> None:
    scene.load.switch(Way(scene.stage.model))
    await asyncio.sleep(1)
    assert scene.guard is not None
    scene.guard.terminate()


async def stop_worker(scene: Scene) -> None:
    os.kill(scene.worker(), signal.SIGSTOP)


async def kill_worker(scene: Scene) -> None:
    below = tree(scene.worker())[1:]
    os.kill(scene.worker(), signal.SIGKILL)
    await asyncio.sleep(5)
    if left := [pid for pid in below if is_running(pid)]:
        scene.stage.notes.append(f"{len(left)} processes of the killed worker were still there after 5 s")
        for pid in left:
            os.kill(pid, signal.SIGKILL)


async def kill_all(scene: Scene) -> None:
    assert scene.guard is not None
    for pid in tree(scene.guard.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def kill_all_and_start(scene: Scene) -> None:
    """What a process manager with an immediate restart does."""
    await kill_all(scene)
    scene.guard = scene.stage.start_guard()


async def upgrade(scene: Scene) -> None:
    old = scene.guard
    assert old is not None
    scene.guard = scene.stage.start_guard("--takeover")
    # Both answer at the address, so readiness is asked of the process: it says so once on its standard error when it is not --quiet; here its worker is waited for.
    for _ in range(600):
        if held := children(scene.guard.pid):
            opened = await asyncio.to_thread(_listens, held[0])
            if opened:
                break
        await asyncio.sleep(0.1)
    old.terminate()


def _listens(pid: int) -> bool:
    """Whether a process has the guard's port open and listening: two sockets at the address listen."""
    with contextlib.suppress(OSError):
        inodes = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                return True
    return False


async def hang_up(scene: Scene) -> None:
    assert scene.guard is not None
    scene.guard.send_signal(signal.SIGHUP)


async def reload(scene: Scene) -> None:
    text = scene.stage.policy.read_text()
    for turn in range(5):
        scene.stage.policy.write_text(text.replace("\nsays: ", f"\nsays: Turn {turn}. ", 1))
        await asyncio.sleep(1)


async def terminate(scene: Scene) -> None:
    assert scene.guard is not None
    scene.guard.terminate()


async def drain(scene: Scene) -> None:
    """What the page says for a planned removal: no new requests, open streams end, then TERM."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(scene.stage.scratch / "admin.sock"))
        control.sendall(b"set server guarded/guard state drain\n")
    await asyncio.sleep(STREAM[0] * STREAM[1] + 3)
    await terminate(scene)


async def come_back(scene: Scene) -> None:
    scene.guard = scene.stage.start_guard()
    await scene.ready(scene.guard)


CASES = [
    Case("direct", "no guard, nothing happens", "model", after=8),
    Case("steady", "through the guard, nothing happens", after=8),
    Case("insert", "clients switch to the guard's URL", "model", insert),
    Case("stop", "SIGSTOP of the worker; the supervisor notices", event=stop_worker, after=40),
    Case("kill-worker", "kill -9 of the worker", event=kill_worker, after=25),
    Case("kill-all", "kill -9 of everything, started again at once", event=kill_all_and_start, after=25),
    Case("upgrade", "a second guard with --takeover, then TERM to the first", event=upgrade, after=45),
    Case("hangup", "SIGHUP: new workers", event=hang_up, after=45),
    Case("reload", "the policy file changes five times", event=reload),
    Case("remove", "clients switch back, then TERM", event=remove, after=15),
    Case("haproxy-stop", "behind HAProxy: SIGSTOP of the worker", "haproxy", stop_worker, 40),
    Case("haproxy-kill-worker", "behind HAProxy: kill -9 of the worker", "haproxy", kill_worker, 25),
    Case("haproxy-kill-all", "behind HAProxy: kill -9 of everything", "haproxy", kill_all, 15),
    Case("haproxy-term", "behind HAProxy: TERM", "haproxy", terminate, 40),
    Case("haproxy-drain", "behind HAProxy: drained, then TERM", "haproxy", drain, 12),
    Case("haproxy-back", "behind HAProxy: the guard comes back", "haproxy", come_back, 20, is_up=False),
    Case("nginx-stop", "behind nginx: SIGSTOP of the worker", "nginx", stop_worker, 40),
    Case("nginx-kill-all", "behind nginx: kill -9 of everything", "nginx", kill_all, 15),
    Case("nginx-term", "behind nginx: TERM", "nginx", terminate, 40),
    Case("nginx-back", "behind nginx: the guard comes back", "nginx", come_back, 20, is_up=False),
]


async def play(case: Case, scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    """One case on a fresh stage."""
    stage = Stage(scratch, args.guard_argument)
    try:
        guard = None
        if case.is_up and case.name != "direct":
            guard = stage.start_guard()
            await asyncio.to_thread(stage.wait_ready, guard)
        stage._until_open(stage.model)
        if case.door in ("haproxy", "nginx"):
            (stage.start_haproxy if case.door == "haproxy" else stage.start_nginx)()
            await asyncio.sleep(2)
        ways = {"model": Way(stage.model), "guard": Way(stage.port, "/openai")}
        load = Load(ways.get(case.door) or Way(stage.door, "/openai"), args.rate, args.streams)
        scene = Scene(stage, load, guard)
        running = asyncio.create_task(load.run())
        await asyncio.sleep(args.before)
        event = time.perf_counter()
        await case.event(scene)
        await asyncio.sleep(case.after)
        load.stopping.set()
        await running
        return summary(case, load, event, stage.notes)
    finally:
        await asyncio.to_thread(stage.close)


def summary(case: Case, load: Load, event: float, notes: list[str]) -> dict[str, Any]:
    """The row."""
    waits = sorted(one.ended - one.started for one in load.told)
    bad = [one.started - event for one in load.told if one.first or one.ended - one.started > SLOW]
    return {
        "case": case.name,
        "says": case.says,
        "requests": len(load.told),
        "without_retry": sum(bool(one.first) for one in load.told),
        "with_retry": sum(bool(one.last) for one in load.told),
        "streams": load.whole + load.broken.total(),
        "broken": load.broken.total(),
        "back_after": max([0.0, *bad]),
        "longest_wait": waits[-1] if waits else 0.0,
        "p50_ms": waits[len(waits) // 2] * 1e3 if waits else 0.0,
        "p99_ms": waits[len(waits) * 99 // 100] * 1e3 if waits else 0.0,
        "how": dict(Counter(one.first for one in load.told if one.first) + load.broken),
        "for_good": dict(Counter(one.last for one in load.told if one.last)),
        "notes": notes,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| case | requests | failed at first | failed for good | streams | broken | back after | longest wait | p99 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['says']} | {r['requests']:,} | {r['without_retry']:,} | {r['with_retry']:,} | {r['streams']} | {r['broken']} "
        f"| {r['back_after']:.1f} s | {r['longest_wait']:.1f} s | {r['p99_ms']:,.0f} ms |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="", help="only these, comma-separated: " + " ".join(c.name for c in CASES))
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--before", type=float, default=9.0, help="seconds of load before the event")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--guard-argument", action="append", default=[], help="handed to the guard")
    parser.add_argument("--model", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.model:
        asyncio.run(model(args.model))
        return 0
    wanted = [name for name in args.cases.split(",") if name]
    rows = []
    for case in CASES:
        if wanted and case.name not in wanted:
            continue
        if case.door in ("haproxy", "nginx") and not shutil.which(case.door):
            print(f"{case.name}: left out, {case.door} is not installed", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory(prefix="insertion-") as scratch:
            row = asyncio.run(play(case, Path(scratch), args))
        rows.append(row)
        print(
            f"{case.name}: {json.dumps({k: v for k, v in row.items() if k not in ('case', 'says')})}", file=sys.stderr
        )
    print(table(rows))
    if args.json:
        args.json.write_text(
            json.dumps({"format": FORMAT, "rate": args.rate, "streams": args.streams, "rows": rows}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
