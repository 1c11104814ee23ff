"""Recorded traffic + a policy -> what the policy would have done, and how often it would have been wrong.

In: paths of logs, a Policy. Out: `Backtest`, and a `Decision` for every turn. Detectors and decisions are the guard's own; every rule is
tried as if the policy were enforced, rules in shadow stay in shadow. It streams: memory does not grow with the log, but for bounded
counts of callers and conversations. It sends nothing and keeps no text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from afterguard import files, tap
from afterguard.detect import NONE, Context, look_on
from afterguard.detect.detector import Opinion, Passage
from afterguard.errors import UsageError
from afterguard.jobs.turns import Turn, turns
from afterguard.model import ACTIONS, Action, Coverage, Exchange, Hit, Verdict
from afterguard.policy import Policy, decide
from afterguard.shares import Share, wilson

Progress = Callable[[int, int], None]
STEP = 2_000
FORMAT = "afterguard.backtest/1"
NAMES_CAP = 1_000_000
"""Callers, days and conversations that are told apart; further ones are counted as one."""
COVERAGE_CAP = 1_000
LABELS_CAP = 5_000_000
WRONG = {"false_positive", "benign", "ordinary"}
RIGHT = {"true_positive", "attack", "malicious", "confirmed"}
DAY = 86_400
RANK = {action: rank for rank, action in enumerate(ACTIONS)}


class Decision(msgspec.Struct, frozen=True):
    """What the policy would have done in one turn; a line of --decisions."""

    exchange_id: str
    action: str
    rule: str
    hits: tuple[str, ...]
    """Kinds of what detectors saw that is new in this turn, without what is merely present."""
    would: str = "allow"
    """With rules in shadow enforced too."""


class Estimate(msgspec.Struct, frozen=True):
    """A share with its 95 % interval and what it is a share of."""

    what: str
    count: int
    of: int
    rate: float
    low: float
    high: float


class RuleCount(msgspec.Struct, frozen=True):
    """How often one rule matched, and how often it determined what is done."""

    rule: str
    action: str
    stage: str
    matched: int
    determined: int


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy would have done to one body of traffic."""

    format: str = FORMAT
    policy: str
    turns: int
    exchanges: int
    actions: dict[str, int]
    would: dict[str, int]
    """With rules in shadow enforced too."""
    rules: tuple[RuleCount, ...]
    touched: Estimate
    """Turns blocked or changed."""
    conversations: Estimate
    """Conversations with such a turn."""
    false_positives: Estimate
    days: int
    """Calendar days (UTC) with turns; 0 where the log has no times."""
    people_per_day: float
    """Distinct callers touched on a day, on average over the days; over the whole log where it has no times."""
    people_most: int
    """On the worst day."""
    callers: bool
    """Whether the log names callers; conversations are counted instead where it does not."""
    cost_per_day: float | None = None
    cost_note: str = ""
    unjudged: dict[str, int] = {}
    coverage: tuple[Coverage, ...] = ()
    seconds: float = 0.0


