"""A guard to look at: the real command in front of the stand-in providers, and the door alone with an upstream made of Python.

In: settings. Out: `Guard` (a process), `StandIn` (a process) and `Door` (no socket at all), each with the means to see what came of an exchange: decision log, metrics, what the upstream
received. Whatever is started is ended by `running` or with the test's fixture.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from httptools import HttpResponseParser
from ports import free_port

from afterguard.detect import NONE, Context, Past
from afterguard.guard.brain import Brain
from afterguard.guard.connection import Reply
from afterguard.guard.desk import Desk
from afterguard.guard.gate import Gate, GatedConnection
from afterguard.guard.journal import Journal
from afterguard.guard.metrics import Metrics
from afterguard.guard.passage import Settings
from afterguard.guard.proxy import Proxy
from afterguard.guard.route import Mounts, Route
from afterguard.model import Exchange, Hit
from afterguard.policy.load import Policy, load

ROOT = Path(__file__).resolve().parents[2]
AWS_SECRET = "stand-in-secret"
MOUNTS = ("openai", "azure", "anthropic", "gemini", "ollama", "mcp/pages", "mcp/pages-sse", "bedrock")
PATIENCE = 40.0
KEY = "ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA4"
"""Looks like a token, opens nothing."""
SAYS = "the house says no"
BLOCK = "blockme"
"""The policy `rules()` refuses a request with this name as its model, and whatever came from it."""


def module(path: Path) -> ModuleType:
    """A file as a module: tests are no package."""
    name = "guard_" + path.stem
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def rules(*more: str, name: str = "trial", head: str = "") -> str:
    """A policy: secrets in replies are masked, requests for the model `blockme` are refused, more rules as given."""
    basis = (
        rule("no-secrets", "redact", "response", {"hit.kind": "secret_in_output"}),
        rule("not-this-model", "block", "request", {"exchange.model": BLOCK}),
    )
    text = f"format: afterguard.policy/1\nname: {name}\n{head}\nrules:\n"
    return text + "".join(basis) + "".join(more)


def rule(identifier: str, action: str, at: str, condition: dict[str, Any], **also: Any) -> str:
    """One rule as YAML (JSON is YAML)."""
    found = {
        "id": identifier, "says": SAYS, "at": at, "action": action,
        "detection": {"it": condition, "condition": "it"}, **also,
    }  # fmt: skip
    return f"  - {json.dumps(found)}\n"


# Processes.


class StandIn:
    """The stand-in providers' own controls."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.origin = process.stdout.readline().split()[-1]

    def requests(self, tag: str) -> list[dict[str, Any]]:
        """What came under a tag."""
        return list(fetch(f"{self.origin}/stand-in/requests?tag={tag}")["requests"])

    def script(self, **orders: Any) -> None:
        """Queue an answer for the next request that matches."""
        fetch(f"{self.origin}/stand-in/script", orders)


