"""The gRPC door of predictive models: a port that leads to one KServe v2 server, with the same sessions as the HTTP door.

In: `NAME@HOST:PORT=grpc://TARGET`. Out: every method of every service goes through as bytes; ModelInfer is judged. Streams (ModelStreamInfer) pass and are counted as unjudged, or are refused where the route fails closed. Needs the extra `grpc` (grpcio).

Refused is INVALID_ARGUMENT, held or stepped up FAILED_PRECONDITION, throttled RESOURCE_EXHAUSTED; gRPC clients do not retry the first two. The decision's id is in the trailing metadata. What goes wrong in the guard itself passes or is refused as the route says. A probe of
`guard prove`, signed in the metadata, is judged like any other call and answered here; the server is not asked.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from afterguard.errors import UsageError
from afterguard.guard import passage, probe, probe_reply, tls
from afterguard.guard.desk import Desk, Late, why
from afterguard.guard.predicting import STEP_UP, PredictSession
from afterguard.guard.session import Answer
from afterguard.model import Action
from afterguard.wire.endpoint import Endpoint
from afterguard.wire.kserve_grpc import METHOD

if TYPE_CHECKING:
    from afterguard.guard.route import Route

log = logging.getLogger("afterguard.guard")
CAP = 32 << 20
"""Bytes of a message, either way."""
BOUND = 256
"""Calls at once; more wait in the transport."""
DECISION = passage.DECISION.decode()
DROPPED = ("grpc-", ":", "user-agent", "content-type", "te", "x-afterguard-token")


class Port(NamedTuple):
    """One port and where it leads."""

    mount: str
    listen: str
    target: str
    is_secure: bool


def port(text: str) -> Port:
    """`fraud@127.0.0.1:8001=grpc://triton:8001` as a Port. Raises UsageError."""
    left, _, target = text.partition("=")
    mount, _, listen = left.strip().partition("@")
    scheme, _, place = target.strip().partition("://")
    if not (mount and listen.rpartition(":")[2].isdigit() and place and scheme in ("grpc", "grpcs")):
        raise UsageError(
            f"--grpc {text!r} is no port", hint="--grpc fraud@127.0.0.1:8001=grpc://triton:8001", slug="bad-grpc"
        )
    return Port(mount, listen, place, scheme == "grpcs")


class Secured(NamedTuple):
    """PEM files of both sides, as they hold for the HTTP door; "" for none."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    """Only clients with a certificate from it get in."""
    upstream_ca: str = ""
    """Trusted beside the system's store, for grpcs:// targets."""
    upstream_certificate: str = ""
    """Certificate and key that are shown to a target that asks."""


