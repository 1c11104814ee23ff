"""The ICAP door without a proxy before it: hostile clients, links between workers, tokens, and what each mode does, over raw sockets."""

from __future__ import annotations

import gzip
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

from afterguard.guard.hosts import Hosts
from afterguard.guard.route import Mounts, route

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
URL = b"https://ai.example/base/v1/chat/completions"
KEY = running.KEY
TOKEN = "s3cret"


class Guarded:
    """A guard with the door, and its port."""

    def __init__(self, guard: Any, port: int) -> None:
        self.guard, self.port = guard, port

    def say(self, *requests: bytes, within: float = 10.0) -> bytes:
        return bytes(running.talk(self.port, b"".join(requests), within))


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    port = free_port()
    flags = (f"--door=icap=127.0.0.1:{port}", "--workers", "2")
    mounts = {"openai": "https://ai.example/base"}
    more = running.rule("no-keys-out", "redact", "request", {"hit.kind": "secret_in_input"})
    policy = running.rules(more, head="mode: enforce")
    with running.guard("", tmp_path_factory.mktemp("icap"), policy, *flags, mounts=mounts) as guard:
        yield Guarded(guard, port)
        running.hurry(guard)


def reqmod(
    body: bytes | None, *headers: bytes, url: bytes = URL, service: bytes = b"reqmod", http: bytes = b""
) -> bytes:
    line = b"POST" if body is not None else b"GET"
    head = line + b" " + url + b" HTTP/1.1\r\nHost: ai.example\r\nAuthorization: Bearer k\r\n" + http + b"\r\n"
    kind = b"req-body" if body is not None else b"null-body"
    rows = (
        b"REQMOD icap://guard/" + service + b" ICAP/1.0",
        b"Encapsulated: req-hdr=0, %s=%d" % (kind, len(head)),
        *headers,
    )
    return b"\r\n".join(rows) + b"\r\n\r\n" + head + (chunked(body) if body is not None else b"")


def respmod(body: bytes, *headers: bytes, kind: bytes = b"application/json", url: bytes = URL) -> bytes:
    asked = b"POST " + url + b" HTTP/1.1\r\nHost: ai.example\r\nAuthorization: Bearer k\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    where = b"Encapsulated: req-hdr=0, res-hdr=%d, res-body=%d" % (len(asked), len(asked + head))
    rows = (b"RESPMOD icap://guard/respmod ICAP/1.0", where, *headers)
    return b"\r\n".join(rows) + b"\r\n\r\n" + asked + head + chunked(body)


def chunked(body: bytes) -> bytes:
    pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def link(said: bytes) -> bytes:
    found = next(line for line in said.split(b"\r\n") if line.lower().startswith(b"x-afterguard-link:"))
    return found.partition(b": ")[2]


def newest(door: Guarded, identifier: bytes) -> Any:
    line = door.guard.decided(identifier.decode().rpartition(".")[2])
    return line["unmapped"]["afterguard"]


def test_options_say_what_is_offered(door: Guarded) -> None:
    said = door.say(b"OPTIONS icap://guard/reqmod ICAP/1.0\r\n\r\n", b"OPTIONS icap://guard/respmod ICAP/1.0\r\n\r\n")
    first, second = said.split(b"ICAP/1.0 200 OK")[1:]
    for wanted in (
        b"Methods: REQMOD",
        b"Preview: 0",
        b"Allow: 204",
        b"Options-TTL: ",
        b'ISTag: "',
        b"Max-Connections: ",
        b"Transfer-Preview: *",
    ):
        assert wanted in first
    assert b"Methods: RESPMOD" in second and b"Preview" not in second


def test_pipelined_requests_are_answered_in_order(door: Guarded) -> None:
    said = door.say(
        reqmod(running.chat("one"), b"Allow: 204"),
        reqmod(running.chat("two", model="blockme")),
        reqmod(None, b"Allow: 204"),
    )
    first, second, third = said.split(b"ICAP/1.0 ")[1:]
    assert first.startswith(b"204 ") and third.startswith(b"204 ")
    assert second.startswith(b"200 ") and b"HTTP/1.1 400 Bad Request" in second and b"afterguard_blocked" in second


def test_links_hold_whichever_worker_is_asked(door: Guarded) -> None:
    for _ in range(12):  # the kernel spreads the connections
        asked = link(door.say(reqmod(running.chat(f"hello {time.time()}"), b"Allow: 204")))
        body = running.reply(f"the key is {KEY}")
        said = door.say(respmod(body, b"Allow: 204", b"X-Afterguard-Link: " + asked))
        assert said.startswith(b"ICAP/1.0 200 ") and b"[removed" in said and KEY.encode() not in said
        found = newest(door, asked)
        assert found["action"] == "redact" and "unjudged" not in found


