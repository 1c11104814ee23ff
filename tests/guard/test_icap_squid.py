"""The ICAP door behind a real Squid that opens TLS: the OpenAI SDK through it, whole and streamed, blocked, edited, compressed; and what clients see when the guard or Squid is away."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from ports import free_port

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
box: Any = running.module(Path(__file__).with_name("squid.py"))
openai = pytest.importorskip("openai")
pytestmark = pytest.mark.skipif(not box.is_here(), reason=box.MISSING)
KEY = running.KEY
RULES = running.rules(
    running.rule("no-keys-out", "redact", "request", {"hit.kind": "secret_in_input"}), head="mode: {mode}"
)


class World(NamedTuple):
    """Everything on the way."""

    stand_in: Any
    origin: str
    guard: Any
    squid: Any
    door: int
    client: Any
    http: httpx.Client

    def ask(self, *messages: str, **more: Any) -> Any:
        turns = [{"role": ("user", "assistant")[n % 2], "content": m} for n, m in enumerate(messages)]
        return self.client.chat.completions.create(model=more.pop("model", "m"), messages=turns, **more)

    def count(self) -> int:
        """Decisions so far, once none is being written any more."""
        time.sleep(0.3)
        return len(self.guard.lines())

    def last(self, count: int) -> list[dict[str, Any]]:
        """The decisions behind the first `count`, as soon as there are any."""
        return running.until(lambda: self.guard.lines()[count:])


def lines(door: int, origin: str, policy: Path, *more: str) -> str:
    """What the command prints."""
    command = [sys.executable, "-m", "afterguard", "guard", "squid-config", "--door", f"127.0.0.1:{door}"]
    command += [f"--upstream=openai={origin}/openai", "--policy", str(policy), *more]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout


@contextlib.contextmanager
def world(folder: Path, authority: Any, mode: str, *flags: str, squid_flags: tuple[str, ...] = ()) -> Iterator[World]:
    """Stand-in, TLS before it, guard with the door, Squid, and an SDK that uses it."""
    policy = RULES.replace("{mode}", mode)
    door, port = free_port(), free_port()
    with running.stand_in() as stand_in, box.front(stand_in.origin, *authority.issue("front")) as tls:
        origin = f"https://localhost:{tls}"
        mounts = {"openai": f"{origin}/openai"}
        with running.guard("", folder, policy, f"--door=icap=127.0.0.1:{door}", *flags, mounts=mounts) as guard:
            told = lines(door, origin, guard.policy, *squid_flags)
            with box.squid(told, authority, port) as squid, client_of(authority, squid.url, origin) as (client, http):
                yield World(stand_in, origin, guard, squid, door, client, http)


@contextlib.contextmanager
def client_of(authority: Any, proxy: str, origin: str, idle: float = 5.0) -> Iterator[tuple[Any, httpx.Client]]:
    """The SDK as it is on a machine of that company: its proxy, its authority. Connections idle for longer are not used again."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    limits = httpx.Limits(keepalive_expiry=idle)
    with httpx.Client(proxy=proxy, verify=context, timeout=20, limits=limits) as http:
        yield openai.OpenAI(base_url=f"{origin}/openai/v1", api_key="sk-test", http_client=http, max_retries=0), http


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory, authority: Any) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("enforce"), authority, "enforce") as one:
        yield one


@pytest.fixture(scope="module")
def observing(tmp_path_factory: pytest.TempPathFactory, authority: Any) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("observe"), authority, "observe") as one:
        yield one


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory, authority: Any) -> Iterator[World]:
    flags = ("--on-error", "closed")
    with world(tmp_path_factory.mktemp("closed"), authority, "enforce", *flags, squid_flags=flags) as one:
        yield one


def streamed(one: World, text: str, **more: Any) -> tuple[str, list[float]]:
    """(what a stream said, seconds at which its pieces came)."""
    began = time.monotonic()
    said, at = "", []
    for event in one.ask(text, stream=True, **more):
        if event.choices and event.choices[0].delta.content:
            said += event.choices[0].delta.content
            at.append(time.monotonic() - began)
    return said, at


