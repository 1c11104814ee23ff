"""A conversation with an application under test, over HTTP.

In: a Target and Prompts. Out: Replies; the history, the id of the conversation and cookies are kept here. Whatever the target does becomes a fixed word in `error`: a redirect, silence, gigabytes, another format.
"""

from __future__ import annotations

import time
from http.cookies import CookieError, SimpleCookie
from typing import Any

import msgspec

from afterguard import net
from afterguard.attack.contract import Prompt, Reply
from afterguard.errors import Unreachable
from afterguard.targets import openai_chat, template
from afterguard.targets.document import IDENTITY, Target

CAP = 4 << 20
MARK = "x-afterguard-assessment"
"""Header that tells a SOC that a request is ours, with the run's id."""
SLUGS = {"too-slow": "timeout", "too-large": "too-large"}


class Talking:
    """See the file. One conversation at a time; a Prompt that is new begins another."""

    def __init__(self, target: Target, run: str) -> None:
        self.target, self.run = target, run
        self._begin()

    def _begin(self) -> None:
        self._history: list[dict[str, Any]] = []
        self._conversation = ""
        self._cookies: dict[str, str] = {}

    def ask(self, prompt: Prompt) -> Reply:
        """One turn."""
        if prompt.is_new:
            self._begin()
        began = time.monotonic()
        try:
            body = msgspec.json.encode(self._body(prompt))
            method = self.target.template.method if self.target.template else "POST"
            got = net.ask(
                method, self.target.url, allow=(self.target.host,), headers=self._headers(prompt), body=body,
                cap=CAP, whole=self.target.timeout, silence=self.target.timeout, is_plain=True,
            )  # fmt: skip
        except Unreachable as error:
            return Reply(error=SLUGS.get(error.slug, "unreachable"), status=0, seconds=time.monotonic() - began)
        self._taste(got.headers.get("set-cookie", ""))
        found = self._read(got, prompt)
        return msgspec.structs.replace(found, status=got.status, seconds=time.monotonic() - began)

    def _headers(self, prompt: Prompt) -> dict[str, str]:
        cookies = (
            {"cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())} if self._cookies else {}
        )
        told = {name: value.replace(IDENTITY, self._identity(prompt)) for name, value in self.target.headers.items()}
        return {"content-type": "application/json", MARK: self.run, **cookies, **told}

    def _identity(self, prompt: Prompt) -> str:
        return prompt.identity or next(iter(self.target.knows.identities), "")

    def _body(self, prompt: Prompt) -> Any:
        if self.target.template is not None:
            return template.filled(
                self.target.template.body,
                template.words(msgspec.structs.replace(prompt, identity=self._identity(prompt)), self._conversation),
            )
        return openai_chat.body(self.target, self._history, prompt)

    def _taste(self, header: str) -> None:
        try:
            self._cookies |= {name: morsel.value for name, morsel in SimpleCookie(header).items()}
        except CookieError:
            return

    def _read(self, got: net.Reply, prompt: Prompt) -> Reply:
        if self._is_blocked(got):
            return Reply(text=got.body[:2_000].decode("utf-8", "replace"), is_blocked=True)
        if got.status >= 300:
            return Reply(error=_word(got.status))
        found = openai_chat.decoded(got.body)
        if found is None:
            return Reply(error="unreadable")
        if self.target.template is not None:
            return self._by_template(found)
        said, message = openai_chat.reply(found)
        if message is not None:
            self._history += [*openai_chat.messages(prompt), message]
        return said

    def _by_template(self, found: Any) -> Reply:
        assert self.target.template is not None
        text = template.at(found, self.target.template.reply)
        if self.target.template.conversation:
            self._conversation = str(template.at(found, self.target.template.conversation) or "")
        return Reply(text) if isinstance(text, str) else Reply(error="unreadable")

    def _is_blocked(self, got: net.Reply) -> bool:
        blocked = self.target.blocked
        if blocked.status or blocked.contains:
            says = blocked.contains.encode() in got.body
            return says and (not blocked.status or got.status in blocked.status)
        return got.status == 400 and "x-afterguard-decision" in got.headers


def _word(status: int) -> str:
    if status < 400:
        return "redirected"
    return {401: "logged-out", 403: "banned", 408: "timeout", 413: "too-large", 429: "rate-limited"}.get(status, "server-error" if status >= 500 else "unreadable")  # fmt: skip
