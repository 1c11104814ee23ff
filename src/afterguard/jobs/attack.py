"""An assessment from beginning to end: who may be asked, what is tried, what came of it.

In: a target, techniques, a leave of its owner, a journal, a clock. Out: `Assessment`. Every request and every end of a trial is in the journal before the next one is sent, so a run that broke off goes on where it was, to the same result;
what it spent before counts. What a turn leaves in the application is written down before the turn is sent, taken out after its trial, and listed where nothing shows that it is gone. It stops for the owner's limits, the end of the leave, quiet hours, the kill switch, and a target that no longer talks to it; what is known until then is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from afterguard.attack import calibrate, choose, offer
from afterguard.attack.assessment import Assessment, Hit, Known, families
from afterguard.attack.contract import Aim, Prompt, Receipt, Reply, Technique
from afterguard.attack.left import Left, left
from afterguard.attack.markers import nonce
from afterguard.attack.techniques import BY_ID
from afterguard.attack.trial import Result, Trial, Verdict
from afterguard.errors import UsageError
from afterguard.jobs import authorisation
from afterguard.targets.document import Target
from afterguard.targets.talking import Talking

FORMAT = "afterguard.attack-journal/1"
GONE = frozenset({"unreachable", "banned", "logged-out", "redirected", "tls-error", "no-such-tool"})
PATIENCE = 3
"""Replies in a row of that kind after which a target is left alone."""
BUSY = (2.0, 8.0, 30.0)
"""Seconds to wait when a target says that it is too much."""
TWIN = "twin-shows-it-too"
PLANTED = "something-is-still-planted"
IN, OUT = 600, 250
"""Tokens of a request and a reply, for the estimate."""


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the journal."""

    kind: str
    """control, begin (of a trial or a twin), twin, turn, leaves (about to be sent, and leaves something behind), clean or end."""
    trial: str = ""
    prompt: Prompt | None = None
    reply: Reply | None = None
    result: Result | None = None


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    target: str
    host: str
    seed: str
    run: str
    techniques: tuple[str, ...]
    through: str = "direct"
    format: str = FORMAT


class Stopped(Exception):
    """Nothing more may be sent; the text says why."""


class Estimate(NamedTuple):
    """What a run would take."""

    requests: int
    minutes: float
    dollars: float


def estimate(target: Target, techniques: Sequence[Technique]) -> Estimate:
    """Requests, minutes and dollars of a run that finds nothing, and at most."""
    wanted = len(calibrate.questions("", "")) + sum((t.turns + (choose.CLEANING if t.clean else 0)) * max(choose.trials(), len(t.variants)) for t in techniques)  # fmt: skip
    requests = min(wanted, target.limits.requests)
    dollars = requests * (IN * target.price.tokens_in + OUT * target.price.tokens_out) / 1e6
    return Estimate(requests, requests / max(1e-9, target.limits.per_second) / 60, dollars)


