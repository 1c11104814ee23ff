"""What the commands of `afterguard attack` share: the target file, techniques, the leave, a run within it.

In: flags. Out: structs, or a UsageError that says what to do next.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from afterguard.cli.options import Session
from afterguard.cli.policy_files import bytes_of, text_of
from afterguard.errors import NotAllowed, UsageError

if TYPE_CHECKING:
    from afterguard.jobs.attack import Estimate, Head, Journal
    from afterguard.jobs.authorisation import Leave
    from afterguard.jobs.scoring import Data
    from afterguard.targets.document import Target

Through = Literal["direct", "guarded"]
SOON = 3 * 86_400
"""Seconds before the end of a leave from which on it is said."""


class Flags(NamedTuple):
    """How a run is started, the same for `attack` and `attack verify`."""

    authorisation: Path | None
    trusted: Sequence[Path]
    kill_file: Path | None = None
    listen: str = ""


def target(path: Path, through: Through) -> Target:
    """The target of a file, directly or through the door it names."""
    from afterguard.targets.load import load

    return load(text_of(path), str(path), os.environ).through(through)


def opened(path: Path, through: Through) -> tuple[Target, Data | None]:
    """The target, and its rows where it is a predictive model."""
    from afterguard.jobs import scoring

    found = target(path, through)
    return (found, None) if found.scoring is None else scoring.opened(found, path)


def estimate(found: Target, techniques: Sequence[Any], data: Data | None) -> Estimate:
    """What a run would take at most."""
    from afterguard.jobs import attack, scoring

    return attack.estimate(found, techniques) if data is None else scoring.estimate(found, techniques, data)


def chosen(names: str, is_scored: bool = False) -> list[Any]:
    """Techniques by their names, all where none is named: those against applications that talk, or those against predictive models."""
    from afterguard.attack.scoring.techniques import BY_ID as SCORED
    from afterguard.attack.techniques import BY_ID

    by: dict[str, Any] = dict(SCORED if is_scored else BY_ID)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in by]
    if unknown:
        raise UsageError(f"no technique is called {unknown[0]}", hint=f"there are: {', '.join(by)}", slug="bad-usage")
    return [by[name] for name in wanted or by]


def leave(session: Session, flags: Flags, file: Path, found: Target) -> Leave:
    """The owner's leave, where it holds now. Says when it ends soon. Raises UsageError, NotAllowed."""
    from afterguard.jobs import authorisation as leaves
    from afterguard.jobs.promote import public_key

    if flags.authorisation is None:
        raise UsageError("nothing is sent without the owner's leave", hint=f"afterguard attack authorise {file} --key OWNER.key --owner NAME --tester NAME, then --authorisation FILE --trusted OWNER.key.pub", slug="not-authorised")  # fmt: skip
    keys = tuple(public_key(bytes_of(one), str(one)) for one in flags.trusted)
    one = leaves.read(bytes_of(flags.authorisation), str(flags.authorisation), keys)
    if (one.target, one.host) != (found.name, found.host):
        raise UsageError(leaves.check(one, found.name, found.host, time.time()), hint="ask the owner for another one", slug="not-authorised")  # fmt: skip
    why = leaves.check(one, found.name, found.host, time.time())
    if why:
        raise NotAllowed(why, hint=f"nothing was sent; {one.owner} signs another one with: afterguard attack authorise {file}", slug="not-authorised")  # fmt: skip
    if leaves.left(one, time.time()) < SOON:
        session.say(f"attack: the authorisation ends at {one.ends}: have {one.owner} sign another one before")
    return one


@contextmanager
def book(path: Path, head: Head, session: Session) -> Iterator[Journal]:
    """A journal to write to, begun or gone on with. Raises UsageError for one of another target."""
    from afterguard.jobs.attack import Journal

    one = Journal(path, head)
    try:
        if (one.head.target, one.head.host) != (head.target, head.host):
            raise UsageError(f"{path} is the journal of {one.head.target}", hint="give another --journal", slug="bad-journal")  # fmt: skip
        if one.rows:
            session.say(f"attack: going on after {len(one.rows)} lines of {path}")
        yield one
    finally:
        one.close()


@contextmanager
def means(session: Session, flags: Flags, found: Target) -> Iterator[dict[str, Any]]:
    """What the outside lends to a run: clocks, the kill switch, progress, our listener."""
    from afterguard.targets.listener import listening

    outside: dict[str, Any] = {
        "wall": time.time, "clock": time.monotonic, "sleep": time.sleep,
        "is_killed": lambda: flags.kill_file is not None and flags.kill_file.exists(),
        "told": lambda count, what: session.say(f"  {count}: {what}") if session.common.verbose else None,
    }  # fmt: skip
    with listening(flags.listen) as ear:
        address = found.listener or (ear.address if ear else "")
        if ear is not None:
            session.say(f"attack: listening on {ear.address}" + (f", known to the application as {address}" if found.listener else "") + (": others than this machine reach it" if ear.is_beyond else ""))  # fmt: skip
            outside |= {"expect": ear.expect, "receipts": ear.receipts}
        yield outside | {"listener": address}


def head(found: Target, techniques: Sequence[Any], seed: str, through: Through) -> Head:
    """The first line of a new journal."""
    from afterguard.jobs.attack import Head

    return Head(found.name, found.host, seed or secrets.token_hex(4), secrets.token_hex(4), tuple(one.id for one in techniques), through)  # fmt: skip


def pretty(thing: Any) -> str:
    """A struct as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(thing), indent=2).decode() + "\n"
