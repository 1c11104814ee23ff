"""`afterguard attack`: what an application that is live gives way to, within what its owner allows.

In: TARGET.yaml, the owner's signed authorisation. Out: rates with intervals, findings with their conversation, fix and rule; a journal to go on from; 10 where a gate was set and not passed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from afterguard.cli import attack_parts as parts
from afterguard.cli import attack_shown as shown
from afterguard.cli.attack_again import diff, verify
from afterguard.cli.attack_files import authorise, replay, template
from afterguard.cli.options import DEFAULT, Common, Session, gate, open_session, writing
from afterguard.errors import EXIT_GATE, EXIT_NOT_ALLOWED
from afterguard.safe import terminal

if TYPE_CHECKING:
    from afterguard.attack.assessment import Assessment
    from afterguard.jobs.scoring import Data
    from afterguard.targets.document import Target

attack = App(name="attack", help="What a live application gives way to: within its owner's leave, with intervals.", help_format="plaintext")  # fmt: skip
for command in (authorise, verify, diff, replay, template):
    attack.command(command)


@attack.default
def run(
    target: Path,
    /,
    *,
    authorisation: Path | None = None,
    trusted: list[Path] | None = None,
    journal: Path | None = None,
    techniques: str = "",
    seed: str = "",
    daily: Annotated[bool, Parameter(negative=())] = False,
    kill_file: Path | None = None,
    through: parts.Through = "direct",
    listen: str = "",
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    common: Common = DEFAULT,
) -> int:
    """Attack an application within its owner's authorisation, and say how sure the result is.

    With --baseline only families that really give way more often than in that earlier result end it with 10.

    Parameters
    ----------
    target
        TARGET.yaml: where the application is, how it is spoken to, what its owner knows of it.
    authorisation
        The owner's signed leave, made with `afterguard attack authorise`.
    trusted
        Public keys of owners.
    journal
        File that every request and reply is written to; a run that broke off goes on from it.
    techniques
        Only these, by comma.
    seed
        Of everything that is drawn; the same one draws the same.
    daily
        For a schedule: seed and journal of the day (UTC), techniques and their further forms in another order each day.
    kill_file
        Nothing more is sent once this file exists.
    through
        Speak to the application directly, or through the door of the guard that the target file names as `guarded`.
    listen
        HOST:PORT of a listener of our own, 127.0.0.1:0 for any port of this machine. What the application sends there is a receipt.
    dry_run
        Say what would be sent, how much and how long, and send nothing.
    """
    session = open_session(common)
    before = shown.baseline(session)
    shown.check(common.format)
    found, data = parts.opened(target, through)
    chosen = parts.chosen(techniques, data is not None)
    day = datetime.now(UTC).strftime("%Y-%m-%d") if daily else ""
    if day:
        chosen = _turned(chosen, day)
        seed = seed or day
    book = journal or shown.named(found.name, through, day)
    told = parts.estimate(found, chosen, data)
    session.say(f"attack: {len(chosen)} techniques, at most {told.requests} requests, {told.minutes:.0f} minutes, {told.dollars:.2f} dollars to {found.host}")  # fmt: skip
    if dry_run:
        return _dry(session, target, chosen)
    flags = parts.Flags(authorisation, trusted or [], kill_file, listen)
    result = _ran(session, target, found, data, chosen, flags, book, seed, through)
    shown.write(session, result)
    shown.record(session, result)
    first = result.hits[0].id if result.hits else ""
    session.next(f"afterguard attack replay {first} --journal {book}" if first else f"afterguard attack {target} --techniques ... with more that the target file says of the application")  # fmt: skip
    return _code(session, result, before)


def _dry(session: Session, target: Path, chosen: list[Any]) -> int:
    with writing(session.common.output) as out:
        out.write(terminal("".join(f"{one.id}: {one.title} ({', '.join(one.variants)})\n" for one in chosen)))
    session.next(f"afterguard attack authorise {target} --key OWNER.key --owner NAME --tester NAME")
    return 0


def _ran(
    session: Session,
    file: Path,
    target: Target,
    data: Data | None,
    techniques: list[Any],
    flags: parts.Flags,
    journal: Path,
    seed: str,
    through: parts.Through,
) -> Assessment:
    """The result, without planted values."""
    from afterguard.attack.masking import masked
    from afterguard.jobs import attack as job
    from afterguard.jobs import scoring

    made: Any = job.Run if data is None else partial(scoring.ScoringRun, data=data)
    leave = parts.leave(session, flags, file, target)
    with (
        parts.book(journal, parts.head(target, techniques, seed, through), session) as book,
        parts.means(session, flags, target) as outside,
    ):
        found: Assessment = made(target, techniques, leave, book, way=through, **outside).whole()
    return masked(found, target.knows.canaries)


def _turned(techniques: list[Any], day: str) -> list[Any]:
    """Another order each day; the strongest form of each technique stays the first."""
    from afterguard.attack.rotate import rotated

    return rotated(techniques, datetime.fromisoformat(day).toordinal())


def _code(session: Session, result: Assessment, before: Assessment | None) -> int:
    """10 at the gate; 5 where the leave ended before the run did; else 0."""
    from afterguard.attack.compare import compare

    code = 0
    if before is not None:
        found = compare(before, result)
        session.say(shown.diff_text(found))
        code = EXIT_GATE if found.worse else 0
    else:
        code = gate(session, [str(one.severity) for one in result.families if one.succeeded])
    if session.common.no_fail:
        return 0
    if not code and result.stopped.startswith(("the authorisation", "quiet hours")):
        session.say(f"attack: {result.stopped}; what is known until then is kept, and the same command goes on with another leave")  # fmt: skip
        return EXIT_NOT_ALLOWED
    return code