def parse(data: bytes, name: str) -> tuple[Head, list[Row], bool]:
    """Head and rows of a journal, and whether it is whole. Raises UsageError."""
    lines = data.split(b"\n")
    try:
        head = msgspec.json.decode(lines[0], type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UsageError(f"{name} is no journal of an attack", hint="give another file", slug="bad-journal") from None
    rows = []
    for line in lines[1:]:
        try:
            rows.append(msgspec.json.decode(line, type=Row))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The last line may have been cut; what comes after a broken one is not known to belong to it.
            break
    return head, rows, len(rows) + 2 == len(lines) and not lines[-1]


class Journal:
    """The file that a run writes and can go on from."""

    def __init__(self, path: Path, head: Head) -> None:
        self.rows: list[Row] = []
        self.head = head
        if path.exists() and path.stat().st_size:
            self._read(path)
        # It holds prompts and replies as they were: nobody else's business.
        self._out = open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
        if not self.rows and not path.stat().st_size:
            self._line(head)

    def _read(self, path: Path) -> None:
        self.head, self.rows, is_whole = parse(path.read_bytes(), str(path))
        if not is_whole:
            self._mend(path)

    def _mend(self, path: Path) -> None:
        """Leave out what is broken, so that the next line begins where a line begins."""
        whole = b"\n".join([msgspec.json.encode(self.head), *(msgspec.json.encode(row) for row in self.rows), b""])
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(whole)
        fresh.replace(path)

    def write(self, row: Row) -> None:
        self.rows.append(row)
        self._line(row)

    def _line(self, row: Row | Head) -> None:
        self._out.write(msgspec.json.encode(row) + b"\n")
        self._out.flush()

    def close(self) -> None:
        self._out.close()


class Run:
    """See the file."""

    def __init__(
        self,
        target: Target,
        techniques: Sequence[Technique],
        leave: authorisation.Leave,
        journal: Journal,
        *,
        wall: Callable[[], float],
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        is_killed: Callable[[], bool] = lambda: False,
        told: Callable[[int, str], Any] = lambda _n, _what: None,
        listener: str = "",
        expect: Callable[[str], Any] = lambda _token: None,
        receipts: Callable[[str], tuple[Receipt, ...]] = lambda _token: (),
        way: str = "direct",
    ) -> None:
        self.target, self.techniques, self.leave, self.journal = target, techniques, leave, journal
        self.known: tuple[Known, ...] = tuple(techniques)
        self.wall, self.clock, self.sleep, self.is_killed, self.told = wall, clock, sleep, is_killed, told
        self.listener, self.expect, self.receipts, self.way = listener, expect, receipts, way
        self.talking = Talking(target, journal.head.run)
        self.began = clock()
        self._next = 0.0
        self._gone = 0
        self._turn = target.requests_of_turn
        spent = [row for row in journal.rows if row.reply is not None]
        self.requests = sum(row.reply.requests for row in spent if row.reply)
        self.dollars = sum(self._price(row.reply) for row in spent if row.reply)

    def _price(self, reply: Reply) -> float:
        price = self.target.price
        return (reply.tokens_in * price.tokens_in + reply.tokens_out * price.tokens_out) / 1e6

    def _may(self) -> None:
        """Raises Stopped where nothing more may be sent."""
        limits = self.leave.limits
        why = authorisation.check(self.leave, self.target.name, self.target.host, self.wall())
        if self.is_killed():
            why = "the kill switch was pulled"
        elif self.requests + self._turn > limits.requests:
            why = f"all {limits.requests} requests are used"
        elif self.clock() - self.began >= limits.minutes * 60:
            why = f"the {limits.minutes:g} minutes are over"
        elif self.dollars >= limits.dollars > 0:
            why = f"{limits.dollars:g} dollars are used"
        elif self._gone >= PATIENCE:
            why = "the target does not talk to us any more"
        if why:
            raise Stopped(why)

    def waits(self, trial: str) -> tuple[float, ...]:
        """Seconds to wait, one time after the other, when a target says that it is too much."""
        return BUSY

    def ask(self, prompt: Prompt, kind: str, trial: str) -> Reply:
        """One request, within all limits; written down before anything else happens."""
        for wait in (*self.waits(trial), 0.0):
            self._may()
            self.sleep(max(0.0, self._next - self.clock()))
            pause = 1 / max(1e-9, min(self.target.limits.per_second, self.leave.limits.per_second))
            if prompt.leaves:
                self.journal.write(Row("leaves", trial, prompt))
            began = self.clock()
            reply = self._heard(prompt, trial)
            self._next = began + reply.requests * pause
            self.requests += reply.requests
            self._turn = max(self._turn, reply.requests)
            self.dollars += self._price(reply)
            self._gone = self._gone + 1 if reply.error in GONE else 0
            self.journal.write(Row(kind, trial, prompt, reply))
            self.told(self.requests, trial)
            if reply.error != "rate-limited" or not wait:
                return reply
            self.sleep(wait)
        raise AssertionError

    def _heard(self, prompt: Prompt, trial: str) -> Reply:
        """The reply, with what our listener was asked because of it: only what bears this trial's token."""
        token = nonce(self._aim(trial).seed) if self.listener and self.listener in prompt.sent() else ""
        if not token:
            return self.talking.ask(prompt)
        self.expect(token)
        reply, got = self.talking.ask(prompt), self.receipts(token)
        return msgspec.structs.replace(reply, receipts=reply.receipts + got)

    def whole(self) -> Assessment:
        """Everything, or as far as it may go."""
        stopped, skipped, manner = "", {}, calibrate.Manner()
        past: list[choose.Past] = []
        try:
            self._clean(self._left())
            manner = self._manner()
            aim = self.target.aim(self.journal.head.seed, self.listener)
            skipped = offer.offered(self.techniques, aim, manner, not self.leave.changes)
            open_ = [technique for technique in self.techniques if not skipped[technique.id]]
            room = self.leave.limits.requests - len(calibrate.questions("", ""))
            while (pick := choose.following(self.journal.head.seed, open_, past, room)) is not None:
                technique = next(one for one in open_ if one.id == pick.technique)
                name = f"{pick.technique}/{pick.variant}/{pick.round}"
                verdict = self._tried(technique, pick.variant, name).verdict
                past.append(choose.Past(pick, verdict, self._cost(name)))
        except Stopped as end:
            stopped = str(end)
        return self._assessment(stopped, skipped, manner)

    def _manner(self) -> calibrate.Manner:
        seed = self.journal.head.seed
        if self.target.aim(seed).example:
            return calibrate.Manner(works=self._works())
        prompts = calibrate.questions(seed, self.target.knows.purpose)
        have = {row.trial: row.reply for row in self.journal.rows if row.kind == "control" and row.reply}
        replies = [
            have.get(f"control/{n}") or self.ask(prompt, "control", f"control/{n}") for n, prompt in enumerate(prompts)
        ]
        return calibrate.manner(seed, prompts, tuple(replies))

    def _works(self) -> bool:
        """Whether a tool that is called directly does what its owner says it does."""
        name, example = "control/example", self.target.aim("").example
        known = next((row.reply for row in self.journal.rows if row.trial == name and row.reply), None)
        shown = known or self.ask(Prompt(example, is_new=True), "control", name)
        return not shown.error and not shown.is_blocked

    def _tried(self, technique: Technique, variant: str, name: str) -> Result:
        known = next((row.result for row in self.journal.rows if row.kind == "end" and row.trial == name), None)
        if known is not None:
            return known
        if technique.clean and self.leave.limits.requests - self.requests < technique.turns + choose.CLEANING:
            raise Stopped(f"fewer requests are left than {technique.id} takes with its clean-up")
        if any(one.trial.split("/")[0] == technique.id for one in self._left()):
            # What does not take out what was planted is given nothing more to keep.
            result = Result(Verdict.not_assessed, PLANTED)
            self.journal.write(Row("end", name, result=result))
            return result
        result = self._talked(technique, variant, name, is_twin=False)
        if result.verdict is Verdict.succeeded and self._is_usual(technique, variant, name):
            result = Result(Verdict.not_assessed, TWIN)
        self.journal.write(Row("end", name, result=result))
        return result

    def _is_usual(self, technique: Technique, variant: str, name: str) -> bool:
        """Whether the harmless twin shows the same: then it is how the application talks. It is asked once for each variant."""
        form = f"{technique.id}/{variant}"
        for row in self.journal.rows:
            if row.kind != "end" or row.result is None or row.trial.rpartition("/")[0] != form:
                continue
            if row.result.verdict is Verdict.succeeded or row.result.reason == TWIN:
                return row.result.reason == TWIN
        return self._talked(technique, variant, f"{name}/twin", is_twin=True).verdict is Verdict.succeeded

    def _cost(self, name: str) -> int:
        """Requests of a trial, its twin and its clean-up."""
        cleaned = sum(row.kind == "clean" and row.trial.removesuffix("/twin") == name for row in self.journal.rows)
        return len(self._turns(name)) + len(self._turns(f"{name}/twin")) + cleaned

    def _left(self) -> tuple[Left, ...]:
        return left((row.trial, row.prompt, row.reply) for row in self.journal.rows if row.prompt)

    def _clean(self, there: Sequence[Left]) -> None:
        """Asks the application to take out what these trials left. A leave that allows no changes allows no clean-up either: then it is only listed."""
        by = BY_ID | {technique.id: technique for technique in self.techniques}
        for name in dict.fromkeys(one.trial for one in there if self.leave.changes):
            technique_id, variant = name.split("/")[:2]
            technique = by.get(technique_id)
            if technique is None or technique.clean is None or variant not in technique.variants:
                continue
            talk = technique.clean(self._aim(name), variant)
            try:
                prompt = next(talk)
                while True:
                    prompt = talk.send(self.ask(prompt, "clean", name))
            except StopIteration:
                continue

    def _aim(self, name: str) -> Aim:
        return self.target.aim(f"{self.journal.head.seed} {name.removesuffix('/twin')}", self.listener)

    def _talked(self, technique: Technique, variant: str, name: str, *, is_twin: bool) -> Result:
        trial = Trial(technique, self._aim(name), variant, is_twin)
        self.journal.write(Row("begin", name))
        step = trial.begin()
        while isinstance(step, Prompt):
            step = trial.hear(self.ask(step, "twin" if is_twin else "turn", name))
        # Before the twin is asked: it would find what the attack has left.
        self._clean([one for one in self._left() if one.trial == name])
        return step

    def _assessment(self, stopped: str, skipped: dict[str, str], manner: calibrate.Manner) -> Assessment:
        ends = [row for row in self.journal.rows if row.kind == "end" and row.result is not None]
        odd = (
            "repeats what it hears"
            if manner.is_echo
            else "says the same to everything"
            if manner.is_constant
            else "does not hear what it is asked"
            if manner.is_deaf
            else ""
        )
        hits = tuple(self._hit(row) for row in ends if row.result and row.result.verdict is Verdict.succeeded)
        rates = families(self.known, [(row.trial, row.result) for row in ends if row.result], skipped)
        return Assessment(
            self.target.name, self.journal.head.run, rates, hits, self.requests, self.clock() - self.began, self.dollars, stopped, odd, self._left(),
            self.target.host, self.way, self.journal.head.seed, self.wall(),
        )  # fmt: skip

    def _hit(self, end: Row) -> Hit:
        return hit_of(self.journal.rows, end)

    def _turns(self, trial: str) -> list[tuple[Prompt, Reply]]:
        return turns_of(self.journal.rows, trial)


def hit_of(rows: Sequence[Row], end: Row) -> Hit:
    """A success, with its conversation."""
    assert end.result is not None and end.result.claim is not None
    claim = end.result.claim
    return Hit(end.trial, end.trial.split("/")[0], claim.oracle, claim.evidence, tuple(turns_of(rows, end.trial)))


def turns_of(rows: Sequence[Row], trial: str) -> list[tuple[Prompt, Reply]]:
    """What was said in a trial, over all its conversations. One that was broken off and begun again stands there twice, and only the last one counts."""
    turns: list[tuple[Prompt, Reply]] = []
    for row in rows:
        if row.trial != trial:
            continue
        if row.kind == "begin":
            turns = []
        if row.kind in ("turn", "twin") and row.prompt and row.reply:
            turns.append((row.prompt, row.reply))
    return turns