def fetch(url: str, body: Any = None) -> Any:
    """JSON out of a URL."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as reply:
        return json.load(reply)


@contextlib.contextmanager
def stand_in() -> Iterator[StandIn]:
    """The stand-in providers, running."""
    command = [sys.executable, str(ROOT / "examples/stand_in_providers.py"), "--port", "0", "--aws-secret", AWS_SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield StandIn(process)
        finally:
            end(process)


class Guard:
    """The command `afterguard guard`, running."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, folder: Path, policy: Path) -> None:
        self.process = process
        self.url = url
        self.folder = folder
        self.policy = policy
        self.port = int(url.rpartition(":")[2])
        self.log = folder / "decisions.jsonl"

    def lines(self) -> list[dict[str, Any]]:
        """The decision log so far. The end of a line that is just being written may not be there yet."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]

    def decided(self, identifier: str, within: float = 60.0) -> dict[str, Any]:
        """The one line of an exchange, as soon as it is there."""
        return until(lambda: self._one(identifier), within)

    def _one(self, identifier: str) -> dict[str, Any]:
        found = [line for line in self.lines() if line.get("metadata", {}).get("uid") == identifier]
        assert len(found) <= 1, found
        return found[0] if found else {}

    def metric(self, name: str, *values: str) -> float:
        """The sum of a metric over the series that have all these label values."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=60) as reply:
            return summed(reply.read().decode(), name, values)

    def rss(self) -> int:
        """Bytes of memory the process has resident."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found
        return int(found[1]) * 1024

    def is_alive(self) -> bool:
        """Whether it runs and says so."""
        with urllib.request.urlopen(self.url + "/livez", timeout=60) as reply:
            return self.process.poll() is None and reply.status == 200


def summed(page: str, name: str, values: tuple[str, ...] = ()) -> float:
    """See Guard.metric."""
    rows = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", page, re.M)
    return sum(float(number) for labels, number in rows if all(f'="{value}"' in labels for value in values))


@contextlib.contextmanager
def guard(upstream: str, folder: Path, policy: str = "", *flags: str, mounts: Any = MOUNTS) -> Iterator[Guard]:
    """A guard in front of one origin, or of mounts {name: URL}; `policy` is the text of one. The judge's network stays away unless it is asked for: most tests are about what is done
    with hits."""
    file = folder / "policy.yaml"
    file.write_text(policy or rules(head="mode: enforce"))
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        sys.executable,
        "-m",
        "afterguard",
        "guard",
        "--listen",
        url[7:],
        "--policy",
        str(file),
        "--folder",
        str(folder),
    ]
    command += [] if "--helpers" in flags else ["--helpers", "0"]
    command += [] if "--judge" in flags else ["--judge", "one"]
    command += ["--log", str(folder / "decisions.jsonl"), *flags]
    places = mounts if isinstance(mounts, dict) else {name: f"{upstream}/{name}" for name in mounts}
    command += [f"--upstream={name}={to}" for name, to in places.items()]
    environment = os.environ | {"AWS_ACCESS_KEY_ID": "AKIDSTANDIN", "AWS_SECRET_ACCESS_KEY": AWS_SECRET}
    environment |= {"AWS_REGION": "us-east-1", "XDG_DATA_HOME": str(folder / "data")}
    said = folder / "said.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, env=environment)
    try:
        until(lambda: _is_ready(process, url), PATIENCE)
        assert process.poll() is None, said.read_text(errors="replace")[-3000:]
        yield Guard(process, url, folder, file)
    finally:
        end(process)


def _is_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    if process.poll() is not None:
        return True
    try:
        with urllib.request.urlopen(url + "/readyz", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def end(process: subprocess.Popen[Any]) -> None:
    """End a process, by force if it does not want to."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def hurry(guard: Guard) -> None:
    """Ask a guard to end that would wait for replies which nobody will send; whoever ends it sends the second signal, and that ends it at once."""
    guard.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)


def prove(listen: str, folder: Path, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """`guard prove` as a user runs it; `how` as subprocess.run takes it."""
    command = [sys.executable, "-m", "afterguard", "guard", "prove", "--listen", listen, "--folder", str(folder)]
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=300, check=False, **how)


def until(look: Callable[[], Any], within: float = 60.0) -> Any:
    """What `look` says as soon as it says something."""
    limit = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < limit, "it did not come"
        time.sleep(0.02)
    return found


def talk(port: int, data: bytes, within: float = 10.0) -> bytes:
    """Everything a server says to these bytes until it closes, or has said nothing for a while after it began."""
    with socket.create_connection(("127.0.0.1", port), within) as line:
        said = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            line.sendall(data)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while piece := line.recv(1 << 16):
                said += piece
                line.settimeout(0.3)
        return said


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A request as bytes."""
    lines = "".join(f"{header}\r\n" for header in headers)
    head = f"POST {path} HTTP/1.1\r\nhost: guard\r\ncontent-type: application/json\r\n{lines}content-length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


# The door alone.


def pseudonym(value: str) -> str:
    """As the guard makes them, with a key everybody knows."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:20]


Source = Callable[["Asked"], "Said"]


