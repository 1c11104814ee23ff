"""Sinks whose vendor's server is not to be had here, against protocol peers: small servers that answer as the vendor's documentation says. Not proven live.

Where the vendor or the specification has a client of its own, it meets the same peer, or reads what our sink sent.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from afterguard.export.exporter import Exporter
from afterguard.export.settings import parse
from afterguard.export.sinks.web import retry_after
from afterguard.export.sinks.webhook import refused, signed

from .peer import Answer, Peer, peer
from .servers_here import wait_for


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOC_SECRET", "whsec_" + b64encode(b"k" * 32).decode())


def running(folder: Path, text: str) -> Exporter:
    return Exporter(parse(f"format: afterguard.sinks/1\nsinks:\n  - {{name: it, {text}}}").sinks, folder / "spool")


def status(out: Exporter) -> dict[str, Any]:
    return out.counts()["it"]


def test_splunk_counts_what_the_indexers_confirm(tmp_path: Path) -> None:
    def answer(here: Peer, path: str, headers: dict[str, str], body: bytes) -> Answer:
        assert headers["authorization"].startswith("Splunk whsec_") and headers["x-splunk-request-channel"]
        if path.startswith("/services/collector/ack"):
            asked = json.loads(body)["acks"]
            return 200, {}, json.dumps({"acks": {str(n): here.state.get("safe", False) for n in asked}}).encode()
        here.state["n"] = here.state.get("n", -1) + 1
        return 200, {}, json.dumps({"text": "Success", "code": 0, "ackId": here.state["n"]}).encode()

    with peer(answer) as here, running(tmp_path, f"kind: splunk, url: '{here.url}', token: {{env: SOC_SECRET}}") as out:
        out.put("alert", {"id": "a1", "severity": "high"})
        wait_for(lambda: any("/ack" in path for path, _, _ in here.seen), "a question for the receipt")
        assert status(out)["lanes"]["alert"]["delivered"] == 0
        here.state["safe"] = True
        assert out.drain(30) and status(out)["lanes"]["alert"]["delivered"] == 1
        event = json.loads(here.seen[0][2])
        assert event["event"] == {"id": "a1", "severity": "high"} and event["fields"]["event_id"] == "a1"


def test_splunk_names_the_event_that_is_no_data(tmp_path: Path) -> None:
    def answer(here: Peer, path: str, headers: dict[str, str], body: bytes) -> Answer:
        ids = [one["fields"]["event_id"] for one in _objects(body)]
        if "e2" in ids:
            said = {"text": "Invalid data format", "code": 6, "invalid-event-number": ids.index("e2")}
            return 400, {}, json.dumps(said).encode()
        return 200, {}, b'{"text":"Success","code":0}'

    with (
        peer(answer) as here,
        running(tmp_path, f"kind: splunk, url: '{here.url}', token: {{env: SOC_SECRET}}, ack: false") as out,
    ):
        for n in range(5):
            out.put("audit", {"id": f"e{n}"})
        assert out.drain(30)
        assert (status(out)["lanes"]["audit"]["delivered"], status(out)["dead"]) == (4, 1)


def _objects(body: bytes) -> list[Any]:
    text, out, at = body.decode(), [], 0
    while at < len(text):
        one, at = json.JSONDecoder().raw_decode(text, at)
        out.append(one)
    return out


def test_elastic_retries_the_failed_items_of_a_200_and_buries_the_impossible(tmp_path: Path) -> None:
    def answer(here: Peer, path: str, headers: dict[str, str], body: bytes) -> Answer:
        assert path == "/soc/_bulk" and headers["authorization"].startswith("ApiKey ")
        ids = [json.loads(line)["create"]["_id"] for line in body.splitlines()[::2]]
        here.state.setdefault("ids", []).append(ids)
        first = len(here.state["ids"]) == 1
        items = []
        for id in ids:
            code = 429 if id == "e1" and first else 400 if id == "e3" else 409 if id == "e4" else 201
            items.append(
                {
                    "create": {
                        "_id": id,
                        "status": code,
                        **({"error": {"type": "x", "reason": "y"}} if code == 400 else {}),
                    }
                }
            )
        return 200, {}, json.dumps({"errors": True, "items": items}).encode()

    with (
        peer(answer) as here,
        running(
            tmp_path, f"kind: elastic, url: '{here.url}', index: soc, api_key: {{env: SOC_SECRET}}, linger: 0.3"
        ) as out,
    ):
        for n in range(6):
            out.put("audit", {"id": f"e{n}"})
        assert out.drain(30)
        lane = status(out)["lanes"]["audit"]
        assert (lane["delivered"], lane["poison"]) == (5, 1)
        again = [id for ids in here.state["ids"][1:] for id in ids]
        assert again.count("e1") == 1 and not {"e0", "e2"} & set(again[again.index("e1") :][:1])


def test_otlp_is_what_the_protocol_says_and_a_partial_success_is_taken_apart(tmp_path: Path) -> None:
    got: list[str] = []

    def answer(here: Peer, path: str, headers: dict[str, str], body: bytes) -> Answer:
        request = json_format.Parse(body, ExportLogsServiceRequest())
        records = request.resource_logs[0].scope_logs[0].log_records
        ids = [next(a.value.string_value for a in one.attributes if a.key == "afterguard.id") for one in records]
        assert all(one.time_unix_nano and one.body.string_value.startswith("{") for one in records)
        bad = ids.count("bad")
        got.extend(one for one in ids if one != "bad")
        return (
            200,
            {},
            json.dumps(
                {"partialSuccess": {"rejectedLogRecords": str(bad), "errorMessage": "no"}} if bad else {}
            ).encode(),
        )

    with (
        peer(answer) as here,
        running(tmp_path, f"kind: otlp, url: '{here.url}/v1/logs', headers: {{X-Token: {{env: SOC_SECRET}}}}") as out,
    ):
        for id in ("a", "bad", "b", "c"):
            out.put("audit", {"id": id})
        assert out.drain(30)
        assert set(got) == {"a", "b", "c"} and status(out)["lanes"]["audit"]["poison"] == 1
        assert here.seen[0][1]["x-token"].startswith("whsec_")


def test_webhook_is_proven_by_the_specifications_own_library(tmp_path: Path) -> None:
    library = pytest.importorskip("standardwebhooks")

    def answer(here: Peer, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if not here.state.setdefault("was_busy", False):
            here.state["was_busy"] = True
            return 429, {"retry-after": "1"}, b""
        here.state["said"] = library.Webhook(os.environ["SOC_SECRET"]).verify(body, headers)
        return 204, {}, b""

    with (
        peer(answer) as here,
        running(tmp_path, f"kind: webhook, url: '{here.url}/soc', secret: {{env: SOC_SECRET}}") as out,
    ):
        began = time.monotonic()
        out.put("alert", {"id": "a1"})
        assert out.drain(30) and time.monotonic() - began >= 0.9
        assert here.state["said"]["events"] == [{"id": "a1"}]
        first, second = (headers for _, headers, _ in here.seen[:2])
        assert first["webhook-id"] == second["webhook-id"] == second["idempotency-key"]


def test_a_webhook_that_is_old_changed_or_of_another_key_is_refused() -> None:
    headers, body = signed("msg_1", 1_000_000, b"{}", "a secret"), b"{}"
    assert refused(headers, body, "a secret", 1_000_100.0) == ""
    assert "time-stamp" in refused(headers, body, "a secret", 1_000_400.0)
    assert "time-stamp" in refused(headers | {"webhook-timestamp": "x"}, body, "a secret", 1_000_000.0)
    for changed in (
        ({**headers, "webhook-id": "msg_2"}, body, "a secret"),
        (headers, b"{ }", "a secret"),
        (headers, body, "another"),
    ):
        assert "signature" in refused(*changed, now=1_000_000.0)


RULE = "dcr-" + "0" * 32


def sentinel(here: Peer, path: str, headers: dict[str, str], body: bytes) -> Answer:
    if "oauth2" in path:
        here.state["tokens"] = here.state.get("tokens", 0) + 1
        return 200, {}, b'{"access_token":"T1","expires_in":3600,"token_type":"Bearer"}'
    if headers["authorization"] != "Bearer T1":
        return 401, {}, b""
    raw = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
    if len(raw) > 1 << 20:
        return 413, {}, b"ContentLengthLimitExceeded"
    if here.state.setdefault("limited", 1):
        here.state["limited"] -= 1
        return 429, {"retry-after": "1"}, b""
    here.state.setdefault("rows", []).extend(json.loads(raw))
    here.state["path"] = path
    return 204, {}, b""


def test_sentinel_splits_by_bytes_waits_when_told_and_cuts_long_fields(tmp_path: Path) -> None:
    with peer(sentinel) as here:
        text = f"kind: sentinel, url: '{here.url}', authority: '{here.url}', rule: {RULE}, stream: Custom-Afterguard_CL, tenant: contoso, client: app, secret: {{env: SOC_SECRET}}, linger: 0"
        with running(tmp_path, text) as out:
            for n in range(60):
                out.put("audit", {"id": f"e{n}", "x": "y" * 30_000})
            out.put("alert", {"id": "long", "x": "é" * 40_000})
            assert out.drain(60), out.counts()
        rows = {one["id"]: one for one in here.state["rows"]}
        assert len(rows) == 61 and all("TimeGenerated" in one for one in rows.values())
        assert (
            len(rows["long"]["x"].encode()) < 32_766
            and "[cut, 80000 bytes in long]" in rows["long"]["x"]
            and here.state["tokens"] == 1
        )


def test_azures_own_client_says_the_same_to_the_peer(tmp_path: Path) -> None:
    azure = pytest.importorskip("azure.monitor.ingestion")
    core = pytest.importorskip("azure.core.credentials")

    class Credential:
        def get_token(self, *_: str, **__: Any) -> Any:
            return core.AccessToken("T1", int(time.time()) + 3_600)

    with peer(sentinel) as here:
        with azure.LogsIngestionClient(here.url, Credential()) as client:
            client.upload(RULE, "Custom-Afterguard_CL", [{"id": "theirs"}], enforce_https=False)
        theirs = here.state["path"]
        text = f"kind: sentinel, url: '{here.url}', authority: '{here.url}', rule: {RULE}, stream: Custom-Afterguard_CL, tenant: contoso, client: app, secret: {{env: SOC_SECRET}}, linger: 0"
        with running(tmp_path, text) as out:
            out.put("alert", {"id": "ours"})
            assert out.drain(30)
        assert here.state["path"] == theirs


def test_a_refused_token_is_asked_for_again_and_the_secret_is_told_to_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with peer(lambda *_: (401, {}, b"no")) as here:
        text = f"kind: webhook, url: '{here.url}', secret: {{env: SOC_SECRET}}, wait: 0.2"
        with running(tmp_path, text) as out:
            out.put("alert", {"id": "a1"})
            wait_for(lambda: status(out)["why"], "a refusal")
            assert "401" in status(out)["why"] and "whsec_" not in str(out.counts()) + caplog.text
            assert status(out)["lanes"]["alert"]["backlog"] == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("", 0.0), ("soon", 0.0), ("-3", 0.0), ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0), ("9" * 400, 86_400.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after(value, 1_000.0) == seconds
