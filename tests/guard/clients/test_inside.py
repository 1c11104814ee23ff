"""The guard inside an application: real SDKs, real applications under real servers, and what each sees when the guard is slow, broken or gone."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import importlib.util
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import openai
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from ports import free_port

from afterguard import clients
from afterguard.clients.anthropic import Anthropic
from afterguard.clients.openai import AsyncOpenAI, OpenAI
from afterguard.errors import UsageError
from afterguard.guard.asgi import Guarded as Asgi
from afterguard.guard.inside import Call
from afterguard.guard.transport import Transport
from afterguard.guard.wsgi import Guarded as Wsgi
from afterguard.jobs.inside import Made, made
from afterguard.jobs.judging import key as guard_key
from afterguard.policy import measures
from afterguard.policy.measures import Measure, Sheet
from afterguard.wire.endpoint import endpoint

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).parents[1] / "running.py")
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]

KEY = running.KEY
LEAK = f"[[leak: {KEY}]]"
MAPPING = """format: afterguard.chat-mapping/1
user: ".question"
reply: ".answer"
delta: ".piece"
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[Any]:
    with running.stand_in() as found:
        yield found


class Here:
    """A guard inside this process, its files, and what it wrote."""

    def __init__(self, folder: Path, policy: str = "", **settings: Any) -> None:
        self.folder = folder
        self.policy = folder / "policy.yaml"
        self.policy.write_text(policy or running.rules(head="mode: enforce"))
        (folder / "mapping.yaml").write_text(MAPPING)
        self.log = folder / "decisions.jsonl"
        told = {"judge": "one", "budget_ms": 5_000, "policy": self.policy, "folder": folder, "log": self.log}
        self.made: Made = made(**(told | settings))

    def lines(self) -> list[dict[str, Any]]:
        """The decisions, of all exchanges that are over."""
        self.made.inside.close()
        rows = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(row)["unmapped"]["afterguard"] for row in rows]

    def brain(self) -> Any:
        return self.made.inside.held().desk.brain


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Here]]:
    """Makes the guard of this process."""
    found: list[Here] = []

    def make(policy: str = "", **settings: Any) -> Here:
        found.append(Here(tmp_path, policy, **settings))
        monkeypatch.setattr(clients, "_made", [found[0].made])
        return found[0]

    yield make
    for one in found:
        one.made.inside.close()


def ask(client: Any, text: str, model: str = "m", **more: Any) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def told(stream: Any) -> str:
    return "".join(piece.choices[0].delta.content or "" for piece in stream if piece.choices)


def client(provider: Any, **more: Any) -> OpenAI:
    return OpenAI(base_url=provider.origin + "/openai/v1", api_key="k", **more)


# SDKs


def test_openai_is_guarded_in_process(provider: Any, here: Callable[..., Here]) -> None:
    one = here()
    with client(provider) as found:
        assert ask(found, "[[say: hello]]").choices[0].message.content == "hello"
        said = ask(found, LEAK).choices[0].message.content
        assert KEY not in said and "removed" in said
        said = told(ask(found, LEAK + " [[cut: 3]]", stream=True))
        assert KEY[:12] not in said and "removed" in said
        with pytest.raises(openai.BadRequestError, match=running.SAYS):
            ask(found, "hello", model=running.BLOCK)
        # A copy of the client is the same client: judged once.
        assert ask(found.with_options(timeout=20), "[[say: hello]]").choices[0].message.content == "hello"
    assert [line["action"] for line in one.lines()] == ["allow", "redact", "redact", "block", "allow"]


def test_asynchronous_openai_and_anthropic(provider: Any, here: Callable[..., Here]) -> None:
    one = here()

    async def talk() -> None:
        async with AsyncOpenAI(base_url=provider.origin + "/openai/v1", api_key="k") as found:
            said = (await ask(found, LEAK)).choices[0].message.content
            assert KEY not in said
            rows = [piece async for piece in await ask(found, LEAK, stream=True)]
            assert KEY not in told(rows) and "removed" in told(rows)
            many = await asyncio.gather(*(ask(found, f"[[say: n{n}]]") for n in range(20)))
            assert [row.choices[0].message.content for row in many] == [f"n{n}" for n in range(20)]

    asyncio.run(talk())
    with Anthropic(base_url=provider.origin + "/anthropic", api_key="k") as other:
        said: Any = [{"role": "user", "content": LEAK}]
        whole = other.messages.create(model="m", max_tokens=9, messages=said)
        assert KEY not in whole.to_json()
        with other.messages.stream(model="m", max_tokens=9, messages=said) as stream:
            assert KEY not in "".join(stream.text_stream)
    actions = [line["action"] for line in one.lines()]
    assert len(actions) == 24 and actions.count("redact") == 4


