"""`afterguard evidence`: encrypted originals of suspected incidents, kept only when the configuration asks."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cyclopts import App

from afterguard.cli.options import DEFAULT, Common, open_session, writing
from afterguard.cli.recording import vault
from afterguard.errors import UsageError
from afterguard.safe import terminal
from afterguard.store import receipts as deletion
from afterguard.store.keys import create_key_file

evidence = App(name="evidence", help="Encrypted originals: list, read, hold, sweep, erase.", help_format="plaintext")


@evidence.command
def key(path: Path, /, *, common: Common = DEFAULT) -> int:
    """Make a new key file for the wrapping key, readable by you alone.

    Parameters
    ----------
    path
        File to create; it must not exist.
    """
    session = open_session(common)
    try:
        create_key_file(path)
    except OSError as error:
        raise UsageError(
            f"cannot create {path}: {error.strerror}", hint="choose a new file", slug="cannot-write"
        ) from None
    session.say(f"wrote {path}; keep a copy in a safe place: without it no original can be read")
    session.next(f"AFTERGUARD_EVIDENCE_KEEP=true AFTERGUARD_EVIDENCE_KEY_FILE={path} afterguard lookback FILE")
    return 0


@evidence.command(name="list")
def list_originals(*, subject: str = "", common: Common = DEFAULT) -> int:
    """Originals of an application (--app), with data class and the day they expire.

    Parameters
    ----------
    subject
        Only those of one exchange.
    """
    session = open_session(common)
    with vault(session) as kept, writing(common.output) as out:
        for one in kept.originals(session.application([]), subject):
            out.write(
                terminal(f"{one.id}  {one.subject}  {one.data_class}  {_day(one.expires)}  {one.size} bytes") + "\n"
            )
    session.next("afterguard evidence read ID --who NAME --why REASON")
    return 0


@evidence.command
def read(original: str, /, *, who: str, why: str, common: Common = DEFAULT) -> int:
    """Decrypt one original; the reading is logged with name and reason.

    Parameters
    ----------
    original
        Id from `evidence list`.
    who
        Who reads.
    why
        Why, for the access log.
    """
    session = open_session(common)
    with vault(session) as kept:
        data = kept.read(original, who=who, why=why)
    if common.output == "-":
        sys.stdout.buffer.write(data + b"\n")
    else:
        Path(common.output).write_bytes(data)
    return 0


@evidence.command
def hold(*, reason: str, who: str, subject: str = "*", common: Common = DEFAULT) -> int:
    """Stop all deletion of an application's originals (--app), or of one exchange's.

    Parameters
    ----------
    reason
        Why they must stay.
    who
        Who orders it.
    subject
        One exchange; * for all.
    """
    session = open_session(common)
    with vault(session) as kept:
        made = kept.hold(session.application([]), reason, who, subject)
    session.say(f"held: {made}")
    session.next(f"afterguard evidence release {made}")
    return 0


@evidence.command
def release(held: str, /, *, common: Common = DEFAULT) -> int:
    """End a hold.

    Parameters
    ----------
    held
        Id of the hold.
    """
    session = open_session(common)
    with vault(session) as kept:
        kept.release(held)
    session.next("afterguard evidence sweep")
    return 0


@evidence.command
def sweep(*, common: Common = DEFAULT) -> int:
    """Delete what has outlived its retention and is not held; run it daily."""
    session = open_session(common)
    with vault(session) as kept:
        swept = kept.sweep(time.time())
    session.say(
        f"deleted {swept.deleted}, held {swept.held}, already missing {swept.missing}, ownerless files {swept.orphans}"
    )
    session.next("afterguard evidence receipts")
    return 0


@evidence.command
def erase(*, why: str, subject: str = "", yes: bool = False, common: Common = DEFAULT) -> int:
    """Destroy all originals of an application (--app) with its key, or those of one exchange.

    Parameters
    ----------
    why
        Reason for the receipt.
    subject
        Only those of one exchange.
    yes
        Do it; without this the command only counts.
    """
    session = open_session(common)
    app = session.application([])
    with vault(session) as kept:
        count = len(kept.originals(app, subject))
        if not yes:
            session.say(f"would destroy {count} originals of {app.name}; add --yes to do it")
            return 0
        count = kept.delete_subject(app, subject, why) if subject else kept.shred(app, why)
    session.say(f"destroyed {count} originals of {app.name}")
    session.next("afterguard evidence receipts")
    return 0


@evidence.command
def receipts(*, common: Common = DEFAULT) -> int:
    """Proof of deletion: the chained receipts, and whether the chain is whole."""
    session = open_session(common)
    with vault(session) as kept, writing(common.output) as out:
        for one in deletion.receipts(kept.connection):
            out.write(
                terminal(f"{_day(one.at)}  {one.app}  {one.what} {one.id}  {one.why}  sha256 {one.digest[:16]}") + "\n"
            )
        broken = deletion.first_broken(kept.connection)
    session.say("the chain of receipts is whole" if not broken else f"the chain is broken at receipt {broken}")
    session.next("afterguard evidence list")
    return 10 if broken else 0


def _day(seconds: float) -> str:
    from afterguard.report import words

    return words.moment(seconds)
