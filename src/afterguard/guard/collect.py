"""GenAI traces and events, behind /otlp/v1/traces and /otlp/v1/logs: what an OpenTelemetry SDK or collector exports over OTLP/HTTP.

In: export requests, protobuf or JSON, compressed or not. Out: OTLP's own answers, and a decision for every call of a model or tool that a span or log record tells of, judged afterwards. It is on
nobody's way: nothing waits for it and nothing becomes of what it finds. Of a prompt nothing is kept but what decisions keep.

Theory of operation. What speaks of AI is put into a bounded queue and the request is answered; a task judges the queue one by one through the desk. Where a request does not fit, the exporter is
told to come again (503), which exporters do; where it never could, what fits is taken and the rest is refused as OTLP asks for it (partial success), and counted. What can be read in two ways, or
is larger than the caps, is refused for good (400, 413), and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, NamedTuple

import msgspec

from afterguard.guard import probe
from afterguard.guard.aside import Recorded
from afterguard.guard.desk import Late, why
from afterguard.guard.door import Given, TooLong, encoding_of, whole
from afterguard.guard.passage import DECISION, TEXT, Send, answered
from afterguard.guard.route import Route
from afterguard.guard.session import Answer
from afterguard.tap import otel, otlp
from afterguard.tap.record import Place, unknown
from afterguard.wire.encoding import BadEncoding, decoded
from afterguard.wire.endpoint import Endpoint

PATHS: dict[str, otlp.What] = {"/otlp/v1/traces": "traces", "/otlp/v1/logs": "logs"}
MOUNT = b"x-afterguard-mount"
"""Names the mount whose policy is to judge, where service.name is not its name."""
NAME = "otlp"
"""Route of what belongs to no mount."""
BODY = 8 << 20
"""Bytes of a request, packed and unpacked."""
READING = 2
"""Requests that are read at once."""
WAITING = 4_096
WAITING_BYTES = 64 << 20
SLICE = 0.002
"""Seconds of reading before the event loop gets its turn."""
GIVE_WAY = 0.005
"""Seconds between two judgements while exchanges are open: they are on somebody's way, and this is not."""
LONGEST = 86_400.0
"""Seconds that a call is believed to have taken."""
JSON, PROTOBUF = b"application/json", b"application/x-protobuf"
INVALID, UNAVAILABLE = 3, 14
"""Codes of google.rpc.Status, which OTLP's errors are."""
OPERATIONS = {
    "chat": "chat",
    "text_completion": "completions",
    "completion": "completions",
    "generate_content": "generate",
    "embeddings": "embeddings",
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "LLM": "chat",
    "EMBEDDING": "embeddings",
    "TOOL": "tool",
}


class Refused(Exception):
    """The answer to give instead."""

    def __init__(self, status: int, code: int, says: str) -> None:
        super().__init__(says)
        self.status, self.code = status, code


class Waiting(NamedTuple):
    """A span or log record that waits."""

    id: str
    item: otlp.Item
    route: Route | None
    """The mount that a header named."""
    what: str
    cell: probe.Cell | None
    """Of a probe: what it proves."""
    wall: float


