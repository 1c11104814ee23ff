"""`afterguard policy backtest`: what a policy would have done.

In: a policy and recorded traffic. Out: actions, rules, an estimate of false positives, people a day, cost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec

from afterguard.cli.options import DEFAULT, Common, Progress, open_session, writing
from afterguard.cli.policy_files import Judge, bytes_of, opinion_of, passage_of, policy_of
from afterguard.errors import NothingToExamine, UsageError
from afterguard.safe import terminal


def backtest(
    policy: str = "starter",
    /,
    *,
    logs: list[Path],
    decisions: str | None = None,
    labels: Path | None = None,
    judge: Judge | None = None,
    map: Path | None = None,
    business: Path | None = None,
    cost_per_block: float | None = None,
    turns_per_day: float | None = None,
    common: Common = DEFAULT,
) -> int:
    """Say what a policy would have done to recorded traffic: actions, rules, false positives with interval, people a day, cost.

    Parameters
    ----------
    policy
        A file, or starter or strict.
    logs
        Logs or folders of logs, any shape that lookback reads. Conversations are tried turn by turn.
    decisions
        Write a JSON line a turn: exchange_id (ID#N), action, rule, hits, would.
    labels
        JSON lines {"exchange_id", "disposition"}: false_positive or true_positive, of turns (ID#N) or records (ID).
    judge
        The learned judge: off, one (tier one) or two; as the guard is configured where not given.
    map
        Mapping file for a shape that is not recognised.
    business
        Answers about the application; blocked_request_cost and requests_per_day price what would have been stopped.
    cost_per_block
        What a wrongly stopped turn costs; wins over --business.
    turns_per_day
        Turns a day, where the log has no times or is a sample; wins over --business.
    """
    from afterguard.cli.recording import pseudonym
    from afterguard.files import limits_of
    from afterguard.jobs import backtest as job
    from afterguard.tap import load_mapping

    session = open_session(common)
    loaded = policy_of(policy)
    price, daily = _prices(business)
    progress = Progress(session, "policy backtest: judging")
    with ExitStack() as stack:
        stack.callback(progress.close)
        sink = stack.enter_context(writing(decisions)) if decisions else None
        encode = msgspec.json.Encoder().encode
        found = job.backtest(
            logs,
            loaded,
            pseudonym=pseudonym(session),
            mapping=load_mapping(map) if map else None,
            opinion=opinion_of(session, judge),
            passage=passage_of(session, judge),
            labels=job.read_labels(_lines(labels), str(labels)) if labels else None,
            write=(lambda row: sink.write(encode(row).decode() + "\n")) if sink else None,
            clock=time.monotonic,
            progress=lambda count, done: progress(count, "turns", done),
            limits=limits_of(session.config.limits),
            cost_per_block=price if cost_per_block is None else cost_per_block,
            turns_per_day=daily if turns_per_day is None else turns_per_day,
        )
    if not found.turns:
        raise NothingToExamine(
            "no recorded AI traffic in these files",
            hint="see docs/how-to/lookback.md for the shapes",
            slug="nothing-to-examine",
        )
    for row in found.coverage:
        session.note(row)
    with writing(common.output) as out:
        if common.format == "json":
            out.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        else:
            out.write(terminal(job.table(found)))
    session.say(f"policy backtest: {found.turns:,} turns in {found.seconds:.1f} s")
    own = Path(policy).is_file()
    session.next(
        f"afterguard policy {'promote' if own else 'show'} {policy} {'--stage shadow' if own else '-o policy.yaml'}"
    )
    return 0


def _prices(business: Path | None) -> tuple[float | None, float | None]:
    """(cost of a blocked request, requests a day) as answered."""
    if business is None:
        return None, None
    from afterguard.risk import business as facts

    answers = facts.parse(bytes_of(business), str(business))
    cost, daily = answers.blocked_request_cost, answers.requests_per_day
    return cost.mid if cost else None, daily.mid if daily else None


def _lines(path: Path) -> Iterator[bytes]:
    from afterguard import files

    problems: list[str] = []
    try:
        with files.open_stream(path, str(path), lambda row: problems.append(row.detail)) as stream:
            for one in files.lines(stream, 1 << 16):
                yield one.data
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="check the path", slug="no-such-path") from None
