"""The guard inside an application's own process: one thread that judges, and what doors in any other thread or event loop ask of it.

In: exchanges from the application's threads and loops. Out: for every step a `Step`, to be waited for by a thread or awaited by a coroutine; decisions in the log. It opens no socket.

Theory of operation. A brain belongs to one thread: its caches have no locks, and its log waits on an event loop. So it gets a thread and a loop of its own, and whoever wants something judged sends it there. A
step costs two switches of threads; in exchange the application's event loop is never stopped by judging, and a step has a limit: where it is not there in time, the route says what holds instead, and the thread
writes down "budget" when it gets there. In mode observe nothing is waited for at all. A process that was forked has no threads but the one that forked: there the guard is made anew on first use.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from afterguard.guard import probe
from afterguard.guard.brain import Ruling
from afterguard.guard.desk import Desk
from afterguard.guard.route import Route
from afterguard.guard.session import Answer
from afterguard.guard.visit import Visit
from afterguard.guard.who import Headers
from afterguard.wire.endpoint import Endpoint
from afterguard.wire.refusal import refused

log = logging.getLogger("afterguard.guard")
T = TypeVar("T")
REQUEST_CAP = 32 << 20
"""Bytes of a request body that are read; what is longer passes unjudged or is refused, as the route says."""
REPLY_CAP = 32 << 20
"""The same of a reply that is held, or kept to be judged later."""
HANG = 30.0
"""Seconds after which a stream is broken off whose guard says nothing: what it holds back cannot be passed without it."""
LOOK = 0.5
"""Seconds between looks at how strict the routes are."""
FAREWELL = 5.0
"""Seconds the guard has to write what waits when the application ends."""
UNJUDGED = "the guard could not judge this request"


class Held(Protocol):
    """Who judges, as jobs/judging.py makes it."""

    desk: Desk

    def watch(self) -> None: ...

    def unwatch(self) -> None: ...


_here: weakref.WeakSet[Inside] = weakref.WeakSet()


def _forked() -> None:
    for one in list(_here):
        one.forget()


def _ending() -> None:
    for one in list(_here):
        one.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
atexit.register(_ending)


class Step(Generic[T]):
    """Something that the guard's thread works out."""

    __slots__ = ("future", "instead", "limit")

    def __init__(self, future: Future[T] | None, limit: float, instead: Callable[[], T]) -> None:
        self.future = future
        self.limit = limit
        self.instead = instead

    def wait(self) -> T:
        """The result, for a thread."""
        if self.future is None:
            return self.instead()
        try:
            return self.future.result(self.limit)
        except TimeoutError:
            return self.instead()

    async def awaited(self) -> T:
        """The result, for a coroutine on any event loop."""
        if self.future is None:
            return self.instead()
        try:
            async with asyncio.timeout(self.limit):
                # A caller that is cancelled must not stop the thread in the middle of a step.
                return await asyncio.shield(asyncio.wrap_future(self.future))
        except TimeoutError:
            return self.instead()


class Inside:
    """The guard of this process. Made once; doors make a `Call` for every exchange."""

    def __init__(self, make: Callable[[], Held]) -> None:
        self.make = make
        self.rulings: dict[str, Ruling] = {}
        self.routes: dict[str, Route] = {}
        self.paused: dict[Call, asyncio.TimerHandle] = {}
        """Exchanges whose client may try again, and when they are over."""
        self.forget()
        self.held()
        _here.add(self)

    def forget(self) -> None:
        """Nothing runs yet, or, after a fork, any more."""
        self.paused.clear()
        self._lock = threading.Lock()
        self._held: Held | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def held(self) -> Held:
        """Who judges, ready. Raises whatever kept it from starting: UsageError for settings that are wrong."""
        found = self._held
        if found is not None:
            return found
        with self._lock:
            if self._held is None:
                ready: Future[Held] = Future()
                self._thread = threading.Thread(
                    target=lambda: asyncio.run(self._live(ready)), name="afterguard", daemon=True
                )
                self._thread.start()
                self._held = ready.result()
            return self._held

    async def _live(self, ready: Future[Held]) -> None:
        try:
            held = self.make()
            held.watch()
        except BaseException as error:
            ready.set_exception(error)
            return
        loop = self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        looking = loop.create_task(self._look(held))
        ready.set_result(held)
        await self._end.wait()
        looking.cancel()
        held.unwatch()
        for visit in (*held.desk.open, *(call.visit for call in self.paused if call.visit is not None)):
            await visit.leave()
        await held.desk.close()

    async def _look(self, held: Held) -> None:
        while True:
            for route in list(self.routes.values()):
                self.rulings[route.name] = held.desk.brain.ruling(route)
            await asyncio.sleep(LOOK)

    def know(self, route: Route) -> None:
        """Be ready for exchanges of a route. Raises ValueError where another one has its name."""
        known = self.routes.setdefault(route.name, route)
        if known != route:
            raise ValueError(f"{route.name!r} is the name of another route already")
        self.rulings.setdefault(route.name, self.held().desk.brain.ruling(route))

    def close(self) -> None:
        """Judge and write what still waits. Nothing is judged after it: routes then do as when the guard fails."""
        with self._lock:
            thread, loop = self._thread, self._loop
            if self._is_closed or thread is None or loop is None:
                return
            self._is_closed = True
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._end.set)
        thread.join(FAREWELL)

    def page(self) -> bytes:
        """The numbers of this process, as Prometheus reads them."""
        return self.held().desk.counted().page()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T] | None:
        """Have something worked out; None where nobody is there any more."""
        self.held()
        loop = self._loop
        if loop is None or self._is_closed:
            work.close()
            return None
        try:
            return asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:
            work.close()
            return None


