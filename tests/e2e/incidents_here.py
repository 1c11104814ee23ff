"""A bank's AI applications behind a guard, and its SOC: everything that an incident needs, running.

In: a folder. Out: `Scene`: the demonstration assistant and the fraud score (their models are labelled stand-ins) behind one real guard that only observes, `afterguard watch run --follow` with a real syslog server and a real broker as its sinks, a vector store, an OpenID Connect provider with two responders. `Scene.respond` is the command a responder types. What happened, and when, is measured here.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import shutil
import socketserver
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from ports import free_port

from afterguard.cli.run import run

from ..export import servers_here as servers  # noqa: TID252 - tests are no package that has a name
from ..guard import running  # noqa: TID252
from ..respond import test_roles as people  # noqa: TID252

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 90.0
"""Seconds for anything to happen on a busy machine; nothing takes nearly as long."""
OURS, STOLEN = "assistant-key", "stolen-key"
AGREED = "gpt-4o"
POLICY = running.rules(
    running.rule("no-scores-for-walkers", "withhold", "any", {"hit.kind": "evasion_walk"}),
    running.rule("no-calls-of-hijacked-agents", "step_down", "call", {"hit.detector": "order-followed"}),
    head="mode: observe",
)
ROUTES = {
    "owners": [{"owner": "ai platform", "detection": {}}],
    "prices": {
        "injection_followed": [5_000, 40_000, 400_000], "denial_of_wallet": [200, 3_000, 25_000], "token_burst": [200, 3_000, 25_000],
        "budget_gone": [200, 3_000, 25_000], "response_drift": [1_000, 20_000, 150_000], "evasion_walk": [2_000, 30_000, 500_000],
    },
    "currency": "USD",
}  # fmt: skip
SEARCH = '''

TOOLS.append({"type": "function", "function": {"name": "search_articles", "description": "Search the help articles.", "parameters": {"type": "object", "properties": {"words": {"type": "string"}}}}})


def search_articles(words: str) -> str:
    """The passage that shares most words with the question, out of the bank's vector store."""
    from qdrant_client import QdrantClient

    client = QdrantClient(path=os.environ["ARTICLES"])
    try:
        rows, _ = client.scroll("articles", limit=100, with_payload=True)
    finally:
        client.close()
    asked = set(words.lower().split())
    texts = sorted((one.payload["text"] for one in rows), key=lambda text: -len(asked & set(text.lower().split())))
    return texts[0] if texts else "nothing"