def own(line: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = line["unmapped"]["afterguard"]
    return found


def test_squid_takes_the_lines(enforcing: World) -> None:
    said = enforcing.squid.said()
    assert "WARNING" not in said and "ERROR: " not in said.replace("ERROR: failure while accepting", ""), said
    told = lines(1344, "https://ai.example", enforcing.guard.policy, "--on-error", "closed")
    assert "bypass=off" in told and "bypass=on" not in told and "dstdomain -n ai.example" in told
    file = enforcing.guard.folder / "parsed.conf"
    file.write_text(told + "http_port 127.0.0.1:3128\n")
    done = subprocess.run([box.BINARY, "-k", "parse", "-f", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr[-2000:]


def test_request_and_reply_are_one_decision(enforcing: World) -> None:
    before = enforcing.count()
    said = enforcing.ask("Good morning. [[say: Hello there.]]")
    assert said.choices[0].message.content == "Hello there."
    (line,) = enforcing.last(before)
    assert line["status_code"] == "200" and line["api"]["operation"] == "chat"
    assert line["actor"]["user"]["uid"] != "unknown" and line["message_context"]["total_tokens"] > 0
    assert "unjudged" not in own(line), own(line)


@pytest.mark.parametrize("mode", ["enforcing", "observing"])
def test_a_stream_comes_piece_by_piece(mode: str, request: pytest.FixtureRequest) -> None:
    one: World = request.getfixturevalue(mode)
    before = one.count()
    prose = "the depot opens early in the morning and closes late in the evening but never on a holiday"
    said, at = streamed(one, f"Tell. [[say: {prose}]] [[slow: 0.1]]")
    assert said == prose
    assert at[-1] - at[0] > 1.0 and sum(later - sooner > 0.04 for sooner, later in pairwise(at)) > 10
    (line,) = one.last(before)
    assert "unjudged" not in own(line), own(line)


def test_a_refused_request_never_leaves(enforcing: World) -> None:
    before = enforcing.count()
    with pytest.raises(openai.BadRequestError) as refused:
        enforcing.ask("x [[tag: icap-refused]]", model=running.BLOCK)
    assert refused.value.code == "afterguard_blocked" and running.SAYS in str(refused.value)
    (line,) = enforcing.last(before)
    assert refused.value.response.headers["x-afterguard-decision"] == line["metadata"]["uid"]
    assert enforcing.stand_in.requests("icap-refused") == []


def test_a_request_is_changed_on_its_way(enforcing: World) -> None:
    said = enforcing.ask(f"My key is {KEY}, I said [[echo]]").choices[0].message.content
    assert KEY not in said and "[removed: secret]" in said and "I said" in said


@pytest.mark.parametrize("how", ["", "[[encode: gzip]]", "[[encode: deflate]]"])
def test_a_reply_is_changed_on_its_way(enforcing: World, how: str) -> None:
    enforcing.stand_in.script(match="the vault", leak=KEY)
    said = enforcing.ask(f"What is in the vault? {how}").choices[0].message.content
    assert KEY not in said and said.startswith("Of course") and said.endswith("nobody else knows it.")
    enforcing.stand_in.script(match="the vault", leak=KEY)
    said, _ = streamed(enforcing, f"And what is in the vault now? {how}")
    assert KEY not in said and said.startswith("Of course") and said.endswith("nobody else knows it.")


def test_observed_bytes_are_those_of_the_provider(observing: World) -> None:
    before = observing.count()
    observing.stand_in.script(match="the vault", leak=KEY)
    said = observing.ask("What is in the vault? [[encode: gzip]]").choices[0].message.content
    assert KEY in said
    (line,) = observing.last(before)
    assert own(line)["would"] == "redact" and own(line)["action"] == "flag"
    assert observing.ask("x", model=running.BLOCK).choices[0].message.content


@pytest.mark.parametrize("mode", ["enforcing", "observing"])
def test_large_bodies_both_ways(mode: str, request: pytest.FixtureRequest) -> None:
    one: World = request.getfixturevalue(mode)
    one.ask("first the options")
    said = one.ask("x" * 300_000 + " [[long: 100000]]").choices[0].message.content
    assert said.split()[-1] == "word99999"


def test_other_operations_and_errors_pass(enforcing: World) -> None:
    assert {model.id for model in enforcing.client.models.list()} >= {"stand-in"}
    with pytest.raises(openai.InternalServerError):
        enforcing.ask("x [[fail: 500]]")
    with pytest.raises(openai.NotFoundError):
        enforcing.client.models.retrieve("no-such-model")


def test_a_host_that_is_none_is_not_seen(enforcing: World) -> None:
    before = enforcing.count()
    other = enforcing.stand_in.origin.replace("127.0.0.1", "localhost")
    reply = enforcing.http.get(other + "/stand-in/ready")
    assert reply.json() == {"ready": True}
    time.sleep(0.3)
    assert enforcing.guard.lines()[before:] == []


def test_a_reply_that_breaks_off_breaks_off(enforcing: World) -> None:
    before = enforcing.count()
    with pytest.raises((httpx.HTTPError, openai.APIError)):
        streamed(enforcing, "Tell [[long: 30]] [[stop: 3]]")
        raise openai.APIConnectionError(request=None)  # type: ignore[arg-type]  # the SDK may take the cut for the end
    (line,) = enforcing.last(before)
    assert line["status_code"] == "200"


def test_the_kill_switch(enforcing: World) -> None:
    command = [sys.executable, "-m", "afterguard", "guard"]
    folder = ["--folder", str(enforcing.guard.folder)]
    subprocess.run([*command, "kill", *folder], check=True, capture_output=True)
    try:
        running.until(lambda: enforcing.guard.metric("afterguard_killed"))
        before = enforcing.count()
        assert enforcing.ask("x", model=running.BLOCK).choices
        assert own(enforcing.last(before)[0])["failed"] == "killed"
    finally:
        subprocess.run([*command, "resume", *folder], check=True, capture_output=True)
    running.until(lambda: not enforcing.guard.metric("afterguard_killed"))
    with pytest.raises(openai.BadRequestError):
        enforcing.ask("x", model=running.BLOCK)


# Faults. The last tests of a world: the guard does not come back in them.


def test_squid_restarted(enforcing: World) -> None:
    enforcing.squid.stop()
    with pytest.raises(openai.APIConnectionError):
        enforcing.ask("nobody there")
    enforcing.squid.start()
    assert enforcing.ask("there again").choices
    before = enforcing.count()
    enforcing.ask("and seen")
    assert "unjudged" not in own(enforcing.last(before)[0])


def killed(one: World) -> None:
    """End the guard and its workers at once."""
    pid = one.guard.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for each in (pid, *map(int, workers)):
        os.kill(each, signal.SIGKILL)
    one.guard.process.wait()


def again(one: World, folder: Path, *flags: str) -> Any:
    """Another guard at the same door."""
    mounts = {"openai": f"{one.origin}/openai"}
    policy = one.guard.policy.read_text()
    return running.guard("", folder, policy, f"--door=icap=127.0.0.1:{one.door}", *flags, mounts=mounts)


def test_upgraded_without_a_gap(enforcing: World, tmp_path: Path) -> None:
    """Another guard shares the door's address, then the first one leaves: exchanges begun there end there, one decision each."""
    enforcing.ask("warm")
    before = enforcing.count()
    with again(enforcing, tmp_path, "--takeover") as other:
        with ThreadPoolExecutor(8) as clients:
            asked = [clients.submit(enforcing.ask, f"turn {n} [[wait: {n % 4 / 2}]]") for n in range(24)]
            time.sleep(0.3)
            enforcing.guard.process.send_signal(signal.SIGTERM)
            assert all(one.result().choices for one in asked)
        enforcing.guard.process.wait(30)
        assert enforcing.ask("after").choices
        time.sleep(1.0)
        lines = enforcing.guard.lines()[before:] + other.lines()
        assert all("unjudged" not in own(line) for line in lines), [own(line).get("unjudged") for line in lines]
        assert len(lines) == 25
    assert enforcing.ask("gone").choices, "the service is optional: Squid goes on without it"


def test_killed_in_the_middle_of_a_stream_failing_open(observing: World, tmp_path: Path) -> None:
    stream = iter(observing.ask("Tell [[long: 60]] [[slow: 0.05]]", stream=True))
    for _ in range(5):
        next(stream)
    killed(observing)
    with pytest.raises((httpx.HTTPError, openai.APIError)):
        list(stream)
        raise openai.APIConnectionError(request=None)  # type: ignore[arg-type]
    assert observing.ask("unseen").choices
    with again(observing, tmp_path) as other:
        assert observing.ask("seen").choices
        running.until(other.lines)


def test_slow_and_killed_failing_closed(closed: World, tmp_path: Path) -> None:
    assert closed.ask("warm").choices
    pid = closed.guard.process.pid
    workers = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    os.kill(workers[0], signal.SIGSTOP)
    began = time.monotonic()
    with contextlib.suppress(openai.APIError):
        closed.ask("slow")  # a worker that stands still is replaced
    assert time.monotonic() - began < 45
    assert running.until(lambda: _answers(closed), 20)
    killed(closed)
    with pytest.raises(openai.InternalServerError) as away:
        closed.ask("away")
    assert "ICAP" in away.value.response.text
    with again(closed, tmp_path):
        assert running.until(lambda: _answers(closed), 60)


def _answers(one: World) -> bool:
    try:
        return bool(one.ask("there?").choices)
    except openai.APIError:
        return False
