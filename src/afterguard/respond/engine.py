"""Acts -> effects, proven. Written down before it is done; asked of the world again after; taken up where a crash left it.

In: a plan, adapters, an open journal, a clock. Out: what became of each act. A failed step is a failed run.

Theory of operation. Of each act the journal holds `begun` (with what there was before) and then one of done, failed, unsure. An act that is begun and has no outcome is one a crash cut off: nobody knows
whether it was done, so the world is asked. Where it says yes, that is written down; where it says no, the act is done again, with the same key; where it cannot say, and doing it twice would matter, a
person has to look. The dry run asks the same questions in the same order, of the same functions, and does nothing.

Where an act has to take effect in several places and some are away, it is `partly` done: the run goes on, because the next act is wanted at the others, and is not done; the next run asks again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from afterguard.errors import AfterguardError
from afterguard.respond import approval, plan
from afterguard.respond.act import Act, digest
from afterguard.respond.journal import Journal, Line, Written
from afterguard.respond.kinds import KINDS
from afterguard.respond.roles import Person

OVER = ("done", "partly", "failed", "unsure", "skipped", "undone", "expired")
POLL = 0.1
ABSENT = {
    "guard": "respond.yaml names no guard, or the folder it names holds no guard.key",
    "vectors": "respond.yaml names no vector store",
    "registries": "respond.yaml names no registry",
}
"""Why there is no adapter."""


class State(NamedTuple):
    """What the world says."""

    word: str
    """in_effect, not, unknown; where there are several places: partly, which is not everywhere yet, and lingers, which is not gone everywhere."""
    says: str
    is_settled: bool = False
    """Whether it is idle to wait for the places that are missing."""


class Adapter(Protocol):
    """What carries acts out."""

    def objections(self, act: Act) -> list[str]:
        """Why it cannot be done as things are; asks, and changes nothing."""

    def before(self, act: Act) -> dict[str, Any]:
        """What there is now, as far as undoing needs it."""

    def do(self, act: Act, until: float) -> dict[str, Any]:
        """Do it; what is worth keeping of that. Raises AfterguardError."""

    def undo(self, act: Act, before: dict[str, Any]) -> dict[str, Any]:
        """Take it back. Raises AfterguardError."""

    def state(self, act: Act) -> State:
        """Whether it is in effect: the world is asked, not what `do` was told."""

    def is_repeatable(self, act: Act) -> bool:
        """Whether doing it again with the same key does it once."""

    def is_provable(self, act: Act) -> bool:
        """Whether the world can be asked; else its word when it was done is all there is."""


class Row(NamedTuple):
    """What became of one act."""

    act: Act
    state: str
    """done, partly, failed, waiting, unsure, skipped, would (dry run), refused (dry run)."""
    says: str


class Ran(NamedTuple):
    """A run."""

    state: str
    """done, partly, failed, waiting."""
    rows: tuple[Row, ...]


class Engine:
    """One case's plan under way."""

    def __init__(
        self,
        acts: Sequence[Act],
        adapters: Mapping[str, Adapter],
        journal: Journal | Written | None,
        person: Person,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        caps: Mapping[str, int] | None = None,
    ) -> None:
        self.acts = tuple(acts)
        self.adapters = adapters
        self.journal = journal
        self.person = person
        self.clock, self.sleep = clock, sleep
        self.caps = caps or {}

    @property
    def lines(self) -> Sequence[Line]:
        """What was written so far."""
        return self.journal.lines if self.journal is not None else ()

    def standing(self, act: Act) -> tuple[str, Line | None]:
        """(how an act stands, the line that says so): new, begun, undo_begun or one of OVER."""
        last = None
        for one in self.lines:
            if one.act == act.id and one.what in ("begun", "undo_begun", *OVER):
                last = one
        return ("new", None) if last is None else (last.what, last)

    def objections(self, number: int, done: set[str]) -> list[str]:
        """Why an act may not be done now. Both the dry run and the real one ask here."""
        act = self.acts[number]
        adapter = self.adapters.get(KINDS[act.do].through)
        if adapter is None:
            return [f"nothing here can {act.do}: {ABSENT.get(KINDS[act.do].through, 'nobody does it')}; --skip {act.step} leaves it out"]  # fmt: skip
        return [*plan.objections(self.acts, done, number, self.caps), *adapter.objections(act)]

    # -- dry

    def dry(self) -> Ran:
        """What a run would do, and what would refuse it; nothing is changed."""
        rows: list[Row] = []
        done = {act.id for act in self.acts if self.standing(act)[0] in ("done", "partly")}
        for number, act in enumerate(self.acts):
            why = self.objections(number, done)
            if self.standing(act)[0] in ("skipped", "undone", "expired"):
                rows.append(self._left(act))
            elif self.standing(act)[0] == "partly":
                rows.append(Row(act, "partly", "it is done, and not everywhere; that is asked again"))
            elif act.id in done:
                rows.append(Row(act, "done", "it is done already"))
            elif why:
                rows.append(Row(act, "refused", "; ".join(why)))
            else:
                asks = f"after {act.approvals} of {act.role} agree" if act.approvals else "at once"
                rows.append(Row(act, "would", asks if KINDS[act.do].through != "person" else "a person is asked"))
                done.add(act.id)
        return Ran("failed" if any(one.state == "refused" for one in rows) else "done", tuple(rows))

    # -- real

    def run(self) -> Ran:
        """Do what is left to do, as far as it goes. Can be called again: after an approval, after a crash."""
        rows: list[Row] = []
        done: set[str] = set()
        for number, act in enumerate(self.acts):
            row = self._one(number, done)
            rows.append(row)
            if row.state in ("done", "partly"):
                done.add(act.id)
            is_open_ask = row.state == "waiting" and KINDS[act.do].through == "person" and act.phase != "evidence"
            if row.state in ("failed", "unsure") or (row.state == "waiting" and not is_open_ask):
                break
        if any(one.state in ("failed", "unsure") for one in rows):
            state = "failed"
        elif any(one.state == "waiting" for one in rows):
            state = "waiting"
        else:
            state = "partly" if any(one.state == "partly" for one in rows) else "done"
        body = {"run": state, "acts": len(rows)}
        last = self.lines[-1] if self.lines else None
        # Who asks again and again whether it holds everywhere by now writes down only what is new.
        if last is None or (last.what, last.who, last.body) != ("ended", self.person.id, body):
            self._write("ended", text=state, body=body)
        return Ran(state, tuple(rows))

    def _one(self, number: int, done: set[str]) -> Row:
        act = self.acts[number]
        state, line = self.standing(act)
        if state == "done":
            return Row(act, state, line.text if line else "")
        if state in ("skipped", "undone", "expired"):
            return self._left(act)
        if state == "unsure":
            return Row(act, "unsure", line.text if line else "")
        if state in ("partly", "begun") and (away := self._away(act)) is not None:
            return away
        if state == "partly" and self._is_over(act, self.clock()):
            return Row(act, "skipped", "it has ended by itself; a new case or step does it again")
        if state == "partly":
            return self._proven(act, dict(line.body.get("kept", {})) if line else {})
        if state == "undo_begun":
            return self._undone(act)
        if KINDS[act.do].through == "person":
            return self._asked(act)
        if state == "begun":
            return self._resumed(act)
        why = self.objections(number, done)
        if why:
            return self._say(act, "failed", "; ".join(why))
        held = self._held(act)
        return held if held is not None else self._done(act)

    def _left(self, act: Act) -> Row:
        """The row of an act that is over and not done again."""
        state, line = self.standing(act)
        says = line.text if line and state == "skipped" else f"it was {state}; a new case or step does it again"
        return Row(act, "skipped", says)

    def _held(self, act: Act) -> Row | None:
        """The row of an act that waits for people; None where it may go on."""
        if not act.approvals:
            return None
        found = approval.stand(act, self.lines, self.clock())
        if found.state == "approved":
            return None
        if found.state == "none":
            self._write(
                "requested", act.id, act.title, {"act": digest((act,)), "needs": act.approvals, "role": act.role}
            )
            return Row(act, "waiting", f"{act.approvals} of {act.role} have to agree")
        if found.state == "waiting":
            return Row(act, "waiting", f"{len(found.by)} of {act.approvals} agreed")
        says = "it was denied" if found.state == "denied" else "nobody agreed in time"
        return self._say(act, "skipped" if act.without == "skip" else "failed", says)

    def _asked(self, act: Act) -> Row:
        """A person's answer, or the question."""
        own = [one for one in self.lines if one.act == act.id]
        answer = next((one for one in reversed(own) if one.what == "answered"), None)
        if answer is not None:
            return self._say(act, "done", f"{answer.who}: {answer.text}")
        if not any(one.what == "asked" for one in own):
            self._write("asked", act.id, act.title)
        return Row(act, "waiting", "a person is asked")

    def _done(self, act: Act) -> Row:
        adapter = self.adapters[KINDS[act.do].through]
        until = self.clock() + act.ttl if act.ttl else 0.0
        try:
            before = adapter.before(act)
            self._write(
                "begun", act.id, act.title, {"before": before, "until": until, "target": act.target, "do": act.do}
            )
            kept = adapter.do(act, until)
        except AfterguardError as error:
            return self._say(act, "failed", f"{error}; {error.hint}")
        return self._proven(act, kept)

    def _proven(self, act: Act, kept: dict[str, Any], found_it: str = "") -> Row:
        """Ask the world until it says yes, or the time is over."""
        adapter = self.adapters[KINDS[act.do].through]
        if not adapter.is_provable(act):
            return self._say(act, "done", found_it + "taken; there is nobody to ask again", {"kept": kept})
        end = self.clock() + act.timeout
        while True:
            state = adapter.state(act)
            if state.word == "in_effect":
                return self._say(act, "done", found_it + state.says, {"kept": kept, "proof": state.says})
            if state.word == "partly" and (state.is_settled or self.clock() >= end):
                return self._say(act, "partly", found_it + state.says, {"kept": kept, "proof": state.says})
            if self.clock() >= end:
                word = "failed" if state.word in ("not", "lingers") else "unsure"
                return self._say(act, word, f"it was done and is not seen to take effect: {state.says}", {"kept": kept})
            self.sleep(POLL)

    def _resumed(self, act: Act) -> Row:
        """An act that was begun and of which nobody wrote what became."""
        adapter = self.adapters[KINDS[act.do].through]
        state = adapter.state(act)
        if state.word == "in_effect":
            return self._say(act, "done", f"found in effect after a crash: {state.says}", {"proof": state.says})
        if state.word == "partly":
            return self._proven(act, {}, "found after a crash: ")
        if state.word == "unknown" and not adapter.is_repeatable(act):
            return self._say(act, "unsure", f"a crash cut it off and nobody can say whether it was done: {state.says}")
        begun = next(one for one in reversed(self.lines) if one.act == act.id and one.what == "begun")
        try:
            kept = adapter.do(act, float(begun.body.get("until", 0.0)))
        except AfterguardError as error:
            return self._say(act, "failed", f"{error}; {error.hint}")
        return self._proven(act, kept, "done again after a crash: ")

    # -- taking back

    def undo(self, only: Sequence[str] = ()) -> Ran:
        """Take back what is in effect, the last first; `only` these acts, where any are named."""
        rows = [
            self._undone(act) for act in reversed(self.acts) if (not only or act.id in only) and self._can_undo(act)
        ]
        state = _worst(rows)
        self._write("ended", text=f"undo {state}", body={"undo": state, "acts": len(rows)})
        return Ran(state, tuple(rows))

    def expire(self) -> Ran:
        """Take back what was only to hold for a while."""
        now = self.clock()
        rows = []
        for act in reversed(self.acts):
            if act.ttl and self.standing(act)[0] in ("done", "partly") and self._is_over(act, now):
                rows.append(self._undone(act, "expired"))
        return Ran(_worst(rows), tuple(rows))

    def _can_undo(self, act: Act) -> bool:
        # What failed or is unsure may be half there.
        return bool(KINDS[act.do].undo) and self.standing(act)[0] in ("done", "partly", "begun", "failed", "unsure", "undo_begun") and bool(self._begun(act))  # fmt: skip

    def _is_over(self, act: Act, now: float) -> bool:
        """Whether what was only to hold for a while has held so long."""
        begun = self._begun(act)
        return bool(act.ttl) and begun is not None and begun.at + act.ttl <= now

    def _away(self, act: Act) -> Row | None:
        """The row of an act that was begun with settings that named more; nothing is written down, for nothing became of it. None where it can be asked about."""
        through = KINDS[act.do].through
        return None if through in self.adapters else Row(act, "failed", f"the settings name no {through} any more: --settings FILE, the one it was done with")  # fmt: skip

    def _begun(self, act: Act) -> Line | None:
        return next((one for one in reversed(self.lines) if one.act == act.id and one.what == "begun"), None)

    def _undone(self, act: Act, word: str = "undone") -> Row:
        if (away := self._away(act)) is not None:
            return away
        adapter, begun = self.adapters[KINDS[act.do].through], self._begun(act)
        self._write("undo_begun", act.id, act.undo)
        try:
            kept = adapter.undo(act, dict(begun.body.get("before", {})) if begun else {})
        except AfterguardError as error:
            return self._say(act, "failed", f"not taken back: {error}; {error.hint}")
        end = self.clock() + act.timeout
        while True:
            state = adapter.state(act)
            if (
                state.word == "lingers" and word != "expired"
            ):  # what has expired ends by itself, also where nobody can be told
                if state.is_settled or self.clock() >= end:
                    self._write("undo_partly", act.id, state.says)
                    return Row(act, "partly", state.says)
            elif state.word not in ("in_effect", "partly") and (state.word == "not" or adapter.is_repeatable(act)):
                if state.word != "unknown":
                    return self._say(act, word, state.says, {"kept": kept, "proof": state.says})
                return self._say(act, word, f"taken back, and nobody could say that it is gone: {state.says}", {"kept": kept})  # fmt: skip
            if self.clock() >= end:
                return self._say(act, "failed", f"taken back, and still seen in effect: {state.says}")
            self.sleep(POLL)

    # -- writing

    def _say(self, act: Act, word: str, says: str, body: dict[str, Any] | None = None) -> Row:
        stands, line = self.standing(act)
        if word != "partly" or line is None or (stands, line.text) != (word, says):
            self._write(word, act.id, says, body)
        return Row(act, word, says)

    def _write(self, what: str, act: str = "", text: str = "", body: dict[str, Any] | None = None) -> None:
        assert isinstance(self.journal, Journal)
        self.journal.write(what, self.person.id, self.clock(), act=act, text=text, body=body)


def _worst(rows: Sequence[Row]) -> str:
    return next((word for word in ("failed", "partly") if any(one.state == word for one in rows)), "done")
