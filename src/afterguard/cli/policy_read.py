"""`afterguard policy test`, `explain`, `fmt`, `schema`, `show`: what a policy says.

In: policies and, for `explain`, recorded traffic. Out: what they say of it. Nothing is changed but by `fmt`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from afterguard.cli.options import DEFAULT, Common, Session, open_session, writing
from afterguard.cli.policy_files import Judge, opinion_of, policy_of, text_of
from afterguard.config import nearest
from afterguard.errors import EXIT_GATE, UsageError
from afterguard.safe import terminal

if TYPE_CHECKING:
    from afterguard.policy import Policy


def test(policy: str, /, *, common: Common = DEFAULT) -> int:
    """Run the tests inside a policy. Exits with 10 when one fails.

    Parameters
    ----------
    policy
        A file, or starter or strict.
    """
    from afterguard.jobs.policy_tests import run

    session = open_session(common)
    loaded = policy_of(policy)
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
    loaded = policy_of(policy)
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
        text = text_of(path)
        better = formatted(text, str(path))
        if better != text:
            changed += 1
            session.say(f"{path}: {'not canonical' if check else 'formatted'}")
            if not check:
                with writing(str(path)) as out:
                    out.write(better)
    session.say(f"policy fmt: {len(files)} files, {changed} {'not canonical' if check else 'changed'}")
    return EXIT_GATE if check and changed and not common.no_fail else 0


def schema(*, common: Common = DEFAULT) -> int:
    """Print the JSON Schema of a policy file, for editors."""
    from afterguard.policy.document import schema as described

    open_session(common)
    with writing(common.output) as out:
        out.write(json.dumps(described(), indent=2) + "\n")
    return 0


def show(policy: str = "starter", /, *, common: Common = DEFAULT) -> int:
    """Print a policy that comes with Afterguard, to begin one's own with.

    Parameters
    ----------
    policy
        starter, strict, or extra: rules to add where an attack showed that they are needed.
    """
    from afterguard.policy import shipped_text

    session = open_session(common)
    with writing(common.output) as out:
        out.write(shipped_text(policy))
    session.next("afterguard policy backtest FILE --logs FILE")
    return 0


def _turn(session: Session, loaded: Policy, logs: list[Path], wanted: str | None, judge: Judge) -> str:
    """The explanation of one turn of a log. Its conversation is judged from the beginning, as the guard would."""
    from afterguard import files, tap
    from afterguard.cli.recording import pseudonym
    from afterguard.detect import NONE, Context, look_on
    from afterguard.jobs.turns import turns
    from afterguard.model import Action
    from afterguard.policy import decide
    from afterguard.policy.explain import explain as explained

    context = Context(pseudonym(session), opinion_of(session, judge))
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