def test_bytes_are_the_providers_where_nothing_is_edited(provider: Any, here: Callable[..., Here]) -> None:
    here()
    bare = httpx.Client()
    guarded = clients.guarded(httpx.Client(), "openai")
    body = b'{ "model":"m" ,\n "messages" : [{"role":"user","content":"[[say: caf\\u00e9]] [[tag: same]]"}], "seed": 1.0e2 }'
    for more in (b"", b', "stream": true'):
        content = body[:-1] + more + b"}"
        url, headers = provider.origin + "/openai/v1/chat/completions", {"content-type": "application/json"}
        first, second = (one.post(url, content=content, headers=headers) for one in (bare, guarded))
        assert first.status_code == second.status_code == 200
        assert first.headers["x-request-sha256"] == second.headers["x-request-sha256"]
        if not more:
            assert first.content == second.content
    bare.close()
    guarded.close()


def test_a_call_that_the_sdk_tries_again_is_one_exchange(provider: Any, here: Callable[..., Here]) -> None:
    one = here()
    with client(provider, max_retries=3) as found:
        assert ask(found, "[[fail: 500 2]] [[say: at last]]").choices[0].message.content == "at last"
    with client(provider, max_retries=0) as found, pytest.raises(openai.InternalServerError):
        ask(found, "[[fail: 503]]")
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    with OpenAI(base_url=nowhere, api_key="k", max_retries=1) as found, pytest.raises(openai.APIConnectionError):
        ask(found, "hello")
    lines = one.lines()
    assert len(lines) == 3, "what nobody tries again is written down when the process ends"


def test_a_stream_that_is_left_early_ends_at_the_provider(provider: Any, here: Callable[..., Here]) -> None:
    one = here()
    with client(provider) as found:
        stream = ask(
            found,
            "[[cut: 6]] [[say: one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen]] [[slow: 0.3]] [[tag: early]]",
            stream=True,
        )
        for number, _ in enumerate(stream):
            if number == 3:
                break
        stream.close()
        running.until(lambda: [row for row in provider.requests("early") if row["outcome"] == "cancelled"], 10)
    assert len(one.lines()) == 1


def test_a_coroutine_that_is_cancelled_leaves_nothing_open(provider: Any, here: Callable[..., Here]) -> None:
    one = here()

    async def talk() -> None:
        async with AsyncOpenAI(base_url=provider.origin + "/openai/v1", api_key="k", max_retries=0) as found:
            task = asyncio.create_task(ask(found, "[[wait: 5]] [[say: x]]"))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(talk())
    desk = one.made.inside.held().desk
    running.until(lambda: not desk.open)
    assert len(one.lines()) == 1


def test_many_threads_share_one_guard(provider: Any, here: Callable[..., Here]) -> None:
    one = here()
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                said = ask(found, f"{LEAK} {number} {turn}").choices[0].message.content
                assert KEY not in said
        except BaseException as error:
            failed.append(error)

    with client(provider) as found:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed
    assert [line["action"] for line in one.lines()] == ["redact"] * 40