def test_a_reply_without_a_link_is_judged_alone(door: Guarded) -> None:
    for told in ((), (b"X-Afterguard-Link: 0123456789abcdef.nobody",), (b"X-Afterguard-Link: ../../x",)):
        said = door.say(respmod(running.reply(f"the key is {KEY}"), b"Allow: 204", *told))
        assert b"[removed" in said and KEY.encode() not in said
    # What was judged is counted when its exchange has ended, which may be after the last byte of the reply.
    assert running.until(lambda: door.guard.metric("afterguard_unjudged_total", "request_unseen") >= 3)


def test_requests_alone(door: Guarded) -> None:
    said = door.say(reqmod(running.chat("alone"), b"Allow: 204", service=b"reqmod-alone"))
    assert said.startswith(b"ICAP/1.0 204 ")
    assert [row["reason"] for row in newest(door, link(said))["unjudged"]] == ["response_not_seen"]


def test_a_compressed_request_is_edited(door: Guarded) -> None:
    body = gzip.compress(running.chat(f"my key is {KEY}"))
    said = door.say(reqmod(body, http=b"Content-Encoding: gzip\r\n"))
    assert b"[removed: secret]" in said and b"Content-Encoding" not in said and b"my key is" in said


def test_without_204_everything_is_said_again(door: Guarded) -> None:
    body = running.chat("again, please")
    said = door.say(reqmod(body))
    assert said.startswith(b"ICAP/1.0 200 ") and b"req-body=" in said and b"POST " + URL in said and body[:60] in said


def test_hosts_that_are_none_pass_unread(door: Guarded) -> None:
    head = reqmod(b"x", b"Preview: 0", url=b"https://bank.example/").rpartition(b"1\r\nx")[0] + b"0\r\n\r\n"
    assert door.say(head).startswith(b"ICAP/1.0 204 ")
    connect = b"CONNECT ai.example:443 HTTP/1.1\r\nHost: ai.example:443\r\n\r\n"
    row = b"REQMOD icap://guard/reqmod ICAP/1.0\r\nAllow: 204\r\nEncapsulated: req-hdr=0, null-body=%d\r\n\r\n" % len(
        connect
    )
    said = door.say(row + connect)
    assert said.startswith(b"ICAP/1.0 204 ") and b"Link" not in said


