"""A request as the reverse proxy takes it: whole, and answered without an application in between.

In: what the connection reads. Out: the request to the door as soon as it is whole and its turn has come; bytes of the answer, as `Turn` frames them. It judges nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from afterguard.guard.turn import Turn, log

if TYPE_CHECKING:
    from afterguard.guard.gate import GatedConnection
    from afterguard.guard.route import Place

REQUEST_CAP = 32 << 20
"""Bytes of a request body; more is refused with 413."""


class Crossing(Protocol):
    """Whoever carries a request over and its answer back."""

    def gone(self) -> None:
        """The client has left."""

    def writable(self) -> None:
        """A client that was slow reads on."""


class Door(Protocol):
    """Who takes requests."""

    def place(self, path: bytes) -> Place | None:
        """Where a path leads, percent-encoded as it came; None where it is not this door's."""

    def take(self, client: Client) -> None:
        """A request that is whole, too long (`is_too_long`), or will never be whole (`is_gone`)."""


class Client(Turn):
    """One request of a client."""

    __slots__ = ("body", "crossing", "door", "headers", "is_taken", "is_too_long", "is_turn", "path", "pieces", "place", "query", "size")  # fmt: skip

    def __init__(
        self,
        connection: GatedConnection,
        method: bytes,
        version: str,
        keep_alive: bool,
        door: Door,
        place: Place,
        path: bytes,
        query: bytes,
    ) -> None:
        super().__init__(connection, method, version, keep_alive)
        self.door = door
        self.place = place
        self.path = path
        """As it came, percent-encoded."""
        self.query = query
        self.headers = connection.headers
        """Names in lower case."""
        self.body = b""
        self.pieces: list[bytes] = []
        self.size = 0
        self.is_turn = self.is_taken = self.is_too_long = False
        self.crossing: Crossing | None = None

    @property
    def peer(self) -> str:
        """Address of the client's end."""
        return self.connection.peer

    @property
    def is_stuck(self) -> bool:
        """Whether the client reads too slowly for more."""
        return self.connection.is_stuck

    async def drained(self) -> None:
        """Wait until the client has read, or has left."""
        await self.connection.drained()

    def start(self) -> None:
        """The answers before are given."""
        self.is_turn = True
        if self.is_whole or self.is_too_long:
            self._taken()
        else:
            self.let_send()

    def feed(self, body: bytes) -> None:
        """A piece of the request's body."""
        if self.is_too_long:
            return
        self.pieces.append(body)
        self.size += len(body)
        if self.size > REQUEST_CAP:
            self.is_too_long = True
            self.pieces.clear()
            if self.is_turn:
                self._taken()

    def whole(self) -> None:
        """The request is whole."""
        self.is_whole = True
        if self.is_too_long:
            return
        pieces = self.pieces
        self.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self.is_turn:
            self._taken()

    def _taken(self) -> None:
        if self.is_taken:
            return
        self.is_taken = True
        try:
            self.door.take(self)
        except Exception:
            log.exception("a request could not be taken")
            if not self.is_over:
                self.fail()

    def gone(self) -> None:
        """The client has left."""
        self.is_gone = True
        if self.crossing is not None:
            self.crossing.gone()
        elif self.is_turn:
            self._taken()

    def writable(self) -> None:
        """A client that was slow reads on."""
        if self.crossing is not None:
            self.crossing.writable()
