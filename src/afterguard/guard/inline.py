"""A request of which nothing passes unjudged: it waits until it is judged, a whole reply likewise, and a streamed reply is released piece by piece.

In: a client's request. Out: what the session makes of it, to the upstream and back to the client. It knows HTTP, waiting and failing; what is said and what becomes of it is the session's.

Theory of operation. Most exchanges are judged at once, on the event loop, and nothing but the upstream has to be waited for: then each step calls the next one, and the upstream's side calls `news`. Only
where somebody else has to be waited for (another process that judges, limits that are shared, a slow client of a stream) is there a task.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from afterguard.guard.passage import REPLY_CAP, Canned, Passage, is_readable, typed
from afterguard.guard.session import STREAMS, Answer
from afterguard.guard.upstream import Reply

OF_REPLY = frozenset((b"content-encoding", b"etag", b"digest", b"content-md5"))
"""Fields of a reply that speak of the bytes of its body."""


class Inline(Passage):
    """One request that is judged on its way."""

    __slots__ = ("is_finished", "pieces", "size", "task")

    def go(self) -> None:
        """Judge the request, and go on."""
        self.task: asyncio.Task[None] | None = None
        self.is_finished = False
        ready = self.ask_now(self.body, self.encoding())
        if ready is None:
            self._later(self._asked_elsewhere())
        else:
            self._forward(ready)

    async def _asked_elsewhere(self) -> None:
        self._forward(await self.ask_rest())

    # -- waiting and failing

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on in a task."""
        self.task = self.client.connection.spawn(self._waited(work))

    async def _waited(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            self.end()
            if not self.client.is_gone:
                raise
        except Exception as error:
            self.broke(error)
        finally:
            if self.task is asyncio.current_task():
                self.task = None

    def gone(self) -> None:
        """The client has left: nobody waits for the upstream any more, but what has come is still judged and written down."""
        super().gone()
        if self.reply is not None:
            self.reply.cancel()
        elif self.task is not None:
            self.task.cancel()
        if self.task is None:
            self.session.parts.skip("upstream_cancelled", "response")
            self.end()

    def end(self) -> None:
        """The exchange is over."""
        if self.is_finished:
            return
        self.is_finished = True
        if self.is_counted:
            self.client.connection.spawn(self._left())
            return
        try:
            self.written()
        finally:
            self.door.left(self)

    async def _left(self) -> None:
        try:
            await self.leave()
        finally:
            self.door.left(self)

    # -- the way there

    def _forward(self, ready: bytes | Answer) -> None:
        """Send the request on, or answer it."""
        if self.client.is_gone:
            self.end()
            return
        if isinstance(ready, Answer):
            self.say(ready)
            self.end()
            return
        self.pieces: list[bytes] = []
        self.size = 0
        canned = self.canned()
        if canned is not None:
            self.session.keep()
            self._heads(canned)
            self._later(self._probed(canned))
            return
        target = self.target()
        headers = self.outgoing(target, ready)
        self.reply = self.upstream.start(self.client.method, target, headers, ready, self.news)
        self.session.keep()

    def _heads(self, reply: Reply | Canned) -> None:
        self.reply = reply
        self.session.status, self.session.heads = reply.status, reply.headers

    def _is_stream(self, reply: Reply | Canned, kind: str, encoding: str) -> bool:
        return self.session.may_stream and kind.startswith(STREAMS) and reply.status < 400 and is_readable(encoding)

    async def _probed(self, reply: Canned) -> None:
        kind, encoding = typed(reply.headers)
        if self._is_stream(reply, kind, encoding):
            await self._streamed(reply, kind, encoding)
        else:
            self._judge(reply.status, b"".join(reply.chunks), encoding)

    # -- the way back

    def hear(self) -> None:
        """There is more of the reply."""
        reply = self.reply
        assert isinstance(reply, Reply)
        if not reply.headed:
            raise reply.failure()
        if not self.pieces:
            self._heads(reply)
            kind, encoding = typed(reply.headers)
            if self._is_stream(reply, kind, encoding):
                reply.tell = None
                self._later(self._streamed(reply, kind, encoding))
                return
        if reply.pending:
            self.size += reply.unread
            self.pieces.append(reply.take())
            if self.size > REPLY_CAP:
                reply.tell = None
                self._later(self._too_long(reply))
                return
        if reply.error:
            raise reply.failure()
        if reply.done:
            body = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
            self._judge(reply.status, body, typed(reply.headers)[1])
        else:
            reply.go_on()

    def _judge(self, status: int, body: bytes, encoding: str) -> None:
        """Judge a whole reply, and go on."""
        ready = self.answer_now(status, body, encoding)
        if ready is None:
            self._later(self._answered_elsewhere(status, body))
        else:
            self._give(status, body, ready)

    async def _answered_elsewhere(self, status: int, body: bytes) -> None:
        self._give(status, body, await self.answer_rest(body))

    def _give(self, status: int, body: bytes, ready: bytes | Answer) -> None:
        """Give a whole reply back, or ask for another one."""
        if self.session.again is not None:
            following, self.session.again = self.session.again, None
            self.reply = None
            self._forward(following)
            return
        if not self.client.is_gone:
            if isinstance(ready, Answer):
                self.say(ready)
            else:
                headers = self.session.heads
                if ready is not body:
                    headers = [pair for pair in headers if pair[0].lower() not in OF_REPLY]
                self.answers(status, headers, len(ready))
                self.client.write(ready, more=False)
        self.end()

    async def _too_long(self, reply: Reply) -> None:
        refusal = self.failed("too_long")
        if refusal is None:
            await self._unseen(reply, self.pieces)
        else:
            reply.cancel()
            if not self.client.is_gone:
                self.say(refusal)
        self.end()

    async def _unseen(self, reply: Reply | Canned, pieces: list[bytes]) -> None:
        """Pass a reply as it comes."""
        if self.client.is_gone:
            return
        self.answers(reply.status, reply.headers)
        for piece in pieces:
            await self._more(piece)
        async for chunk in self._chunks(reply):
            await self._more(chunk)
        self._last()

    async def _streamed(self, reply: Reply | Canned, kind: str, encoding: str) -> None:
        headers = reply.headers
        if not self.begin(reply.status, kind, encoding):
            await self._unseen(reply, [])
            self.end()
            return
        if encoding and encoding != "identity":
            headers = [pair for pair in headers if pair[0].lower() != b"content-encoding"]
        if not self.client.is_gone:
            self.answers(reply.status, headers)
            if not (isinstance(reply, Reply) and reply.pending):
                self.client.flush()
        async for chunk in self._chunks(reply):
            await self._more(self.feed(chunk))
            if self.is_stopped:
                reply.cancel()
                break
        if not self.client.is_gone:
            async for piece in self.last():
                await self._more(piece)
        self._last()
        self.end()

    async def _chunks(self, reply: Reply | Canned) -> AsyncIterator[bytes]:
        # Of a client that has left too: what has come is judged, and then the reply says that it was cancelled.
        while chunk := await reply.chunk():
            yield chunk

    async def _more(self, chunk: bytes) -> None:
        client = self.client
        if client.is_stuck and not client.is_gone:
            await client.drained()
        if client.is_gone:
            return
        if chunk:
            client.write(chunk, more=True)
        else:
            client.flush()

    def _last(self) -> None:
        if not self.client.is_gone:
            self.client.write(b"", more=False)
