"""A request that only passes: its bytes and those of the reply go on as they come, and what was said is handed over to be judged later.

In: a client's request. Out: the same request to the upstream, the same reply to the client, and everything that was said to the desk. Nothing here waits: the upstream's side calls `news` when
there is something new, the client's side `writable` when there is room again. That costs half of what a task that waits for both would.
"""

from __future__ import annotations

from afterguard.guard.passage import REPLY_CAP, Canned, Passage, typed
from afterguard.guard.upstream import Reply


class Observed(Passage):
    """One request that passes."""

    __slots__ = ("is_settled", "kept", "size")

    reply: Reply | Canned | None

    def go(self) -> None:
        """Send the request on."""
        self.kept: list[bytes] = []
        self.size = 0
        self.is_settled = False
        canned = self.canned()
        if canned is not None:
            self._probed(canned)
            return
        target = self.target()
        headers = self.outgoing(target, self.body)
        self.reply = self.upstream.start(self.client.method, target, headers, self.body, self.news)

    def _probed(self, canned: Canned) -> None:
        self.reply = canned
        self.session.status, self.session.heads = canned.status, canned.headers
        self.answers(canned.status, canned.headers)
        for chunk in canned.chunks:
            self._keep(chunk)
            self.client.write(chunk, more=True)
        self.client.write(b"", more=False)
        self.end()

    def hear(self) -> None:
        """There is more of the reply."""
        reply, client = self.reply, self.client
        assert isinstance(reply, Reply)
        if reply.headed and not client.is_begun:
            self.session.status, self.session.heads = reply.status, reply.headers
            self.answers(reply.status, reply.headers)
        data = reply.take() if reply.pending else b""
        if data:
            self._keep(data)
        is_over = reply.done and not reply.error
        if data or is_over:
            client.write(data, more=not is_over)
        if reply.error:
            self.upstream_failed(reply.error)
        if reply.done:
            self.end()
        elif client.is_stuck:
            reply.hold()
        else:
            client.flush()
            reply.go_on()

    def _keep(self, data: bytes) -> None:
        if self.size < REPLY_CAP:
            self.kept.append(data)
            self.size += len(data)

    def writable(self) -> None:
        """A client that was slow reads on."""
        if isinstance(self.reply, Reply):
            self.reply.go_on()

    def gone(self) -> None:
        """The client has left."""
        super().gone()
        if self.reply is not None:
            self.reply.cancel()
            self.session.parts.skip("upstream_cancelled", "response")
        self.end()

    def end(self) -> None:
        """It is over: hand over what was said."""
        if self.is_settled:
            return
        self.is_settled = True
        if self.size >= REPLY_CAP:
            self.session.parts.skip("too_long", "response", self.size)
        kind, encoding = typed(self.session.heads)
        self.passed(self.encoding(), self.session.status, kind, encoding, self.kept)
        self.door.left(self)
