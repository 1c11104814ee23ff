"""`afterguard respond check`, `verify`, `playbooks`, `glass`: files looked at, nothing changed."""

from __future__ import annotations

import getpass
import os
import secrets
from pathlib import Path

import msgspec

from afterguard.cli.options import DEFAULT, Common, Session, open_session, writing
from afterguard.cli.policy_files import bytes_of
from afterguard.cli.recording import beside
from afterguard.cli.respond_places import settings_of
from afterguard.errors import EXIT_GATE, UsageError
from afterguard.safe import terminal


def check(file: Path, /, *, common: Common = DEFAULT) -> int:
    """Say what is wrong with a CACAO 2.0 playbook, or one of ours in YAML, whoever wrote it. Exits with 10 where something is.

    Parameters
    ----------
    file
        The playbook.
    """
    from afterguard.respond import cacao
    from afterguard.respond.check import check as looked
    from afterguard.respond.playbook import load

    session = open_session(common)
    data = bytes_of(file)
    if file.suffix in (".yaml", ".yml"):
        found = cacao.made(load(data.decode("utf-8", "replace"), str(file)))
    else:
        try:
            found = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise UsageError(f"{file} is no JSON: {str(error)[:200]}", hint="give a CACAO 2.0 playbook", slug="bad-playbook") from None  # fmt: skip
    rows = looked(found)
    with writing(common.output) as out:
        if common.format == "json":
            made = {"format": "afterguard.playbook-check/1", "problems": [one._asdict() for one in rows]}
            out.write(msgspec.json.format(msgspec.json.encode(made)).decode() + "\n")
        else:
            out.writelines(terminal(f"{one.rule:<16} {one.where}: {one.says}\n") for one in rows)
    session.say(f"respond check: {len(rows)} problems" if rows else "respond check: nothing is wrong with it")
    session.next("afterguard respond playbooks")
    return EXIT_GATE if rows and not common.no_fail else 0


def verify(journal: Path, /, *, key: str = "", head: str = "", common: Common = DEFAULT) -> int:
    """Verify a journal or an archive of evidence offline: that nothing was changed and who signed it. Exits with 10 where it does not hold.

    Parameters
    ----------
    journal
        The journal, or the archive.
    key
        Public key (hexadecimal) it has to be signed with; empty: the one it names itself.
    head
        Hash of a line, as a case's export has it: shows whether lines were taken off the end.
    """
    from afterguard.respond.journal import CAP
    from afterguard.respond.journal import verify as verified

    session = open_session(common)
    if bytes_of(journal, CAP)[:14] == b"manifest.json\0":
        return _archive(session, journal, key)
    found = verified(bytes_of(journal, CAP), [key] if key else [], head)
    with writing(common.output) as out:
        if common.format == "json":
            made = {"format": "afterguard.journal-check/1", "lines": len(found.lines), "key": found.key, "head": found.head, "torn": found.torn, "problems": found.problems}  # fmt: skip
            out.write(msgspec.json.format(msgspec.json.encode(made)).decode() + "\n")
        else:
            out.write(f"{len(found.lines)} lines, key {terminal(found.key)}, last hash {found.head}\n")
            out.writelines(terminal(one) + "\n" for one in found.problems)
    if found.torn:
        session.say(f"respond verify: {found.torn} bytes at the end are no whole line: they were never acted upon")
    session.say("respond verify: DOES NOT VERIFY" if found.problems else "respond verify: it verifies" + ("" if key else "; with the key it names itself: compare that"))  # fmt: skip
    session.next("afterguard respond cases")
    return EXIT_GATE if found.problems else 0


def _archive(session: Session, path: Path, key: str) -> int:
    from afterguard.respond.evidence import verify as looked

    found = looked(path, [key] if key else [])
    with writing(session.common.output) as out:
        if session.common.format == "json":
            out.write(msgspec.json.format(msgspec.json.encode({"format": "afterguard.evidence-check/1", "key": found.key, "problems": found.problems, "manifest": found.manifest})).decode() + "\n")  # fmt: skip
        else:
            pieces = len(found.manifest.members) if found.manifest else 0
            out.write(f"{pieces} pieces of evidence, key {terminal(found.key)}\n")
            out.writelines(terminal(one) + "\n" for one in found.problems)
    session.say("respond verify: DOES NOT VERIFY" if found.problems else "respond verify: it verifies" + ("" if key else "; with the key it names itself: compare that"))  # fmt: skip
    session.next("afterguard respond cases")
    return EXIT_GATE if found.problems else 0


def playbooks(name: str = "", /, *, cacao: bool = False, settings: Path | None = None, common: Common = DEFAULT) -> int:
    """List the playbooks, or show one.

    Parameters
    ----------
    name
        A playbook.
    cacao
        Show it as CACAO 2.0 JSON.
    settings
        respond.yaml.
    """
    from afterguard.jobs import respond as job
    from afterguard.respond.cacao import written

    session = open_session(common)
    found = settings_of(settings, beside(session, "respond"))
    with writing(common.output) as out:
        if name:
            one = job.playbook_of(found, name)
            if cacao or common.format == "json":
                out.write(written(one).decode())
            else:
                out.write(terminal(f"{one.id}: {one.title}\n{one.says}\n\n"))
                out.writelines(terminal(f"  {step.phase:<9} {step.id}: {step.says}\n") for step in one.steps)
        else:
            rows = job.playbooks(found)
            if common.format == "json":
                out.write(msgspec.json.format(msgspec.json.encode(rows)).decode() + "\n")
            else:
                out.writelines(f"{one.id:<22} {terminal(one.title)} ({len(one.steps)} steps)\n" for one in rows)
    session.next(f"afterguard respond plan CASE --playbook {name or 'ID'}")
    return 0


def glass(account: str, /, *, common: Common = DEFAULT) -> int:
    """Make the entry of a break-glass account for the roles file. The password is asked for, and goes into an envelope.

    Parameters
    ----------
    account
        What it is called.
    """
    from afterguard.respond.roles import hashed

    session = open_session(common)
    password = os.environ.get("GLASS_PASSWORD") or getpass.getpass(f"password of {account}: ")
    if len(password) < 16:
        raise UsageError("that password is too short", hint="at least 16 characters: nobody types it but in need", slug="bad-usage")  # fmt: skip
    salt = secrets.token_hex(16)
    with writing(common.output) as out:
        out.write(f"break_glass:\n  account: {account}\n  salt: {salt}\n  hash: {hashed(password, salt)}\n")
    session.next("put it into the roles file that respond.yaml names")
    return 0