class Asked:
    """A request as the upstream got it."""

    def __init__(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.method, self.target, self.headers, self.body = method, target, headers, body


class Said:
    """A reply of an upstream made of Python."""

    def __init__(
        self, chunks: list[bytes], *headers: tuple[bytes, bytes], status: int = 200, kind: bytes = b"application/json"
    ) -> None:
        self.status = status
        self.headers = [(b"content-type", kind), *headers]
        self.chunks = chunks
        self.is_cancelled = False
        self.ended = False

    async def chunk(self) -> bytes:
        await asyncio.sleep(0)
        return self.chunks.pop(0) if self.chunks else b""

    def cancel(self) -> None:
        self.is_cancelled = True
        self.chunks.clear()


class Upstream:
    """An upstream made of Python."""

    def __init__(self, answer: Source) -> None:
        self.answer = answer
        self.asked: list[Asked] = []

    async def send(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Said:
        self.asked.append(Asked(method, target, headers, body))
        return self.answer(self.asked[-1])

    def start(
        self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes, tell: Callable[[], None]
    ) -> Reply:
        """The same, for whoever is told of news."""
        reply = Reply(b"", body, False, tell)
        asyncio.get_running_loop().create_task(self._tell(reply, Asked(method, target, headers, body)))
        return reply

    async def _tell(self, reply: Reply, asked: Asked) -> None:
        self.asked.append(asked)
        said = self.answer(asked)
        reply.status, reply.headers, reply.headed = said.status, said.headers, True
        while chunk := await said.chunk():
            reply.pending.append(chunk)
            reply.unread += len(chunk)
            reply.news()
            if reply.error:
                said.cancel()
                return
        reply.done = True
        reply.news()

    async def close(self) -> None:
        pass


class Got(asyncio.Transport):
    """What a client got: status, headers, body as pieces, and the seconds until the first of it."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []
        self.first = 0.0
        self.id = ""
        self.began = time.perf_counter()
        self.over = asyncio.Event()
        self._parser = HttpResponseParser(self)

    def write(self, data: Any) -> None:
        self.first = self.first or time.perf_counter() - self.began
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.id = self.headers.get(b"x-afterguard-decision", b"").decode()

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.over.set()

    def is_closing(self) -> bool:
        return self.over.is_set()

    def close(self) -> None:
        self.over.set()

    def abort(self) -> None:
        self.over.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


Far = Callable[[Exchange, Past], Awaitable[tuple[list[Hit], Past]]]


class Door:
    """A Proxy with one mount, `/openai`, called as a server would call it."""

    def __init__(
        self, folder: Path, answer: Source, policy: str = "", *, mode: str = "enforce", far: Far | None = None, kind: str = "openai",
        on_error: str = "", budget: float = 0.0, settings: Settings = Settings(), share: float = -1.0, brain: Brain | None = None,  # noqa: B008
        in_flight: int = 2_000,
    ) -> None:  # fmt: skip
        self.source = Upstream(answer)
        found: Policy = load(policy or rules())
        self.brain = brain or Brain(Context(pseudonym), found, key=b"k" * 32)
        self.log = folder / "log" / "decisions.jsonl"
        self.route = Route("openai", kind, "http://nowhere", mode=mode, on_error=on_error, budget=budget, share=share)
        count = itertools.count(1)
        upstreams: Any = {"openai": self.source}
        desk = Desk(self.brain, Journal(self.log), Metrics(), lambda: f"id-{next(count)}", far=far, in_flight=in_flight)
        self.proxy = Proxy(Mounts([self.route]), upstreams, desk, settings)

    async def ask(self, body: bytes, path: str = "/openai/v1/chat/completions", *headers: tuple[bytes, bytes]) -> Got:
        """One exchange."""
        got = Got()
        state: Any = SimpleNamespace(connections=set(), tasks=set())
        gate = Gate()
        gate.door = self.proxy
        config: Any = SimpleNamespace(gate=gate, loaded_app=self.proxy)
        connection = GatedConnection(config, state, {})
        connection.connection_made(got)
        lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        connection.data_received(
            b"POST %b HTTP/1.1\r\nhost: guard\r\n%bcontent-length: %d\r\n\r\n" % (path.encode(), lines, len(body))
            + body
        )
        await got.over.wait()
        await asyncio.gather(*state.tasks)
        return got

    def run(self, work: Callable[[], Awaitable[Any]], limit: float = 20.0) -> Any:
        """Run on a loop of its own until the door is closed and all is written."""

        async def whole() -> Any:
            async with asyncio.timeout(limit):
                found = await work()
                await self.proxy.close()
                return found

        return asyncio.run(whole())

    def one(self, body: bytes, *headers: tuple[bytes, bytes]) -> Got:
        """One exchange on a loop of its own."""
        found: Got = self.run(lambda: self.ask(body, "/openai/v1/chat/completions", *headers))
        return found

    def lines(self) -> list[dict[str, Any]]:
        """The decision log."""
        return [json.loads(line) for line in self.log.read_bytes().splitlines()] if self.log.exists() else []

    def metric(self, name: str, *values: str) -> float:
        """See Guard.metric."""
        return summed(self.proxy.page().decode(), name, values)


def chat(*messages: str | dict[str, Any], model: str = "m", **more: Any) -> bytes:
    """A chat request: texts are the user's and the model's by turns."""
    turns = [
        m if isinstance(m, dict) else {"role": ("user", "assistant")[n % 2], "content": m}
        for n, m in enumerate(messages)
    ]
    return json.dumps({"model": model, "messages": turns, **more}).encode()


def reply(text: str, **message: Any) -> bytes:
    """A whole chat reply."""
    said = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    ).encode()


def events(text: str, size: int = 3) -> list[bytes]:
    """A streamed chat reply, a frame a piece of text."""
    rows: list[Any] = [{"role": "assistant", "content": ""}]
    rows += [{"content": text[at : at + size]} for at in range(0, len(text), size)]
    out = [_event(row, None) for row in rows]
    return [*out, _event({}, "stop"), b"data: [DONE]\n\n"]


def _event(delta: Any, reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    whole = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(whole).encode() + b"\n\n"


def told(stream: bytes) -> str:
    """The text of a streamed chat reply."""
    out = ""
    for line in stream.decode().splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:]).get("choices", ()):
                out += choice["delta"].get("content") or ""
    return out


EVENTS = b"text/event-stream"
__all__ = ["NONE", "Context"]
