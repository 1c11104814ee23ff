"""Two real guards that pull one signed bundle from a real HTTP server: the change, the cut, the refusals, the restart."""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ports import free_port

from afterguard.config import GuardConfig
from afterguard.jobs import bundle as job
from afterguard.jobs.promote import private_key
from afterguard.jobs.pull import pull_of

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
EVERY, STALE = 0.4, 2.5


class Shelf:
    """A small HTTP server with one file and ETags; can be taken away and come back at its address."""

    def __init__(self) -> None:
        self.body = b""
        self.port = free_port()
        self.asked: list[str] = []
        self.server: http.server.ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/bundle.json"

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        shelf = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tag = f'"{hash(shelf.body)}"'
                is_known = self.headers.get("if-none-match") == tag
                shelf.asked.append("304" if is_known else "200")
                self.send_response(304 if is_known else 200)
                self.send_header("ETag", tag)
                self.send_header("Content-Length", "0" if is_known else str(len(shelf.body)))
                self.end_headers()
                if not is_known:
                    self.wfile.write(shelf.body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


class Signer:
    """A person with a key who signs with the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "ann.pem"
        said = command("policy", "key", str(self.key))
        self.public = said.stderr.split("guard.trusted_keys: ")[1].split()[0]

    def sign(self, text: str, *words: str) -> bytes:
        policy, out = self.folder / "fleet.yaml", self.folder / "bundle.json"
        policy.write_text(text)
        done = command(
            "policy", "bundle", str(policy), "--out", str(out), "--key", str(self.key), "--name", "Ann", *words
        )
        assert done.returncode == 0 and self.public in done.stderr, done.stderr
        return out.read_bytes()


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "afterguard", *words], capture_output=True, text=True, timeout=120, check=False
    )


def policy(sentence: str, mode: str = "enforce") -> str:
    return str(running.rules(name="fleet", head=f"mode: {mode}").replace(running.SAYS, sentence))


@contextlib.contextmanager
def guard(upstream: str, folder: Path, shelf: Shelf, signer: Signer, site: str, *words: str) -> Iterator[Any]:
    folder.mkdir(exist_ok=True)
    config = folder / "afterguard.toml"
    config.write_text(
        f'[guard]\npolicy = "{shelf.url}"\npolicy_every = {EVERY}\npolicy_stale = {STALE}\nsite = "{site}"\ntrusted_keys = ["{signer.public}"]\n'
    )
    url = f"http://127.0.0.1:{free_port()}"
    log = folder / "decisions.jsonl"
    whole = [
        sys.executable, "-m", "afterguard", "guard", "--config", str(config), "--listen", url[7:], "--folder", str(folder / "guard"), "--helpers", "0",
        "--judge", "off", "--log", str(log), f"--upstream=openai={upstream}/openai", *words,
    ]  # fmt: skip
    with (folder / "said.txt").open("ab") as out:
        process = subprocess.Popen(whole, stdout=out, stderr=subprocess.STDOUT, cwd=folder)
    try:
        running.until(lambda: running._is_ready(process, url), running.PATIENCE)
        assert process.poll() is None, (folder / "said.txt").read_text()[-3000:]
        yield running.Guard(process, url, folder, config)
    finally:
        running.end(process)


def refusal(one: Any) -> str:
    """What a guard says to a request for the model that the policy refuses."""
    asked = urllib.request.Request(
        one.url + "/openai/v1/chat/completions",
        running.chat("hi", model=running.BLOCK),
        {"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as reply:
            return f"passed {reply.status}"
    except urllib.error.HTTPError as error:
        with error:
            return str(json.load(error)["error"]["message"]).partition(" (decision")[0]


def status(*guards: Any) -> tuple[int, list[dict[str, Any]], str]:
    words = [word for one in guards for word in ("--at", one.url)]
    done = command("policy", "status", *words, "--format", "json")
    return done.returncode, json.loads(done.stdout)["points"], command("policy", "status", *words).stdout


@pytest.fixture(scope="module")
def provider() -> Iterator[Any]:
    with running.stand_in() as one:
        yield one


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    one = Shelf()
    one.start()
    yield one
    one.stop()


def test_two_sites_one_bundle(provider: Any, shelf: Shelf, tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    sites = tmp_path / "sites.yaml"
    sites.write_text("paris: {mode: observe}\n")
    shelf.body = signer.sign(policy("first"), "--sites", str(sites))
    with (
        guard(provider.origin, tmp_path / "berlin", shelf, signer, "berlin", "--workers", "2") as berlin,
        guard(provider.origin, tmp_path / "paris", shelf, signer, "paris") as paris,
    ):
        assert refusal(berlin) == "first"
        assert refusal(paris) == "passed 200", "only observed at this site"
        code, points, said = status(berlin, paris)
        assert code == 0 and [one["modes"] for one in points] == [{"openai": "enforce"}, {"openai": "observe"}]
        assert all(one["sequence"] == json.loads(shelf.body)["sequence"] and 0 <= one["pulled"] < 20 for one in points)
        assert said.count("not stale") == 2 and "enforce /openai" in said

        # A change, seen at both within seconds, while a stream is under way and a connection is kept.
        reply = _stream(berlin)
        assert reply.read(30)
        shelf.body = signer.sign(policy("second"))
        began = time.monotonic()
        running.until(lambda: refusal(berlin) == "second" and refusal(paris) == "second")
        assert time.monotonic() - began < 20
        rest = reply.read()
        reply.close()
        assert b"[DONE]" in rest, "the stream that began before goes on to its end"
        assert berlin.metric("afterguard_policy_pulls_total", "changed") >= 1
        running.until(lambda: "304" in shelf.asked[-4:])

        # What is refused, with the guards as they were.
        good = shelf.body
        for body, reason in _bad(signer, good):
            shelf.body = body
            running.until(lambda reason=reason: paris.metric("afterguard_policy_pulls_total", reason) > 0, 10)
            assert refusal(berlin) == refusal(paris) == "second", reason
        said = (tmp_path / "paris/said.txt").read_text()
        for words in (
            "is not signed",
            "it was changed after it was signed",
            "a roll-back",
            "was good until",
            "not among guard.trusted_keys",
        ):
            assert words in said, words

        # Nobody answers: the policy stays, and shows as stale.
        shelf.stop()
        running.until(
            lambda: berlin.metric("afterguard_policy_stale") == 1 and paris.metric("afterguard_policy_stale") == 1, 10
        )
        assert refusal(berlin) == "second"
        code, points, said = status(berlin, paris)
        assert code == 10 and said.count("STALE") == 2 and all(one["is_stale"] for one in points)

    # Restarted while cut off.
    with guard(provider.origin, tmp_path / "berlin", shelf, signer, "berlin") as berlin:
        assert refusal(berlin) == "second" and berlin.metric("afterguard_policy_stale") == 1
        shelf.body = signer.sign(policy("third"))
        shelf.start()
        running.until(lambda: refusal(berlin) == "third", 10)
        running.until(lambda: berlin.metric("afterguard_policy_stale") == 0)
        file = tmp_path / "numbers.prom"
        with urllib.request.urlopen(berlin.url + "/metrics", timeout=10) as page:
            file.write_bytes(page.read())
        done = command("policy", "status", str(file))
        assert done.returncode == 0 and "fleet@" in done.stdout and "not stale" in done.stdout


def _stream(one: Any) -> Any:
    body = running.chat("[[long: 60]] [[slow: 0.08]] go on", stream=True)
    asked = urllib.request.Request(one.url + "/openai/v1/chat/completions", body, {"content-type": "application/json"})
    return urllib.request.urlopen(asked, timeout=30)


def _bad(signer: Signer, good: bytes) -> Iterator[tuple[bytes, str]]:
    """Bundles that must not be taken, and the word for each."""
    value = json.loads(good)
    yield json.dumps({**value, "signatures": []}).encode(), "unsigned"
    yield good.replace(b"second", b"other "), "tampered"
    key = private_key(signer.key.read_bytes(), "ann")
    found = job.read(good)
    now = job.moment(found.created)
    assert now is not None
    bare = msgspec.structs.replace(found, signatures=())
    older = job.sign(msgspec.structs.replace(bare, sequence=found.sequence - 1), key, "Ann", now)
    yield job.written(older), "older"
    over = job.sign(
        msgspec.structs.replace(bare, sequence=found.sequence + 9, valid_until="2020-01-01T00:00:00Z"), key, "Ann", now
    )
    yield job.written(over), "expired"
    yield job.written(job.sign(bare, Ed25519PrivateKey.generate(), "Eve", now)), "untrusted"
    yield b"<html>", "unreadable"
    wrong = msgspec.structs.replace(bare, sequence=found.sequence + 9, policy="format: nonsense")
    yield job.written(job.sign(wrong, key, "Ann", now)), "bad_policy"


def test_over_tls_with_a_private_authority(authority: Any, shelf: Shelf, tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    shelf.body = signer.sign(policy("first"))
    shelf.stop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("policies"))
    shelf.start(context)
    url = shelf.url.replace("http:", "https:")
    known = GuardConfig(policy=url, trusted_keys=[signer.public], upstream_ca=str(authority.ca))
    stranger = GuardConfig(policy=url, trusted_keys=[signer.public])
    for given, outcome in ((stranger, "unreachable"), (known, "changed")):
        one = pull_of(given, tmp_path / "guard")
        assert one is not None and one.once() == outcome, one.state() if one else ""


def test_without_a_first_bundle_it_says_what_to_do(provider: Any, tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    shelf = Shelf()
    folder = tmp_path / "g"
    folder.mkdir()
    config = folder / "afterguard.toml"
    text = f'[guard]\npolicy = "{shelf.url}"\npolicy_every = {EVERY}\ntrusted_keys = ["{signer.public}"]\nupstream = ["openai={provider.origin}/openai"]\n'
    config.write_text(text)
    done = command(
        "guard",
        "--config",
        str(config),
        "--folder",
        str(folder / "guard"),
        "--listen",
        f"127.0.0.1:{free_port()}",
    )
    assert done.returncode == 2 and "does not answer" in done.stderr and "guard.policy_first" in done.stderr