class Collector:
    """The door."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.desk = given.desk
        self.reading = 0
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self.is_closing = False
        self._worker: asyncio.Task[None] | None = None
        self.desk.closing.append(self._close)

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        what = PATHS.get(scope["path"])
        if what is None or scope["method"] != "POST":
            says = "OTLP is sent by POST" if what else f"OTLP is taken at {', '.join(PATHS)}"
            await answered(send, Answer(405 if what else 404, TEXT, f"afterguard: {says}\n".encode()))
            return
        headers = dict(scope["headers"])
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        is_json = kind == JSON
        try:
            if kind not in (JSON, PROTOBUF):
                raise Refused(415, INVALID, "send application/x-protobuf or application/json")
            said = await self._export(what, is_json, scope, headers, receive)
        except Refused as refused:
            self._count(what, "later" if refused.status == 503 else "refused")
            said = _refusal(refused, is_json)
        await answered(send, said)

    async def _export(
        self, what: otlp.What, is_json: bool, scope: Any, headers: dict[bytes, bytes], receive: Any
    ) -> Answer:
        if self.reading >= READING:
            raise Refused(503, UNAVAILABLE, "too many requests at once")
        self.reading += 1
        try:
            body = await _unpacked(scope, receive)
            route = self._named(headers.get(MOUNT, b"").decode("latin-1"))
            wall = time.time()
            cell = probe.sent(scope["headers"], self.desk.brain.key, wall)
            found, others = await self._read(body, what, is_json)
        finally:
            self.reading -= 1
        rejected = self._queue([Waiting(self.desk.new_id(), one, route, what, cell, wall) for one in found])
        self._count(what, "not_ai", others)
        if rejected:
            self._count(what, "rejected", rejected)
        answer = _accepted(what, rejected, is_json)
        if cell is not None and found:
            answer.headers.append((DECISION, self._waiting[-1].id.encode()))
        return answer

    async def _read(self, body: bytes, what: otlp.What, is_json: bool) -> tuple[list[otlp.Item], int]:
        """(what speaks of AI, how many others there were). Raises Refused."""
        found: list[otlp.Item] = []
        seen = 0
        try:
            rows = otlp.read(body, what, is_json)
        except otlp.Unreadable as error:
            raise Refused(413 if isinstance(error, otlp.TooMany) else 400, INVALID, str(error)) from None
        began = time.perf_counter()
        for one in rows:
            seen += 1
            if one is not None:
                found.append(one)
            if time.perf_counter() - began > SLICE:
                await asyncio.sleep(0)
                began = time.perf_counter()
        return found, seen - len(found)

    def _named(self, name: str) -> Route | None:
        """The mount of a header. Raises Refused."""
        route = self.given.mounts.routes.get(name)
        if name and route is None:
            known = ", ".join(self.given.mounts.routes)
            raise Refused(400, INVALID, f"x-afterguard-mount: no mount is called {name[:100]!r}; there are: {known}")
        return route

    # -- the queue

    def _queue(self, rows: list[Waiting]) -> int:
        """Put them into the queue; how many never fit. Raises Refused where they would fit later."""
        size = sum(one.item.size for one in rows)
        if self._waiting and (len(self._waiting) + len(rows) > WAITING or self._bytes + size > WAITING_BYTES):
            raise Refused(503, UNAVAILABLE, "the queue is full")
        taken = rows[:WAITING]
        self._waiting.extend(taken)
        self._bytes += sum(one.item.size for one in taken)
        if self._waiting and (self._worker is None or self._worker.done()):
            self._worker = asyncio.get_running_loop().create_task(self._work())
        return len(rows) - len(taken)

    async def _work(self) -> None:
        while self._waiting:
            one = self._waiting.popleft()
            self._bytes -= one.item.size
            await self._judge(one)
            await asyncio.sleep(GIVE_WAY if self.desk.open and not self.is_closing else 0)

    async def _close(self) -> None:
        self.is_closing = True
        if self._worker is not None:
            await self._worker

    async def _judge(self, one: Waiting) -> None:
        """Read a span or record as a call of a model, judge it, write it down."""
        record, about, size, problem = one.item
        place = Place(NAME, 0, size)
        failed = ""
        try:
            exchange = unknown(place, problem) if problem else otel.of(record, about, place)
        except Exception as error:
            exchange, failed = unknown(place, "unknown_shape"), why(error)
        if exchange is None:
            self._count(one.what, "not_ai")
            return
        self._count(one.what, "taken")
        route = one.route or self._route(about, exchange.provider)
        spot = Endpoint(route.kind, operation(record), "plain")
        session = Recorded(self.desk.brain, route, spot, one.id, exchange)
        if failed:
            session.fail(failed)
        started = time.perf_counter() - seconds(record)
        status = exchange.status or (500 if is_error(record) else 200)
        wall = one.wall if exchange.time is None else exchange.time
        await self.desk.settle(
            Late(session, b"", "", status, "", "", [], size, started, time.perf_counter(), wall, one.cell)
        )

    def _route(self, about: dict[str, Any], provider: str) -> Route:
        """The mount of the name of the service, or a route of its own."""
        service = about.get("service.name")
        name = service[:200] if isinstance(service, str) else ""
        found = self.given.mounts.routes.get(name)
        return found or Route(NAME, provider[:40] or "plain", "", mode="observe", app=name)

    def _count(self, what: str, outcome: str, by: int = 1) -> None:
        if by:
            self.desk.metrics.add("afterguard_collected_total", what, outcome, by=by)


async def _unpacked(scope: Any, receive: Any) -> bytes:
    """The body. Raises Refused."""
    try:
        return decoded(await whole(receive, BODY), encoding_of(scope["headers"]), BODY)
    except TooLong:
        raise Refused(413, INVALID, f"more than {BODY >> 20} MiB; export smaller batches") from None
    except BadEncoding as error:
        if str(error) == "too_long":
            raise Refused(413, INVALID, f"more than {BODY >> 20} MiB unpacked; export smaller batches") from None
        raise Refused(400, INVALID, f"content-encoding: {error}") from None


def operation(record: dict[str, Any]) -> str:
    """What was done, as decisions name it: one of few words, for numbers are kept by it."""
    names = ("gen_ai.operation.name", "openinference.span.kind", "llm.request.type")
    attributes = otel.flatten(record.get("attributes"))
    said = next((attributes[name] for name in names if isinstance(attributes.get(name), str)), "")
    return OPERATIONS.get(said, "other")


def seconds(record: dict[str, Any]) -> float:
    """How long the call took; 0 where that is not told, or not to be believed."""
    try:
        took = (int(record["endTimeUnixNano"]) - int(record["startTimeUnixNano"])) / 1e9
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0.0
    return took if 0.0 <= took <= LONGEST else 0.0


def is_error(record: dict[str, Any]) -> bool:
    """Whether the call failed."""
    status = record.get("status")
    return isinstance(status, dict) and status.get("code") in (2, "STATUS_CODE_ERROR")


# OTLP's answers. They are so small that they are written by hand, and no package is needed to refuse.


def _accepted(what: otlp.What, rejected: int, is_json: bool) -> Answer:
    says = f"{rejected} were too many for one request; export smaller batches" if rejected else ""
    if is_json:
        name = "rejectedSpans" if what == "traces" else "rejectedLogRecords"
        partial = {"partialSuccess": {name: str(rejected), "errorMessage": says}} if rejected else {}
        return Answer(200, [(b"content-type", JSON)], msgspec.json.encode(partial))
    inner = _number(1, rejected) + _text(2, says)
    return Answer(200, [(b"content-type", PROTOBUF)], _bytes(1, inner) if rejected else b"")


def _refusal(refused: Refused, is_json: bool) -> Answer:
    says = str(refused)
    headers = [(b"content-type", JSON if is_json else PROTOBUF)]
    if refused.status == 503:
        headers.append((b"retry-after", b"1"))
    if is_json:
        return Answer(refused.status, headers, msgspec.json.encode({"code": refused.code, "message": says}))
    return Answer(refused.status, headers, _number(1, refused.code) + _text(2, says))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
