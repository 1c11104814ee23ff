"""`afterguard watch feedback`: what SIEMs say of our alerts flows back.

In: files of a SIEM's own shape, the body of its webhook, or a pull of the sinks file. Out: verdicts in the store; what was not taken, counted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from afterguard.cli.options import DEFAULT, Common, Session, open_session, writing
from afterguard.cli.policy_files import bytes_of
from afterguard.cli.recording import beside, target
from afterguard.errors import NothingToExamine, UsageError
from afterguard.safe import line, terminal

if TYPE_CHECKING:
    from afterguard.export.pulls import Pull
    from afterguard.jobs.feedback import Feedback, Outcome

FORMAT = "afterguard.feedback/1"
Repeated = Annotated[list[str] | None, Parameter(negative=())]


def feedback(
    *files: Path,
    pull: Repeated = None,
    sinks: Path | None = None,
    header: Repeated = None,
    secret: str = "",
    common: Common = DEFAULT,
) -> int:
    """Take what a SIEM says of alerts: Microsoft Sentinel, Splunk Enterprise Security, Elastic Security, or OCSF findings with a verdict.

    Parameters
    ----------
    files
        JSON, a list, JSON lines or the answer of a search, in the SIEM's own shape; - is standard input.
    pull
        Entry under `pulls` of the sinks file that is asked for what is new. Repeatable.
    sinks
        The sinks file.
    header
        NAME: VALUE of a webhook whose body the file is: X-Hub-Signature, or Authorization. Repeatable.
    secret
        Name of the environment variable with the webhook's secret, or USER:PASSWORD. With it nothing is read that is not proven.
    """
    from afterguard.jobs import feedback as job
    from afterguard.store.database import open_store

    session = open_session(common)
    asked = _pulls(session, pull or [], sinks)
    if not files and not asked:
        raise UsageError("there is nothing to read", hint="a file, - or --pull NAME --sinks FILE", slug="bad-usage")
    if bool(secret) != bool(header):
        raise UsageError("a webhook proves itself with --header and --secret", hint="--header 'X-Hub-Signature: sha256=...' --secret NAME", slug="bad-usage")  # fmt: skip
    where = target(session)
    if "://" not in str(where):
        Path(where).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_store(where) as store:
        one = job.Feedback(store, session.config.tenant, time.time)
        try:
            job.taken(one, _bodies(files, header or [], secret))
            _ask(session, one, asked)
        finally:
            _say(session, one.outcome)
    out = one.outcome
    if files and not out.documents:
        raise NothingToExamine("there is no document in it", hint="export the findings as JSON", slug="no-feedback")
    if common.format in ("json", "jsonl"):
        with writing(common.output) as written:
            written.write(msgspec.json.encode({"format": FORMAT} | msgspec.to_builtins(out)).decode() + "\n")
    session.next("afterguard watch alerts")
    return 0


def _pulls(session: Session, names: list[str], sinks: Path | None) -> list[Pull]:
    if not names:
        return []
    if sinks is None:
        raise UsageError("--pull names an entry of the sinks file", hint="--sinks FILE", slug="bad-usage")
    if session.common.offline:
        raise UsageError("a pull needs the network", hint="leave out --offline", slug="bad-usage")
    from afterguard.config import nearest
    from afterguard.export.settings import load

    known = {one.name: one for one in load(sinks).pulls}
    for name in names:
        if name not in known:
            raise UsageError(f"no pull is called {name!r}", hint=nearest(name, list(known)) or "see docs/reference/sinks.md", slug="bad-usage")  # fmt: skip
    return [known[name] for name in names]


def _bodies(files: tuple[Path, ...], headers: list[str], secret: str) -> Iterator[bytes]:
    from afterguard.export.feedback import CAP
    from afterguard.respond.tickets import prove

    told = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in headers)}
    for file in files:
        data = sys.stdin.buffer.read(CAP + 1) if str(file) == "-" else bytes_of(file, CAP)
        if len(data) > CAP:
            raise UsageError(f"{file} is larger than {CAP >> 20} MiB", hint="give it in parts", slug="bad-usage")
        if secret:
            prove(told, data, os.environ.get(secret, ""), is_signed="x-hub-signature" in told)
        yield data


def _ask(session: Session, one: Feedback, asked: list[Pull]) -> None:
    from afterguard.jobs.feedback import pull

    for settings in asked:
        # How far it got is true of one server, one store and one tenant.
        whose = sha256(f"{settings.url}\n{target(session)}\n{session.config.tenant}".encode()).hexdigest()[:12]
        place = beside(session, "watch") / f"pulled-{settings.name}-{whose}.json"
        if not pull(settings, place, one):
            session.say(f"watch: {settings.name} has more: run it again")


def _say(session: Session, out: Outcome) -> None:
    applied = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in sorted(out.applied.items())) or "none"
    session.say(f"watch: {out.documents:,} documents: {applied} taken, {out.withdrawn:,} taken back, {out.known:,} known already, {out.silent:,} say nothing")  # fmt: skip
    rows = {
        "of alerts that have grown past what was judged: they teach, and hide nothing": out.behind,
        "older than what stands: the newer one holds": out.older,
        "of alerts that this store never had": out.absent,
        "of alerts of drills: nothing is taken of them": out.drilled,
        "name no alert of ours": out.unnamed,
        "have no shape that is known here": out.strange,
        "could not be read": out.unread,
        **{f"are no disposition we know: {line(value)}": count for value, count in out.unknown.items()},
    }
    for words, count in rows.items():
        if count:
            session.say(f"watch: {count:,} {words}")
    for one in out.conflicts[:20]:
        session.say(terminal(f"watch: {one.alert[:12]} stays {one.stands.replace('_', ' ')} ({line(one.by)}), not {one.what.replace('_', ' ')} ({line(one.who)})"))  # fmt: skip