class Tally:
    """What one backtest counts."""

    def __init__(
        self,
        policy: Policy,
        pseudonym: Callable[[str], str],
        opinion: Opinion | None = None,
        passage: Passage | None = None,
    ) -> None:
        self.policy = policy
        self.context = Context(pseudonym, opinion)
        self.context.passage = passage
        self.pseudonym = pseudonym
        self.turns = self.exchanges = self.touched = self.bytes = 0
        self.actions: Counter[str] = Counter()
        self.would: Counter[str] = Counter()
        self.matched: Counter[str] = Counter()
        self.determined: Counter[str] = Counter()
        self.unjudged: Counter[str] = Counter()
        self.conversations: set[int] = set()
        self.touched_conversations: set[int] = set()
        self.people: dict[int, set[int]] = {}
        self.days: set[int] = set()
        self.has_callers = False
        self.coverage: list[Coverage] = []
        self.labelled: Counter[str] = Counter()
        self.facts: dict[str, Any] = {"mode": "enforce"}

    def note(self, row: Coverage) -> None:
        """Keep a row of what was not read, up to a cap."""
        if len(self.coverage) < COVERAGE_CAP:
            self.coverage.append(row)

    def add(self, exchange: Exchange, labels: Mapping[str, str]) -> Iterable[Decision]:
        """Decide and count every turn of one exchange."""
        self.exchanges += 1
        self.bytes += exchange.bytes
        past = NONE
        for part in exchange.unjudged:
            self.unjudged[part.reason] += 1
        for turn in turns(exchange):
            request: tuple[list[Hit], Verdict] = ([], self.policy.nothing)
            reply = request
            if turn.sides.request is not None:
                hits, past = look_on(turn.sides.request, self.context, past)
                request = hits, decide(turn.sides.request, hits, self.policy, "request", self.facts)
            if turn.sides.reply is not None:
                # As in the guard: the reply's past is not kept, the next request brings the reply as a message.
                hits, _ = look_on(turn.sides.reply, self.context, past)
                reply = hits, decide(turn.sides.reply, hits, self.policy, "response", self.facts)
            yield self.count(exchange, turn, request, reply, labels)

    def count(
        self,
        exchange: Exchange,
        turn: Turn,
        request: tuple[list[Hit], Verdict],
        reply: tuple[list[Hit], Verdict],
        labels: Mapping[str, str],
    ) -> Decision:
        """Count one turn."""
        first, second = request[1], reply[1]
        chief = second if RANK[second.action] > RANK[first.action] else first
        would = max(first.would, second.would, key=RANK.__getitem__)
        self.turns += 1
        self.actions[chief.action.value] += 1
        self.would[would.value] += 1
        self.matched.update({*first.matched, *second.matched})
        if chief.rule:
            self.determined[chief.rule] += 1
        conversation = hash(exchange.conversation or exchange.id)
        is_touched = RANK[chief.action] > RANK[Action.flag]
        if len(self.conversations) < NAMES_CAP:
            self.conversations.add(conversation)
        if is_touched:
            self.touched += 1
            self.touched_conversations.add(conversation)
            self.labelled[labels.get(turn.id, labels.get(exchange.id, ""))] += 1
        self._who(exchange, conversation, is_touched)
        kinds = dict.fromkeys(hit.kind for hit in (*request[0], *reply[0]) if hit.kind != "inventory")
        return Decision(turn.id, chief.action.value, chief.rule, tuple(kinds), would.value)

    def _who(self, exchange: Exchange, conversation: int, is_touched: bool) -> None:
        day = int(exchange.time // DAY) if exchange.time is not None else -1
        if day >= 0 and len(self.days) < NAMES_CAP:
            self.days.add(day)
        caller = exchange.identity or exchange.key
        self.has_callers = self.has_callers or bool(caller)
        if is_touched and (day in self.people or len(self.people) < NAMES_CAP):
            rows = self.people.setdefault(day, set())
            if len(rows) < NAMES_CAP:
                rows.add(hash(caller) if caller else conversation)


def backtest(
    paths: Sequence[Path],
    policy: Policy,
    *,
    pseudonym: Callable[[str], str],
    mapping: Any = None,
    opinion: Opinion | None = None,
    passage: Passage | None = None,
    labels: Mapping[str, str] | None = None,
    write: Callable[[Decision], object] | None = None,
    clock: Callable[[], float] | None = None,
    progress: Progress | None = None,
    limits: files.Limits = files.DEFAULT,
    cost_per_block: float | None = None,
    turns_per_day: float | None = None,
) -> Backtest:
    """Try a policy on every turn of every log. `labels` say of turns or exchanges what they were. Raises UsageError for a missing path."""
    began = clock() if clock else 0.0
    tally = Tally(policy, pseudonym, opinion, passage)
    known = labels or {}
    for entry in files.walk(list(paths), tally.note, limits):
        for exchange in tap.read(entry.full, entry.path, tally.note, mapping=mapping, limits=limits):
            for decision in tally.add(exchange, known):
                if write is not None:
                    write(decision)
                if progress and tally.turns % STEP == 0:
                    progress(tally.turns, tally.bytes)
    return result(tally, (clock() - began) if clock else 0.0, labels is not None, cost_per_block, turns_per_day)


def result(
    tally: Tally, seconds: float, is_labelled: bool, cost_per_block: float | None, turns_per_day: float | None
) -> Backtest:
    """The counted state as one struct."""
    dated = {day: people for day, people in tally.people.items() if day >= 0}
    days = len(tally.days)
    counts = [len(people) for people in (dated if days else tally.people).values()]
    reviewed = _reviewed(tally) if is_labelled else None
    false = reviewed or _unreviewed(tally)
    cost, note = _cost(tally, reviewed, days, cost_per_block, turns_per_day)
    return Backtest(
        policy=tally.policy.revision,
        turns=tally.turns,
        exchanges=tally.exchanges,
        actions=_ordered(tally.actions),
        would=_ordered(tally.would),
        rules=tuple(
            RuleCount(one.id, one.action.value, one.document.stage, tally.matched[one.id], tally.determined[one.id])
            for one in tally.policy.rules
        ),
        touched=_estimate("turns blocked or changed", wilson(tally.touched, tally.turns)),
        conversations=_estimate(
            "conversations with such a turn", wilson(len(tally.touched_conversations), len(tally.conversations))
        ),
        false_positives=false,
        days=days,
        people_per_day=sum(counts) / max(1, days),
        people_most=max(counts, default=0),
        callers=tally.has_callers,
        cost_per_day=cost,
        cost_note=note,
        unjudged={reason: count for reason, count in sorted(tally.unjudged.items()) if count},
        coverage=tuple(tally.coverage),
        seconds=seconds,
    )


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return {action.value: counts[action.value] for action in ACTIONS if counts[action.value]}


def _estimate(what: str, share: Share) -> Estimate:
    return Estimate(what, share.part, share.of, share.rate, share.low, share.high)


def _reviewed(tally: Tally) -> Estimate | None:
    """False positives from dispositions; None where no touched turn has one."""
    wrong = sum(tally.labelled[name] for name in WRONG)
    right = sum(tally.labelled[name] for name in RIGHT)
    if not wrong + right:
        return None
    unknown = tally.touched - wrong - right
    left = f"; {unknown} touched turns have none and are left out" if unknown else ""
    return _estimate(f"wrongly touched among the touched turns with a disposition{left}", wilson(wrong, wrong + right))


def _unreviewed(tally: Tally) -> Estimate:
    """The share touched, whose upper end is a bound if the traffic is ordinary."""
    what = "turns blocked or changed; nobody reviewed them: the upper end bounds false positives if this traffic is ordinary"
    return _estimate(what, wilson(tally.touched, tally.turns))


def _cost(
    tally: Tally, reviewed: Estimate | None, days: int, cost_per_block: float | None, turns_per_day: float | None
) -> tuple[float | None, str]:
    if cost_per_block is None:
        return None, "not priced: give --business or --cost-per-block"
    if turns_per_day is None and not days:
        return None, "not priced: the log has no times; give --turns-per-day"
    daily = turns_per_day if turns_per_day is not None else tally.turns / days
    rate = tally.touched / tally.turns if tally.turns else 0.0
    whose = "every touched turn taken for a wrong one" if reviewed is None else "wrongly touched turns as reviewed"
    wrongly = rate if reviewed is None else rate * reviewed.rate
    return daily * wrongly * cost_per_block, f"{daily:,.0f} turns a day, {whose}"


def read_labels(lines: Iterable[bytes], name: str) -> dict[str, str]:
    """JSON lines {"exchange_id", "disposition"} as a map. Raises UsageError with the line."""
    out: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key, said = row["exchange_id"], row["disposition"]
        except (ValueError, KeyError, TypeError, RecursionError):
            key = said = None
        if not isinstance(key, str) or said not in WRONG | RIGHT:
            raise UsageError(
                f"{name}:{number}: no disposition",
                hint='one JSON object a line: {"exchange_id": "ID#N", "disposition": "false_positive" or "true_positive"}',
                slug="bad-policy",
            )
        if len(out) < LABELS_CAP:
            out[key] = said
    return out


def table(one: Backtest) -> str:
    """The result for a person."""
    out = [f"{one.policy} on {one.turns:,} turns of {one.exchanges:,} records", ""]
    out += [f"  {name:<12} {count:>8,}  {count / max(1, one.turns):7.2%}" for name, count in one.actions.items()]
    out += ["", f"{'rule':<32} {'action':<11} {'stage':<8} {'matched':>8} {'determined':>11}"]
    out += [f"{r.rule:<32} {r.action:<11} {r.stage:<8} {r.matched:>8,} {r.determined:>11,}" for r in one.rules]
    out.append("")
    out += [_line("touched", one.touched), _line("conversations", one.conversations)]
    out.append(_line("false positives", one.false_positives))
    who = "distinct callers" if one.callers else "conversations (the log names no callers)"
    when = (
        f"a day, {one.people_most:,} on the worst of {one.days:,} days" if one.days else "in all (the log has no times)"
    )
    out.append(f"people: {one.people_per_day:,.1f} {who} touched {when}")
    price = f"{one.cost_per_day:,.2f} a day, " if one.cost_per_day is not None else ""
    out.append(f"cost: {price}{one.cost_note}")
    if one.unjudged:
        out.append("not judged: " + ", ".join(f"{reason} {count:,}" for reason, count in one.unjudged.items()))
    return "\n".join(out) + "\n"


def _line(name: str, one: Estimate) -> str:
    interval = f"{one.rate:.2%} ({one.count:,} of {one.of:,}; 95 % interval {one.low:.2%} to {one.high:.2%})"
    return f"{name}: {interval}: {one.what}"