def test_observing_waits_for_nothing_and_sees_everything(provider: Any, here: Callable[..., Here]) -> None:
    one = here(mode="observe")
    with client(provider) as found:
        assert KEY in ask(found, LEAK).choices[0].message.content
        assert KEY in told(ask(found, LEAK, stream=True))
        ask(found, "hello", model=running.BLOCK)
    assert [line["would"] for line in one.lines()] == ["redact", "redact", "block"]


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_a_brain_that_raises_or_is_slow(
    provider: Any, here: Callable[..., Here], monkeypatch: pytest.MonkeyPatch, on_error: str
) -> None:
    one = here(on_error=on_error, budget_ms=200)
    looks = type(one.brain()).inspect

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    def slow(*given: Any, **how: Any) -> Any:
        time.sleep(0.6)
        return looks(*given, **how)

    with client(provider, max_retries=0) as found:
        for fault in (broken, slow):
            monkeypatch.setattr(type(one.brain()), "inspect", fault)
            began = time.monotonic()
            if on_error == "open":
                assert ask(found, f"[[say: hello]] {fault}").choices[0].message.content == "hello"
            else:
                with pytest.raises(openai.BadRequestError, match="could not judge"):
                    ask(found, f"[[say: hello]] {fault}")
            assert time.monotonic() - began < 12
        monkeypatch.setattr(type(one.brain()), "inspect", looks)
        time.sleep(1.3)
        assert ask(found, "[[say: well]]").choices[0].message.content == "well"
    lines = one.lines()
    reasons = [{row["reason"] for row in line.get("unjudged", ())} for line in lines]
    assert "exception:ZeroDivisionError" in reasons[0] and "budget" in reasons[1] and not reasons[2]


def test_a_broken_policy_changes_nothing_a_new_one_does_and_the_switch_lets_pass(
    provider: Any, here: Callable[..., Here]
) -> None:
    one = here()
    with client(provider, max_retries=0) as found:
        one.policy.write_text("nonsense: [")
        running.until(lambda: b"bad_policy" in one.made.inside.page())
        with pytest.raises(openai.BadRequestError):
            ask(found, "x", model=running.BLOCK)
        (one.folder / "killed").touch()
        running.until(lambda: one.brain().is_killed)
        assert ask(found, "[[say: y]]", model=running.BLOCK).choices[0].message.content == "y"
        (one.folder / "killed").unlink()
        one.policy.write_text(running.rules(running.rule("not-y", "block", "request", {"exchange.model": "y"}), head="mode: enforce"))  # fmt: skip
        running.until(lambda: one.brain().policy.document.name and len(one.brain().policy.rules) == 3)
        running.until(lambda: not one.brain().is_killed)
        with pytest.raises(openai.BadRequestError):
            ask(found, "x", model="y")


def test_a_guard_that_is_over_does_as_the_route_says(provider: Any, here: Callable[..., Here]) -> None:
    one = here(on_error="open")
    with client(provider, max_retries=0) as found:
        one.made.inside.close()
        assert ask(found, "[[say: hello]]").choices[0].message.content == "hello"


def test_what_responders_took_away_is_pulled_here_too(provider: Any, here: Callable[..., Here], tmp_path: Path) -> None:
    signer, shown = measures.own_key(guard_key(tmp_path)), tmp_path / "shown.json"

    def show(sequence: int, *rows: Measure) -> None:
        shown.write_bytes(measures.written(measures.sign(Sheet(sequence, time.time(), rows), signer)))

    show(1, Measure("off", "deny_model", "stolen", time.time() + 600, "taken over"))
    one = here(measures=f"file:{shown}", measures_every=0.3, measures_stale=5.0)
    with client(provider, max_retries=0) as found:
        with pytest.raises(openai.BadRequestError, match="taken over"):
            ask(found, "[[say: hello]]", model="stolen")
        assert ask(found, "[[say: hello]]").choices[0].message.content == "hello"
        show(2)
        running.until(lambda: one.brain().measures.live == 0, 10)
        assert ask(found, "[[say: hello]]", model="stolen").choices[0].message.content == "hello"
    assert [line["action"] for line in one.lines()] == ["block", "allow", "allow"]


def test_settings_that_mean_nothing_here_are_refused(tmp_path: Path, here: Callable[..., Here]) -> None:
    for wrong in ({"listen": "1.2.3.4:5"}, {"polcy": "starter"}, {"mode": "loud"}):
        with pytest.raises(UsageError) as caught:
            made(folder=str(tmp_path), **wrong)
        assert caught.value.hint
    here()
    with pytest.raises(UsageError, match="other settings"):
        clients.guard(mode="observe")
    with pytest.raises(UsageError, match="no endpoint"):
        clients.asgi(lambda *_: None)
    with pytest.raises(UsageError, match="no client of httpx"):
        clients.guarded(object(), "openai")


