"""A place for the second tier to work: a small pool beside the event loop, with a deadline and a bounded queue.

In: a Judge. Out: Judgements: tier one's at once, tier two's when it comes in time, else tier one's with the reason. What came late is counted.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late

from afterguard.detect import judge as judging
from afterguard.detect.judge import First, Judge
from afterguard.model import Judgement

DEADLINE = 0.25
"""Seconds for the second tier, unless the caller says otherwise: a few windows on a busy core."""
WAITING = 32
"""Judgements that may wait for the second tier; what comes on top keeps tier one's opinion."""


class Bench:
    """Judgements in time. `late` counts those that tier two did not finish, had no room for, or failed at."""

    def __init__(self, judge: Judge, *, deadline: float = DEADLINE, threads: int = 1, waiting: int = WAITING) -> None:
        self.judge = judge
        self.deadline = deadline
        self.waiting = waiting
        self.late = 0
        self._inside = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="judge")

    def close(self) -> None:
        """End the pool; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __call__(self, text: str, origin: str, point: str = "balanced") -> Judgement:
        """Judge, waiting at most `deadline` seconds for tier two. Blocks; for a thread, not for an event loop."""
        sent, answer = self._begun(text, origin, point)
        if sent is None:
            return answer
        try:
            return self._counted(sent.result(self.deadline))
        except Late:
            sent.cancel()
            return self._counted(_with(answer, "tier two had no time"))

    async def judged(self, text: str, origin: str, point: str = "balanced") -> Judgement:
        """The same for an event loop: tier one inline, tier two off the loop."""
        sent, answer = self._begun(text, origin, point)
        if sent is None:
            return answer
        try:
            return self._counted(await asyncio.wait_for(asyncio.wrap_future(sent), self.deadline))
        except TimeoutError:
            return self._counted(_with(answer, "tier two had no time"))

    def _begun(self, text: str, origin: str, point: str) -> tuple[Future[Judgement] | None, Judgement]:
        """(the judgement to come, or None where there is nothing to wait for; what to say without it)."""
        first = judging.look(text, origin, self.judge)
        if first is None:
            return None, judging.nothing(self.judge)
        if self.judge.two is None or judging.is_settled(first, origin, self.judge):
            return None, judging.settled(text, origin, first, self.judge, point, alone=self.judge.two is None)
        answer = judging.unfinished(text, origin, first, self.judge, point, "tier two is overloaded")
        sent = self._send(text, origin, first, point)
        return sent, answer if sent else self._counted(answer)

    def _send(self, text: str, origin: str, first: First, point: str) -> Future[Judgement] | None:
        """The judgement to come; None where the queue is full or closed."""
        with self._lock:
            if self._inside >= self.waiting:
                return None
            self._inside += 1
        end = time.monotonic() + self.deadline
        try:
            future = self._pool.submit(
                judging.second, text, origin, first, self.judge, point, lambda: time.monotonic() > end
            )
        except RuntimeError:  # closed
            self._leave()
            return None
        future.add_done_callback(self._leave)
        return future

    def _leave(self, _: object = None) -> None:
        with self._lock:
            self._inside -= 1

    def _counted(self, found: Judgement) -> Judgement:
        if found.unjudged:
            with self._lock:
                self.late += 1
        return found


def _with(answer: Judgement, why: str) -> Judgement:
    """Tier one's answer with another reason."""
    return Judgement(answer.score, answer.label, answer.spans, answer.tier, answer.model, why)
