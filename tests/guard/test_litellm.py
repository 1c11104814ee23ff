"""The door for LiteLLM, asked by a real LiteLLM proxy in front of the stand-in providers; and what it does with questions nobody should ask."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from environments import litellm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ports import free_port

from afterguard.errors import UsageError
from afterguard.guard import asked, door, probe, probe_request
from afterguard.guard.route import Mounts
from afterguard.jobs import judging
from afterguard.jobs import prove as proving

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]

KEY = running.KEY
MASTER = "sk-litellm-test"
ASK = "/beta/litellm_basic_guardrail_api"
POLICY = running.rules(
    running.rule("no-wipe", "step_down", "call", {"call.tool": "wipe_disk"}),
    running.rule("no-keys-out", "redact", "request", {"hit.kind": "secret_in_input"}),
    head="mode: enforce",
)


class Gateway:
    """A LiteLLM proxy, running."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.openai = openai.OpenAI(base_url=url + "/v1", api_key=MASTER, max_retries=0)


def snippet(folder: Path, guard: str, name: str, *flags: str) -> str:
    """A guardrail as `guard litellm-config` writes it, under another name and only for requests that name it."""
    command = [sys.executable, "-m", "afterguard", "guard", "litellm-config", "--no-config", "--listen", guard, *flags]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout
    told = told.replace("guardrail_name: afterguard", f"guardrail_name: {name}")
    assert told.startswith("guardrails:\n")
    return told.removeprefix("guardrails:\n").replace("default_on: true", "default_on: false")


