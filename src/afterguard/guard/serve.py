"""Run the door: sockets, worker processes, and leaving without losing a request.

In: a function that builds an ASGI application, an address, bounds. Out: an exit code, when told to stop.
It will not read a configuration, decide about a request, or print.

Theory of operation. The parent binds one listening socket a worker, with SO_REUSEPORT, so that the kernel spreads connections evenly, and keeps them open. It forks
the workers before anything heavy is imported; each builds the application for itself and serves its socket under uvicorn (uvloop, llhttp).
Because the parent holds the sockets, nothing is lost while a worker is replaced: connections wait in the kernel's queue. A worker that dies is started again at once,
then at growing intervals; one that hangs (liveness.py) is killed and started again.

Signals, to the parent:
- TERM, INT: stop listening, let what is under way end (at most `drain` seconds), leave with 0. A second one ends it at once.
- HUP: start new workers on the same sockets, wait until they serve, then drain the old ones. A new policy and new certificates are read that way.

Another version takes over like this: start the new process with `takeover`, and when it is ready send TERM to the old one. Both hold the
address for a moment. Without `takeover` an address in use is an error, because two guards on one address would share the traffic unseen.

Draining. For `linger` seconds idle connections stay open, and the next answer on each says `connection: close`, so that busy clients leave between two requests
and not in the middle of one; then what is idle is closed, then what is late.

Without fork (or with `supervise=False`) the application runs in this process; HUP calls `app.reload()` where there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import msgspec
import uvicorn

from afterguard.errors import AfterguardError, UsageError
from afterguard.guard.gate import Bounds, Gate, GatedConfig, GatedConnection, Refusal, refusal
from afterguard.guard.listening import bound, resolved, stop
from afterguard.guard.liveness import Pulse

Build = Callable[[Gate], Any]
"""Makes the ASGI application (with lifespan), in the process that will run it."""

log = logging.getLogger("afterguard.guard")
READY, ALIVE = b"r", b"a"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Terms(msgspec.Struct, frozen=True):
    """How to serve. Seconds where a time is meant."""

    listen: str = "127.0.0.1:8484"
    tls: Callable[[], ssl.SSLContext] | None = None
    """Called in each worker, so that a HUP reads new certificates."""
    workers: int = 1
    supervise: bool = True
    takeover: bool = False
    backlog: int = 2048
    drain: float = 30.0
    linger: float = 2.0
    start: float = 120.0
    """A new worker must serve within this."""
    hang: float = 5.0
    """A worker that stands still for so long is killed; 0 for never. See liveness.py."""
    buried: Callable[[int], None] | None = None
    """Called in the parent with the process id of each worker that has ended."""
    bounds: Bounds = Bounds()


def serve(
    build: Build, terms: Terms, *, refuse: Refusal = refusal, ready: Callable[[list[int]], None] | None = None
) -> int:
    """Serve until told to stop; the exit code. `ready` is called once with the ports, when requests are answered. Raises UsageError for the address."""
    sockets = listeners(terms)
    ports = [sock.getsockname()[1] for sock in sockets]
    announce = (lambda: ready(ports)) if ready else _nothing
    if terms.supervise and hasattr(os, "fork"):
        return _Supervisor(build, terms, refuse, sockets, announce).run()
    return work(build, terms, refuse, sockets, announce)


def _nothing() -> None:
    pass


def _always() -> bool:
    return True


# Sockets.


def listeners(terms: Terms) -> list[socket.socket]:
    """Bound sockets, one a worker, not listening yet: none gets a connection before its worker can answer."""
    family, address = resolved(terms.listen)
    try:
        if not terms.takeover:
            bound(family, address, shared=False).close()
        first = bound(family, address, shared=True)
        address = (address[0], first.getsockname()[1], *address[2:])
        return [first] + [bound(family, address, shared=True) for _ in range(terms.workers - 1)]
    except OSError as error:
        hint = "Choose another --listen, stop what is there, or take over from another guard with --takeover."
        raise UsageError(
            f"can not listen on {terms.listen}: {error.strerror}", hint=hint, slug="guard-listen"
        ) from error


# One process that serves.


class _Server(uvicorn.Server):
    """uvicorn's server with a sweep, signals that end in an exit code, and a drain that does not cut clients off."""

    config: GatedConfig

    def __init__(self, config: GatedConfig, terms: Terms, ready: Callable[[], None], alive: Callable[[], bool]) -> None:
        super().__init__(config)
        self.terms = terms
        self.ready = ready
        self.alive = alive
        self.signals = STOP_SIGNALS if alive is _always else (signal.SIGTERM,)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, GatedConnection):
                    connection.sweep(now)
            if not self.alive():
                self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.gate.draining = True
        for server, sock in zip(self.servers, sockets or [], strict=False):
            await stop(server, sock, self._connection, self.config.ssl)
        for connection in list(self.server_state.connections):
            if isinstance(connection, GatedConnection):
                connection.last_request()
        until = time.monotonic() + min(self.terms.linger, self.terms.drain)
        while self.server_state.connections and time.monotonic() < until and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def _connection(self) -> GatedConnection:
        return GatedConnection(self.config, self.server_state, self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """TERM and INT end `serve` with 0 instead of killing the process by the same signal afterwards."""
        try:
            before = {which: signal.signal(which, self.handle_exit) for which in self.signals}
        except ValueError:  # not the main thread: whoever runs us there sets should_exit
            yield
            return
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def work(
    build: Build,
    terms: Terms,
    refuse: Refusal,
    sockets: list[socket.socket],
    ready: Callable[[], None],
    alive: Callable[[], bool] = _always,
) -> int:
    """Serve in this process until told to stop; the exit code."""
    _many_files()
    gate = Gate(terms.bounds, refuse)
    app = build(gate)
    config = configuration(app, gate, terms)
    server = _Server(config, terms, ready, alive)
    reload = getattr(app, "reload", None)
    if not terms.supervise and hasattr(signal, "SIGHUP"):
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGHUP, lambda *_: reload() if reload else None)
    try:
        server.run(sockets)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def configuration(app: Any, gate: Gate, terms: Terms) -> GatedConfig:
    """uvicorn without whatever writes, rewrites or adds to what passes. An application that raises ConnectionResetError cuts its reply short."""
    factory = terms.tls
    config = GatedConfig(
        app,
        loop="uvloop",
        http=GatedConnection,
        ws="none",
        interface="asgi3",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        workers=1,
        backlog=terms.backlog,
        timeout_graceful_shutdown=max(1, round(terms.drain - terms.linger)),
        ssl_context_factory=(lambda *_: factory()) if factory else None,
    )
    config.gate = gate
    return config