CALLABLE["search_articles"] = search_articles
'''
"""A tool of the copy of the demonstration assistant that the tests run: retrieval as a tool, out of Qdrant."""


class Mailbox:
    """An SMTP receiver: what leaves by mail, really leaves."""

    def __init__(self) -> None:
        self.got: list[str] = []
        box = self

        class Talk(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(b"220 mailbox\r\n")
                while line := self.rfile.readline():
                    word = line.strip().upper()
                    if word == b"DATA":
                        self.wfile.write(b"354 go on\r\n")
                        lines = iter(self.rfile.readline, b".\r\n")
                        box.got.append(b"".join(lines).decode())
                    self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                    if word == b"QUIT":
                        return

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Talk)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


class Scene:
    """See the file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store.db"
        self.tokens: dict[str, Path] = {}
        self.times: dict[str, dict[str, float]] = {}
        """Incident -> stage -> seconds since its first byte."""

    # -- applications

    def ask(self, text: str, name: str = "Ann") -> dict[str, Any]:
        """Ask the assistant."""
        return post(f"{self.assistant}/api/chat", {"customer_id": "C1", "name": name, "text": text})[1]

    def chat(self, key: str, text: str = "hello", model: str = AGREED, **headers: str) -> tuple[int, dict[str, Any]]:
        """Ask the model through the guard, as a program with a key."""
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        return post(f"{self.guard.url}/openai/v1/chat/completions", body, authorization=f"Bearer {key}", **headers)

    def score(self, row: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
        """Ask the fraud model through the guard."""
        return post(f"{self.guard.url}/fraud/score", row, authorization=f"Bearer {key}")

    # -- the SOC

    def told(self, kind: str, since: float, about: str = "") -> dict[str, Any]:
        """The alert of this kind, as soon as syslog server and broker both have it."""
        found = running.until(lambda: self._at_syslog(kind, since, about), PATIENCE)
        running.until(lambda: found["id"] in {one.get("id") for one in self.at_broker()}, PATIENCE)
        return dict(found)

    def _at_syslog(self, kind: str, since: float, about: str) -> dict[str, Any]:
        return next((one for one in self.at_syslog() if one.get("kind") == kind and one["last_seen"] >= since and about in json.dumps(one)), {})  # fmt: skip

    def at_syslog(self) -> list[dict[str, Any]]:
        """Everything that the syslog server wrote down."""
        return [json.loads(json.loads(one)["msg"]) for one in lines_of(self.arrived)]

    def at_broker(self) -> list[dict[str, Any]]:
        """Everything the stream holds."""
        return [json.loads(one) for one in asyncio.run(stream(self.nats, "read"))]

    def respond(self, *words: str, by: str = "alice") -> tuple[int, Any]:
        """`afterguard respond ...`, typed by one of the responders; what it said as JSON."""
        acts = {"run", "plan", "approve", "answer", "undo"}
        more = ["--token", str(self.tokens[by])] if words[0] in acts - {"plan"} and "--dry-run" not in words else []
        if more and words[0] != "answer":
            more += ["--sinks", str(self.folder / "sinks.yaml")]
        return self.command(
            "respond", *words, *more, *(() if words[0] in ("verify",) else ("--settings", str(self.settings)))
        )

    def command(self, *words: str) -> tuple[int, Any]:
        """A command, in this process."""
        out, err = io.StringIO(), io.StringIO()
        formatted = [] if "-f" in words else ["-f", "json"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([*words, *formatted, "--store", str(self.store), "--no-config"])
        said = out.getvalue()
        return code, json.loads(said) if said.startswith(("{", "[")) else said + err.getvalue()


@contextlib.contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Everything, running; ended at the end."""
    here = Scene(folder)
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        for name in ("syslog", "nats", "guard", "articles"):
            (folder / name).mkdir()
        port, here.arrived = enter(servers.rsyslog(folder / "syslog", "tcp"))
        here.nats = enter(servers.nats_server(folder / "nats"))
        asyncio.run(stream(here.nats, "make"))
        here.mailbox = Mailbox()
        here.provider = enter(provider())
        model, fraud = free_port(), free_port()
        enter(serving(["stand_in_model.py", "--port", str(model)], model, EXAMPLES))
        enter(serving(["serve.py", "--port", str(fraud)], fraud, EXAMPLES / "fraud"))
        mounts = {"openai": f"http://127.0.0.1:{model}", "fraud:scoring": f"http://127.0.0.1:{fraud}"}
        enter(mock.patch.dict(os.environ, {"AFTERGUARD_GUARD_WATCH": "true", "XDG_DATA_HOME": str(folder / "data")}))
        here.guard = enter(running.guard("", folder / "guard", POLICY, mounts=mounts))
        here.assistant = enter(assistant(here))
        (folder / "sinks.yaml").write_text(sinks(port, here.nats))
        (folder / "routes.yaml").write_text(json.dumps(ROUTES))
        words = ["-m", "afterguard", "watch", "run", str(here.guard.log), "--follow", "--sinks", str(folder / "sinks.yaml"), "--routes", str(folder / "routes.yaml"), "--store", str(here.store), "--no-config"]  # fmt: skip
        here.watch = enter(process(words, folder, folder / "watch.txt"))
        here.settings = settings(here)
        yield here


def sinks(port: int, nats: int) -> str:
    return f"""format: afterguard.sinks/1
sinks:
  - {{name: siem, kind: syslog, host: 127.0.0.1, port: {port}, transport: tcp, settle: 0.2, event_bytes: 60000, lanes: [alert, audit]}}
  - {{name: bus, kind: nats, servers: ["nats://127.0.0.1:{nats}"], lanes: [alert, audit]}}
"""


def settings(here: Scene) -> Path:
    """respond.yaml and the roles it names: alice responds, bob leads; both sign in at the provider."""
    for name in ("alice", "bob"):
        here.tokens[name] = here.folder / f"{name}.token"
        here.tokens[name].write_text(people.signed_in(here.provider, name))
    roles = {"format": "afterguard.roles/1", "issuer": here.provider, "audience": "afterguard", "roles": {"responder": {"groups": ["soc"]}, "lead": {"groups": ["leads"]}}}  # fmt: skip
    (here.folder / "roles.yaml").write_text(json.dumps(roles))
    given = {
        "format": "afterguard.respond/1", "guard": {"folder": str(here.guard.folder), "listen": here.guard.url[7:]}, "roles": str(here.folder / "roles.yaml"),
        "vectors": {"articles": {"kind": "qdrant", "path": str(here.folder / "articles"), "collection": "articles", "field": "document", "text": "text"}},
    }  # fmt: skip
    (here.folder / "respond.yaml").write_text(json.dumps(given))
    return here.folder / "respond.yaml"


@contextlib.contextmanager
def assistant(here: Scene) -> Iterator[str]:
    """A copy of the demonstration assistant, with a search tool, behind the guard."""
    app = here.folder / "assistant"
    shutil.copytree(EXAMPLES / "assistant", app)
    with (app / "app" / "tools.py").open("a") as out:
        out.write(SEARCH)
    with (app / "app" / "rag.py").open("a") as out:
        out.write("\n\ndef search(question: str, count: int = 3) -> list[str]:\n    return []  # the tool searches\n")
    port = free_port()
    environment = {
        "OPENAI_BASE_URL": f"{here.guard.url}/openai/v1", "OPENAI_API_KEY": OURS, "RETRIEVAL": "memory", "SMTP": here.mailbox.address,
        "DATABASE": str(here.folder / "helpdesk.db"), "ARTICLES": str(here.folder / "articles"),
    }  # fmt: skip
    words = ["-m", "uvicorn", "app.main:app", "--port", str(port), "--log-level", "warning"]
    with serving(words, port, app, **environment) as address:
        yield address


@contextlib.contextmanager
def serving(words: list[str], port: int, cwd: Path, **environment: str) -> Iterator[str]:
    """A Python program that listens on a port."""
    log = Path(environment.get("DATABASE", os.devnull)).with_suffix(".log") if "DATABASE" in environment else Path(os.devnull)  # fmt: skip
    with process(words, cwd, log, **environment) as one:
        running.until(lambda: servers.answers(port) or one.poll() is not None, PATIENCE)
        assert one.poll() is None, f"{words[0]} ended"
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def process(words: list[str], cwd: Path, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python program, ended at the end."""
    with log.open("wb") as out:
        one = subprocess.Popen([sys.executable, *words], cwd=cwd, env=os.environ | environment, stdout=out, stderr=out)
    try:
        yield one
    finally:
        running.end(one)


def provider() -> Any:
    """The OpenID Connect provider of the roles' tests."""
    return contextlib.contextmanager(people.provider.__wrapped__)()  # type: ignore[attr-defined]


async def stream(port: int, work: str) -> list[bytes]:
    """Make the broker's stream, or read all of it."""
    import nats

    line = await nats.connect(f"nats://127.0.0.1:{port}")
    try:
        jet = line.jetstream()
        if work == "make":
            await jet.add_stream(name="soc", subjects=["afterguard.>"])
            return []
        info = await jet.stream_info("soc")
        return [bytes((await jet.get_msg("soc", n)).data or b"") for n in range(1, info.state.messages + 1)]
    finally:
        await line.close()


def post(url: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
    """(status, JSON) of a POST; header names with _ for -."""
    named = {"content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
    request = urllib.request.Request(url, json.dumps(body).encode(), named)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
        return error.code, json.loads(text) if text.startswith(b"{") else {"text": text.decode("utf-8", "replace")}


def lines_of(path: Path) -> list[str]:
    """Whole lines of a file that is being written."""
    if not path.exists():
        return []
    return [one for one in path.read_text().split("\n")[:-1] if one]


Step = Callable[[], Any]