def test_a_transport_of_ones_own(provider: Any, here: Callable[..., Here]) -> None:
    one = here()
    route = one.made.route("support", "openai")
    own = httpx.Client(transport=Transport(httpx.HTTPTransport(retries=1), one.made.inside, route))
    with openai.OpenAI(base_url=provider.origin + "/openai/v1", api_key="k", http_client=own) as found:
        assert KEY not in ask(found, LEAK).choices[0].message.content
    one.lines()
    assert b'route="support"' in one.made.inside.page()


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_a_guard_that_runs_elsewhere_and_is_stopped(provider: Any, tmp_path: Path, on_error: Any) -> None:
    base = provider.origin + "/openai/v1"
    with running.guard(provider.origin, tmp_path, mounts={"openai": provider.origin}) as elsewhere:
        http = clients.through(openai.DefaultHttpxClient(), elsewhere.url + "/openai", on_error)
        with openai.OpenAI(base_url=base, api_key="k", http_client=http, max_retries=0) as found:
            assert KEY not in ask(found, LEAK).choices[0].message.content
            assert KEY not in told(ask(found, LEAK, stream=True))
            running.end(elsewhere.process)
            if on_error == "open":
                assert KEY in ask(found, LEAK).choices[0].message.content
            else:
                with pytest.raises(openai.APIConnectionError):
                    ask(found, LEAK)

            async def talk() -> None:
                http = clients.through(openai.DefaultAsyncHttpxClient(), elsewhere.url + "/openai")
                async with openai.AsyncOpenAI(base_url=base, api_key="k", http_client=http) as other:
                    assert (await ask(other, "[[say: hello]]")).choices[0].message.content == "hello"

            asyncio.run(talk())