HOSTILE = {
    "no icap": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no service": reqmod(b"x", service=b"elsewhere"),
    "wrong method": reqmod(b"x", service=b"respmod"),
    "wrong offset": reqmod(b"x").replace(b"req-body=", b"req-body=9"),
    "wrong length": reqmod(running.chat("x")).replace(b"\r\n{", b"\r\n{{{{"),
    "endless preview": reqmod(b"x" * 5000, b"Preview: 10"),
    "no address": reqmod(b"x", url=b"http://[::1"),
    "no http": reqmod(b"x").replace(b"POST https://", b"PO\tST https://"),
    "garbage": bytes(range(256)) * 40,
    "endless head": b"REQMOD icap://guard/reqmod ICAP/1.0\r\n" + b"a: b\r\n" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_clients_are_refused_and_counted(door: Guarded, name: str) -> None:
    before = door.guard.metric("afterguard_refused_total")
    said = door.say(HOSTILE[name], within=2.0)  # some leave it waiting for more, and it says nothing
    assert said.startswith((b"ICAP/1.0 4", b"ICAP/1.0 5")) or said == b"", said[:200]
    assert door.guard.is_alive()
    if name != "wrong method":
        running.until(lambda: door.guard.metric("afterguard_refused_total") > before)
    assert door.say(reqmod(running.chat("still here"), b"Allow: 204")).startswith(b"ICAP/1.0 204 ")


def test_random_bytes_and_cut_requests_hurt_nobody(door: Guarded) -> None:
    sample = reqmod(running.chat("cut me"), b"Allow: 204", b"Preview: 0") + respmod(running.reply("and me"))
    for at in range(0, len(sample), 151):
        running.talk(door.port, sample[:at] + os.urandom(3) + sample[at + 3 :], 0.05)
        running.talk(door.port, sample[:at], 0.02)
    assert door.guard.is_alive()
    assert door.say(reqmod(running.chat("still here"), b"Allow: 204")).startswith(b"ICAP/1.0 204 ")


def test_a_slow_client_is_given_up(door: Guarded) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", door.port), 40) as line:
        line.sendall(b"REQMOD icap://guard/reqmod ICAP/1.0\r\n")
        began = time.monotonic()
        said = b""
        while time.monotonic() - began < 90:
            try:
                line.settimeout(2)
                piece = line.recv(4096)
                if not piece:
                    break
                said += piece
            except TimeoutError:
                line.sendall(b"a: b\r\n")
        assert b"ICAP/1.0 408 " in said and time.monotonic() - began < 80


def test_too_long_is_passed_or_refused_as_the_route_says(door: Guarded) -> None:
    long = b'{"model":"m","messages":[{"role":"user","content":"' + b"x" * (33 << 20) + b'"}]}'
    pieces = b"".join(
        b"%x\r\n%s\r\n" % (len(p), p) for p in (long[at : at + (1 << 20)] for at in range(0, len(long), 1 << 20))
    )
    head = reqmod(b"").removesuffix(b"0\r\n\r\n")
    said = door.say(head + pieces + b"0\r\n\r\n", within=60)
    assert said.startswith(b"ICAP/1.0 200 ") and len(said) > len(long)
    asked = link(said[:2000])
    assert door.say(respmod(running.reply("fine"), b"Allow: 204", b"X-Afterguard-Link: " + asked)).startswith(
        b"ICAP/1.0 204 "
    )
    assert newest(door, asked)["failed"] == "too_long"


def test_a_token_where_others_can_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERGUARD_GUARD_TOKEN", TOKEN)
    port = free_port()
    mounts = {"openai": "https://ai.example/base"}
    with running.guard("", tmp_path, "", f"--door=icap=127.0.0.1:{port}", mounts=mounts) as guard:
        one = Guarded(guard, port)
        assert one.say(reqmod(running.chat("x"))).startswith(b"ICAP/1.0 403 ")
        assert one.say(b"OPTIONS icap://guard/reqmod ICAP/1.0\r\n\r\n").startswith(b"ICAP/1.0 200 ")
        shown = b"X-Afterguard-Token: " + TOKEN.encode()
        assert one.say(reqmod(running.chat("x"), b"Allow: 204", shown)).startswith(b"ICAP/1.0 204 ")
        running.hurry(guard)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "afterguard", "guard", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_bad_doors_are_said_at_once(door: Guarded, tmp_path: Path) -> None:
    some = ("--upstream=openai=https://ai.example", "--folder", str(tmp_path), "--listen", "127.0.0.1:0")
    assert "can be reached by others" in command(*some, "--door=icap=0.0.0.0:1344").stderr
    assert "no such door" in command(*some, "--door=icap").stderr
    assert "can not listen" in command(*some, f"--door=icap=127.0.0.1:{door.port}").stderr


def test_addresses_lead_to_mounts_then_to_the_catalogue() -> None:
    mounts = [
        route("openai=https://ai.example/base", mode="shadow"),
        route("deep:openai=https://ai.example/base/deeper"),
    ]
    hosts = Hosts(Mounts(mounts))

    def found(host: str, path: str, scheme: str = "https", port: int = 443) -> tuple[str, str, str] | None:
        place = hosts.find(scheme, host, port, path)
        return None if place is None else (place.route.name, place.route.kind, place.path)

    assert found("ai.example", "/base/v1/models") == ("openai", "openai", "/v1/models")
    assert found("AI.example.", "/base/deeper/v1/x") == ("deep", "openai", "/v1/x")
    assert found("ai.example", "/basement") is None and found("ai.example", "/base", port=8443) is None
    assert found("ai.example", "/base", scheme="http", port=80) is None and found("ai.example", "/base", "", 0)
    assert found("api.anthropic.com", "/v1/messages") == ("anthropic", "anthropic", "/v1/messages")
    assert found("x.openai.azure.com", "/openai/y") == ("azure", "azure", "/openai/y")
    assert found("bedrock-runtime.eu-central-1.amazonaws.com", "/model/x/converse") == (
        "bedrock",
        "bedrock",
        "/model/x/converse",
    )
    assert found("api.groq.com", "/openai/v1/chat/completions") == ("groq", "plain", "/openai/v1/chat/completions")
    assert found("evil-api.anthropic.com.example", "/") is None and found("x" * 300, "/") is None
    place = hosts.find("https", "api.anthropic.com", 443, "/")
    assert place is not None and place.route.mode == "shadow", "what all mounts share holds there too"
