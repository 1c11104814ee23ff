"""A live-fire drill: the attack sent through a running guard, the log watched meanwhile, the case worked, everything taken back.

In: an attack ready to run, a watch over the guard's log, a room of responders, how far to go. Out: `Drilled`. Attack, triage, plan, engine and probes are those of `attack`, `watch` and `respond`; nothing is decided here that they do not decide.

Theory of operation. The attack runs in a thread of its own, within its owner's leave; everything else happens in the thread that called, which looks at the log, the case and the guard in turns. The drill is written into the store before its first byte, so the watch that runs every day leaves its lines out and learns nothing of them; its own watch
begins with what that one knows is usual, and keeps no state. Acts touch the drill's own callers and conversations alone, unless more is asked for, and hold for an hour at most. However it ends (an interrupt, a guard that is gone, an error) what is in effect is taken back, and the case is closed.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from afterguard.attack.assessment import Assessment, Known
from afterguard.errors import AfterguardError, NothingToExamine, UsageError
from afterguard.jobs import respond as responding
from afterguard.jobs import watch as watching
from afterguard.jobs.attack import Row as Turn
from afterguard.jobs.drill_watch import Beside
from afterguard.jobs.prove import Guard
from afterguard.model import Alert, Case, Drill
from afterguard.respond import case as cases_of
from afterguard.respond import drill
from afterguard.respond.act import Act
from afterguard.respond.drill import DRILLED, Asked, Drilled, Heard
from afterguard.respond.engine import Ran
from afterguard.respond.kinds import KINDS
from afterguard.respond.plan import Choice, plan
from afterguard.respond.playbook import Playbook, fitting
from afterguard.respond.roles import Person
from afterguard.store import alerts as stored
from afterguard.store.cases import Cases

PAUSE = 0.2
LOOK = 2.0
"""Seconds between two looks at whether the guard still answers."""
BLIND = 10.0
"""Seconds of an attack after which the guard must have written something of it."""
ENOUGH = 10
"""Requests once containment holds: they show that it does, and more would show nothing."""
LONGEST = 3_600.0
"""Seconds that an act of a drill holds at most, whatever becomes of the drill."""
OWN = ("identity", "key", "conversation", "case")
"""What an act of a drill may be about: its own callers and conversations."""


class Attack(Protocol):
    """What is run: jobs.attack.Run, or that of predictive models."""

    known: tuple[Known, ...]
    journal: Any

    def whole(self) -> Assessment: ...


Made = Callable[[Callable[[], bool], Callable[[int, str], Any]], Attack]
"""The attack, given what stops it and whom it tells of each reply."""


def is_own(act: Act) -> bool:
    """Whether an act touches the drill's own callers and conversations alone. A hook that contains the whole case, as one that stops an ingest, is felt by others."""
    return act.on in OWN and not (act.on == "case" and act.phase == "contain" and KINDS[act.do].through == "hook")


class Wish(NamedTuple):
    """How far a drill goes."""

    contains: bool = False
    is_wide: bool = False
    """Whether acts may touch more than the drill itself."""
    playbook: str = ""
    optional: Sequence[str] = ()
    skip: Sequence[str] = ()
    wait: float = 300.0
    """Seconds for approvals and answers, from the first alert on."""
    settle: float = 5.0
    """Seconds after the last request for alerts that are still to come."""
    values: Mapping[str, str] = {}
    """Step -> its value."""


