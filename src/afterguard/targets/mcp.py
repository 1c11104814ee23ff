"""A tool of an MCP server as a target, over streamable HTTP.

In: Prompts. Out: Replies: the text of the tool's result. A session is opened for each conversation, and the tool looked for once. A result that says it is an error is no answer, and its text is kept.
"""

from __future__ import annotations

from typing import Any

import msgspec

from afterguard import net
from afterguard.attack.contract import Prompt, Reply
from afterguard.targets import reading, template
from afterguard.targets.document import Mcp, Target
from afterguard.targets.door import Away, Door, is_blocked, word
from afterguard.wire import mcp
from afterguard.wire.parts import Parts

VERSION = "2025-06-18"
PAGES = 20
"""Pages of a list of tools that are read."""
CLIENT = {"protocolVersion": VERSION, "capabilities": {}, "clientInfo": {"name": "afterguard", "version": "1"}}
ACCEPT = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


class Tool:
    """See the file."""

    def __init__(self, target: Target, named: Mcp, door: Door) -> None:
        self.target, self.named, self.door = target, named, door
        self._number = 0
        self._session: dict[str, str] | None = None
        self._is_known = False

    def begin(self) -> None:
        """What is a tool and no more has no conversation; one that talks begins another."""
        if not self.named.example:
            self._session = None

    def say(self, prompt: Prompt) -> Reply:
        if self._session is None:
            self._open()
        words = template.words(prompt, "")
        arguments = {**template.filled(self.named.arguments, words), self.named.argument: words["prompt"]}
        try:
            got, found = self._call("tools/call", {"name": self.named.tool, "arguments": arguments})
        except Away:
            self._session = None  # It may have gone; the next turn opens another.
            raise
        if is_blocked(self.target, got):
            return Reply(got.body[:2_000].decode("utf-8", "replace"), status=got.status, is_blocked=True)
        return read(found)

    def _open(self) -> None:
        self._session = {}
        try:
            got, found = self._call("initialize", CLIENT)
            result = found.get("result")
            if not isinstance(result, dict):
                raise Away("unreadable")
            id, version = got.headers.get("mcp-session-id", ""), str(result.get("protocolVersion") or VERSION)
            self._session = {"mcp-protocol-version": version[:40]} | ({"mcp-session-id": id[:1_000]} if id else {})
            self._send({"jsonrpc": "2.0", "method": "notifications/initialized"}, None)
            if not self._is_known:
                self._look()
        except Away:
            self._session = None
            raise

    def _look(self) -> None:
        cursor: Any = None
        for _ in range(PAGES):
            _, found = self._call("tools/list", {"cursor": cursor} if cursor else {})
            result = found.get("result")
            listed = result.get("tools") if isinstance(result, dict) else None
            if not isinstance(result, dict) or not isinstance(listed, list):
                raise Away("unreadable")
            if any(isinstance(one, dict) and one.get("name") == self.named.tool for one in listed):
                self._is_known = True
                return
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str) or not cursor:
                break
        raise Away("no-such-tool")

    def _call(self, method: str, params: dict[str, Any]) -> tuple[net.Reply, dict[str, Any]]:
        """The reply to one call, and the message in it that answers. Raises Away."""
        self._number += 1
        got = self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}, self._number)
        if got.status >= 300:
            if is_blocked(self.target, got):
                return got, {}
            raise Away(word(got.status))
        return got, answer(got, self._number)

    def _send(self, message: dict[str, Any], id: int | None) -> net.Reply:
        headers = {**ACCEPT, **(self._session or {}), **self.target.headers}
        ending = None if id is None else reading.Ending(lambda data: _answers(_decoded(data), id))
        return self.door.ask("POST", self.target.url, headers, msgspec.json.encode(message), ending)


def answer(got: net.Reply, id: int) -> dict[str, Any]:
    """The message that answers a call, of a reply that is one or a stream of them. Raises Away."""
    try:
        text = reading.plain(got.headers, got.body)
        found = reading.events(text)[0] if reading.is_stream(got.headers, text) else [reading.decoded(text)]
    except reading.Unreadable as why:
        raise Away(str(why)) from None
    for one in found:
        if _answers(one, id):
            whole: dict[str, Any] = one
            return whole
    raise Away("unreadable")


def read(found: dict[str, Any]) -> Reply:
    """What the result of a tool says."""
    result = found.get("result")
    if not isinstance(result, dict):
        failed = found.get("error")
        return Reply(str(failed.get("message") or "")[:2_000] if isinstance(failed, dict) else "", error="tool-error")
    parts = Parts()
    mcp.response(found, parts)
    # Content and structured content mostly say the same.
    texts = [one.value for one in parts.texts if ".structuredContent" not in one.where] or [one.value for one in parts.texts]  # fmt: skip
    return Reply("".join(texts), error="tool-error" if result.get("isError") else "")


def _answers(one: Any, id: int) -> bool:
    return isinstance(one, dict) and one.get("id") == id and ("result" in one or "error" in one)


def _decoded(data: str) -> Any:
    try:
        return reading.decoded(data)
    except reading.Unreadable:
        return None
