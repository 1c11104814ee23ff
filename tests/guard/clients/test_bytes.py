"""Plain sockets instead of SDKs: status, headers that matter and every byte of a reply, on every surface, as the provider sent them."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import zlib
from typing import Any

import pytest
import zstandard

KEPT = ("content-type", "x-stand-in", "x-request-sha256", "content-encoding")
TOOL = '[[call: look {"a": [1, 2.50, "\\u00e9"]}]]'


def _messages(text: str, **more: Any) -> bytes:
    # Spelt as no encoder would: what is forwarded must be these bytes.
    return (
        json.dumps(
            {"messages": [{"role": "user", "content": text}], "top_p": 0.10, **more}, indent=1, ensure_ascii=True
        ).encode()
        + b"\n"
    )


def _contents(text: str, **_: Any) -> bytes:
    return json.dumps({"contents": [{"role": "user", "parts": [{"text": text}]}]}, separators=(" , ", " : ")).encode()


def _converse(text: str, **_: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": [{"text": text}]}]}).encode()


def _input(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", "input": text} | more).encode()


def _prompt(text: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", "prompt": text} | more).encode()


SURFACES = {
    "chat": ("/openai/v1/chat/completions", _messages, {"model": "m"}),
    "chat-stream": ("/openai/v1/chat/completions", _messages, {"model": "m", "stream": True, "n": 2}),
    "completions-stream": ("/openai/v1/completions", _prompt, {"stream": True}),
    "responses": ("/openai/v1/responses", _input, {}),
    "responses-stream": ("/openai/v1/responses", _input, {"stream": True}),
    "azure": ("/azure/openai/deployments/gpt/chat/completions?api-version=2024-10-21", _messages, {"stream": True}),
    "anthropic": ("/anthropic/v1/messages", _messages, {"model": "m", "max_tokens": 9}),
    "anthropic-stream": ("/anthropic/v1/messages", _messages, {"model": "m", "max_tokens": 9, "stream": True}),
    "gemini": ("/gemini/v1beta/models/g:generateContent", _contents, {}),
    "gemini-sse": ("/gemini/v1beta/models/g:streamGenerateContent?alt=sse", _contents, {}),
    "gemini-array": ("/gemini/v1beta/models/g:streamGenerateContent", _contents, {}),
    "converse": ("/bedrock/model/anthropic.claude/converse", _converse, {}),
    "converse-stream": ("/bedrock/model/anthropic.claude/converse-stream", _converse, {}),
    "invoke-stream": (
        "/bedrock/model/anthropic.claude/invoke-with-response-stream",
        _messages,
        {"anthropic_version": "bedrock-2023-05-31"},
    ),
    "ollama": ("/ollama/api/chat", _messages, {"model": "m"}),
    "ollama-generate": ("/ollama/api/generate", _prompt, {}),
}


def send(
    origin: str, path: str, body: bytes, method: str = "POST", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    where = urllib.parse.urlsplit(origin)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    try:
        if path.startswith("/bedrock/"):
            headers |= _signature(origin, path, body)
        connection.request(method, path, body, {"content-type": "application/json"} | headers)
        reply = connection.getresponse()
        got = {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, {name: got[name] for name in KEPT if name in got}, reply.read()
    finally:
        connection.close()


def _signature(origin: str, path: str, body: bytes) -> dict[str, str]:
    pytest.importorskip("botocore")
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("POST", origin + path, data=body, headers={"content-type": "application/json"})
    SigV4Auth(Credentials("AKIDSTANDIN", "stand-in-secret"), "bedrock", "us-east-1").add_auth(request)
    return {name: value for name, value in request.headers.items() if name.lower() in ("authorization", "x-amz-date")}


@pytest.mark.parametrize("surface", SURFACES)
def test_every_byte_passes(surface: str, both: Any, tag: str) -> None:
    path, write, more = SURFACES[surface]
    body = write(
        f"Hi [[think: so]] [[say: Zürich ist schön 👋🏽]] {TOOL} [[cut: 2]] [[bytes: 5]] [[tag: {tag}]]", **more
    )
    status, headers, got = both(lambda origin: send(origin, path, body))
    assert status == 200 and headers["x-stand-in"] == "providers" and got


@pytest.mark.parametrize("surface", SURFACES)
def test_an_error_of_the_provider_passes(surface: str, both: Any, tag: str) -> None:
    path, write, more = SURFACES[surface]
    status, _, got = both(lambda origin: send(origin, path, write(f"[[fail: 429]] [[tag: {tag}]]", **more)))
    assert status == 429 and b"Scripted failure" in got


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("surface", ["chat", "chat-stream", "anthropic-stream", "ollama"])
def test_compressed_replies(surface: str, coding: str, both: Any, tag: str) -> None:
    path, write, more = SURFACES[surface]
    body = write(f"[[say: Zürich ist schön]] [[encode: {coding}]] [[tag: {tag}]]", **more)

    def talk(origin: str) -> Any:
        status, headers, got = send(origin, path, body, **{"accept-encoding": coding})
        return status, _decode(headers.get("content-encoding", ""), got)

    status, got = both(talk)
    assert status == 200 and "Zürich".encode() in got


def _decode(coding: str, data: bytes) -> bytes:
    if coding in ("gzip", "deflate"):
        return zlib.decompress(data, 47)
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if coding == "br":
        node = shutil.which("node")
        if node is None:
            pytest.skip("nothing here reads Brotli")
        script = "process.stdout.write(require('zlib').brotliDecompressSync(require('fs').readFileSync(0)))"
        return subprocess.run([node, "-e", script], input=data, capture_output=True, check=True).stdout
    return data


def test_a_compressed_request_passes(both: Any, tag: str) -> None:
    import gzip

    body = gzip.compress(_messages(f"[[say: small]] [[tag: {tag}]]", model="m"), mtime=0)

    def talk(origin: str) -> Any:
        return send(origin, "/openai/v1/chat/completions", body, **{"content-encoding": "gzip"})

    status, _, got = both(talk)
    assert status == 200 and b"small" in got


def test_a_chunked_request_passes(both: Any, tag: str) -> None:
    body = _messages(f"[[say: piece by piece]] [[tag: {tag}]]", model="m")

    def talk(origin: str) -> Any:
        where = urllib.parse.urlsplit(origin)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        parts = (body[at : at + 17] for at in range(0, len(body), 17))
        connection.request(
            "POST", "/openai/v1/chat/completions", parts, {"content-type": "application/json"}, encode_chunked=True
        )
        reply = connection.getresponse()
        got = reply.status, reply.read()
        connection.close()
        return got

    status, got = both(talk)
    assert status == 200 and b"piece by piece" in got


def test_requests_on_one_connection(both: Any, tag: str) -> None:
    def talk(origin: str) -> Any:
        where = urllib.parse.urlsplit(origin)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        got = []
        for number in range(20):
            body = _messages(f"[[say: number {number}]] [[tag: {tag}]]", model="m", stream=bool(number % 2))
            connection.request("POST", "/openai/v1/chat/completions", body, {"content-type": "application/json"})
            got.append(connection.getresponse().read())
        connection.close()
        return got

    assert all(b"number" in one for one in both(talk))


def test_a_slow_reader_gets_everything(both: Any, tag: str) -> None:
    # About four megabytes: more than the buffers of the system between two neighbours.
    body = _messages(f"[[long: 20000]] [[tag: {tag}]]", model="m", stream=True)

    def talk(origin: str) -> Any:
        where = urllib.parse.urlsplit(origin)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        connection.request("POST", "/openai/v1/chat/completions", body, {"content-type": "application/json"})
        time.sleep(0.5)
        got = connection.getresponse().read()
        connection.close()
        return got

    assert both(talk).count(b'"content":" word') == 19_999


@pytest.mark.parametrize("how", ["reset", "stop"])
def test_a_broken_stream_does_not_look_whole(how: str, way: Any, tag: str) -> None:
    body = _messages(f"[[long: 300]] [[slow: 0.001]] [[{how}: 9]] [[tag: {tag}]]", model="m", stream=True)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        send(way.origin, "/openai/v1/chat/completions", body)


def test_a_client_that_leaves_before_the_first_byte(way: Any, tag: str) -> None:
    body = _messages(f"[[wait: 40]] [[tag: {tag}]]", model="m")
    where = urllib.parse.urlsplit(way.origin)
    with socket.create_connection((where.hostname, where.port), timeout=60) as one:
        one.sendall(
            f"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        time.sleep(0.5)
    left = time.monotonic()
    row = way.stand_in.outcome(tag, within=20)
    assert row["outcome"] == "cancelled" and row["ended"] - left < 8
