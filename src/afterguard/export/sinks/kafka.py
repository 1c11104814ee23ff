"""A Kafka topic: one message an event, in order for each key.

In: batches. Out: messages with the event's key, and its id as a header. The producer is idempotent and waits for all in-sync replicas, so that a batch counts when the brokers have it; what is sent again after a crash comes twice, with the same id.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from afterguard.errors import UsageError
from afterguard.export.secret import Secret
from afterguard.export.sink import Item, Limits, Plain, Sent, Settings, Unavailable

REMEMBERED = 64


class Kafka(Settings, frozen=True, kw_only=True, tag="kafka"):
    """A topic."""

    brokers: Annotated[str, Meta(min_length=1)]
    """HOST:PORT of some, with commas."""
    topic: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    """Which one; it must be there unless the brokers make topics."""
    tls: bool = True
    """Whether the brokers are spoken to with TLS."""
    ca_file: str = ""
    """Certificates that vouch for them; empty: the system's."""
    cert_file: str = ""
    """Our own certificate, where they ask for one."""
    key_file: str = ""
    """The key of that certificate."""
    sasl: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = ""
    """How the user is proven; empty: not at all."""
    user: str = ""
    """A user name."""
    password: Secret | None = None
    """Where the password lies."""
    event_bytes: Annotated[int, Meta(ge=1_000, le=16 << 20)] = 900_000
    """Bytes of a message that the topic takes (max.message.bytes)."""


class KafkaSink(Plain):
    """A producer."""

    def __init__(self, settings: Kafka) -> None:
        try:
            import confluent_kafka
        except ImportError:
            raise UsageError("the kafka sink needs confluent-kafka", hint="pip install 'afterguard[kafka]'", slug="missing-extra") from None  # fmt: skip
        self._kafka = confluent_kafka
        self._settings = settings
        self.limits = Limits(events=1_000, size=4 << 20, event=settings.event_bytes)
        self._producer: Any = None
        self._places: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Id of an alert -> its partition and offset."""

    def send(self, batch: Sequence[Item]) -> Sent:
        """Produce, and wait for every outcome."""
        outcomes: dict[int, Any] = {}
        producer = self._producer or self._open()
        try:
            for place, one in enumerate(batch):
                producer.produce(
                    self._settings.topic, one.body, key=one.key or None, headers={"id": one.id, "lane": one.lane},
                    on_delivery=lambda error, message, place=place: outcomes.__setitem__(place, (error, message)),
                )  # fmt: skip
            left = producer.flush(self._settings.timeout)
        except (self._kafka.KafkaException, BufferError) as error:
            self.close()
            raise Unavailable(f"{self._settings.topic}: {error}"[:300]) from None
        if left:
            self.close()
            raise Unavailable(f"{self._settings.brokers}: no answer in {self._settings.timeout:.0f} seconds")
        return self._sorted(batch, outcomes)

    def _sorted(self, batch: Sequence[Item], outcomes: dict[int, Any]) -> Sent:
        again, poison, why = [], {}, ""
        for place, one in enumerate(batch):
            error, message = outcomes.get(place, ("no outcome", None))
            if error is None:
                if one.lane == "alert":
                    self._places[one.id] = (message.partition(), message.offset())
            elif getattr(error, "code", lambda: 0)() in self._never():
                poison[place] = str(error)[:200]
            else:
                again.append(place)
                why = str(error)
        while len(self._places) > REMEMBERED:
            self._places.popitem(last=False)
        if len(again) == len(batch):
            self.close()
            raise Unavailable(f"{self._settings.topic}: {why}"[:300])
        return Sent(tuple(again), poison)

    def _never(self) -> tuple[int, ...]:
        error = self._kafka.KafkaError
        return (error.MSG_SIZE_TOO_LARGE, error.INVALID_MSG, error.INVALID_MSG_SIZE, error.INVALID_RECORD)

    def has(self, id: str) -> bool | None:
        """Whether the message is at the place where the brokers said they put it."""
        if id not in self._places:
            return False
        partition, offset = self._places[id]
        reader = self._kafka.Consumer(
            self._options()
            | {
                "group.id": "afterguard-canary",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
            }
        )
        try:
            reader.assign([self._kafka.TopicPartition(self._settings.topic, partition, offset)])
            until = time.monotonic() + 5.0
            while time.monotonic() < until:
                message = reader.poll(0.2)
                if message is not None and message.error() is None:
                    return ("id", id.encode()) in (message.headers() or [])
            return False
        finally:
            reader.close()

    def close(self) -> None:
        """Throw away what is on the way: it is in the spool."""
        if self._producer is not None:
            with contextlib.suppress(Exception):
                self._producer.purge()
                self._producer.flush(1.0)
        self._producer = None

    def _open(self) -> Any:
        told = self._settings
        timeout = int(told.timeout * 1000)
        self._producer = self._kafka.Producer(
            self._options()
            | {
                "enable.idempotence": True, "acks": "all", "linger.ms": 5, "compression.type": "lz4",
                "message.timeout.ms": timeout, "message.max.bytes": told.event_bytes + 10_000,
            }
        )  # fmt: skip
        return self._producer

    def _options(self) -> dict[str, Any]:
        told = self._settings
        kind = ("SASL_" if told.sasl else "") + ("SSL" if told.tls else "PLAINTEXT")
        out: dict[str, Any] = {"bootstrap.servers": told.brokers, "security.protocol": kind, "client.id": "afterguard"}
        out |= {"log_level": 0}
        for name, value in (("ssl.ca.location", told.ca_file), ("ssl.certificate.location", told.cert_file), ("ssl.key.location", told.key_file)):  # fmt: skip
            if value:
                out[name] = value
        if told.sasl:
            out |= {"sasl.mechanism": told.sasl, "sasl.username": told.user}
            out["sasl.password"] = told.password.read() if told.password else ""
        return out
