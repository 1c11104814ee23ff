"""A conversation with an application under test, in whatever way its target file names.

In: a Target and Prompts. Out: Replies. History, ids and cookies of the conversation are kept here. Whatever the target does becomes a fixed word in `error`.
"""

from __future__ import annotations

import time
from typing import Protocol
from urllib.parse import urljoin

import msgspec

from afterguard import net
from afterguard.attack.contract import Prompt, Reply
from afterguard.targets import dialects, reading, template
from afterguard.targets.audit import Record
from afterguard.targets.document import Open, Target, Template, Then, Through
from afterguard.targets.door import MARK, Away, Door, refused, word
from afterguard.targets.load import http
from afterguard.targets.mcp import Tool
from afterguard.targets.scored_way import Rows
from afterguard.targets.websocket import Socket

__all__ = ["MARK", "Talking"]


class Way(Protocol):
    """How one kind of target is spoken to."""

    def begin(self) -> None:
        """Another conversation."""

    def say(self, prompt: Prompt) -> Reply:
        """One turn. Raises Away."""


class Talking:
    """See the file. One conversation at a time; a Prompt that is new begins another."""

    def __init__(self, target: Target, run: str, through: Through = "direct") -> None:
        self.target = target.through(through)
        self.door = Door(self.target, run)
        self._way = _way(self.target, self.door)
        self._record = Record(self.target, self.target.audit, self.door) if self.target.audit else None

    def ask(self, prompt: Prompt) -> Reply:
        """One turn."""
        began, sent = time.monotonic(), self.door.sent
        prompt = msgspec.structs.replace(
            prompt, identity=prompt.identity or next(iter(self.target.knows.identities), "")
        )
        try:
            if prompt.is_new:
                self.door.cookies.clear()
                self._way.begin()
            if self._record is not None:
                self._record.begin(prompt.identity)
            found = self._way.say(prompt)
            if self._record is not None:
                found = msgspec.structs.replace(found, calls=(*found.calls, *self._record.fresh(prompt.identity)))
        except Away as why:
            found = Reply(error=str(why), status=0)
        told = max(1, self.door.sent - sent)
        return msgspec.structs.replace(found, seconds=time.monotonic() - began, requests=told)


def _way(target: Target, door: Door) -> Way:
    if target.template is not None:
        session = _Session(target, door)
        if target.kind == "websocket":
            return Socket(target, target.template, door, session)
        return _Templated(target, target.template, door, session)
    if target.scoring is not None:
        return Rows(target, target.scoring, door)
    return Tool(target, target.mcp, door) if target.mcp is not None else _Provider(target, door)


class _Session:
    """The id of a conversation, and the request that opens it."""

    def __init__(self, target: Target, door: Door) -> None:
        self.target, self.door = target, door
        self.id = ""
        self._is_open = False

    def begin(self) -> None:
        self.id, self._is_open = "", False

    def words(self, prompt: Prompt) -> dict[str, str]:
        """What the template may name, once the session is open. Raises Away."""
        if self.target.open is not None and not self._is_open:
            self._open(self.target.open, prompt)
            self._is_open = True
        return template.words(prompt, self.id)

    def _open(self, one: Open, prompt: Prompt) -> None:
        words = template.words(prompt, "")
        body, kind = template.encoded(template.filled(one.body, words), one.form) if one.body is not None else (None, "")  # fmt: skip
        headers = {"content-type": kind} if kind else {}
        url = template.address(urljoin(http(self.target.url), one.url), {}, words)
        got = self.door.ask(one.method, url, headers | template.filled(self.target.headers, words), body)
        # A form that logs in mostly answers with a redirect; its cookie is what counts.
        if got.status >= 400 or (got.status >= 300 and one.take):
            raise Away(word(got.status))
        if one.take:
            reply, self.id = template.answer(got.headers, got.body, "", "", one.take)
            if not self.id:
                raise Away(reply.error or "unreadable")


class _Templated:
    """Any interface over HTTP."""

    def __init__(self, target: Target, one: Template, door: Door, session: _Session) -> None:
        self.target, self.template, self.door, self.session = target, one, door, session

    def begin(self) -> None:
        self.session.begin()

    def say(self, prompt: Prompt) -> Reply:
        one, words = self.template, self.session.words(prompt)
        body, kind = (None, "") if one.body is None else template.encoded(template.filled(one.body, words), one.form)
        headers = ({"content-type": kind} if kind else {}) | template.filled(self.target.headers, words)
        url = template.address(self.target.url, one.query, words)
        got = self.door.ask(one.method, url, headers, body, template.ending(one))
        if (found := refused(self.target, got)) is not None:
            return found
        if one.then is not None:
            return self._fetched(one.then, got, words, headers)
        reply, id = template.answer(got.headers, got.body, one.reply, one.stream, one.conversation)
        self.session.id = id or self.session.id
        return msgspec.structs.replace(reply, status=got.status)

    def _fetched(self, then: Then, first: net.Reply, words: dict[str, str], headers: dict[str, str]) -> Reply:
        """The answer to which the first reply holds a ticket, as soon as it is there. Raises Away."""
        until = time.monotonic() + self.target.timeout
        _, ticket = template.answer(first.headers, first.body, "", "", then.ticket)
        if not ticket:
            raise Away("unreadable")
        url = template.address(urljoin(self.target.url, then.url), {}, words | {"ticket": ticket})
        told = {name: value for name, value in headers.items() if name != "content-type"}
        while True:
            got = self.door.ask("GET", url, told, None, template.ending(self.template))
            if (found := refused(self.target, got)) is not None:
                return found
            one = self.template
            reply, id = template.answer(got.headers, got.body, one.reply, one.stream, one.conversation)
            if not reply.error or time.monotonic() + then.every >= until:
                self.session.id = id or self.session.id
                return msgspec.structs.replace(reply, status=got.status)
            time.sleep(then.every)


class _Provider:
    """One of the providers' protocols; the history goes along with each request."""

    def __init__(self, target: Target, door: Door) -> None:
        self.target, self.door = target, door
        self.turns: list[tuple[Prompt, Reply]] = []

    def begin(self) -> None:
        self.turns = []

    def say(self, prompt: Prompt) -> Reply:
        body = msgspec.json.encode(dialects.body(self.target, self.turns, prompt))
        own = template.filled(self.target.headers, {"identity": prompt.identity})
        headers = {"content-type": "application/json", **dialects.HEADERS.get(self.target.kind, {}), **own}
        got = self.door.ask("POST", self.target.url, headers, body, reading.Ending())
        found = refused(self.target, got) or reading.provider(got.headers, got.body)
        if not found.error and not found.is_blocked:
            self.turns.append((prompt, found))
        return msgspec.structs.replace(found, status=got.status)
