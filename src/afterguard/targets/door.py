"""Requests to the host of one target: marked as ours, with its cookies, with an end in time and size.

In: a method, an address, a body. Out: what came back, or `Away` with a fixed word: a redirect, silence, gigabytes, a broken line. Nothing is followed, and no other host is spoken to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie

from afterguard import net
from afterguard.attack.contract import Reply
from afterguard.errors import Unreachable, UsageError
from afterguard.targets import reading
from afterguard.targets.document import Target

MARK = "x-afterguard-assessment"
"""Header that tells a SOC that a request is ours, with the run's id."""
DECISION = "x-afterguard-decision"
"""Header of Afterguard's guard; its refusals repeat the id that it holds."""
SLUGS = {"too-slow": "timeout", "too-large": "too-large", "broke-off": "broken-off", "no-http": "unreadable", "no-tls": "tls-error"}  # fmt: skip
STATUS = {401: "logged-out", 403: "banned", 408: "timeout", 413: "too-large", 429: "rate-limited"}
COOKIES = 50
COOKIE = 4_096


class Away(Exception):
    """Nothing that can be judged came back; the text is one of trial.ERRORS."""


class Door:
    """See the file. `sent` counts requests."""

    def __init__(self, target: Target, run: str) -> None:
        self.target, self.run = target, run
        self.sent = 0
        self.cookies: dict[str, str] = {}

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        is_end: Callable[[bytes], bool] | None = None,
    ) -> net.Reply:
        """What came back, whatever its status. Raises Away."""
        self.sent += 1
        told = {MARK: self.run, **headers}
        if self.cookies and not any(name.lower() == "cookie" for name in told):
            told["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        limit = self.target.timeout
        try:
            got = net.ask(
                method, url, allow=(self.target.host,), headers=told, body=body, cap=reading.CAP,
                whole=limit, silence=limit, is_plain=True, is_end=is_end,
            )  # fmt: skip
        except Unreachable as error:
            raise Away(SLUGS.get(error.slug, "unreachable")) from None
        except (UsageError, UnicodeError):
            # An id of the conversation that the target gave made an address of it that is none.
            raise Away("unreadable") from None
        for cookie in got.cookies[:COOKIES]:
            self._taste(cookie)
        return got

    def _taste(self, header: str) -> None:
        try:
            found = SimpleCookie(header[:COOKIE])
        except CookieError:
            return
        for name, morsel in found.items():
            if morsel["max-age"] == "0" or morsel["max-age"].startswith("-"):
                self.cookies.pop(name, None)
            elif len(self.cookies) < COOKIES or name in self.cookies:
                self.cookies[name] = morsel.coded_value


def is_blocked(target: Target, got: net.Reply) -> bool:
    """Whether something before the model refused it and said so."""
    blocked = target.blocked
    if blocked.status or blocked.contains:
        return blocked.contains.encode() in got.body and (not blocked.status or got.status in blocked.status)
    decision = got.headers.get(DECISION, "")
    return bool(decision) and got.status != 429 and decision.encode() in got.body


def word(status: int) -> str:
    """The word for a status that is none of success."""
    if 300 <= status < 400:
        return "redirected"
    return STATUS.get(status, "server-error" if status >= 500 else "unreadable")


def refused(target: Target, got: net.Reply) -> Reply | None:
    """What a reply that holds no answer says."""
    if is_blocked(target, got):
        return Reply(text=got.body[:2_000].decode("utf-8", "replace"), status=got.status, is_blocked=True)
    return Reply(error=word(got.status), status=got.status) if got.status >= 300 else None
