"""What persons say to what the guard asked them: list it, approve it, deny it.

In: the guard's folder (and Redis, where it has one), an id, who says it and why. Out: the entry as it is then, and a line in the decision log. It opens nothing else, and knows no more of
what was asked than the guard kept: redacted evidence.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from afterguard.errors import AfterguardError, Unreachable, UsageError
from afterguard.guard.approvals import Approval, Shelf, is_genuine, sealed
from afterguard.guard.journal import Journal
from afterguard.guard.shelf import shelf
from afterguard.guard.who import pseudonym
from afterguard.jobs.judging import KEY, key

T = TypeVar("T")
PATIENCE = 3.0
"""Seconds a person waits for Redis."""
TEXT = 500
"""Characters of a name or reason."""
LIST = "afterguard guard approvals"


class Approver(NamedTuple):
    """Where a person settles things."""

    shelf: Shelf
    key: bytes
    log: Path
    now: float


class Order(NamedTuple):
    """What a person says."""

    verdict: str
    """approved or denied."""
    by: str
    reason: str
    minutes: float = 60.0
    uses: int = 1


def desk(folder: Path, redis: str, log: Path, now: float) -> Approver:
    """The desk of the guard that has this folder. Raises UsageError where there is none."""
    if not (folder / KEY).exists():
        raise UsageError(
            f"no guard has run with the folder {folder}",
            hint="give --folder as the guard has it; replicas share guard.key",
            slug="no-such-approval",
        )
    secret = key(folder)
    return Approver(shelf(folder, redis, secret, PATIENCE), secret, log, now)


def listed(at: Approver) -> tuple[list[Approval], int, int]:
    """(entries, newest first; how many were dropped because too many waited; how many are not the guard's)."""
    found, dropped = _reached(lambda: (at.shelf.load() or [], at.shelf.dropped()))
    genuine = [one for one in found if is_genuine(one, at.key)]
    return sorted(genuine, key=lambda one: -one.asked), dropped, len(found) - len(genuine)


def settle(at: Approver, identifier: str, order: Order) -> Approval:
    """Approve or deny one entry. Raises UsageError for what nobody may do, Unreachable where the state is away."""
    _check(order)
    made = _reached(lambda: at.shelf.settle(identifier, lambda one: _settled(at, one, order)))
    if made is None:
        raise UsageError(f"nothing asked is called {identifier}", hint=LIST, slug="no-such-approval")
    _write(at, made)
    return made


def _check(order: Order) -> None:
    for name, value in (("--by", order.by), ("--reason", order.reason)):
        if not value.strip() or len(value) > TEXT:
            raise UsageError(
                f"{name} needs 1 to {TEXT} characters",
                hint="--by NAME --reason TEXT: both stand in the decision log",
                slug="bad-approval",
            )
    if order.verdict == "approved" and not (0 < order.minutes <= 7 * 24 * 60 and 1 <= order.uses <= 1_000):
        raise UsageError(
            "an approval is for more than 0 minutes and at most 7 days, and for 1 to 1000 uses",
            hint="--minutes 60 --uses 1",
            slug="bad-approval",
        )


def _settled(at: Approver, one: Approval, order: Order) -> Approval:
    if not is_genuine(one, at.key):
        raise UsageError(
            f"{one.id} was not written by this guard, or was changed since",
            hint="do not approve it; find out who can write to the guard's state",
            slug="forged-approval",
        )
    state = one.state(at.now)
    if state == ("approved" if order.verdict == "approved" else "denied"):
        raise UsageError(f"{one.id} is {state} already, by {one.by}", hint=LIST, slug="bad-approval")
    if state in ("expired", "used"):
        raise UsageError(
            f"{one.id} is {state}: nothing waits for it any more",
            hint="let the application ask again, then settle the new entry",
            slug="bad-approval",
        )
    is_same = is_requester(at.key, one, order.by)
    if is_same and order.verdict == "approved":
        raise UsageError(
            f"{order.by} is who asked for {one.id}",
            hint="another person has to approve it",
            slug="own-approval",
        )
    changed = msgspec.structs.replace(
        one,
        verdict=order.verdict,
        by=order.by.strip(),
        account=account(),
        reason=order.reason.strip(),
        settled=at.now,
        expires=at.now + order.minutes * 60 if order.verdict == "approved" else one.expires,
        uses=order.uses if order.verdict == "approved" else 0,
        is_another=one.known_by == "name" and not is_same,
        used=0 if order.verdict == "approved" else one.used,
    )
    return sealed(changed, at.key)


def is_requester(secret: bytes, one: Approval, name: str) -> bool:
    """Whether this name is who asked, as far as a pseudonym can tell."""
    spelled = {name, name.strip(), name.strip().lower(), name.strip().upper()}
    return bool(one.identity) and one.identity in {pseudonym(secret, each) for each in spelled}


def account() -> str:
    """Who is logged in."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def _reached(work: Callable[[], T]) -> T:
    """What the shared state says. Raises Unreachable where it says nothing."""
    try:
        return work()
    except AfterguardError:
        raise
    except Exception as error:  # whatever a file system or a client library raises
        raise Unreachable(
            f"the guard's approvals cannot be read or written: {error}",
            hint="check --folder and --redis: both must be the guard's, and this account may write there",
            slug="approvals-away",
        ) from None


def _write(at: Approver, one: Approval) -> None:
    """One line in the decision log, so that whoever reads that sees who settled what."""
    journal = Journal(at.log)
    journal.write(msgspec.json.encode({"format": "afterguard.approval/1", **row(one, at.now)}) + b"\n")
    journal.close()
    if journal.lost:
        raise Unreachable(
            f"{one.id} is {one.verdict}, but {at.log} could not be written",
            hint="write down who settled it and why; give --log where the guard's log is elsewhere",
            slug="approvals-away",
        )


def row(one: Approval, now: float) -> dict[str, object]:
    """An entry as others read it: without seal and parts."""
    found: dict[str, object] = msgspec.to_builtins(one)
    for name in ("seal", "parts", "verdict"):
        found.pop(name, None)
    return {"id": one.id, "state": one.state(now), **found}