def _many_files() -> None:
    """A connection is a file twice over; the soft limit is often 1024."""
    try:
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 65536)), hard))
    except (ImportError, ValueError, OSError):
        return


# The parent.


class _Worker(msgspec.Struct):
    """A child process and the pipe on which it says that it lives."""

    pid: int
    pipe: int
    place: int
    """Index of its socket."""
    born: float
    pulse: Pulse
    serving: bool = False
    leaving: bool = False


class _Supervisor:
    """Keeps one worker on each socket."""

    def __init__(
        self, build: Build, terms: Terms, refuse: Refusal, sockets: list[socket.socket], ready: Callable[[], None]
    ) -> None:
        self.build, self.terms, self.refuse, self.sockets, self.ready = build, terms, refuse, sockets, ready
        self.workers: dict[int, _Worker] = {}
        self.wake, self.waker = os.pipe()
        self.life, self.our_life = os.pipe()
        self.announced = False
        self.stopping = 0
        self.code = 0
        self.failures = [0] * len(sockets)
        self.due: dict[int, float] = {}

    def run(self) -> int:
        before = self._catch_signals()
        try:
            for place in range(len(self.sockets)):
                self._start(place)
            while self.workers or (self.due and not self.stopping):
                self._turn()
        finally:
            for worker in self.workers.values():
                _kill(worker.pid, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for which, handler in before.items():
                signal.signal(which, handler)
            for sock in self.sockets:
                sock.close()
            for end in (self.wake, self.waker, self.life, self.our_life, *(w.pipe for w in self.workers.values())):
                os.close(end)
        return self.code

    def _catch_signals(self) -> dict[signal.Signals, Any]:
        """All of them arrive as bytes in a pipe, in order."""
        os.set_blocking(self.waker, False)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        return {
            which: signal.signal(which, lambda *_: None) for which in (*STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD)
        }

    def _turn(self) -> None:
        pipes = {worker.pipe: worker for worker in self.workers.values()}
        readable, _, _ = select.select([self.wake, *pipes], [], [], 0.25)
        for end in readable:
            said = os.read(end, 4096)
            if end == self.wake:
                self._signalled(set(said))
            else:
                self._heard(pipes[end], said)
        self._bury()
        now = time.monotonic()
        self._look_after(now)
        for place in [place for place, when in self.due.items() if when <= now and not self.stopping]:
            del self.due[place]
            self._start(place)

    def _signalled(self, said: set[int]) -> None:
        for _ in said.intersection(STOP_SIGNALS):
            self._stop()
        if signal.SIGHUP in said and not self.stopping:
            staying = [worker for worker in self.workers.values() if not worker.leaving]
            newest = {worker.place: worker for worker in sorted(staying, key=lambda worker: worker.born)}
            for worker in newest.values():
                if worker.serving:  # one that is coming up already will be new enough
                    self._start(worker.place)

    def _heard(self, worker: _Worker, said: bytes) -> None:
        worker.pulse.heard(time.monotonic())
        if READY not in said:
            return
        worker.serving = True
        for older in self.workers.values():
            if older.place == worker.place and older.born < worker.born:
                self._retire(older)
        places = {w.place for w in self.workers.values() if w.serving}
        if not self.announced and len(places) == len(self.sockets):
            self.announced = True
            self.ready()

    def _stop(self) -> None:
        """First time: drain. Second time: now."""
        self.stopping += 1
        for sock in self.sockets:
            sock.close()
        for worker in self.workers.values():
            if self.stopping > 1:
                _kill(worker.pid, signal.SIGKILL)
            else:
                self._retire(worker)

    def _retire(self, worker: _Worker) -> None:
        if not worker.leaving:
            worker.leaving = True
            worker.born = time.monotonic()
            _kill(worker.pid, signal.SIGTERM)

    def _look_after(self, now: float) -> None:
        """Kill who hangs, who does not come up, who does not leave."""
        for worker in self.workers.values():
            age = now - worker.born
            if worker.leaving:
                late = age > self.terms.drain + 10
            elif worker.serving:
                late = bool(self.terms.hang) and worker.pulse.hangs(now, self.terms.hang, worker.pid)
            else:
                late = age > self.terms.start
            if late:
                log.error("worker %d does not answer and is ended", worker.pid)
                _kill(worker.pid, signal.SIGKILL)

    def _bury(self) -> None:
        for pid in list(self.workers):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            worker = self.workers.pop(pid)
            os.close(worker.pipe)
            if self.terms.buried is not None:
                self.terms.buried(pid)
            if not worker.leaving and not self.stopping:
                self._lost(worker, os.waitstatus_to_exitcode(status))

    def _lost(self, worker: _Worker, code: int) -> None:
        """A worker ended by itself. One that never served at the start ends the guard; later ones are tried again."""
        place = worker.place
        if not self.announced and not worker.serving:
            self.code = code if code > 0 else 1
            self._stop()
            return
        if any(w.place == place and not w.leaving for w in self.workers.values()):
            log.error("the new worker ended with %d before it served; the old one stays", code)
            return
        self.failures[place] = 1 if time.monotonic() - worker.born > 10 else self.failures[place] + 1
        pause = 0.0 if self.failures[place] == 1 else min(30.0, 0.1 * 2 ** min(self.failures[place], 9))
        log.error("worker %d ended with %d; the next one starts in %.1f s", worker.pid, code, pause)
        self.due[place] = time.monotonic() + pause

    def _start(self, place: int) -> None:
        ours, theirs = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        now = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            self._child(place, theirs)
        os.close(theirs)
        self.workers[pid] = _Worker(pid, ours, place, now, Pulse(now))

    def _child(self, place: int, pipe: int) -> None:
        """Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent says when to leave
            for end in (self.wake, self.waker, self.our_life, *(w.pipe for w in self.workers.values())):
                os.close(end)
            for other, sock in enumerate(self.sockets):
                if other != place:
                    sock.close()
            os.set_blocking(pipe, False)
            sockets = [self.sockets[place]]
            code = work(
                self.build, self.terms, self.refuse, sockets, lambda: _tell(pipe, READY), lambda: self._alive(pipe)
            )
        except AfterguardError as error:
            log.error("%s. %s", error, error.hint)
            code = error.exit_code
        except BaseException:
            log.exception("the worker could not start")
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _alive(self, pipe: int) -> bool:
        """Tells the parent; False when there is none any more."""
        _tell(pipe, ALIVE)
        return not select.select([self.life], [], [], 0)[0]


def _tell(pipe: int, what: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(pipe, what)


def _kill(pid: int, which: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, which)
