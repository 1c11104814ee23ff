"""Targets that misbehave: whatever comes back is a Reply with a fixed word, within the time and the memory that was set."""

from __future__ import annotations

import codecs
import gzip
import json
import socket
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ports import free_port

from afterguard.attack.contract import Prompt, Reply
from afterguard.attack.trial import ERRORS
from afterguard.targets import mcp, reading, template, websocket
from afterguard.targets.document import Mcp, Target, Template
from afterguard.targets.door import Away
from afterguard.targets.talking import Talking

servers: Any = sys.modules["targets_servers"]
MEBIBYTE = 1 << 20
TIMEOUT = 1.0
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD = json.dumps({"answer": "yes", "choices": [{"message": {"role": "assistant", "content": "yes"}}]}).encode()
Speaks = Callable[[socket.socket], None]


def sends(*pieces: bytes, pause: float = 0.0) -> Speaks:
    def speak(line: socket.socket) -> None:
        for piece in pieces:
            line.sendall(piece)
            time.sleep(pause)

    return speak


def endless(head: bytes, piece: bytes, pause: float = 0.0, megabytes: int = 64) -> Speaks:
    def speak(line: socket.socket) -> None:
        line.sendall(head)
        until = time.monotonic() + 8
        for _ in range(megabytes * MEBIBYTE // len(piece)):
            line.sendall(piece)
            time.sleep(pause)
            if time.monotonic() > until:
                break

    return speak


def hang(line: socket.socket) -> None:
    line.settimeout(8)
    line.recv(1)


def falls_silent(line: socket.socket) -> None:
    line.sendall(OK)
    hang(line)


def whole(body: bytes, *headers: str) -> bytes:
    return OK + "".join(f"{row}\r\n" for row in headers).encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}], "answer": "x"}\n\n'
