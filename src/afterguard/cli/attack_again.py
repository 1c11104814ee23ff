"""`afterguard attack verify` and `attack diff`: whether what was found is gone, and whether anything got worse.

In: results or journals of earlier runs. Out: what became of each hit; what changed of each family; 10 where something still succeeds or is really worse, 3 where it cannot be told.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from afterguard.cli import attack_parts as parts
from afterguard.cli import attack_shown as shown
from afterguard.cli.options import DEFAULT, Common, Session, open_session, writing
from afterguard.errors import EXIT_GATE, EXIT_NOT_ALLOWED, EXIT_NOTHING, NothingToExamine, UsageError
from afterguard.safe import line, terminal

if TYPE_CHECKING:
    from afterguard.attack.assessment import Assessment
    from afterguard.attack.verified import Verified
    from afterguard.jobs.scoring import Data
    from afterguard.targets.document import Target


def verify(
    result: Path,
    target: Path,
    /,
    *,
    authorisation: Path | None = None,
    trusted: list[Path] | None = None,
    through: parts.Through = "guarded",
    times: int = 1,
    journal: Path | None = None,
    kill_file: Path | None = None,
    listen: str = "",
    common: Common = DEFAULT,
) -> int:
    """Ask exactly the hits of an earlier run again, and say which still succeed: after a fix, or through the guard.

    Ends with 10 where one still succeeds, with 3 where none does and one could not be assessed, with 0 where all are gone.

    Parameters
    ----------
    result
        The JSON of the earlier run, or its journal.
    target
        TARGET.yaml, as in that run.
    authorisation
        The owner's signed leave for the way that is asked.
    trusted
        Public keys of owners.
    through
        guarded: through the door of the guard that the target file names, with the rule on. direct: of the application, after its fix.
    times
        How often each is asked, 1 to 50; one success is enough.
    journal
        File that every request and reply is written to; a run that broke off goes on from it.
    kill_file
        Nothing more is sent once this file exists.
    listen
        HOST:PORT of a listener of our own.
    """
    from afterguard.attack.masking import masked

    session = open_session(common)
    _checked(common, ("table", "json"))
    if not 1 <= times <= 50:
        raise UsageError(f"--times {times}", hint="between 1 and 50", slug="bad-usage")
    earlier, (found, data) = _earlier(result), parts.opened(target, through)
    if earlier.target != found.name:
        raise UsageError(f"{result} is a run against {earlier.target}, not {found.name}", hint="give the target file of that run", slug="bad-usage")  # fmt: skip
    flags = parts.Flags(authorisation, trusted or [], kill_file, listen)
    book = journal or shown.named(found.name, through, what="verify")
    done = masked(_asked(session, target, found, data, earlier, flags, book, through, times), found.knows.canaries)
    _write(session, done)
    session.next(f"afterguard attack diff {result} NEW.json" if not done.left.part else "afterguard policy show strict -o policy.yaml")  # fmt: skip
    return 0 if common.no_fail else _code(done)


def _earlier(path: Path) -> Assessment:
    from afterguard.jobs import attack_results

    found = attack_results.baseline(path)
    if not found.hits:
        raise NothingToExamine(f"{path} has no hits to ask again", hint="afterguard attack TARGET.yaml --format json -o FILE", slug="nothing-to-examine")  # fmt: skip
    if not found.seed:
        raise UsageError(f"{path} does not say its seed", hint="give the journal of the run instead", slug="bad-journal")  # fmt: skip
    return found


def _asked(
    session: Session,
    file: Path,
    target: Target,
    data: Data | None,
    earlier: Assessment,
    flags: parts.Flags,
    journal: Path,
    through: parts.Through,
    times: int,
) -> Verified:
    from afterguard.jobs.attack_verify import ScoringVerification, Verification

    leave = parts.leave(session, flags, file, target)
    by = {one.id: one for one in parts.chosen("", data is not None)}
    techniques = [by[name] for name in dict.fromkeys(hit.technique for hit in earlier.hits) if name in by]
    head = parts.head(target, techniques, earlier.seed, through)
    with parts.book(journal, head, session) as book, parts.means(session, flags, target) as outside:
        if book.head.seed != earlier.seed:
            raise UsageError(f"{journal} is the journal of another run", hint="give another --journal", slug="bad-journal")  # fmt: skip
        made: Any = Verification if data is None else partial(ScoringVerification, data=data)
        done: Verified = made(target, techniques, leave, book, way=through, **outside).again(earlier.hits, earlier.run, times)  # fmt: skip
        return done


def _write(session: Session, done: Verified) -> None:
    from afterguard.report import json

    with writing(session.common.output) as out:
        out.write(json.dumps(json.plain(done)) if session.common.format == "json" else terminal(_table(done)))


def _table(done: Verified) -> str:
    from afterguard.attack.verified import State

    counts = ", ".join(f"{done.count(state)} {state}" for state in State)
    share = done.left
    rows = [f"{done.target} ({done.through}), hits of run {done.of}: {counts}" + (f"; ended because {done.stopped}" if done.stopped else "")]  # fmt: skip
    if share.of:
        rows.append(f"  {share.part} of {share.of} that say anything still succeed [{share.low:.0%}, {share.high:.0%}]")
    rows += [f"  {one.state:<15} {one.id} ({one.succeeded} of {one.of}){': ' + line(one.reason)[:160] if one.reason else ''}" for one in done.hits]  # fmt: skip
    return "\n".join(rows) + "\n"


def _code(done: Verified) -> int:
    from afterguard.attack.verified import State

    if done.count(State.succeeds):
        return EXIT_GATE
    if done.stopped.startswith(("the authorisation", "quiet hours")):
        return EXIT_NOT_ALLOWED
    return EXIT_NOTHING if done.count(State.unknown) else 0


def diff(old: Path, new: Path, /, *, common: Common = DEFAULT) -> int:
    """Compare two runs of one application: which families really give way more often, which less, and which cannot be told.

    Ends with 10 where one is really worse: the difference is larger than chance explains, all families taken together.

    Parameters
    ----------
    old
        JSON or journal of the earlier run.
    new
        Of the later one.
    """
    from afterguard.attack.compare import compare
    from afterguard.jobs.attack_results import baseline
    from afterguard.report import json

    session = open_session(common)
    _checked(common, ("table", "json"))
    found = compare(baseline(old), baseline(new))
    with writing(common.output) as out:
        out.write(json.dumps(msgspec.to_builtins(found)) if common.format == "json" else shown.diff_text(found) + "\n")
    session.next(f"afterguard attack TARGET.yaml --techniques {found.worse[0].technique}" if found.worse else f"afterguard attack TARGET.yaml --baseline {new}")  # fmt: skip
    return EXIT_GATE if found.worse and not common.no_fail else 0


def _checked(common: Common, formats: tuple[str, ...]) -> None:
    if common.format not in formats:
        raise UsageError(f"there is no {common.format} format here", hint=f"use one of {', '.join(formats)}", slug="bad-format")  # fmt: skip
