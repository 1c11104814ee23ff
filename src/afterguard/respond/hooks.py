"""Acts that somebody else carries out: an address that is asked, a command that is run. Exactly those that respond.yaml names.

In: an act and its hook. Out: what came of it, cut to CAP. A body is signed (HMAC-SHA-256 over time and body) and carries the act's id as its idempotency key. A command gets no shell, no environment but
what is named, no input, a time limit; its arguments are the act's words, never more than one argument each.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import subprocess  # noqa: TID251 - commands that respond.yaml names, run as a list without a shell and with a time limit
import time
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from afterguard import files, net
from afterguard.errors import AfterguardError, Unreachable, UsageError
from afterguard.respond.act import Act
from afterguard.respond.engine import State
from afterguard.respond.settings import Hook

fcntl: types.ModuleType | None
try:
    import fcntl
except ImportError:  # a system without flock
    fcntl = None

CAP = 64 << 10
PATH = "/usr/local/bin:/usr/bin:/bin"
TOLD = ("ticket", "page", "post")
"""What is over once it was taken."""
STAMP, SIGNATURE, KEY = "x-afterguard-time", "x-afterguard-signature", "idempotency-key"


def signature(secret: bytes, moment: str, body: bytes) -> str:
    """What a receiver compares: it should refuse a time that is more than five minutes off."""
    return "sha256=" + hmac.digest(secret, moment.encode() + b"." + body, "sha256").hex()


class Hooks:
    """See engine.Adapter."""

    def __init__(
        self,
        hooks: Mapping[str, Hook],
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.time,
        lock: Path | None = None,
    ) -> None:
        self.hooks, self.environment, self.clock = hooks, environment, clock
        self.lock = lock
        """A file that every command holds as long as it runs. Where we are killed, the next run waits for what we left running: else it could ask too early, and do it twice."""

    def objections(self, act: Act) -> list[str]:
        """See Adapter."""
        hook = self.hooks.get(act.hook)
        if hook is None:
            return [f"respond.yaml names no hook {act.hook}"]
        out = []
        if hook.command and not Path(hook.command[0]).is_file():
            out.append(f"there is no program {hook.command[0]}")
        if hook.url:
            try:
                net.checked(hook.url, [net.host_of(hook.url)], is_plain=hook.plain)
                _secret(hook)
            except AfterguardError as error:
                out.append(str(error))
        if act.do not in TOLD and not self.is_provable(act):
            out.append(f"the hook {act.hook} has no check: whether it took effect could not be proven")
        if any(word.startswith("-") for word in (act.target, act.value)):
            out.append("a target that begins with - could be read as an option")
        return out

    def before(self, act: Act) -> dict[str, Any]:
        """See Adapter."""
        return {"hook": act.hook}

    def do(self, act: Act, until: float) -> dict[str, Any]:
        """See Adapter."""
        hook = self._named(act)
        if hook.command:
            return self._ran(hook, hook.command, act)
        return self._posted(hook, hook.url, act, "do", until)

    def undo(self, act: Act, before: dict[str, Any]) -> dict[str, Any]:
        """See Adapter."""
        hook = self._named(act)
        if hook.command and hook.undo:
            return self._ran(hook, hook.undo, act)
        if hook.url and hook.undo_url:
            return self._posted(hook, hook.undo_url, act, "undo", 0.0)
        raise UsageError(f"the hook {act.hook} has no undo", hint="take it back by hand, and write that down: afterguard respond note", slug="no-undo")  # fmt: skip

    def state(self, act: Act) -> State:
        """See Adapter."""
        try:
            hook = self._named(act)
            if hook.check:
                return self._checked(hook, act)
            if hook.check_url:
                reply = net.get(_filled(hook.check_url, act, quoted=True), allow=[net.host_of(hook.check_url)], is_plain=hook.plain, cap=CAP, headers={KEY: act.id})  # fmt: skip
                found = msgspec.json.decode(reply.body) if reply.status == 200 else None
                is_there = found.get("in_effect") if isinstance(found, dict) else None
                word = {True: "in_effect", False: "not"}.get(is_there, "unknown")  # type: ignore[arg-type]
                return State(word, f"its check says {word.replace('_', ' ')} (status {reply.status})")
        except (AfterguardError, msgspec.DecodeError) as error:
            return State("unknown", f"its check cannot be asked: {error}")
        return State("unknown", f"the hook {act.hook} has no check: nobody can ask whether it is in effect")

    def is_repeatable(self, act: Act) -> bool:
        """See Adapter."""
        hook = self.hooks.get(act.hook)
        return hook is not None and hook.repeatable

    def is_provable(self, act: Act) -> bool:
        """See Adapter."""
        hook = self.hooks.get(act.hook)
        return hook is not None and bool(hook.check or hook.check_url)

    def _named(self, act: Act) -> Hook:
        """The hook of an act. Raises UsageError where the settings lost it since the act was planned."""
        hook = self.hooks.get(act.hook)
        if hook is None:
            raise UsageError(f"respond.yaml names no hook {act.hook} any more", hint="put it back into respond.yaml, then run this again", slug="bad-respond-settings")  # fmt: skip
        return hook

    def _checked(self, hook: Hook, act: Act) -> State:
        done = self._run(hook, hook.check, act)
        word = {0: "in_effect", 1: "not"}.get(done.returncode, "unknown")
        return State(word, f"its check ended with {done.returncode}")

    def _ran(self, hook: Hook, words: list[str], act: Act) -> dict[str, Any]:
        done = self._run(hook, words, act)
        said = done.stdout[:CAP].decode("utf-8", "replace")
        if done.returncode:
            raise Unreachable(f"{words[0]} ended with {done.returncode}: {done.stderr[:300].decode('utf-8', 'replace')}", hint="run it by hand to see why", slug="hook-failed")  # fmt: skip
        return {"said": said[:1_000]}

    def _run(self, hook: Hook, words: list[str], act: Act) -> subprocess.CompletedProcess[bytes]:
        told = {"PATH": PATH, "AFTERGUARD_ACT": act.id}
        told |= {name: self.environment[name] for name in hook.environment if name in self.environment}
        try:
            with _held(self.lock, hook.timeout) as handles:
                return subprocess.run(  # noqa: S603 - a list from respond.yaml, no shell
                    [_filled(word, act) for word in words],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=hook.timeout,
                    env=told,
                    cwd="/",
                    check=False,
                    pass_fds=handles,
                )
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{words[0]} was not done after {hook.timeout:g} s", hint="give it more time, or look why", slug="hook-failed") from None  # fmt: skip
        except OSError as error:
            raise UsageError(f"{words[0]} cannot be run: {files.why(error)}", hint="check its path and permissions", slug="hook-failed") from None  # fmt: skip

    def _posted(self, hook: Hook, url: str, act: Act, what: str, until: float) -> dict[str, Any]:
        body = msgspec.json.encode(
            {"format": "afterguard.act/1", "what": what, "until": until or None, "act": msgspec.to_builtins(act)}
        )
        moment = f"{self.clock():.0f}"
        headers = {"content-type": "application/json", KEY: act.id if what == "do" else f"{act.id}-{what}", STAMP: moment, SIGNATURE: signature(_secret(hook), moment, body)}  # fmt: skip
        reply = net.ask("POST", url, allow=[net.host_of(url)], headers=headers, body=body, whole=hook.timeout, is_plain=hook.plain, cap=CAP)  # fmt: skip
        if reply.status >= 300:
            raise Unreachable(f"{net.host_of(url)} says {reply.status}", hint="look at what it says there", slug="hook-failed")  # fmt: skip
        return {"status": reply.status, "said": reply.body[:1_000].decode("utf-8", "replace")}


@contextlib.contextmanager
def _held(lock: Path | None, patience: float) -> Iterator[tuple[int, ...]]:
    """The handle that a command inherits. Raises Unreachable where a command of an earlier run does not end."""
    if lock is None or fcntl is None:
        yield ()
        return
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > until:
                    raise Unreachable("a command of an earlier run is still at work", hint="wait for it, or end it, then run again", slug="hook-failed") from None  # fmt: skip
                time.sleep(0.02)
        yield (handle,)
    finally:
        os.close(handle)


def _secret(hook: Hook) -> bytes:
    found = files.secret(hook.secret).encode()
    if len(found) < 16:
        raise UsageError(f"the secret {hook.secret} is too short", hint="at least 16 bytes", slug="hook-failed")
    return found


def _filled(word: str, act: Act, *, quoted: bool = False) -> str:
    """A word with the act's own in its places; each place once, so that a target cannot name another place."""
    from re import sub
    from urllib.parse import quote

    words = {"target": act.target, "value": act.value, "act": act.id, "case": act.case}
    return sub(
        r"\{(target|value|act|case)\}",
        lambda found: quote(words[found[1]], safe="") if quoted else words[found[1]].replace("\0", ""),
        word,
    )