BOMB = gzip.compress(b"[" + b"0," * (50 * MEBIBYTE) + b"0]", 9)
CASES: dict[str, tuple[Speaks, str]] = {
    "closes": (sends(), "unreachable"),
    "hangs": (hang, "timeout"),
    "hangs after its head": (falls_silent, "timeout"),
    "drips its body": (endless(OK + b"\r\n", b" ", 0.05), "timeout"),
    "drips its head": (endless(b"", b"x", 0.05), "timeout"),
    "goes on saying that one may go on": (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.01), "timeout"),
    "says gigabytes": (endless(OK + b"\r\n", b"x" * MEBIBYTE), "too-large"),
    "promises gigabytes": (sends(OK + b"Content-Length: 9999999999\r\n\r\n" + GOOD), "broken-off"),
    "streams for ever, fast": (endless(EVENTS, chunk(EVENT.replace(b"x", b"x" * 50_000))), "too-large"),
    "streams for ever, slowly": (endless(EVENTS, chunk(EVENT), 0.05), "timeout"),
    "is a bomb": (sends(whole(BOMB, "Content-Encoding: gzip")), "too-large"),
    "is a bomb of zlib": (sends(whole(zlib.compress(b"0" * 50 * MEBIBYTE), "Content-Encoding: deflate")), "too-large"),
    "lies about gzip": (sends(whole(GOOD, "Content-Encoding: gzip")), "unreadable"),
    "cuts its gzip": (sends(whole(gzip.compress(GOOD)[:-9], "Content-Encoding: gzip")), "broken-off"),
    "encodes twice": (sends(whole(gzip.compress(gzip.compress(GOOD)), "Content-Encoding: gzip, gzip")), "unreadable"),
    "encodes in something else": (sends(whole(GOOD, "Content-Encoding: rot13")), "unreadable"),
    "breaks off": (sends(OK + b"Content-Length: 500\r\n\r\n" + GOOD), "broken-off"),
    "breaks off a chunk": (sends(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"500\r\n" + GOOD), "broken-off"),
    "breaks off without a length": (sends(OK + b"\r\n" + GOOD[:-9]), "unreadable"),
    "has bad chunks": (sends(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "broken-off"),
    "sends ten thousand headers": (sends(OK + b"a: b\r\n" * 10_000 + b"\r\n" + GOOD), "unreadable"),
    "sends a header of a megabyte": (sends(OK + b"a: " + b"b" * MEBIBYTE + b"\r\n\r\n" + GOOD), "unreadable"),
    "speaks HTTP/0.9": (sends(GOOD), "unreadable"),
    "speaks something else": (sends(b"220 mail.example ESMTP\r\n"), "unreadable"),
    "has an odd status": (sends(b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n"), "server-error"),
    "sends elsewhere": (sends(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), "redirected"),
    "has nothing to say": (sends(b"HTTP/1.1 204 No Content\r\n\r\n"), "unreadable"),
    "says an empty text": (sends(whole(b"")), "unreadable"),
    "says it in HTML": (sends(whole(b"<html>maintenance</html>")), "unreadable"),
    "says null": (sends(whole(b"null")), "unreadable"),
    "nests": (sends(whole(b"[" * MEBIBYTE)), "unreadable"),
    "nests well": (sends(whole(b"[" * 100_000 + b"]" * 100_000)), "unreadable"),
    "has broken letters": (sends(whole(b'{"answer": "\xff\xfe\xfd"}')), "unreadable"),
    "names a set of characters that is none": (sends(OK.replace(b"/json", b"/json; charset=punycode") + b"Content-Length: 2\r\n\r\n\xc3("), "unreadable"),
    "half of UTF-16": (sends(whole(codecs.BOM_UTF16_LE + GOOD.decode().encode("utf-16-le")[:-1])), "unreadable"),
    "another shape": (sends(whole(b'{"answer": {"text": "yes"}, "choices": "yes"}')), "unreadable"),
}  # fmt: skip
FINE: dict[str, Speaks] = {
    "UTF-16": sends(whole(GOOD.decode().encode("utf-16"))),
    "UTF-16 by its header": sends(OK.replace(b"/json", b'/json; charset="UTF-16LE"') + b"\r\n" + GOOD.decode().encode("utf-16-le")),
    "a mark of the order of bytes": sends(whole(codecs.BOM_UTF8 + GOOD)),
    "gzip though we asked for none": sends(whole(gzip.compress(GOOD), "Content-Encoding: gzip")),
    "no length": sends(OK + b"\r\n" + GOOD),
    "little by little": sends(OK + b"Transfer-Encoding: chunked\r\n\r\n", *(chunk(GOOD[n : n + 9]) for n in range(0, len(GOOD), 9)), b"0\r\n\r\n"),
    "HTTP/1.0": sends(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD),
}  # fmt: skip


def asked(url: str, kind: str) -> Reply:
    made: dict[str, Any] = {"kind": kind, "timeout": TIMEOUT}
    if kind == "template":
        made["template"] = Template(body={"q": "{{prompt}}"}, stream=".answer")
    if kind == "mcp":
        made["mcp"] = Mcp("ask")
    return Talking(Target("it", url, **made), "run").ask(Prompt("hello", is_new=True))


@pytest.mark.parametrize("kind", ["openai", "template"])
@pytest.mark.parametrize("name", CASES)
def test_a_word_for_everything(name: str, kind: str) -> None:
    speak, word = CASES[name]
    with servers.bare(speak) as place:
        tracemalloc.start()
        found = asked(f"http://{place}/x", kind)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert found.error == word and word in ERRORS, found
    assert found.seconds < TIMEOUT + 1.5 and peak < 60 * MEBIBYTE, (found.seconds, peak)
    assert not found.text and msgspec.json.encode(found)


@pytest.mark.parametrize("kind", ["openai", "template"])
@pytest.mark.parametrize("name", FINE)
def test_what_is_odd_but_can_be_read(name: str, kind: str) -> None:
    with servers.bare(FINE[name]) as place:
        found = asked(f"http://{place}/x", kind)
    assert (found.text, found.error) == ("yes", "")


@pytest.mark.parametrize(
    "name",
    ["hangs", "says gigabytes", "is a bomb", "breaks off", "streams for ever, slowly", "speaks HTTP/0.9", "nests"],
)
def test_an_mcp_server_that_misbehaves(name: str) -> None:
    speak, word = CASES[name]
    with servers.bare(speak) as place:
        assert asked(f"http://{place}/x", "mcp").error == word


def test_a_line_that_is_not_safe() -> None:
    with servers.bare(sends(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as place:
        assert asked(f"https://{place}/x", "openai").error == "tls-error"
    # A peer that says the beginning of a handshake letter by letter.
    with servers.bare(endless(b"\x16\x03\x03\x10\x00\x02\x00\x0f\xfc\x03\x03", b"\x02", 0.05)) as place:
        found = asked(f"https://{place}/x", "openai")
    assert found.error == "timeout" and found.seconds < TIMEOUT + 1.5, found


def test_nobody_there() -> None:
    assert asked(f"http://127.0.0.1:{free_port()}/", "openai").error == "unreachable"


def test_many_small_values_are_bounded() -> None:
    body = b"[" + b"[]," * (reading.CAP // 3 - 10) + b"[]]"
    tracemalloc.start()
    assert reading.provider({}, body).error == "unreadable"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250 * MEBIBYTE, peak


def test_an_id_that_breaks_the_line_goes_nowhere() -> None:
    def answer(asked: Any) -> Any:
        return servers.Answer(json.dumps({"answer": "yes", "id": "a\r\nx-evil: 1\r\n\u20ac"}).encode())

    with servers.application(answer) as (url, seen):
        one = Template(body={"q": "{{prompt}}"}, conversation=".id")
        talk = Talking(
            Target("it", url, kind="template", template=one, headers={"x-id": "{{conversation}}"}, timeout=2), "run"
        )
        talk.ask(Prompt("a", is_new=True))
        found = talk.ask(Prompt("b"))
    assert found.error in ERRORS and len(seen) == 1


def test_cookies_without_end() -> None:
    headers = tuple(("set-cookie", f"c{n}={'x' * 1_000}") for n in range(90))
    with servers.application(lambda _: servers.Answer(GOOD, headers=headers)) as (url, seen):
        talk = Talking(Target("it", url, timeout=2), "run")
        for n in range(3):
            assert talk.ask(Prompt("a", is_new=not n)).text == "yes"
    assert seen[2].headers["cookie"].count("=") == 50


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "message", "content", "delta", "candidates", "parts", "text", "output", "type", "result", "id", "error", "usage", "done", "finish_reason", "index", "tool_calls", "function", "name", "arguments", "jsonrpc", "answer", "stop_reason", "thought"]), inner, max_size=4), max_leaves=20)  # fmt: skip
streams = st.lists(
    json_values.map(lambda one: b"data: " + json.dumps(one).encode()) | st.binary(max_size=20), max_size=5
).map(b"\n\n".join)
kinds = st.sampled_from(
    ["", "application/json", "text/event-stream", "application/x-ndjson", "text/html; charset=utf-16", "x; charset=gbk"]
)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), streams, json_values.map(lambda one: json.dumps(one).encode())),
    kinds,
    st.sampled_from(["", "", "gzip", "br", "zstd", "deflate"]),
)
def test_any_bytes_are_a_reply(body: bytes, kind: str, packed: str) -> None:
    headers = {"content-type": kind, "content-encoding": packed}
    found = [
        reading.provider(headers, body),
        template.answer(headers, body, ".answer", ".text", ".id")[0],
        template.answer(headers, body, "", "data")[0],
    ]
    for one in found:
        assert (not one.error or one.error in ERRORS) and msgspec.json.encode(one)
    try:
        made = mcp.read(mcp.answer(mcp.net.Reply(200, headers, body), 1))
        assert msgspec.json.encode(made)
    except Away as why:
        assert str(why) in ERRORS


@settings(max_examples=200, deadline=None)
@given(streams, st.integers(1, 7))
def test_the_end_of_a_stream_does_not_depend_on_its_pieces(body: bytes, size: int) -> None:
    whole_, parts = reading.Ending(), reading.Ending()
    at_once = whole_(body)
    piece_by_piece = any([parts(body[n : n + size]) for n in range(0, len(body), size)])  # noqa: C419
    assert at_once == piece_by_piece


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_any_message_of_a_websocket(text: str) -> None:
    try:
        said, piece, id, _ = websocket.heard(
            Template(body="{{prompt}}", reply=".answer", stream=".text", conversation=".id", end=".done"), text
        )
        assert isinstance(piece + id, str) and (said is None or isinstance(said, str))
    except Away as why:
        assert str(why) in ERRORS
