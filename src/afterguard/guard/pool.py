"""Judging away from the event loop: other processes, for large texts and for the judge's second tier.

In: Exchanges. Out: Hits, and the judgements of texts that were made on the way, for the caller's cache, and the status lines of its tools. Exchanges travel as MessagePack; workers keep caches of their own, and know nothing of earlier exchanges. A worker
that dies is replaced, and its exchange counts as failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import msgspec

from afterguard import judges
from afterguard.detect import Context, Past, look_on
from afterguard.detect import judge as judging
from afterguard.detect.judge import tier_two
from afterguard.detect.judged import key_of
from afterguard.detect.prefilter import Memory, memory, remember
from afterguard.detect.status_lines import StatusLines
from afterguard.guard.brain import Agreed, Brain
from afterguard.guard.garbage import settled
from afterguard.guard.who import pseudonym
from afterguard.model import Exchange, Hit, Judgement, Origin, Text, Trust

WAITING = 64
"""Exchanges that may wait; what comes on top is refused at once."""
Lines = dict[str, list[str]]
"""Tool -> the status lines it gave."""


class Thinking(msgspec.Struct, frozen=True):
    """What a worker needs to think like the process that asks it."""

    key: bytes
    """Of the pseudonyms."""
    judge: str = "two"
    """off, one or two."""
    point: str = "balanced"
    canaries: dict[str, str] = {}


class Busy(Exception):
    """Too much waits already."""


class Pool:
    """Worker processes with a bounded queue."""

    def __init__(self, thinking: Thinking, brain: Brain, workers: int = 1, waiting: int = WAITING) -> None:
        self.thinking = thinking
        self.brain = brain
        self.workers = workers
        self.waiting = waiting
        self.inside = 0
        self._pool = self._made()

    def _made(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self.workers, context, _begin, (msgspec.msgpack.encode(self.thinking), memory()))
        for _ in range(self.workers):
            pool.submit(_warm)
        return pool

    async def ready(self) -> None:
        """Wait until the workers can answer at once."""
        await asyncio.gather(*(asyncio.wrap_future(self._pool.submit(_warm)) for _ in range(self.workers)))

    async def __call__(self, exchange: Exchange, past: Past) -> tuple[list[Hit], Past]:
        """(hits, past of the next turn). Raises Busy, or BrokenProcessPool where the worker died."""
        if self.inside >= self.waiting:
            raise Busy
        self.inside += 1
        try:
            known = self.brain.context.lines.of(_tools(exchange))
            sent = self._pool.submit(_inspect, msgspec.msgpack.encode(exchange), past, self.brain.agreed, known)
            sent.add_done_callback(self._left)
        except BrokenProcessPool:
            self._left(None)
            self._replace()
            raise
        try:
            data, after = await asyncio.wrap_future(sent)
        except BrokenProcessPool:
            self._replace()
            raise
        hits, judgements, lines = msgspec.msgpack.decode(data, type=tuple[list[Hit], dict[str, Judgement], Lines])
        self.brain.context.lines.adopt(lines)
        for key, found in judgements.items():
            self.brain.context.judgements.put(key, found)
        return hits, after

    def _left(self, _: object) -> None:
        self.inside -= 1

    def _replace(self) -> None:
        broken, self._pool = self._pool, self._made()
        broken.shutdown(wait=False)

    def close(self) -> None:
        """End the workers; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


_context: list[Any] = []


def _begin(data: bytes, kept: Memory | None = None) -> None:
    """In the worker: detectors ready, less important than the event loop."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if kept is not None:
        remember(kept)
    if hasattr(os, "nice"):
        os.nice(10)
    thinking = msgspec.msgpack.decode(data, type=Thinking)
    learned: dict[str, Judgement] = {}
    context = context_of(thinking, learned)
    _context[:] = [context, learned]
    texts = tuple(Text("ready when you are", origin, Trust.user, "warm") for origin in Origin)
    look_on(Exchange("warm", "", 0, "openai", texts=texts), context)
    settled()


def _leave_with_parent() -> None:
    """A serving process that is killed can not end its workers, and a pool's worker waits for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def context_of(thinking: Thinking, learned: dict[str, Judgement] | None = None, *, doubting: bool = False) -> Context:
    """Caches, pseudonyms and the judge as `thinking` says. Judgements are also put into `learned`; a judge that is `doubting` only reads n-grams, in
    microseconds, and counts the texts it would have asked a network about, be it only for a glance."""

    context = Context(partial(pseudonym, thinking.key))
    context.canaries = thinking.canaries
    if thinking.judge == "off":
        return context
    by = judges.load()
    tier = "one" if thinking.judge == "one" else ""

    def opinion(text: str, origin: str) -> Judgement:
        found = judging.judge(text, origin, by, thinking.point, tier)
        if learned is not None:
            learned[key_of(text, origin)] = found
        return found

    def near(text: str, origin: str) -> Judgement:
        first = judging.look(text, origin, by)
        if first is None:
            return judging.nothing(by)
        doubtful = by.two is not None and not judging.is_settled(first, origin, by)
        context.doubts += doubtful
        return judging.settled(text, origin, first, by, thinking.point, alone=doubtful or by.two is None)

    def passage(text: str, origin: str) -> float | None:
        return judging.passage(text, origin, by)

    def unasked(text: str, origin: str) -> float | None:
        context.doubts += 1
        return None

    context.opinion = near if doubting else opinion
    if by.two is not None and thinking.judge == "two":
        context.passage = unasked if doubting else passage
    return context


def open_judge() -> None:
    """Open the judge's network where it is to be asked in this process: otherwise the first doubtful text waits for that, a third of a second."""
    by = judges.load()
    first = judging.look("Ready when you are.", "user", by)
    if by.two is None or first is None:
        return
    with contextlib.suppress(tier_two.Failed):
        tier_two.glance("Ready when you are.", "user", first.reading, by.two)
        tier_two.read("Ready when you are.", "user", first.reading, by.two)


def _warm() -> int:
    return len(_context)


def _tools(exchange: Exchange) -> set[str]:
    """Whose results are in it."""
    return {text.name for text in exchange.texts if text.name}


def _inspect(data: bytes, past: Past, agreed: Agreed, known: Lines) -> tuple[bytes, Past]:
    context, learned = _context
    agreed.put_into(context)
    # Which lines a tool gave is known to the brain alone: else a verdict would depend on which helper has seen what.
    context.lines = StatusLines()
    context.lines.adopt(known)
    exchange = msgspec.msgpack.decode(data, type=Exchange)
    learned.clear()
    hits, after = look_on(exchange, context, past)
    lines = context.lines.of(_tools(exchange))
    return msgspec.msgpack.encode(([hit for hit in hits if hit.kind != "inventory"], learned, lines)), after
