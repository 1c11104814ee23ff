"""`afterguard policy`: what may be said and done. Read, tested, tried on the past, and promoted by people."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from afterguard.cli.options import DEFAULT, Common, Progress, Session, open_session, writing
from afterguard.config import nearest
from afterguard.errors import EXIT_GATE, NothingToExamine, UsageError
from afterguard.safe import line, terminal

if TYPE_CHECKING:
    from afterguard.detect.detector import Opinion, Passage
    from afterguard.jobs.backtest import Backtest
    from afterguard.jobs.points import Point
    from afterguard.jobs.promote import Promotion
    from afterguard.policy import Policy

policy = App(
    name="policy", help="What may be said and done: test, explain, backtest, promote.", help_format="plaintext"
)
Judge = Literal["off", "one", "two"]
Stage = Literal["observe", "shadow", "share", "enforce"]
FILE_CAP = 8 << 20


@policy.command
def test(policy: str, /, *, common: Common = DEFAULT) -> int:
    """Run the tests inside a policy. Exits with 10 when one fails.

    Parameters
    ----------
    policy
        A file, or starter or strict.
    """
    from afterguard.jobs.policy_tests import run

    session = open_session(common)
    loaded = _loaded(policy)
    rows = list(run(loaded))
    failed = [one for one in rows if one.why]
    with writing(common.output) as out:
        if common.format == "json":
            tests = [{"name": one.name, "passed": not one.why, "why": one.why} for one in rows]
            body = {"format": "afterguard.policy-test/1", "policy": loaded.revision, "tests": tests}
            out.write(json.dumps(body, indent=2) + "\n")
        else:
            for one in rows:
                out.write(terminal(f"{'FAIL' if one.why else 'ok  '} {one.name}{': ' + one.why if one.why else ''}\n"))
    session.say(f"policy test: {loaded.revision}, {len(rows)} tests, {len(failed)} failed")
    session.next(
        f"afterguard policy {'explain' if failed else 'backtest'} {policy}" + ("" if failed else " --logs FILE")
    )
    return EXIT_GATE if failed and not common.no_fail else 0


@policy.command
def explain(
    policy: str,
    /,
    *,
    test: str | None = None,
    logs: list[Path] | None = None,
    turn: str | None = None,
    judge: Judge = "off",
    common: Common = DEFAULT,
) -> int:
    """Say which rule determined a verdict and why, rule by rule: for tests inside the policy, or for a turn of a log.

    Parameters
    ----------
    policy
        A file, or starter or strict.
    test
        Name of one test; all of them where neither this nor --logs is given.
    logs
        Recorded traffic; --turn names one turn in it, without it the first turn that is not allowed is explained.
    turn
        ID#N as backtest --decisions writes it.
    judge
        The learned judge: off, one (tier one) or two.
    """
    from afterguard.jobs.policy_tests import context, sides
    from afterguard.policy.explain import explain as explained
    from afterguard.policy.trial import judged

    session = open_session(common)
    loaded = _loaded(policy)
    if logs:
        text = _turn(session, loaded, logs, turn, judge)
    else:
        tests = [one for one in loaded.document.tests if test in (None, one.name)]
        if not tests:
            known = [one.name for one in loaded.document.tests]
            raise UsageError(
                f"no test {test!r}", hint=nearest(test or "", known) if known else "add tests", slug="bad-policy"
            )
        parts = []
        for one in tests:
            facts = {"mode": "enforce", **one.facts}
            try:
                found = list(judged(one, loaded, sides, context))
            except (ValueError, msgspec.ValidationError) as error:
                parts.append(f"# {one.name}\ncannot be run: {error}\n")
                continue
            parts += [f"# {one.name}\n{explained(side.exchange, side.hits, loaded, side.at, facts)}" for side in found]
        text = "\n".join(parts)
    with writing(common.output) as out:
        out.write(terminal(text))
    session.next(f"afterguard policy backtest {policy} --logs FILE")
    return 0


@policy.command
def fmt(files: list[Path], /, *, check: bool = False, common: Common = DEFAULT) -> int:
    """Write policies in the one canonical way; comments stay.

    Parameters
    ----------
    files
        Policy files; they are replaced.
    check
        Change nothing; exit with 10 when a file is not canonical.
    """
    from afterguard.policy.fmt import fmt as formatted

    session = open_session(common)
    changed = 0
    for path in files:
        text = _text(path)
        better = formatted(text, str(path))
        if better != text:
            changed += 1
            session.say(f"{path}: {'not canonical' if check else 'formatted'}")
            if not check:
                with writing(str(path)) as out:
                    out.write(better)
    session.say(f"policy fmt: {len(files)} files, {changed} {'not canonical' if check else 'changed'}")
    return EXIT_GATE if check and changed and not common.no_fail else 0


@policy.command
def schema(*, common: Common = DEFAULT) -> int:
    """Print the JSON Schema of a policy file, for editors."""
    from afterguard.policy.document import schema as described

    open_session(common)
    with writing(common.output) as out:
        out.write(json.dumps(described(), indent=2) + "\n")
    return 0


@policy.command
def show(policy: str = "starter", /, *, common: Common = DEFAULT) -> int:
    """Print a policy that comes with Afterguard, to begin one's own with.

    Parameters
    ----------
    policy
        starter or strict.
    """
    from afterguard.policy import shipped_text

    session = open_session(common)
    with writing(common.output) as out:
        out.write(shipped_text(policy))
    session.next("afterguard policy backtest FILE --logs FILE")
    return 0


@policy.command
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
    loaded = _loaded(policy)
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
            opinion=_opinion(session, judge),
            passage=_passage(session, judge),
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


@policy.command
def key(file: Path, /, *, common: Common = DEFAULT) -> int:
    """Make a signing key for one person: FILE, which only they can read, and FILE.pub, which others check against.

    Parameters
    ----------
    file
        Where to write the private key; it must not exist.
    """
    from afterguard.jobs.promote import new_key, public_key

    session = open_session(common)
    private, public = new_key()
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(private)
        Path(f"{file}.pub").write_bytes(public)
    except OSError as error:
        raise UsageError(
            f"cannot write {file}: {error.strerror}", hint="choose another file", slug="cannot-write"
        ) from None
    session.say(f"policy key: {file}, {file}.pub; for guard.trusted_keys: {public_key(public, str(file))}")
    session.next(f"afterguard policy promote POLICY --key {file} --name NAME --stage shadow --reason TEXT")
    return 0


@policy.command
def promote(
    policy: Path,
    /,
    *,
    key: Path,
    name: str,
    stage: Stage | None = None,
    share: float = 1.0,
    reason: str = "",
    change: str = "",
    backtest: Path | None = None,
    trusted: list[Path] | None = None,
    common: Common = DEFAULT,
) -> int:
    """Sign a policy's way to the next stage. The first person proposes with --stage and a reason, a second person signs.

    Writes POLICY.promoted.json. Refused when the policy's tests fail, in a freeze window, and without a backtest of this revision where
    the stage acts.

    Parameters
    ----------
    policy
        The policy file.
    key
        Your private key, made with policy key.
    name
        Who you are.
    stage
        observe, shadow, share or enforce; left out by the second person.
    share
        Share of conversations, for stage share.
    reason
        Why; or --change.
    change
        Number of the change request.
    backtest
        Result of policy backtest -f json for this revision; gives the expected rate.
    trusted
        Public keys (.pub) that may sign; others are refused.
    """
    from afterguard.jobs import promote as job
    from afterguard.jobs.policy_tests import run

    session = open_session(common)
    loaded = _loaded(str(policy))
    failed = [one.name for one in run(loaded) if one.why]
    if failed:
        raise UsageError(f"the test {failed[0]!r} fails", hint=f"afterguard policy test {policy}", slug="bad-promotion")
    target = Path(f"{policy}{job.SUFFIX}")
    now = datetime.now(UTC)
    if stage is None:
        promotion = _second(loaded, target, now)
    else:
        tried = _tried(backtest) if backtest else None
        promotion = job.propose(loaded, stage, share=share, reason=reason, change=change, tried=tried, today=now.date())
    signed = job.sign(promotion, job.private_key(_bytes(key), str(key)), name, now)
    wrong = job.problems(signed, loaded, [job.public_key(_bytes(one), str(one)) for one in trusted or []])
    if any("signed" not in one for one in wrong):
        raise UsageError(wrong[0], hint="remove the promotion and begin again", slug="bad-promotion")
    with writing(str(target)) as out:
        out.write(msgspec.json.format(msgspec.json.encode(signed), indent=2).decode() + "\n")
    if signed.is_complete:
        session.say(f"policy promote: {signed.revision} is promoted to {signed.stage}")
        session.next(f"afterguard policy status {policy}")
    else:
        session.say(f"policy promote: {signed.revision} to {signed.stage} waits for a second person")
        session.next(f"afterguard policy promote {policy} --key THEIR-KEY --name THEIR-NAME")
    return 0


@policy.command
def bundle(
    policy: Path,
    /,
    *,
    out: Path,
    key: Path,
    name: str,
    days: float = 30.0,
    sites: Path | None = None,
    sequence: int | None = None,
    common: Common = DEFAULT,
) -> int:
    """Sign a policy for many sites: one file that guards pull with --policy https://... or --policy FILE.

    POLICY.promoted.json goes along where there is one. Refused when the policy's tests fail. What is at --out is replaced, by a bundle of a higher sequence.

    Parameters
    ----------
    policy
        The policy file.
    out
        Where to write the bundle.
    key
        Your private key, made with policy key.
    name
        Who you are.
    days
        How long it is good. What has expired is not taken any more; what is in force stays, and is stale.
    sites
        YAML with what is different at sites: NAME: {mode: observe}. A guard is at the site that guard.site names.
    sequence
        Its number; it must be higher than that of any bundle before. Without it: the time, or one more than at --out.
    """
    from afterguard.jobs import bundle as job
    from afterguard.jobs import promote
    from afterguard.jobs.policy_tests import run

    session = open_session(common)
    text, loaded = _text(policy), _loaded(str(policy))
    failed = [one.name for one in run(loaded) if one.why]
    if failed:
        raise UsageError(f"the test {failed[0]!r} fails", hint=f"afterguard policy test {policy}", slug="bad-bundle")
    now = datetime.now(UTC)
    place = Path(f"{policy}{promote.SUFFIX}")
    promotion = promote.read(_bytes(place), str(place)) if place.exists() else None
    wrong = promote.problems(promotion, loaded) if promotion else []
    if wrong:
        raise UsageError(
            f"{place} does not hold: {wrong[0]}",
            hint="promote this revision, or move that file away",
            slug="bad-bundle",
        )
    before = job.read(_bytes(out)).sequence if out.exists() else 0
    number = max(before + 1, int(now.timestamp())) if sequence is None else sequence
    if number <= before:
        raise UsageError(
            f"{out} has the sequence {before}", hint=f"give at least {before + 1}, or none", slug="bad-bundle"
        )
    made = job.make(
        text,
        str(policy),
        sequence=number,
        now=now,
        days=days,
        promotion=promotion,
        sites=job.sites_of(_text(sites), str(sites)) if sites else {},
    )
    signed = job.sign(made, promote.private_key(_bytes(key), str(key)), name, now)
    with writing(str(out)) as file:
        file.write(job.written(signed).decode())
    session.say(f"policy bundle: {signed.revision} as {signed.sequence}, good until {signed.valid_until}, in {out}")
    session.say(f"signed by {name}; for guard.trusted_keys: {signed.signatures[0].key}")
    session.next(f"put {out} where the sites pull it, then: afterguard policy status --at URL")
    return 0


@policy.command
def status(
    policies: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    at: Annotated[list[str] | None, Parameter(negative=())] = None,
    trusted: list[Path] | None = None,
    acted: int | None = None,
    seen: int | None = None,
    common: Common = DEFAULT,
) -> int:
    """Say of each enforcement point which policy it has in force, how old, in which modes, and whether it is stale; of each policy file its stage and who promoted it.

    Exits with 10 where a promotion does not hold, or a point is stale, does not answer, or has another policy than the rest.

    Parameters
    ----------
    policies
        Policy files; files with what a guard says at /metrics are enforcement points.
    at
        Address of a guard: http://127.0.0.1:8765. Repeatable.
    trusted
        Public keys (.pub) that may sign.
    acted
        Exchanges the guard blocked or changed since the promotion; with --seen: whether it must go back.
    seen
        Exchanges it saw since.
    """
    from afterguard.jobs import promote as job
    from afterguard.jobs.points import lines, odd
    from afterguard.policy.interval import should_roll_back

    session = open_session(common)
    if not policies and not at:
        raise UsageError("nothing to look at", hint="give a policy file, or --at http://HOST:PORT", slug="bad-usage")
    keys = [job.public_key(_bytes(one), str(one)) for one in trusted or []]
    points = list(_points(session, policies or [], at or []))
    files = {one.at for one in points}
    rows = []
    for path in [one for one in policies or [] if str(one) not in files]:
        loaded = _loaded(str(path))
        target = Path(f"{path}{job.SUFFIX}")
        promotion = job.read(_bytes(target), str(target)) if target.exists() else None
        wrong = job.problems(promotion, loaded, keys) if promotion else []
        expected = promotion.expected if promotion else None
        back = bool(
            expected
            and acted is not None
            and seen is not None
            and should_roll_back((expected.low, expected.high), acted, seen)
        )
        rows.append(
            {
                "policy": str(path),
                "revision": loaded.revision,
                "mode": loaded.document.mode,
                "stage": promotion.stage if promotion and not wrong else "",
                "signed_by": [one.name for one in promotion.signatures] if promotion else [],
                "reason": promotion.reason or promotion.change if promotion else "",
                "expected": msgspec.to_builtins(expected) if expected else None,
                "problems": wrong,
                "must_go_back": back,
            }
        )
    with writing(common.output) as out:
        if common.format == "json":
            found = {"format": "afterguard.policy-status/1", "policies": rows, "points": msgspec.to_builtins(points)}
            out.write(json.dumps(found, indent=2) + "\n")
        else:
            for row in rows:
                out.write("\n".join(_status_lines(row)) + "\n")
            for text in lines(points):
                out.write(terminal(text) + "\n")
    session.next("afterguard policy backtest POLICY --logs FILE")
    is_wrong = any(row["problems"] or row["must_go_back"] for row in rows) or bool(odd(points))
    return EXIT_GATE if is_wrong and not common.no_fail else 0


def _points(session: Session, files: list[Path], addresses: list[str]) -> Iterator[Point]:
    """Enforcement points: guards that are asked, and what guards wrote."""
    from afterguard.guard.tls import client_context
    from afterguard.jobs import points
    from afterguard.net import Way

    for path in files:
        data = _bytes(path)
        if data.startswith(points.IS_PAGE):
            yield points.point(str(path), data.decode("utf-8", "replace"), time.time())
    if addresses:
        if session.common.offline:
            raise UsageError("--at asks guards, and --offline forbids it", hint="leave one out", slug="bad-usage")
        settings = session.config.guard
        context = client_context(ca=settings.upstream_ca, certificate=settings.upstream_certificate)
        yield from points.asked(addresses, settings.token, Way(context), time.time)


def _status_lines(row: dict[str, object]) -> Iterator[str]:
    yield line(f"{row['policy']}: {row['revision']}, mode {row['mode']}")
    people = row["signed_by"]
    if isinstance(people, list) and people:
        stage = f"promoted to {row['stage']}" if row["stage"] else "not promoted"
        yield line(f"  {stage}, signed by {', '.join(people)}: {row['reason']}")
    else:
        yield "  never promoted"
    expected = row["expected"]
    if isinstance(expected, dict):
        yield f"  expected to act on {expected['low']:.2%} to {expected['high']:.2%} of turns ({expected['turns']:,} tried)"
    problems = row["problems"]
    for one in problems if isinstance(problems, list) else []:
        yield line(f"  problem: {one}")
    if row["must_go_back"]:
        yield "  must go back: it acts more often than expected"


def _second(loaded: Policy, target: Path, now: datetime) -> Promotion:
    from afterguard.jobs import promote as job

    if not target.exists():
        raise UsageError("nobody has proposed a promotion", hint="add --stage and --reason", slug="bad-promotion")
    promotion = job.read(_bytes(target), str(target))
    if promotion.revision != loaded.revision:
        raise UsageError(
            f"{promotion.revision} was proposed, the policy is now {loaded.revision}",
            hint="propose it again with --stage",
            slug="bad-promotion",
        )
    if promotion.is_complete:
        raise UsageError("it is promoted already", hint=f"afterguard policy status {target}", slug="bad-promotion")
    job.not_now(loaded, now.date())
    return promotion


def _turn(session: Session, loaded: Policy, logs: list[Path], wanted: str | None, judge: Judge) -> str:
    """The explanation of one turn of a log. Its conversation is judged from the beginning, as the guard would."""
    from afterguard import files, tap
    from afterguard.cli.recording import pseudonym
    from afterguard.detect import NONE, Context, look_on
    from afterguard.jobs.turns import turns
    from afterguard.model import Action
    from afterguard.policy import decide
    from afterguard.policy.explain import explain as explained

    context = Context(pseudonym(session), _opinion(session, judge))
    facts = {"mode": "enforce"}
    for entry in files.walk(logs, session.note):
        for exchange in tap.read(entry.full, entry.path, session.note):
            if wanted is not None and not wanted.startswith(f"{exchange.id}#"):
                continue
            past = NONE
            for turn in turns(exchange):
                parts = []
                is_allowed = True
                for at, side in (("request", turn.sides.request), ("response", turn.sides.reply)):
                    if side is None:
                        continue
                    hits, after = look_on(side, context, past)
                    past = after if at == "request" else past
                    is_allowed &= decide(side, hits, loaded, at, facts).action is Action.allow
                    parts.append(f"# {turn.id}\n{explained(side, hits, loaded, at, facts)}")
                if turn.id == wanted or (wanted is None and not is_allowed):
                    return "\n".join(parts)
    if wanted is None:
        return "every turn is allowed\n"
    raise UsageError(f"no turn {wanted!r}", hint="ID#N as policy backtest --decisions writes it", slug="bad-usage")


def _passage(session: Session, judge: Judge | None) -> Passage | None:
    """The judge's network on one sentence, as the guard's helpers ask it; None where it is not to be had."""
    if (judge or session.config.guard.judge) != "two":
        return None
    from afterguard import judges
    from afterguard.detect.judge import passage

    by = judges.load()
    return None if by.two is None else lambda text, origin: passage(text, origin, by)


def _opinion(session: Session, judge: Judge | None) -> Opinion | None:
    """The judge as the guard uses it: its tier and operating point."""
    chosen = session.config.guard
    tier = judge or chosen.judge
    if tier == "off":
        return None
    from afterguard import judges
    from afterguard.detect.judge import judge as ask

    by = judges.load()
    return lambda text, origin: ask(text, origin, by, chosen.point, "one" if tier == "one" else "")


def _prices(business: Path | None) -> tuple[float | None, float | None]:
    """(cost of a blocked request, requests a day) as answered."""
    if business is None:
        return None, None
    from afterguard.risk import business as facts

    answers = facts.parse(_bytes(business), str(business))
    cost, daily = answers.blocked_request_cost, answers.requests_per_day
    return cost.mid if cost else None, daily.mid if daily else None


def _loaded(name: str) -> Policy:
    """A policy by the name of one that is shipped, or by its file. Raises UsageError."""
    from afterguard.policy import SHIPPED, load_policy, shipped

    return shipped(name) if name in SHIPPED and not Path(name).is_file() else load_policy(_text(Path(name)), name)


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", hint="save it as UTF-8", slug="bad-policy") from None


def _bytes(path: Path) -> bytes:
    from afterguard.files import open_file

    try:
        with open_file(path) as handle:
            data: bytes = handle.read(FILE_CAP + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="check the path", slug="no-such-path") from None
    if len(data) > FILE_CAP:
        raise UsageError(f"{path} is larger than {FILE_CAP >> 20} MiB", hint="is it the right file?", slug="bad-usage")
    return data


def _lines(path: Path) -> Iterator[bytes]:
    from afterguard import files

    problems: list[str] = []
    try:
        with files.open_stream(path, str(path), lambda row: problems.append(row.detail)) as stream:
            for one in files.lines(stream, 1 << 16):
                yield one.data
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="check the path", slug="no-such-path") from None


def _tried(path: Path) -> Backtest:
    from afterguard.jobs.backtest import Backtest

    try:
        return msgspec.json.decode(_bytes(path), type=Backtest)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UsageError(
            f"{path} is no backtest: {error}",
            hint="afterguard policy backtest POLICY --logs FILE -f json -o FILE",
            slug="bad-usage",
        ) from None
