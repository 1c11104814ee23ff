"""A target that is spoken to over a WebSocket: one message a turn, one connection a conversation.

In: Prompts. Out: Replies: the first message with a text at the template's path, or pieces up to its end. Needs the package `websockets`. Bounded in time, messages and bytes; what comes in vain (greetings, signs of typing) is passed over.
"""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any, Protocol

from afterguard.attack.contract import Prompt, Reply
from afterguard.errors import UsageError
from afterguard.targets import reading, template
from afterguard.targets.document import Target, Template
from afterguard.targets.door import MARK, Away, Door, word

MESSAGES = 2_000
"""Messages that are read for one reply."""
QUEUE = 2
"""Messages that wait to be read, each up to the cap."""


class Session(Protocol):
    """The id of the conversation."""

    id: str

    def begin(self) -> None: ...

    def words(self, prompt: Prompt) -> dict[str, str]:
        """What the template may name. Raises Away."""


class Socket:
    """See the file."""

    def __init__(self, target: Target, one: Template, door: Door, session: Session) -> None:
        self.target, self.template, self.door, self.session = target, one, door, session
        self._line: Any = None
        if find_spec("websockets") is None:
            raise UsageError("kind websocket needs the package websockets", hint="pip install 'afterguard[websocket]'", slug="missing-extra")  # fmt: skip

    def begin(self) -> None:
        self.session.begin()
        self._close()

    def say(self, prompt: Prompt) -> Reply:
        from websockets.exceptions import WebSocketException

        until = time.monotonic() + self.target.timeout
        words = self.session.words(prompt)
        try:
            if self._line is None:
                self._line = self._connected(words)
            data, _ = template.encoded(template.filled(self.template.body, words), False)
            self.door.sent += 1
            self._line.send(data.decode("utf-8"))
            return self._heard(until)
        except (OSError, ValueError, WebSocketException) as error:
            self._close()
            raise Away(_word(error)) from None
        except Away:
            self._close()
            raise

    def _connected(self, words: dict[str, str]) -> Any:
        from websockets.sync.client import connect

        headers = {MARK: self.door.run, **template.filled(self.target.headers, words)}
        if self.door.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.door.cookies.items())
        url = template.address(self.target.url, self.template.query, words)
        return connect(
            url, additional_headers=headers, open_timeout=self.target.timeout, close_timeout=0.5, max_size=reading.CAP,
            max_queue=QUEUE, compression=None, proxy=None, ping_interval=None, user_agent_header=None,
        )  # fmt: skip

    def _heard(self, until: float) -> Reply:
        pieces: list[str] = []
        size = 0
        for _ in range(MESSAGES):
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            message = self._line.recv(timeout=left)
            size += len(message)
            if size > reading.CAP:
                raise Away("too-large")
            text = message if isinstance(message, str) else plain(message)
            said, piece, id, is_end = heard(self.template, text)
            self.session.id = id or self.session.id
            if said is not None:
                return Reply(said)
            pieces.append(piece)
            if is_end:
                return Reply("".join(pieces))
        raise Away("too-large")

    def _close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


def heard(one: Template, text: str) -> tuple[str | None, str, str, bool]:
    """Of one message: the whole reply, or a piece of it, an id of the conversation, whether the reply ends."""
    if not one.reply and not one.stream:
        return text, "", "", False
    try:
        found = reading.decoded(text)
    except reading.Unreadable:
        raise Away("unreadable") from None
    id = template.id_at(found, one.conversation)
    said = template.at(found, one.reply) if one.reply else None
    piece = template.at(found, one.stream) if one.stream and one.stream != template.DATA else None
    is_end = bool(one.end and template.at(found, one.end))
    return (said if isinstance(said, str) else None), piece if isinstance(piece, str) else "", id, is_end


def plain(message: bytes) -> str:
    """A binary message as text. Raises Away."""
    try:
        return reading.plain({}, message)
    except reading.Unreadable as why:
        raise Away(str(why)) from None


def _word(error: Exception) -> str:
    import ssl

    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return word(status) if status >= 300 else "unreadable"
    if isinstance(error, ConnectionClosed):
        return "too-large" if error.sent is not None and error.sent.code == 1009 else "broken-off"
    if isinstance(error, (InvalidMessage, InvalidHandshake, ValueError)):
        return "unreadable"
    if isinstance(error, TimeoutError):
        return "timeout"
    return "tls-error" if isinstance(error, ssl.SSLError) else "unreachable" if isinstance(error, OSError) else "unreadable"  # fmt: skip