@contextlib.contextmanager
def gateway(folder: Path, provider: str, guardrails: str) -> Iterator[Gateway]:
    """LiteLLM in front of `provider`."""
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(
        f"""model_list:
  - model_name: "m"
    litellm_params: {{model: "openai/m", api_base: "{provider}/openai/v1", api_key: "k"}}
  - model_name: "{running.BLOCK}"
    litellm_params: {{model: "openai/m", api_base: "{provider}/openai/v1", api_key: "k"}}
  - model_name: "claude"
    litellm_params: {{model: "anthropic/claude-3", api_base: "{provider}/anthropic", api_key: "k"}}
litellm_settings: {{telemetry: false, num_retries: 0}}
general_settings: {{master_key: "{MASTER}"}}
guardrails:
{guardrails}"""
    )
    environment = os.environ | {"HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    environment.pop("PYTHONPATH", None)
    command = [litellm(), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    said = folder / "litellm.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        running.until(lambda: process.poll() is not None or up(url), 400)
        assert process.poll() is None, said.read_text(errors="replace")[-3000:]
        found = Gateway(url)
        yield found
        found.openai.close()
    finally:
        running.end(process)


def up(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url + "/health/liveliness", timeout=5).status_code == 200
    return False


class Place:
    """All three, running."""

    def __init__(self, provider: Any, guard: Any, litellm: Gateway, restarts: int) -> None:
        self.provider, self.guard, self.litellm = provider, guard, litellm
        self.restarts = restarts
        """The port of a guard that comes and goes."""

    def ask(self, text: str, model: str = "m", *, by: str = "hold", **more: Any) -> Any:
        """One question, with the guardrail of this name."""
        body = {"guardrails": [by]}
        said = [{"role": "user", "content": text}]
        return self.litellm.openai.chat.completions.create(model=model, messages=said, extra_body=body, **more)  # type: ignore[call-overload]

    def decision(self, text: str) -> dict[str, Any]:
        """What was written down of the exchange that was refused with this sentence."""
        return own(self.guard.decided(text.rpartition("(decision ")[2].partition(")")[0], 10))


def own(line: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = line["unmapped"]["afterguard"]
    return found


@contextlib.contextmanager
def restarted(folder: Path, port: int) -> Iterator[None]:
    """A guard on this port, for a while."""
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    command = [sys.executable, "-m", "afterguard", "guard", "--gateway", "litellm", "--listen", f"127.0.0.1:{port}"]
    command += ["--policy", str(policy), "--folder", str(folder), "--helpers", "0", "--judge", "off", "--no-config"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        running.until(lambda: up_at(port), 60)
        yield
    finally:
        running.end(process)


def up_at(port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    return False


def silent() -> socket.socket:
    """Something that listens and never answers."""
    return socket.create_server(("127.0.0.1", 0))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("litellm")
    (folder / "guard").mkdir()
    dead, restarts = f"127.0.0.1:{free_port()}", free_port()
    with (
        running.stand_in() as provider,
        running.guard("", folder / "guard", POLICY, "--gateway", "litellm", mounts={}) as guard,
        silent() as deaf,
    ):
        here, slow = guard.url[7:], f"127.0.0.1:{deaf.getsockname()[1]}"
        told = (
            snippet(folder, here, "hold"),
            snippet(folder, here, "grow", "--stream", "grow", "--name", "growing"),
            snippet(folder, f"127.0.0.1:{restarts}", "restarts", "--on-error", "closed"),
            snippet(folder, dead, "dead-open", "--on-error", "open"),
            snippet(folder, dead, "dead-closed", "--on-error", "closed"),
            snippet(folder, slow, "slow-open", "--on-error", "open", "--timeout", "1"),
            snippet(folder, slow, "slow-closed", "--on-error", "closed", "--timeout", "1"),
        )
        with gateway(folder, provider.origin, "".join(told)) as found:
            yield Place(provider, guard, found, restarts)


def text_of(stream: Any) -> str:
    return "".join(piece.choices[0].delta.content or "" for piece in stream if piece.choices)


def test_what_is_harmless_passes_and_one_decision_says_request_and_reply(place: Place) -> None:
    before = len(place.guard.lines())
    assert place.ask("[[say: hello]] What are the opening hours?").choices[0].message.content == "hello"
    line = running.until(lambda: place.guard.lines()[before:], 15)
    assert len(line) == 1 and own(line[0]).get("action", "allow") == "allow"
    assert not own(line[0]).get("unjudged"), line


def test_a_request_is_redacted_on_its_way_to_the_provider(place: Place) -> None:
    said = place.ask(f"[[echo]] use {KEY} please").choices[0].message.content
    assert KEY not in said and "removed" in said and said.endswith("please")


def test_a_reply_is_redacted(place: Place) -> None:
    said = place.ask(f"[[leak: {KEY}]]").choices[0].message.content
    assert KEY not in said and "removed" in said


@pytest.mark.parametrize("by", ["hold", "grow"])
def test_a_streamed_reply_is_redacted_before_any_of_it_leaves(place: Place, by: str) -> None:
    said = text_of(place.ask(f"[[leak: {KEY}]] [[cut: 3]]", by=by, stream=True))
    assert KEY not in said and KEY[:12] not in said and "removed" in said
    assert said.startswith("Of course") and said.endswith("knows it.")


def test_a_growing_reply_leaves_as_it_grows(place: Place) -> None:
    words = "one two three four five six seven eight nine ten " * 12
    stream = place.ask(f"[[say: {words}]] [[cut: 5]] [[slow: 0.02]]", by="grow", stream=True)
    began = time.monotonic()
    times = [time.monotonic() - began for piece in stream if piece.choices and piece.choices[0].delta.content]
    assert len(times) > 3 and times[0] < times[-1] / 2


def test_a_forbidden_model_is_refused_as_a_request_nobody_repeats(place: Place) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        place.ask("hello", model=running.BLOCK)
    assert running.SAYS in str(caught.value)
    assert place.decision(str(caught.value))["action"] == "block"


@pytest.mark.parametrize("stream", [False, True])
def test_a_forbidden_call_is_refused(place: Place, stream: bool) -> None:
    tools: Any = [{"type": "function", "function": {"name": "wipe_disk", "parameters": {"type": "object"}}}]
    with pytest.raises(openai.APIError) as caught:
        found = place.ask('[[call: wipe_disk {"a": 1}]]', tools=tools, stream=stream)
        calls = [call for piece in found for choice in piece.choices for call in choice.delta.tool_calls or ()]
        assert not calls, "the call left before it was judged"
    assert running.SAYS in str(caught.value)


def test_the_messages_api_is_guarded_as_well(place: Place) -> None:
    said: Any = [{"role": "user", "content": f"[[leak: {KEY}]]"}]
    body = {"guardrails": ["hold"]}
    with anthropic.Anthropic(base_url=place.litellm.url, api_key=MASTER, max_retries=0) as client:
        found = client.messages.create(model="claude", max_tokens=50, messages=said, extra_body=body)
    text = "".join(block.text for block in found.content if block.type == "text")
    assert KEY not in text and "removed" in text


@pytest.mark.parametrize("state", ["dead", "slow"])
def test_without_the_guard_litellm_does_as_it_was_told(place: Place, state: str) -> None:
    assert place.ask("[[say: hello]]", by=f"{state}-open").choices[0].message.content == "hello"
    with pytest.raises(openai.APIStatusError) as caught:
        place.ask("[[say: hello]]", by=f"{state}-closed")
    assert caught.value.status_code == 500


def test_a_guard_that_restarts_is_asked_again(place: Place, tmp_path: Path) -> None:
    for _ in range(2):
        with restarted(tmp_path, place.restarts):
            assert KEY not in place.ask(f"[[leak: {KEY}]]", by="restarts").choices[0].message.content
        with pytest.raises(openai.InternalServerError):
            place.ask("[[say: hello]]", by="restarts")


def test_the_docs_show_what_the_command_prints(tmp_path: Path) -> None:
    shown = (
        (running.ROOT / "docs/how-to/doors.md").read_text().partition("```yaml\nguardrails:\n")[2].partition("```")[0]
    )
    shown = re.sub(r" +#.*", "", shown)
    assert snippet(tmp_path, "127.0.0.1:8765", "afterguard").replace("default_on: false", "default_on: true") == shown


def test_a_broken_policy_changes_nothing_and_the_kill_switch_lets_pass(place: Place) -> None:
    whole = place.guard.policy.read_text()
    place.guard.policy.write_text("nonsense: [")
    running.until(lambda: place.guard.metric("afterguard_failures_total", "bad_policy"))
    with pytest.raises(openai.BadRequestError):
        place.ask("hello", model=running.BLOCK)
    place.guard.policy.write_text(whole)
    switch = place.guard.folder / "killed"
    switch.touch()
    try:
        running.until(lambda: place.guard.metric("afterguard_killed"))
        assert place.ask("[[say: hello]]", model=running.BLOCK).choices[0].message.content == "hello"
    finally:
        switch.unlink()
        running.until(lambda: not place.guard.metric("afterguard_killed"))


def test_every_cell_of_the_door_is_proved(place: Place) -> None:
    guard = proving.Guard(place.guard.url, judging.key(place.guard.folder), {})
    rows = list(proving.proofs(guard))
    own = {row.place for row in rows if row.mount == "litellm"}
    assert own == set(probe.PLACES[:5]) and not [row for row in rows if row.gap], rows


# The door alone.


class Alone:
    """The door with no gateway before it."""

    def __init__(self, folder: Path, policy: str = POLICY, kind: str = "litellm", **common: Any) -> None:
        self.door = running.Door(folder, lambda asked: running.Said([b"{}"]), policy)
        self.desk = self.door.proxy.desk
        self.desk.brain.warm()  # patterns compile for longer than a step may take
        given = door.Given(self.desk, Mounts([]), common={"mode": "enforce", **common})
        self.asked: Any = door.PATHS[kind](given)
        self.door.proxy.doors = {kind: self.asked}

    def post(self, *questions: Any, path: str = "/litellm" + ASK, headers: Any = None) -> list[httpx.Response]:
        """The answers to questions, one after the other."""

        async def talk() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self.door.proxy)
            async with httpx.AsyncClient(transport=transport, base_url="http://guard") as client:
                found = []
                for question in questions:
                    content = question if isinstance(question, bytes) else json.dumps(question).encode()
                    where = path
                    if isinstance(question, dict) and "__path" in question:
                        where = question["__path"]
                    found.append(await client.post(where, content=content, headers=headers))
                return found

        found: list[httpx.Response] = self.door.run(talk)
        return found


def question(kind: str = "request", *texts: str, **more: Any) -> dict[str, Any]:
    return {"input_type": kind, "litellm_call_id": "c1", "texts": list(texts), "request_data": {}, **more}


def test_request_and_reply_are_one_exchange(tmp_path: Path) -> None:
    one = Alone(tmp_path)
    first, second = one.post(question("request", "hi"), question("response", f"it is {KEY}"))
    assert first.json() == {"action": "NONE"}
    assert second.json()["action"] == "GUARDRAIL_INTERVENED" and KEY not in second.json()["texts"][0]
    assert [own(line)["action"] for line in one.door.lines()] == ["redact"]


def test_a_reply_whose_request_nobody_saw_is_judged_and_that_is_counted(tmp_path: Path) -> None:
    one = Alone(tmp_path)
    (found,) = one.post(question("response", f"it is {KEY}"))
    assert KEY not in found.json()["texts"][0]
    (line,) = one.door.lines()
    assert "request_not_seen" in [row["reason"] for row in own(line)["unjudged"]]


def test_a_reply_that_grows_is_one_reply(tmp_path: Path) -> None:
    one = Alone(tmp_path)
    whole = f"the key is {KEY} and that is all there is to say about it"
    grown = [question("response", whole[:at]) for at in range(10, len(whole) + 1, 7)] + [question("response", whole)]
    rows = one.post(question("request", "hi"), *grown)
    left = ""
    for row, shown in zip(rows[1:], grown):
        text = (row.json().get("texts") or shown["texts"])[0]
        upto = text[: len(text) - row.json()["stream_holdback_chars"][0]]
        assert upto.startswith(left), "what has left would have to change"
        left = upto
    assert KEY not in left
    (line,) = one.door.lines()
    assert own(line)["action"] == "redact" and len(own(line)["hits"]) == 1


def test_roles_are_known_from_the_messages(tmp_path: Path) -> None:
    found = running.rule("not-in-results", "block", "request", {"hit.kind": "secret_in_output"})
    one = Alone(tmp_path, running.rules(found, head="mode: enforce"))
    said = f"it is {KEY}"
    user, tool = {"role": "user", "content": said}, {"role": "tool", "tool_call_id": "a", "content": said}
    first, second = one.post(
        question("request", said, structured_messages=[user]), question("request", said, structured_messages=[tool])
    )
    assert first.json()["action"] == "NONE" and second.json()["action"] == "BLOCKED"


def test_an_edited_call_in_the_history_comes_back_as_messages(tmp_path: Path) -> None:
    one = Alone(tmp_path)
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": json.dumps({"k": KEY})}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    (found,) = one.post(question("request", "hi", structured_messages=messages))
    assert KEY not in json.dumps(found.json()) or found.json()["action"] == "NONE"


@pytest.mark.parametrize("mode", ["observe", "shadow"])
def test_nothing_is_changed_before_it_is_to_be(tmp_path: Path, mode: str) -> None:
    one = Alone(tmp_path, mode=mode)
    first, second = one.post(question("request", "hi", model=running.BLOCK), question("response", f"it is {KEY}"))
    assert first.json()["action"] == second.json()["action"] == "NONE"
    (line,) = one.door.lines()
    assert own(line)["would"] == "block"


@pytest.mark.parametrize(("on_error", "action"), [("open", "NONE"), ("closed", "BLOCKED")])
def test_a_brain_that_raises_passes_or_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_error: str, action: str
) -> None:
    one = Alone(tmp_path, on_error=on_error)
    monkeypatch.setattr(one.desk.brain, "inspect", lambda *_, **__: 1 / 0)
    (found,) = one.post(question("request", "hi"))
    assert found.json()["action"] == action
    assert own(one.door.lines()[0])["unjudged"][0]["reason"] == "exception:ZeroDivisionError"


def test_what_nobody_should_ask_is_refused_with_what_to_do(tmp_path: Path) -> None:
    one = Alone(tmp_path)
    rows = one.post(b"", b"[]", b"{", {"input_type": "sideways"}, {"input_type": "request", "texts": 3}, b"\xff" * 50)
    assert [row.status_code for row in rows] == [400] * 6
    assert all("afterguard" in row.json()["error"]["message"] for row in rows)
    assert one.door.metric("afterguard_unjudged_total", "bad_question") == 6
    (gone,) = one.post(question(), path="/litellm/a/b/c/d")
    assert gone.status_code == 400 and "api_base" in gone.text


def test_what_waits_for_a_reply_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "WAITING", 5)
    one = Alone(tmp_path)
    one.post(*({**question("request", "hi"), "litellm_call_id": f"c{n}"} for n in range(40)))
    assert len(one.door.lines()) == 40 and not one.asked.waiting and one.asked._bytes == 0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Alone:
    return Alone(tmp_path_factory.mktemp("fuzz"))


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("texts", "images", "tools", "tool_calls", "structured_messages", "model", "request_data", "litellm_call_id")
MESSAGES = st.lists(
    st.fixed_dictionaries({}, optional={"role": JSONS, "content": JSONS | st.lists(JSONS), "tool_calls": JSONS})
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.fixed_dictionaries(
        {"input_type": st.sampled_from(["request", "response"])},
        optional={**dict.fromkeys(FIELDS, JSONS), "structured_messages": MESSAGES, "texts": st.lists(st.text())},
    )
)
def test_no_question_breaks_the_door(alone: Alone, told: dict[str, Any]) -> None:
    (found,) = alone.post(json.dumps(told).encode())
    assert found.status_code in (200, 400)
    if found.status_code == 200:
        assert found.json()["action"] in ("NONE", "BLOCKED", "GUARDRAIL_INTERVENED")


# agentgateway: a peer that speaks its webhook, not agentgateway itself.


def prompt(*texts: str) -> dict[str, Any]:
    return {"body": {"messages": [{"role": "user", "content": text} for text in texts]}}


def choices(*texts: str) -> dict[str, Any]:
    return {"body": {"choices": [{"message": {"role": "assistant", "content": text}} for text in texts]}}


def test_agentgateway_hears_pass_mask_and_reject(tmp_path: Path) -> None:
    one = Alone(tmp_path, kind="agentgateway")
    ask, reply = "/agentgateway/request", "/agentgateway/response"
    rows = one.post(
        {**prompt("hi"), "__path": ask},
        {**choices("hello"), "__path": reply},
        {**prompt("a", f"use {KEY}"), "__path": ask},
        {**choices(f"it is {KEY}", "two"), "__path": reply},
        {**prompt("hi"), "__path": "/agentgateway/team-a/request"},
        headers={"x-request-id": "r1"},
    )
    actions = [row.json()["action"] for row in rows]
    assert set(actions[0]) == set(actions[1]) == {"reason"}
    masked = actions[2]["body"]["messages"]
    assert masked[0] == {"role": "user", "content": "a"} and KEY not in masked[1]["content"]
    assert len(actions[3]["body"]["choices"]) == 2 and KEY not in json.dumps(actions[3])
    lines = one.door.lines()
    assert len(lines) == 3, "request and reply of the same id are one exchange"
    found = running.rule("no-keys", "block", "request", {"hit.kind": "secret_in_input"})
    (refused,) = Alone(tmp_path / "two", running.rules(found, head="mode: enforce"), "agentgateway").post(
        {**prompt(f"use {KEY}"), "__path": ask}
    )
    action = refused.json()["action"]
    assert action["status_code"] == 400 and running.SAYS in action["body"] and "error" in json.loads(action["body"])


def test_every_cell_of_agentgateways_door_is_proved(tmp_path: Path) -> None:
    for folder, kind in ((tmp_path / "a", "agentgateway"), (tmp_path / "l", "litellm")):
        one = Alone(folder, kind=kind)
        one.desk.brain.own_canaries.update({probe.mark(b"k" * 32, place): "probe" for place in ("reply", "call")})
        one.desk.brain.swap(one.desk.brain.policy)
        for cell in probe.cells(kind):
            signed = probe.signature(b"k" * 32, probe.named(cell), int(time.time()))
            path = f"/{kind}{probe.path(cell)}"
            (found,) = one.post(
                probe_request.request(cell, b"k" * 32), path=path, headers={probe.HEADER.decode(): signed.decode()}
            )
            made = one.desk.probes[found.headers["x-afterguard-decision"]]
            assert probe.KINDS[cell.place] in [hit.kind for hit in made.hits], cell


def test_agentgateway_sends_what_is_no_question(tmp_path: Path) -> None:
    one = Alone(tmp_path, kind="agentgateway")
    for path in ("/agentgateway/request", "/agentgateway/response", "/agentgateway", "/agentgateway/a/b/request"):
        for body in (b"", b"{}", b'{"body": {"messages": [{"role": "user", "content": [1]}]}}', b'{"body": 1}'):
            (found,) = one.post(body, path=path)
            assert found.status_code == 400, (path, body)


def test_a_gateway_that_was_not_named_finds_no_door(tmp_path: Path) -> None:
    assert door.open_paths([]) == {name for name in door.PATHS if name not in door.ON_REQUEST}
    assert "litellm" in door.open_paths(["litellm"])
    with pytest.raises(UsageError, match="no such gateway"):
        door.open_paths(["kong"])