FORKED = """
import os, sys
from afterguard import clients
from afterguard.clients.openai import OpenAI
clients.guard(judge="off", policy=sys.argv[2], folder=sys.argv[3], budget_ms=5000)
client = OpenAI(base_url=sys.argv[1] + "/openai/v1", api_key="k")
def ask():
    said = [{"role": "user", "content": sys.argv[4]}]
    return client.chat.completions.create(model="m", messages=said).choices[0].message.content
print(ask())
child = os.fork()
if not child:
    print(ask(), flush=True)
    clients.guard().inside.close()
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_process_that_was_forked_has_a_guard_of_its_own(provider: Any, tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text(running.rules(head="mode: enforce"))
    command = [sys.executable, "-W", "ignore", "-c", FORKED, provider.origin, str(policy), str(tmp_path), LEAK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and done.stdout.count("removed") == 2 and KEY not in done.stdout, done.stderr[-2000:]
    assert len((tmp_path / "decisions.jsonl").read_text().splitlines()) == 2


# Applications


def application() -> FastAPI:
    """An application with a chat of its own making, whole and streamed."""
    app = FastAPI()

    @app.post("/chat")
    async def chat(request: Request) -> Any:
        asked = await request.json()
        if asked.get("stream"):

            async def rows() -> Any:
                for at in range(0, len(asked["say"]), 4):
                    yield f"data: {json.dumps({'piece': asked['say'][at : at + 4]})}\n\n"
                    await asyncio.sleep(asked.get("slow", 0))

            return StreamingResponse(rows(), media_type="text/event-stream")
        if asked.get("raise"):
            raise RuntimeError("the application's own mistake")
        return JSONResponse({"answer": asked.get("say") or asked["question"], "odd": 1.50})

    @app.post("/other")
    async def other(request: Request) -> Any:
        return JSONResponse({"got": len(await request.body())})

    return app


def wsgi_application(environ: Any, start: Any) -> Any:
    """The same as WSGI."""
    asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0)) or b"{}")
    if asked.get("stream"):
        start("200 OK", [("content-type", "text/event-stream")])
        return (
            f"data: {json.dumps({'piece': asked['say'][at : at + 4]})}\n\n".encode()
            for at in range(0, len(asked["say"]), 4)
        )
    body = json.dumps({"answer": asked.get("say") or asked["question"], "odd": 1.50}).encode()
    if asked.get("zip"):
        body = gzip.compress(body)
        start("200 OK", [("content-type", "application/json"), ("content-encoding", "gzip")])
    else:
        start("200 OK", [("content-type", "application/json"), ("content-length", str(len(body)))])
    return [body]


@contextlib.contextmanager
def served_asgi(app: Any, interface: Any = "auto") -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", interface=interface))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    running.until(lambda: server.started, 20)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def served_wsgi(app: Any) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextlib.contextmanager
def served_carelessly(app: Any) -> Iterator[str]:
    """A WSGI application under uvicorn, which never closes what the application returned."""
    with served_asgi(app, interface="wsgi") as url:
        yield url


APPS: dict[str, Any] = {
    "asgi": (lambda one: Asgi(application(), one.made.inside, one.made.endpoints()), served_asgi, application),
    "wsgi": (lambda one: Wsgi(wsgi_application, one.made.inside, one.made.endpoints()), served_wsgi, lambda: wsgi_application),
}  # fmt: skip
ENDPOINT = ["support=/chat"]


def chats(**more: Any) -> dict[str, Any]:
    return {"endpoint": ENDPOINT, "mapping": [f"support={more.pop('folder')}/mapping.yaml"], **more}


def pieces(text: str) -> str:
    return "".join(json.loads(row[6:])["piece"] for row in text.splitlines() if row.startswith('data: {"piece'))


@pytest.mark.parametrize("kind", APPS)
def test_an_applications_own_chat_is_guarded(kind: str, tmp_path: Path, here: Callable[..., Here]) -> None:
    make, served, bare = APPS[kind]
    policy = running.rules(running.rule("no-keys-in", "block", "request", {"hit.kind": "secret_in_input"}), head="mode: enforce")  # fmt: skip
    one = here(policy, **chats(folder=tmp_path))
    with served(make(one)) as url, served(bare()) as other:
        asked = {"question": "what time is it?", "say": "caf\u00e9"}
        first, second = httpx.post(url + "/chat", json=asked), httpx.post(other + "/chat", json=asked)
        assert first.content == second.content and first.headers["x-afterguard-decision"]
        found = httpx.post(url + "/chat", json={"question": "hi", "say": f"it is {KEY}"})
        assert KEY not in found.text and "removed" in found.json()["answer"]
        assert int(found.headers["content-length"]) == len(found.content)
        found = httpx.post(url + "/chat", json={"question": "hi", "say": f"well, it is {KEY} there", "stream": True})
        assert KEY[:10] not in pieces(found.text) and "removed" in pieces(found.text)
        found = httpx.post(url + "/chat", json={"question": f"use {KEY}"})
        assert found.status_code == 400 and running.SAYS in found.text
        found = httpx.post(url + "/chat", content=b"{", headers={"content-type": "application/json"}) if kind == "asgi" else None  # fmt: skip
        assert found is None or found.status_code == 422 or found.status_code >= 400
        if kind == "wsgi":
            found = httpx.post(url + "/chat", json={"question": "hi", "say": f"it is {KEY}", "zip": True})
            assert KEY not in found.text and "removed" in found.text
        else:
            assert httpx.post(url + "/other", content=b"x" * 99).json() == {"got": 99}
    actions = [line["action"] for line in one.lines()]
    assert actions[:4] == ["allow", "redact", "redact", "block"]


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_a_server_that_closes_nothing_leaves_nothing_open(mode: str, tmp_path: Path, here: Callable[..., Here]) -> None:
    one = here(mode=mode, **chats(folder=tmp_path))
    with served_carelessly(Wsgi(wsgi_application, one.made.inside, one.made.endpoints())) as url:
        for stream in (False, True, False):
            asked = {"question": "hi", "say": f"well, it is {KEY} there", "stream": stream}
            assert httpx.post(url + "/chat", json=asked).status_code == 200
        desk = one.made.inside.held().desk
        running.until(lambda: not desk.open, 10)
    assert [line["action"] for line in one.lines()] == ["redact" if mode == "enforce" else "flag"] * 3


def test_a_call_that_is_dropped_has_left(tmp_path: Path, here: Callable[..., Here]) -> None:
    one = here()
    call = Call(
        one.made.inside, one.made.route("openai", "openai"), endpoint("openai", "POST", "/v1/chat/completions"), []
    )
    body = b'{"model": "m", "messages": [{"role": "user", "content": "hello"}]}'
    assert call.ask(body).wait() == body
    desk = one.made.inside.held().desk
    assert desk.open
    del call
    running.until(lambda: not desk.open, 10)


@pytest.mark.parametrize("kind", APPS)
def test_an_applications_chat_is_observed(kind: str, tmp_path: Path, here: Callable[..., Here]) -> None:
    make, served, _ = APPS[kind]
    one = here(mode="observe", **chats(folder=tmp_path))
    with served(make(one)) as url:
        for stream in (False, True):
            found = httpx.post(url + "/chat", json={"question": "hi", "say": f"it is {KEY} !", "stream": stream})
            assert KEY in (pieces(found.text) if stream else found.text)
    assert [line["would"] for line in one.lines()] == ["redact", "redact"]


def test_a_streamed_chat_leaves_as_it_grows(tmp_path: Path, here: Callable[..., Here]) -> None:
    one = here(**chats(folder=tmp_path))
    with served_asgi(APPS["asgi"][0](one)) as url:
        asked = {"question": "hi", "say": "one two three four " * 10, "stream": True, "slow": 0.03}
        times = []
        with httpx.stream("POST", url + "/chat", json=asked) as reply:
            for _ in reply.iter_raw():
                times.append(time.monotonic())
        assert len(times) > 10 and times[-1] - times[0] > 0.5


def test_a_client_that_leaves_and_an_application_that_raises(tmp_path: Path, here: Callable[..., Here]) -> None:
    one = here(**chats(folder=tmp_path))
    desk = one.made.inside.held().desk
    with served_asgi(APPS["asgi"][0](one)) as url:
        asked = {"question": "hi", "say": "one two three four " * 50, "stream": True, "slow": 0.03}
        with httpx.stream("POST", url + "/chat", json=asked) as reply:
            next(reply.iter_raw())
        assert httpx.post(url + "/chat", json={"question": "hi", "raise": 1}).status_code == 500
        running.until(lambda: not desk.open, 10)
    assert len(one.lines()) == 2


@pytest.mark.parametrize(("on_error", "status"), [("open", 200), ("closed", 400)])
@pytest.mark.parametrize("kind", APPS)
def test_an_application_whose_guard_is_slow(
    kind: str, on_error: str, status: int, tmp_path: Path, here: Callable[..., Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, served, _ = APPS[kind]
    one = here(on_error=on_error, budget_ms=100, **chats(folder=tmp_path))
    looks = type(one.brain()).inspect

    def slow(*given: Any, **how: Any) -> Any:
        time.sleep(0.5)
        return looks(*given, **how)

    with served(make(one)) as url:
        monkeypatch.setattr(type(one.brain()), "inspect", slow)
        assert httpx.post(url + "/chat", json={"question": "hi"}).status_code == status


@pytest.mark.parametrize("on_error", ["open", "closed"])
@pytest.mark.parametrize("kind", APPS)
def test_a_body_that_is_too_long_is_never_held(
    kind: str, on_error: str, tmp_path: Path, here: Callable[..., Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("asgi", "wsgi"):
        monkeypatch.setattr(sys.modules[f"afterguard.guard.{module}"], "REQUEST_CAP", 10_000)
    make, served, _ = APPS[kind]
    one = here(on_error=on_error, **chats(folder=tmp_path))
    with served(make(one)) as url:
        found = httpx.post(url + "/chat", json={"question": "x" * 50_000, "say": "hello"})
    assert found.status_code == (200 if on_error == "open" else 400)
    assert on_error == "closed" or found.json()["answer"] == "hello"
    assert "too_long" in [row["reason"] for row in one.lines()[0]["unjudged"]]


def test_sockets_are_counted_and_closed_where_the_route_fails_closed(tmp_path: Path, here: Callable[..., Here]) -> None:
    one = here(on_error="closed", **chats(folder=tmp_path))
    sent: list[Any] = []

    async def talk() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        scope = {"type": "websocket", "path": "/chat", "query_string": b"", "headers": []}
        await APPS["asgi"][0](one)(scope, receive, send)

    asyncio.run(talk())
    assert sent[0]["type"] == "websocket.close"
    assert [row["reason"] for row in one.lines()[0]["unjudged"]] == ["websocket"]
