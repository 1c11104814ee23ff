"""A request of which nothing passes unjudged: it waits until it is judged, a whole reply likewise, and a streamed reply is released piece by piece.

In: a client's request. Out: what the session makes of it, to the upstream and back to the client. It knows HTTP, waiting and failing; what is said and what becomes of it is the session's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from afterguard.guard.passage import REPLY_CAP, Canned, Passage, is_readable, typed
from afterguard.guard.session import STREAMS, Answer
from afterguard.guard.turn import log
from afterguard.guard.upstream import Reply, UpstreamBroken, UpstreamUnreachable

OF_REPLY = frozenset((b"content-encoding", b"etag", b"digest", b"content-md5"))
"""Fields of a reply that speak of the bytes of its body."""


class Inline(Passage):
    """One request that is judged on its way."""

    __slots__ = ("task",)

    def go(self) -> None:
        """Begin; the rest is a task."""
        self.task = self.client.connection.spawn(self.carry())

    async def carry(self) -> None:
        """Take the request over and the answer back."""
        try:
            await self._carried()
        except asyncio.CancelledError:
            if not self.client.is_gone:
                raise
        except (UpstreamUnreachable, UpstreamBroken) as error:
            self.upstream_failed(error.reason)
        except ConnectionResetError:  # a stream that was promised to be readable and is not
            self.client.cut()
        except Exception:
            log.exception("an exchange failed")
            if not (self.client.is_gone or self.client.is_over):
                self.client.fail()
        finally:
            try:
                await self.leave()
            finally:
                self.door.left(self)

    def gone(self) -> None:
        """The client has left: nobody waits for the upstream any more, but what has come is still judged and written down."""
        super().gone()
        if self.reply is not None:
            self.reply.cancel()
        else:
            self.task.cancel()

    async def _carried(self) -> None:
        ready = await self.ask(self.body, self.encoding())
        if isinstance(ready, Answer):
            self._say(ready)
            return
        reply = await self._sent(ready)
        kind, encoding = typed(reply.headers)
        if self.session.may_stream and kind.startswith(STREAMS) and reply.status < 400 and is_readable(encoding):
            await self._streamed(reply, kind, encoding)
        else:
            await self._whole(reply, encoding)

    async def _sent(self, body: bytes) -> Reply | Canned:
        target = self.target()
        headers = self.outgoing(target, body)
        reply: Reply | Canned | None = self.canned()
        if reply is None:
            reply = await self.upstream.send(self.client.method, target, headers, body)
        self.reply = reply
        self.session.status, self.session.heads = reply.status, reply.headers
        return reply

    async def _whole(self, reply: Reply | Canned, encoding: str) -> None:
        pieces: list[bytes] = []
        size = 0
        async for chunk in self._chunks(reply):
            pieces.append(chunk)
            size += len(chunk)
            if size > REPLY_CAP:
                await self._too_long(reply, pieces)
                return
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self.client.is_gone:
            return
        ready = await self.answer(reply.status, body, encoding)
        if self.session.again is not None:
            following, self.session.again = self.session.again, None
            self.reply = None
            reply = await self._sent(following)
            await self._whole(reply, typed(reply.headers)[1])
            return
        if self.client.is_gone:
            return
        if isinstance(ready, Answer):
            self.say(ready)
            return
        headers = self.session.heads
        if ready is not body:
            headers = [pair for pair in headers if pair[0].lower() not in OF_REPLY]
        self.answers(reply.status, headers, len(ready))
        self.client.write(ready, more=False)

    def _say(self, answer: Answer) -> None:
        if not self.client.is_gone:
            self.say(answer)

    async def _too_long(self, reply: Reply | Canned, pieces: list[bytes]) -> None:
        refusal = self.failed("too_long")
        if refusal is not None:
            reply.cancel()
            self._say(refusal)
            return
        await self._unseen(reply, pieces)

    async def _unseen(self, reply: Reply | Canned, pieces: list[bytes]) -> None:
        """Pass a reply as it comes."""
        if self.client.is_gone:
            return
        self.answers(reply.status, reply.headers)
        for piece in pieces:
            await self._more(piece)
        async for chunk in self._chunks(reply):
            await self._more(chunk)
        self._finish()

    async def _streamed(self, reply: Reply | Canned, kind: str, encoding: str) -> None:
        headers = reply.headers
        if not self.begin(reply.status, kind, encoding):
            await self._unseen(reply, [])
            return
        if encoding and encoding != "identity":
            headers = [pair for pair in headers if pair[0].lower() != b"content-encoding"]
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
        self._finish()

    async def _chunks(self, reply: Reply | Canned) -> AsyncIterator[bytes]:
        while True:
            chunk = await reply.chunk()
            if not chunk or self.client.is_gone:
                return
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

    def _finish(self) -> None:
        if not self.client.is_gone:
            self.client.write(b"", more=False)
