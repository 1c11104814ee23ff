"""The sinks, one file each: settings, and how a batch is handed over.

In: nothing. Out: `SINKS`, and `opened`. A client library is imported only when its sink is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from afterguard.export.sink import Settings, Sink
from afterguard.export.sinks import (
    elastic,
    file,
    kafka,
    nats,
    otlp,
    postgres,
    redis,
    s3,
    sentinel,
    splunk,
    syslog,
    webhook,
)

SINKS: dict[type[Settings], Callable[[Any], Sink]] = {
    file.File: file.FileSink,
    syslog.Syslog: syslog.SyslogSink,
    splunk.Splunk: splunk.SplunkSink,
    elastic.Elastic: elastic.ElasticSink,
    kafka.Kafka: kafka.KafkaSink,
    nats.Nats: nats.NatsSink,
    otlp.Otlp: otlp.OtlpSink,
    webhook.Webhook: webhook.WebhookSink,
    sentinel.Sentinel: sentinel.SentinelSink,
    s3.S3: s3.S3Sink,
    postgres.Postgres: postgres.PostgresSink,
    redis.Redis: redis.RedisSink,
}


def opened(settings: Settings) -> Sink:
    """A destination as the settings say. Connects only when it is sent something. Raises UsageError where a client is not installed."""
    return SINKS[type(settings)](settings)
