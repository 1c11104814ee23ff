"""Events of one log added up into assets: one entry per (kind, name), in bounded memory, with the first line each was seen on.

In: Events. Out: Assets with counts, hours, caller families and the period. Two marks make a claim: a known host is two, a path
nobody else uses is two, everything weaker is one and needs a second sign. Client addresses are counted through a keyed
hash that dies with the process; no address, query or identifier leaves this file.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from functools import cache, lru_cache
from hashlib import blake2b

from afterguard.catalog import load
from afterguard.discover import shapes, signals, stamps
from afterguard.discover.events import Event, host_of
from afterguard.discover.inventory import ONE_MARK
from afterguard.model import Asset, AssetKind, Certainty, Edge, Evidence

CLIENTS = 10_000
NAMES = 5_000
HOURS = 24 * 400
PLACES = 8
OPAQUE = re.compile(r"\A(?:\d+|[0-9a-fA-F-]{12,}|[A-Za-z0-9_~-]*\d[A-Za-z0-9_~-]{19,}|.*(?:@|%40).*|.{65,})\Z")
SECRET = re.compile(r"(?:sk|pk|hf|gsk|xai|AIza|eyJ|ghp|key|token)[-_]?[A-Za-z0-9_-]{12,}")
SLOW_SECONDS = 1.0
SMALL_BYTES = 4096
REPEATED = 3
REFUSED = frozenset({301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 501})
DENIED = frozenset({403, 407})
PREDICTIVE = frozenset({"predict", "prediction", "predictions", "infer", "inference", "classify", "score"})
VAGUE = frozenset({"ask", "generate", "agent", "classify", "summarize", "summarise"})
OWN = shapes.Shape("own", "POST", 2, "own", "ai_endpoint")
KIND_OF_HOST = {
    "provider": AssetKind.provider,
    "gateway": AssetKind.provider,
    "staff_tool": AssetKind.provider,
    "coding_tool": AssetKind.provider,
    "vector_store": AssetKind.vector_store,
    "observability": AssetKind.framework,
    "registry": AssetKind.provider,
}


class Entry:
    """What was seen of one asset. Grows no further than CLIENTS hashes and PLACES places."""

    def __init__(self, kind: AssetKind, name: str, certainty: Certainty) -> None:
        self.kind, self.name, self.certainty = kind, name, certainty
        self.requests = self.bytes = 0
        self.clients: set[bytes] = set()
        self.first: float | None = None
        self.last: float | None = None
        self.undated: list[float] = []
        self.assumed = False
        self.agents: dict[str, int] = {}
        self.places: dict[str, int] = {}
        self.edges: dict[Edge, None] = {}
        self.attributes: dict[str, str] = {}
        self.source = ""
        self.hours: dict[int, int] = {}
        self.denied = 0

    def add(self, event: Event, matched: str, client: bytes, agent: str) -> None:
        """Count one more event."""
        self.requests += 1
        self.bytes += event.bytes
        if client and len(self.clients) < CLIENTS:
            self.clients.add(client)
        if event.time is not None and event.dated:
            self.first = event.time if self.first is None else min(self.first, event.time)
            self.last = event.time if self.last is None else max(self.last, event.time)
            self.assumed = self.assumed or not event.zoned
            hour = int(event.time // 3600)
            if hour in self.hours or len(self.hours) < HOURS:
                self.hours[hour] = self.hours.get(hour, 0) + 1
        if agent and (agent in self.agents or len(self.agents) < 16):
            self.agents[agent] = self.agents.get(agent, 0) + 1
        if matched not in self.places and len(self.places) < PLACES:
            self.places[matched] = event.line

    def asset(self, path: str, source: str) -> Asset:
        """The entry as an Asset with evidence in `path`."""
        facts = dict(self.attributes)
        facts["requests"] = str(self.requests)
        if self.denied:
            facts["denied"] = str(self.denied)
        if self.bytes:
            facts["bytes"] = str(self.bytes)
        if self.clients:
            full = len(self.clients) >= CLIENTS
            facts["distinct_clients"] = f"{CLIENTS}+" if full else str(len(self.clients))
        if self.first is not None and self.last is not None:
            facts["first_hour"], facts["last_hour"] = stamps.hour(self.first), stamps.hour(self.last)
        if self.hours:
            facts["peak_per_hour"] = str(max(self.hours.values()))
        if self.assumed:
            facts["time_zone"] = "assumed"
        if self.agents:
            facts["user_agent"] = max(sorted(self.agents), key=lambda name: self.agents[name])
        evidence = tuple(
            Evidence(path, line, matched, source)
            for matched, line in sorted(self.places.items(), key=lambda one: one[1])
        )
        return Asset(
            self.kind, self.name, self.certainty, evidence, tuple(self.edges), "", dict(sorted(facts.items())), self.first,
            self.last,
        )  # fmt: skip


class Tally:
    """Adds up the events of one file."""

    def __init__(self, path: str, source: str = "traffic") -> None:
        self.path, self.source = path, source
        self.entries: dict[tuple[AssetKind, str], Entry] = {}
        self.weak: dict[tuple[str, str], list[tuple[Event, shapes.Shape]]] = {}
        self.words: dict[str, _Word] = {}
        self.refused = self.outward = 0
        self.first: float | None = None
        self.last: float | None = None
        self.salt = secrets.token_bytes(16)

    def entry(self, kind: AssetKind, name: str, certainty: Certainty = Certainty.inferred) -> Entry | None:
        """The entry of an asset, None when the file names more than NAMES (counted in `refused`)."""
        known = self.entries.get((kind, name))
        if known is None:
            if len(self.entries) >= NAMES:
                self.refused += 1
                return None
            known = self.entries[(kind, name)] = Entry(kind, name, certainty)
        return known

    def count(self, event: Event, kind: AssetKind, name: str, matched: str, **facts: str) -> Entry | None:
        """Add an event to an asset; `facts` become attributes, the first value of each stays."""
        entry = self.entry(kind, name)
        if entry is None:
            return None
        self._add(entry, event, matched, shapes.agent(event.agent) if event.agent else None, **facts)
        return entry

    def _add(self, entry: Entry, event: Event, matched: str, agent: shapes.Agent | None, **facts: str) -> None:
        entry.add(event, matched, self._client(event.client), agent.family if agent else "")
        for key, value in facts.items():
            if value:
                entry.attributes.setdefault(key, value)

    def _client(self, address: str) -> bytes:
        if not address:
            return b""
        return blake2b(address.encode("utf-8", "replace"), key=self.salt, digest_size=8).digest()

    def see(self, event: Event) -> None:
        """Note the time of an event, AI or not, for the period the log covers."""
        if event.time is not None:
            self.first = event.time if self.first is None else min(self.first, event.time)
            self.last = event.time if self.last is None else max(self.last, event.time)

    def add(self, event: Event) -> bool:
        """Judge one event and count what it shows; whether it showed anything."""
        agent = shapes.agent(event.agent) if event.agent else None
        if agent and agent.use == "crawler":
            return True
        signal = signals.host(event.host.removeprefix("www."), event.path) if event.host else None
        if signal is None and event.upstream:
            signal = signals.host(event.upstream, event.path)
            if signal:
                event = _sent_to(event, event.upstream)
        if signal is not None:
            self.outward += 1
            self._outward(event, signal, agent)
            return True
        if event.channel == "http" and event.path:
            return self._own(event, agent)
        return False

    def _outward(self, event: Event, signal: signals.HostSignal, agent: shapes.Agent | None) -> None:
        staff = signal.kind in ("staff_tool", "coding_tool") or bool(agent and agent.use == "staff")
        shape = shapes.path(event.method, event.path) if event.path else None
        kind = KIND_OF_HOST[signal.kind]
        name = event.host if signal.kind in ("staff_tool", "coding_tool") else signal.provider
        if kind is AssetKind.provider and signal.provider in _cloud_services():
            kind = AssetKind.cloud_ai_service
        entry = self.count(
            event, kind, name, matched(event), host=event.host, region=signal.region, provider=signal.provider,
            channel=event.channel, use="staff" if staff else "model_download" if signal.kind == "registry" else "application",
        )  # fmt: skip
        if entry is not None and event.status in DENIED:
            entry.denied += 1
        if shape and shape[1] and entry is not None and signal.kind in ("provider", "gateway"):
            task = AssetKind.embedding_model if shape[0].task == "embedding" else AssetKind.model
            entry.edges.setdefault(Edge("serves", task, shape[1]))
            self.count(
                event, task, shape[1], matched(event), provider=signal.provider, task=shape[0].task, host=event.host
            )

    def _own(self, event: Event, agent: shapes.Agent | None) -> bool:
        found = shapes.path(event.method, event.path)
        if event.status in REFUSED:
            return False
        if found is None:
            return self._word(event, agent)
        shape, model = found
        marks = shape.marks + _second(event, agent, shape)
        if marks >= 2:
            self.claim(event, shape, model)
            return True
        if shape.family:
            self._sibling(event, shape)
        if shape.method == "POST" and event.method == "POST":
            return self._word(event, agent)
        return False

    def _word(self, event: Event, agent: shapes.Agent | None) -> bool:
        """A path of one's own that sounds like AI: one mark. The reply's kind, the caller or the whole log give the second."""
        word = shapes.word(event.path) if event.method == "POST" and not 300 <= event.status < 600 else ""
        if not word:
            return False
        if "event-stream" in event.media or (agent and agent.use == "sdk"):
            self.claim(event, OWN, "")
            return True
        name = f"{event.method} {tidy(event.path)}"
        known = self.words.get(name)
        if known is None and len(self.words) < NAMES:
            known = self.words[name] = _Word(word, Entry(AssetKind.ai_endpoint, name, Certainty.unresolved))
        if known is not None:
            known.add(event)
            self._add(known.entry, event, matched(event), agent, host=event.host)
        return False

    def _sibling(self, event: Event, shape: shapes.Shape) -> None:
        """Two different paths of one product on one host are two marks."""
        held = self.weak.setdefault((event.host or event.upstream, shape.family), [])
        if len(held) < 64:
            held.append((event, shape))
        if len({one.id for _, one in held}) >= 2:
            for old, known in held:
                self.claim(old, known, "")
            held.clear()
            held.append((event, shape))

    def claim(self, event: Event, shape: shapes.Shape, model: str) -> None:
        """Count an AI interface of our own, and what stands behind it where the port or the path tells."""
        kind = AssetKind(shape.kind)
        if kind is AssetKind.vector_store:
            self.count(event, kind, shape.product, matched(event), host=event.host)
            return
        name = f"{event.method} {tidy(event.path)}" if kind is AssetKind.ai_endpoint else event.host or tidy(event.path)
        entry = self.count(event, kind, name, matched(event), host=event.host, api=shape.api, task=shape.task)
        if entry is None:
            return
        if model:
            entry.edges.setdefault(Edge("calls", AssetKind.model, model))
            self.count(event, AssetKind.model, model, matched(event), task=shape.task)
        server = _server(event, shape)
        if server:
            entry.edges.setdefault(Edge("calls", AssetKind.inference_server, server))
            self.count(event, AssetKind.inference_server, server, matched(event), host=event.host or event.upstream)

    def assets(self) -> Iterator[Asset]:
        """All assets, in a stable order."""
        for name, word in self.words.items():
            sign = word.second() or (ONE_MARK if word.entry.requests >= REPEATED else "")
            if sign and (AssetKind.ai_endpoint, name) not in self.entries and len(self.entries) < NAMES:
                word.entry.attributes["sign"] = sign
                self.entries[(AssetKind.ai_endpoint, name)] = word.entry
        self.words.clear()
        for key in sorted(self.entries, key=lambda one: (one[0].value, one[1])):
            yield self.entries[key].asset(self.path, self.source)


class _Word:
    """A path that sounds like AI, watched over the whole log for a second sign."""

    def __init__(self, word: str, entry: Entry) -> None:
        self.word, self.entry = word, entry
        self.slow = self.timed = self.small = 0

    def add(self, event: Event) -> None:
        """Look at one more request."""
        self.timed += event.seconds > 0
        self.slow += event.seconds >= SLOW_SECONDS
        self.small += 0 < event.bytes <= SMALL_BYTES

    def second(self) -> str:
        """What the log as a whole adds: replies that take as long as a model does, or a predictor's many small answers."""
        if self.word in PREDICTIVE:
            count = self.entry.requests
            return "many small answers" if count >= 10 and self.small >= 0.9 * count else ""
        if self.word in VAGUE:
            return ""
        return "slow answers" if self.timed >= 5 and self.slow >= 0.5 * self.timed else ""