class GrpcDoor:
    """One port, serving."""

    def __init__(self, desk: Desk, token: bytes, route: Route, place: Port, secured: Secured = Secured()) -> None:  # noqa: B008
        self.secured = secured
        self.desk, self.token, self.route, self.place = desk, token, route, place
        self._grpc = library()
        self._server: Any = None
        self._channel: Any = None

    async def start(self) -> int:
        """Listen; the port. Raises UsageError where that is not possible."""
        aio = self._grpc.aio
        options = [("grpc.max_receive_message_length", CAP), ("grpc.max_send_message_length", CAP)]
        self._channel = (
            aio.secure_channel(self.place.target, _shown(self._grpc, self.secured), options=options)
            if self.place.is_secure
            else aio.insecure_channel(self.place.target, options=options)
        )
        self._server = aio.server(options=options, maximum_concurrent_rpcs=BOUND)
        self._server.add_generic_rpc_handlers((_handler(self._grpc, self),))
        try:
            if self.secured.certificate:
                found = self._server.add_secure_port(self.place.listen, _offered(self._grpc, self.secured))
            else:
                found = self._server.add_insecure_port(self.place.listen)
        except RuntimeError:
            raise UsageError(
                f"cannot listen on {self.place.listen} for gRPC",
                hint="another port, or end what listens there",
                slug="bad-grpc",
            ) from None
        await self._server.start()
        return int(found)

    async def close(self) -> None:
        """Finish what is under way, for a few seconds."""
        if self._server is not None:
            await self._server.stop(5)
            await self._channel.close()

    # -- one call

    async def infer(self, body: bytes, context: Any) -> bytes:
        """A ModelInfer, judged."""
        started, wall = time.perf_counter(), time.time()
        metadata = [(key, value) for key, value in context.invocation_metadata()]
        await self._admit(metadata, context)
        headers = [(key.encode(), value if isinstance(value, bytes) else value.encode()) for key, value in metadata]
        spot = Endpoint(self.route.kind, "predict", "kserve_grpc", "", False)
        session = PredictSession(self.desk.brain, self.route, spot, self.desk.new_id(), headers)
        session.peer = _peer(context.peer())
        cell = probe.sent(headers, self.desk.brain.key, wall)
        if not session.ruling.is_inline:
            return await self._observed(session, body, context, started, wall, cell)
        judging = [0.0]
        try:
            return await self._inline(session, body, context, judging, cell)
        finally:
            self.desk.write(session, wall, time.perf_counter() - started, judging[0], cell)

    async def _admit(self, metadata: list[tuple[str, Any]], context: Any) -> None:
        token = self.token
        given = dict(metadata).get(passage.TOKEN.decode(), "")
        if token and not hmac.compare_digest(str(given).encode(), token):
            await context.abort(self._grpc.StatusCode.UNAUTHENTICATED, "send the metadata x-afterguard-token")

    async def _observed(
        self, session: PredictSession, body: bytes, context: Any, started: float, wall: float, cell: probe.Cell | None
    ) -> bytes:
        reply = await self._answer(body, context, session, cell)
        context.set_trailing_metadata(((DECISION, session.id),))
        size = len(body) + len(reply)
        self.desk.late(
            Late(
                session, body, "", 200, "application/grpc", "", [reply], size, started, time.perf_counter(), wall, cell
            )
        )
        return reply

    async def _inline(
        self, session: PredictSession, body: bytes, context: Any, judging: list[float], cell: probe.Cell | None
    ) -> bytes:
        if self.desk.brain.is_killed:
            session.fail("killed")
            return await self._answer(body, context, session, cell)
        ready = await self._judged(session, body, judging, is_reply=False)
        if isinstance(ready, Answer):
            return await self._refuse(ready, session, context)
        reply = await self._answer(ready, context, session, cell)
        said = await self._judged(session, reply, judging, is_reply=True)
        if isinstance(said, Answer):
            return await self._refuse(said, session, context)
        trailing = [(key.decode(), value.decode()) for key, value in session.heads if key == STEP_UP]
        context.set_trailing_metadata((*trailing, (DECISION, session.id)))
        return said

    async def _judged(
        self, session: PredictSession, body: bytes, judging: list[float], *, is_reply: bool
    ) -> bytes | Answer:
        """The message to send on, or a refusal. Never raises."""
        began = time.perf_counter()
        try:
            exchange = session.response(200, body) if is_reply else session.request(body)
            refusal = None if is_reply else await self._over(session, len(body))
            if refusal is not None:
                return refusal
            if exchange is None:
                return body
            found = await self.desk.judge(session, exchange)
            if found is None:
                late = self._failed(session, "budget", body)
                return late if is_reply or isinstance(late, Answer) else session.unlooked(body, exchange)
            return session.backward(body, exchange, found[0]) if is_reply else session.forward(body, exchange, *found)
        except Exception as error:
            return self._failed(session, why(error), body)
        finally:
            judging[0] += time.perf_counter() - began

    async def _over(self, session: PredictSession, size: int) -> Answer | None:
        """The refusal where the caller has used too much; calls in parallel are not counted here."""
        brain = self.desk.brain
        cap = await self.desk.meter.capped(brain.measures.caps, session, size, brain.models.clock())
        if cap is not None:
            return session.refuse(cap)
        limits = brain.limits
        if limits is None:
            return None
        wait, which = await self.desk.meter.ask(
            limits, session.caller(limits.per), size, self.desk.brain.models.clock()
        )
        if not which:
            return None
        verdict = session.over(which, wait)
        return session.refuse(verdict) if verdict.action is not Action.flag else None

    def _failed(self, session: PredictSession, reason: str, body: bytes) -> bytes | Answer:
        session.fail(reason)
        return body if session.ruling.is_open else Answer(503, [], b"the guard could not judge this request")

    async def _refuse(self, answer: Answer, session: PredictSession, context: Any) -> bytes:
        code = self._grpc.StatusCode
        held = any(name in (b"x-afterguard-approval", STEP_UP) for name, _ in answer.headers)
        status = {429: code.RESOURCE_EXHAUSTED, 503: code.UNAVAILABLE}.get(
            answer.status, code.FAILED_PRECONDITION if held else code.INVALID_ARGUMENT
        )
        session.status = answer.status
        told = [
            (key.decode(), value.decode("latin-1"))
            for key, value in answer.headers
            if key.startswith((b"x-afterguard", b"retry-after"))
        ]
        trailing = (*(row for row in told if row[0] != DECISION), (DECISION, session.id))
        await context.abort(status, answer.body.decode("utf-8", "replace")[:2_000], trailing)
        raise AssertionError("abort raises")

    async def _answer(self, body: bytes, context: Any, session: PredictSession, cell: probe.Cell | None) -> bytes:
        """What the server answers, or the guard where it is a probe."""
        reply = await self._sent(METHOD, body, context, session) if cell is None else probe_reply.MESSAGE
        session.status = 200
        return reply

    async def _sent(self, method: str, body: bytes, context: Any, session: PredictSession | None = None) -> bytes:
        """What the server answers; its errors go back as they are."""
        call = self._channel.unary_unary(method)(body, metadata=_passed(context), timeout=context.time_remaining())
        try:
            reply: bytes = await call
            return reply
        except self._grpc.aio.AioRpcError as error:
            if session is not None:
                session.status = 502
                session.parts.skip("upstream_" + error.code().name.lower(), "response")
            await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
            raise

    async def passing(self, method: str, body: bytes, context: Any) -> bytes:
        """Any other method."""
        await self._admit([(key, value) for key, value in context.invocation_metadata()], context)
        return await self._sent(method, body, context)

    async def streaming(self, method: str, bodies: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        """A stream of messages: nobody looks at them."""
        await self._admit([(key, value) for key, value in context.invocation_metadata()], context)
        ruling = self.desk.brain.ruling(self.route)
        self.desk.metrics.add("afterguard_unjudged_total", self.route.name, "grpc_stream")
        if ruling.is_inline and not ruling.is_open:
            await context.abort(
                self._grpc.StatusCode.UNIMPLEMENTED, "streams are not judged, and this route fails closed"
            )
        call = self._channel.stream_stream(method)(bodies, metadata=_passed(context), timeout=context.time_remaining())
        try:
            async for reply in call:
                yield reply
        except self._grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        except asyncio.CancelledError:
            call.cancel()
            raise


def _peer(text: str) -> str:
    """ipv4:10.0.0.7:4711, ipv6:%5B::1%5D:4711 -> the address."""
    kind, _, rest = unquote(text).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


def library() -> Any:
    """grpcio. Raises UsageError where it is not installed."""
    try:
        import grpc
        import grpc.aio
    except ImportError:
        raise UsageError(
            "the gRPC door needs grpcio", hint='pip install "afterguard[grpc]"', slug="missing-extra"
        ) from None
    return grpc


def _offered(grpc: Any, secured: Secured) -> Any:
    """TLS of the port. Certificate and key are read again when their files change. Raises UsageError."""
    tls.server_context(secured.certificate, secured.key, client_ca=secured.client_ca)  # says what is wrong with a file
    authority = _read(secured.client_ca)

    def files() -> Any:
        pair = [(_read(secured.key or secured.certificate), _read(secured.certificate))]
        return grpc.ssl_server_certificate_configuration(pair, root_certificates=authority)

    def stamps() -> tuple[int, ...]:
        return tuple(os.stat(name).st_mtime_ns for name in (secured.certificate, secured.key) if name)

    known = [stamps()]

    def fresh() -> Any:
        """The files as they are now, None where nothing changed or they cannot be read: the old ones stay."""
        try:
            now = stamps()
            if now == known[0]:
                return None
            tls.server_context(secured.certificate, secured.key)
            known[0] = now
            return files()
        except (OSError, UsageError) as error:
            log.error("the gRPC port keeps its old certificate: %s", error)
            return None

    return grpc.dynamic_ssl_server_credentials(files(), fresh, authority is not None)


def _shown(grpc: Any, secured: Secured) -> Any:
    """TLS towards the target. Raises UsageError."""
    tls.client_context(ca=secured.upstream_ca, certificate=secured.upstream_certificate)
    own = _read(secured.upstream_certificate)
    roots = _read(secured.upstream_ca)
    system = ssl.get_default_verify_paths().cafile
    if roots and system:
        roots = (_read(system) or b"") + b"\n" + roots
    return grpc.ssl_channel_credentials(roots, own, own)


def _read(name: str) -> bytes | None:
    return Path(name).read_bytes() if name else None


def _passed(context: Any) -> list[tuple[str, Any]]:
    """Metadata that goes on to the server."""
    return [(key, value) for key, value in context.invocation_metadata() if not key.startswith(DROPPED)]


def _handler(grpc: Any, door: GrpcDoor) -> Any:
    """All methods of all services, as bytes."""

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            method = details.method
            if method == METHOD:
                return grpc.unary_unary_rpc_method_handler(door.infer)
            if method.endswith("StreamInfer"):

                async def stream(bodies: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
                    async for reply in door.streaming(method, bodies, context):
                        yield reply

                return grpc.stream_stream_rpc_method_handler(stream)

            async def unary(body: bytes, context: Any) -> bytes:
                return await door.passing(method, body, context)

            return grpc.unary_unary_rpc_method_handler(unary)

    return Handler()