class Drilling:
    """One drill under way."""

    def __init__(
        self, room: responding.Room, cases: Cases, drill: Drill, target: str, guard: Guard, watch: Beside, told: list[Alert], made: Made, person: Person, wish: Wish,
        *, say: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """`told`: where the watch puts what it tells."""
        self.room, self.cases, self.drill, self.target, self.guard = room, cases, drill, target, guard
        self.watch, self.told, self.person, self.wish, self.say = watch, told, person, wish, say
        self.asked: list[Asked] = []
        self.requests = 0
        """Sent so far; some questions take more than one."""
        self.stopped = ""
        self.problems: list[str] = []
        self.acts: tuple[Act, ...] = ()
        self.ran: Ran | None = None
        self.taken_back: Ran | None = None
        self.case: Case | None = None
        self.contained = self.alerted = self.undone = self.ended = 0.0
        self.playbook = self.containment = ""
        self._left: tuple[str, ...] = ()
        self._after = 0
        self._taken = 0
        """Alerts that are in the case."""
        self._journal: tuple[int, int] = (0, 0)
        self._looked = self._worked_at = 0.0
        self._result: Assessment | None = None
        self._error: BaseException | None = None
        self._mark = self.began = room.clock()
        self.attack = made(lambda: bool(self.stopped), self._answered)

    def run(self) -> Drilled:
        """All of it. Raises AfterguardError where nothing was drilled."""
        self._tell(self.drill)
        self.began = self._mark = self.room.clock()
        thread = threading.Thread(target=self._attacked, name="drill", daemon=True)
        thread.start()
        try:
            while not self._is_over(thread):
                self._look()
                time.sleep(PAUSE)
        except KeyboardInterrupt:
            self._stop("it was interrupted")
        finally:
            self.stopped = self.stopped or ("of an error" if thread.is_alive() else "")
            try:
                thread.join()
            finally:
                self._end()
        if self._error is not None:
            raise self._error
        return self._drilled()

    # -- the attack, in its own thread

    def _attacked(self) -> None:
        try:
            self._result = self.attack.whole()
        except BaseException as error:
            self._error = error

    def _answered(self, count: int, trial: str) -> None:
        now, self.requests = self.room.clock(), count
        self.asked.append(Asked(trial, self._mark, now))
        self._mark = now
        if self.contained:
            self._after += 1
            if self._after >= ENOUGH:
                self._stop("it is contained, and that was shown")

    def _stop(self, why: str) -> None:
        self.stopped = self.stopped or why

    # -- meanwhile

    def _is_over(self, thread: threading.Thread) -> bool:
        now = self.room.clock()
        if thread.is_alive():
            self.ended = now
            return False
        waits = self._waits and not self.stopped and now < self.alerted + self.wish.wait
        return not waits and (bool(self.stopped) or now >= self.ended + self.wish.settle)

    @property
    def _waits(self) -> bool:
        """Whether containment is still to come."""
        return bool(self.wish.contains and self.case is not None and not self.contained and (self.ran is None or self.ran.state in ("waiting", "partly")))  # fmt: skip

    def _look(self) -> None:
        self.watch.step()
        if len(self.told) > self._taken:
            self._alerted()
        if self._waits and self.acts and self._is_news():
            self._act()
        now = self.room.clock()
        if now - self._looked >= LOOK:
            self._looked = now
            self._ask_guard(now)

    def _ask_guard(self, now: float) -> None:
        try:
            self.guard.mounts()
        except AfterguardError as error:
            self._stop(f"the guard does not answer: {error}")
            return
        if not self.watch.heard and self.asked and now - self.began > BLIND:
            self._stop("the guard has written nothing of it")

    def _alerted(self) -> None:
        """Open the case with what somebody was told first; what comes later goes into it. Plan as soon as a playbook is for it."""
        fresh, self._taken = self.told[self._taken :], len(self.told)
        now = self.room.clock()
        if self.case is None:
            self.alerted = now
            self.case = cases_of.opened(fresh, id=self.cases.store.made(), who=self.person.name, now=now)
            self.cases.save([self.case], {}, {self.case.id: fresh}, who=self.person.name, what="open")
            self.say(f"respond drill: alert {fresh[0].id[:12]} after {now - self.began:.1f} s, case {self.case.id}")
        else:
            self.case = self.cases.change(self.case.id, lambda case: cases_of.grown(case, fresh, who=self.person.name, now=now), who=self.person.name, what="alerts", fresh=fresh)  # fmt: skip
        if not self.acts:
            self._plan(self.case)

    def _plan(self, case: Case) -> None:
        found = self._playbook()
        if found is None:
            self.containment = f"no playbook is for alerts of these kinds: {', '.join(case.kinds)}"
            return
        made = plan(
            case, found, Choice(("evidence", "contain"), self.wish.optional, self.wish.skip, values=self.wish.values)
        )
        acts = [one for one in made.acts if self.wish.is_wide or is_own(one)]
        self._left = (*made.left, *(f"{one.step} {one.target}: it would touch others than the drill (--wide)" for one in made.acts if one not in acts))  # fmt: skip
        self.playbook = found.id
        self.acts = tuple(msgspec.structs.replace(one, ttl=min(one.ttl or LONGEST, LONGEST)) if one.phase == "contain" else one for one in acts)  # fmt: skip
        if not any(one.phase == "contain" for one in acts):
            self.acts, self.containment = (), f"playbook {found.id} has nothing to contain with: {'; '.join(self._left[:5])}"  # fmt: skip
        elif not self.wish.contains:
            body = msgspec.json.encode(self.cases.get(case.id))
            self.ran = responding.engine(self.room, case, self.person, self.acts, None, lambda: body).dry()
            refused = sum(one.state == "refused" for one in self.ran.rows)
            self.containment = f"dry run: {len(self.ran.rows) - refused} acts would be done, {refused} refused"

    def _playbook(self) -> Playbook | None:
        if self.wish.playbook:
            return responding.playbook_of(self.room.settings, self.wish.playbook)
        found, _ = fitting(self.told, responding.playbooks(self.room.settings))
        return next(iter(found), None)

    # -- acts

    def _is_news(self) -> bool:
        """Whether anybody wrote into the journal since (an approval, an answer), or guards may have caught up that were away."""
        is_partly = self.ran is not None and self.ran.state == "partly" and self.room.clock() - self._worked_at >= LOOK
        return self._stamp() != self._journal or self.ran is None or is_partly

    def _stamp(self) -> tuple[int, int]:
        assert self.case is not None
        try:
            found = os.stat(self.room.journal_file(self.case.id))
        except OSError:
            return 0, 0
        return found.st_ino, found.st_size

    def _act(self) -> None:
        """As far as the plan goes now."""
        try:
            ran = self._worked(lambda engine: engine.run())
        except UsageError as error:
            if error.slug != "journal-busy":  # somebody is just approving: the next look
                raise
            return
        if self.ran is None or [one.state for one in self.ran.rows] != [one.state for one in ran.rows]:
            for one in (row for row in ran.rows if row.state == "waiting"):
                self.say(f"respond drill: {one.act.step} waits ({one.says}): afterguard respond {'answer' if one.act.do == 'ask' else 'approve'} {one.act.case} {one.act.id}")  # fmt: skip
        self.ran, self._journal, self._worked_at = ran, self._stamp(), self.room.clock()
        now, waits = self.room.clock(), next((one for one in ran.rows if one.state not in ("done", "skipped")), None)
        contain = [one for one in ran.rows if one.act.phase == "contain"]
        if len(contain) == sum(one.phase == "contain" for one in self.acts) and any(one.state == "done" for one in contain) and all(one.state in ("done", "skipped") for one in contain):  # fmt: skip
            self.contained = now
            self.containment = f"contained by {sum(one.state == 'done' for one in contain)} acts, each proven"
            self.say(f"respond drill: contained after {now - self.began:.1f} s")
        elif waits is not None:
            self.containment = f"not contained: {waits.act.step} {'waits' if waits.state == 'waiting' else waits.state}: {waits.says}"  # fmt: skip
        else:
            self.containment = "not contained: every act was left out"

    def _worked(self, work: Callable[[Any], Ran]) -> Ran:
        """Something the engine does, written into journal and case."""
        assert self.case is not None
        held = self.cases.get(self.case.id)
        body, now = msgspec.json.encode(held), self.room.clock()
        with contextlib.closing(responding.open_journal(self.room, self.case.id, self.person)) as journal:
            if len(journal.lines) == 1:
                journal.write("drill", self.person.id, now, text=f"drill {self.drill.run}: the attack is our own")
            responding.put_plan(journal, self.acts, self._left, self.person, now)
            ran = work(responding.engine(self.room, held.case, self.person, self.acts, journal, lambda: body))
            lines, end = journal.lines, self.room.clock()
        # Who approves or answers writes into it at the same moment.
        self.case = self.cases.change(self.case.id, lambda case: responding.told(case, lines, self.acts, end), who=self.person.name, what="drill")  # fmt: skip
        return ran

    # -- the end

    def _end(self) -> None:
        """Take back what is in effect, close the case, and say in the store that it is over. An error here hides none that came before."""
        try:
            self.watch.step()
            if len(self.told) > self._taken:
                self._alerted()
            if self.case is not None:
                # What was begun stands in the journal, whether or not the run that began it came to its end.
                if self.wish.contains and self.room.journal_file(self.case.id).exists():
                    self._undo()
                self._close(self.case.id)
        except AfterguardError as error:
            self.problems.append(f"not ended cleanly: {error}")
        self._tell(msgspec.structs.replace(self.drill, ends=self.room.clock()))

    def _undo(self) -> None:
        self.taken_back = self._worked(lambda engine: engine.undo())
        rows = self.taken_back.rows
        failed = [f"{one.act.step} {one.act.target}: {one.says}" for one in rows if one.state in ("failed", "partly")]
        try:
            self.guard.mounts()
        except AfterguardError as error:
            failed.append(f"taken back in the guard's sheet, which nobody could prove: {error}")
        self.problems += [f"not taken back: {one}" for one in failed]
        if rows and not failed:
            self.undone = self.room.clock()

    def _close(self, name: str) -> None:
        now = self.room.clock()

        def over(case: Case) -> Case:
            for ref in cases_of.open_tasks(case):
                case = cases_of.said(case, "task", "done: the drill is over", who=self.person.name, now=now, ref=ref)
            return cases_of.moved(case, "closed", who=self.person.name, now=now, why=f"drill {self.drill.run} is over")

        self.cases.change(name, over, who=self.person.name, what="closed")

    def _tell(self, one: Drill) -> None:
        store = self.cases.store
        stored.say(store.connection, self.watch.tenant, one.app, watching.DRILL, store.made(), self.room.clock(), one)

    # -- what it came to

    def _drilled(self) -> Drilled:
        if not self.watch.heard:
            raise NothingToExamine(f"the guard wrote nothing of {self.requests} requests", hint="is it in the way of the target's `guarded`? is --identity the name it knows the key by, --log its log?", slug="not-through-the-guard")  # fmt: skip
        rows: Sequence[Turn] = self.attack.journal.rows
        ends = [(one.trial, one.result) for one in rows if one.kind == "end" and one.result is not None]
        lines = drill.joined(self.asked, self.watch.heard)
        first = min((one.time for trial, found in lines.of.items() if not trial.startswith(drill.CONTROL) for one in found), default=self.began)  # fmt: skip
        trials = drill.tried(ends, self.asked, lines, self._is_told, self.contained or None)
        after = [one for one in self.asked if self.contained and one.began >= self.contained]
        refused = {at for at, one in enumerate(after) for line in self.watch.heard if line.is_held_off and one.began - drill.SLACK <= line.time <= one.ended}  # fmt: skip
        done = self.ran or self.taken_back
        acts = tuple(drill.Act(one.act.step, one.act.target, one.state, one.says) for one in done.rows) if done else ()  # fmt: skip
        result = self._result
        if result and not trials:
            why = Counter(row.skipped for row in result.families if row.skipped)
            self.problems.append(f"no technique was tried: {', '.join(f'{of} {name}' for name, of in why.most_common(5)) or result.stopped or self.stopped}{f'; the target {result.manner}' if result.manner else ''} (docs/how-to/attack.md)")  # fmt: skip
        one = Drilled(
            self.drill.run, self.target, self.drill.app, first, self.drill.identities, self.requests,
            self._since(first, min((alert.raised for alert in self.told), default=0.0)), self._since(first, self.contained), self._since(first, self.undone),
            drill.rows(self.attack.known, trials), trials, tuple(dict.fromkeys(one.mode for one in self.watch.heard if one.mode)), tuple(dict.fromkeys(one.id for one in self.told)),
            tuple(dict.fromkeys(one.kind for one in self.told)), self.case.id if self.case else "", self.playbook, self.containment or self._why_not(),
            acts, len(after), len(refused), lines.strangers, self.stopped or (result.stopped if result else ""), self.watch.is_first_day,
            len(result.left) if result else 0, (*self.problems, *(f"left out: {row}" for row in self._left if not row.endswith("was not asked for"))),
        )  # fmt: skip
        store = self.cases.store
        stored.say(store.connection, self.watch.tenant, one.app, DRILLED, store.made(), self.room.clock(), one)
        return one

    def _why_not(self) -> str:
        return (
            "nobody was told of anything, so nobody contained anything"
            if self.case is None
            else "not contained: it ended before"
        )

    def _since(self, first: float, at: float) -> float | None:
        return round(max(0.0, at - first), 3) if at else None

    def _is_told(self, heard: Heard) -> bool:
        """Whether an alert that was told stands for an exchange."""
        triage = self.watch.triage
        if any(triage.tells(one) for one in heard.sightings):
            return True
        return bool(heard.exchange) and any(heard.exchange in one.exchanges and triage.tells(one) for one in self.watch.alarms)  # fmt: skip