class Call:
    """One exchange, as a door in any thread sees it. Steps are worked out in the order in which they were asked for."""

    def __init__(self, inside: Inside, route: Route, spot: Endpoint, headers: Headers) -> None:
        self.inside = inside
        self.route = route
        self.spot = spot
        self.headers = headers
        self.started, self.wall = time.perf_counter(), time.time()
        self.visit: Visit | None = None
        self.ruling = inside.rulings[route.name]
        self.is_stopped = False
        """Whether the stream has ended here, whatever the model still says."""
        self.has_left = False
        self.asks_once = False
        """Whether the model is not to be asked again: where what answers is an application, with effects of its own."""

    def __del__(self) -> None:
        """Whoever drops it without a word has left: an exchange that stays open for ever fills the desk, and then nothing more is judged."""
        if not self.has_left and self.visit is not None:
            with contextlib.suppress(Exception):
                self.leave()

    @property
    def id(self) -> str:
        """The decision's, once the request was judged."""
        return self.visit.session.id if self.visit is not None else ""

    @property
    def again(self) -> bytes | None:
        """The request to send instead of giving the reply back, once."""
        if self.visit is None:
            return None
        found, self.visit.session.again = self.visit.session.again, None
        return found

    def _there(self) -> Visit:
        """In the guard's thread: the visit."""
        if self.visit is None:
            desk = self.inside.held().desk
            session = desk.session(self.route, self.spot, self.headers)
            if self.asks_once:
                session.asked_again = 1 << 30
            self.inside.rulings[self.route.name] = session.ruling
            self.visit = Visit(desk, session, self.started, self.wall)
            self.visit.cell = probe.sent(self.headers, desk.brain.key, self.wall)
            desk.open[self.visit] = None
        return self.visit

    def ask(self, body: bytes, encoding: str = "") -> Step[bytes | Answer]:
        """The request to send on, or what to say instead."""

        async def work() -> bytes | Answer:
            return await self._there().ask(body, encoding)

        return Step(self.inside.submit(work()), self.ruling.limit(len(body)), lambda: self._instead(body))

    def answer(self, status: int, body: bytes, encoding: str = "") -> Step[bytes | Answer]:
        """The reply to give, or what to say instead. Look at `again` after it."""

        async def work() -> bytes | Answer:
            return await self._there().answer(status, body, encoding)

        return Step(self.inside.submit(work()), self.ruling.limit(len(body)), lambda: self._instead(body))

    def _instead(self, body: bytes) -> bytes | Answer:
        """The judgement did not come in time."""
        return self.refusal("budget") or body

    def begin(self, status: int, content_type: str, encoding: str = "") -> Step[bool]:
        """A reply begins to stream; False where it passes unjudged."""

        async def work() -> bool:
            return self._there().begin(status, content_type, encoding)

        return Step(self.inside.submit(work()), HANG, self._broken)

    def feed(self, chunk: bytes) -> Step[bytes]:
        """What may leave now; look at `is_stopped` after it. Raises ConnectionResetError where the stream can only be broken off."""

        async def work() -> bytes:
            visit = self._there()
            ready = visit.feed(chunk)
            self.is_stopped = visit.is_stopped
            return ready

        return Step(self.inside.submit(work()), HANG, self._broken)

    def last(self) -> Step[bytes]:
        """What leaves at the end of a stream."""

        async def work() -> bytes:
            return b"".join([piece async for piece in self._there().last()])

        return Step(self.inside.submit(work()), HANG, self._broken)

    def _broken(self) -> Any:
        self.fail("hung")
        raise ConnectionResetError("the guard does not answer, and what it holds back cannot be passed without it")

    def refusal(self, why: str) -> Answer | None:
        """It cannot be judged: None to let it pass. Counted either way."""
        self.fail(why)
        return None if self.ruling.is_open else Answer(*refused(self.spot, UNJUDGED, "afterguard_unjudged", 400))

    # -- not waited for

    def passed(
        self, body: bytes, encoding: str, status: int, content_type: str, reply_encoding: str, reply: list[bytes]
    ) -> None:
        """Everything has passed: to be judged when there is time."""

        async def work() -> None:
            visit = self._there()
            visit.body = body
            visit.session.status = status
            visit.passed(encoding, status, content_type, reply_encoding, reply)

        self.inside.submit(work())

    def fail(self, why: str) -> None:
        """It could not be judged: counted, written down."""

        async def work() -> None:
            self._there().failed(why)

        self.inside.submit(work())

    def skip(self, reason: str, where: str, size: int = 0) -> None:
        """A part of it that nobody looks at."""

        async def work() -> None:
            self._there().session.parts.skip(reason, where, size)

        self.inside.submit(work())

    def pause(self, patience: float) -> None:
        """The client may try again: until then the exchange takes no place, and after so many seconds it is over."""

        async def work() -> None:
            visit = self._there()
            await visit.pause()
            visit.desk.open.pop(visit, None)
            self.inside.paused[self] = asyncio.get_running_loop().call_later(patience, self.leave)

        self.inside.submit(work())

    def resume(self) -> None:
        """The client tries again."""

        async def work() -> None:
            visit = self._there()
            self._unpause()
            visit.desk.open[visit] = None

        self.inside.submit(work())

    def _unpause(self) -> None:
        timer = self.inside.paused.pop(self, None)
        if timer is not None:
            timer.cancel()

    def leave(self) -> None:
        """The exchange is over."""
        if self.has_left:
            return
        self.has_left = True

        async def work() -> None:
            visit = self._there()
            self._unpause()
            try:
                await visit.leave()
            finally:
                visit.desk.open.pop(visit, None)

        self.inside.submit(work())