def _sent_to(event: Event, target: str) -> Event:
    host, port = host_of(target)
    return Event(
        event.line, host, port, event.method, event.path, event.time, event.zoned, event.dated, event.status, event.bytes,
        event.seconds, event.client, event.agent, event.media, "", event.channel,
    )  # fmt: skip


def _second(event: Event, agent: shapes.Agent | None, shape: shapes.Shape) -> int:
    """How many further signs stand beside the path: an SDK, an event stream, a known port, an upstream that is an AI server."""
    marks = 0
    if (
        agent
        and agent.use in ("sdk", "staff")
        and (not agent.api or agent.api == shape.api or shape.api in ("mcp", "a2a"))
    ):
        marks += 1
    if "event-stream" in event.media:
        marks += 1
    for number in (event.port, _port_of(event.upstream)):
        known = shapes.port(number) if number else None
        if known and shape.api in known[2]:
            marks += 1
    return marks


def _server(event: Event, shape: shapes.Shape) -> str:
    for number in (event.port, _port_of(event.upstream)):
        known = shapes.port(number) if number else None
        if known and known[1] == "inference_server" and shape.api in known[2] and not known[3]:
            return known[0]
    return {"tensorflow-serving": "tensorflow-serving", "torchserve": "torchserve", "kserve-v2": "triton"}.get(
        shape.api, ""
    )


def _port_of(text: str) -> int:
    tail = text.rpartition(":")[2]
    return int(tail) if tail.isascii() and tail.isdigit() and len(tail) <= 5 else 0


@cache
def _cloud_services() -> frozenset[str]:
    return frozenset(load("signals/audit_events")["cloud_services"])


@lru_cache(maxsize=65536)
def tidy(path: str) -> str:
    """A path with numbers, identifiers, addresses and anything secret-shaped replaced by "*"."""
    parts = path[:512].split("/")
    return "/".join("*" if OPAQUE.match(part) or SECRET.search(part) else part for part in parts[:12])


def matched(event: Event) -> str:
    """What is shown of an event: method, host and tidied path; never a query, a client or an identity."""
    return shown(event.channel, event.method, event.host, event.port, event.path)


@lru_cache(maxsize=65536)
def shown(channel: str, method: str, host: str, port: int, path: str) -> str:
    """The text of `matched` from its parts."""
    target = host[:120] + (tidy(path) if path else f":{port}" if port else "")
    return (f"{method} {target}" if channel == "http" else f"{channel} {target}").strip()[:200]
