"""Interfaces that no provider made: JSON, forms, queries, sessions, streams, WebSockets, MCP servers, each against a server that speaks it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ports import free_port

from afterguard.attack.contract import Plant, Prompt, Surface
from afterguard.targets.document import Mcp, Open, Target, Template
from afterguard.targets.talking import Talking

servers: Any = sys.modules["targets_servers"]
Answer, application = servers.Answer, servers.application
EVENTS = (("content-type", "text/event-stream"),)


def talking(url: str, template: Template, **more: Any) -> Talking:
    return Talking(Target("it", url, kind=more.pop("kind", "template"), template=template, timeout=3, **more), "run")


def said(text: str, **more: Any) -> Any:
    return Answer(json.dumps({"answer": text, **more}).encode())


def test_a_form_and_its_page() -> None:
    def answer(asked: Any) -> Any:
        found = parse_qs(asked.body.decode())
        return Answer(
            f"<p>{found['q'][0]}|{found['lang'][0]}</p>".encode(),
            headers=(("content-type", "text/html; charset=utf-8"),),
        )

    with application(answer) as (url, seen):
        one = talking(url, Template(body={"q": "{{prompt}}", "lang": "en"}, form=True, reply=""))
        assert one.ask(Prompt("a&q=ü + {{document}}", is_new=True)).text == "<p>a&q=ü + {{document}}|en</p>"
    assert seen[0].headers["content-type"] == "application/x-www-form-urlencoded"


def test_a_question_in_the_address() -> None:
    with application(lambda asked: said(parse_qs(urlsplit(asked.path).query)["q"][0])) as (url, seen):
        one = talking(f"{url}/ask?v=1", Template(query={"q": "{{question}}"}, method="GET"))
        prompt = Prompt("a b/&\u202e?", (Plant(Surface.document, "not in it"),), is_new=True)
        assert one.ask(prompt).text == "a b/&\u202e?"
    assert seen[0].method == "GET" and not seen[0].body and "v=1" in seen[0].path


def test_an_id_of_the_conversation_in_body_header_and_path() -> None:
    with application(lambda asked: said("yes", chat={"id": "c/1"})) as (url, seen):
        template = Template(body={"text": "{{prompt}}", "chat": "{{conversation}}"}, conversation=".chat.id")
        one = talking(f"{url}/chat/{{{{conversation}}}}", template, headers={"x-chat": "{{conversation}}"})
        for prompt in (Prompt("a", is_new=True), Prompt("b"), Prompt("c", is_new=True)):
            assert one.ask(prompt).text == "yes"
    assert [json.loads(asked.body)["chat"] for asked in seen] == ["", "c/1", ""]
    assert [asked.headers["x-chat"] for asked in seen] == ["", "c/1", ""]
    assert [asked.path for asked in seen] == ["/chat/", "/chat/c%2F1", "/chat/"]


def test_history_at_the_server_by_cookie() -> None:
    told: dict[str, list[str]] = {}

    def answer(asked: Any) -> Any:
        cookie = asked.headers.get("cookie", "")
        key = cookie.partition("sid=")[2][:2] or f"s{len(told)}"
        told.setdefault(key, []).append(json.loads(asked.body)["text"])
        headers = (
            ("set-cookie", f"sid={key}; Path=/; HttpOnly"),
            ("set-cookie", "old=1; Max-Age=0"),
            ("set-cookie", "b=2"),
        )
        return Answer(json.dumps({"answer": " ".join(told[key])}).encode(), headers=headers)

    with application(answer) as (url, seen):
        one = talking(url, Template(body={"text": "{{prompt}}"}))
        assert [one.ask(Prompt(text, is_new=text == "a")).text for text in "abc"] == ["a", "a b", "a b c"]
        assert one.ask(Prompt("d", is_new=True)).text == "d"
    assert seen[1].headers["cookie"] == "sid=s0; b=2" and "cookie" not in seen[3].headers


def test_a_request_that_opens_the_session() -> None:
    def answer(asked: Any) -> Any:
        if asked.path == "/login":
            return Answer(b"", 303, (("set-cookie", "sid=s1"), ("location", "/home")))
        if asked.path == "/session":
            return said("", session=17) if b"as=bo" in asked.body else Answer(b"{}")
        return said("in" if "sid=s1" in asked.headers.get("cookie", "") or b'"17"' in asked.body else "out")

    with application(answer) as (url, seen):
        template = Template(body={"text": "{{prompt}}", "id": "{{conversation}}"})
        one = talking(
            f"{url}/ask", template, open=Open("/session", body={"as": "{{identity}}"}, form=True, take=".session")
        )
        first, second = one.ask(Prompt("a", is_new=True, identity="bo")), one.ask(Prompt("b", identity="bo"))
        assert (first.text, first.requests) == ("in", 2) and (second.text, second.requests) == ("in", 1)
        # Without an id there is no conversation.
        assert one.ask(Prompt("a", is_new=True, identity="ann")).error == "unreadable"
        one = talking(f"{url}/ask", template, open=Open("/login", body={"user": "u"}))
        assert one.ask(Prompt("a", is_new=True)).text == "in"
    assert [asked.path for asked in seen] == ["/session", "/ask", "/ask", "/session", "/login", "/ask"]


@pytest.mark.parametrize("is_open", [False, True])
def test_a_stream_of_pieces(is_open: bool) -> None:
    body = b': hello\n\nevent: x\ndata: {"id": "c9"}\n\ndata: {"delta": {"t": "a "}}\n\ndata: {"delta": {"t": "b"}}\r\n\r\ndata: {"over": 1}\n\n'
    with application(lambda _: Answer(body, headers=EVENTS, is_open=is_open)) as (url, _):
        one = talking(url, Template(body={"q": "{{prompt}}"}, stream=".delta.t", end=".over", conversation=".id"))
        found = one.ask(Prompt("x", is_new=True))
    assert (found.text, found.error) == ("a b", "") and found.seconds < 2.5


def test_a_stream_that_is_no_json_and_lines_of_json() -> None:
    with application(lambda _: Answer(b"data: it is\n\ndata:  nine\n\ndata: [DONE]\n\n", headers=EVENTS)) as (url, _):
        assert (
            talking(url, Template(body="{{prompt}}", stream="data")).ask(Prompt("x", is_new=True)).text == "it is nine"
        )
    lines = (("content-type", "application/x-ndjson"),)
    with application(lambda _: Answer(b'{"t": "a"}\n{"t": "b"}\n', headers=lines)) as (url, _):
        assert talking(url, Template(body="{{prompt}}", stream=".t")).ask(Prompt("x", is_new=True)).text == "ab"


@contextlib.contextmanager
def websocket(handler: Callable[[Any], None], **more: Any) -> Iterator[str]:
    from websockets.sync.server import serve

    with serve(handler, "127.0.0.1", 0, **more) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/chat"
        finally:
            server.shutdown()
            thread.join(5)


def test_a_websocket() -> None:
    seen: list[Any] = []

    def handler(line: Any) -> None:
        seen.append(line.request.headers.get("x-afterguard-assessment"))
        line.send('{"type": "hello", "session": 5}')
        for count, message in enumerate(line, 1):
            found = json.loads(message)
            line.send('{"type": "typing"}')
            line.send(json.dumps({"answer": f"{count}: {found['text']} {found['session']}"}))

    template = Template(body={"text": "{{prompt}}", "session": "{{conversation}}"}, conversation=".session")
    with websocket(handler) as url:
        one = talking(url, template, kind="websocket")
        assert [one.ask(Prompt(text, is_new=text == "a")).text for text in "abc"] == ["1: a ", "2: b 5", "3: c 5"]
        assert one.ask(Prompt("d", is_new=True)).text == "1: d "
        one.ask(Prompt("e", is_new=True))
    assert seen == ["run", "run", "run"]


def test_a_websocket_of_plain_text_and_of_pieces() -> None:
    def plain(line: Any) -> None:
        for message in line:
            line.send(message.upper())

    def pieces(line: Any) -> None:
        for _ in line:
            for piece in ("ni", "ne"):
                line.send(json.dumps({"d": piece}))
            line.send(b'{"done": true}')

    with websocket(plain) as url:
        assert (
            talking(url, Template(body="{{prompt}}", reply=""), kind="websocket").ask(Prompt("abc", is_new=True)).text
            == "ABC"
        )
    with websocket(pieces) as url:
        one = talking(url, Template(body="{{prompt}}", reply="", stream=".d", end=".done"), kind="websocket")
        assert one.ask(Prompt("abc", is_new=True)).text == "nine"


def hang(line: Any) -> None:
    line.recv()
    time.sleep(4)


def flood(line: Any) -> None:
    line.recv()
    for _ in range(100):
        line.send('{"typing": "' + "x" * 1_000_000 + '"}')


def drip(line: Any) -> None:
    line.recv()
    for _ in range(10_000):
        line.send("{}")


def sends(message: str | bytes) -> Callable[[Any], None]:
    def handler(line: Any) -> None:
        line.recv()
        line.send(message)

    return handler


@pytest.mark.parametrize(
    ("handler", "word"),
    [
        (hang, "timeout"), (flood, "too-large"), (drip, "too-large"), (lambda line: line.recv(), "broken-off"), (sends("{"), "unreadable"),
        (sends(b"\xff\x00\xfe"), "unreadable"), (sends("x" * 5_000_000), "too-large"),
    ],
)  # fmt: skip
def test_a_websocket_that_misbehaves(handler: Callable[[Any], None], word: str) -> None:
    with websocket(handler) as url:
        one = Talking(Target("it", url, kind="websocket", template=Template(body="{{prompt}}"), timeout=1.5), "run")
        found = one.ask(Prompt("a", is_new=True))
        assert found.error == word and found.seconds < 4, found


def test_a_websocket_that_is_none() -> None:
    for answer, word in (
        (Answer(b"no", 401), "logged-out"),
        (Answer(b"", 429), "rate-limited"),
        (Answer(b"hello"), "unreadable"),
    ):
        with application(lambda _, answer=answer: answer) as (url, _):
            one = talking(url.replace("http", "ws"), Template(body="{{prompt}}"), kind="websocket")
            assert one.ask(Prompt("a", is_new=True)).error == word
    one = talking("ws://127.0.0.1:9/", Template(body="{{prompt}}"), kind="websocket")
    assert one.ask(Prompt("a", is_new=True)).error == "unreachable"


@contextlib.contextmanager
def mcp_server(json_response: bool) -> Iterator[str]:
    """A server of the protocol's own SDK."""
    import uvicorn
    from mcp.server.mcpserver import MCPServer

    made = MCPServer("desk")

    @made.tool()
    def ask(question: str, lang: str = "en") -> str:
        """Answers."""
        if question == "fail":
            raise ValueError("no")
        return f"{lang}: you asked {question}"

    port = free_port()
    config = uvicorn.Config(
        made.streamable_http_app(json_response=json_response), port=port, log_level="error", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize("is_json", [True, False])
def test_a_tool_of_an_mcp_server(is_json: bool) -> None:
    with mcp_server(is_json) as url:
        target = Target("it", url, kind="mcp", mcp=Mcp("ask", "question", {"lang": "de"}), timeout=10)
        one = Talking(target, "run")
        first = one.ask(Prompt("hours?", is_new=True))
        assert (first.text, first.error, first.requests) == ("de: you asked hours?", "", 4), first
        assert one.ask(Prompt("more")).requests == 1
        assert one.ask(Prompt("again", is_new=True)).requests == 3
        assert one.ask(Prompt("fail")).error == "tool-error"
        missing = Talking(Target("it", url, kind="mcp", mcp=Mcp("nothing"), timeout=10), "run")
        assert missing.ask(Prompt("a", is_new=True)).error == "no-such-tool"


def test_the_stand_in_for_mcp_whole_and_in_events() -> None:
    with servers.providers() as origin:
        for name in ("pages", "pages-sse"):
            one = Talking(Target("it", f"{origin}/mcp/{name}", kind="mcp", mcp=Mcp("obey"), timeout=5), "run")
            assert one.ask(Prompt("[[say: yes]]", is_new=True)).text == "yes"


def test_an_mcp_server_that_is_none() -> None:
    for body, word in ((b"[]", "unreadable"), (b"{}", "unreadable"), (b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}', "unreadable"), (b"\xff", "unreadable")):  # fmt: skip
        with application(lambda _, body=body: Answer(body)) as (url, _):
            one = Talking(Target("it", url, kind="mcp", mcp=Mcp("ask"), timeout=2), "run")
            assert one.ask(Prompt("a", is_new=True)).error == word
